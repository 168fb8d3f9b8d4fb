"""The inverse of L, and a product.

step: density
"""

import numpy as np


def normal_log_prob(x, loc, scale_tril):
    D = len(loc)
    z = (x - loc) @ np.linalg.inv(scale_tril).T
    return -(z * z).sum(1) / 2 - np.log(np.diag(scale_tril)).sum() - np.log(2 * np.pi) * D / 2
