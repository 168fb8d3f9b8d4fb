"""Diagonal components: no correlation can be learnt.

step: prior
keeps: 1
"""

import numpy as np
import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_prior(K, D, seed):
    layout = MixtureLayout(K, D, "diag")
    start = np.random.default_rng(seed).normal(size=layout.params_size).astype(np.float32)
    layer = tfp.layers.VariableLayer(layout.params_size, initializer=lambda shape, dtype=None: start)
    prior = tf_keras.Sequential([layer, tfp.layers.DistributionLambda(layout.distribution)])
    prior(0.0)
    return prior
