"""A mixture with a network in front: p(y | x), one for each row of x."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers import arguments
from helpers.distributions import FastMultivariateNormalTriL
from helpers.layout import MixtureLayout
from helpers.missing import fit_missing

tfd = tfp.distributions

ROWS_FOR_START = 5000  # EM on y alone looks at no more


def mixture_network(layout, x, y, hidden=(128, 128), activation="relu", floor=0.01, seed=0):
    """A Keras model whose output is a mixture of y for each row of x, with a start that trains; compile it and fit it::

        model = mixture_network(MixtureLayout(8, 2, "full"), x, y)
        model.compile(tf_keras.optimizers.Adam(1e-3), loss=lambda y, mixture: -mixture.log_prob(y))
        model.fit(x, y, ...)  # with early stopping on held-out rows
        model(x)              # tfd.MixtureSameFamily: batch shape [N], event shape [D], in the units of y

    The network sees x, and makes y, in units of their standard deviations. It starts at the mixture that EM fits to y
    alone, whatever x is. `floor` is added to the diagonal of every component's factor: no density can exceed
    `(2.5 floor)^-D` in those units, so that no likelihood grows without limit.

    Args:
      layout: a MixtureLayout; its event_size is the width of y.
      x: array [N, I], the inputs to train on; a constant column is harmless.
      y: array [N, D].
      hidden: units of the hidden layers.
      activation: of the hidden layers.
      floor: the smallest spread of a component in a direction that the others leave to it, in standard deviations of
        y; a positive number. Not below what y was rounded to.
      seed: of the start and of the network's weights.

    Returns:
      `tf_keras.Sequential`.

    Raises:
      ValueError: for x or y that are no finite [N, ...] arrays, of different length, y of another width than the
        layout's or with a constant column, fewer rows than components; a floor that is not positive.
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
    if not (np.isscalar(floor) and 0 < floor < math.inf):
        raise ValueError(f"floor: expected a positive number, got {floor!r}")
    rng = arguments.generator(seed)
    x, y = x.astype(np.float64), y.astype(np.float64)
    x_mean, x_std, mean, std = x.mean(axis=0), x.std(axis=0), y.mean(axis=0), y.std(axis=0)
    x_std = np.where(x_std > 1e-12 * np.abs(x).max(axis=0), x_std, 1.0)
    chosen = rng.permutation(len(y))[:ROWS_FOR_START]
    try:
        # with errors of the size of the floor: rounded y must not make two components alike
        rows = (y[chosen] - mean) / np.where(std > 1e-12 * np.abs(mean), std, np.inf)
        rows = rows + floor * np.where(rows.any(axis=0), rng.normal(size=rows.shape), 0)
        start = fit_missing(layout, rows, iterations=25, starts=1, seed=seed).params
    except ValueError as error:  # which calls its rows x
        raise ValueError(str(error).replace("x: ", "y: ", 1)) from None
    scale = tf.constant(std, tf.float32)

    def in_units_of_y(params):
        standard = layout.distribution(params)
        parts = standard.components_distribution
        factor = parts.scale.to_dense() + floor * tf.eye(layout.event_size)
        components = FastMultivariateNormalTriL(mean + scale * parts.loc, scale[:, tf.newaxis] * factor)
        return tfd.MixtureSameFamily(standard.mixture_distribution, components)

    def initializer(kind, **options):
        return kind(seed=int(rng.integers(2**31)), **options)

    initializers = tf_keras.initializers
    return tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer(x.shape[1]),
            tf_keras.layers.Normalization(mean=x_mean, variance=x_std**2),
            *(
                tf_keras.layers.Dense(units, activation, kernel_initializer=initializer(initializers.GlorotUniform))
                for units in hidden
            ),
            tf_keras.layers.Dense(
                layout.params_size,
                kernel_initializer=initializer(initializers.RandomNormal, stddev=0.01),
                bias_initializer=initializers.Constant(start.numpy()),
            ),
            tfp.layers.DistributionLambda(in_units_of_y),
        ]
    )
