"""The order the other way round: true_loc[order] fits loc.

step: match
keeps: 0
"""

import numpy as np
from scipy.optimize import linear_sum_assignment


def match(loc, true_loc):
    distance = np.linalg.norm(loc[:, np.newaxis] - true_loc, axis=-1)
    return linear_sum_assignment(distance)[1]
