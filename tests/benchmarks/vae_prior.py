"""Four priors of one VAE at equal training, seed by seed: held-out bound, and clusters against unused labels.

    uv run python tests/benchmarks/vae_prior.py [--seeds 10] [--first 0] [--dataset digits|mnist|FILE.npz]
                                                [--epochs E] [--latent-size D] [--components K]

For each seed: a split (digits) and a start of the networks. Every prior gets E epochs of encoder and decoder, three
quarters of them at the rate `--rate`, the last quarter at 0.001, Adam starting afresh in between:
  N(0, I)    E epochs
  Gaussian   E epochs with one full-covariance Gaussian, trained with the rest from N(0, I)
  two-step   the networks of N(0, I) after E epochs; then a mixture fitted to their aggregate posterior
  joint      the networks of N(0, I) after 3/4 E epochs; a mixture fitted there; E/4 epochs that train it too
The mixture is fitted as in notebook 03, from `--starts` starts of which the best by its own bound is kept: no labels.
Bound: importance-weighted, in nats an image, on held-out images. Agreement: a component gets one label so that as
many images as possible agree (linear_sum_assignment), over all images, trained on and held out. Its columns: `means`, a
mixture fitted to the means of q(z | x) alone; `alone`, the two-step fit whose components borrow no images from
each other; `two-step`; `start`, where the joint training began; `joint`, all images and held-out ones; `pixels` and
`k-means`, scikit-learn's on the images themselves.
Exit status 1 where the digits at ten seeds or more miss what notebook 03 promises.
"""

import argparse
import sys
import time
import warnings

import numpy as np

from helpers import data, runtime

runtime.quiet_import()

import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
import tf_keras  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from scipy.special import logsumexp  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.mixture import GaussianMixture  # noqa: E402

from helpers.distributions import FastMultivariateNormalTriL  # noqa: E402
from helpers.layout import MixtureLayout  # noqa: E402

tfd, tfpl, layers = tfp.distributions, tfp.layers, tf_keras.layers


def mixture_of(parts):
    components = FastMultivariateNormalTriL(parts.loc, parts.scale_tril)
    return tfd.MixtureSameFamily(tfd.Categorical(logits=parts.logits), components)


def make_prior(num_components, latent_size):
    layout = MixtureLayout(num_components, latent_size, "tril")
    eye = np.broadcast_to(np.eye(latent_size), (num_components, latent_size, latent_size))
    start = layout.pack(np.zeros(num_components), np.zeros((num_components, latent_size)), eye).numpy()
    prior = tf_keras.Sequential(
        [
            tfpl.VariableLayer(layout.params_size, initializer=lambda shape, **_: tf.constant(start)),
            tfpl.DistributionLambda(lambda params: mixture_of(layout.split(params))),
        ]
    )
    prior(0.0)  # builds the variable
    return prior


def make_vae(prior, latent_size, num_pixels, total_count, width):
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(num_pixels),
            layers.Rescaling(2 / total_count, offset=-1.0),
            layers.Dense(width, "relu"),
            layers.Dense(width, "relu"),
            layers.Dense(2 * latent_size),
            tfpl.IndependentNormal(latent_size),
            tfpl.KLDivergenceAddLoss(prior),
        ]
    )
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer(latent_size),
            layers.Dense(width, "relu"),
            layers.Dense(width, "relu"),
            layers.Dense(num_pixels),
            tfpl.DistributionLambda(  # as a tensor its mean: a Binomial is slow to sample, and nobody looks
                lambda t: tfd.Independent(tfd.Binomial(float(total_count), logits=t), 1), tfd.Distribution.mean
            ),
        ]
    )
    vae = tf_keras.Model(encoder.inputs, decoder(encoder.outputs[0]))
    vae.compile(tf_keras.optimizers.Adam(1e-3), loss=lambda x, d: -d.log_prob(x), steps_per_execution=50)
    return vae, encoder, decoder


