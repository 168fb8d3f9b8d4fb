"""The start is a mixture that stepwise EM fits to y; inputs adapted, relu, two hidden layers.

step: network
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout


def make_network(K, x, y, seed):
    tfd, layers = tfp.distributions, tf_keras.layers
    layout = MixtureLayout(K, y.shape[1])
    mean, std = np.float32(y.mean(axis=0)), np.float32(y.std(axis=0))
    start = StepwiseEM(layout, seed=seed, starts=4)
    start.fit((y - mean) / std, epochs=2, verbose=0)
    scaled = layers.Normalization()
    scaled.adapt(x)

    def in_units_of_y(params):
        logits, loc, factor = layout.split(params)
        factor = factor + 0.01 * tf.eye(len(std))
        components = tfd.MultivariateNormalTriL(mean + std * loc, std[:, np.newaxis] * factor)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=tf.nn.softmax(logits)), components)

    return tf_keras.Sequential(
        [
            layers.InputLayer(x.shape[1]),
            scaled,
            layers.Dense(64, "relu"),
            layers.Dense(64, "relu"),
            layers.Dense(
                layout.params_size,
                kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.02),
                bias_initializer=tf_keras.initializers.Constant(start.params.numpy()),
            ),
            tfp.layers.DistributionLambda(in_units_of_y),
        ]
    )
