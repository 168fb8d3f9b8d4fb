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
from helpers.network import few_rows, mixture_network, ridge_line

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
        ([0], None, "values: expected values[..., 1], got None"),
        ([[0], [1, 2]], np.zeros(1), "dims: expected a list of at least one whole number, got [[0], [1, 2]]"),
        ([0], tf.constant([1]), "values: expected floating point numbers, got int32"),
    ],
)
def test_bad_arguments_of_condition(dims, values, message):
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)")):
        condition(MIXTURE, dims, values)


def test_factors_of_every_sign_and_form():
    """TFP takes factors that are not triangular, and triangular ones with a negative diagonal."""
    rng = np.random.default_rng(3)
    loc, triangle, x = rng.normal(size=(2, 4)), np.tril(rng.normal(size=(2, 4, 4))), rng.normal(size=(6, 4))
    triangle[:, 1, 1] = -1
    whole = tf.linalg.LinearOperatorFullMatrix(rng.normal(size=(2, 4, 4)))
    for parts in (
        tfd.MultivariateNormalTriL(loc, triangle),
        tfd.MultivariateNormalDiagPlusLowRank(loc, np.full((2, 4), 0.7), rng.normal(size=(2, 4, 2))),
        tfd.MultivariateNormalLinearOperator(loc, whole),
    ):
        mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=np.array([0.0, 0.5])), parts)
        for dims, rest in (([0, 1], [2, 3]), ([1, 0], [2, 3]), ([3, 1], [0, 2])):
            known = scipy_log_prob(mixture, x[:, dims], dims)
            np.testing.assert_allclose(marginal(mixture, dims).log_prob(x[:, dims]), known, rtol=1e-9)
            ratio = scipy_log_prob(mixture, x, [0, 1, 2, 3]) - known
            np.testing.assert_allclose(condition(mixture, dims, x[:, dims]).log_prob(x[:, rest]), ratio, rtol=1e-8)


def test_as_many_values_as_mixtures():
    many = MixtureLayout(2, 3).distribution(np.zeros((4, MixtureLayout(2, 3).params_size), np.float32))
    with pytest.raises(ValueError, match=r"^values: expected leading axes that broadcast .* \[4\], got shape \(5, 1\)"):
        condition(many, [0], np.zeros((5, 1)))
    assert condition(many, [0], np.zeros((5, 1, 1))).batch_shape == (5, 4)


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


def trained(layout, x, y, epochs=30, validation_data=None, **options):
    model = mixture_network(layout, x, y, hidden=(32,), **options)
    model.compile(tf_keras.optimizers.Adam(0.01), loss=lambda y, mixture: -mixture.log_prob(y))
    model.fit(x, y, batch_size=100, epochs=epochs, verbose=0, validation_data=validation_data)
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


def test_branches_get_no_line_and_gradients_reach_the_first_layer_for_every_row():
    x, y, _ = branches(300, 0)
    model = mixture_network(MixtureLayout(3, 2, "full"), x, y)
    assert np.all(model.get_layer("line").kernel == 0)
    spread = model(x).mean().numpy().std(axis=0)
    assert np.all(spread < 0.1 * y.std(axis=0)) and np.all(
        abs(model(x).mean().numpy().mean(axis=0) - y.mean(axis=0)) < 0.1
    )
    only = np.concatenate([y[:, :1], 3 * x + 0.1 * y[:, 1:]], axis=1)  # the second column is a line
    kernel = mixture_network(MixtureLayout(3, 2, "full"), x, only).get_layer("line").kernel.numpy()
    assert kernel[0, 0] == 0 and kernel[0, 1] == pytest.approx(ridge_line(x, only)[0][0, 1])
    first = model.trainable_variables[0]
    with tf.GradientTape() as tape:
        each = -model(x[:20]).log_prob(y[:20])
    rows = tape.jacobian(each, first).numpy().reshape(20, -1)
    assert np.all(np.abs(rows).max(axis=1) > 0)


