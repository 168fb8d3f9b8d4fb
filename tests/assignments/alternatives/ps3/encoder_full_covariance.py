"""A full covariance for q, and two hidden layers.

step: encoder
"""

import tensorflow_probability as tfp
import tf_keras


def make_encoder(prior, pixels, D):
    layers, tfpl = tf_keras.layers, tfp.layers
    return tf_keras.Sequential(
        [
            layers.InputLayer(pixels),
            layers.Dense(24, "tanh"),
            layers.Dense(24, "tanh"),
            layers.Dense(tfpl.MultivariateNormalTriL.params_size(D)),
            tfpl.MultivariateNormalTriL(D),
            tfpl.KLDivergenceAddLoss(prior),
        ]
    )
