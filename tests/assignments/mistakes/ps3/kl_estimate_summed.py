"""Summed over the samples.

step: kl-estimate
keeps: 0
"""

import tensorflow as tf


def kl_estimate(q, prior, num_samples, seed):
    z = q.sample(num_samples, seed=seed)
    return tf.reduce_sum(q.log_prob(z) - prior.log_prob(z), axis=0)
