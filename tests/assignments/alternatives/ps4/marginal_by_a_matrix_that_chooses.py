"""A matrix of zeros and ones.

step: marginal
"""

import tensorflow as tf


def marginal(logits, loc, covariance, dims):
    choose = tf.one_hot(dims, loc.shape[1], dtype=tf.float64)
    return tf.nn.log_softmax(logits), loc @ tf.transpose(choose), choose @ covariance @ tf.transpose(choose)
