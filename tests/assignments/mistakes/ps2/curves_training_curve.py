"""Stops where the training curve is best: at the end.

step: curves
keeps: 1
"""

import numpy as np


def read_curves(train, held_out):
    return int(np.argmax(train)), train[-1] - held_out[-1]
