"""The numbers below the diagonal go through softplus as well.

step: factor
keeps: 0
"""

import numpy as np


def scale_tril_of(triangle):
    return np.tril(np.logaddexp(0, triangle)) + 1e-5 * np.eye(triangle.shape[-1])
