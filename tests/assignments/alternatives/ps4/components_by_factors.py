"""The factors of notebook 04: u = A^-1 (x - mu), the covariance C C^T.

step: components
"""

import numpy as np


def conditional_components(loc, covariance, x):
    m, factor = x.shape[1], np.linalg.cholesky(covariance)
    A, B, C = factor[:, :m, :m], factor[:, m:, :m], factor[:, m:, m:]
    u = np.linalg.solve(A, (x[:, np.newaxis] - loc[:, :m])[..., np.newaxis])
    return loc[:, m:] + (B @ u)[..., 0], C @ np.swapaxes(C, 1, 2)
