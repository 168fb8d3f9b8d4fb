"""SciPy's distances, the transposed problem, sorted back.

step: match
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist


def match(loc, true_loc):
    fitted, true = linear_sum_assignment(cdist(loc, true_loc))
    return [int(f) for f in fitted[np.argsort(true)]]
