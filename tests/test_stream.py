"""Shards, the stream of their batches, and backups: an interrupted fit ends where one that was never stopped ends."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout
from helpers.stream import Backup, _state, find_shards, stream

K, D, BATCH = 2, 3, 40


def new_model(**options):
    return StepwiseEM(MixtureLayout(K, D, "tril"), starts=1, **options)


def state(model):
    return np.concatenate([variable.numpy().ravel() for variable in _state(model).values()])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        rows = rng.normal(size=(305, D)) + 4 * rng.integers(2, size=(305, 1))  # 30 blocks of ten, and five rows
        np.save(tmp_path / f"part-{i}.npy", rows.astype(np.float32))
    return tmp_path


def arrays(folder):
    return [np.load(file) for file in sorted(folder.glob("*.npy"))]


def batches(dataset):
    return list(dataset.as_numpy_iterator())


# ---- shards and stream


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_batch_t_is_block_t_of_every_shard(folder, dtype):
    for file in folder.glob("*.npy"):
        np.save(file, (10 * np.abs(np.load(file))).astype(dtype))
    shards = find_shards(folder)
    assert (len(shards.files), shards.rows, shards.width, shards.dtype) == (4, 305, D, dtype)
    got = batches(stream(shards, BATCH))
    assert len(got) == 30 and got[0].dtype == dtype
    for t, batch in enumerate(got):
        np.testing.assert_array_equal(batch, np.concatenate([a[10 * t : 10 * t + 10] for a in arrays(folder)]))


def test_it_begins_anywhere_also_where_a_variable_says(folder):
    shards, step = find_shards(folder), tf.Variable(0, dtype=tf.int64)
    whole, moved = batches(stream(shards, BATCH)), stream(shards, BATCH, first=step)
    np.testing.assert_array_equal(batches(stream(shards, BATCH, first=7)), whole[7:])
    step.assign(29)
    np.testing.assert_array_equal(batches(moved), whole[29:])
    assert batches(stream(shards, BATCH, first=30)) == []


@pytest.mark.parametrize("workers", [2, 4])
def test_the_parts_of_workers_make_up_the_batch(folder, workers):
    shards = find_shards(folder)
    parts = [batches(stream(shards, BATCH, worker=w, workers=workers)) for w in range(workers)]
    for t, whole in enumerate(batches(stream(shards, BATCH))):
        together = np.concatenate([part[t] for part in parts])
        np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(whole, axis=0))


def test_the_seed_of_a_block_is_its_place(folder):
    shards = find_shards(folder)

    def noise(x, seed):
        return tf.random.stateless_uniform(tf.shape(x), seed)

    whole = batches(stream(shards, BATCH, prepare=noise))
    np.testing.assert_array_equal(batches(stream(shards, BATCH, 5, noise)), whole[5:])
    second = batches(stream(shards, BATCH, prepare=noise, worker=1, workers=2))
    np.testing.assert_array_equal(second[3], np.concatenate([whole[3][10:20], whole[3][30:]]))
    assert len(np.unique(np.concatenate(whole)[:, 0])) > 1190  # no two blocks have the same


def test_several_passes_are_counted_on(folder):
    shards = find_shards(folder)

    def noise(x, seed):
        return x + tf.random.stateless_uniform(tf.shape(x), seed, dtype=x.dtype)

    once, twice = batches(stream(shards, BATCH)), batches(stream(shards, BATCH, passes=2))
    np.testing.assert_array_equal(twice, once + once)
    with_noise = batches(stream(shards, BATCH, prepare=noise, passes=2))
    np.testing.assert_array_equal(batches(stream(shards, BATCH, 33, noise, passes=2)), with_noise[33:])
    assert not np.array_equal(with_noise[0], with_noise[30])
    assert batches(stream(shards, BATCH, len(twice), passes=2)) == []


BAD = {
    "cut short": lambda path, a: path.write_bytes(path.read_bytes()[:-8]),
    "of no bytes": lambda path, a: path.write_bytes(b""),
    "of other bytes": lambda path, a: path.write_bytes(b"row,row,row\n" * 100),
    "without rows": lambda path, a: np.save(path, a[:0]),
    "longer": lambda path, a: np.save(path, np.concatenate([a, a])),
    "wider": lambda path, a: np.save(path, np.concatenate([a, a], axis=1)),
    "of float64": lambda path, a: np.save(path, a.astype(np.float64)),
    "of text": lambda path, a: np.save(path, a.astype(str)),
    "in Fortran's order": lambda path, a: np.save(path, np.asfortranarray(a)),
    "of one axis": lambda path, a: np.save(path, a.ravel()),
    "with bytes to spare": lambda path, a: path.write_bytes(path.read_bytes() + b"12345678"),
    "in another byte order": lambda path, a: np.save(path, a.astype(a.dtype.newbyteorder())),
    "of a dtype that no stream reads": lambda path, a: np.save(path, a.astype(np.uint32)),
    "that is an archive": lambda path, a: np.savez(open(path, "wb"), a=a),
}


@pytest.mark.parametrize("how", BAD)
def test_a_damaged_shard_is_named(folder, how):
    path = folder / "part-2.npy"
    BAD[how](path, np.load(path))
    with pytest.raises(ValueError, match=r"^part-2\.npy: expected "):
        find_shards(folder)


def test_no_shard_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"^folder: expected files named \*\.npy"):
        find_shards(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 41}, "batch: expected a multiple of the 4 shards, got 41"),
        ({"batch": 0}, "batch: expected a whole number of at least 1, got 0"),
        ({"batch": 40.0}, "batch: expected a whole number of at least 1, got 40.0"),
        ({"batch": 4000}, "batch: expected at most the 1220 rows"),
        ({"batch": 40, "workers": 3}, "worker, workers: expected one of as many workers as divide 4 shards"),
        ({"batch": 40, "worker": 2, "workers": 2}, "got 2 of 2"),
        ({"batch": 40, "first": -1}, "first: expected a whole number from 0 to 30 batches, got -1"),
        ({"batch": 40, "first": 61, "passes": 2}, "first: expected a whole number from 0 to 60 batches, got 61"),
        ({"batch": 40, "passes": 0}, "passes: expected"),
    ],
)
def test_sizes_that_do_not_fit(folder, options, message):
    with pytest.raises(ValueError, match=message):
        stream(find_shards(folder), **options)


@pytest.mark.parametrize("first", [-3, 31, 500])
def test_a_variable_beyond_the_end_reads_nothing_again(folder, first):
    beyond = stream(find_shards(folder), BATCH, first=tf.Variable(first, dtype=tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="first: expected a whole number from 0 to 30 batches"):
        batches(beyond)


@pytest.mark.parametrize("rows", [np.zeros((160, D), "f4"), np.zeros((305, D + 1), "f4"), np.zeros((305, D)), None])
def test_a_shard_that_changed_since_it_was_found_is_named(folder, rows):
    shards, file = find_shards(folder), folder / "part-2.npy"
    file.unlink() if rows is None else np.save(file, rows)
    with pytest.raises(ValueError, match="^part-2.npy: expected "):
        stream(shards, BATCH)
    assert len(batches(stream(shards, BATCH, worker=0, workers=4))) == 30  # whose own shard is as it was


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_by_file_and_block_and_the_state_is_untouched(folder, value):
    rows = np.load(folder / "part-2.npy")
    rows[73, 1] = value
    np.save(folder / "part-2.npy", rows)
    model, shards = new_model(), find_shards(folder)
    model.adapt(np.load(folder / "part-0.npy"))
    with pytest.raises(ValueError, match=r"^x: expected finite numbers, got NaN or infinity in part-2.npy, block 7 "):
        model.fit(stream(shards, BATCH), epochs=1, verbose=0)
    assert model.steps.numpy() == 7  # the seven before it count, and nothing of the eighth
    seven = new_model()
    seven.adapt(np.load(folder / "part-0.npy"))
    seven.fit(stream(shards, BATCH).take(7), epochs=1, verbose=0)
    np.testing.assert_array_equal(state(model), state(seven))


# ---- backups


class Killed(Exception):
    pass


class KillAt(tf_keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps.numpy() == self.step:
            raise Killed


def test_killed_at_random_steps_it_ends_where_the_uninterrupted_fit_ends(folder):
    """Twenty kills, two in each fit; a third of the newest backups are torn, as in the middle of writing."""
    rng, shards = np.random.default_rng(1), find_shards(folder)
    rows = np.concatenate(batches(stream(shards, BATCH).take(10)))
    whole = new_model()
    whole.adapt(rows)
    whole.fit(stream(shards, BATCH), epochs=1, verbose=0)
    model = new_model()
    for trial in range(10):
        backups, every = folder / f"backups-{trial}", int(rng.integers(1, 9))
        for step in (*sorted(rng.choice(np.arange(1, 30), 2, replace=False)), 99):
            for variable in _state(model).values():  # as in a new process; one model, because it is traced once
                variable.assign(tf.zeros_like(variable))
            backup = Backup(backups, every=every, about="test")
            begin = backup.restore(model)
            if begin == 0:
                model.adapt(rows)
            try:
                dataset = stream(shards, BATCH, first=begin)
                model.fit(dataset, epochs=1, verbose=0, callbacks=[backup, KillAt(step)])
            except Killed:
                files = sorted(backups.glob("step-*"), key=lambda path: path.stat().st_mtime_ns)
                if rng.uniform() < 0.33 and len(files) > 2:
                    text = files[-1].read_bytes()
                    files[-1].write_bytes(text[: rng.integers(len(text))])
        assert model.steps.numpy() == 30
        np.testing.assert_allclose(state(model), state(whole), rtol=1e-5, atol=1e-9)


def fitted(folder, backups, **options):
    model = new_model(**options)
    rows = stream(find_shards(folder), BATCH)
    model.fit(rows, epochs=1, verbose=0, callbacks=[Backup(backups, every=10, about="a")])
    return model


def test_of_damaged_backups_the_newest_whole_one_is_used(folder):
    model, backups = fitted(folder, folder / "b"), folder / "b"
    assert sorted({path.stem for path in backups.iterdir()}) == ["step-10", "step-20", "step-30"]
    again = new_model()
    assert Backup(backups, about="a").restore(again) == 30
    np.testing.assert_array_equal(state(again), state(model))
    data = next(backups.glob("step-30.data*"))
    data.write_bytes(data.read_bytes()[:100])
    backup = Backup(backups, about="a")
    assert backup.restore(again) == 20 and "step-30" in backup.damaged[0]
    (backups / "step-20.index").write_bytes(b"")
    assert backup.restore(again) == 10 and len(backup.damaged) == 2
    next(backups.glob("step-10.data*")).unlink()
    before = state(again)
    with pytest.raises(ValueError, match="^folder: expected a whole backup, got only damaged ones: step-30"):
        backup.restore(again)
    np.testing.assert_array_equal(state(again), before)


@pytest.mark.parametrize(
    ("other", "about"),
    [
        (lambda: StepwiseEM(MixtureLayout(K + 1, D, "tril")), "a"),
        (lambda: StepwiseEM(MixtureLayout(K, D, "diag")), "a"),
        (lambda: new_model(alpha=0.7), "a"),
        (lambda: new_model(gamma=0.1), "a"),
        (lambda: new_model(tied=True), "a"),
        (lambda: new_model(rank=1), "a"),
        (lambda: new_model(prior_rows=5), "a"),
        (new_model, "other batches"),
    ],
)
def test_the_backup_of_another_model_is_refused_and_nothing_is_overwritten(folder, other, about):
    backups = folder / "b"
    fitted(folder, backups)
    before = {path.name: path.read_bytes() for path in backups.iterdir()}
    model = other()
    empty = state(model)
    with pytest.raises(ValueError, match="^step-30: expected a backup of StepwiseEM with K = .*, got one of Stepwise"):
        Backup(backups, about=about).restore(model)
    np.testing.assert_array_equal(state(model), empty)
    assert {path.name: path.read_bytes() for path in backups.iterdir()} == before


def test_no_backup_is_step_0(tmp_path):
    assert Backup(tmp_path / "none").restore(new_model()) == 0
    with pytest.raises(ValueError, match="every"):
        Backup(tmp_path, every=0)


def test_a_folder_whose_name_is_a_pattern_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"^folder: expected a path without \* \? \[ \], .* got .*run\[1\]"):
        Backup(tmp_path / "run[1]")


def test_a_fit_from_the_beginning_does_not_mix_with_later_backups(folder):
    backups = folder / "b"
    fitted(folder, backups)
    before = {path.name: path.read_bytes() for path in backups.iterdir()}
    model, rows = new_model(), stream(find_shards(folder), BATCH)
    with pytest.raises(ValueError, match="^folder: expected an empty one, or restore to be called first, got step-30"):
        model.fit(rows, epochs=1, verbose=0, callbacks=[Backup(backups, every=10, about="a")])
    assert {path.name: path.read_bytes() for path in backups.iterdir()} == before


# ---- workers

WORKER = """
import json, os, sys, threading
from pathlib import Path
number, ports, folder = int(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3])
hosts = [f"127.0.0.1:{port}" for port in ports]
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": number}})
threading.Timer(240, os._exit, [1]).start()
from helpers import runtime
runtime.quiet_import()
import numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout
from helpers.stream import Backup, _state, find_shards, stream
shards = find_shards(folder)

