"""The seed is not used.

step: prior
keeps: 3
"""

import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_prior(K, D, seed):
    layout = MixtureLayout(K, D, "tril")
    start = tf_keras.initializers.RandomNormal(stddev=1.0)
    prior = tf_keras.Sequential(
        [
            tfp.layers.VariableLayer(layout.params_size, initializer=start),
            tfp.layers.DistributionLambda(layout.distribution),
        ]
    )
    prior(0.0)
    return prior
