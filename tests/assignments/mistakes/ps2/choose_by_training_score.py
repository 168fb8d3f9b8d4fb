"""The best on the points it was fitted to: always the richest structure.

step: choose
keeps: 1
"""

from sklearn.mixture import GaussianMixture


def choose_structure(train, held_out, K):
    fits = {name: GaussianMixture(K, covariance_type=name).fit(train) for name in ("full", "tied", "diag", "spherical")}
    return max(fits, key=lambda name: fits[name].score(train))
