"""A mixture with a network in front: p(y | x), one for each row of x. Notebook 04 shows why each part is there."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers import arguments
from helpers.distributions import FastMultivariateNormalTriL
from helpers.layout import MixtureLayout
from helpers.missing import fit_missing

tfd = tfp.distributions

ROWS_FOR_START = 5000  # EM looks at no more
FEW_ROWS, ROWS_A_NUMBER = 2000, 10  # see `few_rows`
STRENGTHS = np.append(np.geomspace(1e-6, 1e2, 25), np.inf)  # of the ridge, beside a column's mean square of 1
LEAVES = 0.25  # of a column's variance; a line that leaves more is not taken out
FARTHEST = 10.0  # standard deviations: an input beyond counts as one that is as far out
SPLIT = 0.3  # how far apart copies of a component start, in its standard deviations


def ridge_line(x, y):
    """Each column of y as a line in x, shrunk as far as is best for rows that were left out.

    Ridge regression on columns of x in units of their standard deviations. What a row leaves to the line of all others
    is `residual / (1 - leverage)`: no line is fitted twice. The strongest ridge is no line at all. For the choice, rows
    that come twice count once. Source: Golub, Heath and Wahba (1979), "Generalized cross-validation as a method for
    choosing a good ridge parameter".

    Args:
      x: array [N, I], N at least 2; a constant column gets slope 0.
      y: array [N, D].

    Returns:
      (slope [I, D], level [D], left [N, D]) in float64: the line is `x @ slope + level`, and `left` is what each row
      leaves to the line of all others.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    scale = _inverse_spread(x)
    z, mean, level = (x - x.mean(axis=0)) * scale, x.mean(axis=0), y.mean(axis=0)
    first = np.unique(np.concatenate([z, y], axis=1), axis=0, return_index=True)[1]
    choose = _ridge(z[first], y[first])
    errors = np.stack([np.sum(choose(strength)[1] ** 2, axis=0) for strength in STRENGTHS])
    fit, slope, left = _ridge(z, y), np.empty((x.shape[1], y.shape[1])), np.empty(y.shape)
    for j, best in enumerate(STRENGTHS[errors.argmin(axis=0)]):
        slopes, lefts = fit(best)
        slope[:, j], left[:, j] = scale * slopes[:, j], lefts[:, j]
    return slope, level - mean @ slope, left


def _ridge(z, y):
    """A function of the strength: slope [I, D], and what each row leaves to the line of all others [N, D]."""
    y = y - y.mean(axis=0)
    u, s, vt = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    held = s > 1e-10 * s[0]
    u, s, vt = u[:, held], s[held], vt[held]
    along, squared = u.T @ y, u**2
    # What no line in x reaches: next to nothing where there are more columns than rows. There residual and
    # 1 - leverage are both as small as the ridge, so neither may be a difference of large numbers.
    beyond, free_of_all = y - u @ along, np.maximum(1 - 1 / len(z) - squared.sum(axis=1), 0)

    def fit(strength):
        lost = np.ones_like(s) if np.isinf(strength) else strength * len(z) / (s**2 + strength * len(z))
        free = free_of_all + squared @ lost  # 1 - leverage
        slope = vt.T @ (((1 - lost) / s)[:, np.newaxis] * along)
        return slope, (beyond + u @ (lost[:, np.newaxis] * along)) / np.maximum(free, 1e-12)[:, np.newaxis]

    return fit


def few_rows(layout):
    """Below so many rows a mixture of this layout over-fits: 2,000, or ten for each of its numbers up to 5,000."""
    return max(FEW_ROWS, min(ROWS_A_NUMBER * layout.params_size, ROWS_FOR_START))


