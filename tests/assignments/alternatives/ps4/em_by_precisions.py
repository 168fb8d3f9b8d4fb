"""Conditional moments from the precision, second moments row by row.

step: em
"""

import numpy as np


def em_step(x, loc, covariance):
    precision, first, second = np.linalg.inv(covariance), 0.0, 0.0
    for row in x:
        b, C = np.isnan(row), np.zeros_like(covariance)
        guess = np.where(b, 0.0, row)
        if b.any():
            C[np.ix_(b, b)] = np.linalg.inv(precision[np.ix_(b, b)])
            guess[b] = loc[b] - C[np.ix_(b, b)] @ precision[np.ix_(b, ~b)] @ (row[~b] - loc[~b])
        first, second = first + guess / len(x), second + (np.outer(guess, guess) + C) / len(x)
    return first, second - np.outer(first, first)
