"""The inverse of a 2 x 2 matrix written out.

step: normal
"""

import numpy as np


def normal_log_prob(x, loc, covariance):
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    det = a * c - b**2
    u, v = (x[:, None, :] - loc).transpose(2, 0, 1)
    return -(c * u**2 - 2 * b * u * v + a * v**2) / (2 * det) - np.log(det) / 2 - np.log(2 * np.pi)
