"""Stepwise EM and gradients against scikit-learn's EM: time to the same held-out log likelihood.

    uv run python tests/benchmarks/fit_vs_em.py [--data FILE.npz] [--rows 100000] [--components 20] [--memory 2]
    uv run python tests/benchmarks/fit_vs_em.py --suite [--rows 400000]   # six kinds of data
    uv run python tests/benchmarks/fit_vs_em.py --large                   # K = 200, patches of every photograph
    uv run --group peers python tests/benchmarks/fit_vs_em.py --peers     # scikit-learn in float32, gmmx

EM is `GaussianMixture`: k-means start, float64, until its own tolerance or 60 iterations. Stepwise EM is `StepwiseEM`
with nothing set, gradients are minibatch Adam on the flat vector. All see the same rows and are timed from raw data,
start and tracing included, imports not; stepwise EM is scored in a second run of the same steps, and for gradients the
clock stands meanwhile. Each runs in a process of its own, whose peak memory is given. The default data are patches of
two photographs, 63 coefficients each. FILE.npz holds `train` and `test`, float arrays [N, D].

"Reached" is a held-out log likelihood of stepwise EM no more than 0.02 nats a row below EM's; "times faster" is EM's
time over the time at which stepwise EM reached that. EM holds about five float64 arrays [N, K] and copies of the data:
where that is more than `--memory` GiB it is not run and the table says so. A table, and a line of JSON; exit status 1
where a set was not reached, and in the suite where of the patches one is less than 100 times faster at 100,000 rows or
more.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

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


def cosines():
    """The 63 cosines of a patch of 8 by 8 pixels without the constant one, orthonormal columns [64, 63]."""
    from scipy.fft import dct

    c = dct(np.eye(8), axis=0, norm="ortho")
    return np.kron(c, c)[1:].T.astype(np.float32)


def photograph_rows(n, kind="dct", seed=0):
    """n training patches and 20,000 others of the two photographs, 63 columns each.

    Args:
      n: how many to train on.
      kind: "dct": their cosine coefficients without the constant one, nearly uncorrelated. "pixels": grey values plus
        what rounding to whole ones took, the patch's mean taken away, the last pixel dropped. "mapped": those under a
        random linear map with condition number 1e4.
      seed: of the choice, the rounding and the map.
    """
    from helpers import data

    rng = np.random.default_rng(seed)
    rows = np.concatenate([data.patches(p.astype(np.float32)) for p in data.photographs()])
    if n + 20_000 > len(rows):
        raise ValueError(f"rows: expected at most {len(rows) - 20_000}, got {n}")
    rows = rows[rng.permutation(len(rows))[: n + 20_000]]
    if kind == "dct":
        rows = rows @ cosines()
    else:
        rows = rows + rng.uniform(-0.5, 0.5, rows.shape) / 255
        rows = (rows - rows.mean(axis=1, keepdims=True))[:, :63]
    if kind == "mapped":
        turn, other = (np.linalg.qr(rng.normal(size=(63, 63)))[0] for _ in range(2))
        rows = rows @ ((turn * np.geomspace(1, 1e-4, 63)) @ other).T
    rows = rows.astype(np.float32)
    return rows[:n], rows[n:]


def digit_rows():
    """Scikit-learn's digits, 64 pixels plus uniform noise: 1,437 rows and 360 held out."""
    from helpers import data

    images = data.digits(seed=0)
    rng = np.random.default_rng(0)
    return tuple(x + rng.uniform(0, 1, x.shape).astype(np.float32) for x in (images.x_train, images.x_test))


def mixture_rows():
    from helpers import data

    x = data.correlated_mixture(5, 10, n=60_000, seed=0).x
    return x[:50_000], x[50_000:]


def penguin_rows():
    from helpers import data

    x = data.penguins().x[np.random.default_rng(0).permutation(342)]
    return x[:242], x[242:]


PEERS = ("scikit-learn, float64", "scikit-learn, float32", "gmmx")

# name: (rows of a number of patches, components)
SUITE = {
    "DCT coefficients": (lambda n: photograph_rows(n, "dct"), 20),
    "pixels": (lambda n: photograph_rows(n, "pixels"), 20),
    "pixels, mapped": (lambda n: photograph_rows(n, "mapped"), 20),
    "digits": (lambda n: digit_rows(), 10),
    "mixture, 10-d": (lambda n: mixture_rows(), 5),
    "penguins": (lambda n: penguin_rows(), 3),
}


