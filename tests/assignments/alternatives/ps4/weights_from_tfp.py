"""TFP's normals, a softmax of TensorFlow.

step: weights
"""

import tensorflow as tf
import tensorflow_probability as tfp


def conditional_weights(logits, loc, covariance, x):
    m = x.shape[1]
    factor = tf.linalg.cholesky(covariance[:, :m, :m])
    parts = tfp.distributions.MultivariateNormalTriL(loc[:, :m], factor)
    return tf.nn.softmax(tf.nn.log_softmax(logits) + parts.log_prob(x[:, tf.newaxis]), axis=-1)
