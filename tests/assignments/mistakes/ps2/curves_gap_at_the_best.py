"""The gap at the best epoch instead of the last one.

step: curves
keeps: 1
"""

import numpy as np


def read_curves(train, held_out):
    best = int(np.argmax(held_out))
    return best, train[best] - held_out[best]
