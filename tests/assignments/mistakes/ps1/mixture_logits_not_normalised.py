"""Logits used as log weights: the density integrates to something else.

step: mixture
keeps: 0
"""

from scipy.special import logsumexp


def mixture_log_prob(logits, log_parts):
    return logsumexp(logits + log_parts, axis=-1)