def mixture_network(layout, x, y, hidden=(128, 128), activation="relu", floor=0.01, seed=0):
    """A Keras model whose output is a mixture of y for each row of x, with a start that trains; compile it and fit it::

        model = mixture_network(MixtureLayout(8, 2, "full"), x, y)
        model.compile(tf_keras.optimizers.Adam(1e-3), loss=lambda y, mixture: -mixture.log_prob(y))
        model.fit(x, y, ...)  # with early stopping on held-out rows
        model(x)              # tfd.MixtureSameFamily: batch shape [N], event shape [D], in the units of y
        model.predict(x)      # its mean, [N, D]: Keras wants a tensor

    A line first, the mixture on what the line leaves: each mean is a `ridge_line` at x plus what the network makes. The
    line is fixed. A column of which it would leave more than a quarter of the variance has none: there the mean may
    move with x because the weights of branches do, and a line would smear the branches. The network sees x in units of
    its standard deviations, and makes y in units of what the line leaves. It starts at the mixture that EM fits to
    that, whatever x is; with fewer rows than `few_rows`, of no more different components than rows left out tell apart.
    Line and units are weights that no training moves: `save_weights` keeps them, `load_weights` brings them into a
    network of the same layout that was built on other rows.
    `floor` is added to the diagonal of every component's factor: no density can exceed `(2.5 floor)^-D` in those units,
    so that no likelihood grows without limit.

    Args:
      layout: a MixtureLayout; its event_size is the width of y.
      x: array [N, I], the inputs to train on; a constant column is harmless, and what is more
        than ten standard deviations out counts to the network as if it were ten. In float64 where the offset is large
        beside the spread: the model, its `fit` and its `evaluate` take both kinds.
      y: array [N, D].
      hidden: units of the hidden layers.
      activation: of the hidden layers.
      floor: the smallest spread of a component in a direction that the others leave to it, in standard deviations of
        what the line leaves, to which rows that are far out do not count as such; a positive number. Not below what y
        was rounded to.
      seed: of the start and of the network's weights.

    Returns:
      `MixtureNetwork`, a `tf_keras.Model`.

    Raises:
      ValueError: for x or y that are no finite [N, ...] arrays, of different length, y of another width than the
        layout's, with a constant column or an offset that float32 cannot hold beside its spread, fewer rows than
        components; a floor that is not positive.
    """
    if not isinstance(layout, MixtureLayout):
        raise ValueError(f"layout: expected a MixtureLayout, got {type(layout).__name__}")
    x, y = arguments.finite_array("x", x), arguments.finite_array("y", y)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"x: expected [N, inputs], got shape {x.shape}")
    if y.ndim != 2 or y.shape[1] != layout.event_size:
        raise ValueError(f"y: expected [N, {layout.event_size}] for this layout, got shape {y.shape}")
    if len(x) != len(y):
        raise ValueError(f"y: expected {len(x)} rows, one for each of x, got {len(y)}")
    if len(y) < max(layout.num_components, 2):
        least = max(layout.num_components, 2)
        raise ValueError(f"y: expected at least {least} rows for {layout.num_components} components, got {len(y)}")
    arguments.positive("floor", floor)
    if not isinstance(hidden, (list, tuple)):
        raise ValueError(f"hidden: expected a list of whole numbers, got {hidden!r}")
    hidden = [arguments.whole_number("hidden", units) for units in hidden]
    rng = arguments.generator(seed)
    x, y = x.astype(np.float64), y.astype(np.float64)
    if not np.all(vary := arguments.varies(y)):
        raise ValueError(f"y: expected columns that vary, got the constant column {vary.argmin()}")
    spread, largest = y.std(axis=0), np.abs(y).max(axis=0)
    if np.any(far := spread < 1e-5 * largest):
        j = far.argmax()
        numbers = f"numbers up to {largest[j]:.3g} with a spread of {spread[j]:.3g}"
        raise ValueError(f"y: expected a spread that float32 holds, got {numbers} in column {j}. Take off the mean.")
    slope, level, left = ridge_line(x, y)
    without = np.mean(left**2, axis=0) > LEAVES * spread**2
    mean = y.mean(axis=0)
    slope, level, left = np.where(without, 0, slope), np.where(without, mean, level), np.where(without, y - mean, left)
    unit = np.maximum(_drawn_in(left).std(axis=0), 1e-4 * spread)  # y may be a line in x
    start = _start(layout, left / unit, floor, rng, seed)
    d = layout.event_size

    def in_units_of_y(numbers):
        line, unit, params = tf.split(numbers, [d, d, layout.params_size], axis=-1)
        standard = layout.distribution(params)
        parts = standard.components_distribution
        unit = unit[..., tf.newaxis, :]  # the same for all components
        loc = line[..., tf.newaxis, :] + unit * parts.loc
        factor = unit[..., tf.newaxis] * (parts.scale.to_dense() + floor * tf.eye(d))
        return tfd.MixtureSameFamily(standard.mixture_distribution, FastMultivariateNormalTriL(loc, factor))

    def initializer(kind, **options):
        return kind(seed=int(rng.integers(2**31)), **options)

    layers, initializers = tf_keras.layers, tf_keras.initializers
    constant, near = initializers.Constant, _drawn_in(x)
    scale = _inverse_spread(near)
    inputs = layers.Input([x.shape[1]], dtype="float64")

    exact = dict(dtype="float64", trainable=False)
    line = layers.Dense(d, kernel_initializer=constant(slope), bias_initializer=constant(level), name="line", **exact)
    line = line(inputs)
    unit = _Units(np.zeros(d), unit, name="unit_of_y", **exact)(line)
    values = _Units(scale, -near.mean(axis=0) * scale, name="units_of_x", **exact)(inputs)
    values = layers.Lambda(lambda z: tf.clip_by_value(z, -FARTHEST, FARTHEST), dtype="float64")(values)
    for width in hidden:
        values = layers.Dense(width, activation, kernel_initializer=initializer(initializers.GlorotUniform))(values)
    params = layers.Dense(
        layout.params_size,
        kernel_initializer=initializer(initializers.RandomNormal, stddev=0.01),
        bias_initializer=constant(start),
    )(values)
    numbers = layers.Concatenate(dtype="float32")([line, unit, params])

    def as_tensor(mixture):  # which Keras wants of it at every step; a draw would cost more than the density
        return tf.ensure_shape(mixture.mean(), [None, d])

    return MixtureNetwork(inputs, tfp.layers.DistributionLambda(in_units_of_y, convert_to_tensor_fn=as_tensor)(numbers))


