"""Each true mean takes its nearest fitted one: one of them is taken twice.

step: match
keeps: 2
"""

import numpy as np


def match(loc, true_loc):
    return np.linalg.norm(true_loc[:, np.newaxis] - loc, axis=-1).argmin(axis=1)
