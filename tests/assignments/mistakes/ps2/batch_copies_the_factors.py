"""A copy of every factor for every point: [B, K, D, D].

step: batch
keeps: 0
"""

import numpy as np


def all_log_probs(x, loc, scale_tril):
    B, D = x.shape
    factors = np.tile(scale_tril, (B, 1, 1, 1))
    z = np.linalg.solve(factors, (x[:, np.newaxis, :] - loc)[..., np.newaxis])[..., 0]
    log_det = np.log(np.diagonal(scale_tril, axis1=1, axis2=2)).sum(axis=1)
    return -0.5 * np.sum(z**2, axis=-1) - log_det - 0.5 * D * np.log(2 * np.pi)
