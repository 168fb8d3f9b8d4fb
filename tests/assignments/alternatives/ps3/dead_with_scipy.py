"""SciPy's normal from the covariance, an array as the answer.

step: dead
"""

import numpy as np
from scipy.stats import multivariate_normal


def dead_components(weights, loc, scale_tril, codes):
    joint = [
        np.log(w) + multivariate_normal(m, L @ L.T).logpdf(codes)
        for w, m, L in zip(weights, loc, scale_tril, strict=True)
    ]
    wins = np.bincount(np.argmax(joint, axis=0), minlength=len(weights))
    return np.flatnonzero(wins == 0)
