"""The constant log 2 pi is left out.

step: normal
keeps: 2
"""

import numpy as np


def normal_log_prob(x, loc, covariance):
    centred = x[:, np.newaxis, :] - loc
    square = np.einsum("nki,kij,nkj->nk", centred, np.linalg.inv(covariance), centred)
    return -0.5 * square - 0.5 * np.log(np.linalg.det(covariance))
