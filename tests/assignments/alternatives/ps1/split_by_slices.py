"""One slice a component, stacked.

step: split
"""

import numpy as np


def split(params, K):
    starts = [K + 5 * k for k in range(K)]
    loc = np.stack([params[..., s : s + 2] for s in starts], axis=-2)
    numbers = np.stack([params[..., s + 2 : s + 5] for s in starts], axis=-2)
    return params[..., :K], loc, numbers
