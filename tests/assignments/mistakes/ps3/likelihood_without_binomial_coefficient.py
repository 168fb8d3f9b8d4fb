"""Cross-entropy: the binomial coefficient is left out.

step: likelihood
keeps: 1
"""

import numpy as np


def log_likelihood(x, t, count):
    return np.sum(x * t - count * np.logaddexp(0, t), axis=-1)
