"""StepwiseEM: a mixture of multivariate normals fitted by EM, a batch at a time, as a Keras model.

The formulas are derived in notebook 02. Letters: B rows of a batch, K components, D dimensions.
"""

import contextlib
import itertools
import math
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy.special import logsumexp

from helpers import arguments, starts
from helpers.distributions import FastMultivariateNormalTriL
from helpers.layout import MixtureLayout

tfd = tfp.distributions

# Whitening and start look at no more rows than this, and data of no more rows than this are one batch: plain EM.
ROWS_FOR_START = 20_000
# An E-step holds [rows, K, D] numbers at once: the first so many, or for large models as many as ROWS_AT_ONCE make, up
# to the second. Larger arrays come from the system anew each time; of fewer rows the products are slow.
NUMBERS_AT_ONCE, ROWS_AT_ONCE = (1_500_000, 4_000_000), 256
# Of data that are one batch, an epoch is as many steps of EM.
STEPS_AN_EPOCH = 25
# Starts in their order; the first once, the others in turns.
STARTS = ("sizes", "flat", "rows", "within", "moved", "moved")
# Nothing here is written for AutoGraph, whose reading of the source takes longer than a pass over 100,000 rows.
as_written = tf.autograph.experimental.do_not_convert
# With sums in float32 a variance is off by about 1e-7 squared distances (in standard deviations) of the mean from the
# middle of the data; beyond this distance squared, a thousandth, the batch is summed in float64.
FAR = 10_000.0


class Moments(NamedTuple):
    """The sufficient statistics: averages over rows, weighted by the responsibilities r. They add up over batches."""

    count: tf.Tensor  #: [K], of r
    first: tf.Tensor  #: [K, D], of r x
    second: tf.Tensor  #: [K, D, D], of r x x^T; its diagonal [K, D] for "diag"


