"""The mean log density: what is to be made large.

step: loss
keeps: 0
"""

import numpy as np
from scipy.special import log_softmax, logsumexp


def mixture_loss(logits, loc, scale_tril, y):
    z = np.linalg.solve(scale_tril, (y[:, np.newaxis] - loc)[..., np.newaxis])[..., 0]
    log_det = np.sum(np.log(np.diagonal(scale_tril, axis1=-2, axis2=-1)), axis=-1)
    log_normal = -np.sum(z**2 + np.log(2 * np.pi), axis=-1) / 2 - log_det
    return np.mean(logsumexp(log_softmax(logits, axis=-1) + log_normal, axis=-1))
