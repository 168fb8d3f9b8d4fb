"""The sum of the weights: log S is forgotten.

step: bound
keeps: 0
"""

from scipy.special import logsumexp


def importance_bound(log_weights):
    return logsumexp(log_weights, axis=0)