class _Units(tf_keras.layers.Layer):
    """`scale` times what comes, plus `shift`: weights, so that `save_weights` keeps the units with the rest."""

    def __init__(self, scale, shift, **options):
        super().__init__(**options)
        for name, value in (("scale", scale), ("shift", shift)):
            self.add_weight(name, value.shape, initializer=tf_keras.initializers.Constant(value))

    def call(self, inputs):
        scale, shift = self.weights
        return scale * inputs + shift


class MixtureNetwork(tf_keras.Model):
    """A Keras model whose `fit` and `evaluate` take x in float64 as it is: Keras would round it to float32.

    Both refuse arrays y of another width, which a density would broadcast.
    """

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)

    def fit(self, x=None, y=None, *others, validation_data=None, **options):
        self._check("y", x, y)
        if validation_data is not None and isinstance(validation_data, (tuple, list)):
            self._check("validation_data", *validation_data[:2])
            validation_data = (_kept(validation_data[0]), *validation_data[1:])
        return super().fit(_kept(x), y, *others, validation_data=validation_data, **options)

    def evaluate(self, x=None, y=None, *others, **options):
        self._check("y", x, y)
        return super().evaluate(_kept(x), y, *others, **options)

    def _check(self, name, x, y):
        if not (hasattr(x, "shape") and hasattr(y, "shape")):
            return
        if tuple(y.shape) != (len(x), self.output_shape[-1]):
            raise ValueError(f"{name}: expected y [{len(x)}, {self.output_shape[-1]}], got shape {tuple(y.shape)}")


def _kept(x):
    return tf.constant(x) if isinstance(x, np.ndarray) else x


def _drawn_in(x):
    """Columns whose numbers far beyond the middle 98 %, by more than its width, are drawn in to there."""
    low, high = np.quantile(x, [0.01, 0.99], axis=0)
    beyond = np.where(high > low, high - low, np.inf)
    return np.clip(x, low - beyond, high + beyond)


def _inverse_spread(x):
    """One over each column's standard deviation; 0 for a constant column."""
    vary = arguments.varies(x)
    return np.where(vary, 1 / np.where(vary, x.std(axis=0), 1), 0)


def _start(layout, rows, floor, rng, seed):
    """The flat vector [params_size] of a mixture that EM fits to rows [N, D] of spread 1.

    From few rows, EM with all components would fit noise. There each half of the rows judges mixtures that were fitted
    to the other; the smallest that none beats by more than the standard error is taken, its components split into
    copies that start a little apart.
    """
    rows = rows[rng.permutation(len(rows))[:ROWS_FOR_START]]
    # with errors of the size of the floor: rounded y must not make two components alike
    rows = rows + floor * rng.normal(size=rows.shape)

    def fit(k, rows):
        return fit_missing(MixtureLayout(k, *kind), rows, iterations=25, starts=1, seed=seed)

    kind, k = (layout.event_size, layout.covariance), layout.num_components
    if len(rows) >= few_rows(layout) or k == 1:
        return fit(k, rows).params.numpy()
    halves, best = np.array_split(rows, 2), None
    for size in [size for size in (1, 2, 4, 8, 16) if size < k] + [k]:
        if size > len(halves[1]):
            break
        pairs = zip(halves, halves[::-1], strict=True)
        scores = np.concatenate([fit(size, one).mixture.log_prob(other).numpy() for one, other in pairs])
        if best is None or (gain := scores - best).mean() > gain.std() / np.sqrt(len(gain)):
            best, chosen = scores, size
    found = fit(chosen, rows)
    of = np.arange(k) % chosen  # which component each is a copy of
    logits, loc, scale = (part.numpy()[of] for part in MixtureLayout(chosen, *kind).split(found.params))
    factor = found.mixture.components_distribution.scale.to_dense().numpy()[of]
    copies = np.bincount(of)[of]
    apart = np.where(copies > 1, SPLIT, 0)[:, np.newaxis] * rng.normal(size=loc.shape)
    left = np.sqrt(1 - np.where(copies > 1, SPLIT, 0) ** 2) ** (2 if layout.covariance == "full" else 1)
    scale = scale * left.reshape(-1, *[1] * (scale.ndim - 1))
    return layout.pack(logits - np.log(copies), loc + np.einsum("kij,kj->ki", factor, apart), scale).numpy()
