"""Rows of one pattern at a time, by a factor of what is seen.

step: responsibilities
"""

import numpy as np
from scipy.special import logsumexp


def responsibilities(x, logits, loc, covariance):
    seen = ~np.isnan(x)
    log_joint = np.empty((len(x), len(logits)))
    for pattern in np.unique(seen, axis=0):
        rows, a = (seen == pattern).all(axis=1), np.flatnonzero(pattern)
        L = np.linalg.cholesky(covariance[:, a][:, :, a])
        z = np.linalg.solve(L, np.swapaxes(x[rows][:, a] - loc[:, np.newaxis, a], 1, 2))  # [K, a, n]
        log_det = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        log_joint[rows] = logits - log_det - (z**2).sum(axis=1).T / 2
    return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
