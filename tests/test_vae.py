"""What notebook 03 teaches: the functions of the stored notebook, run on small models and held to known answers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import stats
from scipy.special import logsumexp
from sklearn.datasets import load_digits

from helpers import data
from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "03_vae_mixture.ipynb"
tfd, tfpl, layers = tfp.distributions, tfp.layers, tf_keras.layers


sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

import letters  # noqa: E402
import vae_prior  # noqa: E402

nb = vae_prior.functions_of(NOTEBOOK, PIXELS=6, COUNT=16, SEED=1, GAMMA=0.02, STARTS=3, ROUNDS=4, STEPS=3)
nb["standard_normal"] = tfd.MultivariateNormalDiag(tf.zeros(2))
make_prior = nb["make_prior"]
X = np.random.default_rng(0).integers(0, 17, size=(64, 6)).astype(np.float32)


def random_mixture(k, d, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.tril(0.3 * rng.normal(size=(k, d, d)), -1) + np.eye(d)
    weights = rng.uniform(1, 2, k)
    return weights / weights.sum(), rng.normal(size=(k, d)), factor @ np.swapaxes(factor, 1, 2)


def mixture_logpdf(z, weights, loc, covariance):
    parts = [stats.multivariate_normal(m, c).logpdf(z) for m, c in zip(loc, covariance, strict=True)]
    return logsumexp(np.log(weights) + np.stack(parts, -1), axis=-1)


def vector(mixture):
    """The flat vector of weights [K], means [K, D], covariances [K, D, D]."""
    weights, loc, covariance = mixture
    return MixtureLayout(*loc.shape).pack(np.log(weights), loc, np.linalg.cholesky(covariance))


def prior_of(mixture):
    return make_prior(vector(mixture), *mixture[1].shape)


def small_vae(prior, kind=tf_keras.Model):
    pair = nb["make_encoder"](prior, 2, width=8), nb["make_decoder"](2, width=8)
    return nb["make_vae"](*pair, kind), *pair


def test_elbo_terms_agree_with_scipy():
    mixture = random_mixture(3, 2)
    prior = prior_of(mixture)
    vae, encoder, decoder = small_vae(prior)
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

    model = encoder, decoder, lambda _: nb["standard_normal"]
    exact = stats.multivariate_normal(np.zeros(6), covariance).logpdf(x).mean()
    tf.random.set_seed(0)
    bounds = {s: nb["importance_bound"](model, x, s, rows=10)[0].mean() for s in (1, 20, 20_000)}
    assert bounds[1] < bounds[20] < exact + 0.02
    assert bounds[1] < exact - 0.3
    assert abs(bounds[20_000] - exact) < 0.02


def test_the_e_step_is_the_mean_over_samples():
    mixture, rng = random_mixture(3, 2), np.random.default_rng(5)
    mean, var = rng.normal(size=(4, 2)).astype("f"), rng.uniform(0.1, 1, size=(4, 2)).astype("f")
    z = mean + np.sqrt(var) * rng.normal(size=(100_000, 4, 2))
    logpdfs = [stats.multivariate_normal(m, c).logpdf(z).mean(0) for m, c in zip(mixture[1], mixture[2], strict=True)]
    log_joint = np.log(mixture[0]) + np.stack(logpdfs, -1)
    r, bound = nb["expected_responsibilities"](prior_of(mixture)(0.0), mean, var)
    np.testing.assert_allclose(bound, logsumexp(log_joint, axis=1), atol=0.05)
    np.testing.assert_allclose(r, np.exp(log_joint - logsumexp(log_joint, axis=1)[:, np.newaxis]), atol=0.02)
    assert np.all(bound < mixture_logpdf(z, *mixture).mean(0))  # a lower bound of the samples' log density


def test_em_on_codes_recovers_a_known_mixture():
    """Codes that carry noise of known variance: the fit must add it back, which a fit to the means does not."""
    rng = np.random.default_rng(6)
    centre = np.array([[-5.0, 0.0], [5.0, 0.0]])[rng.integers(0, 2, 4000)]
    mean, var = centre + 0.5 * rng.normal(size=(4000, 2)), np.full((4000, 2), 0.75)
    weights, loc, covariance = nb["read_prior"](nb["fit_em"](mean, var, 2, starts=2))
    np.testing.assert_allclose(sorted(loc[:, 0]), [-5, 5], atol=0.1)
    np.testing.assert_allclose(weights, 0.5, atol=0.05)
    np.testing.assert_allclose(covariance, np.stack([np.eye(2)] * 2), atol=0.1)
    _, _, of_means = nb["read_prior"](nb["fit_em"](mean, None, 2, starts=2))
    np.testing.assert_allclose(np.diagonal(of_means, axis1=1, axis2=2), 0.25, atol=0.05)


def test_the_vector_gets_gradients_and_moves():
    prior = prior_of(random_mixture(3, 2))
    vae, _, _ = small_vae(prior)
    numbers = prior.trainable_variables[0]
    assert any(v is numbers for v in vae.trainable_variables)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(vae(X).log_prob(X)) + tf.add_n(vae.losses)
    assert np.all(np.abs(tape.gradient(loss, numbers)) > 0)
    before = numbers.numpy().copy()
    vae.run_eagerly = True  # quicker than compiling
    vae.fit(X, X, epochs=2, verbose=0)
    assert np.all(numbers.numpy() != before)


def following(size=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(60, 2)).astype("f"), rng.uniform(0.5, 1, size=(60, 2)).astype("f")
    start = [v.numpy() for v in nb["make_encoder"](nb["standard_normal"], 2).trainable_variables]
    start += [v.numpy() for v in nb["make_decoder"](2).trainable_variables]
    return nb["make_following"](start, size, nb["fit_em"](*rows, size, starts=1))


def test_the_prior_takes_one_step_of_em_on_what_the_encoder_made_of_the_batch():
    vae, encoder, _, prior = following()
    assert len(vae.trainable_variables) == 12  # the prior's numbers are none of Adam's
    again = StepwiseEM(prior.layout, gamma=0.02)
    again.set_weights(prior.get_weights())
    vae.run_eagerly = True  # quicker than compiling
    vae.fit(X, X, batch_size=len(X), verbose=0)
    q = encoder(X)  # as Adam left it
    again.step(q.mean(), q.variance())
    assert prior.steps == again.steps
    for one, other in zip(nb["read_prior"](prior), nb["read_prior"](again), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_training_goes_back_to_the_best_round():
    nb["batches"], nb["x_valid"] = nb["make_batches"](X), X[:16]
    vae, _, _ = small_vae(nb["standard_normal"])
    log = nb["train"](vae, 0, 2)
    log = nb["train"](vae, 2, log=log)
    assert list(log["valid"]) == list(log["train"]) == [1, 2, 3, 4]
    vae.set_weights(log["best"])
    many = np.tile(X[:16], (400, 1))
    assert abs(-vae.evaluate(many, many, len(many), verbose=0) - max(log["valid"].values())) < 1


def test_weights_come_back(tmp_path):
    vae, encoder, decoder, prior = following()
    file = str(tmp_path / "vae.weights.h5")
    vae.save_weights(file)
    vae2, encoder2, decoder2, prior2 = following(seed=1)
    vae2.load_weights(file)
    z = np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_array_equal(prior(0.0).log_prob(z), prior2(0.0).log_prob(z))
    np.testing.assert_array_equal(decoder(z).log_prob(X[:9]), decoder2(z).log_prob(X[:9]))
    np.testing.assert_array_equal(encoder(X).mean(), encoder2(X).mean())
    with pytest.raises(ValueError, match="[Ss]hape"):
        following(4)[0].load_weights(file)


def test_dimensions_that_the_decoder_ignores_need_no_encoder():
    """x = A z + noise with a last column of zeros in A: what q says of that dimension must not matter."""
    rng = np.random.default_rng(3)
    matrix, noise, root = rng.normal(size=(6, 3)), 0.7, rng.normal(size=(3, 3)) + np.eye(3)
    matrix[:, 2] = 0
    prior_covariance = root @ root.T
    covariance = matrix @ prior_covariance @ matrix.T + noise**2 * np.eye(6)
    x = rng.multivariate_normal(np.zeros(6), covariance, size=20).astype(np.float32)
    of_used = np.linalg.inv(np.linalg.inv(prior_covariance[:2, :2]) + matrix[:, :2].T @ matrix[:, :2] / noise**2)
    gain, std = of_used @ matrix[:, :2].T / noise**2, 2 * np.sqrt(np.diag(of_used))

    def encoder(x):
        far = np.full((len(x), 1), 50.0)  # in the ignored dimension, with next to no spread
        return tfd.MultivariateNormalDiag(np.append(x @ gain.T, far, 1).astype("f"), np.append(std, 0.01).astype("f"))

    def decoder(z):
        return tfd.MultivariateNormalDiag(tf.linalg.matvec(matrix.astype("f"), z), noise * tf.ones(6))

    params = vector((np.ones(1), np.zeros((1, 3)), prior_covariance[np.newaxis]))
    prior = lambda _: MixtureLayout(1, 3).distribution(tf.cast(params, tf.float32))  # noqa: E731
    exact = stats.multivariate_normal(np.zeros(6), covariance).logpdf(x).mean()
    used = np.array([True, True, False])
    bound = nb["bound_on_used"]((encoder, decoder, prior), x, used, 20_000)
    assert abs(bound.mean() - exact) < 0.02
    assert nb["importance_bound"]((encoder, decoder, prior), x, 1000, rows=10)[0].mean() < exact - 100


def test_agreement_and_overlap_of_known_clusters():
    labels = np.array([0, 0, 1, 1, 2])
    assert nb["agreement"](np.array([2, 2, 0, 0, 1]), labels) == 1
    assert nb["agreement"](np.array([2, 2, 0, 1, 1]), labels) == 0.8
    one = np.stack([np.eye(2)] * 2)
    apart = prior_of((np.array([0.5, 0.5]), np.array([[-9.0, 0], [9, 0]]), one))
    touching = prior_of((np.array([0.5, 0.5]), np.array([[-1.0, 0], [1, 0]]), one))
    assert nb["overlap"](apart) < 1e-6
    assert abs(nb["overlap"](touching) - stats.norm.cdf(-1)) < 0.02  # Bayes' error of two normals two units apart


def test_a_bound_with_one_sample_that_counts_has_an_effective_size_of_one(monkeypatch):
    log_weights = np.array([[0.0, 0.0], [-900.0, 0.0]])
    monkeypatch.setitem(nb, "log_importances", lambda *_, **__: log_weights)
    bound, ess = nb["importance_bound"]((), X[:2], 2, rows=2)
    np.testing.assert_allclose(bound, [-np.log(2), 0], atol=1e-6)
    np.testing.assert_allclose(ess, [1, 2], rtol=1e-6)


def test_paired_differences_and_their_table(capsys):
    rng = np.random.default_rng(3)
    rows = [
        {"N(0,I)": z, "mixture": z + gain + 0.1 * rng.normal(size=50)}
        for gain, z in zip([3, 4, -1], rng.normal(size=(3, 50)), strict=True)
    ]
    mean, error = vae_prior.difference(rows[0], "mixture", "N(0,I)")
    assert abs(mean - 3) < 0.1 and abs(error - 0.1 / np.sqrt(50)) < 0.005
    summary = vae_prior.report(rows, [{"mixture": [0.9, 0.8]}] * 3, [{"mixture": 0.1}] * 3, [{"a, b": 0.5}] * 3)
    found = summary["mixture over N(0,I)"]
    assert found["better"] == 2 and abs(found["median"] - 3) < 0.1
    assert "2 of 3" in capsys.readouterr().out


def test_errors_over_groups_do_not_shrink_when_images_are_copied():
    rng = np.random.default_rng(4)
    row = {"one": rng.normal(size=60), "other": rng.normal(size=60)}
    mean, error = vae_prior.difference(row, "one", "other")
    copied = {name: np.repeat(bounds, 5) for name, bounds in row.items()}
    mean_copied, too_small = vae_prior.difference(copied, "one", "other")
    grouped = vae_prior.difference(copied | {"groups": np.repeat(np.arange(60), 5)}, "one", "other")
    np.testing.assert_allclose([mean_copied, *grouped], [mean, mean, error])
    assert too_small < 0.5 * error


def test_splits_of_the_same_images_get_a_wider_interval():
    rows = [{"N(0,I)": np.zeros(4), "mixture": np.full(4, gain), "share": 0.25} for gain in (1.0, 2.0, 3.0)]
    rest = [{"mixture": [0.9, 0.8]}] * 3, [{"mixture": 0.1}] * 3, [{}] * 3
    wide = vae_prior.report(rows, *rest)["mixture over N(0,I)"]["half"]
    narrow = vae_prior.report([row | {"share": 0.0} for row in rows], *rest)["mixture over N(0,I)"]["half"]
    assert abs(wide / narrow - np.sqrt((1 / 3 + 0.25) * 3)) < 1e-3


def test_one_blob_keeps_mean_and_covariance_and_loses_the_islands():
    rng = np.random.default_rng(5)
    mean = (rng.normal(size=(4000, 2)) + rng.choice([-9, 9], size=(4000, 1))).astype(np.float32)
    blob, var = nb["one_blob"](mean, np.full_like(mean, 0.5))
    np.testing.assert_allclose(np.cov(blob.T), np.cov(mean.T), rtol=0.1)
    assert np.all(var == 0.5)
    between = [np.mean(np.abs(codes.mean(axis=1)) < 3) for codes in (mean, blob)]
    assert between[0] < 0.01 and between[1] > 0.2


def test_letters_are_images_in_mnists_form_in_fonts_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["letters.py", str(tmp_path / "letters.npz"), "--train", "40", "--test", "20"])
    letters.main()
    images = data.mnist(tmp_path / "letters.npz")
    assert images.x_train.shape == (40, 784) and images.x_test.shape == (20, 784)
    assert 0.1 < images.x_train.mean() < 0.3 and set(np.unique(images.y_train)) <= set(range(10))
    groups = vae_prior.groups_of(str(tmp_path / "letters.npz"))
    np.testing.assert_array_equal(groups % 10, images.y_test)
    assert groups.max() < 10 * len(letters.TEST_FONTS) and len(np.unique(groups)) > 12
    assert not set(letters.TRAIN_FONTS) & set(letters.TEST_FONTS)


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


def test_digits_are_split_without_overlap():
    images = data.digits(seed=3, num_test=100)
    assert images.x_train.shape == (1697, 64) and images.x_test.shape == (100, 64) and images.x_train.max() == 16
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


def test_a_weight_of_the_kl_reaches_the_networks(monkeypatch):
    """They begin alike, with the networks of the first weight; 128 times the KL leaves hardly any of it."""
    monkeypatch.setattr(
        sys, "argv", ["vae_prior.py", "--dose", "--epochs", "10", "--most-steps", "128", "--test", "50"]
    )
    monkeypatch.setattr(vae_prior, "KL_WEIGHTS", (1, 128))
    for pool in ("intra", "inter"):  # which cannot be changed any more in this process
        monkeypatch.setattr(tf.config.threading, f"set_{pool}_op_parallelism_threads", lambda n: None)
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda n: None)
    found = vae_prior.Lab(vae_prior.parse()[1]).dose(0)
    assert found["128"][1] < 0.2 * found["1"][1]
