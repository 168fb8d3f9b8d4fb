"""eps @ L for rows: the covariance becomes L^T L.

step: draw
keeps: 0
"""

import numpy as np


def draw(eps, loc, scale_tril):
    if eps.ndim == 2:
        return loc + eps @ scale_tril
    return loc + np.einsum("nkj,kji->nki", eps, scale_tril)
