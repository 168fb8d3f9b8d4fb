"""TFP's mixture, a batch of N, in float32.

step: loss
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp


def mixture_loss(logits, loc, scale_tril, y):
    tfd = tfp.distributions
    logits, loc, scale_tril, y = (tf.constant(np.float32(part)) for part in (logits, loc, scale_tril, y))
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tfd.MultivariateNormalTriL(loc, scale_tril))
    return -tf.reduce_mean(mixture.log_prob(y))
