"""np.concatenate and reshape without the leading axes.

step: fill
keeps: 2
"""

import numpy as np


def fill_triangular(numbers):
    m = numbers.size
    D = round((np.sqrt(8 * m + 1) - 1) / 2)
    flat = numbers.ravel()
    return np.tril(np.concatenate([flat[D:], flat[::-1]]).reshape(D, D))
