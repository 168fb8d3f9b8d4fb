"""Forms L L^T and inverts it: right on paper, singular for a narrow normal.

step: density
keeps: 2
"""

import numpy as np


def normal_log_prob(x, loc, scale_tril):
    covariance = scale_tril @ scale_tril.T
    centred = x - loc
    square = np.einsum("bi,bi->b", centred, np.linalg.solve(covariance, centred.T).T)
    log_det = np.linalg.slogdet(covariance)[1]
    return -0.5 * square - 0.5 * log_det - 0.5 * len(loc) * np.log(2 * np.pi)
