"""Filled entry by entry.

step: covariance
"""

import numpy as np


def covariance_of(numbers):
    std = np.exp(numbers[..., :2])
    answer = std[..., :, None] * std[..., None, :]
    rho = np.tanh(numbers[..., 2])
    answer[..., 0, 1] *= rho
    answer[..., 1, 0] *= rho
    return answer
