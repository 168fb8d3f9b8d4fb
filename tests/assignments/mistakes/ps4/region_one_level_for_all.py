"""One level for all rows.

step: region
keeps: 2
"""

import numpy as np


def share_inside(own, drawn, region):
    return np.mean(own > np.quantile(drawn, 1 - region))
