"""The mean of the logarithms: that is the ELBO.

step: bound
keeps: 0
"""

import numpy as np


def importance_bound(log_weights):
    return np.mean(log_weights, axis=0) + 0 * log_weights[0]
