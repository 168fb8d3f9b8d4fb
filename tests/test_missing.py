"""EM with holes against EM without, against scikit-learn, against single normals by hand; and what fills the holes."""

import numpy as np
import pytest
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from helpers import data
from helpers.conditional import condition, marginal
from helpers.layout import MixtureLayout
from helpers.missing import fill_in, fit_missing

tfd = tfp.distributions
SEEDS = st.integers(0, 2**32 - 1)


def with_holes(x, share, rng):
    """x with a share of NaN, at least one number left in every row."""
    holes = rng.uniform(size=x.shape) < share
    holes[np.arange(len(x)), rng.integers(x.shape[1], size=len(x))] = False
    return np.where(holes, np.nan, x)


def sample(k, d, n, seed):
    return data.correlated_mixture(k, d, n, 6.0, seed).x.astype(np.float64)


@settings(max_examples=8, deadline=None)
@given(
    k=st.integers(1, 4),
    d=st.integers(2, 5),
    kind=st.sampled_from(["full", "tril", "diag"]),
    share=st.sampled_from([0.1, 0.3, 0.6]),
    seed=SEEDS,
)
def test_the_likelihood_of_what_is_seen_never_falls(k, d, kind, share, seed):
    d = 2 if kind == "full" else d
    x = with_holes(sample(k, d, 100, seed % 1000), share, np.random.default_rng(seed))
    fit = fit_missing(
        MixtureLayout(k, d, kind), x, 20, tol=-1, prior_rows=0 if k == 1 else 1e-9, starts=1, seed=seed % 1000
    )
    assert len(fit.log_likelihoods) == 20
    assert np.diff(fit.log_likelihoods).min() > -1e-7
    assert fill_in(fit.mixture, x).log_prob.mean() >= fit.log_likelihoods[-1] - 1e-7


@pytest.mark.parametrize(("kind", "theirs"), [("tril", "full"), ("diag", "diag")])
def test_without_holes_it_is_em(kind, theirs):
    """One step after the other from the same start, against scikit-learn."""
    x = sample(3, 4, 400, 3)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    layout = MixtureLayout(3, 4)
    logits, loc, scale = (part.numpy() for part in layout.split(layout.initial_params(z, 7, np.float64)))
    covariance = scale @ np.swapaxes(scale, 1, 2)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    precision = 1 / variance if kind == "diag" else np.linalg.inv(covariance)
    start = dict(weights_init=np.full(3, 1 / 3), means_init=loc, precisions_init=precision)
    for steps in (1, 3, 10):
        ours = fit_missing(MixtureLayout(3, 4, kind), x, steps, tol=-1, prior_rows=0, starts=1, seed=7)
        with pytest.warns(UserWarning):  # it has not converged
            sk = GaussianMixture(3, covariance_type=theirs, reg_covar=0, tol=0, max_iter=steps, **start).fit(z)
        order = np.argsort(sk.means_[:, 0])
        means = (ours.mixture.components_distribution.mean().numpy() - x.mean(axis=0)) / x.std(axis=0)
        mine = np.argsort(means[:, 0])
        np.testing.assert_allclose(means[mine], sk.means_[order], atol=1e-8)
        np.testing.assert_allclose(
            ours.mixture.mixture_distribution.probs_parameter().numpy()[mine], sk.weights_[order], atol=1e-8
        )


