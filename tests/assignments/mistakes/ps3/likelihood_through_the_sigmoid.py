"""log(sigmoid) and log(1 - sigmoid): minus infinity where the sigmoid rounds to 0 or 1.

step: likelihood
keeps: 2
"""

import numpy as np
from scipy.special import gammaln


def log_likelihood(x, t, count):
    p = 1 / (1 + np.exp(-t))
    log_choose = gammaln(count + 1) - gammaln(x + 1) - gammaln(count - x + 1)
    return np.sum(log_choose + x * np.log(p) + (count - x) * np.log(1 - p), axis=-1)
