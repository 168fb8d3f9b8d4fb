"""The lower triangle, ordered by where each number came from.

step: unfill
"""

import numpy as np


def unfill_triangular(matrix):
    D = matrix.shape[-1]
    m = D * (D + 1) // 2
    positions = np.r_[np.arange(D, m), np.arange(m)[::-1]].reshape(D, D)
    lower = np.tril_indices(D)
    return matrix[..., lower[0], lower[1]][..., np.argsort(positions[lower])]
