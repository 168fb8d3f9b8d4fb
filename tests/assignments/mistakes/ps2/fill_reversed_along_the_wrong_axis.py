"""[::-1] turns the first axis round: right for one vector only.

step: fill
keeps: 2
"""

import numpy as np


def fill_triangular(numbers):
    D = round((np.sqrt(8 * numbers.shape[-1] + 1) - 1) / 2)
    wound = np.concatenate([numbers[..., D:], numbers[::-1]], axis=-1)
    return np.tril(wound.reshape(*numbers.shape[:-1], D, D))
