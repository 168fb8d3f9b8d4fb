"""Marginal and conditional mixtures against SciPy, the ratio of densities and their moments; the network in front."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from helpers import runtime
from helpers.conditional import condition, marginal
from helpers.layout import MixtureLayout
from helpers.network import mixture_network

tfd = tfp.distributions
SEEDS = st.integers(0, 2**32 - 1)
LAYOUTS = st.one_of(
    st.builds(MixtureLayout, st.integers(1, 5), st.just(2), st.just("full")),
    st.builds(MixtureLayout, st.integers(1, 5), st.integers(2, 6), st.sampled_from(["tril", "diag"])),
    st.builds(MixtureLayout, st.integers(1, 3), st.just(10), st.just("tril")),
)
PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-9)])


def scipy_parts(mixture, dtype=np.float64):
    """weights, loc, covariance of one mixture."""
    parts = mixture.components_distribution
    weights = mixture.mixture_distribution.probs_parameter()
    return tuple(np.asarray(part, dtype) for part in (weights, parts.mean(), parts.covariance()))


def scipy_log_prob(mixture, x, dims):
    """The oracle: log density of x[..., dims] under one mixture of float64."""
    weights, loc, covariance = scipy_parts(mixture)
    normals = [stats.multivariate_normal(m[dims], c[np.ix_(dims, dims)]) for m, c in zip(loc, covariance, strict=True)]
    return logsumexp(np.stack([normal.logpdf(x) for normal in normals], -1) + np.log(weights), axis=-1)


def case(layout, seed, lead=()):
    """params [*lead, params_size] in float64, some dims in random order, the rest in ascending order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(layout.event_size)
    dims = order[: rng.integers(1, layout.event_size)].tolist()
    params = 0.5 * rng.normal(size=(*lead, layout.params_size))  # SciPy takes worse covariances for singular
    return rng, params, dims, sorted(set(range(layout.event_size)) - set(dims))


@PRECISIONS
@settings(max_examples=20, deadline=None)
@given(layout=LAYOUTS, seed=SEEDS)
def test_marginal_agrees_with_scipy(layout, seed, dtype, tolerance):
    rng, params, dims, _ = case(layout, seed)
    exact, ours = layout.distribution(params), marginal(layout.distribution(params.astype(dtype)), dims)
    x = exact.sample(20, seed=seed % 1000).numpy()[:, dims]
    assert ours.event_shape == (len(dims),) and ours.dtype == dtype
    np.testing.assert_allclose(
        ours.log_prob(x.astype(dtype)), scipy_log_prob(exact, x, dims), atol=tolerance, rtol=tolerance
    )


@PRECISIONS
@settings(max_examples=20, deadline=None)
@given(layout=LAYOUTS, seed=SEEDS)
def test_condition_is_the_ratio_of_densities(layout, seed, dtype, tolerance):
    rng, params, dims, rest = case(layout, seed)
    exact = layout.distribution(params)
    x = exact.sample(20, seed=seed % 1000).numpy().astype(dtype)
    ours = condition(layout.distribution(params.astype(dtype)), dims, x[:, dims])
    assert ours.batch_shape == (20,) and ours.event_shape == (len(rest),) and ours.dtype == dtype
    x64 = x.astype(np.float64)
    expected = exact.log_prob(x64).numpy() - scipy_log_prob(exact, x64[:, dims], dims)
    np.testing.assert_allclose(ours.log_prob(x[:, rest]), expected, atol=tolerance, rtol=tolerance)


@settings(max_examples=12, deadline=None)
@given(layout=LAYOUTS, seed=SEEDS)
def test_condition_is_the_schur_complement_component_by_component(layout, seed):
    rng, params, dims, rest = case(layout, seed)
    mixture = layout.distribution(params)
    values = rng.normal(size=len(dims))
    weights, loc, covariance = scipy_parts(mixture)
    got = scipy_parts(condition(mixture, dims, values))
    for k, (m, c) in enumerate(zip(loc, covariance, strict=True)):
        slope = c[np.ix_(rest, dims)] @ np.linalg.inv(c[np.ix_(dims, dims)])
        np.testing.assert_allclose(got[1][k], m[rest] + slope @ (values - m[dims]), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            got[2][k], c[np.ix_(rest, rest)] - slope @ c[np.ix_(dims, rest)], rtol=1e-6, atol=1e-6
        )


