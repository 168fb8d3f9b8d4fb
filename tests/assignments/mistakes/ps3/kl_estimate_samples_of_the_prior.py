"""Samples of the prior: the KL the other way round.

step: kl-estimate
keeps: 0
"""

import tensorflow as tf


def kl_estimate(q, prior, num_samples, seed):
    z = prior.sample(num_samples, seed=seed)[:, tf.newaxis]
    return tf.reduce_mean(prior.log_prob(z) - q.log_prob(z), axis=0)
