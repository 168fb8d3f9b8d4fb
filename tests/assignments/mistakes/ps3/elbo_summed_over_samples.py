"""Summed over the samples instead of averaged.

step: elbo
keeps: 0
"""

import numpy as np


def elbo(log_likelihood, log_prior, log_q):
    return np.sum(log_likelihood + log_prior - log_q, axis=0)
