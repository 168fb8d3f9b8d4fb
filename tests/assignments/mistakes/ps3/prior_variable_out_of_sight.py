"""A tf.Variable that the function closes over: Keras does not see it.

step: prior
keeps: 1
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers.layout import MixtureLayout


def make_prior(K, D, seed):
    layout = MixtureLayout(K, D, "tril")
    start = np.random.default_rng(seed).normal(size=layout.params_size).astype(np.float32)
    vector = tf.Variable(start)
    prior = tf_keras.Sequential([tfp.layers.DistributionLambda(lambda _: layout.distribution(vector))])
    prior(tf.zeros([1]))
    return prior