@settings(max_examples=5, deadline=None)
@given(layout=LAYOUTS, seed=SEEDS, lead=st.sampled_from([(3,), (2, 3)]))
def test_a_batch_of_mixtures_is_each_of_them(layout, seed, lead):
    rng, params, dims, rest = case(layout, seed, lead)
    values, y = rng.normal(size=(*lead, len(dims))), rng.normal(size=(*lead, len(rest)))
    many = layout.distribution(params)
    together, margins = condition(many, dims, values), marginal(many, dims)
    assert together.batch_shape == lead == margins.batch_shape
    joint, margin = together.log_prob(y).numpy(), margins.log_prob(values).numpy()
    for at in np.ndindex(*lead):
        one = layout.distribution(params[at])
        np.testing.assert_allclose(joint[at], condition(one, dims, values[at]).log_prob(y[at]), rtol=1e-8)
        np.testing.assert_allclose(margin[at], scipy_log_prob(one, values[at], dims), rtol=1e-8, atol=1e-8)


def test_conditions_can_be_taken_one_after_the_other():
    layout, rng = MixtureLayout(3, 5), np.random.default_rng(0)
    mixture, x = layout.distribution(rng.normal(size=layout.params_size)), rng.normal(size=(7, 5))
    at_once = condition(mixture, [4, 1, 0], x[:, [4, 1, 0]])
    later = condition(condition(mixture, [4], x[:, [4]]), [0, 1], x[:, :2])
    np.testing.assert_allclose(at_once.log_prob(x[:, 2:4]), later.log_prob(x[:, 2:4]), rtol=1e-9)
    np.testing.assert_allclose(at_once.log_prob(x[:, 2:4]), marginal(at_once, [1, 0]).log_prob(x[:, [3, 2]]), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_all_components_it_stays_finite_and_ill_conditioned_factors_keep_their_digits(dtype):
    layout = MixtureLayout(3, 4)
    mixture = layout.distribution(np.random.default_rng(1).normal(size=layout.params_size).astype(dtype))
    far = condition(mixture, [2, 0], np.array([[1e6, -1e6]], dtype))
    weights = far.mixture_distribution.probs_parameter().numpy()
    assert np.isfinite(far.mean()).all() and weights.sum() == pytest.approx(1)
    # the second column is the first one but for 1e-4: a float32 covariance could not say so
    factor = np.array([[[1, 0, 0], [1, 1e-4, 0], [1, 1e-4, 1e-4]]], dtype)
    one = tfd.MixtureSameFamily(
        tfd.Categorical(logits=np.zeros(1, dtype)), tfd.MultivariateNormalTriL(np.zeros((1, 3), dtype), factor)
    )
    left = condition(one, [1], np.zeros(1, dtype)).components_distribution.covariance().numpy()[0]
    exact = factor[0].astype(np.float64) @ factor[0].astype(np.float64).T
    exact = exact[np.ix_([0, 2], [0, 2])] - np.outer(exact[[0, 2], 1], exact[[0, 2], 1]) / exact[1, 1]
    np.testing.assert_allclose(left, exact, rtol=1e-3, atol=1e-12)


def test_shared_factors_stay_shared_and_gradients_pass():
    layout = MixtureLayout(4, 6)
    params = tf.Variable(np.random.default_rng(2).normal(size=layout.params_size).astype(np.float32))
    x = tf.constant(np.random.default_rng(3).normal(size=(500, 6)).astype(np.float32))

    @tf.function
    def loss():
        given_ = condition(layout.distribution(params), [5, 0], tf.gather(x, [5, 0], axis=1))
        assert given_.components_distribution.scale.to_dense().shape == (4, 4, 4)
        return -tf.reduce_mean(given_.log_prob(x[:, 1:5]))

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, params).numpy()
    i, step = 60, 1e-2
    params[i].assign(params[i] + step)
    up = loss()
    params[i].assign(params[i] - 2 * step)
    assert np.isfinite(gradient).all() and gradient[i] == pytest.approx(
        (up - loss()).numpy() / (2 * step), rel=0.05, abs=1e-3
    )


