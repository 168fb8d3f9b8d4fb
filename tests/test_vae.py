"""What notebook 03 teaches: the functions of the stored notebook, run on small models and held to known answers."""

import ast
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import stats
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from helpers import data
from helpers.distributions import FastMultivariateNormalTriL
from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "03_vae_mixture.ipynb"
BENCHMARK = ROOT / "tests" / "benchmarks" / "vae_prior.py"
tfd, tfpl, layers = tfp.distributions, tfp.layers, tf_keras.layers


def functions_of(notebook):
    """Every function that the notebook's code cells define, compiled from their text, as {name: function}."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    namespace = {
        "np": np, "tf": tf, "tfd": tfd, "tfpl": tfpl, "layers": layers, "tf_keras": tf_keras, "logsumexp": logsumexp,
        "MixtureLayout": MixtureLayout, "FastMultivariateNormalTriL": FastMultivariateNormalTriL, "KMeans": KMeans,
        "PIXELS": 6, "COUNT": 16, "SEED": 1, "NUM_COMPONENTS": 3, "D": 2,
    }  # fmt: skip
    for cell in cells:
        if cell["cell_type"] == "code":
            body = [node for node in ast.parse("".join(cell["source"])).body if isinstance(node, ast.FunctionDef)]
            exec(compile(ast.Module(body, []), str(notebook.name), "exec"), namespace)
    return namespace


nb = functions_of(NOTEBOOK)
make_vae, make_prior, set_prior = nb["make_vae"], nb["make_prior"], nb["set_prior"]
X = np.random.default_rng(0).integers(0, 17, size=(64, 6)).astype(np.float32)


def random_mixture(k, d, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.tril(0.3 * rng.normal(size=(k, d, d)), -1) + np.eye(d)
    weights = rng.uniform(1, 2, k)
    return weights / weights.sum(), rng.normal(size=(k, d)), factor @ np.swapaxes(factor, 1, 2)


def mixture_logpdf(z, weights, loc, covariance):
    parts = [stats.multivariate_normal(m, c).logpdf(z) for m, c in zip(loc, covariance, strict=True)]
    return logsumexp(np.log(weights) + np.stack(parts, -1), axis=-1)


def test_elbo_terms_agree_with_scipy():
    prior, mixture = make_prior(3, 2), random_mixture(3, 2)
    set_prior(prior, *mixture)
    vae, encoder, decoder = make_vae(prior, 2, width=8)
    q = encoder(X[:1])
    z = q.sample(5000, seed=1)[:, 0]
    logits = decoder(z).distribution.logits.numpy().astype(np.float64)
    likelihood = stats.binom(16, 1 / (1 + np.exp(-logits))).logpmf(X[:1]).sum(-1)
    np.testing.assert_allclose(decoder(z).log_prob(X[:1]), likelihood, rtol=1e-4)
    np.testing.assert_allclose(prior(0.0).log_prob(z), mixture_logpdf(z.numpy(), *mixture), atol=1e-3)
    log_q = stats.norm(q.mean().numpy(), q.stddev().numpy()).logpdf(z.numpy()).sum(-1)
    terms = -likelihood + log_q - mixture_logpdf(z.numpy(), *mixture)
    vae.run_eagerly = True  # quicker than compiling
    loss = vae.evaluate(np.repeat(X[:1], 5000, 0), np.repeat(X[:1], 5000, 0), batch_size=5000, verbose=0)
    assert abs(loss - terms.mean()) < 6 * np.sqrt(2 / 5000) * terms.std()


def test_bound_reaches_the_exact_likelihood_of_a_linear_gaussian_model():
    """x = A z + noise with z normal has a normal density; with q twice as wide, the bound is not tight."""
    rng = np.random.default_rng(3)
    matrix, noise = rng.normal(size=(6, 2)).astype(np.float32), 0.7
    covariance = matrix @ matrix.T + noise**2 * np.eye(6)
    x = rng.multivariate_normal(np.zeros(6), covariance, size=20).astype(np.float32)
    precision = np.eye(2) + matrix.T @ matrix / noise**2
    gain = np.linalg.inv(precision) @ matrix.T / noise**2
    std = 2 * np.sqrt(np.diag(np.linalg.inv(precision))).astype(np.float32)

    def encoder(x):
        return tfd.MultivariateNormalDiag(tf.linalg.matvec(gain.astype(np.float32), x), std)

    def decoder(z):
        return tfd.MultivariateNormalDiag(tf.linalg.matvec(matrix, z), noise * tf.ones(6))

    log_weights = nb["make_log_weights"](encoder, decoder, make_prior(1, 2))
    exact = stats.multivariate_normal(np.zeros(6), covariance).logpdf(x).mean()
    tf.random.set_seed(0)
    bounds = {s: nb["importance_bound"](log_weights, x, s, rows=10).mean() for s in (1, 20, 20_000)}
    assert bounds[1] < bounds[20] < exact + 0.02
    assert bounds[1] < exact - 0.3
    assert abs(bounds[20_000] - exact) < 0.02


def test_expected_log_joint_is_the_mean_over_samples():
    mixture, rng = random_mixture(3, 2), np.random.default_rng(5)
    mean, var = rng.normal(size=(4, 2)), rng.uniform(0.1, 1, size=(4, 2))
    z = mean + np.sqrt(var) * rng.normal(size=(100_000, 4, 2))
    logpdfs = [stats.multivariate_normal(m, c).logpdf(z).mean(0) for m, c in zip(mixture[1], mixture[2], strict=True)]
    expected = np.log(mixture[0]) + np.stack(logpdfs, -1)
    np.testing.assert_allclose(nb["expected_log_joint"](mean, var, *mixture), expected, atol=0.05)


def test_aggregate_fit_recovers_a_known_mixture():
    """Codes that carry noise of known variance: the fit must add it back, which a fit to the means does not."""
    rng = np.random.default_rng(6)
    centre = np.array([[-5.0, 0.0], [5.0, 0.0]])[rng.integers(0, 2, 4000)]
    mean, var = centre + 0.5 * rng.normal(size=(4000, 2)), np.full((4000, 2), 0.75)
    _, (weights, loc, covariance) = nb["fit_aggregate"](mean, var, 2, starts=2)[0]
    np.testing.assert_allclose(sorted(loc[:, 0]), [-5, 5], atol=0.1)
    np.testing.assert_allclose(weights, 0.5, atol=0.05)
    np.testing.assert_allclose(covariance, np.stack([np.eye(2)] * 2), atol=0.1)


def test_components_borrow_from_their_average():
    """borrowed = 0 is the plain M-step; the more they borrow, the nearer each covariance is to the average of all."""
    rng = np.random.default_rng(8)
    mean, var = rng.normal(size=(50, 2)), rng.uniform(0.1, 1, size=(50, 2))
    r = rng.dirichlet(np.ones(3), size=50)
    weights, loc, alone = nb["maximise"](mean, var, r, 0)
    for k in range(3):
        expected = np.cov(mean.T, aweights=r[:, k], ddof=0) + np.diag(np.average(var, axis=0, weights=r[:, k]))
        np.testing.assert_allclose(alone[k], expected + 1e-4 * np.eye(2), rtol=1e-6)
    average = np.einsum("k,kij->ij", weights, alone)
    np.testing.assert_allclose(nb["maximise"](mean, var, r, 1e9)[2], np.stack([average] * 3), rtol=1e-6)
    size, some = r.sum(axis=0)[:, np.newaxis, np.newaxis], nb["maximise"](mean, var, r, 30)[2]
    np.testing.assert_allclose(some, (size * alone + 30 * average) / (size + 30), rtol=1e-6)


def test_the_prior_gets_gradients_and_moves():
    prior = make_prior(3, 2)
    set_prior(prior, *random_mixture(3, 2))
    vae, _, _ = make_vae(prior, 2, width=8)
    vector = prior.trainable_variables[0]
    assert any(v is vector for v in vae.trainable_variables)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(vae(X).log_prob(X)) + tf.add_n(vae.losses)
    assert np.all(np.abs(tape.gradient(loss, vector)) > 0)
    before = vector.numpy().copy()
    vae.run_eagerly = True  # quicker than compiling
    vae.fit(X, X, epochs=2, verbose=0)
    assert np.all(vector.numpy() != before)


def test_weights_come_back(tmp_path):
    prior = make_prior(3, 2)
    set_prior(prior, *random_mixture(3, 2))
    vae, encoder, decoder = make_vae(prior, 2, width=8)
    file = str(tmp_path / "vae.weights.h5")
    vae.save_weights(file)
    again = make_prior(3, 2)
    vae2, encoder2, decoder2 = make_vae(again, 2, width=8)
    vae2.load_weights(file)
    z = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_array_equal(prior(0.0).log_prob(z), again(0.0).log_prob(z))
    np.testing.assert_array_equal(decoder(z).log_prob(X[:9]), decoder2(z).log_prob(X[:9]))
    np.testing.assert_array_equal(encoder(X).mean(), encoder2(X).mean())
    other, _, _ = make_vae(make_prior(4, 2), 2, width=8)
    with pytest.raises(ValueError, match="[Ss]hape"):
        other.load_weights(file)


def test_benchmark_shares_the_notebooks_functions():
    """The benchmark has its own copy of the EM: same code, so that its evidence is evidence for the notebook."""
    mean, var = np.random.default_rng(2).normal(size=(30, 2)), np.full((30, 2), 0.2)
    spec = importlib.util.spec_from_file_location("vae_prior", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    ours = nb["fit_aggregate"](mean, var, 2, starts=3, seed=4)[0][1]
    for a, b in zip(ours, benchmark.fit_aggregate(mean, var, 2, 3, 4)[0][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def npz(tmp_path, compressed=False, **changes):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (40, 28, 28), np.uint8), "y_train": rng.integers(0, 10, 40)}
    arrays |= {"x_test": rng.integers(0, 256, (12, 28, 28), np.uint8), "y_test": rng.integers(0, 10, 12)} | changes
    path = tmp_path / "small.npz"
    (np.savez_compressed if compressed else np.savez)(
        path, **{name: value for name, value in arrays.items() if value is not None}
    )
    return path


def torn(path):
    """The archive cut short, and with some bytes inside it overwritten: zipfile's error and zlib's."""
    content = path.read_bytes()
    for name, bad in {"short": content[:-9], "spoilt": content[:100] + b"\xff" * 20 + content[120:]}.items():
        file = path.with_name(f"{name}.npz")
        file.write_bytes(bad)
        yield file


def test_mnist_from_a_small_npz(tmp_path, monkeypatch):
    path = npz(tmp_path)
    monkeypatch.setenv("MNIST_PATH", str(path))
    for images in (data.load("mnist"), data.mnist(path)):
        assert images.x_train.shape == (40, 784) and images.x_test.shape == (12, 784)
        assert images.total_count == 1 and images.shape == (28, 28)
        with np.load(path) as file:
            for part in ("train", "test"):
                dark = file[f"x_{part}"].reshape(-1, 784) > 127
                np.testing.assert_array_equal(getattr(images, f"x_{part}"), dark)
                np.testing.assert_array_equal(getattr(images, f"y_{part}"), file[f"y_{part}"])
    monkeypatch.setenv("MNIST_PATH", "nowhere.npz")
    assert data.mnist(path).x_test.shape == (12, 784)  # the argument goes before the environment


def test_digits_are_split_without_overlap():
    images = data.digits(seed=3, num_test=100)
    assert images.x_train.shape == (1697, 64) and images.x_test.shape == (100, 64)
    assert images.x_train.max() == 16 == images.total_count and images.shape == (8, 8)
    x, y = load_digits(return_X_y=True)
    assert len(np.unique(x, axis=0)) == len(x)  # so that an image can be told by its pixels
    number = {row.tobytes(): i for i, row in enumerate(x.astype(np.float32))}
    order = [number[row.tobytes()] for row in np.concatenate([images.x_test, images.x_train])]
    assert sorted(order) == list(range(len(x)))
    np.testing.assert_array_equal(np.concatenate([images.y_test, images.y_train]), y[order])
    assert abs(np.corrcoef(order, np.arange(len(x)))[0, 1]) < 0.1 and max(order[:100]) > 1500  # at random
    assert np.any(data.digits(seed=4, num_test=100).y_test != images.y_test)


def no_network():
    raise OSError("no network")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "path: expected the arrays x_train, y_train, x_test, y_test, got none named ..y_test"),
        ({"x_train": np.zeros((40, 8, 8))}, "x_train: expected images .N, 28, 28., got shape"),
        ({"x_train": np.ones((40, 28, 28))}, "x_train: expected grey values from 0 to 255, got 1 to 1"),
        ({"y_test": np.zeros(3, int)}, "y_test: expected 12 labels"),
        ({"x_test": np.full((12, 28, 28), "9")}, "x_test: expected numbers, got an array of <U1"),
        ({"x_test": np.full((12, 28, 28), np.nan)}, "x_test: expected finite numbers, got NaN"),
    ],
)
def test_a_wrong_npz_gets_one_clear_error(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        data.mnist(npz(tmp_path, **changes))


def test_missing_and_unreadable_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="which is not there"):
        data.mnist(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    whole = npz(tmp_path, x_train=np.zeros((40, 28, 28), np.uint8), compressed=True)
    for file in (text, *torn(whole)):
        with pytest.raises(ValueError, match="path: expected an .npz file.*cannot read as one"):
            data.mnist(file)
    monkeypatch.delenv("MNIST_PATH", raising=False)
    monkeypatch.setattr(tf_keras.datasets.mnist, "load_data", no_network)
    with pytest.raises(ValueError, match="MNIST_PATH"):
        data.mnist()
    with pytest.raises(ValueError, match="num_test"):
        data.digits(num_test=5000)
    with pytest.raises(ValueError, match="num_test"):
        data.digits(num_test=0)
    for k, d, name in ((0, 2, "num_components"), (3, 0, "event_size")):
        with pytest.raises(ValueError, match=name):
            make_prior(k, d)


@pytest.mark.parametrize("covariance", ["tril", "diag", "full"])
def test_em_starts_from_given_clusters(covariance):
    """One M-step: the means of the clusters, and their covariances with the rows' own variances."""
    rng = np.random.default_rng(7)
    units, labels = np.array([1.0, 1e3]), rng.integers(0, 2, 200)
    mean, var = units * rng.normal(size=(200, 2)) + 7, units**2 * rng.uniform(0.1, 1, size=(200, 2))
    em = StepwiseEM(MixtureLayout(2, 2, covariance), prior_rows=0)
    em.start_from(labels, mean, var)
    parts = em(np.float64(0)).components_distribution
    for k in range(2):
        expected = np.cov(mean[labels == k].T, ddof=0) + np.diag(var[labels == k].mean(axis=0))
        expected = np.diag(np.diag(expected)) if covariance == "diag" else expected
        np.testing.assert_allclose(parts.mean()[k], mean[labels == k].mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(parts.covariance()[k], expected, rtol=1e-9)
    with pytest.raises(ValueError, match=r"labels: expected \[200\] whole numbers, each of 0 to 1"):
        em.start_from(labels + 1, mean, var)
