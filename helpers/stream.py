"""Rows on disk that no memory has to hold: shards, the stream of their batches, and backups of a fit to it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from helpers import arguments

HEADER = 128  # bytes before the rows in what np.save writes of two-dimensional arrays
KINDS = "float16", "float32", "float64", "uint8", "uint16", "int8", "int16", "int32", "int64"


class Shards(NamedTuple):
    """Files of equally many rows, each what `np.save` writes of an array [rows, width] in C order."""

    files: tuple  #: their paths, text, in order
    rows: int  #: in each file
    width: int  #: numbers in a row
    dtype: np.dtype  #: of the numbers


def find_shards(folder):
    """The shards of a folder, all its files named `*.npy`, looked at without reading the rows.

    Rows that are in memory already become shards so; a few may be left over::

        for i, rows in enumerate(np.split(rng.permutation(x)[: len(x) // 20 * 20], 20)):
            np.save(folder / f"{i:02d}.npy", rows)

    Args:
      folder: a path.

    Returns:
      Shards.

    Raises:
      ValueError: where there is none; for one that is no such file, is cut short or too long, has no rows, or is of
        another shape or dtype than the first; for a dtype that is not one of `KINDS` in this machine's byte order. The
        message names the file. What its numbers are is not looked at: `stream` does that.
    """
    files, first = sorted(Path(folder).glob("*.npy")), None
    if not files:
        raise ValueError(f"folder: expected files named *.npy, got none in {str(folder)!r}")
    for file in files:
        array = _opened(file)
        if array.ndim != 2 or not array.size or array.dtype.name not in KINDS or not array.dtype.isnative:
            raise ValueError(
                f"{file.name}: expected rows [N, D] of {', '.join(KINDS)}, got {array.dtype} of shape {array.shape}"
            )
        if not array.flags.c_contiguous or array.offset != HEADER:
            raise ValueError(f"{file.name}: expected rows in C order, see np.ascontiguousarray, got another order")
        if (extra := file.stat().st_size - HEADER - array.nbytes) > 0:
            raise ValueError(f"{file.name}: expected a file of {HEADER + array.nbytes} bytes, got {extra} more")
        first = array if first is None else first
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"{file.name}: expected {first.dtype} of shape {first.shape} as in {files[0].name}, got {array.dtype} "
                f"of shape {array.shape}"
            )
    return Shards(tuple(map(str, files)), *first.shape, first.dtype)


def _opened(file):
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy has several for a file that is not whole
        raise ValueError(f"{file.name}: expected a whole .npy file, got one that does not load ({error})") from None
    if not isinstance(array, np.memmap):
        raise ValueError(f"{file.name}: expected one array, as np.save writes it, got {type(array).__name__}")
    return array


def stream(shards, batch, first=0, prepare=None, worker=0, workers=1, passes=1):
    """Batches of shards: batch t is the t-th block of every shard, so that its number is its place in the stream.

    What is less than a block at the end of each shard is left out. In several passes the number goes on. With several
    workers each reads only its own shards and gives its part of each batch; all parts together are the batch of a
    single worker.

    Args:
      shards: Shards; their rows in random order.
      batch: rows of a batch, a multiple of the number of shards.
      first: the number of the first batch, a whole number or a variable, which is read when the pass begins. Where it
        is the number of all batches, nothing is left to read, and there is nothing to call `fit` with.
      prepare: function of a block [batch / shards, width] and of a seed, int32 [2], the shard's and the batch's number;
        it gives what stands in the batch in the block's place. Left out, the rows as they are.
      worker, workers: which part this is, and of how many; a divisor of the number of shards.
      passes: how often the shards are read.

    Returns:
      `tf.data.Dataset` of [batch / workers, width]. Reading raises `tf.errors.InvalidArgumentError` for NaN and
      infinity, which `StepwiseEM.fit` hands on as a ValueError: it names the file and the block.

    Raises:
      ValueError: for sizes that do not divide each other, a worker or a first batch that there is not; for a shard of
        this worker that is no longer what `find_shards` saw.
    """
    files, workers = shards.files, arguments.whole_number("workers", workers)
    batch, passes = arguments.whole_number("batch", batch), arguments.whole_number("passes", passes)
    block = batch // len(files)
    if batch % len(files):
        raise ValueError(f"batch: expected a multiple of the {len(files)} shards, got {batch!r}")
    if block > shards.rows:
        raise ValueError(f"batch: expected at most the {shards.rows * len(files)} rows of all shards, got {batch}")
    if len(files) % workers or worker not in range(workers):
        raise ValueError(
            f"worker, workers: expected one of as many workers as divide {len(files)} shards, got {worker!r} of "
            f"{workers}"
        )
    for file in map(Path, files[worker::workers]):
        if (array := _opened(file)).shape != (shards.rows, shards.width) or array.dtype != shards.dtype:
            saw = f"{shards.dtype} of shape {(shards.rows, shards.width)}, as find_shards saw it"
            raise ValueError(f"{file.name}: expected {saw}, got {array.dtype} of shape {array.shape}")
    a_pass, size = shards.rows // block, block * shards.width * shards.dtype.itemsize
    left_over = (shards.rows % block) * shards.width * shards.dtype.itemsize
    names = [Path(file).name for file in files]
    if not isinstance(first, tf.Variable):
        if first not in range(passes * a_pass + 1):
            raise ValueError(f"first: expected a whole number from 0 to {passes * a_pass} batches, got {first!r}")
        first = tf.constant(first, tf.int64)

    def blocks(number):
        raw = tf.data.FixedLengthRecordDataset(tf.gather(files, number), size, HEADER, left_over)
        start, total = tf.cast(first, tf.int64), passes * a_pass
        message = [f"first: expected a whole number from 0 to {total} batches, got", start]
        with tf.control_dependencies([tf.debugging.Assert((start >= 0) & (start <= total), message)]):
            start = tf.identity(start)
        later = raw.repeat(tf.maximum(passes - 1 - start // a_pass, 0))
        left = raw.skip(start % a_pass).concatenate(later).take(total - start)  # whole passes are not read
        return left.enumerate(start).map(lambda t, text: rows(number, t, text))

    def rows(number, t, text):
        x = tf.reshape(tf.io.decode_raw(text, shards.dtype), [block, shards.width])
        if x.dtype.is_floating:
            place = tf.strings.join([tf.gather(names, number), ", block ", tf.strings.as_string(t)])
            message = tf.strings.join(["x: expected finite numbers, got NaN or infinity in ", place])
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(x)), [message])]):
                x = tf.identity(x)
        return x if prepare is None else prepare(x, tf.cast(tf.stack([number, t]), tf.int32))

    mine = len(files) // workers
    numbers = tf.data.Dataset.range(worker, len(files), workers)
    parts = numbers.interleave(blocks, cycle_length=mine, block_length=1, num_parallel_calls=1, deterministic=True)
    joined = parts.batch(mine, drop_remainder=True)
    joined = joined.map(lambda x: tf.reshape(x, [mine * block, x.shape[-1]]), num_parallel_calls=1).prefetch(2)
    return joined


class Backup(tf_keras.callbacks.Callback):
    """Keeps all that a `StepwiseEM` has learnt, every few batches, so that a fit that was killed goes on::

        model, backup = StepwiseEM(layout), Backup(folder, every=50, about="photographs, batches of 5,000")
        first = backup.restore(model)  # what the newest whole backup holds; nothing where there is none
        if first < STEPS:  # the batches of the whole stream
            model.fit(stream(shards, 5000, first), epochs=1, callbacks=[backup])

    The number of the step is a part of the state, and with `stream` it is the place in the data.

    Args:
      folder: where the backups lie; made where there is none.
      every: how many batches lie between two.
      about: a text on what the steps depend on besides the model, the data and the batch say. A backup with another
        text is refused.
      writes: whether this process writes backups, of several workers the first alone.

    Raises:
      ValueError: for an `every` below 1, a folder that TensorFlow would take for a pattern; by `fit`, where the folder
        holds backups of later steps and `restore` was not called: they would be mixed with new ones.
    """

    def __init__(self, folder, every=50, about="", writes=True):
        super().__init__()
        self.folder, self.every, self.about = Path(folder), arguments.whole_number("every", every), about
        self.writes, self.damaged, self.looked = writes, [], False
        if any(character in str(folder) for character in "*?[]"):
            raise ValueError(f"folder: expected a path without * ? [ ], which TensorFlow expands, got {str(folder)!r}")

    def restore(self, model):
        """Give a model the state of the newest backup that is whole; all of it or nothing.

        Args:
          model: StepwiseEM, as it was when the backup was made.

        Returns:
          The number of its steps so far, 0 where there is no backup. `damaged` lists the files that were passed over.

        Raises:
          ValueError: for the backup of another model, and where backups are there and none is whole. Nothing has
            changed then, neither in the model nor in the folder.
        """
        self.damaged, self.looked, state = [], True, _state(model)
        found = self._newest_first()
        for index in found:
            try:
                reader = tf.train.load_checkpoint(str(index.with_suffix("")))
                values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
            except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
                self.damaged.append(f"{index.stem}: {str(error).splitlines()[0]:.90}")
                continue
            about = values.pop("about", b"something else").decode()
            if about != _about(model, self.about):
                raise ValueError(f"{index.stem}: expected a backup of {_about(model, self.about)}, got one of {about}")
            with model.distribute_strategy.scope():
                for name, variable in state.items():
                    variable.assign(values[name])
            return int(model.steps.numpy())
        if found:
            raise ValueError(f"folder: expected a whole backup, got only damaged ones: {'; '.join(self.damaged)}")
        return 0

    def _newest_first(self):
        named = {path.stem.removeprefix("step-"): path for path in self.folder.glob("step-*.index")}
        return [named[step] for step in sorted(filter(str.isdecimal, named), key=int, reverse=True)]

    def save(self, model):
        """Write a backup now; the newest three are kept."""
        # What tf.train.Checkpoint writes, without its variables: those would have to be made by all workers together.
        state = {"about": _about(model, self.about), **_state(model)}
        self.folder.mkdir(parents=True, exist_ok=True)
        tf.raw_ops.SaveV2(
            prefix=str(self.folder / f"step-{int(model.steps.numpy())}"),
            tensor_names=list(state),
            shape_and_slices=[""] * len(state),
            tensors=[tf.constant(value if isinstance(value, str) else value.numpy()) for value in state.values()],
        )
        for old in self._newest_first()[3:]:
            for file in self.folder.glob(f"{old.stem}.*"):
                file.unlink()

    def on_train_begin(self, logs=None):
        found, steps = self._newest_first(), int(self.model.steps.numpy())
        if self.writes and not self.looked and found and int(found[0].stem.removeprefix("step-")) > steps:
            empty = "expected an empty one, or restore to be called first"
            raise ValueError(f"folder: {empty}, got {found[0].stem} beside a model after {steps} steps")
        self.looked = True

    def on_train_batch_end(self, batch, logs=None):
        if self.writes and int(self.model.steps.numpy()) % self.every == 0:
            self.save(self.model)

    def on_train_end(self, logs=None):
        if self.writes:
            self.save(self.model)


def _state(model):
    # but for the sums of the loss, one of which is called `count`, too
    sums = [id(weight) for metric in model.metrics for weight in metric.weights]
    return {weight.name.split(":")[0]: weight for weight in model.weights if id(weight) not in sums}


def _about(model, text):
    layout = model.layout
    parts = [
        f"K = {layout.num_components}, D = {layout.event_size}, {layout.covariance!r}",
        f"alpha = {model.alpha}" if model.gamma is None else f"gamma = {model.gamma}",
        *(["tied"] if model.tied else []),
        *([f"rank {model.rank}"] if model.rank else []),
        *([f"prior_rows = {model.prior_rows}"] if model.prior_rows is not None else []),
        *([text] if text else []),
    ]
    return f"StepwiseEM with {', '.join(parts)}"
