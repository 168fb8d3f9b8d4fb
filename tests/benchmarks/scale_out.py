"""Stepwise EM on a stream of patches from disk, by one process and by two workers.

    uv run python tests/benchmarks/scale_out.py [--rows 10000000] [--components 20 200] [--workers 1 2] [--folder F]

Patches of 8x8 pixels of seven photographs, turned and mirrored at random, in twenty shards of bytes (64 a row): they
are written to `--folder`, where they stay and serve the next run, or to a temporary one. Each setting is one pass in
processes of its own on loopback. Given are rows a second, the highest resident memory of a process and what it grew by
after the imports, the bytes that passed loopback in a step (on Linux), the time over that of two float32 matrix
products of the batch's size in the same process, the slope of log time against log rows within the pass, and minus the
mean log density of 20,000 held-out patches at each tenth of the pass with the seconds until then. A table, and one line
of JSON.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from density_step import peak_mib

SHARDS, D, BLOCK = 20, 63, 250
LEARNT = "china flower chelsea coins gravel motorcycle_left rocket".split()


def pick_patches(rng, n, begin=0.0, end=0.75):
    """n random patches of those rows of the photographs, turned or mirrored at random: uint8 [n, 64]."""
    from helpers import data

    square = np.arange(64).reshape(8, 8)
    turns = np.array([np.rot90(m, k).ravel() for m in (square, square.T) for k in range(4)])
    found = []
    for name, part in zip(LEARNT, np.array_split(np.arange(n), len(LEARNT)), strict=True):
        picture = np.rint(255 * data.photograph(name)).astype(np.uint8)
        every = data.patches(picture[int(begin * len(picture)) : int(end * len(picture))])
        found.append(every[rng.integers(len(every), size=len(part))])
    found = rng.permutation(np.concatenate(found))
    return np.take_along_axis(found, turns[rng.integers(8, size=n)], axis=1)


def write_shards(folder, rows):
    """Twenty shards and the held-out patches, where they are not there yet."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    if rows < SHARDS * BLOCK or rows % (SHARDS * BLOCK):
        raise ValueError(f"rows: expected a multiple of {SHARDS * BLOCK:,}, got {rows:,}")
    for i in range(SHARDS):
        path = folder / "shards" / f"shard-{i:02d}.npy"
        if not path.exists() or len(np.load(path, mmap_mode="r")) != rows // SHARDS:
            np.save(path, pick_patches(np.random.default_rng(i), rows // SHARDS))
    np.save(folder / "held_out.npy", pick_patches(np.random.default_rng(SHARDS), 20_000, 0.75, 1.0))


def loopback():
    """Bytes that loopback has carried so far; 0 where the system does not say."""
    counters = Path("/proc/net/dev")
    return int(counters.read_text().split("lo:")[1].split()[0]) if counters.exists() else 0


def child(folder, k, number, ports):
    """One worker; worker 0 prints its line of JSON."""
    if len(ports) > 1:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": number}})
        os.environ["GRPC_FAIL_FAST"] = "true"
    from helpers import runtime

    runtime.quiet_import()
    import tensorflow as tf
    import tf_keras
    from scipy.fft import dct

    strategy = tf.distribute.MultiWorkerMirroredStrategy() if len(ports) > 1 else tf.distribute.get_strategy()
    from helpers.fitting import StepwiseEM
    from helpers.layout import MixtureLayout
    from helpers.stream import find_shards, stream

    cosines = dct(np.eye(8), axis=0, norm="ortho")
    basis = tf.constant(np.kron(cosines, cosines)[1:].T, tf.float32)
    shards, batch = find_shards(folder / "shards"), SHARDS * max(BLOCK, 50 * k // SHARDS)
    batch = SHARDS * BLOCK * max(1, batch // (SHARDS * BLOCK))
    steps = SHARDS * shards.rows // batch

    def prepare(pixels, seed):
        noise = tf.random.stateless_uniform(tf.shape(pixels), seed, -0.5, 0.5)
        return tf.matmul(tf.cast(pixels, tf.float32) + noise, basis)

    def mine(context):
        options = {"worker": context.input_pipeline_id, "workers": context.num_input_pipelines}
        return stream(shards, batch, prepare=prepare, **options)

    few = stream(shards, batch, prepare=prepare).take(max(1, 20_000 // batch))
    held_out = prepare(tf.constant(np.load(folder / "held_out.npy")), tf.constant([0, 0]))
    imported = peak_mib()
    begin = time.perf_counter()
    with strategy.scope():
        model = StepwiseEM(MixtureLayout(k, D, "tril"), starts=1)
        model.adapt(np.concatenate(list(few.as_numpy_iterator())))
    started = time.perf_counter() - begin
    ends, passed, curve, paused = [], [], [], [0.0]

    class Watch(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, t, logs=None):
            ends.append(time.perf_counter() - paused[0])
            passed.append(loopback())
            if number == 0 and (t + 1) % max(1, steps // 10) == 0:
                now = time.perf_counter()
                mixture = self.model(held_out)  # a part at a time: all at once would be the peak of the memory
                loss = -float(np.mean([mixture.log_prob(part).numpy() for part in tf.split(held_out, 20)]))
                curve.append([round(ends[-1] - ends[0], 2), round(loss, 3)])
                paused[0] += time.perf_counter() - now

    rows = strategy.distribute_datasets_from_function(mine) if len(ports) > 1 else mine(tf.distribute.InputContext())
    model.fit(rows, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=[Watch()])
    a, b = tf.ones([batch // len(ports), D]), tf.ones([D, k * D])
    products = []
    for _ in range(7):
        now = time.perf_counter()
        tf.matmul(a, tf.matmul(a, b), transpose_a=True).numpy()
        products.append(time.perf_counter() - now)
    since = np.array(ends) - ends[0]  # without the tracing of the first step
    tail = np.arange(max(1, steps // 10), steps)
    result = {
        "rows": SHARDS * shards.rows,
        "components": k,
        "workers": len(ports),
        "batch": batch,
        "adapt_seconds": round(started, 2),
        "seconds": round(since[-1] * steps / max(1, steps - 1), 2),
        "rows_per_second": round(batch * (steps - 1) / since[-1]),
        "peak_mib": round(peak_mib()),
        "grown_mib": round(peak_mib() - imported),
        "loopback_bytes_a_step": int(np.median(np.diff(passed))),
        "sums_bytes": 8 * (k * (1 + D + D * D) + 3),
        "over_two_products": round(float(np.median(np.diff(ends)) / np.median(products)), 2),
        "slope": round(float(np.polyfit(np.log(tail), np.log(since[tail]), 1)[0]), 3),
        "held_out": curve,
        "dead": model.dead_components,
    }
    if number == 0:
        print(json.dumps(result), flush=True)
    sys.stdout.flush()
    os._exit(0)


def run(folder, k, workers):
    """The result of worker 0; all processes have ended."""
    sockets = [socket.socket() for _ in range(workers)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = ",".join(str(one.getsockname()[1]) for one in sockets)
    for one in sockets:
        one.close()
    command = [sys.executable, __file__, "--folder", str(folder), "--components", str(k), "--ports", ports, "--child"]
    children = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(workers)
    ]
    try:
        texts = [one.communicate() for one in children]
    finally:
        for one in children:
            one.kill()
            one.wait()
    if any(one.returncode for one in children):
        raise RuntimeError(f"a worker ended with an error: {texts[0][1][-2000:]}")
    return json.loads(texts[0][0].splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--components", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ports", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(given.folder, given.components[0], given.child, given.ports.split(","))
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        write_shards(folder, given.rows)
        for k in given.components:
            for workers in given.workers:
                result = run(folder, k, workers)
                results.append(result)
                print(
                    f"K = {k:3}, {workers} worker(s): {result['seconds']:7.1f} s, "
                    f"{result['rows_per_second']:8,} rows/s, "
                    f"{result['over_two_products']:5.2f} times two products, peak {result['peak_mib']:,} MiB "
                    f"(grown by {result['grown_mib']:,}), {result['loopback_bytes_a_step'] / 1e6:.2f} MB a step, "
                    f"slope {result['slope']}, held out {result['held_out'][-1][1]}",
                    flush=True,
                )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
