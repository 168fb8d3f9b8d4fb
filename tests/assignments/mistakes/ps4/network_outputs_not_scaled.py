"""A start in the units of y, and steps that are small beside them.

step: network
keeps: 3
"""

import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_network(K, x, y, seed):
    layout, layers = MixtureLayout(K, y.shape[1], "tril"), tf_keras.layers
    small = tf_keras.initializers.RandomNormal(stddev=0.01, seed=seed)
    bias = tf_keras.initializers.Constant(layout.initial_params(y, seed).numpy())
    return tf_keras.Sequential(
        [
            layers.InputLayer(x.shape[1]),
            layers.Normalization(mean=x.mean(axis=0), variance=x.var(axis=0)),
            layers.Dense(32, "tanh"),
            layers.Dense(layout.params_size, kernel_initializer=small, bias_initializer=bias),
            tfp.layers.DistributionLambda(layout.distribution),
        ]
    )
