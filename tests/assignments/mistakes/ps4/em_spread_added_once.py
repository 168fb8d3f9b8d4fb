"""The spread of the holes not averaged over the rows.

step: em
keeps: 2
"""

import numpy as np


def em_step(x, loc, covariance):
    filled, left = np.array(x), np.zeros(covariance.shape)
    for row in filled:
        b = np.isnan(row)
        slope = covariance[np.ix_(b, ~b)] @ np.linalg.inv(covariance[np.ix_(~b, ~b)])
        row[b] = loc[b] + slope @ (row[~b] - loc[~b])
        left[np.ix_(b, b)] += covariance[np.ix_(b, b)] - slope @ covariance[np.ix_(~b, b)]
    mean = filled.mean(axis=0)
    return mean, np.cov(filled.T, bias=True) + left
