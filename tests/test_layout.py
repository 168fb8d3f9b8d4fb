"""The parameter layout against SciPy, against TFP's own layers, against itself, and against bad input."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from helpers.distributions import FastMultivariateNormalTriL
from helpers.layout import MixtureLayout

tfd = tfp.distributions
tfpl = tfp.layers

LAYOUTS = st.one_of(
    st.builds(MixtureLayout, st.integers(1, 5), st.just(2), st.just("full")),
    st.builds(MixtureLayout, st.integers(1, 5), st.integers(1, 6), st.sampled_from(["tril", "diag"])),
)
SEEDS = st.integers(0, 2**32 - 1)
LEADS = st.sampled_from([(), (1,), (4,), (2, 3)])


def covariances(layout, params):
    """Covariance [..., K, D, D] in float64, from what `split` returns."""
    scale = np.asarray(layout.split(params)[-1], np.float64)
    if layout.covariance == "full":
        return scale
    if layout.covariance == "diag":
        return np.eye(layout.event_size) * scale[..., np.newaxis] ** 2
    return scale @ np.swapaxes(scale, -2, -1)


def scipy_log_prob(logits, loc, covariance, x):
    """The oracle: log density [N] of one mixture at x [N, D]."""
    parts = [stats.multivariate_normal.logpdf(x, m, c).reshape(len(x)) for m, c in zip(loc, covariance, strict=True)]
    return logsumexp(np.stack(parts, axis=-1) + logits - logsumexp(logits), axis=-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-9)])
@settings(max_examples=25)
@given(layout=LAYOUTS, seed=SEEDS)
def test_density_agrees_with_scipy(layout, seed, dtype, tolerance):
    """Forty random mixtures an example: 1,000 in all for each precision."""
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(40, layout.params_size)).astype(dtype)
    mixture = layout.distribution(params)
    assert mixture.batch_shape == (40,) and mixture.event_shape == (layout.event_size,)
    logits, loc, _ = (np.asarray(part, np.float64) for part in layout.split(params))
    covariance = covariances(layout, params.astype(np.float64))
    component = rng.integers(layout.num_components, size=(5, 40))
    noise = rng.normal(size=(5, 40, layout.event_size))
    factor = np.linalg.cholesky(covariance)[np.arange(40), component]
    x = (loc[np.arange(40), component] + np.einsum("nbij,nbj->nbi", factor, noise)).astype(dtype)
    got = mixture.log_prob(x).numpy()
    assert got.dtype == dtype
    for b in range(40):
        expected = scipy_log_prob(logits[b], loc[b], covariance[b], x[:, b].astype(np.float64))
        np.testing.assert_allclose(got[:, b], expected, atol=tolerance, rtol=tolerance)


@settings(max_examples=20)
@given(k=st.integers(1, 5), d=st.integers(1, 6), lead=LEADS, seed=SEEDS)
def test_tril_is_tfps_own_layer_to_the_bit(k, d, lead, seed):
    layout = MixtureLayout(k, d, "tril")
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(*lead, layout.params_size)).astype(np.float32)
    x = rng.normal(size=(*lead, d)).astype(np.float32)
    theirs = tfpl.MixtureSameFamily.new(params, k, tfpl.MultivariateNormalTriL(d))
    ours = layout.distribution(params)
    parts = layout.split(params)
    np.testing.assert_array_equal(parts.logits, theirs.mixture_distribution.logits)
    np.testing.assert_array_equal(parts.loc, theirs.components_distribution.loc)
    np.testing.assert_array_equal(parts.scale_tril, theirs.components_distribution.scale_tril)
    np.testing.assert_array_equal(ours.log_prob(x), theirs.log_prob(x))
    assert layout.params_size == tfpl.MixtureSameFamily.params_size(k, tfpl.MultivariateNormalTriL.params_size(d))


@settings(max_examples=40)
@given(layout=LAYOUTS, lead=LEADS, seed=SEEDS)
def test_split_and_pack_are_inverse(layout, lead, seed):
    params = np.random.default_rng(seed).normal(size=(*lead, layout.params_size))
    back = layout.pack(*layout.split(params), dtype=tf.float64)
    assert back.shape == params.shape
    np.testing.assert_allclose(back, params, atol=1e-9)
    again = layout.split(back)
    for part, repeated in zip(layout.split(params), again, strict=True):
        np.testing.assert_allclose(part, repeated, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "z", "softplus"), [(np.float32, 5, -20), (np.float64, 14, -38)])
@pytest.mark.parametrize("covariance", ["full", "tril", "diag"])
def test_pack_is_the_inverse_of_split_in_the_range_that_it_names(covariance, dtype, z, softplus):
    layout = MixtureLayout(1, 2, covariance)
    assert all(f"{number}" in layout.pack.__doc__ for number in (z, softplus))
    params = np.random.default_rng(0).normal(size=(2000, layout.params_size))
    if covariance == "full":
        params[:, -1] = z * np.sign(params[:, -1])
    else:
        params[:, layout.slices[f"{layout.scale_name}[0]"]] = softplus
    params = params.astype(dtype)
    np.testing.assert_allclose(layout.pack(*layout.split(params), dtype=dtype), params, atol=1e-3)


def test_pack_refuses_a_covariance_that_rounding_has_made_singular():
    """Nearly singular ones: each is packed, or refused in one sentence; LinAlgError is nobody's argument."""
    layout, refused = MixtureLayout(1, 2, "full"), 0
    rng = np.random.default_rng(0)
    for scale, gap in zip(10.0 ** rng.uniform(-3, 3, size=(3000, 2)), 10.0 ** rng.uniform(-18, -13, 3000), strict=True):
        covariance = np.outer(scale, scale) * [[1, 1 - gap], [1 - gap, 1]]
        try:
            assert np.all(np.isfinite(layout.pack([0.0], np.zeros((1, 2)), covariance[np.newaxis])))
        except ValueError as error:
            refused += 1
            assert str(error).startswith("covariance: expected positive definite matrices, got one with the eigenvalue")
    assert 300 < refused < 2700


