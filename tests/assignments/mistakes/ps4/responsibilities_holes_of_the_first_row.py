"""The holes of row 0 for all.

step: responsibilities
keeps: 1
"""

import numpy as np
from scipy.special import softmax
from scipy.stats import multivariate_normal


def responsibilities(x, logits, loc, covariance):
    a = np.flatnonzero(~np.isnan(x[0]))
    joint = [
        log_pi + multivariate_normal(m[a], S[np.ix_(a, a)]).logpdf(x[:, a])
        for log_pi, m, S in zip(logits, loc, covariance, strict=True)
    ]
    return softmax(np.stack(joint, axis=1), axis=1)