def patches_of_all(n):
    """Patches of every photograph that scikit-learn and scikit-image carry, of each the same share at random: n in all,
    DCT coefficients, and 20,000 more held out."""
    from helpers import data

    rng, parts, basis = np.random.default_rng(0), [], cosines()
    pictures = data.all_photographs().values()
    share = (n + 20_000) / sum(np.prod(np.array(picture.shape) - 7) for picture in pictures)
    for picture in pictures:
        picture = picture + rng.uniform(-0.5, 0.5, picture.shape) / 255
        rows = data.patches(picture.astype(np.float32))
        parts.append(rows[rng.random(len(rows)) < 1.01 * share] @ basis)
    rows = rng.permutation(np.concatenate(parts))
    return rows[20_000 : 20_000 + n], rows[:20_000]


def fit_stepwise(train, test, k, target, passes=12, seed=0):
    """StepwiseEM as it comes, until a pass gains nothing or `passes` passes.

    Returns:
      As `fit_gradients`; on many rows, where there is a target, an evaluation after every step.
    """
    import tf_keras

    from helpers.fitting import ROWS_FOR_START, StepwiseEM
    from helpers.layout import MixtureLayout

    many = len(train) > ROWS_FOR_START
    times, looks = [], []

    class Clock(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter() - begin)

        def on_epoch_end(self, epoch, logs=None):
            if many and epoch + 1 >= passes:
                self.model.stop_training = True

    class Watch(Clock):
        step = -1

        def look(self):
            looks.append((self.step, -model.evaluate(test, batch_size=5000, verbose=0)))

        def on_train_batch_end(self, batch, logs=None):
            self.step += 1
            if many and target and not (looks and looks[-1][1] >= target):
                self.look()

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch)
            self.look()

    # Once for the clock, once more for the scores: what is scored between two steps takes their place in the caches.
    # A single look at the end comes between no steps.
    for callbacks in [[Clock(), Watch()]] if passes == 1 and not target else [[Clock()], [Watch()]]:
        begin = time.perf_counter()
        model = StepwiseEM(MixtureLayout(k, train.shape[1]), seed=seed)
        model.fit(train, verbose=0, callbacks=callbacks)
    return [(times[min(step, len(times) - 1)], score) for step, score in looks]