@settings(max_examples=40)
@given(layout=LAYOUTS, seed=SEEDS)
def test_slices_cover_the_vector_in_order(layout, seed):
    slices = layout.slices
    ends = [(part.start, part.stop) for part in slices.values()]
    assert ends[0][0] == 0 and ends[-1][1] == layout.params_size
    assert all(before[1] == after[0] for before, after in zip(ends, ends[1:], strict=False))
    params = np.random.default_rng(seed).normal(size=layout.params_size)
    parts = layout.split(params)
    np.testing.assert_array_equal(params[slices["logits"]], parts.logits)
    for k in range(layout.num_components):
        np.testing.assert_array_equal(params[slices[f"loc[{k}]"]], parts.loc[k])


def test_diag_is_tril_with_nothing_below_the_diagonal():
    diag, tril = MixtureLayout(2, 3, "diag"), MixtureLayout(2, 3, "tril")
    params = np.random.default_rng(0).normal(size=diag.params_size)
    parts = diag.split(params)
    dense = tril.pack(parts.logits, parts.loc, np.eye(3) * parts.scale_diag.numpy()[:, np.newaxis], dtype=tf.float64)
    x = np.random.default_rng(1).normal(size=(7, 3))
    np.testing.assert_allclose(diag.distribution(params).log_prob(x), tril.distribution(dense).log_prob(x), atol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "tril", "diag"])
