"""Rows with holes: EM on what is seen, and what fills the holes. NaN stands for a number that is missing.

Notebook 04 derives the formulas. Letters: N rows, K components, D dimensions.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import log_softmax, logsumexp

from helpers import arguments
from helpers.conditional import _parts
from helpers.fitting import Moments, m_step
from helpers.layout import DIAG_SHIFT, MixtureLayout

tfd = tfp.distributions

TRIAL_STEPS = 15  # of EM from each start; the likeliest goes on


class MissingFit(NamedTuple):
    """A mixture fitted to rows with holes."""

    params: tf.Tensor  #: the layout's flat vector [params_size], float64
    mixture: tfd.MixtureSameFamily  #: what it stands for, float64
    log_likelihoods: np.ndarray  #: mean log density of what is seen, nats a row, before each step


class Filled(NamedTuple):
    """What a mixture says of the missing numbers, given those of the same row that are seen."""

    mean: np.ndarray  #: [N, D], the seen numbers as they are
    std: np.ndarray  #: [N, D], 0 where a number is seen
    log_prob: np.ndarray  #: [N], log density of what is seen of each row


def fit_missing(layout, x, iterations=500, tol=1e-6, prior_rows=1.0, starts=4, seed=0):
    """EM for a mixture on rows with holes: the likeliest for the numbers that are seen.

    The E-step fills each hole, for each component, with its conditional mean, and adds the conditional covariance to
    the second moments; the M-step is that of whole rows. Rows with the same holes are treated together, and nothing
    larger than [rows, K, D] or [K, D, D] is held. That the holes do not depend on what is in them is assumed. With
    fewer rows than the layout has numbers the fit is too sure of itself, and so are the spreads that `fill_in` gives:
    take fewer components, or a larger `prior_rows`, D + 2 say.
    Source: Ghahramani and Jordan (1994), "Supervised learning from incomplete data via an EM approach".

    Args:
      layout: a MixtureLayout.
      x: array [N, D]; NaN, or masked, where a number is missing.
      iterations: at most so many steps.
      tol: stop where a step gains less, nats a row.
      prior_rows: the penalty of `helpers.fitting.m_step`; with 0 the likelihood of what is seen never falls.
      starts: how many starts, means on rows far from each other; the likeliest after some steps goes on.
      seed: of the starts.

    Returns:
      MissingFit.

    Raises:
      ValueError: for another shape, infinity, a row or a column with nothing seen, fewer rows than components, a
        column that is constant or varies by less than the layout's vector can hold; and where a component loses its
        rows (then a larger `prior_rows` helps).
    """
    if not isinstance(layout, MixtureLayout):
        raise ValueError(f"layout: expected a MixtureLayout, got {type(layout).__name__}")
    k, d = layout.num_components, layout.event_size
    x = _rows("x", x, d)
    for name, value in (("iterations", iterations), ("starts", starts)):
        arguments.whole_number(name, value)
    arguments.not_negative("prior_rows", prior_rows)
    arguments.number("tol", tol)
    arguments.whole_number("seed", seed, least=0)
    if len(x) < max(k, 2):
        raise ValueError(f"x: expected at least {max(k, 2)} rows for {k} components, got {len(x)}")
    seen = ~np.isnan(x)
    if not seen.any(axis=0).all():
        raise ValueError(f"x: expected something seen in every column, got none in column {seen.any(axis=0).argmin()}")
    if not np.all(vary := arguments.varies(x)):
        raise ValueError(f"x: expected columns that vary, got the constant column {vary.argmin()}")
    mean, std = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    if layout.covariance != "full" and np.any(small := std < DIAG_SHIFT):  # the layout's vector holds no smaller factor
        j, got = small.argmax(), std[small.argmax()]
        raise ValueError(f"x: expected a spread above {DIAG_SHIFT:g}, got {got:.3g} in column {j}; take another unit")
    z = (x - mean) / std
    patterns = _patterns(seen)
    diagonal = layout.covariance == "diag"

    def step(parts):
        log_prob, moments = _expected(z, patterns, *parts)
        try:
            weights, loc, covariance = _m_step(moments, prior_rows, diagonal)
            sound = np.isfinite(np.linalg.cholesky(covariance)).all()
        except (np.linalg.LinAlgError, tf.errors.InvalidArgumentError):
            sound = False
        if not sound:
            message = f"a component has lost its rows or a direction; expected more than {prior_rows:g}"
            raise ValueError(f"prior_rows: {message}")
        return log_prob.mean(), (np.log(np.maximum(weights, 1e-300)), loc, covariance)

    best, kept, failure = -np.inf, None, None
    for start in range(starts):
        parts, curve = _start(k, d, z, seen, seed + start, diagonal), []
        try:
            for _ in range(min(TRIAL_STEPS, iterations)):
                score, parts = step(parts)
                curve.append(score)
        except ValueError as error:
            failure = error
            continue
        if curve[-1] > best:
            best, kept = curve[-1], (parts, curve)
    if kept is None:
        raise failure
    parts, curve = kept
    while len(curve) < iterations and (len(curve) < 2 or curve[-1] - curve[-2] >= tol):
        score, parts = step(parts)
        curve.append(score)
    logits, loc, covariance = parts
    loc, covariance = mean + std * loc, covariance * std[:, np.newaxis] * std
    scale = {
        "full": lambda: covariance,
        "tril": lambda: np.linalg.cholesky(covariance),
        "diag": lambda: np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
    }[layout.covariance]()
    try:
        params = layout.pack(logits, loc, scale, tf.float64)
    except ValueError as error:
        raise ValueError(f"x: the layout's vector cannot hold what was fitted ({error}); take other units") from None
    return MissingFit(params, layout.distribution(params), np.array(curve) - np.sum(seen * np.log(std)) / len(x))


def fill_in(mixture, x):
    """Mean and spread of the missing numbers of each row, given those that are seen; the log density of these.

    Args:
      mixture: `tfd.MixtureSameFamily` of multivariate normals, batch shape [], event shape [D].
      x: array [N, D]; NaN, or masked, where a number is missing.

    Returns:
      Filled.

    Raises:
      ValueError: for another kind of distribution or batch shape, a covariance that is not positive definite, x of
        another shape or without rows, infinity, a row with nothing seen.
    """
    logits, loc, scale = (part.numpy() for part in _parts(mixture))
    if loc.ndim != 2:
        raise ValueError(f"mixture: expected batch shape [], got {list(mixture.batch_shape)}")
    x = _rows("x", x, loc.shape[1])
    if len(x) == 0:
        raise ValueError("x: expected at least one row, got none")
    covariance = scale @ np.swapaxes(scale, 1, 2)
    arguments.cholesky("mixture", covariance)
    mean, variance, log_prob = x.copy(), np.zeros_like(x), np.empty(len(x))
    for rows, a, b in _patterns(~np.isnan(x)):
        r, log_prob[rows], fill, left = _given(x[rows][:, a], a, b, logits, loc, covariance)
        guess = np.einsum("nk,knb->nb", r, fill)
        mean[np.ix_(rows, b)] = guess
        spread = np.diagonal(left, axis1=1, axis2=2)[:, np.newaxis] + (fill - guess) ** 2  # [K, n, b]
        variance[np.ix_(rows, b)] = np.einsum("nk,knb->nb", r, spread)
    return Filled(mean, np.sqrt(variance), log_prob)


def _rows(name, x, d):
    if np.ma.is_masked(x):
        x = x.astype(np.float64).filled(np.nan)
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected numbers, got an array of {x.dtype}")
    x = x.astype(np.float64)
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"{name}: expected [N, {d}], got shape {x.shape}")
    if np.any(np.isinf(x)):
        row = np.isinf(x).any(axis=1).argmax()
        raise ValueError(f"{name}: expected finite numbers, or NaN where one is missing, got infinity in row {row}")
    empty = np.isnan(x).all(axis=1)
    if empty.any():
        raise ValueError(f"{name}: expected something seen in every row, got nothing in row {empty.argmax()}")
    return x


def _patterns(seen):
    """For each set of holes: its rows, the columns that are seen, those that are not."""
    which, index = np.unique(seen, axis=0, return_inverse=True)
    order = np.argsort(index, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(index))[:-1])
    return [(rows, np.flatnonzero(mask), np.flatnonzero(~mask)) for mask, rows in zip(which, groups, strict=True)]


def _given(x_a, a, b, logits, loc, covariance):
    """Rows of one pattern x_a [n, a]: r [n, K], log density [n]; of the rest mean [K, n, b], covariance [K, b, b]."""
    factor = np.linalg.cholesky(covariance[:, a[:, np.newaxis], a])
    inverse = np.linalg.inv(factor)
    z = (x_a - loc[:, np.newaxis, a]) @ np.swapaxes(inverse, 1, 2)  # [K, n, a]
    gain = covariance[:, b[:, np.newaxis], a] @ np.swapaxes(inverse, 1, 2)  # S_ba L^-T, [K, b, a]
    log_det = np.sum(np.log(np.diagonal(factor, axis1=1, axis2=2)), axis=1)
    log_joint = log_softmax(logits) - log_det - 0.5 * np.sum(z**2, axis=2).T - len(a) / 2 * math.log(2 * math.pi)
    log_prob = logsumexp(log_joint, axis=1)
    mean = loc[:, np.newaxis, b] + z @ np.swapaxes(gain, 1, 2)
    left = covariance[:, b[:, np.newaxis], b] - gain @ np.swapaxes(gain, 1, 2)
    return np.exp(log_joint - log_prob[:, np.newaxis]), log_prob, mean, left


def _expected(x, patterns, logits, loc, covariance):
    """The E-step: log density of what is seen [N], and Moments as sums over the rows."""
    k, d = loc.shape
    log_prob, count, first, second = np.empty(len(x)), np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    for rows, a, b in patterns:
        r, log_prob[rows], fill, left = _given(x[rows][:, a], a, b, logits, loc, covariance)
        full = np.empty((k, len(rows), d))
        full[:, :, a], full[:, :, b] = x[rows][:, a], fill
        weighted = r.T[..., np.newaxis] * full
        count += r.sum(axis=0)
        first += weighted.sum(axis=1)
        second += np.swapaxes(weighted, 1, 2) @ full
        second[:, b[:, np.newaxis], b] += r.sum(axis=0)[:, np.newaxis, np.newaxis] * left
    return log_prob, Moments(count, first, second)


def _m_step(moments, prior_rows, diagonal):
    """`helpers.fitting.m_step` of sums over the rows; covariances as matrices, for "diag" too."""
    n = moments.count.sum()
    count, first, second = (part / n for part in moments)
    if diagonal:
        second = np.diagonal(second, axis1=1, axis2=2)
    given = Moments(*map(tf.constant, (count, first, second))), tf.constant(n), tf.constant(prior_rows, tf.float64)
    weights, loc, covariance = (part.numpy() for part in _traced_m_step(*given))
    return weights, loc, covariance[..., np.newaxis] * np.eye(loc.shape[1]) if diagonal else covariance


_traced_m_step = tf.function(m_step, autograph=False)


def _start(k, d, z, seen, seed, diagonal):
    """Means on rows far from each other, the holes filled with the column's mean, which is 0 here."""
    filled = np.where(seen, z, 0.0)
    layout = MixtureLayout(k, d, "tril")
    logits, loc, scale = (part.numpy() for part in layout.split(layout.initial_params(filled, seed, tf.float64)))
    covariance = scale @ np.swapaxes(scale, 1, 2)
    return logits, loc, covariance * np.eye(d) if diagonal else covariance
