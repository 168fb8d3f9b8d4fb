"""exp where softplus was asked for.

step: factor
keeps: 0
"""

import numpy as np


def scale_tril_of(triangle):
    eye = np.eye(triangle.shape[-1])
    return np.tril(triangle, -1) + np.where(eye > 0, np.exp(triangle) + 1e-5, 0)
