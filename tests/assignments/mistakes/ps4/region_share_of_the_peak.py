"""Inside where the density exceeds a tenth of its peak.

step: region
keeps: 0
"""

import numpy as np


def share_inside(own, drawn, region):
    return np.mean(own > drawn.max(axis=0) + np.log(1 - region))
