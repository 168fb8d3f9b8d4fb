"""The constant D/2 log 2 pi is left out.

step: density
keeps: 1
"""

import numpy as np
from scipy.linalg import solve_triangular


def normal_log_prob(x, loc, scale_tril):
    z = solve_triangular(scale_tril, (x - loc).T, lower=True)
    return -0.5 * np.sum(z**2, axis=0) - np.sum(np.log(np.diagonal(scale_tril)))