def train(vae, x, epochs, rate):
    """Adam starts afresh at each call, so that a model may be used again without being compiled again."""
    for variable in vae.optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    vae.optimizer.learning_rate.assign(rate)
    steps = max(1, round(epochs * len(x) / 128))
    batches = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).repeat().batch(128, drop_remainder=True)
    vae.fit(batches.map(lambda x: (x, x)), steps_per_epoch=steps, verbose=0)


def make_bound(encoder, decoder, prior):
    @tf.function
    def log_mean_weight(x, num_samples):
        q = encoder(x)
        z = q.sample(num_samples)
        rows = tf.reshape(z, [-1, z.shape[-1]])  # Keras wants one leading axis
        log_likelihood = decoder(rows).log_prob(tf.tile(x, [num_samples, 1]))
        log_likelihood = tf.reshape(log_likelihood, [num_samples, -1])
        log_weight = log_likelihood + prior(0.0).log_prob(z) - q.log_prob(z)
        return tf.reduce_logsumexp(log_weight, 0) - tf.math.log(tf.cast(num_samples, tf.float32))

    def bound(x, num_samples=200, batch=40):
        parts = [log_mean_weight(tf.constant(x[i : i + batch]), num_samples) for i in range(0, len(x), batch)]
        return np.concatenate(parts)

    return bound


def expected_log_joint(mean, var, weights, loc, covariance):
    """E_q[log(weights[k] N(z; loc[k], covariance[k]))] for every q = N(mean, diag(var)): [N, K]."""
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    residual = inverse @ mean.T - inverse @ loc[:, :, np.newaxis]
    square = np.sum(residual**2, axis=1) + np.sum(inverse**2, axis=1) @ var.T
    log_det = np.sum(np.log(np.diagonal(inverse, axis1=1, axis2=2)), axis=1)
    constant = np.log(weights) + log_det - 0.5 * mean.shape[1] * np.log(2 * np.pi)
    return (constant[:, np.newaxis] - 0.5 * square).T


def maximise(mean, var, r, borrowed):
    size = r.sum(axis=0) + 1e-9
    loc = r.T @ mean / size[:, np.newaxis]
    scatter = []
    for k in range(r.shape[1]):
        residual = mean - loc[k]
        scatter.append((residual * r[:, k : k + 1]).T @ residual + np.diag(r[:, k] @ var))
    scatter = np.stack(scatter)
    covariance = scatter + borrowed * scatter.sum(axis=0) / len(mean)
    covariance /= (size + borrowed)[:, np.newaxis, np.newaxis]
    return size / size.sum(), loc, covariance + 1e-4 * np.eye(mean.shape[1])


def em(mean, var, r, borrowed, tolerance=1e-3):
    before = -np.inf
    for _ in range(200):
        mixture = maximise(mean, var, r, borrowed)
        log_joint = expected_log_joint(mean, var, *mixture)
        log_sum = logsumexp(log_joint, axis=1)
        if log_sum.mean() - before < tolerance:
            break
        before, r = log_sum.mean(), np.exp(log_joint - log_sum[:, np.newaxis])
    return log_sum.mean(), mixture


def fit_aggregate(mean, var, num_components, starts, seed, borrowed=None):
    """EM from several starts: [(bound, (weights, loc, covariance))], the best by its own bound first."""
    borrowed = mean.shape[1] + 2 if borrowed is None else borrowed
    fits = []
    for start in range(starts):
        labels = KMeans(num_components, n_init=1, random_state=1000 * seed + start).fit_predict(mean)
        fits.append(em(mean, var, np.eye(num_components)[labels], borrowed))
    return sorted(fits, key=lambda fit: -fit[0])


def codes(encoder, x):
    q = encoder(x)
    return q.mean().numpy().astype(np.float64), q.variance().numpy().astype(np.float64)


def agreement(clusters, labels):
    table = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(table, (clusters, labels), 1)
    return table[linear_sum_assignment(-table)].sum() / len(labels)


def set_prior(prior, mixture):
    weights, loc, covariance = mixture
    layout = MixtureLayout(len(weights), loc.shape[1], "tril")
    prior.set_weights([layout.pack(np.log(weights), loc, np.linalg.cholesky(covariance)).numpy()])


