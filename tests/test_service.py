"""What is exported is the model: for layouts of every kind, for any number of rows, loaded from disk."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout
from helpers.network import mixture_network
from helpers.service import ConditionalService, MixtureService

tfd = tfp.distributions
KINDS = [("full", 3, 2), ("tril", 4, 5), ("tril", 1, 3), ("diag", 3, 4), ("tril", 2, 1)]


def signatures(module, folder):
    module.save(folder)
    loaded = tf.saved_model.load(str(folder))
    return loaded, loaded.signatures


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("kind", "k", "d"), KINDS)
def test_export_is_the_model(tmp_path, kind, k, d, seed):
    rng, layout = np.random.default_rng(seed), MixtureLayout(k, d, kind)
    params = rng.normal(size=layout.params_size)
    mixture = layout.distribution(params)  # float64
    before = rng.normal(size=(d + 2, d)) if seed else None
    kept, served = signatures(
        MixtureService(layout.distribution(np.float32(params)) if seed else mixture, before), tmp_path
    )
    x = rng.normal(size=(1000, d + 2 if seed else d)).astype(np.float32) * 3
    rows = x.astype(np.float64) if before is None else x @ before
    right = mixture.log_prob(rows).numpy()
    posterior = mixture.posterior_marginal(rows).probs_parameter().numpy()
    for n in (0, 1, 1000):
        log_prob = served["log_prob"](x=tf.constant(x[:n]))["log_prob"]
        assert log_prob.shape == (n,) and log_prob.dtype == tf.float32
        np.testing.assert_allclose(log_prob, right[:n], rtol=1e-4 if seed else 1e-6, atol=1e-4)
        r = served["responsibilities"](x=tf.constant(x[:n]))["responsibilities"]
        assert r.shape == (n, k)
        np.testing.assert_allclose(r, posterior[:n], atol=1e-3 if seed else 1e-5)
    draw = served["sample"](n=tf.constant(40_000), seed=tf.constant([seed, 5]))["x"].numpy()
    assert draw.shape == (40_000, x.shape[1])
    draw = draw if before is None else draw @ before
    width = mixture.stddev().numpy()
    np.testing.assert_allclose(draw.mean(axis=0), mixture.mean(), atol=6 * width.max() / 200)
    np.testing.assert_allclose(np.cov(draw.T).reshape(d, d), mixture.covariance(), atol=0.08 * width.max() ** 2)
    again = served["sample"](n=tf.constant(40_000), seed=tf.constant([seed, 5]))["x"].numpy()
    np.testing.assert_array_equal(draw, again if before is None else again @ before)
    other = served["sample"](n=tf.constant(40_000), seed=tf.constant([seed, 6]))["x"].numpy()
    assert not np.array_equal(again, other)
    assert served["sample"](n=tf.constant(0), seed=tf.constant([1, 1]))["x"].shape == (0, x.shape[1])


def test_far_from_the_origin_no_digits_are_lost(tmp_path):
    rng = np.random.default_rng(0)
    x = (1e3 + 1e-2 * rng.normal(size=(3000, 2))).astype(np.float32)
    model = StepwiseEM(MixtureLayout(2, 2, "tril"), starts=1)
    model.fit(x, epochs=1, verbose=0)
    right = model(np.zeros(1)).log_prob(x.astype(np.float64)).numpy()
    kept, served = signatures(MixtureService(model(np.zeros(1))), tmp_path)
    np.testing.assert_allclose(served["log_prob"](x=tf.constant(x))["log_prob"], right, atol=1e-4)


def test_one_clear_answer_to_what_is_no_row_and_the_service_lives(tmp_path):
    layout = MixtureLayout(2, 3, "tril")
    kept, served = signatures(MixtureService(layout.distribution(np.zeros(layout.params_size))), tmp_path)
    x = np.zeros((5, 3), np.float32)
    right = served["log_prob"](x=tf.constant(x))["log_prob"].numpy()
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[3, 1] = value
        for name in ("log_prob", "responsibilities"):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                served[name](x=tf.constant(bad))
            assert "x: expected finite numbers, got NaN or infinity in row" in str(caught.value)
            assert "[3]" in str(caught.value)
    for value in (1e6, 3e38):
        bad[3, 1] = value
        answer = served["log_prob"](x=tf.constant(bad))["log_prob"].numpy()
        assert answer[3] < -1e9 and np.isfinite(answer[3])
        r = served["responsibilities"](x=tf.constant(bad))["responsibilities"].numpy()
        assert np.all(np.isfinite(r[np.arange(5) != 3]))
    for shape in ((2, 2), (2, 4), (3,), (2, 2, 3), (2, 1, 2), (2, 3, 0), (2, 3, 1), ()):
        for name in ("log_prob", "responsibilities"):
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"x: expected \[N, 3\], got shape\]"):
                served[name](x=tf.zeros(shape))
    with pytest.raises(tf.errors.InvalidArgumentError, match="n: expected a number of at least 0, got"):
        served["sample"](n=tf.constant(-1), seed=tf.constant([1, 2]))
    np.testing.assert_array_equal(served["log_prob"](x=tf.constant(x))["log_prob"], right)


@pytest.mark.parametrize(("kind", "d"), [("full", 2), ("tril", 3), ("diag", 2)])
def test_export_of_a_network_with_a_mixture_behind_it(tmp_path, kind, d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(500, 2)).astype(np.float32), rng.normal(size=(500, d)).astype(np.float32)
    y += 5 * x[:, :1]  # a line, which overflows where the network itself takes what is far out as near
    model = mixture_network(MixtureLayout(3, d, kind), x, y, hidden=(8,))
    kept, served = signatures(ConditionalService(model), tmp_path)
    for n in (0, 1, 500):
        given = {"x": tf.constant(x[:n]), "y": tf.constant(y[:n])}
        np.testing.assert_allclose(served["log_prob"](**given)["log_prob"], model(x[:n]).log_prob(y[:n]), atol=1e-4)
        r = served["responsibilities"](**given)["responsibilities"]
        assert r.shape == (n, 3)
    np.testing.assert_allclose(r, model(x).posterior_marginal(y).probs_parameter(), atol=1e-4)
    draws = [served["sample"](x=tf.constant(x), seed=tf.constant([s, 0]))["y"].numpy() for s in (1, 1, 2)]
    assert draws[0].shape == y.shape
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert served["sample"](x=tf.zeros([0, 2]), seed=tf.constant([1, 0]))["y"].shape == (0, d)
    for y_shape, message in (
        ((500, d - 1), rf"y: expected \[N, {d}\], got shape"),
        ((1, d), "y: expected as many rows as x has"),
        ((499, d), "y: expected as many rows as x has"),
        ((500,), "y: expected"),
    ):
        for name in ("log_prob", "responsibilities"):
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                served[name](x=tf.constant(x), y=tf.zeros(y_shape))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x: expected \[N, 2\], got shape"):
        served["sample"](x=tf.zeros([1, 3]), seed=tf.constant([1, 0]))
    far = tf.fill([1, 2], 3e38)
    with pytest.raises(tf.errors.InvalidArgumentError, match="got too large in row"):
        served["log_prob"](x=far, y=tf.zeros([1, d]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="got too large in row"):
        served["sample"](x=far, seed=tf.constant([1, 2]))
    x[4, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="x: expected finite numbers"):
        served["log_prob"](x=tf.constant(x), y=tf.constant(y))


def test_factors_of_every_sign_and_form():
    """TFP takes a triangular factor with a negative diagonal, and factors that are not triangular."""
    rng = np.random.default_rng(3)
    loc, factor, rows = rng.normal(size=(2, 4)), np.tril(rng.normal(size=(2, 4, 4))), rng.normal(size=(6, 4))
    factor[:, 1, 1] = -1
    low_rank = tfd.MultivariateNormalDiagPlusLowRank(loc, np.full((2, 4), 0.7), rng.normal(size=(2, 4, 2)))
    for parts in (tfd.MultivariateNormalTriL(loc, factor), low_rank):
        mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=np.array([0.0, 0.5])), parts)
        got = MixtureService(mixture).functions["log_prob"](tf.constant(rows, tf.float32))["log_prob"]
        np.testing.assert_allclose(got, mixture.log_prob(rows), rtol=1e-4)


def test_what_is_no_mixture_is_refused():
    layout = MixtureLayout(2, 3, "tril")
    mixture = layout.distribution(np.zeros(layout.params_size))
    for model in (3, tf_keras.Sequential([tf_keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="^model: expected a Keras model that is built, got"):
            ConditionalService(model)
    with pytest.raises(ValueError, match="^mixture: expected a MixtureSameFamily"):
        MixtureService(tfp.distributions.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match=r"^mixture: expected batch shape \[\]"):
        MixtureService(layout.distribution(np.zeros((4, layout.params_size))))
    for before in (np.ones((5, 3)), np.eye(4), np.eye(3)[0]):
        with pytest.raises(ValueError, match=r"^before: expected \[I, 3\] of rank 3"):
            MixtureService(mixture, before)


def test_a_program_with_tensorflow_alone_loads_it(tmp_path):
    layout = MixtureLayout(2, 3, "tril")
    params = np.random.default_rng(0).normal(size=layout.params_size)
    MixtureService(layout.distribution(params)).save(tmp_path)
    script = (
        "import sys, tensorflow as tf\n"
        "f = tf.saved_model.load(sys.argv[1]).signatures['log_prob']\n"
        "print(*f(x=tf.ones([2, 3]))['log_prob'].numpy())\n"
        "assert not {'helpers', 'tensorflow_probability', 'tf_keras'} & {*sys.modules}\n"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=200
    )
    assert run.returncode == 0, run.stderr
    right = layout.distribution(params).log_prob(np.ones((2, 3))).numpy()
    np.testing.assert_allclose([float(v) for v in run.stdout.split()], right, atol=1e-4)