def mine(context):
    return stream(shards, 40, worker=context.input_pipeline_id, workers=context.num_input_pipelines)

for kind in ("tril", "diag"):
    with strategy.scope():
        model = StepwiseEM(MixtureLayout(2, 3, kind), starts=1)
        try:
            model.fit(strategy.distribute_datasets_from_function(mine), steps_per_epoch=1)
        except ValueError as error:
            assert "expected a model that was fitted" in str(error)
        model.adapt(np.concatenate(list(stream(shards, 40).take(10).as_numpy_iterator())))
    backup = Backup(folder / f"{kind}-{number}", every=5, about="test")
    rows = strategy.distribute_datasets_from_function(mine)
    model.fit(rows, epochs=1, steps_per_epoch=20, verbose=0, callbacks=[backup])
with strategy.scope():
    model.steps.assign(20 + number)  # as where each restores from a folder of its own
before = [part.numpy() for part in _state(model).values()]
try:
    model.fit(rows, epochs=1, steps_per_epoch=1, verbose=0)
except ValueError as error:
    assert str(error).startswith("steps: expected all workers at one step"), error
    assert all(np.array_equal(one, other) for one, other in zip(before, _state(model).values()))
    print("done", flush=True)
    os._exit(0)
os._exit(2)
"""


def test_two_workers_make_the_steps_of_one_and_one_goes_on_from_their_backup(folder):
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = ",".join(str(one.getsockname()[1]) for one in sockets)
    for one in sockets:
        one.close()
    script = folder / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script)]
    workers = [
        subprocess.Popen(
            [*command, str(number), ports, str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (0, 1)
    ]
    said = [worker.communicate(timeout=280)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    shards = find_shards(folder)
    for kind in ("tril", "diag"):
        models = [StepwiseEM(MixtureLayout(K, D, kind), starts=1) for _ in range(3)]
        models[0].adapt(np.concatenate(batches(stream(shards, BATCH).take(10))))
        models[0].fit(stream(shards, BATCH).take(20), epochs=1, verbose=0)
        for number in (0, 1):
            assert Backup(folder / f"{kind}-{number}", about="test").restore(models[1 + number]) == 20
            np.testing.assert_allclose(state(models[1 + number]), state(models[0]), rtol=1e-4, atol=1e-6)
        for model in models[:2]:
            model.fit(stream(shards, BATCH, first=20), epochs=1, verbose=0)
        np.testing.assert_allclose(state(models[1]), state(models[0]), rtol=1e-4, atol=1e-6)
