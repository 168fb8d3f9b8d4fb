"""Normalised over the rows instead of the components.

step: weights
keeps: 0
"""

import numpy as np
from scipy.special import softmax


def conditional_weights(logits, loc, covariance, x):
    m = x.shape[1]
    apart = x[:, np.newaxis] - loc[:, :m]
    inverse = np.linalg.inv(covariance[:, :m, :m])
    squared = np.einsum("nki,kij,nkj->nk", apart, inverse, apart)
    log_det = np.linalg.slogdet(covariance[:, :m, :m])[1]
    return softmax(logits - (log_det + squared) / 2, axis=0)
