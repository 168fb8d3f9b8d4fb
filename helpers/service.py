"""A fitted mixture as a program that TensorFlow alone can load and run: a SavedModel with functions of its own.

A model with a distribution layer does not load from Keras's .keras and .h5 files, and a SavedModel of it gives back a
random draw.
"""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers import arguments
from helpers.conditional import _parts

tfd = tfp.distributions


class MixtureService(tf.Module):
    """A mixture's `log_prob`, `responsibilities` and `sample`, from the numbers that a caller has::

        MixtureService(model(rows), before=BASIS).save(folder)       # here
        served = tf.saved_model.load(folder).signatures             # anywhere
        served["log_prob"](x=pixels)["log_prob"]                    # [N], for any N, 0 included

    All is computed in float64, whatever the mixture was. x and the answers are float32; another dtype is refused.

    - `log_prob(x)`: [N], the log density of `x @ before`.
    - `responsibilities(x)`: [N, K].
    - `sample(n, seed)`: [n, I]; seed is two whole numbers, and the same seed gives the same draw.

    NaN and infinity are refused with an InvalidArgumentError that names the first such row, rows of another width with
    one that names both widths. Any finite x has a finite answer: no `log_prob` is below float32's lowest number.

    Args:
      mixture: `tfd.MixtureSameFamily` of multivariate normals, batch shape [], event shape [D].
      before: array [I, D] of rank D, which x is multiplied by first; samples go back by its pseudo-inverse. Left out,
        x is what the mixture is of.

    Raises:
      ValueError: for another kind of distribution or a batch of them; for a `before` of another shape or rank.
    """

    def __init__(self, mixture, before=None):
        super().__init__()
        logits, loc, scale = _parts(mixture)
        if loc.shape.rank != 2:
            raise ValueError(f"mixture: expected batch shape [], got {tuple(mixture.batch_shape)}")
        k, d = loc.shape
        before = np.eye(d) if before is None else arguments.finite_array("before", before).astype(np.float64)
        if before.ndim != 2 or before.shape[1] != d:
            raise ValueError(f"before: expected [I, {d}] of rank {d}, got shape {before.shape}")
        if (rank := np.linalg.matrix_rank(before)) < d:
            raise ValueError(f"before: expected [I, {d}] of rank {d}, got shape {before.shape} and rank {rank}")
        inverse = tf.linalg.triangular_solve(scale, tf.eye(d, batch_shape=[k], dtype=tf.float64))
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(scale)), axis=-1)

        def kept(value):
            return tf.Variable(value, trainable=False)

        self.before, self.loc, self.inverse = kept(before), kept(loc), kept(inverse)
        self.constant = kept(tf.nn.log_softmax(logits) - log_det - 0.5 * d * math.log(2 * math.pi))
        self.log_weights = kept(tf.nn.log_softmax(logits))
        rows = tf.TensorSpec([None, before.shape[0]], tf.float32, "x")
        number, seed = tf.TensorSpec([], tf.int32, "n"), tf.TensorSpec([2], tf.int32, "seed")
        self.functions = {
            "log_prob": tf.function(self._log_prob, [rows], autograph=False),
            "responsibilities": tf.function(self._responsibilities, [rows], autograph=False),
            "sample": tf.function(self._sample, [number, seed], autograph=False),
        }

    def save(self, folder):
        """Write the SavedModel. What is in `folder` already is overwritten."""
        tf.saved_model.save(self, str(folder), signatures=self.functions)

    def _log_joint(self, x):
        k, d = self.loc.shape
        rows = tf.matmul(tf.cast(_rows("x", x, self.before.shape[0]), tf.float64), self.before)
        middle = tf.reduce_mean(self.loc, axis=0)  # digits are lost where x and loc are large beside their distance
        side_by_side = tf.reshape(tf.transpose(self.inverse, [2, 0, 1]), [d, k * d])
        shift = tf.reshape(tf.linalg.matvec(self.inverse, self.loc - middle), [k * d])
        y = tf.reshape(tf.matmul(rows - middle, side_by_side) - shift, [-1, k, d])
        return self.constant - 0.5 * tf.reduce_sum(tf.square(y), axis=-1)

    def _log_prob(self, x):
        log_prob = tf.reduce_logsumexp(self._log_joint(x), axis=-1)
        return {"log_prob": tf.cast(tf.maximum(log_prob, tf.float32.min), tf.float32)}

    def _responsibilities(self, x):
        return {"responsibilities": tf.cast(tf.nn.softmax(self._log_joint(x)), tf.float32)}

    def _sample(self, n, seed):
        n = _sure(n, n >= 0, ["n: expected a number of at least 0, got", n])
        first, second = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        component = tf.random.stateless_categorical(self.log_weights[tf.newaxis], n, first, dtype=tf.int32)[0]
        z = tf.random.stateless_normal([n, self.loc.shape[1]], second, dtype=tf.float64)
        # L z is what solves P y = z: the inverse factors are enough
        moved = tf.linalg.triangular_solve(self.inverse, tf.linalg.matrix_transpose(z)[tf.newaxis])  # [K, D, n]
        chosen = tf.gather_nd(tf.transpose(moved, [0, 2, 1]), tf.stack([component, tf.range(n)], axis=-1))
        rows = chosen + tf.gather(self.loc, component)
        back = tf.linalg.solve(
            tf.matmul(self.before, self.before, transpose_a=True), tf.linalg.matrix_transpose(self.before)
        )
        return {"x": tf.cast(tf.matmul(rows, back), tf.float32)}


