"""reduce_logsumexp.

step: bound
"""

import tensorflow as tf


def importance_bound(log_weights):
    log_weights = tf.convert_to_tensor(log_weights)
    S = tf.cast(tf.shape(log_weights)[0], log_weights.dtype)
    return tf.reduce_logsumexp(log_weights, axis=0) - tf.math.log(S)