def test_the_components_are_of_the_class_that_was_asked_for(covariance):
    layout = MixtureLayout(3, 2, covariance)
    params = np.random.default_rng(0).normal(size=(4, layout.params_size)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(7, 1, 2)).astype(np.float32)
    usual, fast = layout.distribution(params), layout.distribution(params, components=FastMultivariateNormalTriL)
    kind = tfd.MultivariateNormalDiag if covariance == "diag" else tfd.MultivariateNormalTriL
    assert type(usual.components_distribution) is kind
    assert type(fast.components_distribution) is FastMultivariateNormalTriL and fast.batch_shape == (4,)
    np.testing.assert_allclose(fast.log_prob(x), usual.log_prob(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("z", [-20.0, -9.5, 9.5, 20.0])
def test_full_stays_valid_where_a_float32_correlation_is_one(z):
    layout = MixtureLayout(1, 2, "full")
    params = np.array([0, 0, 0, 0, 0, z], np.float32)
    at_mean = layout.distribution(params).log_prob(np.zeros(2, np.float32))
    expected = -np.log(2 * np.pi) + np.log(np.cosh(z))  # determinant of the covariance: 1 / cosh(z)^2
    np.testing.assert_allclose(at_mean, expected, rtol=1e-5)


def test_leading_axes_stay_inside_a_traced_function_of_unknown_batch():
    layout = MixtureLayout(3, 2, "full")

    @tf.function(input_signature=[tf.TensorSpec([None, None, layout.params_size])])
    def shapes(params):
        mixture = layout.distribution(params)
        return mixture.batch_shape_tensor(), mixture.log_prob(tf.zeros(2))

    batch, log_prob = shapes(tf.random.normal([4, 5, layout.params_size]))
    assert batch.numpy().tolist() == [4, 5] and log_prob.shape == (4, 5)


@pytest.mark.parametrize("covariance", ["full", "tril", "diag"])
def test_keras_trains_it_with_a_variable_and_with_dense(covariance):
    layout = MixtureLayout(2, 2, covariance)
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    start = layout.initial_params(x, seed=1).numpy()
    shared = tfpl.VariableLayer(start.shape, initializer=tf_keras.initializers.Constant(start))
    for head, inputs in ((shared, np.zeros((64, 1), np.float32)), (tf_keras.layers.Dense(layout.params_size), x)):
        model = tf_keras.Sequential([head, tfpl.DistributionLambda(layout.distribution)])
        model.compile("adam", loss=lambda x, mixture: -mixture.log_prob(x))
        history = model.fit(inputs, x, epochs=3, batch_size=64, verbose=0).history["loss"]
        assert history[-1] < history[0]
        assert len(model.trainable_variables) == len(head.trainable_variables) > 0


@pytest.mark.parametrize("covariance", ["full", "tril", "diag"])
def test_initial_params(covariance):
    layout = MixtureLayout(4, 2, covariance)
    x = np.random.default_rng(0).normal(size=(200, 2)) * [100, 0.01] + [5, 7]
    params = layout.initial_params(x, seed=3)
    assert params.shape == (layout.params_size,) and params.dtype == tf.float32
    parts = layout.split(params)
    assert len(np.unique(parts.loc.numpy().round(4), axis=0)) == 4
    distances = np.abs(x[np.newaxis] - parts.loc.numpy()[:, np.newaxis]).max(axis=-1).min(axis=1)
    assert distances.max() < 1e-3  # every mean is a row of the data
    np.testing.assert_array_equal(parts.logits, np.zeros(4))
    np.testing.assert_array_equal(params, layout.initial_params(x, seed=3))
    assert np.any(params != layout.initial_params(x, seed=4))
    assert np.all(np.isfinite(layout.distribution(params).log_prob(x.astype(np.float32))))


def test_initial_params_of_a_constant_column_and_of_many_rows():
    layout = MixtureLayout(2, 2, "tril")
    x = np.stack([np.linspace(-1, 1, 50_000), np.zeros(50_000)], axis=-1)
    assert np.all(np.isfinite(layout.initial_params(x)))
    for value in (0.0, 0.1):  # the standard deviation of the latter is not 0 but rounding
        x[:, 1] = value
        assert layout.split(layout.initial_params(x)).scale_tril[0, 1, 1] > 0.05


def test_the_covariance_of_the_start_is_that_about_the_nearest_mean():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) + [30, 0]]) @ [[1, 0.5], [0, 2]]
    layout = MixtureLayout(2, 2, "full")
    parts = layout.split(layout.initial_params(x, seed=5, dtype=tf.float64))
    loc, variance = parts.loc.numpy(), x.var(axis=0)
    nearest = np.argmin((((x[:, np.newaxis] - loc) ** 2) / variance).sum(axis=-1), axis=1)
    residual = x - loc[nearest]
    expected = residual.T @ residual / len(x) + 0.01 * np.diag(variance)
    np.testing.assert_allclose(parts.covariance, [expected] * 2, rtol=1e-6)
    assert variance[0] > 20 * expected[0, 0]  # and not that of all the data
    for covariance, scale in (("tril", np.linalg.cholesky(expected)), ("diag", np.sqrt(np.diag(expected)))):
        other = MixtureLayout(2, 2, covariance)
        np.testing.assert_allclose(other.split(other.initial_params(x, seed=5))[-1], [scale] * 2, rtol=1e-4)
    alone = MixtureLayout(1, 2, "full")
    assert len({float(alone.initial_params(x, seed)[1]) for seed in range(10)}) > 5  # the first mean is drawn too


