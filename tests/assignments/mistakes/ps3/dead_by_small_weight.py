"""Dead is what has a small weight: a far component with no code is overlooked.

step: dead
keeps: 1
"""

import numpy as np


def dead_components(weights, loc, scale_tril, codes):
    return [int(k) for k in np.flatnonzero(np.asarray(weights) < 0.01)]
