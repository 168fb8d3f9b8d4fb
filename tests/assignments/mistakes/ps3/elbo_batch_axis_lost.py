"""One number for the whole batch.

step: elbo
keeps: 0
"""

import numpy as np


def elbo(log_likelihood, log_prior, log_q):
    return np.mean(log_likelihood + log_prior - log_q)
