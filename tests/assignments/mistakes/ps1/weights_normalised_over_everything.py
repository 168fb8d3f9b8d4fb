"""The sum runs over the batch as well.

step: weights
keeps: 1
"""

from scipy.special import logsumexp


def log_weights(logits):
    return logits - logsumexp(logits)
