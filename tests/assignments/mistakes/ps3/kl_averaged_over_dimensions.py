"""The mean over the dimensions instead of the sum.

step: kl
keeps: 1
"""

import numpy as np


def kl_to_standard_normal(mu, sigma):
    return np.mean((mu**2 + sigma**2 - 1) / 2 - np.log(sigma), axis=-1)
