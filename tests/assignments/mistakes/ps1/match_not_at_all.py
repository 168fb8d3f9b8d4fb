"""Components compared without matching: the order is taken as it comes.

step: match
keeps: 0
"""

import numpy as np


def match(loc, true_loc):
    return np.arange(len(loc))
