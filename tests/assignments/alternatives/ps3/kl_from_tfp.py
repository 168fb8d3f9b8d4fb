"""TFP's own KL, a tensor.

step: kl
"""

import numpy as np
import tensorflow_probability as tfp


def kl_to_standard_normal(mu, sigma):
    tfd = tfp.distributions
    q = tfd.MultivariateNormalDiag(mu, sigma)
    p = tfd.MultivariateNormalDiag(np.zeros(mu.shape[-1]), np.ones(mu.shape[-1]))
    return tfd.kl_divergence(q, p)
