"""SciPy's normal, component by component.

step: normal
"""

import numpy as np
from scipy.stats import multivariate_normal


def normal_log_prob(x, loc, covariance):
    columns = [np.reshape(multivariate_normal(m, c).logpdf(x), len(x)) for m, c in zip(loc, covariance, strict=True)]
    return np.stack(columns, axis=1)
