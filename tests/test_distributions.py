"""FastMultivariateNormalTriL is tfd.MultivariateNormalTriL: same values, same gradients, everything else inherited."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.distributions import FastMultivariateNormalTriL
from helpers.layout import MixtureLayout

tfd, tfpl = tfp.distributions, tfp.layers

# batch shape of loc, batch shape of scale_tril, leading shape of x: with and without broadcasting, in either argument
SHAPES = st.sampled_from(
    [
        ((), (), ()),
        ((), (), (7,)),
        ((), (), (2, 5)),
        ((3,), (3,), ()),
        ((3,), (3,), (3,)),
        ((3,), (3,), (5, 1)),
        ((3,), (3,), (5, 3)),
        ((3,), (3,), (2, 5, 1)),
        ((3,), (), (5, 1)),
        ((3,), (), (5, 3)),
        ((), (3,), (5, 1)),
        ((1,), (3,), (5, 1)),
        ((3,), (1,), (5, 3)),
        ((2, 3), (2, 3), (5, 1, 1)),
        ((2, 3), (2, 3), (5, 2, 1)),
        ((2, 3), (2, 3), (4, 5, 2, 3)),
        ((2, 3), (3,), (5, 1, 3)),
        ((3,), (2, 3), (5, 1, 1)),
        ((2, 1), (1, 3), (5, 2, 3)),
        ((4,), (), (4,)),
        ((3,), (3,), (0, 1)),
    ]
)


def draw(rng, loc_batch, scale_batch, lead, d, dtype):
    factor = np.tril(rng.normal(size=(*scale_batch, d, d)), -1) * 0.5
    # a negative diagonal is TFP's to accept
    np.einsum("...ii->...i", factor)[:] = rng.uniform(0.3, 2, size=(*scale_batch, d)) * rng.choice([-1, 1, 1])
    loc, x = rng.normal(size=(*loc_batch, d)), rng.normal(size=(*lead, d))
    return tuple(tf.constant(array, dtype) for array in (loc, factor, x))


def value_and_gradients(kind, loc, factor, x):
    with tf.GradientTape() as tape:
        tape.watch((loc, factor, x))
        value = kind(loc, factor).log_prob(x)
        weights = tf.cos(tf.cast(tf.range(tf.size(value)), value.dtype))
        total = tf.reduce_sum(tf.reshape(value, [-1]) * weights)
    return value, *tape.gradient(total, (loc, factor, x))


def assert_same(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        size = max(1.0, np.abs(b).max()) if tf.size(b) else 1.0
        np.testing.assert_allclose(a, b, atol=tolerance * size, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float32, 2e-4), (tf.float64, 1e-10)])
@settings(max_examples=25)
@given(shapes=SHAPES, d=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_values_and_gradients_are_tfps(dtype, tolerance, shapes, d, seed):
    arguments = draw(np.random.default_rng(seed), *shapes, d, dtype)
    ours = value_and_gradients(FastMultivariateNormalTriL, *arguments)
    assert_same(ours, value_and_gradients(tfd.MultivariateNormalTriL, *arguments), tolerance)


@settings(max_examples=4)
@given(shapes=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_unknown_batch_size_inside_a_traced_function(shapes, seed):
    arguments = draw(np.random.default_rng(seed), *shapes, 3, tf.float64)
    unknown = [
        tf.TensorSpec([None] * (a.shape.rank - e) + [3] * e, a.dtype) for a, e in zip(arguments, (1, 2, 1), strict=True)
    ]
    traced = tf.function(lambda *a: value_and_gradients(FastMultivariateNormalTriL, *a), input_signature=unknown)
    ours = traced(*arguments)
    assert_same(ours, value_and_gradients(tfd.MultivariateNormalTriL, *arguments), 1e-10)
    only_x = tf.function(
        lambda x: value_and_gradients(FastMultivariateNormalTriL, *arguments[:2], x), input_signature=unknown[2:]
    )
    assert_same(only_x(arguments[2]), ours, 1e-10)


def test_second_derivatives_are_tfps():
    loc, factor, x = draw(np.random.default_rng(4), (2,), (2,), (6, 1), 2, tf.float64)

    def hessians(kind):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch((loc, factor))
            _, to_loc, to_factor, _ = value_and_gradients(kind, loc, factor, x)
        return [outer.jacobian(g, v) for g in (to_loc, to_factor) for v in (loc, factor)]

    assert_same(hessians(FastMultivariateNormalTriL), hessians(tfd.MultivariateNormalTriL), 1e-10)


@pytest.mark.parametrize(("offset", "apart"), [(0, 1), (1000, 1), (0, 100)])
def test_digits_are_kept_far_from_the_origin_and_far_apart(offset, apart):
    rng = np.random.default_rng(1)
    loc = np.float32(offset + apart * rng.normal(size=(4, 20)))
    unit = np.tril(0.1 * rng.normal(size=(4, 20, 20)), -1) + np.eye(20)
    factor = np.float32(np.geomspace(1, 0.01, 20)[:, np.newaxis] * unit)
    k = rng.integers(4, size=200)
    x = np.float32(loc[k] + np.einsum("nij,nj->ni", factor[k], rng.normal(size=(200, 20))))
    exact = tfd.MultivariateNormalTriL(loc.astype("d"), factor.astype("d")).log_prob(x[:, None].astype("d"))
    got = FastMultivariateNormalTriL(loc, factor).log_prob(x[:, None])
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=2e-3)


def smooth_factor(rng, d, condition):
    """Of a squared exponential covariance at random places, plus what brings its factor to this condition number."""
    places, length = np.sort(rng.uniform(size=d)), rng.uniform(0.05, 0.5)
    covariance = np.exp(-0.5 * ((places[:, np.newaxis] - places) / length) ** 2)
    smallest, *_, largest = np.linalg.eigvalsh(covariance)
    return np.linalg.cholesky(covariance + max(0, (largest - condition**2 * smallest) / (condition**2 - 1)) * np.eye(d))


def turned_factor(rng, d, condition):
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.linalg.cholesky((axes * np.geomspace(1, condition**-2.0, d)) @ axes.T)


def unequal_factor(rng, d, condition):
    unit = np.tril(0.3 * rng.normal(size=(d, d)), -1) + np.eye(d)
    return rng.permutation(np.geomspace(1, 1 / condition, d))[:, np.newaxis] * unit


def errors(kind, loc, factor, x, own, dtype, exact=None):
    """Log densities of points under their own components and gradients of their mean; with `exact` given, how far each
    is from it, as a share of its size."""
    *arguments, points = (tf.constant(array, dtype) for array in (loc, factor, x))
    with tf.GradientTape() as tape:
        tape.watch((*arguments, points))
        values = tf.gather(kind(*arguments).log_prob(points[:, np.newaxis]), own, batch_dims=1)
        mean = tf.reduce_mean(values)
    to_loc, to_factor, to_x = tape.gradient(mean, (*arguments, points))
    found = [np.float64(part) for part in (values, to_loc, tf.linalg.band_part(to_factor, -1, 0), to_x)]
    if exact is None:
        return found
    return np.array([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(found, exact, strict=True)])


@settings(max_examples=12)
@given(
    make=st.sampled_from([smooth_factor, turned_factor, unequal_factor]),
    d=st.integers(8, 63),
    power=st.floats(0.1, 4),
    # of the means; the second in standard deviations, on both sides of what one product for all factors is taken for
    spread=st.sampled_from([(0, 0), (1, 0), (30, 0), (0, 0.5), (0, 0.9), (0, 1.5), (0, 30)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_ill_conditioned_factors_cost_no_digits_that_tfp_keeps(make, d, power, spread, seed):
    """Against float64, over thirty factors: at most three times TFP's own float32 error, or rounding of the result."""
    rng, ours, theirs = np.random.default_rng(seed), [], []
    for _ in range(10):
        factor = np.float32([make(rng, d, 10**power) for _ in range(3)])
        loc = np.float32((spread[0] + spread[1] * np.linalg.norm(factor, axis=-1)) * rng.normal(size=(3, d)))
        own = rng.integers(3, size=100)
        x = np.float32(loc[own] + np.einsum("nij,nj->ni", factor[own], rng.normal(size=(100, d))))
        exact = errors(tfd.MultivariateNormalTriL, loc, factor, x, own, tf.float64)
        ours.append(errors(FastMultivariateNormalTriL, loc, factor, x, own, tf.float32, exact))
        theirs.append(errors(tfd.MultivariateNormalTriL, loc, factor, x, own, tf.float32, exact))
        assert np.all(errors(FastMultivariateNormalTriL, loc, factor, x, own, tf.float64, exact) < 1e-9)
    ours, theirs = (np.sqrt(np.mean(np.square(each), axis=0)) for each in (ours, theirs))
    assert np.all(ours <= 3 * theirs + 1e-6), (ours, theirs)


