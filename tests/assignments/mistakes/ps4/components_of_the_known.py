"""The known dimensions given the others.

step: components
keeps: 0
"""

import numpy as np


def conditional_components(loc, covariance, x):
    m = covariance.shape[1] - x.shape[1]
    slope = covariance[:, :m, m:] @ np.linalg.inv(covariance[:, m:, m:])
    means = loc[:, :m] + np.einsum("kij,nkj->nki", slope, x[:, np.newaxis] - loc[:, m:])
    return means, covariance[:, :m, :m] - slope @ covariance[:, m:, :m]
