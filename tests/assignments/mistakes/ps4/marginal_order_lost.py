"""The dimensions sorted.

step: marginal
keeps: 2
"""


def marginal(logits, loc, covariance, dims):
    dims = sorted(dims)
    return logits, loc[:, dims], covariance[:, dims][:, :, dims]
