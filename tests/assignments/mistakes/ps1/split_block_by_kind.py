"""All means first, then all covariance numbers: the blocks of the components are torn apart.

step: split
keeps: 0
"""


def split(params, K):
    logits = params[..., :K]
    loc = params[..., K : 3 * K].reshape(*params.shape[:-1], K, 2)
    numbers = params[..., 3 * K :].reshape(*params.shape[:-1], K, 3)
    return logits, loc, numbers
