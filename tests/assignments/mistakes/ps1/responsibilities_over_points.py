"""Normalised over the points, not over the components.

step: responsibilities
keeps: 0
"""

from scipy.special import softmax


def responsibilities(logits, log_parts):
    return softmax(logits + log_parts, axis=0)
