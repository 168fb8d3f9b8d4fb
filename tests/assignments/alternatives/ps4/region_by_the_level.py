"""A level for each row, as a quantile of its draws.

step: region
"""

import numpy as np


def share_inside(own, drawn, region):
    level = np.quantile(drawn, 1 - region, axis=0)
    return float(np.count_nonzero(own >= level) / len(own))