def test_the_rest_is_inherited():
    loc, factor, _ = draw(np.random.default_rng(2), (3,), (3,), (), 4, tf.float32)
    ours, theirs = FastMultivariateNormalTriL(loc, factor), tfd.MultivariateNormalTriL(loc, factor)
    np.testing.assert_array_equal(ours.sample(5, seed=[1, 2]), theirs.sample(5, seed=[1, 2]))
    np.testing.assert_array_equal(ours.covariance(), theirs.covariance())
    np.testing.assert_array_equal(ours.entropy(), theirs.entropy())
    other = tfd.MultivariateNormalTriL(loc + 1, factor)
    np.testing.assert_array_equal(ours.kl_divergence(other), theirs.kl_divergence(other))
    assert ours.batch_shape == (3,) and type(ours.copy(loc=loc + 1)) is FastMultivariateNormalTriL
    x = tf.zeros([5, 1, 4])
    assert_same(
        [FastMultivariateNormalTriL(None, factor).log_prob(x)],
        [tfd.MultivariateNormalTriL(None, factor).log_prob(x)],
        1e-5,
    )
    assert_same([FastMultivariateNormalTriL(loc).log_prob(x)], [tfd.MultivariateNormalTriL(loc).log_prob(x)], 1e-5)
    with pytest.raises(ValueError, match="loc.*scale_tril"):
        FastMultivariateNormalTriL()


