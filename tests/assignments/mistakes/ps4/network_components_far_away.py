"""All but one component start where no y is.

step: network
keeps: 1
"""

import numpy as np
import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_network(K, x, y, seed):
    tfd, layers = tfp.distributions, tf_keras.layers
    layout, D = MixtureLayout(K, y.shape[1], "tril"), y.shape[1]
    mean, std = y.mean(axis=0), y.std(axis=0)
    places = 9.0 * np.arange(K)[:, np.newaxis] * np.ones(D)
    start = layout.pack(np.zeros(K), places, np.broadcast_to(np.eye(D), (K, D, D))).numpy()

    def in_units_of_y(params):
        parts = layout.distribution(params)
        factor = std[:, np.newaxis] * parts.components_distribution.scale.to_dense()
        loc = mean + std * parts.components_distribution.loc
        return tfd.MixtureSameFamily(parts.mixture_distribution, tfd.MultivariateNormalTriL(loc, factor))

    small = tf_keras.initializers.RandomNormal(stddev=0.01, seed=seed)
    bias = tf_keras.initializers.Constant(start)
    return tf_keras.Sequential(
        [
            layers.InputLayer(x.shape[1]),
            layers.Normalization(mean=x.mean(axis=0), variance=x.var(axis=0)),
            layers.Dense(32, "tanh"),
            layers.Dense(len(start), kernel_initializer=small, bias_initializer=bias),
            tfp.layers.DistributionLambda(in_units_of_y),
        ]
    )
