"""A hole becomes the mean, whatever else is seen of the row.

step: em
keeps: 0
"""

import numpy as np


def em_step(x, loc, covariance):
    filled = np.where(np.isnan(x), loc, x)
    return filled.mean(axis=0), np.cov(filled.T, bias=True)
