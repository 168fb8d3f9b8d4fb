"""Dense(D) where mean and scale need 2 D.

step: encoder
keeps: 0
"""

import tensorflow_probability as tfp
import tf_keras


def make_encoder(prior, pixels, D):
    layers, tfpl = tf_keras.layers, tfp.layers
    return tf_keras.Sequential(
        [
            layers.InputLayer(pixels),
            layers.Dense(32, "relu"),
            layers.Dense(D),
            tfpl.IndependentNormal(D),
            tfpl.KLDivergenceAddLoss(prior),
        ]
    )
