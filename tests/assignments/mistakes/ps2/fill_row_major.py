"""Filled row by row.

step: fill
keeps: 0
"""

import numpy as np


def fill_triangular(numbers):
    m = numbers.shape[-1]
    D = round((np.sqrt(8 * m + 1) - 1) / 2)
    matrix = np.zeros((*numbers.shape[:-1], D, D))
    rows, columns = np.tril_indices(D)
    matrix[..., rows, columns] = numbers
    return matrix
