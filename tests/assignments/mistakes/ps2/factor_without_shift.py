"""The shift of 1e-5 is forgotten.

step: factor
keeps: 0
"""

import numpy as np


def scale_tril_of(triangle):
    eye = np.eye(triangle.shape[-1])
    return np.tril(triangle, -1) + np.logaddexp(0, triangle) * eye
