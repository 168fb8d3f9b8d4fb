"""Three samples for each image, reduced over axis 0: TFP 0.25 then sums over the batch.

step: encoder
keeps: 2
"""

import tensorflow_probability as tfp
import tf_keras


def make_encoder(prior, pixels, D):
    layers, tfpl = tf_keras.layers, tfp.layers
    return tf_keras.Sequential(
        [
            layers.InputLayer(pixels),
            layers.Dense(32, "relu"),
            layers.Dense(2 * D),
            tfpl.IndependentNormal(D),
            tfpl.KLDivergenceAddLoss(prior, test_points_reduce_axis=0, test_points_fn=lambda q: q.sample(3)),
        ]
    )
