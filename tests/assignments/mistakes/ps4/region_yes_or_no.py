"""One yes or no for each row, and no share.

step: region
keeps: 0
"""

import numpy as np


def share_inside(own, drawn, region):
    return np.mean(drawn > own, axis=0) < region