def read_prior(prior):
    d = prior(0.0)
    parts = d.components_distribution
    arrays = d.mixture_distribution.probs_parameter(), parts.loc, parts.covariance()
    return [a.numpy().astype(np.float64) for a in arrays]


def load(seed, options):
    if options.dataset == "digits":
        return data.load("digits", seed=seed)
    return data.load("mnist", path=None if options.dataset == "mnist" else options.dataset)


class Models:
    """The three VAEs and their bounds, compiled once for all seeds."""

    def __init__(self, images, options):
        self.sizes = options.latent_size, images.x_train.shape[1], images.total_count, options.width
        # A fixed distribution, not a layer: `trainable = False` on a Keras prior does not reach KLDivergenceAddLoss.
        zeros = tf.zeros(options.latent_size)
        self.normal = tfd.MultivariateNormalDiag(zeros, tf.ones_like(zeros))
        self.single_prior = make_prior(1, options.latent_size)
        self.single_start = self.single_prior.get_weights()
        self.prior = make_prior(options.components, options.latent_size)
        self.plain, self.single, self.joint = (
            make_vae(prior, *self.sizes) for prior in (self.normal, self.single_prior, self.prior)
        )
        self.bounds = {
            "N(0,I)": make_bound(*self.plain[1:], make_prior(1, options.latent_size)),
            "Gaussian": make_bound(*self.single[1:], self.single_prior),
            "two-step": make_bound(*self.plain[1:], self.prior),
            "joint": make_bound(*self.joint[1:], self.prior),
        }

    def fresh_weights(self):
        return make_vae(self.normal, *self.sizes)[0].get_weights()


