"""The outer products of x - loc: [B, K, D, D] again.

step: batch
keeps: 0
"""

import numpy as np


def all_log_probs(x, loc, scale_tril):
    D = x.shape[1]
    inverse = np.linalg.inv(scale_tril)
    precision = np.swapaxes(inverse, 1, 2) @ inverse
    centred = x[:, np.newaxis, :] - loc
    outer = centred[..., :, np.newaxis] * centred[..., np.newaxis, :]
    square = np.sum(precision * outer, axis=(-2, -1))
    log_det = np.log(np.diagonal(scale_tril, axis1=1, axis2=2)).sum(axis=1)
    return -0.5 * square - log_det - 0.5 * D * np.log(2 * np.pi)
