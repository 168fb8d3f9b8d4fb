"""TFP's binomial, in float32.

step: likelihood
"""

import tensorflow as tf
import tensorflow_probability as tfp


def log_likelihood(x, t, count):
    binomial = tfp.distributions.Binomial(float(count), logits=tf.cast(t, tf.float32))
    return tf.reduce_sum(binomial.log_prob(tf.cast(x, tf.float32)), axis=1)
