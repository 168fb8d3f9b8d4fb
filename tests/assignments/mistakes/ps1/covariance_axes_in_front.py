"""np.array([[...]]) puts the matrix axes in front of the leading ones.

step: covariance
keeps: 2
"""

import numpy as np


def covariance_of(numbers):
    s1, s2, rho = np.exp(numbers[..., 0]), np.exp(numbers[..., 1]), np.tanh(numbers[..., 2])
    return np.array([[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]])