def test_the_means_of_the_start_are_far_from_each_other_in_units_of_each_column():
    rng = np.random.default_rng(1)
    place = np.repeat([0, 1, 2, 3], [4000, 5, 5, 5])  # rows drawn evenly would nearly all be of the first place
    x = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])[place] + 0.01 * rng.normal(size=(len(place), 2))
    layout = MixtureLayout(4, 2, "full")
    for seed in range(10):
        loc = layout.split(layout.initial_params(x, seed)).loc
        assert len(np.unique(np.round(loc), axis=0)) == 4
    wide = rng.normal(size=(300, 2))
    for seed in range(5):
        loc, in_other_units = (
            layout.split(layout.initial_params(wide * unit, seed, tf.float64)).loc / unit
            for unit in ([1, 1], [1e4, 1e-4])
        )
        np.testing.assert_allclose(loc, in_other_units, rtol=1e-9)


def test_a_start_from_many_rows_takes_some_of_all():
    x = np.random.default_rng(0).normal(size=(60_000, 1)) + 100 * (np.arange(60_000) >= 30_000)[:, np.newaxis]
    loc = MixtureLayout(2, 1, "diag").split(MixtureLayout(2, 1, "diag").initial_params(x)).loc
    assert loc.numpy().min() < 10 and loc.numpy().max() > 90


def test_a_family_of_sizes_grows_by_one_factor_about_means_that_differ():
    rows = np.random.default_rng(0).normal(size=(200, 3)) + [5, 0, -5]
    layout = MixtureLayout(4, 3, "tril")
    parts = layout.split(layout.scale_family_params(rows, seed=1, low=0.1, high=2.7, dtype=tf.float64))
    scale, loc = parts.scale_tril.numpy(), parts.loc.numpy()
    np.testing.assert_allclose(scale[1:], 3 * scale[:-1], rtol=1e-9)
    np.testing.assert_allclose(scale[0] @ scale[0].T, 0.01 * np.cov(rows.T), atol=1e-4)
    drawn = rows.mean(axis=0) + 10 * (loc - rows.mean(axis=0))  # rows of the data, a tenth of the way from the middle
    distance = np.linalg.norm(drawn[:, np.newaxis] - rows, axis=-1)
    assert distance.min(axis=1).max() < 1e-9 and len(set(distance.argmin(axis=1))) > 1


