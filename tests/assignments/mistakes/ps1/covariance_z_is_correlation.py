"""Fisher's z taken for the correlation itself: beyond 1 there is no such matrix.

step: covariance
keeps: 0
"""

import numpy as np


def covariance_of(numbers):
    std1, std2, rho = np.exp(numbers[..., 0]), np.exp(numbers[..., 1]), numbers[..., 2]
    shared = rho * std1 * std2
    return np.stack([np.stack([std1**2, shared], -1), np.stack([shared, std2**2], -1)], -2)
