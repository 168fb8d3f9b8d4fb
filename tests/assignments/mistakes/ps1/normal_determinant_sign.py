"""Plus half the log determinant: wide normals become the likely ones.

step: normal
keeps: 0
"""

import numpy as np


def normal_log_prob(x, loc, covariance):
    centred = x[:, np.newaxis, :] - loc
    square = np.einsum("nki,kij,nkj->nk", centred, np.linalg.inv(covariance), centred)
    return -0.5 * square + 0.5 * np.log(np.linalg.det(covariance)) - np.log(2 * np.pi)