def e_step(x, weights, log_weights, loc, inverse, variances=None, error_length=None):
    """Log densities of rows, and the sums over them that an M-step needs.

    Args:
      x: [B, D].
      weights: [B], by which a row counts.
      log_weights: [K], log of the components' weights.
      loc: [K, D].
      inverse: [K, D, D], inverses of the components' triangular factors; [K, D], of standard deviations, for "diag".
      variances: [B, J], where each row is known up to J independent errors with these variances. The density is then
        the exponential of the expected log density, for each component.
      error_length: [K, J], how long one unit of each error is in each component's standard deviations, squared.

    Returns:
      The log density of each row [B]; Moments, sums over the batch instead of averages, of the rows as if they had no
      errors; and the sum of r times the variances [K, J].
    """
    diagonal = inverse.shape.rank == 2
    k, d = loc.shape
    diag = inverse if diagonal else tf.linalg.diag_part(inverse)
    constant = log_weights + tf.reduce_sum(tf.math.log(diag), axis=-1) - 0.5 * d * math.log(2 * math.pi)
    if not diagonal:  # [P, -P loc] of all components, [D + 1, K D]
        shift = tf.linalg.matvec(inverse, loc)[..., tf.newaxis]
        side_by_side = tf.reshape(tf.transpose(tf.concat([inverse, -shift], axis=-1), [2, 0, 1]), [d + 1, k * d])
    usual, most = (numbers // (k * d) for numbers in NUMBERS_AT_ONCE)
    at_once = max(1, usual, min(ROWS_AT_ONCE, most))
    # With more components than dimensions, x x^T has fewer numbers than the r x of all components. Of its upper
    # triangle, blocks of eight rows each: a block begins at its diagonal.
    blocks = [(i, min(i + 8, d)) for i in range(0, d, 8)] if k > d and not diagonal else []
    sizes = [(j - i) * (d - i) for i, j in blocks]
    parts = (tf.shape(x)[0] + at_once - 1) // at_once

    def add(i, log_prob, count, first, second, errors):
        part = slice(i * at_once, (i + 1) * at_once)
        rows = x[part]
        if diagonal:
            y = (rows[:, tf.newaxis] - loc) * inverse
        else:  # P (x - loc) for all components: one product
            with_one = tf.concat([rows, tf.ones_like(rows[:, :1])], axis=-1)
            y = tf.reshape(tf.matmul(with_one, side_by_side), [-1, k, d])
        log_joint = constant - 0.5 * tf.reduce_sum(tf.square(y), axis=-1)
        if variances is not None:
            log_joint -= 0.5 * tf.matmul(variances[part], error_length, transpose_b=True)
        r = weights[part][:, tf.newaxis] * tf.nn.softmax(log_joint)
        if variances is not None:
            errors += tf.matmul(r, variances[part], transpose_a=True)
        if diagonal:
            second += tf.matmul(r, tf.square(rows), transpose_a=True)
        elif blocks:  # r^T (x x^T): the other product
            outer = [rows[:, i:j, tf.newaxis] * rows[:, tf.newaxis, i:] for i, j in blocks]
            flat = [tf.reshape(block, [-1, size]) for block, size in zip(outer, sizes, strict=True)]
            second += tf.concat([tf.matmul(r, block, transpose_a=True) for block in flat], axis=-1)
        else:  # x^T (r x) for all components: the other product
            second += tf.matmul(
                rows, tf.reshape(r[..., tf.newaxis] * rows[:, tf.newaxis], [-1, k * d]), transpose_a=True
            )
        log_prob = log_prob.write(i, tf.reduce_logsumexp(log_joint, axis=-1))
        return (
            i + 1,
            log_prob,
            count + tf.reduce_sum(r, axis=0),
            first + tf.matmul(r, rows, transpose_a=True),
            second,
            errors,
        )

    nothing = (
        tf.TensorArray(x.dtype, parts, infer_shape=False, element_shape=[None]),
        tf.zeros([k], x.dtype),
        tf.zeros([k, d], x.dtype),
        tf.zeros([k, sum(sizes)] if blocks else [k, d] if diagonal else [d, k * d], x.dtype),
        tf.zeros([k, 0 if variances is None else variances.shape[-1]], x.dtype),
    )
    _, log_prob, *sums = tf.while_loop(lambda i, *_: i < parts, add, (0, *nothing), parallel_iterations=1)
    count, first, second, errors = sums
    if blocks:
        split = zip(tf.split(second, sizes, axis=-1), blocks, strict=True)
        upper = [tf.pad(tf.reshape(block, [k, j - i, d - i]), [[0, 0], [0, 0], [i, 0]]) for block, (i, j) in split]
        second = tf.linalg.band_part(tf.concat(upper, axis=1), 0, -1)
        second += tf.linalg.matrix_transpose(second) - tf.linalg.diag(tf.linalg.diag_part(second))
    elif not diagonal:
        second = tf.transpose(tf.reshape(second, [d, k, d]), [1, 0, 2])
    return log_prob.concat(), Moments(count, first, second), errors


_e_step = tf.function(e_step, autograph=False)


def m_step(moments, rows=1.0, prior_rows=0.0, tied=False):
    """Weights, means and covariances of given statistics: those of the largest likelihood, or of a penalised one.

    The penalty counts `prior_rows` more rows for each component. They have the shape of V, the average covariance of
    the components, and are as many times as wide as the component is itself, drawn to V where it has hardly any rows. V
    counts as many rows of the width of all data over K^(1/D), alike in all directions of whitened coordinates. After
    Friedman (1989), "Regularized discriminant analysis"; that width after Fraley and Raftery (2007).

    Args:
      moments: Moments, averages over rows, float64.
      rows: how many rows these averages stand for.
      prior_rows: how many the penalty counts.
      tied: whether all components share one covariance.

    Returns:
      weights [K], loc [K, D], covariance [K, D, D]; variances [K, D] for "diag".
    """
    count, first, second = moments
    k, d = first.shape
    diagonal = second.shape.rank == 2
    weights = count / tf.reduce_sum(count)
    held = tf.maximum(count, 1e-300)
    loc = first / held[:, tf.newaxis]
    if diagonal:
        covariance = second / held[:, tf.newaxis] - tf.square(loc)
    else:
        outer = loc[:, :, tf.newaxis] * loc[:, tf.newaxis, :]
        covariance = second / held[:, tf.newaxis, tf.newaxis] - outer
    pooled = tf.tensordot(weights, covariance, 1)
    if tied:
        covariance = tf.repeat(pooled[tf.newaxis], k, axis=0)
        count = tf.fill([k], tf.reduce_sum(count))
    borrowed = tf.constant(1.0, tf.float64) * prior_rows
    seen = count * rows
    share = tf.math.divide_no_nan(borrowed, seen + borrowed)
    whole = k ** (-2 / d)  # in whitened units all the data have variance 1
    of_v = tf.math.divide_no_nan(borrowed, tf.reduce_sum(seen) + borrowed)
    v = (1 - of_v) * pooled + of_v * whole * (tf.ones([d], tf.float64) if diagonal else tf.eye(d, dtype=tf.float64))
    if diagonal:
        times = tf.reduce_mean(covariance / v, axis=-1)
    else:
        inverse = tf.linalg.cholesky_solve(tf.linalg.cholesky(v), tf.eye(d, dtype=tf.float64))
        times = tf.einsum("ij,kij->k", inverse, covariance) / d
    share, times = (tf.reshape(part, [k] + [1] * (2 - diagonal)) for part in (share, (1 - share) * times + share))
    return weights, loc, (1 - share) * covariance + share * times * v


def factor_step(covariance, noise, rank):
    """One step of a factor analysis of each covariance: the likeliest W for given noise, then EM for the noise.

    Source: Rubin and Thayer (1982), "EM algorithms for ML factor analysis"; the first half is Joereskog's (1967).

    Args:
      covariance: [K, D, D].
      noise: [K, D], variances.
      rank: columns of W.

    Returns:
      The covariance W W^T + diag(noise) [K, D, D], and the new noise [K, D].
    """
    root = tf.sqrt(noise)
    values, vectors = tf.linalg.eigh(covariance / (root[:, :, tf.newaxis] * root[:, tf.newaxis, :]))
    lengths = tf.sqrt(tf.maximum(values[:, -rank:] - 1, 0))
    W = root[..., tf.newaxis] * vectors[..., -rank:] * lengths[:, tf.newaxis]
    model = tf.matmul(W, W, transpose_b=True) + tf.linalg.diag(noise)
    beta = tf.linalg.matrix_transpose(tf.linalg.solve(model, W))  # [K, rank, D]
    beta_s = tf.matmul(beta, covariance)
    inner = tf.eye(rank, dtype=tf.float64) - tf.matmul(beta, W) + tf.matmul(beta_s, beta, transpose_b=True)
    fitted = tf.reduce_sum(W * tf.linalg.matrix_transpose(2 * beta_s - tf.matmul(inner, W, transpose_b=True)), axis=-1)
    diag = tf.linalg.diag_part(covariance)
    noise = tf.maximum(diag - fitted, 1e-6 * diag)
    return tf.matmul(W, W, transpose_b=True) + tf.linalg.diag(noise), noise


class StepwiseEM(tf_keras.Model):
    """A mixture of multivariate normals whose training step is an E-step and an M-step on one batch::

        model = StepwiseEM(MixtureLayout(20, 63, "tril"))
        model.fit(rows)             # no learning rate, no units, no optimiser
        model(rows).log_prob(rows)  # model(x): tfd.MixtureSameFamily; model.params: the flat vector of the layout

    Stepwise EM keeps a moving average of the sufficient statistics, s <- (1 - gamma) s + gamma s_batch, and follows
    each of its steps by an M-step; gamma = (t + 2)^-alpha at step t. gamma = 1 on all the data is EM; by such steps
    the starts are judged. All is done in whitened coordinates, in which the data have mean 0 and covariance
    I: the fit to A x + b is the fit to x, seen through that map ("diag" and `rank`: for a diagonal A).

    `fit` takes arrays or a `tf.data.Dataset`, and what `tf_keras.Model.fit` takes: callbacks, validation data, ... The
    loss is minus the mean log density, nats a row. `evaluate` gives it for other rows, `predict` the responsibilities
    [N, K]. The state is in the model's variables: `save_weights`, checkpoints and backups hold all of it.

    Sources: Cappe and Moulines (2009), "On-line expectation-maximization algorithm for latent data models"; Liang and
    Klein (2009), "Online EM for unsupervised models".

    Args:
      layout: a MixtureLayout.
      alpha: how fast the steps shrink, above 0.5 and at most 1.
      gamma: a constant step instead, above 0 and at most 1: for rows that change while the model follows them.
      prior_rows: the penalty: as if so many rows more had been seen of each component, see `m_step`. Left out, 1, which
        keeps small components sound; D + 2 with a constant gamma, which forgets, and where `fit` gets an array of fewer
        rows than the layout has numbers and than 20,000.
      tied: whether all components share one covariance. Not for "full".
      rank: for a covariance diag(noise) + W W^T with W [D, rank]. "tril" only.
      starts: how many starts are tried. The first is K sizes about the middle; then, in turns, k-means along the
        directions with the flattest distribution, k-means, k-means in the metric of what the likeliest so far has
        within its components, and twice the likeliest so far with one component cut and two others joined. The
        likeliest after some steps of EM is kept. In large models, where a step costs, the steps are for starts that
        begin ahead of the likeliest so far.
      seed: of the starts and of the order of rows.

    Raises:
      ValueError: for arguments outside these ranges.
    """

    def __init__(
        self, layout, alpha=0.6, gamma=None, prior_rows=None, tied=False, rank=None, starts=6, seed=0, name=None
    ):
        super().__init__(name=name, autocast=False)
        if not isinstance(layout, MixtureLayout):
            raise ValueError(f"layout: expected a MixtureLayout, got {type(layout).__name__}")
        k, d = layout.num_components, layout.event_size
        arguments.number("alpha", alpha, "a number above 0.5 and at most 1", lambda given: 0.5 < given <= 1)
        if gamma is not None:
            arguments.number("gamma", gamma, "a number above 0 and at most 1", lambda given: 0 < given <= 1)
        if not isinstance(tied, (bool, np.bool_)):
            raise ValueError(f"tied: expected True or False, got {tied!r}")
        arguments.generator(seed)
        starts = arguments.whole_number("starts", starts, most=999)
        rank = rank if rank is None else arguments.whole_number("rank", rank)
        if prior_rows is not None:
            arguments.not_negative("prior_rows", prior_rows)
        if tied and layout.covariance == "full":
            raise ValueError("tied: expected False for covariance 'full', got True; use covariance 'tril'")
        if rank is not None and (layout.covariance != "tril" or tied or rank not in range(1, d)):
            raise ValueError(
                f"rank: expected a whole number from 1 to {d - 1}, covariance 'tril' and tied False, got {rank!r}, "
                f"{layout.covariance!r} and {tied!r}"
            )
        self.layout, self.alpha, self.gamma, self.tied, self.rank = layout, float(alpha), gamma, bool(tied), rank
        self.prior_rows = prior_rows
        self.starts, self.seed, self.revived = starts, seed, []
        self.diagonal = layout.covariance == "diag"
        matrix = [k, d] if self.diagonal else [k, d, d]

        def state(name, shape, dtype=tf.float64):
            only_first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # all replicas assign the same
            return self.add_weight(
                name,
                shape,
                dtype,
                initializer="zeros",
                trainable=False,
                aggregation=only_first,
                experimental_autocast=False,
            )

        self.adapted = state("adapted", [], tf.int64)
        self.steps = state("steps", [], tf.int64)
        self.borrowed = state("borrowed", [])  # prior_rows
        self.inverse_rows = state("inverse_rows", [])  # one over the rows that the moments stand for
        self.largest_batch = state("largest_batch", [])
        self.centre = state("centre", [d])
        self.whitener = state("whitener", matrix[1:])  # rows = centre + whitener @ whitened rows
        self.moments = Moments(state("count", [k]), state("first", [k, d]), state("second", matrix))
        self.weights_ = state("weights", [k])
        self.whitened_loc = state("loc", [k, d])
        self.whitened_scale = state("scale", matrix)
        self.noise = state("noise", [k, d]) if rank else None
        self.built = True
        self._loss = tf_keras.metrics.Mean("loss")
        # A step is traced by itself. Keras would trace it once more, which takes longer than a pass over 100,000 rows.
        self.compile(run_eagerly=not tf.distribute.has_strategy(), weighted_metrics=[])

    # ---- what the fitted mixture is

    def parts(self):
        """The components in the rows' own units, float64: logits [K], loc [K, D], and scale_tril or scale_diag."""
        loc, scale = self.whitened_loc, self.whitened_scale
        if self.diagonal:
            loc, scale = loc * self.whitener, scale * self.whitener
        else:
            loc, scale = tf.linalg.matvec(self.whitener, loc), tf.matmul(self.whitener, scale)
        return tf.math.log(self.weights_), self.centre + loc, scale

    @property
    def params(self):
        """The layout's flat vector [params_size], float64.

        Raises:
          ValueError: before `fit` or `adapt`, and where the layout's vector cannot hold the mixture: TriL and diagonal
            ones need standard deviations above 1e-5. `model(x)` has no such bound.
        """
        self._check_adapted()
        logits, loc, scale = (part.numpy() for part in self.parts())
        if self.layout.covariance == "full":
            scale = scale @ np.swapaxes(scale, -1, -2)
        try:
            return self.layout.pack(logits, loc, scale, tf.float64)
        except ValueError as error:
            raise ValueError(f"params: the layout's vector cannot hold this mixture ({error}); use model(x)") from None

    def call(self, inputs):
        """The mixture as a distribution: float64 for inputs of float64, otherwise float32; the inputs' values are not
        looked at."""
        dtype = tf.float64 if getattr(inputs, "dtype", None) in (tf.float64, np.float64) else tf.float32
        logits, loc, scale = (tf.cast(part, dtype) for part in self.parts())
        kind = tfd.MultivariateNormalDiag if self.diagonal else FastMultivariateNormalTriL
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), kind(loc, scale))

    @property
    def dead_components(self):
        """Components that hold fewer than two of the rows that the statistics stand for, a list of numbers."""
        return np.flatnonzero(self.moments.count.numpy() < 2 * self.inverse_rows.numpy()).tolist()

    # ---- one step

    @as_written
    def step(self, x, variances=None, sample_weight=None):
        """An E-step and an M-step on one batch: what `fit` does to each. For loops of your own, in graphs too.

        Args:
          x: [B, D], B at least K.
          variances: [B, D], where each row is a normal with mean x and these variances, as the codes of a VAE are. The
            components then follow all these normals and not only their means.
          sample_weight: [B], not negative; 1 if left out.

        Returns:
          The mean log density of the batch before the step; with `variances` a lower bound on its expectation.

        Raises:
          ValueError: for other shapes, and, where it is not traced, before `fit`, `adapt` or `start_from`.
          tf.errors.InvalidArgumentError: for NaN or infinity, fewer than K rows, variances that are negative, weights
            that are negative or all 0. Nothing has changed then.
        """
        if self.gamma is None:
            gamma = (tf.cast(self.steps, tf.float64) + 2) ** -self.alpha
        else:
            gamma = tf.constant(self.gamma, tf.float64)
        if tf.executing_eagerly():
            x = tf.convert_to_tensor(x)
            self._check_shape(x)
            self._check_adapted()
            return self._now(self._traced_step, (x, variances, sample_weight), gamma)
        return self._step(x, variances, sample_weight, gamma)

    def _now(self, function, given, *others):
        """One of the two functions below, traced once for rows of any number; `given` as in `step`."""
        given = [None if part is None else tf.convert_to_tensor(part) for part in given]
        self._check_shape(*given)
        of_any_number = [part if part is None else tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in given]
        exact = bool(self._far())
        function.get_concrete_function(*of_any_number, *others, exact)
        return function(*given, *others, exact)

    @tf.function(autograph=False)
    def _traced_step(self, x, variances, sample_weight, gamma, exact):
        return self._step(x, variances, sample_weight, gamma, exact)

    @tf.function(autograph=False)
    def _traced_expected(self, x, variances, sample_weight, exact):
        return self._expected(x, variances, sample_weight, exact)

    @as_written
    def _step(self, x, variances, sample_weight, gamma, exact=None):
        log_prob, weights, moments = self._expected(x, variances, sample_weight, exact)
        total, squares, n = tf.reduce_sum(weights), tf.reduce_sum(tf.square(weights)), tf.shape(weights)[0]
        parts, same_step = [*moments, total, squares, tf.cast(n, tf.float64)], None
        context = tf.distribute.get_replica_context()
        if context is not None and (replicas := context.num_replicas_in_sync) > 1:
            at = tf.cast(self.steps, tf.float64)
            *parts, at, at_squared = context.all_reduce(tf.distribute.ReduceOp.SUM, [*parts, at, at**2])
            message = "steps: expected all workers at one step, as restored from one folder; got a mean of"
            same_step = _sure(replicas * at_squared <= at**2, [message, at / replicas])
        *moments, total, squares, n = parts
        k = self.layout.num_components
        # Their names begin the messages, which `fit` hands on.
        checks = [
            same_step,
            _sure(n >= k, [f"x: expected batches of at least {k} rows, one for each component, got", n]),
            _sure(total > 0, ["sample_weight: expected a positive sum, got", total]),
            _sure(
                tf.reduce_all([tf.reduce_all(tf.math.is_finite(part)) for part in moments]),
                ["x: expected finite numbers, got NaN or infinity"],
            ),
        ]
        batch, largest = Moments(*(part / total for part in moments)), tf.maximum(self.largest_batch, n)
        if self.gamma is None:  # what is left over at the end of a pass counts less than a whole batch
            gamma = gamma * n / largest
        counters = [(self.largest_batch, largest), (self.steps, self.steps + 1)]
        self._move(batch, gamma, squares / total**2, checks, counters)
        return tf.reduce_sum(log_prob * weights) / tf.reduce_sum(weights)

    def _whitened(self, x):
        centred = tf.cast(x, tf.float64) - self.centre
        if self.diagonal:
            return centred / self.whitener
        inverse = tf.linalg.triangular_solve(self.whitener, tf.eye(self.layout.event_size, dtype=tf.float64))
        return tf.matmul(centred, inverse, transpose_b=True)

    def _check_shape(self, x, variances=None, sample_weight=None):
        if x.shape.rank != 2 or x.shape[1] not in (None, self.layout.event_size):
            raise ValueError(f"x: expected [B, {self.layout.event_size}], got shape {tuple(x.shape)}")
        for name, part, axes in (("variances", variances, 2), ("sample_weight", sample_weight, 1)):
            if part is not None and not x.shape[:axes].is_compatible_with(part.shape):
                raise ValueError(f"{name}: expected shape {tuple(x.shape[:axes])} as x, got {tuple(part.shape)}")

    def _far(self):
        """Whether a component is so far from the middle of the data that float32 would lose its variance."""
        loc, scale = self.whitened_loc, self.whitened_scale
        if self.diagonal:
            distance = loc / scale
        else:
            distance = tf.linalg.triangular_solve(scale, loc[..., tf.newaxis])[..., 0]
        return tf.reduce_max(tf.reduce_sum(tf.square(distance), axis=-1)) > FAR

    def _expected(self, x, variances, sample_weight, exact=None):
        """Log densities [B] in the rows' own units, weights [B], Moments of sums over the batch; all float64.

        They are summed in float64 where this is `exact`; if left out, where a component is far.
        """
        x = tf.convert_to_tensor(x)
        self._check_shape(x)
        # Of no fixed length, so that one tracing of the E-step serves start, fit and evaluation.
        z = tf.compat.v1.placeholder_with_default(self._whitened(x), [None, self.layout.event_size])
        weights = tf.ones(tf.shape(z)[:1], tf.float64)
        if sample_weight is not None:
            weights = tf.reshape(tf.cast(sample_weight, tf.float64), tf.shape(weights))
            with tf.control_dependencies(
                [tf.debugging.assert_non_negative(weights, "sample_weight: expected numbers of at least 0")]
            ):
                weights = tf.identity(weights)
        scale = self.whitened_scale
        if self.diagonal:
            inverse, unit = 1 / scale, 1 / self.whitener
        else:
            eye = tf.eye(self.layout.event_size, dtype=tf.float64)
            inverse = tf.linalg.triangular_solve(scale, tf.broadcast_to(eye, tf.shape(scale)))
            unit = tf.linalg.triangular_solve(self.whitener, eye)  # one unit of each column, whitened
        length = None
        if variances is not None:
            variances = tf.cast(variances, tf.float64)
            variances.set_shape(z.shape)
            positive = tf.debugging.assert_non_negative(variances, "variances: expected numbers of at least 0")
            with tf.control_dependencies([positive]):
                variances = tf.identity(variances)
            length = tf.square(inverse * unit) if self.diagonal else tf.reduce_sum(tf.square(inverse @ unit), axis=-2)
        given = (z, weights, tf.math.log(self.weights_), self.whitened_loc, inverse, variances, length)

        def run(dtype):
            results = _e_step(
                *tf.nest.map_structure(lambda part: None if part is None else tf.cast(part, dtype), given)
            )
            return tf.nest.map_structure(lambda part: tf.cast(part, tf.float64), results)

        if exact is None:
            log_prob, moments, errors = tf.cond(self._far(), lambda: run(tf.float64), lambda: run(tf.float32))
        else:
            log_prob, moments, errors = run(tf.float64 if exact else tf.float32)
        if variances is not None:
            added = errors * tf.square(unit) if self.diagonal else tf.einsum("ij,kj,lj->kil", unit, errors, unit)
            moments = moments._replace(second=moments.second + added)
        diag = self.whitener if self.diagonal else tf.linalg.diag_part(self.whitener)
        return log_prob - tf.reduce_sum(tf.math.log(diag)), weights, moments

    def _move(self, batch, gamma, inverse_rows, checks=(), counters=()):
        """The moving average of the statistics one step on, and the M-step that follows it; all of it or nothing."""
        moments = Moments(*((1 - gamma) * old + gamma * new for old, new in zip(self.moments, batch, strict=True)))
        inverse_rows = (1 - gamma) ** 2 * self.inverse_rows + gamma**2 * inverse_rows
        weights, loc, covariance = m_step(moments, 1 / inverse_rows, self.borrowed, self.tied)
        if self.rank:
            covariance, noise = factor_step(covariance, self.noise, self.rank)
        scale = tf.sqrt(covariance) if self.diagonal else tf.linalg.cholesky(covariance)
        sound = _sure(
            tf.reduce_all(tf.math.is_finite(scale)),
            [
                "prior_rows: a component has lost its rows or a direction, or a row is far out; expected more than",
                self.borrowed,
            ],
        )
        state = [*moments, inverse_rows, weights, loc, scale] + ([noise] if self.rank else [])
        with tf.control_dependencies([check for check in (*checks, sound) if check is not None]):
            for variable, value in [*zip(self._state, state, strict=True), *counters]:
                variable.assign(tf.identity(value))

    # ---- fit and its kin

    @as_written
    def train_step(self, data):
        x, variances, sample_weight = _unpack(data)
        self._loss.update_state(-self.step(x, variances, sample_weight))
        return {"loss": self._loss.result()}

    @as_written
    def test_step(self, data):
        x, variances, sample_weight = _unpack(data)
        if tf.executing_eagerly():
            log_prob, weights, _ = self._now(self._traced_expected, (x, variances, sample_weight))
        else:
            log_prob, weights, _ = self._expected(x, variances, sample_weight)
        self._loss.update_state(-log_prob, weights)
        return {"loss": self._loss.result()}

    @as_written
    def predict_step(self, data):
        x, _, _ = _unpack(data)
        return self(tf.cast(x, tf.float64)).posterior_marginal(tf.cast(x, tf.float64)).probs_parameter()

    @property
    def metrics(self):
        return [self._loss]

    def evaluate(self, x=None, y=None, batch_size=None, sample_weight=None, **options):
        """As Keras's, but float64 rows keep their digits, which Keras rounds to float32; x is checked as by `fit`."""
        return super().evaluate(self._in_batches(x, sample_weight, batch_size), **options)

    def predict(self, x, batch_size=None, **options):
        """The responsibilities [N, K]; float64 rows keep their digits."""
        return super().predict(self._in_batches(x, None, batch_size), **options)

    def load_weights(self, *args, **options):
        with self._all_or_nothing():
            return super().load_weights(*args, **options)

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """What goes wrong inside leaves the model as it was."""
        before = [variable.numpy() for variable in self.weights]
        try:
            yield
        except BaseException:
            for variable, value in zip(self.weights, before, strict=True):
                variable.assign(value)
            raise

    def adapt(self, x, variances=None, sample_weight=None, whole=False):
        """Take whitening and start from rows: at most 20,000 of them, chosen at random. `fit` does it where it was not
        done yet.

        Args:
          x: array [N, D], more rows than D and than K.
          variances: array [N, D], see `step`.
          sample_weight: array [N].
          whole: whether there will be no other rows, see `prior_rows`.

        Raises:
          ValueError: for another shape, NaN or infinity, too few rows, a column that is constant or, but for "diag", a
            sum of multiples of others.
        """
        with self._all_or_nothing():
            self._adapt(_floats("x", x), variances, sample_weight, whole)

    def _adapt(self, x, variances, sample_weight, whole):
        scarce = whole and len(x) < min(self.layout.params_size, ROWS_FOR_START)
        rows, variances, weights = self._whiten(x, variances, sample_weight, scarce)
        k, d = self.layout.num_components, self.layout.event_size
        if len(x) > ROWS_FOR_START:  # of many rows a part tells a good start from a poor one
            part = slice(max(5000, 50 * k))
            rows, weights = rows[part], weights[part]
            variances = None if variances is None else variances[part]
        given = rows, variances, None if sample_weight is None else weights
        given = [None if part is None else tf.constant(part, _floats("x", x).dtype) for part in given]
        # The trials are steps of EM: gamma = 1 on all of these rows.
        counters = self.steps.numpy(), self.largest_batch.numpy()
        self.largest_batch.assign(0)
        # For large models a few steps, which must tell; what is learnt from too few rows is not kept.
        trials = int(np.clip(2e9 / (len(rows) * k * d**2), 4, STEPS_AN_EPOCH))
        keep = len(x) <= ROWS_FOR_START or len(rows) > 20 * k * d
        try:
            kept = self._likeliest_start(given, rows, variances, weights, trials, keep)
        finally:
            self.steps.assign(counters[0])
            self.largest_batch.assign(counters[1])
        self._set_values(kept)
        self.adapted.assign(1)

    def _likeliest_start(self, given, rows, variances, weights, trials, keep):
        """The state of the likeliest start after `trials` steps of EM, or before them where they are not to `keep`."""
        z, k, dear = self._whitened(rows).numpy(), self.layout.num_components, trials < STEPS_AN_EPOCH
        begin, best, kept, ahead, mixture, nth = -np.inf, -np.inf, None, [], None, 0
        rng = np.random.default_rng([self.seed, 1])

        def climb(steps=trials):
            """The mean log density before each of some steps of EM, and the state to go on from."""
            scores, first = [], self._values()
            for step in range(steps):
                scores.append(self._now(self._traced_step, given, tf.constant(1.0, tf.float64)).numpy())
                if dear and 0 < step < len(ahead) and scores[step] < ahead[step - 1]:
                    break  # behind by more than a step
                if not dear and step >= 5 and scores[-1] + (steps - 1 - step) * (scores[-1] - scores[-2]) < best:
                    break  # would not get there if it went on gaining as in its last step
            return scores, self._values() if keep else first

        turns = itertools.chain(STARTS[:1], itertools.cycle(STARTS[1:]))
        for kind in itertools.islice(turns, self.starts if k > 1 else 1):
            if kind in ("within", "moved") and mixture is None or kind == "moved" and dear:
                continue
            try:
                if kind == "sizes":
                    self._set_sizes(len(z))
                elif (labels := starts.labels(kind, z, k, weights, mixture, rng, nth)) is not None:
                    self._set_labels(labels, z, variances, weights)
                else:
                    continue
                nth += kind == "moved"
                if dear:  # steps are for those that begin ahead of the likeliest so far, and then for both
                    score = logsumexp(starts.log_joint(z[:500], self._mixture()), axis=1).mean()
                    if score < begin:
                        continue
                    begin = score
                    if kept is None:
                        kept = self._values()
                        continue
                    if not ahead:
                        values = self._values()
                        self._set_values(kept)
                        ahead, kept = climb()
                        best = ahead[-1]
                        self._set_values(values)
                scores, values = climb()
            except tf.errors.InvalidArgumentError as error:  # a component lost its rows: no start
                message = _assertion(error)
                continue
            if len(scores) == trials and scores[-1] > best:
                best, ahead, kept, nth, mixture = scores[-1], scores, values, 0, self._mixture()
        if dear and not ahead and kept is not None:
            # Measured with glibc: where the first step runs inside Keras's loop, each large array of every later step
            # comes from the system anew, and a step takes twice as long.
            self._set_values(kept)
            climb(1)
        if kept is None:
            raise ValueError(message)
        return kept

    def start_from(self, labels, x, variances=None):
        """Begin where an M-step on given clusters leads, those of k-means say; `fit` goes on from there.

        Args:
          labels: array [N], whole numbers from 0 to K - 1, each of them at least once. Not for `rank`.
          x: array [N, D].
          variances: array [N, D], see `step`.

        Raises:
          ValueError: for labels that are none, and as `adapt`.
        """
        x, variances, _ = self._check_arrays(x, variances, None)
        k, n, labels = self.layout.num_components, len(x), np.asarray(labels)
        if labels.shape != (n,) or set(labels.tolist()) != set(range(k)):
            raise ValueError(f"labels: expected [{n}] whole numbers, each of 0 to {k - 1}, got {labels!r:.60}")
        if self.rank:
            raise ValueError(f"labels: expected a model without rank, got rank {self.rank}")
        with self._all_or_nothing():
            self._whiten(x, variances)
            try:
                self._set_labels(labels.astype(np.int64), self._whitened(x).numpy(), variances, np.full(n, 1 / n))
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(_assertion(error)) from None
            self.adapted.assign(1)

    def _set_labels(self, labels, z, variances, weights):
        """The M-step on clusters of whitened rows; weights [N] sum to 1."""
        k = self.layout.num_components
        r = np.zeros((len(z), k))
        r[np.arange(len(z)), labels] = weights
        if self.diagonal:
            second = r.T @ z**2 + (0 if variances is None else r.T @ variances / self.whitener.numpy() ** 2)
        else:
            clusters = [np.flatnonzero(labels == j) for j in range(k)]
            second = np.stack([z[rows].T @ (weights[rows, np.newaxis] * z[rows]) for rows in clusters])
            if variances is not None:
                unit = np.linalg.inv(self.whitener.numpy())
                second += np.einsum("ij,kj,lj->kil", unit, r.T @ variances, unit)
        count, first = r.sum(axis=0), r.T @ z
        if self.rank:
            own = np.diagonal(second, axis1=1, axis2=2) / np.maximum(count, 1e-300)[:, np.newaxis]
            self.noise.assign(np.where(own > 0, own, 1))
        moments = Moments(*map(tf.constant, (count, first, second)))
        self._move(moments, tf.constant(1.0, tf.float64), tf.constant(np.sum(weights**2), tf.float64))

    def _whiten(self, x, variances, sample_weight=None, scarce=False):
        """Takes the whitening from rows; those rows, their variances, and their weights, which sum to 1."""
        x, variances, sample_weight = self._check_arrays(x, variances, sample_weight)
        d, n = self.layout.event_size, len(x)
        rng = np.random.default_rng(self.seed)
        chosen = rng.choice(n, ROWS_FOR_START, replace=False) if n > ROWS_FOR_START else np.arange(n)
        rows = x[chosen].astype(np.float64)
        variances = None if variances is None else variances[chosen].astype(np.float64)
        weights = np.ones(len(rows)) if sample_weight is None else sample_weight[chosen].astype(np.float64)
        if not weights.sum() > 0:
            raise ValueError("sample_weight: expected a positive sum, got 0 among the rows that the start looks at")
        weights = weights / weights.sum()
        centre = weights @ rows
        error = np.diag(np.zeros(d) if variances is None else weights @ variances)
        whitener = _whitener(rows, centre, weights, error, np.finfo(x.dtype).eps, self.diagonal or self.rank)
        if self.rank:
            whitener = np.diag(whitener)
        self.centre.assign(centre)
        self.whitener.assign(whitener)
        usual = d + 2 if scarce or self.gamma is not None else 1
        self.borrowed.assign(usual if self.prior_rows is None else self.prior_rows)
        return rows, variances, weights

    @property
    def _state(self):
        return [*self.moments, self.inverse_rows, self.weights_, self.whitened_loc, self.whitened_scale] + (
            [self.noise] if self.rank else []
        )

    def _mixture(self):
        """Weights [K], loc [K, D], covariance [K, D, D] or variances [K, D] of whitened rows."""
        scale = self.whitened_scale.numpy()
        covariance = scale**2 if self.diagonal else scale @ np.swapaxes(scale, 1, 2)
        return self.weights_.numpy(), self.whitened_loc.numpy(), covariance

    def _values(self):
        return [variable.numpy() for variable in self._state]

    def _set_values(self, values):
        for variable, value in zip(self._state, values, strict=True):
            variable.assign(value)

    def _set_sizes(self, n):
        """K sizes about the middle."""
        k, d = self.layout.num_components, self.layout.event_size
        sizes = np.geomspace(0.08, 2.7, k) if k > 1 else np.ones(1)
        variances = np.repeat(sizes[:, np.newaxis] ** 2, d, axis=1)
        second = variances if self.diagonal else variances[:, :, np.newaxis] * np.eye(d)
        scale = np.sqrt(second)
        self.weights_.assign(np.full(k, 1 / k))
        self.whitened_loc.assign(np.zeros((k, d)))
        self.whitened_scale.assign(scale)
        for variable, value in zip(self.moments, (np.full(k, 1 / k), np.zeros((k, d)), second / k), strict=True):
            variable.assign(value)
        self.inverse_rows.assign(1 / n)
        if self.rank:
            self.noise.assign(variances)

    def fit(self, x=None, y=None, batch_size=None, epochs=None, sample_weight=None, callbacks=None, **options):
        """Fit to rows: `tf_keras.Model.fit`, with the start, the whitening and the batches chosen here.

        Args:
          x: array [N, D]; or a pair of arrays, rows and their variances [N, D], see `step`; or a `tf.data.Dataset` of
            batches: rows [B, D], or (rows, ignored, weights). Float64 rows keep their digits. Of several workers, after
            `adapt`, what the strategy's `distribute_datasets_from_function` gives, with `steps_per_epoch`. A
            dataset has its rows in random order: the average would follow batches of one kind, then of another.
          y: None, or what Keras's users hand over in its place: the rows once more. It is not looked at.
          batch_size: of arrays, at least K; all rows where there are at most 20,000, otherwise the larger of 5,000 and
            50 K, and then as near to it as N is divided evenly.
          epochs: passes over the data, for data that are one batch 25 steps each; if left out, until one gains less
            than 0.001 nats a row, at most 60.
          sample_weight: array [N], not negative.
          callbacks, options: those of `tf_keras.Model.fit`.

        Returns:
          Keras's History.

        Raises:
          ValueError: as `adapt` and `step`; the message names the batch. All that was learnt before it is kept.
        """
        where = _Progress(self, None if epochs is not None else 0.001)
        epochs = 60 if epochs is None else epochs
        if isinstance(x, tf.distribute.DistributedDataset):
            self._check_adapted()  # all workers alike, which no worker's own batches can see to
        elif not isinstance(x, tf.data.Dataset):
            pair = isinstance(x, tuple) or isinstance(x, list) and all(hasattr(part, "shape") for part in x)
            rows, variances = x if pair and len(x) == 2 else (x, None)
            rows, variances, weights = self._check_arrays(rows, variances, sample_weight)
            x = self._batches(rows, variances, weights, batch_size)
            self._adapt_once(rows, variances, weights, whole=True)
        elif batch_size is not None or sample_weight is not None:
            raise ValueError("batch_size, sample_weight: expected None for a dataset, whose batches have their own")
        else:
            spec = _rows_of(x.element_spec)
            if spec.shape.rank != 2 or spec.shape[1] not in (None, self.layout.event_size):
                raise ValueError(f"x: expected batches [B, {self.layout.event_size}], got shape {tuple(spec.shape)}")
            if not self.adapted.numpy():  # a mirrored variable itself is always true
                self._adapt_once(*_first_rows(x, self.layout.event_size))
        if (held_out := options.get("validation_data")) is not None and not isinstance(held_out, tf.data.Dataset):
            held_out, weights = (*held_out, None, None)[:3:2] if isinstance(held_out, tuple) else (held_out, None)
            options["validation_data"] = self._in_batches(held_out, weights, None, "validation_data")
        callbacks = callbacks if isinstance(callbacks, tf_keras.callbacks.CallbackList) else list(callbacks or [])
        try:
            return super().fit(x, epochs=epochs, callbacks=[*callbacks, where], **options)
        except tf.errors.InvalidArgumentError as error:
            message = _assertion(error)
            if message is None:
                raise
            raise ValueError(f"{message} in batch {where.batch} of epoch {where.epoch}, counted from 0") from None
        finally:  # Keras keeps what it validates with where a fit was broken off
            if getattr(self, "_eval_data_handler", None) is not None:
                del self._eval_data_handler

    def _adapt_once(self, rows, variances, weights, whole=False):
        with self.distribute_strategy.scope():
            if not self.adapted.numpy():
                self.adapt(rows, variances, weights, whole)

    def _batches(self, rows, variances, weights, batch_size):
        """A dataset of parts of nearly equal size, in an order that follows from the seed and the step."""
        k, n = self.layout.num_components, len(rows)
        if batch_size is None:
            batch_size = n if n <= ROWS_FOR_START else max(5000, 50 * k)
        batch_size = arguments.whole_number("batch_size", batch_size, k, max(n, k))  # a row for each component
        parts = -(-n // batch_size)
        if n // parts < k:
            parts = n // k
        given = rows if variances is None else (rows, variances)
        given = (given,) if weights is None else (given, rows, weights)
        if parts == 1:
            return tf.data.Dataset.from_tensors(given).repeat(STEPS_AN_EPOCH)

        def shuffled():
            rng = np.random.default_rng([self.seed, int(self.steps.numpy()) // parts])
            for chosen in np.array_split(rng.permutation(n), parts):
                yield tf.nest.map_structure(lambda part, chosen=chosen: part[chosen], given)

        specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), given)
        dataset = tf.data.Dataset.from_generator(shuffled, output_signature=specs)
        return dataset.prefetch(2).apply(tf.data.experimental.assert_cardinality(parts))

    def _in_batches(self, x, sample_weight, batch_size, name="x"):
        """Arrays, or a pair of rows and variances, as a dataset; a dataset as it is."""
        self._check_adapted()
        if isinstance(x, tf.data.Dataset):
            if sample_weight is not None:
                raise ValueError("sample_weight: expected None for a dataset, whose batches have their own")
            return x
        rows, variances = x if isinstance(x, tuple) and len(x) == 2 else (x, None)
        rows, variances, weights = self._check_arrays(rows, variances, sample_weight, fit=False, name=name)
        x = rows if variances is None else (rows, variances)
        parts = (x,) if weights is None else (x, np.zeros(len(rows)), weights)
        return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size or 5000)

    def _check_arrays(self, x, variances, weights, fit=True, name="x"):
        """Arrays of the right shape, finite, float32 or float64, enough rows to `fit`."""
        k, d = self.layout.num_components, self.layout.event_size
        x = _floats(name, x)
        if x.ndim != 2 or x.shape[1] != d:
            raise ValueError(f"{name}: expected [N, {d}], got shape {x.shape}")
        least = max(k, 2 if self.diagonal else d + 1) if fit else 1
        if len(x) < least:
            why = f" for {k} components in {d} dimensions" if fit else ""
            raise ValueError(f"{name}: expected at least {least} rows{why}, got {len(x)}")
        _check_finite(name, x)
        if variances is not None:
            variances = _floats("variances", variances)
            if variances.shape != x.shape:
                raise ValueError(f"variances: expected [{len(x)}, {d}] as x, got shape {variances.shape}")
            _check_finite("variances", variances)
            if variances.min() < 0:
                raise ValueError(f"variances: expected numbers of at least 0, got {variances.min():.3g}")
        if weights is not None:
            weights = _floats("sample_weight", weights)
            if weights.shape != (len(x),):
                raise ValueError(f"sample_weight: expected [{len(x)}], got shape {weights.shape}")
            _check_finite("sample_weight", weights)
            if weights.min() < 0 or not weights.sum() > 0:
                raise ValueError(
                    f"sample_weight: expected numbers of at least 0 with a positive sum, got {weights.min():.3g}"
                )
        return x, variances, weights

    def _check_adapted(self):
        if not self.adapted.numpy():
            raise ValueError(
                "params: expected a model that was fitted, got one that has seen no rows; call fit or adapt"
            )

    def revive(self):
        """Give each dead component one half of the component with the largest weight. `fit` does it between passes.

        Returns:
          The numbers of the components that were placed anew, a list.
        """
        dead = self.dead_components
        for j in dead:
            count, first, second = (part.numpy() for part in self.moments)
            k = int(count.argmax())
            loc = first[k] / count[k]
            if self.diagonal:
                covariance = second[k] / count[k] - loc**2
                axis = np.sqrt(covariance) * (covariance == covariance.max())
                spread = covariance - 0.25 * axis**2
            else:
                covariance = second[k] / count[k] - np.outer(loc, loc)
                values, vectors = np.linalg.eigh(covariance)
                axis = np.sqrt(values[-1]) * vectors[:, -1]
                spread = covariance - 0.25 * np.outer(axis, axis)
            half = count[k] / 2
            for index, mean in ((j, loc + 0.5 * axis), (k, loc - 0.5 * axis)):
                count[index], first[index] = half, half * mean
                second[index] = half * (spread + (mean**2 if self.diagonal else np.outer(mean, mean)))
            for variable, value in zip(self.moments, (count, first, second), strict=True):
                variable.assign(value)
        if dead:  # an M-step that takes nothing in
            self._move(self.moments, tf.constant(0.0, tf.float64), tf.constant(0.0, tf.float64))
        return dead


