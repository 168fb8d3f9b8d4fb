"""x - loc without a new axis: with N = K, point n meets component n only.

step: normal
keeps: 0
"""

import numpy as np


def normal_log_prob(x, loc, covariance):
    centred = x - loc
    square = np.einsum("ki,kij,kj->k", centred, np.linalg.inv(covariance), centred)
    return -0.5 * square - 0.5 * np.log(np.linalg.det(covariance)) - np.log(2 * np.pi)