def test_one_normal_with_one_hole_pattern_has_a_closed_form():
    """y missing where x is large: the regression of y on x from whole rows, x's moments from all rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) * 2 + 1
    y = 3 - 0.7 * x + 0.3 * rng.normal(size=(500, 1))
    whole = x[:, 0] < 2
    rows = np.concatenate([x, np.where(whole[:, np.newaxis], y, np.nan)], axis=1)
    fit = fit_missing(MixtureLayout(1, 2), rows, 2000, tol=1e-12, prior_rows=0, starts=1)
    slope, level = np.polyfit(x[whole, 0], y[whole, 0], 1)
    left = np.mean((y[whole, 0] - level - slope * x[whole, 0]) ** 2)
    variance = x.var()
    loc = fit.mixture.components_distribution.mean().numpy()[0]
    covariance = fit.mixture.components_distribution.covariance().numpy()[0]
    np.testing.assert_allclose(loc, [x.mean(), level + slope * x.mean()], rtol=1e-4)
    expected = [[variance, slope * variance], [slope * variance, slope**2 * variance + left]]
    np.testing.assert_allclose(covariance, expected, rtol=1e-3)


@settings(max_examples=6, deadline=None)
@given(k=st.integers(1, 4), d=st.integers(2, 10), kind=st.sampled_from(["tril", "diag"]), seed=SEEDS)
def test_fill_in_is_condition_and_marginal_row_by_row(k, d, kind, seed):
    rng, layout = np.random.default_rng(seed), MixtureLayout(k, d, kind)
    mixture = layout.distribution(rng.normal(size=layout.params_size))
    x = with_holes(rng.normal(size=(12, d)), 0.5, rng)
    filled = fill_in(mixture, x)
    for n, row in enumerate(x):
        seen = np.flatnonzero(~np.isnan(row)).tolist()
        np.testing.assert_allclose(filled.log_prob[n], marginal(mixture, seen).log_prob(row[seen]), rtol=1e-7)
        np.testing.assert_array_equal(filled.mean[n, seen], row[seen])
        assert np.all(filled.std[n, seen] == 0)
        if len(seen) < d:
            rest = condition(mixture, seen, row[seen])
            hidden = np.isnan(row)
            np.testing.assert_allclose(filled.mean[n, hidden], rest.mean(), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(filled.std[n, hidden], np.sqrt(np.diag(rest.covariance())), rtol=1e-6)


def test_it_finds_the_truth_behind_holes_and_units_do_not_matter():
    truth = data.correlated_mixture(3, 4, 1500, 8.0, seed=2)
    x = with_holes(truth.x.astype(np.float64), 0.3, np.random.default_rng(0))
    layout = MixtureLayout(3, 4)
    fit = fit_missing(layout, x, tol=1e-5, seed=1)
    loc = fit.mixture.components_distribution.mean().numpy()
    distance = np.linalg.norm(truth.loc[:, np.newaxis] - loc, axis=-1).min(axis=1)
    assert distance.max() < 0.4
    scale, shift = np.array([1000.0, 1e-2, 1, 7]), np.array([5000, 0, -3, 1e4])
    other = fit_missing(layout, x * scale + shift, tol=1e-5, seed=1)
    apart = other.log_likelihoods[-1] + np.sum(~np.isnan(x) * np.log(scale)) / len(x) - fit.log_likelihoods[-1]
    assert abs(apart) < 1e-5


def test_nothing_of_the_size_of_rows_times_matrices_is_held():
    """[B, K, D, D] would be 40,000 x 3 x 20 x 20 numbers: 384 MB."""
    import tracemalloc

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 20)) @ rng.normal(size=(20, 20))
    holes = rng.uniform(size=(50, 20)) < 0.3
    x[holes[rng.integers(50, size=len(x))]] = np.nan
    tracemalloc.start()
    fit_missing(MixtureLayout(3, 20), x, 2, starts=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


GOOD = np.random.default_rng(0).normal(size=(50, 3))


def changed(at, value):
    x = GOOD.copy()
    x[at] = value
    return x


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (changed(7, np.nan), {}, "x: expected something seen in every row, got nothing in row 7"),
        (changed((slice(None), 1), np.nan), {}, "x: expected something seen in every column, got none in column 1"),
        (changed((4, 1), np.inf), {}, "x: expected finite numbers, or NaN where one is missing, got infinity in row 4"),
        (changed((slice(None), 2), 5.0), {}, "x: expected columns that vary, got the constant column 2"),
        (GOOD[:, :2], {}, r"x: expected \[N, 3\], got shape \(50, 2\)"),
        (GOOD[:1], {}, "x: expected at least 2 rows for 2 components, got 1"),
        (GOOD.astype(str), {}, "x: expected numbers, got an array of <U"),
        (GOOD, {"starts": 0}, "starts: expected a whole number of at least 1, got 0"),
        (GOOD, {"iterations": 1.5}, "iterations: expected a whole number"),
        (GOOD, {"prior_rows": -1}, "prior_rows: expected a number of at least 0, got -1"),
        (GOOD, {"prior_rows": "a"}, "prior_rows: expected a number of at least 0, got 'a'"),
        (GOOD, {"tol": None}, "tol: expected a number, got None"),
        (GOOD, {"tol": np.nan}, "tol: expected a number, got nan"),
        (GOOD, {"seed": None}, "seed: expected a whole number"),
        (GOOD * [1, 1e-8, 1], {}, "x: expected a spread above 1e-05, got .* in column 1; take another unit"),
    ],
)
def test_bad_arguments(x, options, message):
    with pytest.raises(ValueError, match="^" + message):
        fit_missing(MixtureLayout(2, 3), x, **options)


def test_a_component_that_loses_its_rows_is_named():
    twice = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 2, axis=0)
    with pytest.raises(ValueError, match="^prior_rows: a component has lost its rows or a direction"):
        fit_missing(MixtureLayout(4, 3), twice, prior_rows=0)
    assert np.isfinite(fit_missing(MixtureLayout(4, 3), twice).log_likelihoods).all()


def test_bad_arguments_of_fill_in():
    layout = MixtureLayout(2, 3)
    mixture = layout.distribution(np.zeros((4, layout.params_size)))
    with pytest.raises(ValueError, match=r"mixture: expected batch shape \[\], got \[4\]"):
        fill_in(mixture, GOOD)
    with pytest.raises(ValueError, match=r"x: expected \[N, 3\], got shape \(50, 2\)"):
        fill_in(layout.distribution(np.zeros(layout.params_size)), GOOD[:, :2])
    with pytest.raises(ValueError, match="layout: expected a MixtureLayout, got str"):
        fit_missing("tril", GOOD)
    with pytest.raises(ValueError, match="x: expected at least one row, got none"):
        fill_in(layout.distribution(np.zeros(layout.params_size)), GOOD[:0])
    flat = tfd.MultivariateNormalTriL(np.zeros((2, 3)), np.diag([1.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="mixture: expected positive definite matrices"):
        fill_in(tfd.MixtureSameFamily(tfd.Categorical(logits=np.zeros(2)), flat), GOOD)


def test_components_may_share_one_factor():
    holes = np.where(np.arange(150).reshape(50, 3) % 7 == 0, np.nan, GOOD)
    shared, weights = np.tril(np.random.default_rng(0).normal(size=(3, 3))), tfd.Categorical(logits=[0.0, 1.0])
    loc = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    filled = [
        fill_in(tfd.MixtureSameFamily(weights, tfd.MultivariateNormalTriL(loc, scale)), holes)
        for scale in (shared, np.stack([shared] * 2))
    ]
    for one, other in zip(*filled, strict=True):
        np.testing.assert_allclose(one, other)


def test_what_is_masked_is_missing():
    holes = np.random.default_rng(1).random(GOOD.shape) < 0.1
    holes[np.arange(3), np.arange(3)] = False
    holes[holes.all(axis=1), 0] = False
    one = fit_missing(MixtureLayout(2, 3), np.where(holes, np.nan, GOOD), 5)
    other = fit_missing(MixtureLayout(2, 3), np.ma.masked_array(np.where(holes, -999, GOOD), holes), 5)
    np.testing.assert_array_equal(one.params, other.params)