MIXTURE = MixtureLayout(2, 3).distribution(np.zeros(MixtureLayout(2, 3).params_size, np.float32))


@pytest.mark.parametrize(
    ("dims", "values", "message"),
    [
        ([3], np.zeros(1), "dims: expected numbers from 0 to 2, got 3"),
        ([-1], np.zeros(1), "dims: expected numbers from 0 to 2, got -1"),
        ([1, 1], np.zeros(2), "dims: expected each dimension once, got 1 twice or more"),
        ([], np.zeros(0), "dims: expected a list of at least one whole number, got []"),
        ([0.0], np.zeros(1), "dims: expected a list of at least one whole number, got [0.0]"),
        (1, np.zeros(1), "dims: expected a list of at least one whole number, got 1"),
        ([0, 1, 2], np.zeros(3), "dims: expected at most 2, so that some remain, got all 3"),
        ([0, 1], np.zeros(3), "values: expected values[..., 2], got shape (3,)"),
        ([0], np.array(0.0), "values: expected values[..., 1], got shape ()"),
        ([0], np.array([np.nan]), "values: expected finite numbers, got NaN or infinity"),
        ([0], tf.constant([1]), "values: expected floating point numbers, got int32"),
    ],
)
def test_bad_arguments_of_condition(dims, values, message):
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)")):
        condition(MIXTURE, dims, values)


def test_what_is_no_mixture_of_normals_is_named():
    one = tfd.MultivariateNormalDiag(np.zeros(3))
    with pytest.raises(ValueError, match="mixture: expected a MixtureSameFamily of multivariate normals, got Multiv"):
        marginal(one, [0])
    students = tfd.MixtureSameFamily(
        tfd.Categorical([0.0]),
        tfd.MultivariateStudentTLinearOperator(3.0, tf.zeros([1, 2]), tf.linalg.LinearOperatorIdentity(2, [1])),
    )
    with pytest.raises(ValueError, match="got MultivariateStudentTLinearOperator"):
        condition(students, [0], [0.0])


# ---- the network


