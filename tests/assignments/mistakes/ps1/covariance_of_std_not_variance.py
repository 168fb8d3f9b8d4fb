"""Standard deviations on the diagonal where variances belong.

step: covariance
keeps: 0
"""

import numpy as np


def covariance_of(numbers):
    std1, std2, rho = np.exp(numbers[..., 0]), np.exp(numbers[..., 1]), np.tanh(numbers[..., 2])
    shared = rho * std1 * std2
    return np.stack([np.stack([std1, shared], -1), np.stack([shared, std2], -1)], -2)
