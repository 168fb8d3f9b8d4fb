"""The covariance stands where its inverse belongs.

step: normal
keeps: 0
"""

import numpy as np


def normal_log_prob(x, loc, covariance):
    centred = x[:, np.newaxis, :] - loc
    square = np.einsum("nki,kij,nkj->nk", centred, covariance, centred)
    return -0.5 * square - 0.5 * np.log(np.linalg.det(covariance)) - np.log(2 * np.pi)