class _Progress(tf_keras.callbacks.Callback):
    """Where `fit` stands. Between passes components are revived; a pass that gains less than `least` is the last."""

    def __init__(self, model, least):
        super().__init__()
        self.fitted, self.least, self.last, self.epoch, self.batch = model, least, np.inf, 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        with self.fitted.distribute_strategy.scope():
            revived = self.fitted.revive() if epoch > 0 else []
        if revived:
            self.fitted.revived.append((epoch, revived))
            self.last = np.inf
        self.epoch, self.batch = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batch = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        loss = (logs or {}).get("loss", np.nan)
        if self.least is not None and self.last - loss < self.least:
            self.model.stop_training = True
        self.last = loss


def _whitener(rows, centre, weights, error, eps, diagonal):
    """The lower triangular factor of the rows' covariance, by a QR decomposition, which keeps twice the digits."""
    centred = rows - centre
    with np.errstate(over="ignore"):  # which is said below
        spread = np.sqrt(weights @ centred**2 + np.diag(error))
    constant = np.flatnonzero((np.ptp(rows, axis=0) <= 4 * eps * np.abs(rows).max(axis=0)) & (np.diag(error) == 0))
    if len(constant):
        raise ValueError(f"x: expected columns that vary, got the constant column {constant[0]}")
    if not np.all((1e-150 < spread) & (spread < 1e150)):
        j = int(np.argmin((1e-150 < spread) & (spread < 1e150)))
        raise ValueError(f"x: expected standard deviations from 1e-150 to 1e150, got {spread[j]:.3g} in column {j}")
    if diagonal:
        return spread
    root = np.sqrt(weights)[:, np.newaxis] * centred / spread
    root = np.concatenate([root, np.sqrt(error) / spread])
    factor = np.linalg.qr(root, mode="r").T
    factor = factor * np.where(np.diag(factor) < 0, -1, 1)
    left = np.diag(factor)
    if left.min() < 4 * eps:
        raise ValueError(
            f"x: expected columns none of which follows from the others, got column {left.argmin()}, a sum of "
            f"multiples of the columns before it up to {left.min():.1g} of its standard deviation"
        )
    return spread[:, np.newaxis] * factor


