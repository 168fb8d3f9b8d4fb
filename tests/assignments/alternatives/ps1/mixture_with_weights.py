"""The weights go into SciPy's logsumexp as b, and a warning is written on the way.

step: mixture
"""

import warnings

from scipy.special import logsumexp, softmax


def mixture_log_prob(logits, log_parts):
    warnings.simplefilter("always")
    warnings.warn("a warning costs nothing", stacklevel=2)
    return logsumexp(log_parts, axis=1, b=softmax(logits))