def test_inside_a_mixture_and_a_keras_model_and_nothing_of_size_b_k_d_d_is_built():
    layout = MixtureLayout(3, 8, "tril")
    data = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    start = layout.initial_params(data, seed=1)

    losses, sizes = [], []
    for kind in (FastMultivariateNormalTriL, tfd.MultivariateNormalTriL):
        build = functools.partial(layout.distribution, components=kind)
        model = tf_keras.Sequential(
            [
                tfpl.VariableLayer(start.shape, initializer=tf_keras.initializers.Constant(start.numpy())),
                tfpl.DistributionLambda(build),
            ]
        )
        model.compile("adam", loss=lambda x, d: -d.log_prob(x))
        fit = model.fit(np.zeros((400, 0), np.float32), data, epochs=3, batch_size=100, shuffle=False, verbose=0)
        losses.append(fit.history["loss"])

        @tf.function
        def gradient(params, build=build):
            with tf.GradientTape() as tape:
                tape.watch(params)
                loss = -tf.reduce_mean(build(params).log_prob(data))
            return tape.gradient(loss, params)

        graph = gradient.get_concrete_function(start).graph
        shapes = [out.shape for op in graph.get_operations() for out in op.outputs]
        sizes.append(max(s.num_elements() for s in shapes if s.is_fully_defined()))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert sizes[0] <= 400 * 3 * 9 < 400 * 3 * 8 * 8 <= sizes[1]


