"""Starts for EM on rows that are white: which rows could belong together. Nothing here depends on the rows' units.

One start misses optima that another finds, and each has data on which it is the best: see `StepwiseEM`.
"""

import warnings

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning


def labels(kind, rows, k, weights, mixture, rng, nth=0):
    """Labels [N] of white rows [N, D] for a start of this kind, or None where `moved` has no further one.

    Args:
      kind: "flat", "rows" or "within": k-means on `flat_directions`, on the rows, on `within`; or "moved".
      rows: [N, D].
      k: how many clusters.
      weights: [N], which sum to 1.
      mixture: the likeliest so far, as in `moved`.
      rng: `np.random.Generator`.
      nth: see `moved`.
    """
    if kind == "moved":
        return moved(rows, mixture, rng, nth)
    if kind == "flat":
        seen = flat_directions(rows, rng, weights)
    else:
        seen = within(rows, mixture) if kind == "within" else rows
    return clusters(seen, k, rng, weights)


def clusters(rows, k, rng, weights=None):
    """Labels [N] of one run of k-means on rows [N, D], from 0 to k - 1."""
    seed = int(rng.integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters: some stay empty
        return KMeans(k, n_init=1, max_iter=30, random_state=seed).fit(rows, sample_weight=weights).labels_


def flat_directions(rows, rng, weights, searches=12, steps=30):
    """Rows seen along the directions in which they have the flattest distribution: [N, from 1 to `searches`].

    Several clusters in a line have a negative kurtosis along it, in any units; a normal's is 0. In white rows a fixed
    point iteration finds its local minima (Hyvarinen and Oja 1997). It begins in the directions of some rows. Those at
    least half as far below 0 as the lowest are kept, or that one.
    """
    values, vectors = np.linalg.eigh(rows.T @ (weights[:, np.newaxis] * rows))
    seen = values > 1e-8 * values[-1]
    white = rows @ (vectors[:, seen] / np.sqrt(values[seen]))
    w = white[rng.choice(len(white), min(searches, len(white)), replace=False)].T
    for _ in range(steps):
        w = w / np.maximum(np.linalg.norm(w, axis=0), 1e-12)
        y = white @ w
        w = 3 * w - white.T @ (weights[:, np.newaxis] * y * y * y)
    y = white @ (w / np.maximum(np.linalg.norm(w, axis=0), 1e-12))
    kurtosis = weights @ np.square(y * y) - 3
    return y[:, kurtosis <= max(0.5 * kurtosis.min(), kurtosis.min())]


def within(rows, mixture):
    """Rows in the metric of what the components have in common: their average covariance becomes I."""
    weights, _, covariance = mixture
    shared = np.tensordot(weights, covariance, 1)
    if shared.ndim == 1:
        return rows / np.sqrt(shared)
    return solve_triangular(np.linalg.cholesky(shared), rows.T, lower=True).T


def log_joint(rows, mixture):
    """Log weight plus log density of rows [N, D] for each component, but for a constant: [N, K].

    `mixture` is as in `moved`.
    """
    columns = []
    for weight, loc, covariance in zip(*mixture, strict=True):
        apart = rows - loc
        if covariance.ndim == 1:
            z, log_det = apart / np.sqrt(covariance), 0.5 * np.log(covariance).sum()
        else:
            factor = np.linalg.cholesky(covariance)
            z, log_det = apart @ np.linalg.inv(factor).T, np.log(np.diag(factor)).sum()
        columns.append(np.log(np.maximum(weight, 1e-300)) - 0.5 * np.sum(z * z, axis=1) - log_det)
    return np.stack(columns, axis=1)


def moved(rows, mixture, rng, nth=0):
    """Labels after one component was cut in two and two others were made one, or None where there is no such move.

    The rows belong to their likeliest components. A cut is by 2-means, in the metric of `within`. Of all pairs of moves
    the one is taken with the `nth` largest gain, in the likelihood of rows and labels together. After Ueda et al.
    (2000), "SMEM algorithm for mixture models".

    Args:
      rows: [N, D].
      mixture: weights [K], loc [K, D], covariance [K, D, D] or variances [K, D].
      rng: `np.random.Generator`.
      nth: 0 for the most promising pair of moves.
    """
    k, d = mixture[1].shape
    diagonal = mixture[2].ndim == 2
    labels = log_joint(rows, mixture).argmax(axis=1)

    def fitted(n, first, second):
        """What n rows with these sums add to the likelihood at most; each cluster borrows one row of variance 1."""
        mean = first / max(n, 1)
        if diagonal:
            log_det = np.log((second - n * mean**2 + 1) / (n + 1)).sum()
        else:
            log_det = np.linalg.slogdet((second - n * np.outer(mean, mean) + np.eye(d)) / (n + 1))[1]
        return n * np.log(max(n, 1)) - 0.5 * n * log_det

    def sums(part):
        return len(part), part.sum(axis=0), (part**2).sum(axis=0) if diagonal else part.T @ part

    all_sums = [sums(rows[labels == j]) for j in range(k)]
    alone = [fitted(*part) for part in all_sums]
    near, cuts = within(rows, mixture), {}
    for j in range(k):
        mine = np.flatnonzero(labels == j)
        if len(mine) > 2 * (d + 1):
            half = clusters(near[mine], 2, rng) == 1
            gain = fitted(*sums(rows[mine[half]])) + fitted(*sums(rows[mine[~half]])) - alone[j]
            cuts[j] = gain, mine[half]
    moves = []
    for a in range(k):
        for b in range(a):
            both = fitted(*(x + y for x, y in zip(all_sums[a], all_sums[b], strict=True)))
            moves += [(cuts[j][0] + both - alone[a] - alone[b], j, a, b) for j in cuts if j not in (a, b)]
    if nth >= len(moves):
        return None
    _, j, a, b = sorted(moves, reverse=True)[nth]
    labels[labels == b] = a
    labels[cuts[j][1]] = b
    return labels
