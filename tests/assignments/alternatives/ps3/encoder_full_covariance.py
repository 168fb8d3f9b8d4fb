"""A full covariance for q, two hidden layers, the KL by TFP's layer with three samples.

step: encoder
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras


def make_encoder(prior, pixels, D):
    layers, tfpl = tf_keras.layers, tfp.layers
    return tf_keras.Sequential([
        layers.InputLayer(pixels),
        layers.Dense(24, "tanh"),
        layers.Dense(24, "tanh"),
        layers.Dense(tfpl.MultivariateNormalTriL.params_size(D)),
        tfpl.MultivariateNormalTriL(D),
        tfpl.KLDivergenceAddLoss(prior, test_points_reduce_axis=0, test_points_fn=lambda q: q.sample(3)),
    ])
