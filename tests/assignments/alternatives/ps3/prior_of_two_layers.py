"""TFP's two layers and a seeded random start.

step: prior
"""

import tensorflow_probability as tfp
import tf_keras


def make_prior(K, D, seed):
    size = int(tfp.layers.MixtureSameFamily.params_size(K, tfp.layers.MultivariateNormalTriL.params_size(D)))
    prior = tf_keras.Sequential(
        [
            tfp.layers.VariableLayer([size], initializer=tf_keras.initializers.RandomNormal(stddev=1.0, seed=seed)),
            tfp.layers.MixtureSameFamily(K, tfp.layers.MultivariateNormalTriL(D)),
        ]
    )
    prior(0.0)
    return prior
