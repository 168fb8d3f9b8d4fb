"""The covariance goes into the solve where its factor belongs.

step: density
keeps: 0
"""

import numpy as np


def normal_log_prob(x, loc, scale_tril):
    covariance = scale_tril @ scale_tril.T
    z = np.linalg.solve(covariance, (x - loc).T)
    log_det = np.sum(np.log(np.diagonal(scale_tril)))
    return -0.5 * np.sum(z**2, axis=0) - log_det - 0.5 * len(loc) * np.log(2 * np.pi)
