"""A VariableLayer: one mixture, whatever x is.

step: network
keeps: 2
"""

import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_network(K, x, y, seed):
    layout = MixtureLayout(K, y.shape[1], "tril")
    start = layout.initial_params(y, seed)
    vector = tfp.layers.VariableLayer(layout.params_size, initializer=lambda shape, dtype=None: start)
    return tf_keras.Sequential([vector, tfp.layers.DistributionLambda(layout.distribution)])
