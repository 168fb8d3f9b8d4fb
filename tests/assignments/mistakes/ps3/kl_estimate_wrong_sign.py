"""log p - log q.

step: kl-estimate
keeps: 0
"""

import tensorflow as tf


def kl_estimate(q, prior, num_samples, seed):
    z = q.sample(num_samples, seed=seed)
    return tf.reduce_mean(prior.log_prob(z) - q.log_prob(z), axis=0)
