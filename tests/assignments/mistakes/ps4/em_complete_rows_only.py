"""Rows with a hole are left out.

step: em
keeps: 0
"""

import numpy as np


def em_step(x, loc, covariance):
    whole = x[~np.isnan(x).any(axis=1)]
    return whole.mean(axis=0), np.cov(whole.T, bias=True)