def branches(n, seed):
    """x [n, 1]; y [n, 2] on one of two branches, whose errors go together; and the truth's log density."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 1))
    side = np.where(rng.uniform(size=n) < 0.3, -1.0, 1.0)
    factor = np.array([[0.2, 0.0], [0.15, 0.1]])
    centre = np.concatenate([1 + x, np.sin(3 * x)], axis=1)
    y = side[:, np.newaxis] * centre + rng.normal(size=(n, 2)) @ factor.T
    normal = stats.multivariate_normal(cov=factor @ factor.T)
    truth = np.logaddexp(np.log(0.3) + normal.logpdf(y + centre), np.log(0.7) + normal.logpdf(y - centre))
    return x.astype(np.float32), y.astype(np.float32), truth


def trained(layout, x, y, epochs=30, **options):
    model = mixture_network(layout, x, y, hidden=(32,), **options)
    model.compile(tf_keras.optimizers.Adam(0.01), loss=lambda y, mixture: -mixture.log_prob(y))
    model.fit(x, y, batch_size=100, epochs=epochs, verbose=0)
    return model


@pytest.mark.parametrize(
    ("layout", "gap"),
    [(MixtureLayout(4, 2, "full"), 0.15), (MixtureLayout(4, 2), 0.15), (MixtureLayout(4, 2, "diag"), 0.8)],
)
def test_the_network_finds_both_branches_in_any_units(layout, gap):
    runtime.set_seed(0)
    (x, y, _), (x_new, y_new, truth) = branches(2000, 0), branches(2000, 1)
    scale, shift = np.float32([1000, 0.01]), np.float32([5000, -3])
    model = trained(layout, 1e4 * x + 7, y * scale + shift)
    found = model(1e4 * x_new + 7)
    assert found.batch_shape == (2000,) and found.event_shape == (2,)
    log_prob = found.log_prob(y_new * scale + shift).numpy() + np.log(scale).sum()
    assert truth.mean() - log_prob.mean() < gap
    middle = model(np.float32([[7.0]]))  # x = 0: branches at (1, 0) and (-1, 0)
    means = (middle.components_distribution.mean().numpy()[0, :, 0] - shift[0]) / scale[0]
    weights = middle.mixture_distribution.probs_parameter().numpy()[0]
    assert weights[means < 0].sum() == pytest.approx(0.3, abs=0.08)


def test_it_starts_at_the_mixture_of_y_and_gradients_reach_the_first_layer_for_every_row():
    x, y, _ = branches(300, 0)
    model = mixture_network(MixtureLayout(3, 2, "full"), x, y)
    spread = model(x).mean().numpy().std(axis=0)
    assert np.all(spread < 0.1 * y.std(axis=0)) and np.all(
        abs(model(x).mean().numpy().mean(axis=0) - y.mean(axis=0)) < 0.1
    )
    first = model.trainable_variables[0]
    with tf.GradientTape() as tape:
        each = -model(x[:20]).log_prob(y[:20])
    rows = tape.jacobian(each, first).numpy().reshape(20, -1)
    assert np.all(np.abs(rows).max(axis=1) > 0)


def test_weights_are_saved_and_loaded(tmp_path):
    x, y, _ = branches(300, 0)
    layout = MixtureLayout(3, 2)
    model = trained(layout, x, y, epochs=2)
    model.save_weights(str(tmp_path / "weights.h5"))
    other = mixture_network(layout, x, y, hidden=(32,), seed=5)
    assert np.abs(other(x).log_prob(y) - model(x).log_prob(y)).max() > 1e-3
    other.load_weights(str(tmp_path / "weights.h5"))
    np.testing.assert_allclose(other(x).log_prob(y), model(x).log_prob(y), atol=1e-5)


def test_the_seed_decides_the_network():
    x, y, _ = branches(100, 0)
    one, same, other = (mixture_network(MixtureLayout(2, 2), x, y, seed=s).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[-2], other[-2])


def test_no_density_exceeds_the_floors_and_a_constant_input_is_harmless():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 1)), np.ones((200, 1))], axis=1)
    y = np.repeat(rng.normal(size=(10, 2)), 20, axis=0)  # the same ten points again and again
    model = trained(MixtureLayout(10, 2), x, y, epochs=60, floor=0.05)
    bound = -2 * np.log(0.05 * np.sqrt(2 * np.pi)) - np.log(y.std(axis=0)).sum()
    log_prob = model(np.float32(x)).log_prob(np.float32(y)).numpy()
    assert np.isfinite(log_prob).all() and log_prob.max() < bound + 1e-3
    scale = model(np.float32(x)).components_distribution.scale.diag_part().numpy()
    assert (scale / y.std(axis=0)).min() >= 0.05 * (1 - 1e-5)


X, Y = np.random.default_rng(0).normal(size=(2, 50, 2))


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X[:40], Y, {}, "y: expected 40 rows, one for each of x, got 50"),
        (np.where(X > 1, np.nan, X), Y, {}, "x: expected finite numbers, got NaN or infinity"),
        (X, np.where(Y > 1, np.inf, Y), {}, "y: expected finite numbers, got NaN or infinity"),
        (X[:, 0], Y, {}, r"x: expected \[N, inputs\], got shape \(50,\)"),
        (X, np.repeat(Y, 2, axis=1), {}, r"y: expected \[N, 2\] for this layout, got shape \(50, 4\)"),
        (X, Y[:, 0], {}, r"y: expected \[N, 2\] for this layout, got shape \(50,\)"),
        (X, Y * [1, 0], {}, "y: expected columns that vary, got the constant column 1"),
        (X[:1], Y[:1], {}, "y: expected at least 3 rows for 3 components, got 1"),
        (X, Y, {"floor": 0}, "floor: expected a positive number, got 0"),
        (X, Y, {"seed": -1}, "seed: expected a whole number"),
    ],
)
def test_bad_arguments_of_the_network(x, y, options, message):
    with pytest.raises(ValueError, match="^" + message):
        mixture_network(MixtureLayout(3, 2), x, y, **options)


def test_a_layout_is_asked_for():
    with pytest.raises(ValueError, match="layout: expected a MixtureLayout, got int"):
        mixture_network(3, X, Y)