def test_units_and_start_of_the_layout():
    layout = MixtureLayout(2, 2, "tril")
    params = layout.pack(
        np.zeros(2), np.zeros((2, 2)), [[[0.1, 0], [0.3, 0.4]], [[2.0, 0], [0, 1.0]]], dtype=tf.float64
    )
    units = layout.natural_units(params)
    assert units.shape == (layout.params_size,) and np.all(units > 0)
    # one unit of a mean is one standard deviation; a small unit step on the diagonal multiplies it by e^step
    np.testing.assert_allclose(units[layout.slices["loc[0]"]], [0.1, 0.5], rtol=1e-5)
    step = 1e-4 * units * (np.arange(layout.params_size) >= 4)
    before, after = layout.split(params).scale_tril, layout.split(params + step).scale_tril
    ratio = tf.linalg.diag_part(after) / tf.linalg.diag_part(before)
    np.testing.assert_allclose(ratio, np.exp(1e-4), atol=1e-7)
    np.testing.assert_allclose((after - before)[:, 1, 0], [1e-4 * 0.4, 1e-4 * 1.0], rtol=1e-4)
    rows = np.random.default_rng(0).normal(size=(500, 2)) * [1, 10]
    scale = layout.split(layout.scale_family_params(rows, low=0.5, high=2)).scale_tril
    np.testing.assert_allclose(scale[1], 4 * scale[0], rtol=1e-3)
    np.testing.assert_allclose(
        tf.linalg.matmul(scale[1], scale[1], transpose_b=True), 4 * np.cov(rows.T), rtol=0.01, atol=0.05
    )


def test_units_know_the_diagonal_shift_and_leading_axes():
    layout = MixtureLayout(1, 2, "tril")
    numbers = np.linspace(-11, 3, 12)  # of the diagonal: down to 2.7e-5, most of it the shift
    params = np.stack([[0, 0, 0, n, 0.7, n] for n in numbers]).reshape(3, 4, 6)
    units = layout.natural_units(params)
    assert units.shape == params.shape
    np.testing.assert_array_equal(units[1, 2], layout.natural_units(params[1, 2]))
    before, after = (tf.linalg.diag_part(layout.split(p).scale_tril) for p in (params, params + 1e-4 * units))
    np.testing.assert_allclose(after / before, np.exp(1e-4), atol=1e-7)
    lost = layout.natural_units(np.float32([0, 0, 0, -200, 0, -200]))  # the softplus underflows: only the shift is left
    assert np.all(lost > 0) and np.all(lost < 3)


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_starts_follow_the_unit_of_the_data(unit):
    rows = np.random.default_rng(0).normal(size=(500, 2)) * [1, 10]
    for start in ("initial_params", "scale_family_params"):
        layout = MixtureLayout(3, 2, "tril")
        options = {} if start == "initial_params" else {"low": 0.2, "high": 2.0}
        plain, other = (layout.split(getattr(layout, start)(x, **options)) for x in (rows, unit * rows))
        np.testing.assert_allclose(other.loc, unit * plain.loc.numpy(), rtol=1e-3, atol=1e-5 * unit)
        np.testing.assert_allclose(other.scale_tril, unit * plain.scale_tril.numpy(), rtol=1e-3, atol=1e-5 * unit)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixtureLayout(2, 3, "diag").natural_units(np.zeros(14)), "covariance: expected 'tril', got 'diag'"),
        (lambda: MixtureLayout(2, 3, "diag").scale_family_params(np.zeros((9, 3))), "covariance: expected 'tril'"),
        (
            lambda: MixtureLayout(2, 3).scale_family_params(np.zeros((3, 3))),
            "data: expected at least 4 rows for a covariance in 3 dimensions, got 3",
        ),
        (lambda: MixtureLayout(2, 3).scale_family_params(np.full((9, 3), np.nan)), "data: expected finite numbers"),
        (lambda: MixtureLayout(2, 3).scale_family_params(np.eye(9, 3), low=0), "low, high: expected 0 < low <= high"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
