"""The formulas that notebook 02 derives are those of the helpers: its own cells are run here, and compared."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, logsumexp

from helpers import fitting
from helpers.layout import MixtureLayout

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

import denoise  # noqa: E402

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "02_high_dimensional_tril.ipynb"


@pytest.fixture(scope="module")
def taught():
    """What the notebook's cells define under these names."""
    wanted = {
        "responsibilities",
        "statistics",
        "m_step",
        "start_of_sizes",
        "stepwise_em",
        "likeliest",
        "guess",
        "average",
    }
    names = {"np": np, "log_softmax": log_softmax, "logsumexp": logsumexp, "D": denoise.D}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse("".join(cell["source"])).body:
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                exec(compile(ast.Module([node], []), NOTEBOOK.name, "exec"), names)
                wanted.discard(node.name)
    assert not wanted, f"no cell of the notebook defines {wanted}"
    return names


@pytest.fixture
def mixture():
    rng = np.random.default_rng(0)
    scale_tril = 0.3 * np.tril(rng.normal(size=(3, 4, 4)), -1) + np.eye(4) * rng.uniform(0.5, 1.5, size=(3, 1, 4))
    return rng.normal(size=(50, 4)), rng.normal(size=3), rng.normal(size=(3, 4)), scale_tril


def test_the_e_step(taught, mixture):
    x, logits, loc, scale_tril = mixture
    r, log_density = taught["responsibilities"](x, logits, loc, scale_tril)
    inverse = tf.constant(np.linalg.inv(scale_tril))
    log_weights = tf.constant(log_softmax(logits))
    found, moments, _ = fitting.e_step(tf.constant(x), tf.ones(50, tf.float64), log_weights, tf.constant(loc), inverse)
    np.testing.assert_allclose(log_density, found, rtol=1e-10)
    for ours, theirs in zip(taught["statistics"](x, r), moments, strict=True):
        np.testing.assert_allclose(50 * ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prior_rows", [0, 6])
def test_the_m_step(taught, mixture, prior_rows):
    s = taught["statistics"](mixture[0], taught["responsibilities"](*mixture)[0])
    logits, loc, scale_tril = taught["m_step"](s, 50, prior_rows)
    moments = fitting.Moments(*(tf.constant(part) for part in s))
    weights, their_loc, covariance = fitting.m_step(moments, 50.0, float(prior_rows))
    np.testing.assert_allclose(np.exp(logits), weights, rtol=1e-10)
    np.testing.assert_allclose(loc, their_loc, rtol=1e-10)
    np.testing.assert_allclose(scale_tril @ np.swapaxes(scale_tril, 1, 2), covariance, rtol=1e-9, atol=1e-12)


def test_stepwise_em(taught):
    """From the same start, on rows that are white already, the same steps lead to the same mixture."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(6000, 4)) * rng.choice([0.3, 1.5], size=(6000, 1))
    z = np.linalg.solve(np.linalg.cholesky(np.cov((z - z.mean(axis=0)).T, bias=True)), (z - z.mean(axis=0)).T).T
    logits, loc, scale_tril = taught["stepwise_em"](z, 3, batch=500)
    model = fitting.StepwiseEM(MixtureLayout(3, 4), starts=1)
    model.adapt(z)
    (_, start_loc, start_scale), (s0, s1, s2) = taught["start_of_sizes"](3, 4)
    model.weights_.assign(np.full(3, 1 / 3))
    model.whitened_loc.assign(start_loc)
    model.whitened_scale.assign(start_scale)
    for variable, value in zip(model.moments, (s0, s1, s2), strict=True):
        variable.assign(value)
    model.inverse_rows.assign(0.0)
    for x in np.split(z, 12):
        model.step(x)
    theirs = model.parts()
    np.testing.assert_allclose(log_softmax(logits), log_softmax(theirs[0]), atol=1e-4)
    np.testing.assert_allclose(loc, theirs[1], atol=1e-4)
    np.testing.assert_allclose(scale_tril, theirs[2], atol=1e-4)


def test_the_denoiser_of_the_benchmark(taught):
    rng = np.random.default_rng(2)
    factor = np.tril(rng.normal(size=(3, denoise.D, denoise.D))) + 20 * np.eye(denoise.D)
    prior = denoise.Prior(
        np.array([0.2, 0.3, 0.5]), rng.normal(size=(3, denoise.D)), factor @ np.swapaxes(factor, 1, 2)
    )
    prior = prior._replace(covariance=prior.covariance * np.array([0.1, 1, 4])[:, np.newaxis, np.newaxis])
    c = np.float32(rng.normal(size=(300, denoise.D)) * rng.choice([10, 25, 50], size=(300, 1)))
    k = taught["likeliest"](c, prior, 625.0)
    np.testing.assert_array_equal(k, denoise.likeliest(c, prior, 625.0))
    assert len(set(k)) == 3
    ours, theirs = taught["guess"](c, k, prior, 625.0), denoise.posterior_means(c, k, prior, 625.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    patches = np.float32(rng.normal(size=(12, 64)))
    np.testing.assert_allclose(taught["average"](patches, (9, 13)), denoise.average(patches, (9, 13)), atol=1e-5)


def test_a_picture_of_noise_comes_back_cleaner():
    rng = np.random.default_rng(3)
    smooth = denoise.Prior(np.ones(1), np.zeros((1, denoise.D)), 4 * np.eye(denoise.D)[np.newaxis])
    truth = np.full((40, 48), 120.0) + np.linspace(0, 20, 48)
    noisy = truth + 25 * rng.normal(size=truth.shape)
    assert denoise.psnr(denoise.denoise(noisy, 25.0, smooth), truth) > denoise.psnr(noisy, truth) + 8
