"""p(y | x) by five models: nats on held-out rows, whether their regions hold what they promise, and seconds.

    uv run python tests/benchmarks/conditional.py [--data FILE.npz] [--seeds 10] [--only arm2]

FILE.npz holds `x_train` [N, I], `y_train` [N, D], `x_test`, `y_test`. Without it: an arm of two and one of three joints
(20,000 pairs; of the first the truth is known, on a grid), the penguins, and colour from grey on photographs that
nothing was learnt from. A tenth of the training rows, at most 2,000, says when to stop, and how many components the
joint mixture has; nothing else is chosen. From few rows (`helpers.network.few_rows`) there is a sixth model, four
networks in equal parts, each stopped by another tenth. Errors are standard errors over rows, of differences in pairs.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import arguments, data, runtime  # noqa: E402

NAMES = ("x_train", "y_train", "x_test", "y_test")
FEW = 5000  # rows that the joint mixture is fitted to by plain EM, more by stepwise EM
STEPS = 1200  # of Adam
LEAST = 50  # rows to train on
NETWORKS = 4  # whose mean is judged too, where rows are few
LINEAR = "linear, one normal"
NOISE, SHOULDER, ELBOW = 0.1, 0.7, 2.4


def hand(y):
    """Joint angles [..., J] -> place of the hand [..., 2], links of length 1."""
    turned = np.cumsum(y, axis=-1)
    return np.stack([np.cos(turned).sum(axis=-1), np.sin(turned).sum(axis=-1)], axis=-1)


def arm(joints, n, rng):
    y = np.concatenate([SHOULDER * rng.normal(size=(n, 1)), rng.uniform(-ELBOW, ELBOW, (n, joints - 1))], axis=1)
    return hand(y) + NOISE * rng.normal(size=(n, 2)), y


def arm_truth(x, y, steps=(300, 241)):
    """log p(y | x) of the arm with two joints [N], and the weight of positive elbows [N]: Bayes' rule on a grid."""
    y1, y2 = np.linspace(-3.2, 3.2, steps[0]), np.linspace(-ELBOW, ELBOW, steps[1])
    places = hand(np.stack(np.meshgrid(y1, y2, indexing="ij"), axis=-1))
    cell = (y1[1] - y1[0]) * (y2[1] - y2[0]) * np.where(np.abs(y2) < ELBOW, 1.0, 0.5)
    log_prob, weight = np.empty(len(x)), np.empty(len(x))

    def joint(at, first, place):
        return -0.5 * (np.sum((at - place) ** 2, axis=-1) / NOISE**2 + (first / SHOULDER) ** 2)

    for n, (at, angles) in enumerate(zip(x, y, strict=True)):
        mass = np.exp(joint(at, y1[:, np.newaxis], places)) * cell
        log_prob[n] = joint(at, angles[0], hand(angles)) - np.log(mass.sum())
        weight[n] = mass.sum(axis=0) @ np.heaviside(y2, 0.5) / mass.sum()
    return log_prob, weight