def run(seed, images, models, options):
    """One line of the table: {prior: bound}, {clustering: agreement}."""
    x, test = images.x_train, images.x_test[: options.test]
    fitted = x[: options.fitted]
    shown, labels = (
        np.concatenate([fitted, test]),
        np.concatenate([images.y_train[: len(fitted)], images.y_test[: len(test)]]),
    )
    runtime.set_seed(seed)
    phases = (0.75 * options.epochs, options.rate), (0.25 * options.epochs, 1e-3)
    row, agree = {}, {}

    def fit(encoder, **settings):
        return fit_aggregate(*codes(encoder, fitted), options.components, options.starts, seed, **settings)[0][1]

    def agreement_of(encoder, mixture):
        found = expected_log_joint(*codes(encoder, shown), *mixture).argmax(axis=1)
        return agreement(found, labels), agreement(found[len(fitted) :], labels[len(fitted) :])

    def bound(name):
        return models.bounds[name](test).mean()

    vae, encoder, _ = models.plain
    start = models.fresh_weights()
    vae.set_weights(start)
    train(vae, x, *phases[0])
    three_quarters, first_mixture = vae.get_weights(), fit(encoder)
    agree_start = agreement_of(encoder, first_mixture)[0]
    train(vae, x, *phases[1])
    row["N(0,I)"] = bound("N(0,I)")

    models.single[0].set_weights(start[:6] + models.single_start + start[6:])
    for phase in phases:
        train(models.single[0], x, *phase)
    row["Gaussian"] = bound("Gaussian")

    mixture = fit(encoder)
    set_prior(models.prior, mixture)
    row["two-step"] = bound("two-step")
    of_means = GaussianMixture(options.components, n_init=2, random_state=seed).fit(codes(encoder, fitted)[0])
    agree["means"] = agreement(of_means.predict(codes(encoder, shown)[0]), labels)
    agree["alone"] = agreement_of(encoder, fit(encoder, borrowed=0))[0]
    agree["two-step"], agree["start"] = agreement_of(encoder, mixture)[0], agree_start

    set_prior(models.prior, first_mixture)
    vae, encoder, _ = models.joint
    vae.set_weights(three_quarters[:6] + models.prior.get_weights() + three_quarters[6:])
    train(vae, x, *phases[1])
    row["joint"] = bound("joint")
    agree["joint"], agree["joint, held out"] = agreement_of(encoder, read_prior(models.prior))

    pixels = shown / images.total_count
    if pixels.shape[1] > 64:
        pixels = PCA(min(50, len(fitted)), random_state=seed).fit_transform(pixels)
    mixture = GaussianMixture(options.components, n_init=5, reg_covar=1e-2, random_state=seed)
    agree["pixels"] = agreement(mixture.fit(pixels[: len(fitted)]).predict(pixels), labels)
    means = KMeans(options.components, n_init=10, random_state=seed).fit(pixels[: len(fitted)])
    agree["k-means"] = agreement(means.predict(pixels), labels)
    return row, agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds (default 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--dataset", default="digits", help="digits, mnist or an .npz file in MNIST's form")
    parser.add_argument("--epochs", type=int, help="default 80 for digits, 8 for MNIST")
    parser.add_argument("--rate", type=float, default=4e-3, help="Adam's in the first three quarters (default 0.004)")
    parser.add_argument("--latent-size", type=int, default=48, help="D (default 48)")
    parser.add_argument("--width", type=int, default=256, help="of the hidden layers (default 256)")
    parser.add_argument("--components", type=int, default=10, help="K (default 10)")
    parser.add_argument("--starts", type=int, default=24, help="of each EM fit (default 24)")
    parser.add_argument("--fitted", type=int, default=5000, help="at most so many images for EM (default 5000)")
    parser.add_argument("--test", type=int, default=1000, help="at most so many held-out images for the bound")
    options = parser.parse_args()
    for name in ("seeds", "latent_size", "components", "starts", "fitted", "test", "width"):
        if getattr(options, name) < 1:
            parser.error(
                f"--{name.replace('_', '-')}: expected a whole number of at least 1, got {getattr(options, name)}"
            )
    if options.first < 0:
        parser.error(f"--first: expected a whole number of at least 0, got {options.first}")
    options.epochs = (80 if options.dataset == "digits" else 8) if options.epochs is None else options.epochs
    if options.epochs < 1:
        parser.error(f"--epochs: expected a whole number of at least 1, got {options.epochs}")
    if not options.rate > 0:
        parser.error(f"--rate: expected a positive number, got {options.rate}")
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows, agreements, models = [], [], None
    for seed in range(options.first, options.first + options.seeds):
        began = time.perf_counter()
        try:
            images = load(seed, options)
            models = models or Models(images, options)
            row, agree = run(seed, images, models, options)
        except ValueError as error:
            parser.error(str(error))
        rows.append(list(row.values()))
        agreements.append(list(agree.values()))
        if len(rows) == 1:
            print("seed  bound (nats): " + "  ".join(row) + "  |  agreement: " + "  ".join(agree) + "  |  seconds")
        figures = "  ".join(f"{v:.2f}" for v in row.values()) + "  |  " + "  ".join(f"{v:.3f}" for v in agree.values())
        print(f"{seed:4d}  {figures}  |  {time.perf_counter() - began:.0f}", flush=True)
    rows, agreements = np.array(rows), np.array(agreements)
    gain = rows[:, 3] - rows[:, 0]
    print("median over seeds  " + "  ".join(f"{v:.2f}" for v in np.median(rows, axis=0)))
    print("median agreement   " + "  ".join(f"{v:.3f}" for v in np.median(agreements, axis=0)))
    print("lowest agreement   " + "  ".join(f"{v:.3f}" for v in np.min(agreements, axis=0)))
    print(f"joint over N(0,I): median {np.median(gain):+.2f} nats, better at {np.sum(gain > 0)} of {len(gain)} seeds")
    if options.dataset != "digits" or len(gain) < 10:
        return 0
    joint = agreements[:, list(agree).index("joint")]
    promises = np.median(gain) >= 1.5, np.mean(gain > 0) >= 0.9, np.median(joint) >= 0.85, joint.min() >= 0.79
    return 0 if all(promises) else 1


if __name__ == "__main__":
    sys.exit(main())