def test_the_line_leaves_each_row_what_a_fit_without_it_leaves():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 3)) * [1, 1e-6, 1e3], np.ones((40, 1))], axis=1)
    y = x / [1, 1e-6, 1e3, 1] @ rng.normal(size=(4, 2)) + 0.5 * rng.normal(size=(40, 2))
    for strength in (1e-3, 1.0, np.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("helpers.network.STRENGTHS", np.array([strength]))
            slope, level, left = ridge_line(x, y)
        np.testing.assert_allclose(level, (y - x @ slope).mean(axis=0))
        assert np.all(slope[3] == 0)
        z = (x[:, :3] - x[:, :3].mean(axis=0)) / x[:, :3].std(axis=0)
        for n in (0, 17):
            rest = np.arange(40) != n
            design = np.concatenate([np.ones((39, 1)), z[rest]], axis=1)
            ridge = 40 * min(strength, 1e9) * np.diag([0, 1, 1, 1])
            line = np.linalg.solve(design.T @ design + ridge, design.T @ y[rest])
            np.testing.assert_allclose(left[n], y[n] - line[0] - z[n] @ line[1:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("inputs", [11, 12, 60])
def test_with_more_columns_than_rows_the_line_leaves_what_a_fit_without_the_row_leaves(inputs):
    """Residual and 1 - leverage are a millionth there; their quotient still is what fits one by one leave."""
    rng = np.random.default_rng(inputs)
    x, y = rng.normal(size=(12, inputs)), rng.normal(size=(12, 1))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    for strength in (1e-6, 1e-2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("helpers.network.STRENGTHS", np.array([strength]))
            left = ridge_line(x, y)[2]
        for n in range(12):
            rest = np.arange(12) != n
            rows, mean = z[rest] - z[rest].mean(axis=0), y[rest].mean()
            line = rows.T @ np.linalg.solve(rows @ rows.T + 12 * strength * np.eye(11), y[rest] - mean)
            np.testing.assert_allclose(left[n], y[n] - mean - (z[n] - z[rest].mean(axis=0)) @ line, rtol=1e-5)


@pytest.mark.parametrize("inputs", [200, 2000])
def test_of_noise_in_many_columns_the_network_starts_at_its_spread(inputs):
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(50, inputs)), rng.normal(size=(50, 1)), rng.normal(size=(500, inputs))
    sigma = mixture_network(MixtureLayout(1, 1), x, y, hidden=(8,))(new).stddev().numpy()
    assert 0.7 < sigma.mean() / y.std() < 1.4


def test_the_line_is_shrunk_where_there_is_none_and_kept_where_it_is_steep():
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(300, 20)), rng.normal(size=(300, 1))
    slope, _, left = ridge_line(x, noise)
    assert np.abs(x @ slope).std() < 0.2 and left.std() < 1.05 * noise.std()
    slope, _, left = ridge_line(np.repeat(x[:, :2], 2, axis=1), 1e4 * x[:, :1] + noise)  # each column twice
    assert slope[:2].sum() == pytest.approx(1e4, rel=1e-4) and left.std() < 1.1 * noise.std()
    slope, _, _ = ridge_line(np.tile(x[:40], (2, 1)), np.tile(noise[:40], (2, 1)))  # each row twice: no second look
    assert np.abs(x @ slope).std() < 0.2


def linear_log_prob(x, y, x_new, y_new):
    """Held-out log densities of least squares with normal errors."""
    design, new = (np.concatenate([np.ones((len(a), 1)), a], axis=1) for a in (x, x_new))
    line = np.linalg.lstsq(design, y, rcond=None)[0]
    errors = stats.multivariate_normal(np.zeros(y.shape[1]), np.cov((y - design @ line).T, bias=True))
    return errors.logpdf(y_new - new @ line)


@pytest.mark.parametrize("irrelevant", [0, 20])
def test_before_any_training_a_linear_relation_is_known_however_steep_and_in_any_unit(irrelevant):
    rng = np.random.default_rng(2)
    x, e = rng.normal(size=(2300, 2 + irrelevant)), 0.01 * rng.normal(size=(2300, 2))
    y = x[:, :2] @ [[1.0, -2.0], [0.5, 1.0]] + e @ [[1, 1], [0, 0.5]]
    linear = linear_log_prob(x[:300], y[:300], x[300:], y[300:]).mean()
    units = x * 1e-6, 1e6 + 1e-3 * x, np.concatenate([x, np.full((2300, 1), 7.0)], axis=1)
    for rows in units:
        model = mixture_network(MixtureLayout(8, 2, "full"), rows[:300], y[:300])
        assert model(rows[300:]).log_prob(np.float32(y[300:])).numpy().mean() > linear - 0.1


def test_an_offset_that_float32_would_lose_survives_training():
    (x, y, _), (x_new, y_new, truth) = branches(2000, 0), branches(1000, 1)
    x, x_new = 1e6 + 1e-3 * x.astype(np.float64), 1e6 + 1e-3 * x_new.astype(np.float64)
    model = trained(MixtureLayout(4, 2, "full"), x, y, validation_data=(x_new, y_new))
    assert truth.mean() - model(x_new).log_prob(y_new).numpy().mean() < 0.2
    history = model.history.history["val_loss"]
    loss = model.evaluate(x_new, y_new, verbose=0)
    assert loss == pytest.approx(-model(x_new).log_prob(y_new).numpy().mean(), abs=1e-3)
    assert history[-1] == pytest.approx(loss, abs=1e-3)


@pytest.mark.parametrize("layout", [MixtureLayout(8, 1), MixtureLayout(5, 3), MixtureLayout(8, 2, "full")])
def test_from_few_rows_it_starts_at_no_more_components_than_they_tell(layout):
    rng = np.random.default_rng(3)
    d = layout.event_size
    x, y = rng.normal(size=(1120, 1)), rng.normal(size=(1120, d))
    model = mixture_network(layout, x[:120], y[:120])
    parts = model(x[:1]).components_distribution
    assert np.ptp(parts.mean().numpy(), axis=1).max() < 2  # copies of one
    linear = linear_log_prob(x[:120], y[:120], x[120:], y[120:]).mean()
    assert model(x[120:]).log_prob(np.float32(y[120:])).numpy().mean() > linear - 0.05
    y = y + 8 * np.sign(rng.normal(size=(1120, 1)))
    parts = mixture_network(layout, x[:120], y[:120])(x[:1]).components_distribution
    assert sorted({*np.sign(parts.mean().numpy()[0, :, 0])}) == [-1, 1]


def test_rows_are_few_beside_the_numbers_of_a_large_mixture():
    layout, rng = MixtureLayout(8, 10), np.random.default_rng(5)
    assert few_rows(MixtureLayout(8, 2, "full")) == 2000 < 2500 < few_rows(layout) == 5000
    x, y = rng.normal(size=(2500, 1)), rng.normal(size=(2500, 10))
    weights = mixture_network(layout, x, y)(x[:1]).mixture_distribution.probs_parameter().numpy()
    np.testing.assert_allclose(weights, 1 / 8, atol=0.01)  # eight copies of one


def test_y_that_is_a_line_in_x_or_twice_the_same_stays_finite():
    x = np.random.default_rng(4).normal(size=(200, 2))
    for y in (x @ [[1.0, 2.0], [3.0, 4.0]], np.repeat(x[:, :1] ** 2, 2, axis=1)):
        model = trained(MixtureLayout(4, 2), x, y, epochs=3)
        assert np.isfinite(model(x).log_prob(np.float32(y))).all()


def test_weights_are_saved_and_loaded(tmp_path):
    x, y, _ = branches(300, 0)
    layout = MixtureLayout(3, 2)
    model = trained(layout, x, y, epochs=2)
    model.save_weights(str(tmp_path / "weights.h5"))
    other = mixture_network(layout, x, y, hidden=(32,), seed=5)
    assert np.abs(other(x).log_prob(y) - model(x).log_prob(y)).max() > 1e-3
    other.load_weights(str(tmp_path / "weights.h5"))
    np.testing.assert_allclose(other(x).log_prob(y), model(x).log_prob(y), atol=1e-5)
    other = mixture_network(layout, 7 - 30 * x, 100 * y**3, hidden=(32,), seed=5)  # of other rows in other units
    other.load_weights(str(tmp_path / "weights.h5"))
    np.testing.assert_allclose(other(x).log_prob(y), model(x).log_prob(y), atol=1e-5)


def test_y_of_another_shape_is_refused_where_it_is_handed_over():
    x, y, _ = branches(100, 0)
    model = trained(MixtureLayout(2, 2), x, y, epochs=1)
    before = model.get_weights()
    for wrong in (y[:, :1], y[:, 0], y[:99]):
        with pytest.raises(ValueError, match=r"^y: expected y \[100, 2\], got shape \("):
            model.fit(x, wrong, verbose=0)
        with pytest.raises(ValueError, match=r"^y: expected y \[100, 2\], got shape \("):
            model.evaluate(x, wrong, verbose=0)
        with pytest.raises(ValueError, match=r"^validation_data: expected y \[100, 2\], got shape \("):
            model.fit(x, y, validation_data=(x, wrong), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_seed_decides_the_network():
    x, y, _ = branches(100, 0)
    one, same, other = (mixture_network(MixtureLayout(2, 2), x, y, seed=s).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[-2], other[-2])


def test_predict_gives_the_mean():
    x, y, _ = branches(200, 0)
    model = mixture_network(MixtureLayout(3, 2), x, y)
    np.testing.assert_allclose(model.predict(x[:5], verbose=0), model(x[:5]).mean(), rtol=1e-5)


def test_a_row_far_out_does_not_blur_the_others():
    x, y, _ = branches(2000, 3)
    far = y.copy()
    far[7, 0] += 1e4
    layout = MixtureLayout(3, y.shape[1], "tril")
    before, after = (mixture_network(layout, x, rows, seed=1) for rows in (y, far))
    units = [network.get_layer("unit_of_y").get_weights()[1] for network in (before, after)]
    assert np.all(units[1] < 5 * units[0])  # by the standard deviation: hundreds
    x_new, y_new, _ = branches(1000, 4)
    scores = [network(x_new).log_prob(y_new).numpy().mean() for network in (before, after)]
    assert scores[1] > scores[0] - 0.5
    far_x = x.copy()
    far_x[7] = 1e4
    after = mixture_network(layout, far_x, y, seed=1)
    one, other = (network.get_layer("units_of_x").get_weights()[0] for network in (before, after))
    np.testing.assert_allclose(other, one, rtol=0.1)
    near, farther = (after(np.float32([[far]])).components_distribution.loc for far in (1e4, 1e9))
    np.testing.assert_allclose(near, farther, rtol=1e-5)


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
        (X, Y + [0, 1e6], {}, r"y: expected a spread that float32 holds, got numbers up to 1e\+06 with a spread of"),
        (X.astype(str), Y, {}, "x: expected numbers, got an array of <U"),
        (X[:1], Y[:1], {}, "y: expected at least 3 rows for 3 components, got 1"),
        (X, Y, {"floor": 0}, "floor: expected a positive number, got 0"),
        (X, Y, {"floor": True}, "floor: expected a positive number, got True"),
        (X, Y, {"floor": "a"}, "floor: expected a positive number, got 'a'"),
        (X, Y, {"hidden": 64}, "hidden: expected a list of whole numbers, got 64"),
        (X, Y, {"hidden": (0,)}, "hidden: expected a whole number of at least 1, got 0"),
        (np.ma.masked_greater(X, 1), Y, {}, "x: expected numbers, got a masked array with some that are masked"),
        (X, Y, {"seed": -1}, "seed: expected a whole number"),
    ],
)
def test_bad_arguments_of_the_network(x, y, options, message):
    with pytest.raises(ValueError, match="^" + message):
        mixture_network(MixtureLayout(3, 2), x, y, **options)


def test_a_layout_is_asked_for():
    with pytest.raises(ValueError, match="layout: expected a MixtureLayout, got int"):
        mixture_network(3, X, Y)
