"""Half the log determinant of L: the half belongs to that of the covariance.

step: density
keeps: 1
"""

import numpy as np
from scipy.linalg import solve_triangular


def normal_log_prob(x, loc, scale_tril):
    z = solve_triangular(scale_tril, (x - loc).T, lower=True)
    log_det = 0.5 * np.sum(np.log(np.diagonal(scale_tril)))
    return -0.5 * np.sum(z**2, axis=0) - log_det - 0.5 * len(loc) * np.log(2 * np.pi)