def _floats(name, value):
    arguments.not_masked(name, value)
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{name}: expected an array of numbers, got {value!r:.60}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected an array of numbers, got {array.dtype}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def _check_finite(name, array):
    for start in range(0, len(array), 100_000):
        bad = ~np.isfinite(array[start : start + 100_000])
        if bad.any():
            row = start + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity in row {row}")


def _sure(condition, message):
    """The operation behind `tf.debugging.Assert`, which would trace two branches around it."""
    return tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(part) for part in message])


def _unpack(data):
    """Rows, their variances and their weights, None where there are none, of what Keras or a dataset hands over."""
    x, _, weights = tf_keras.utils.unpack_x_y_sample_weight(data)
    x, variances = x if isinstance(x, (tuple, list)) else (x, None)
    return x, variances, weights


def _rows_of(element):
    while isinstance(element, (tuple, list)):
        element = element[0]
    return element


def _first_rows(dataset, d):
    """Rows of the first batches, their variances and weights: enough for the start."""
    kept, n = [], 0
    for number, element in enumerate(dataset):
        x, variances, weights = _unpack(element)
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != d:
            raise ValueError(f"x: expected batches [B, {d}], got shape {x.shape} in batch {number}, counted from 0")
        if not np.all(np.isfinite(x)):
            raise ValueError(f"x: expected finite numbers, got NaN or infinity in batch {number}, counted from 0")
        kept.append((x, variances, weights))
        n += len(x)
        if n >= ROWS_FOR_START:
            break
    if not kept:
        raise ValueError("x: expected a dataset of batches, got an empty one")
    return tuple(None if part[0] is None else np.concatenate(part) for part in zip(*kept, strict=True))


def _assertion(error):
    """The message of one of `step`'s assertions inside TensorFlow's report of it, or None."""
    found = re.search(
        r"((?:x|variances|sample_weight|prior_rows|steps): [^'\]\[]*)[\]']*(?:\s*\[?(-?[\d.]+)\]?)?", error.message
    )
    return found and " ".join(part.strip() for part in found.groups() if part)
