"""Summed over the images as well.

step: kl
keeps: 0
"""

import numpy as np


def kl_to_standard_normal(mu, sigma):
    return np.sum((mu**2 + sigma**2 - 1) / 2 - np.log(sigma))
