"""The KL is added instead of taken off.

step: elbo
keeps: 1
"""

import numpy as np


def elbo(log_likelihood, log_prior, log_q):
    return np.mean(log_likelihood + log_q - log_prior, axis=0)
