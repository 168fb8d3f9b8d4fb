"""The share outside.

step: region
keeps: 0
"""

import numpy as np


def share_inside(own, drawn, region):
    return np.mean(np.mean(drawn > own, axis=0) > region)
