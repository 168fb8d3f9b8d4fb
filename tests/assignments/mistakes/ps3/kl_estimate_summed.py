"""Summed over the samples.

step: kl-estimate
keeps: 0
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras


def kl_estimate(q, prior, num_samples, seed):
    z = q.sample(num_samples, seed=seed)
    return tf.reduce_sum(q.log_prob(z) - prior.log_prob(z), axis=0)