def fit_gradients(train, test, k, target, passes=4, seed=0, batch=250):
    """Minibatch Adam until the held-out log likelihood is at least `target`, or `passes` passes.

    Returns:
      A list of (seconds since raw data, held-out log likelihood in nats per row), one for each evaluation.
    """
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras

    from helpers.distributions import FastMultivariateNormalTriL
    from helpers.layout import MixtureLayout

    begin = time.perf_counter()
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
    rng, curve, scoring = np.random.default_rng(seed), [], 0.0
    for _ in range(passes):
        order = rng.permutation(len(rows))[: steps * batch].reshape(steps, batch)
        for chosen in np.array_split(order, max(1, steps // 25)):
            climb(tf.constant(chosen))
            now = time.perf_counter()
            parts = [log_prob(held_out[i : i + 1000]).numpy() for i in range(0, len(held_out), 1000)]
            curve.append((now - begin - scoring, float(np.mean(np.concatenate(parts)) - shift)))
            scoring += time.perf_counter() - now
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


def same_start(train, k):
    """weights [K], means [K, D] on rows drawn by k-means++, covariances [K, D, D]: those of all the rows."""
    from sklearn.cluster import kmeans_plusplus

    means, _ = kmeans_plusplus(np.float64(train[:20_000]), k, random_state=0)
    covariance = np.cov(np.float64(train).T)
    return np.full(k, 1 / k), means, np.repeat(covariance[np.newaxis], k, axis=0)


def fit_peer(name, train, test, k, iterations=10):
    """Iterations of EM from `same_start`: (seconds without compilation, held-out log likelihood, iterations)."""
    weights, means, covariance = same_start(train, k)
    if name == "gmmx":
        import jax
        from gmmx import EMFitter, GaussianMixtureModelJax

        x = jax.numpy.asarray(np.float32(train))
        start = GaussianMixtureModelJax.from_squeezed(*(np.float32(part) for part in (means, covariance, weights)))
        fitter = EMFitter(max_iter=iterations, tol=0.0)
        fitter.fit(x, start)  # compiles
        begin = time.perf_counter()
        found = fitter.fit(x, start)
        seconds = time.perf_counter() - begin
        return seconds, float(found.gmm.score(jax.numpy.asarray(np.float32(test)))), int(found.n_iter)
    from sklearn.mixture import GaussianMixture

    dtype = np.float32 if "32" in name else np.float64
    parts = [part.astype(dtype) for part in (weights, means, np.linalg.inv(covariance))]
    options = dict(zip(("weights_init", "means_init", "precisions_init"), parts, strict=True))
    em = GaussianMixture(k, max_iter=iterations, tol=0, init_params="random_from_data", random_state=0, **options)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em.fit(train.astype(dtype))
    return time.perf_counter() - begin, float(em.score(test.astype(dtype))), int(em.n_iter_)


def em_gib(n, d, k):
    """About what EM holds at once, GiB: five [N, K] and three [N, D] arrays of float64."""
    return 8 * n * (5 * k + 3 * d) / 2**30


def measure(method, train, test, k, target=None, passes=None):
    """What one method does, in a process of its own.

    Returns:
      {"curve": [[seconds, held-out log likelihood], ...], "iterations": of EM, "peak_mib": of the process}.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        np.savez(path, train=train, test=test)
        order = [sys.executable, __file__, "--child", method, "--data", str(path), "--components", str(k)]
        order += [] if passes is None else ["--passes", str(passes)]
        order += [] if target is None else ["--target", repr(target)]
        run = subprocess.run(order, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{method}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def child(options):
    """One method on the rows of a file; its line of JSON."""
    from helpers import runtime

    train, test = load_rows(options.data)
    k, target = options.components, options.target
    iterations = None
    if options.child == "em":
        seconds, score, iterations = fit_em(train, test, k)
        curve = [(seconds, score)]
    elif options.child in PEERS:
        seconds, score, iterations = fit_peer(options.child, train, test, k)
        curve = [(seconds, score)]
    else:
        runtime.quiet_import()
        fit = {"stepwise": fit_stepwise, "gradients": fit_gradients}[options.child]
        curve = fit(train, test, k, target, **({"passes": options.passes} if options.passes else {}))
    from density_step import peak_mib

    print(json.dumps({"curve": curve, "iterations": iterations, "peak_mib": round(peak_mib())}))


def reached_at(curve, target):
    """Seconds at the first evaluation of at least `target`, or None."""
    return next((seconds for seconds, value in curve if value >= target), None)


def compare(train, test, k, memory, passes):
    """EM, stepwise EM and gradients on the same rows; prints as it goes. The keys of the line of JSON."""
    n, d = train.shape
    print(f"N = {n:,}, D = {d}, K = {k}", flush=True)
    em = None
    if em_gib(n, d, k) > memory:
        print(f"EM: not run, it needs about {em_gib(n, d, k):.1f} GiB, more than {memory:g}")
    else:
        em = measure("em", train, test, k)
    target = em and em["curve"][-1][1] - 0.02
    found = {"em": em, "stepwise": measure("stepwise", train, test, k, target)}
    found["gradients"] = measure("gradients", train, test, k, target, passes)
    result = {"rows": n, "dimensions": d, "components": k}
    for name, label, short in (
        ("em", "EM", "em"),
        ("stepwise", "stepwise EM", "stepwise"),
        ("gradients", "gradients", "gradient"),
    ):
        one = found[name]
        if one is None:  # EM that was not run
            result |= {f"{short}_seconds": None, f"{short}_held_out": None}
            continue
        best = max(value for _, value in one["curve"])
        at = None if target is None else reached_at(one["curve"], target)
        seconds = one["curve"][-1][0] if at is None else at
        print(
            f"{label:>12}: {seconds:7.1f} s {'in all' if at is None else 'to EM'}, "
            f"best {best:9.3f} nats a held-out row, {one['peak_mib']:5d} MiB"
            + (f", {one['iterations']} iterations" if one["iterations"] else ""),
            flush=True,
        )
        result |= {f"{short}_seconds": round(seconds, 2), f"{short}_held_out": round(best, 3)}
    at = target and reached_at(found["stepwise"]["curve"], target)
    result["reached"] = None if em is None else at is not None
    result["times_faster"] = None if at is None else round(em["curve"][-1][0] / at, 1)
    result["peak_mib"] = found["stepwise"]["peak_mib"]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="an .npz file with train and test, float arrays [N, D]")
    parser.add_argument(
        "--rows", type=int, default=100_000, help="training patches of the default data (default 100000)"
    )
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--passes", type=int, help="of the gradients over the data, at most (default 4)")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB; EM is left out where it needs more (default 2)")
    parser.add_argument("--suite", action="store_true", help="six kinds of data")
    parser.add_argument("--only", choices=SUITE, action="append", help="of the suite: these sets")
    parser.add_argument("--large", action="store_true", help="K = 200 on 1.6 million patches of every photograph")
    parser.add_argument("--peers", action="store_true", help="other implementations of EM, on the default data")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("rows", "components", "passes", "memory"):
        if getattr(options, name) is not None and getattr(options, name) <= 0:
            parser.error(f"--{name}: expected a positive number, got {getattr(options, name)}")
    if options.child:
        return child(options)
    if options.suite or options.only:
        return suite(options)
    if options.large:
        return large()
    try:
        train, test = load_rows(options.data) if options.data else photograph_rows(options.rows)
        if len(train) < options.components:
            raise ValueError(f"components: expected at most {len(train)}, the rows of train, got {options.components}")
    except ValueError as error:
        parser.error(str(error))
    if options.peers:
        return peers(train, test, options.components)
    result = {"benchmark": "fit_vs_em"} | compare(train, test, options.components, options.memory, options.passes)
    print(json.dumps(result))
    return 1 if result["reached"] is False else 0


def suite(options):
    """Every kind of data in turn; a table of all at the end."""
    rows = {}
    for name in options.only or SUITE:
        make, k = SUITE[name]
        print(f"{name}: ", end="")
        train, test = make(options.rows)
        rows[name] = compare(train, test, k, options.memory, options.passes)
    print(f"\n{'':>18} {'N':>8} {'EM':>17} {'stepwise EM':>17} {'Adam':>17}  faster")
    for name, row in rows.items():
        cells = [f"{row[f'{m}_seconds']:7.1f} s {row[f'{m}_held_out']:8.3f}" for m in ("em", "stepwise", "gradient")]
        faster = "not reached" if row["times_faster"] is None else f"{row['times_faster']:g} times"
        print(f"{name:>18} {row['rows']:8,} {' '.join(cells)}  {faster}")
    print(json.dumps({"benchmark": "fit_vs_em_suite", "sets": rows}))
    slow = any(
        row["dimensions"] == 63 and row["rows"] >= 100_000 and row["times_faster"] < 100
        for row in rows.values()
        if row["times_faster"] is not None
    )
    return 1 if slow or not all(row["reached"] for row in rows.values()) else 0


def peers(train, test, k):
    """Ten iterations of EM by each implementation that is installed, from one start, and one pass of stepwise EM."""
    import importlib.util

    print(f"N = {len(train):,}, D = {train.shape[1]}, K = {k}; ten iterations from the same start", flush=True)
    result = {}
    for name in PEERS:
        if name == "gmmx" and importlib.util.find_spec("gmmx") is None:
            print("gmmx: not installed; uv run --group peers ...")
            continue
        found = measure(name, train, test, k)
        (seconds, held_out), iterations = found["curve"][0], found["iterations"]
        print(
            f"{name:>21}: {seconds / iterations:6.2f} s an iteration, {held_out:.3f} nats a held-out row, "
            f"{found['peak_mib']} MiB",
            flush=True,
        )
        result[name] = {"seconds_an_iteration": round(seconds / iterations, 3), "held_out": round(held_out, 3)}
    found = measure("stepwise", train, test, k, passes=1)
    seconds, held_out = found["curve"][-1]
    print(f"{'stepwise EM':>21}: {seconds:6.2f} s a pass, start and tracing included, {held_out:.3f} nats")
    result["stepwise EM"] = {"seconds": round(seconds, 2), "held_out": round(held_out, 3)}
    print(json.dumps({"benchmark": "fit_vs_em_peers"} | result))
    return 0


def large():
    """K = 200 on 1.6 million patches: one pass of stepwise EM and what it takes."""
    train, test = patches_of_all(1_600_000)
    print(f"N = {len(train):,}, D = {train.shape[1]}, K = 200", flush=True)
    found = measure("stepwise", train, test, 200, passes=1)
    seconds, held_out = found["curve"][-1]
    print(f"stepwise EM, one pass: {seconds:.1f} s, {held_out:.3f} nats per held-out row, {found['peak_mib']} MiB")
    result = {"rows": len(train), "components": 200, "stepwise_seconds": round(seconds, 1)}
    result |= {"stepwise_held_out": round(held_out, 3), "peak_mib": found["peak_mib"]}
    print(json.dumps({"benchmark": "fit_vs_em_large"} | result))
    return 1 if seconds > 90 or found["peak_mib"] > 2048 or len(train) < 1_500_000 else 0


if __name__ == "__main__":
    sys.exit(main())