class ConditionalService(tf.Module):
    """The same for a Keras model whose output is a distribution of y for each row of x, `mixture_network` for one.

    - `log_prob(x, y)`: [N].
    - `responsibilities(x, y)`: [N, K].
    - `sample(x, seed)`: [N, D], one y for each x.

    x and y are float32: where x has a large offset beside its spread, digits are lost before the network sees them.
    Where the network's own numbers overflow, for x or y of 1e20 say, an InvalidArgumentError says so.

    Args:
      model: a Keras model; model(x) is a `tfd.MixtureSameFamily` of batch shape [N] and event shape [D].

    Raises:
      ValueError: for a model whose output is something else.
    """

    def __init__(self, model):
        super().__init__()
        if not isinstance(model, tf_keras.Model) or not model.built:
            raise ValueError(f"model: expected a Keras model that is built, got {type(model).__name__}")
        inputs = model.input_shape[-1]
        mixture = model(tf.zeros([1, inputs]))
        if not isinstance(getattr(mixture, "tensor_distribution", mixture), tfd.MixtureSameFamily):
            raise ValueError(f"model: expected one that gives a MixtureSameFamily, got {type(mixture).__name__}")
        self.kept = model.variables  # the functions read them; the model's layers are not saved
        x = tf.TensorSpec([None, inputs], tf.float32, "x")
        y = tf.TensorSpec([None, *mixture.event_shape], tf.float32, "y")

        def given(x, y):
            y = _rows("y", y, mixture.event_shape[0])
            of_x, of_y = tf.shape(x)[0], tf.shape(y)[0]
            y = _sure(y, of_x == of_y, ["y: expected as many rows as x has,", of_x, "got", of_y])
            return model(_rows("x", x, inputs)), y

        def log_prob(x, y):
            distribution, y = given(x, y)
            return {"log_prob": _sound(distribution.log_prob(y))}

        def responsibilities(x, y):
            distribution, y = given(x, y)
            return {"responsibilities": _sound(distribution.posterior_marginal(y).probs_parameter())}

        def sample(x, seed):  # one row more than asked for, since some distributions cannot draw for no row
            x = tf.concat([_rows("x", x, inputs), tf.zeros([1, inputs])], axis=0)
            distribution = model(x)
            y = distribution.sample(seed=seed)
            # weights that are NaN pick no component, and the draw would be 0
            y = tf.where(tf.math.is_finite(distribution.log_prob(y))[:, tf.newaxis], y, math.nan)
            return {"y": _sound(y[:-1])}

        self.functions = {
            "log_prob": tf.function(log_prob, [x, y], autograph=False),
            "responsibilities": tf.function(responsibilities, [x, y], autograph=False),
            "sample": tf.function(sample, [x, tf.TensorSpec([2], tf.int32, "seed")], autograph=False),
        }

    save = MixtureService.save


def _sure(value, condition, message):
    """`value`, or an InvalidArgumentError with this message where the condition does not hold."""
    with tf.control_dependencies([tf.debugging.Assert(condition, message)]):
        return tf.identity(value)


def _rows(name, value, width):
    """`value`, or an error that says what is wrong: its shape, or which is its first row with NaN or infinity."""
    shape = tf.shape(value)  # a loaded function may be handed any
    right = tf.reduce_all(tf.equal(shape[1:], width)) & tf.equal(tf.reduce_sum(shape[1:]), width)
    value = _sure(value, right, [f"{name}: expected [N, {width}], got shape", shape])
    return _finite(value, f"{name}: expected finite numbers, got NaN or infinity in row")


def _sound(value):
    """An answer of a network, or an error: float32 could not hold what it came from."""
    return _finite(value, "x, y: expected numbers that the network can use, got too large in row")


def _finite(value, message):
    """`value`, or an error with this message and its first row with NaN or infinity."""
    bad = tf.reduce_any(~tf.math.is_finite(value), axis=tf.range(1, tf.rank(value)))
    row = tf.reduce_min(tf.where(bad, tf.range(tf.size(bad)), tf.int32.max))
    return _sure(value, ~tf.reduce_any(bad), [message, row])
