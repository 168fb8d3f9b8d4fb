"""The KL counted twice.

step: elbo
keeps: 1
"""

import numpy as np


def elbo(log_likelihood, log_prior, log_q):
    return np.mean(log_likelihood + 2 * (log_prior - log_q), axis=0)
