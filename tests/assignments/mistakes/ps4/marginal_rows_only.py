"""Rows are chosen, columns are not.

step: marginal
keeps: 0
"""


def marginal(logits, loc, covariance, dims):
    return logits, loc[:, dims], covariance[:, dims]
