"""sigma read as a log variance.

step: kl
keeps: 0
"""

import numpy as np


def kl_to_standard_normal(mu, sigma):
    return 0.5 * np.sum(mu**2 + np.exp(sigma) - 1 - sigma, axis=-1)