FULL, TRIL, DIAG = MixtureLayout(3, 2, "full"), MixtureLayout(3, 2, "tril"), MixtureLayout(3, 2, "diag")
LOGITS, LOC, EYES = np.zeros(3), np.zeros((3, 2)), np.stack([np.eye(2)] * 3)
ROWS = np.arange(20.0).reshape(10, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixtureLayout(0, 2), "num_components: expected a whole number of at least 1, got 0"),
        (lambda: MixtureLayout(True, 2), "num_components: expected a whole number of at least 1, got True"),
        (lambda: MixtureLayout(2, -1), "event_size: expected a whole number of at least 1, got -1"),
        (lambda: MixtureLayout(2, 2.5), "event_size: expected a whole number of at least 1, got 2.5"),
        (lambda: MixtureLayout(2, 3, "full"), "event_size: expected 2 for covariance 'full', got 3"),
        (lambda: MixtureLayout(2, 3, "full"), "Use covariance 'tril'"),
        (
            lambda: MixtureLayout(2, 2, "spherical"),
            "covariance: expected one of 'full', 'tril', 'diag', got 'spherical'",
        ),
        (lambda: FULL.split(np.zeros((4, 12))), r"params: expected params\[..., 18\], got shape \(4, 12\)"),
        (lambda: FULL.distribution(np.zeros((4, 12))), r"params: expected params\[..., 18\], got shape \(4, 12\)"),
        (
            lambda: TRIL.distribution(np.zeros(18), tfd.MultivariateNormalDiag),
            "components: expected tfd.Multi.*, got .*Diag",
        ),
        (lambda: DIAG.distribution(np.zeros(15), "tril"), "components: expected tfd.MultivariateNormalTriL.*'tril'"),
        (lambda: FULL.split(1.0), r"params: expected params\[..., 18\], got shape \(\)"),
        (lambda: FULL.split(np.full(18, np.nan)), "params: expected finite numbers, got NaN or infinity"),
        (lambda: FULL.distribution(np.full(18, np.inf)), "params: expected finite numbers, got NaN or infinity"),
        (lambda: FULL.split(["a"] * 18), "params: expected floating point numbers, got string"),
        (lambda: FULL.pack(np.zeros(2), LOC, EYES), r"logits: expected shape \[..., 3\], got shape \(2,\)"),
        (lambda: FULL.pack(LOGITS, LOC.T, EYES), r"loc: expected shape \[3, 2\], got shape \(2, 3\)"),
        (lambda: FULL.pack(LOGITS, LOC, np.eye(2)), r"covariance: expected shape \[3, 2, 2\], got shape \(2, 2\)"),
        (lambda: DIAG.pack(LOGITS, LOC, EYES), r"scale_diag: expected shape \[3, 2\], got shape \(3, 2, 2\)"),
        (lambda: FULL.pack(LOGITS, LOC + np.nan, EYES), "loc: expected finite numbers, got NaN or infinity"),
        (
            lambda: FULL.pack(LOGITS, LOC, -EYES),
            "covariance: expected positive definite matrices, got one with the eigenvalue -1",
        ),
        (lambda: FULL.pack(LOGITS, LOC, EYES + [[0, 1], [0, 0]]), "covariance: expected symmetric matrices"),
        (lambda: TRIL.pack(LOGITS, LOC, EYES + [[0, 1], [0, 0]]), "scale_tril: expected a lower triangular matrix"),
        (lambda: TRIL.pack(LOGITS, LOC, -EYES), "scale_tril: expected a diagonal above 1e-05, got -1"),
        (lambda: DIAG.pack(LOGITS, LOC, LOC), "scale_diag: expected a diagonal above 1e-05, got 0"),
        (lambda: FULL.initial_params(ROWS[:2]), "data: expected at least 3 rows for 3 components, got 2"),
        (lambda: FULL.initial_params(ROWS * 0), "data: expected at least 3 different rows for 3 components, got 1"),
        (lambda: FULL.initial_params(ROWS.T), r"data: expected \[N, 2\], got shape \(2, 10\)"),
        (lambda: FULL.initial_params(ROWS, seed=-1), "seed: expected a whole number of at least 0, got -1"),
        (lambda: TRIL.initial_params(ROWS.astype(str)), "data: expected numbers, got an array of <U"),
        (lambda: TRIL.initial_params(1e-6 * ROWS), "data: expected a unit in which the start's scale_tril lies above"),
        (lambda: DIAG.initial_params(1e-6 * ROWS), "data: expected a unit in which the start's scale_diag lies above"),
        (lambda: TRIL.scale_family_params(1e-6 * ROWS**2), "data: expected a unit.*Divide the data by their standard"),
        (lambda: FULL.initial_params(ROWS + np.inf), "data: expected finite numbers, got NaN or infinity"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_size_is_named_while_tracing_too():
    with pytest.raises(ValueError, match=r"params: expected params\[..., 18\], got shape"):
        tf.function(FULL.distribution).get_concrete_function(tf.TensorSpec([None, 12]))
