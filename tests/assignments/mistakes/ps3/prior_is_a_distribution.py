"""A distribution where a Keras model was asked for.

step: prior
keeps: 0
"""

import numpy as np
import tensorflow as tf

from helpers.layout import MixtureLayout


def make_prior(K, D, seed):
    layout = MixtureLayout(K, D, "tril")
    start = np.random.default_rng(seed).normal(size=layout.params_size).astype(np.float32)
    return layout.distribution(tf.Variable(start))