def colours(names, n, rng):
    """Grey 5x5 patches and the chroma of their middles, blue and red minus luminance, in levels."""
    xs, ys = [], []
    for name in names:
        picture = 255 * data.photograph(name, colour=True)
        picture = picture + rng.uniform(-0.5, 0.5, picture.shape)
        grey = picture @ np.array(data.LUMINANCE)
        patches = data.patches(grey, 5)
        chosen = rng.choice(len(patches), n // len(names), replace=False)
        xs.append(patches[chosen])
        ys.append((picture[..., [2, 0]] - grey[..., np.newaxis])[2:-2, 2:-2].reshape(-1, 2)[chosen])
    return np.concatenate(xs), np.concatenate(ys)


def case(name, seed):
    """x_train, y_train, x_test, y_test."""
    rng = np.random.default_rng(seed)
    if name in ("arm2", "arm3"):
        return (*arm(int(name[-1]), 20_000, rng), *arm(int(name[-1]), 2000, rng))
    if name == "penguins":
        rows = data.penguins().measurements[rng.permutation(342)].astype(np.float64)
        return rows[:228, 2:], rows[:228, :2], rows[228:, 2:], rows[228:, :2]
    learnt = colours(("china", "flower", "chelsea", "motorcycle_left", "rocket"), 20_000, rng)
    return (*learnt, *colours(("astronaut", "coffee"), 4000, rng))


def load(path):
    """x_train, y_train, x_test, y_test as float64 [N, .]; a ValueError names what is wrong with the file."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"data: expected an .npz file, found none at {path}") from None
    except Exception:
        raise ValueError(f"data: expected an .npz file of numbers, got {path}") from None
    if missing := [name for name in NAMES if name not in arrays]:
        raise ValueError(f"data: expected the arrays {', '.join(NAMES)}, got none named {missing}")
    rows = {name: arguments.finite_array(name, arrays[name]).astype(np.float64) for name in NAMES}
    rows = {name: array[:, np.newaxis] if array.ndim == 1 else array for name, array in rows.items()}
    for name, array in rows.items():
        if array.ndim != 2 or len(array) == 0:
            raise ValueError(f"{name}: expected [N, width], got shape {array.shape}")
        x, train = rows["x" + name[1:]], rows[name[:2] + "train"]
        if len(array) != len(x) or array.shape[1] != train.shape[1]:
            raise ValueError(f"{name}: expected shape {(len(x), train.shape[1])}, got {array.shape}")
    if len(rows["x_train"]) < LEAST:
        raise ValueError(f"x_train: expected at least {LEAST} rows, got {len(rows['x_train'])}")
    return list(rows.values())


def train(model, x, y, stop, seed, steps=None, rate=5e-3):
    """The weights of the epoch that is best on `stop`; those of the start where none is clearly better."""
    import tf_keras

    rows = int(np.clip(len(x) // 20, 32, 250))
    passes = max(1, 50 * rows // len(x))  # of few rows, to an epoch
    x, y = np.tile(x, (passes, 1)), np.tile(y, (passes, 1))
    epochs = max(1, round((steps or STEPS) * rows / len(x)))
    schedule = tf_keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // rows))
    adam = tf_keras.optimizers.Adam(schedule, beta_2=0.99)
    model.compile(adam, loss=lambda y, mixture: -mixture.log_prob(y), steps_per_execution=10 if len(x) > 5000 else 1)
    best = tf_keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
    tf_keras.utils.set_random_seed(seed)
    start, before = model.get_weights(), model(stop[0]).log_prob(np.float32(stop[1])).numpy()
    model.fit(x, y, batch_size=rows, epochs=epochs, verbose=0, validation_data=stop, callbacks=[best])
    gain = model(stop[0]).log_prob(np.float32(stop[1])).numpy() - before
    if not gain.mean() > 2 * gain.std() / np.sqrt(len(gain)):  # the best of many epochs by chance
        model.set_weights(start)


def side_by_side(models):
    """A function of x to the mixture, in equal parts, of what several networks give."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    from helpers.distributions import FastMultivariateNormalTriL

    tfd = tfp.distributions

    def given(x):
        mixtures = [model(x) for model in models]
        logits = [tf.nn.log_softmax(mixture.mixture_distribution.logits) for mixture in mixtures]
        parts = [mixture.components_distribution for mixture in mixtures]
        loc, factor = [part.loc for part in parts], [part.scale.to_dense() for part in parts]
        components = FastMultivariateNormalTriL(tf.concat(loc, axis=-2), tf.concat(factor, axis=-3))
        return tfd.MixtureSameFamily(tfd.Categorical(logits=tf.concat(logits, axis=-1)), components)

    return given


def linear(x, y):
    """A function of x to one normal about a ridge line, its covariance that of what rows leave to the others' line."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    from helpers.distributions import FastMultivariateNormalTriL
    from helpers.network import ridge_line

    tfd = tfp.distributions
    slope, level, left = ridge_line(x, y)
    factor = np.linalg.cholesky(left.T @ left / len(left) + 1e-8 * np.eye(y.shape[1]))
    factor = factor + 0.01 * np.diag(left.std(axis=0))  # the floor that the networks have

    def given(rows):
        components = FastMultivariateNormalTriL((rows @ slope + level)[:, np.newaxis], factor[np.newaxis])
        return tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros([len(rows), 1], tf.float64)), components)

    return given


def folds(x, y, rng):
    """Rows to stop on, in parts of a tenth, at most 2,000 each: rows that come twice are in one part."""
    same = np.unique(np.concatenate([x, y], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    if same.max() + 1 < 10 * NETWORKS:
        same = np.arange(len(x))
    place = rng.permutation(same.max() + 1)[same]
    order = rng.permutation(len(x))
    order = order[np.argsort(place[order], kind="stable")]
    most = max(1, min(2000, len(x) // 10))
    return [order[place[order] * len(x) // (place.max() + 1) // most == part] for part in range(NETWORKS)]


def models(x, y, seed):
    """{name: function of x to a mixture}, and {name: seconds}; x and y in units of their standard deviations."""
    from helpers.conditional import condition
    from helpers.fitting import StepwiseEM
    from helpers.layout import MixtureLayout
    from helpers.missing import fit_missing
    from helpers.network import few_rows, mixture_network

    rng = np.random.default_rng(seed)
    parts = folds(x, y, rng)
    stop, kept = parts[0], np.setdiff1d(np.arange(len(x)), parts[0])
    inputs, width = x.shape[1], y.shape[1]
    begin = time.perf_counter()
    found, seconds = {LINEAR: linear(x, y)}, {LINEAR: time.perf_counter() - begin}
    begin, best, both = time.perf_counter(), -np.inf, np.concatenate([x, y], axis=1)
    for k in (2, 6, 18):
        try:
            layout = MixtureLayout(k, inputs + width)
            if len(kept) <= FEW:
                joint = fit_missing(layout, both[kept], seed=seed).mixture
            else:
                fit = StepwiseEM(layout, starts=2, seed=seed)
                fit.fit(both[kept], epochs=2, verbose=0)
                joint = fit(both[kept])
            given = functools.partial(condition, joint, list(range(inputs)))
            value = given(x[stop]).log_prob(y[stop]).numpy().mean()
        except ValueError as error:  # more components than such rows can tell apart
            print(f"joint mixture, K = {k}: {error}")
            continue
        if value > best:
            best, found["joint mixture"] = value, given
    seconds["joint mixture"] = time.perf_counter() - begin

    def network(k, kind, part=0):
        stop, member = parts[part], seed + 1000 * part
        kept = rng.permutation(np.setdiff1d(np.arange(len(x)), stop))
        model = mixture_network(MixtureLayout(k, width, kind), x, y, seed=member)  # no row is spared for line and start
        train(model, x[kept], y[kept], (x[stop], y[stop]), member)
        return model

    full, k = "full" if width == 2 else "tril", min(8, len(kept) // 4)
    for name, shape in (
        ("network, K = 1", (1, full)),
        ("network, diagonal", (k, "diag")),
        ("network, full", (k, full)),
    ):
        begin = time.perf_counter()
        found[name] = network(*shape)
        seconds[name] = time.perf_counter() - begin
    if len(x) < few_rows(MixtureLayout(k, width, full)):  # the mean of several costs little there
        begin, name = time.perf_counter(), f"{NETWORKS} networks, full"
        others = [network(k, full, part) for part in range(1, NETWORKS)]
        found[name] = side_by_side([found["network, full"], *others])
        seconds[name] = seconds["network, full"] + time.perf_counter() - begin
    return found, seconds


def judge(given, x, y, draws=400):
    """log densities [N], and the levels of the smallest regions that hold each y [N]."""
    log_probs, levels = [], []
    for part in np.array_split(np.arange(len(x)), len(x) // 500 + 1):
        mixture = given(x[part])
        own = mixture.log_prob(y[part].astype(mixture.dtype.as_numpy_dtype)).numpy()
        denser = mixture.log_prob(mixture.sample(draws, seed=1)).numpy() > own
        log_probs.append(own)
        levels.append(denser.mean(axis=0))
    return np.concatenate(log_probs).astype(np.float64), np.concatenate(levels)


def paired(difference):
    return f"{difference.mean():+.3f} ± {difference.std() / np.sqrt(len(difference)):.3f}"


def standard(train, test, name):
    """Both in units of the standard deviations of `train`, without its constant columns; the log of the units."""
    mean, spread, varies = train.mean(axis=0), train.std(axis=0), arguments.varies(train)
    if not varies.any():
        raise ValueError(f"{name}: expected a column that varies, got constant ones")
    if not varies.all():
        print(f"{name}: left out, because constant: columns {np.flatnonzero(~varies).tolist()}")
    train, test = ((rows[:, varies] - mean[varies]) / spread[varies] for rows in (train, test))
    return train, test, np.log(spread[varies]).sum()


def run(name, arrays, seed):
    x, y, x_test, y_test = arrays
    print(f"{name}, seed {seed}: {len(x):,} rows, {x.shape[1]} -> {y.shape[1]}, {len(x_test):,} held out")
    (x_train, x_new, _), (y_train, y_new, unit) = standard(x, x_test, "x_train"), standard(y, y_test, "y_train")
    found, seconds = models(x_train, y_train, seed)
    judged = {}
    if name == "arm2":
        truth, weight = arm_truth(x_test, y_test)
        print(f"{'the truth':>20}: {truth.mean():8.3f} nats")
    for model, given in found.items():
        log_prob, level = judge(given, x_new, y_new)
        judged[model] = log_prob = log_prob - unit
        half, most = (np.mean(level < region) for region in (0.5, 0.9))
        line = f"{model:>20}: {log_prob.mean():8.3f} nats, minus the line's {paired(log_prob - judged[LINEAR])}"
        line += f"; in 50 % {half:.1%}, in 90 % {most:.1%}; {seconds[model]:.1f} s"
        if name == "arm2":
            line += f"; KL {paired(truth - log_prob)}"
        print(line, flush=True)
    print(f"{'full minus diagonal':>20}: {paired(judged['network, full'] - judged['network, diagonal'])}")
    if name == "arm2":
        drawn = found["network, full"](x_new).sample(500, seed=1)[..., 1] * y[:, 1].std() + y[:, 1].mean()
        ours = np.mean(drawn > 0, axis=0)
        lesser = np.where(weight < 0.5, ours, 1 - ours)[np.minimum(weight, 1 - weight) >= 0.1]
        print(f"{'two elbows':>20}: {len(lesser)} hands, both found (0.03 or more) at {np.mean(lesser > 0.03):.1%}")
    return judged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE.npz")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("arm2", "arm3", "penguins", "colours"))
    options = parser.parse_args()
    runtime.start(options.first_seed)
    threadpool_limits(1)  # NumPy: with matrices this small, threads only wait
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        if options.data:
            run(Path(options.data).name, load(options.data), seed)
            continue
        for name in (options.only,) if options.only else ("arm2", "arm3", "penguins", "colours"):
            run(name, case(name, seed), seed)


if __name__ == "__main__":
    main()
