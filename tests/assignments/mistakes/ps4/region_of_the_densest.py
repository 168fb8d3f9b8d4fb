"""The level that the densest tenth of the draws exceeds.

step: region
keeps: 0
"""

import numpy as np


def share_inside(own, drawn, region):
    return np.mean(own > np.quantile(drawn, region, axis=0))
