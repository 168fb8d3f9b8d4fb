"""The KL as an activity regulariser, which TFP 0.25 counts twice; and Keras does not find its prior.

step: encoder
keeps: 0
"""

import tensorflow_probability as tfp
import tf_keras


def make_encoder(prior, pixels, D):
    layers, tfpl = tf_keras.layers, tfp.layers
    q = tfpl.IndependentNormal(D, activity_regularizer=tfpl.KLDivergenceRegularizer(lambda: prior(0.0)))
    return tf_keras.Sequential([layers.InputLayer(pixels), layers.Dense(32, "relu"), layers.Dense(2 * D), q])
