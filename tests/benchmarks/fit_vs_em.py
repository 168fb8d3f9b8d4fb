"""Gradients through the layer against scikit-learn's EM: time to the same held-out log likelihood.

    uv run python tests/benchmarks/fit_vs_em.py [--data FILE.npz] [--rows 100000] [--components 20] [--memory 2]

EM is `GaussianMixture`: k-means start, float64, until its own tolerance or 60 iterations. Both see the same rows,
and are timed from raw data, the start, the tracing and all evaluations of the gradients included. The default data are
patches of two photographs, 63 coefficients each (notebook 02). FILE.npz holds `train` and `test`, float arrays [N, D].

EM holds about five float64 arrays [N, K] and copies of the data: where that is more than `--memory` GiB it is not run,
the table says so, and the gradients make the given number of passes. A table, and one line of JSON.
"""

import argparse
import json
import sys
import time
import warnings
import zipfile

import numpy as np


def load_rows(path):
    """`train` and `test` of an .npz file, float arrays [N, D].

    Raises:
      ValueError: for a file that is no .npz, a missing array, another shape, numbers that are not finite, or two D.
    """
    try:
        file = np.load(path, allow_pickle=False)
        arrays = {name: file[name] for name in ("train", "test") if name in getattr(file, "files", ())}
    except FileNotFoundError:
        raise ValueError(f"data: expected an .npz file, found none at {path}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"data: expected an .npz file of numbers, got {path} ({error})") from None
    for name in ("train", "test"):
        if name not in arrays:
            raise ValueError(f"data: expected the arrays 'train' and 'test', got {sorted(arrays)} in {path}")
        rows = arrays[name]
        if rows.ndim != 2 or not len(rows) or rows.dtype.kind not in "fiu":
            raise ValueError(f"{name}: expected numbers [N, D], got {rows.dtype} of shape {rows.shape}")
        if not np.all(np.isfinite(rows)):
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    if arrays["train"].shape[1] != arrays["test"].shape[1]:
        sizes = arrays["train"].shape[1], arrays["test"].shape[1]
        raise ValueError(f"test: expected D = {sizes[0]} as in train, got {sizes[1]}")
    return arrays["train"], arrays["test"]


def photograph_rows(n, seed=0):
    """n training patches and 20,000 others of the two photographs, as DCT coefficients without the constant."""
    from scipy.fft import dct

    from helpers import data

    c = dct(np.eye(8), axis=0, norm="ortho")
    basis = np.kron(c, c)[1:].astype(np.float32)
    rows = np.concatenate([data.patches(p.astype(np.float32)) @ basis.T for p in data.photographs()])
    if n + 20_000 > len(rows):
        raise ValueError(f"rows: expected at most {len(rows) - 20_000}, got {n}")
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[order[:n]], rows[order[n : n + 20_000]]


def fit_gradients(train, test, k, target, passes, seed=0, batch=1000):
    """Minibatch Adam until the held-out log likelihood is at least `target`, or `passes` passes.

    Returns:
      A list of (seconds since raw data, held-out log likelihood in nats per row), one for each evaluation.
    """
    begin = time.perf_counter()
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras

    from helpers.distributions import FastMultivariateNormalTriL
    from helpers.layout import MixtureLayout

    tfpl = tfp.layers
    d = train.shape[1]
    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    rows = ((train - centre) / spread).astype(np.float32)
    held_out = ((test - centre) / spread).astype(np.float32)
    # the log density of the raw rows is that of the divided ones minus this
    shift = float(np.log(spread.astype(np.float64)).sum())
    batch = min(batch, max(1, len(rows) // 50))  # at least fifty steps a pass
    layout = MixtureLayout(k, d, "tril")
    # Two starts: one covariance at many sizes, and means far apart. The likelier one is taken.
    few = rows[np.random.default_rng(seed).choice(len(rows), min(20_000, len(rows)), replace=False)]
    starts = [layout.initial_params(few, seed)]
    if len(rows) > d:
        starts.append(layout.scale_family_params(few, seed))

    def mixture(params):
        return layout.distribution(params, FastMultivariateNormalTriL)

    start = max(starts, key=lambda params: float(tf.reduce_mean(mixture(params).log_prob(few[:1000]))))
    units = layout.natural_units(start)
    layer = tf_keras.Sequential(
        [
            tfpl.VariableLayer(start.shape, initializer="zeros"),
            tfpl.DistributionLambda(lambda u: mixture(start + units * u)),
        ]
    )
    steps = len(rows) // batch
    rate = tf_keras.optimizers.schedules.CosineDecay(0.02, passes * steps)
    optimizer = tf_keras.optimizers.Adam(rate, beta_2=0.99)
    nothing = tf.zeros([1, 0])
    layer(nothing)
    optimizer.build(layer.trainable_variables)
    every = tf.constant(rows)

    @tf.function
    def climb(chosen):
        for part in tf.range(tf.shape(chosen)[0]):
            x = tf.gather(every, chosen[part])
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(layer(nothing).log_prob(x))
            gradients = tape.gradient(loss, layer.trainable_variables)
            optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))

    log_prob = tf.function(lambda x: layer(nothing).log_prob(x), reduce_retracing=True)
    rng, curve = np.random.default_rng(seed), []
    for _ in range(passes):
        order = rng.permutation(len(rows))[: steps * batch].reshape(steps, batch)
        for chosen in np.array_split(order, max(1, steps // 25)):
            climb(tf.constant(chosen))
            parts = [log_prob(held_out[i : i + 1000]).numpy() for i in range(0, len(held_out), 1000)]
            curve.append((time.perf_counter() - begin, float(np.mean(np.concatenate(parts)) - shift)))
            if target is not None and curve[-1][1] >= target:
                return curve
    return curve


def fit_em(train, test, k, seed=0):
    """(seconds, held-out log likelihood, iterations) of scikit-learn's EM."""
    from sklearn.mixture import GaussianMixture

    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = GaussianMixture(k, max_iter=60, random_state=seed).fit(train.astype(np.float64))
    seconds = time.perf_counter() - begin
    return seconds, float(em.score(test.astype(np.float64))), int(em.n_iter_)


def em_gib(n, d, k):
    """About what EM holds at once, GiB: five [N, K] and three [N, D] arrays of float64."""
    return 8 * n * (5 * k + 3 * d) / 2**30


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="an .npz file with train and test, float arrays [N, D]")
    parser.add_argument(
        "--rows", type=int, default=100_000, help="training patches of the default data (default 100000)"
    )
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--passes", type=int, default=4, help="of the gradients over the data, at most (default 4)")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB; EM is left out where it needs more (default 2)")
    options = parser.parse_args()
    for name in ("rows", "components", "passes", "memory"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: expected a positive number, got {getattr(options, name)}")
    from helpers import runtime

    try:
        train, test = load_rows(options.data) if options.data else photograph_rows(options.rows)
        if len(train) < options.components:
            raise ValueError(f"components: expected at most {len(train)}, the rows of train, got {options.components}")
    except ValueError as error:
        parser.error(str(error))
    runtime.quiet_import()
    n, d = train.shape
    print(f"N = {n:,}, D = {d}, K = {options.components}", flush=True)
    em = None
    if em_gib(n, d, options.components) > options.memory:
        print(f"EM: not run, it needs about {em_gib(n, d, options.components):.1f} GiB, more than {options.memory:g}")
    else:
        em = fit_em(train, test, options.components)
        print(f"EM:        {em[0]:7.1f} s, {em[1]:9.3f} nats per held-out row, {em[2]} iterations", flush=True)
    curve = fit_gradients(train, test, options.components, em and em[1], options.passes)
    print(f"gradients: {curve[-1][0]:7.1f} s, {curve[-1][1]:9.3f} nats per held-out row, {len(curve)} evaluations")
    from density_step import peak_mib

    result = {
        "benchmark": "fit_vs_em",
        "rows": n,
        "dimensions": d,
        "components": options.components,
        "em_seconds": em and round(em[0], 1),
        "em_held_out": em and round(em[1], 3),
        "gradient_seconds": round(curve[-1][0], 2),
        "gradient_held_out": round(curve[-1][1], 3),
        "reached": None if em is None else curve[-1][1] >= em[1],
        "times_faster": None if em is None or curve[-1][1] < em[1] else round(em[0] / curve[-1][0], 1),
        "peak_mib": round(peak_mib()),
    }
    print(json.dumps(result))
    return 1 if result["reached"] is False else 0


if __name__ == "__main__":
    sys.exit(main())
