"""Priors of one VAE at equal training, seed by seed: held-out bounds, image by image, and clusters against labels.

    uv run python tests/benchmarks/vae_prior.py [--seeds 10] [--data digits|mnist|FILE.npz] [--jobs 2]
                                                [--decoder binomial|beta-binomial] [--controls] [--loose]
                                                [--dose | --borrow]

FILE.npz is in MNIST's form (`helpers.data.mnist`); letters.py, beside this file, writes one. All functions are those of
the stored notebook 03: this file only runs them at many seeds. A seed is a split into training, validation and test
images (of a file: into training and validation images) and a start of the networks. Every prior gets the same steps and
rates, and goes back to its own best of 16 rounds by the bound of the validation images; the test images are used once:
  N(0,I)     never moves
  early      after 2 rounds of N(0,I) a mixture is fitted to the codes, and follows them by EM, a step a batch
  late       the same after 12 rounds
  mixture    of these two the one with the better bound of the validation images
  Gaussian   with one component, the better of early and late in the same way
  two-step   the networks of N(0,I), and a mixture fitted to their codes at the end
and with --controls
  restarted  N(0,I) whose Adam begins anew after 2 or 12 rounds, the better in the same way
  frozen     as `early`, but the prior stays at its start
  Adam       as `early`, its flat vector moved by Adam
Bound: importance-weighted, 100 samples, nats an image; differences are paired, image by image, "a ± b" with b their
standard error: over groups of one font and letter where the file says who drew what (`group_test`), otherwise over
images. Over seeds: median, that error's median, mean with a 95 % t interval, and at how many seeds the sign is right.
Splits of the same digits are not independent: there the interval is that of Nadeau and Bengio's corrected t test
(Machine Learning 52, 2003). Agreement: the
part of all images, and of test images, whose component has their label, matched so that as many as possible agree;
Rand: the adjusted Rand index of two partitions of all images. "One blob" is a mixture fitted in the same way to codes
that have none: normal ones with the mean and covariance of those of N(0,I). --loose adds, for the first seed and 20
images, bounds with 1,000 and 10,000 samples and the effective sample size of 1,000.
--dose instead trains N(0,I) with other weights of the KL; --borrow lets each component of the early mixture borrow 0,
10, 50 and 200 images, and those of the two-step one as large a share. The last line is JSON. Exit status 1 where the
digits at ten seeds or more miss what notebook 03 says of them.
"""

import argparse
import ast
import functools
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.metrics import adjusted_rand_score

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "03_vae_mixture.ipynb"
KL_WEIGHTS = 0.0, 1.0, 2.0, 20.0, 128.0
BORROWED = 0, 10, 50, 200
PAIRS = (
    *(("mixture", other) for other in ("N(0,I)", "restarted", "Gaussian", "frozen", "two-step")),
    *(("early", other) for other in ("late", "frozen", "Adam")),
    ("Gaussian", "N(0,I)"),
)


def functions_of(notebook, **names):
    """Every function and class that the notebook's code cells define, compiled from their text, in one namespace.

    Args:
      notebook: path of an .ipynb.
      **names: what its cells bind otherwise: sizes, data.
    """
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras
    from scipy.optimize import linear_sum_assignment
    from scipy.special import logsumexp
    from sklearn.cluster import KMeans

    from helpers.conditional import condition, marginal
    from helpers.distributions import FastMultivariateNormalTriL
    from helpers.fitting import StepwiseEM
    from helpers.layout import MixtureLayout

    namespace = {
        "functools": functools, "np": np, "tf": tf, "tfd": tfp.distributions, "tfpl": tfp.layers, "tf_keras": tf_keras,
        "layers": tf_keras.layers, "logsumexp": logsumexp, "linear_sum_assignment": linear_sum_assignment,
        "KMeans": KMeans, "StepwiseEM": StepwiseEM, "MixtureLayout": MixtureLayout,
        "FastMultivariateNormalTriL": FastMultivariateNormalTriL, "condition": condition, "marginal": marginal, **names,
    }  # fmt: skip
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "solution" not in cell["metadata"].get("tags", []):
            tree = ast.parse("".join(cell["source"]))
            body = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
            exec(compile(ast.Module(body, []), notebook.name, "exec"), namespace)
    return namespace


class Lab:
    """The notebook's functions on one data set, and its models, compiled once for all seeds."""

    def __init__(self, options):
        from helpers import runtime

        runtime.quiet_import()
        import tensorflow as tf
        from threadpoolctl import threadpool_limits

        tf.config.threading.set_intra_op_parallelism_threads(1)  # the processes share the cores
        tf.config.threading.set_inter_op_parallelism_threads(1)
        threadpool_limits(1)
        self.options, self.models, self.fits = options, {}, {}
        self.nb = functions_of(NOTEBOOK, GAMMA=options.gamma, ROUNDS=16, STARTS=options.starts, D=options.latent_size)
        self.make_decoder = self.nb["make_decoder"]

    def load(self, seed):
        """Sets the notebook's data and sizes for a seed, as its own cells do."""
        from helpers import data, runtime

        options, nb = self.options, self.nb
        if options.data == "digits":
            images = data.load("digits", seed=seed)
        else:
            images = data.load("mnist", path=None if options.data == "mnist" else options.data)
        order = np.random.default_rng(seed).permutation(len(images.x_train))
        cut = min(len(order) // 6, 1000)
        x_valid, x_train = images.x_train[order[:cut]], images.x_train[order[cut:]]
        y_valid, y_train = images.y_train[order[:cut]], images.y_train[order[cut:]]
        steps = min(round(options.epochs * len(x_train) / 128), options.most_steps) // 16
        self.test, self.test_labels = images.x_test[: options.test], images.y_test[: options.test]
        self.groups, self.share = groups_of(options.data), 0.0
        if self.groups is None:
            self.groups = np.arange(len(self.test))
        if options.data == "digits":  # of the corrected t test
            self.share = len(images.x_test) / len(x_train)
        self.groups = self.groups[: options.test]
        self.shown = np.concatenate([x_train[:5000], x_valid, self.test])
        self.labels = np.concatenate([y_train[:5000], y_valid, self.test_labels])
        tf, tfd = nb["tf"], nb["tfd"]
        nb |= {
            "SEED": seed, "STEPS": steps, "PIXELS": x_train.shape[1], "COUNT": images.total_count,
            "x_valid": x_valid, "x_train": x_train, "x_fit": x_train[:5000], "x_test": self.test,
            "standard_normal": tfd.MultivariateNormalDiag(tf.zeros(options.latent_size)),
        }  # fmt: skip
        runtime.set_seed(seed)  # before the batches, whose order follows from it
        nb["batches"] = nb["make_batches"](x_train)
        if options.decoder == "beta-binomial":
            nb["pixel_counts"], nb["make_decoder"] = self.beta_binomial, functools.partial(self.make_decoder, numbers=2)

    def beta_binomial(self, t):
        """[..., 2 PIXELS] -> counts whose probability is itself drawn from a beta distribution, pixel by pixel."""
        tf, tfd = self.nb["tf"], self.nb["tfd"]
        one, zero = tf.split(tf.nn.softplus(t) + 1e-3, 2, axis=-1)
        return tfd.Independent(tfd.BetaBinomial(float(self.nb["COUNT"]), one, zero), 1)

    def fresh(self, name, start=None, size=None, kl_weight=None, borrowed=None):
        """The model of a name with new networks, or those of `start`; built once and then only given other weights."""
        nb, k = self.nb, self.options.components
        fit = self.fit_to(start, size, borrowed) if size else None
        if name not in self.models:
            if name == "Adam":
                prior = nb["make_prior"](fit.params, k, self.options.latent_size)
                pair = nb["fresh_networks"](prior, start)
                self.models[name] = nb["make_vae"](*pair), *pair, prior
            elif name == "frozen":
                prior = type(fit)(fit.layout, gamma=fit.gamma, prior_rows=fit.prior_rows)
                prior.set_weights(fit.get_weights())
                pair = nb["fresh_networks"](prior, start)
                self.models[name] = nb["make_vae"](*pair), *pair, prior
            elif size:
                self.models[name] = nb["make_following"](start, size, fit, borrowed)
            else:
                pair = (
                    nb["make_encoder"](nb["standard_normal"], self.options.latent_size, kl_weight),
                    nb["make_decoder"](self.options.latent_size),
                )
                if start is not None:
                    pair = nb["fresh_networks"](nb["standard_normal"], start)
                self.models[name] = nb["make_vae"](*pair), *pair, lambda _: nb["standard_normal"]
            return self.models[name]
        vae, encoder, decoder, prior = self.models[name]
        if start is None:
            again = nb["make_encoder"](nb["standard_normal"], self.options.latent_size)
            start = nb["networks"](again, nb["make_decoder"](self.options.latent_size))
        for variable, value in zip(encoder.trainable_variables[:6] + decoder.trainable_variables, start, strict=True):
            variable.assign(value)
        if name == "Adam":
            prior.set_weights([fit.params.numpy()])
        elif size:
            nb["take_over"](prior, fit, borrowed)
        for variable in vae.optimizer.variables:
            variable.assign(nb["tf"].zeros_like(variable))
        return self.models[name]

    def fit_to(self, start, size, borrowed=None):
        """A prior of `size` components fitted to the codes of networks; that of the mixture is Adam's as well."""
        key = id(start), size, borrowed
        if key not in self.fits:
            plain = self.nb["fresh_networks"](self.nb["standard_normal"], start)[0]
            fit = self.nb["fit_em"](*self.nb["codes"](plain, self.nb["x_fit"]), size, borrowed=borrowed)
            self.fits[key] = fit, self.nb["clusters"](plain, fit, self.shown)
        return self.fits[key][0]

    def train(self, name, *rounds, **options):
        """Trains the model of a name and takes it back to its best round; the validation bound of that round."""
        log = self.nb["train"](self.models[name][0], *rounds, **options)
        self.models[name][0].set_weights(log["best"])
        return max(log["valid"].values())

    def bound(self, name, x, num_samples=100, rows=50):
        _, encoder, decoder, prior = self.models[name]
        return self.nb["importance_bound"]((encoder, decoder, prior), x, num_samples, rows)

    def clusters(self, name):
        _, encoder, _, prior = self.models[name]
        return self.nb["clusters"](encoder, prior, self.shown)

    def run(self, seed):
        """One row: bounds of each test image, validation bounds, agreements, overlaps, Rand indices; by prior."""
        self.load(seed)
        self.fits = {}
        nb, k, row, valid = self.nb, self.options.components, {}, {}
        _, encoder, decoder, _ = self.fresh("N(0,I)")
        log = nb["train"](self.models["N(0,I)"][0], 0, 2)
        after_2 = nb["networks"](encoder, decoder)
        nb["train"](self.models["N(0,I)"][0], 2, 12, log)
        after_12 = nb["networks"](encoder, decoder)
        valid["N(0,I)"] = self.train("N(0,I)", 12, 16, log=log)
        plan = {"early": (after_2, k, 2), "late": (after_12, k, 12)}
        plan |= {"early Gaussian": (after_2, 1, 2), "late Gaussian": (after_12, 1, 12)}
        if self.options.controls:
            plan |= {"frozen": (after_2, k, 2), "Adam": (after_2, k, 2)}
            plan |= {"restart at 2": (after_2, None, 2), "restart at 12": (after_12, None, 12)}
        for name, (start, size, first) in plan.items():
            self.fresh(name, start, size)
            valid[name] = self.train(name, first)
        at_end = nb["networks"](encoder, decoder)
        self.models["two-step"] = *self.models["N(0,I)"][:3], self.fit_to(at_end, k)
        row = {name: self.bound(name, self.test)[0] for name in self.models}
        chosen = {
            "mixture": max(("early", "late"), key=valid.get),
            "Gaussian": max(("early Gaussian", "late Gaussian"), key=valid.get),
        }
        if self.options.controls:
            chosen["restarted"] = max(("restart at 2", "restart at 12"), key=valid.get)
        row |= {name: row[best] for name, best in chosen.items()}
        parts = {name: self.clusters(name) for name in row if name in self.models and self.size(name) > 1}
        overlaps = {name: nb["overlap"](self.models[name][3]) for name in parts}
        parts["mixture"], overlaps["mixture"] = parts[chosen["mixture"]], overlaps[chosen["mixture"]]
        rand = {
            "early, its start": adjusted_rand_score(parts["early"], self.fits[id(after_2), k, None][1]),
            "late, its start": adjusted_rand_score(parts["late"], self.fits[id(after_12), k, None][1]),
            "mixture, two-step": adjusted_rand_score(parts["mixture"], parts["two-step"]),
        }
        blob = nb["one_blob"](*nb["codes"](encoder, nb["x_fit"]))
        overlaps["one blob"] = nb["overlap"](nb["fit_em"](*blob, k))
        n, agreement = len(self.test), nb["agreement"]
        agree = {
            name: [agreement(part, self.labels), agreement(part[-n:], self.test_labels)] for name, part in parts.items()
        }
        loose = self.looseness() if self.options.loose and seed == self.options.first else None
        row["groups"], row["share"] = self.groups, self.share
        return row, chosen, agree, overlaps, rand, loose

    def size(self, name):
        """Components of the prior of a name; 0 for N(0, I)."""
        prior = self.models[name][3]
        if name == "Adam":
            return self.options.components
        if name == "frozen":  # its clusters are those of its start, in other codes
            return 0
        return prior.layout.num_components if hasattr(prior, "layout") else 0

    def looseness(self):
        """{prior: bounds with 100, 1,000 and 10,000 samples and median effective sample size of 1,000}, 20 images."""
        found = {}
        for name in self.models:
            bounds = [self.bound(name, self.test[:20], size, rows)[0].mean() for size, rows in ((100, 50), (10_000, 1))]
            middle, ess = self.bound(name, self.test[:20], 1000, 10)
            found[name] = bounds[0], middle.mean(), bounds[1], float(np.median(ess))
        return found

    def dose(self, seed):
        """{weight of the KL: (bound, KL)} of N(0, I) at full training, test images."""
        self.load(seed)
        start, found = None, {}
        for weight in KL_WEIGHTS:
            name = f"{weight:g}"
            self.fresh(name, kl_weight=weight)
            start = start or self.nb["networks"](*self.models[name][1:3])
            _, encoder, decoder, _ = self.models[name]
            for variable, value in zip(
                encoder.trainable_variables[:6] + decoder.trainable_variables, start, strict=True
            ):
                variable.assign(value)
            self.train(name, 0)
            mean, var = self.nb["codes"](encoder, self.test)
            kl = float(np.mean(np.sum((mean**2 + var - 1 - np.log(var)) / 2, axis=1)))
            found[name] = float(self.bound(name, self.test)[0].mean()), kl
        return found

    def borrow(self, seed):
        """{borrowed images: [validation bound, test bound, agreement] of the two-step and of the early mixture}."""
        self.load(seed)
        self.fits = {}
        nb, k, found = self.nb, self.options.components, {}
        _, encoder, decoder, _ = self.fresh("N(0,I)")
        log = nb["train"](self.models["N(0,I)"][0], 0, 2)
        after_2 = nb["networks"](encoder, decoder)
        self.train("N(0,I)", 2, log=log)
        at_end = nb["networks"](encoder, decoder)
        for borrowed in BORROWED:
            early = f"early {borrowed}"
            self.models["two-step"] = *self.models["N(0,I)"][:3], self.fit_to(at_end, k, borrowed)
            self.fresh(early, after_2, k, borrowed=borrowed)
            self.train(early, 2)
            sets = nb["x_valid"], self.test
            found[borrowed] = [
                [self.bound(name, x)[0].mean() for x in sets] + [nb["agreement"](self.clusters(name), self.labels)]
                for name in ("two-step", early)
            ]
        return found


def groups_of(path):
    """The array `group_test` of an .npz file, None where there is none."""
    if path in ("digits", "mnist"):
        return None
    with np.load(path) as file:
        return file["group_test"] if "group_test" in file.files else None


LAB = None


def work(seed, options):
    global LAB
    LAB = LAB or Lab(options)
    began = time.perf_counter()
    result = LAB.dose(seed) if options.dose else LAB.borrow(seed) if options.borrow else LAB.run(seed)
    return result, time.perf_counter() - began


def difference(row, one, other):
    """Mean over images of one bound minus the other, and its standard error over groups of images."""
    paired = row[one] - row[other]
    _, group = np.unique(row.get("groups", np.arange(len(paired))), return_inverse=True)
    count = group.max() + 1
    totals = np.bincount(group, paired - paired.mean())
    return paired.mean(), np.sqrt(np.sum(totals**2) * count / (count - 1)) / len(paired)


def report(rows, agreements, overlaps, rands):
    """Prints the table over seeds; the figures that promises are held to."""
    summary = {}
    print("bound over that of         median    error   mean [95 % over seeds]    better at   beyond 2 errors at")
    for one, other in PAIRS:
        if not {one, other} <= set(rows[0]):
            continue
        gains = np.array([difference(row, one, other) for row in rows])
        gain, n = gains[:, 0], len(gains)
        spread = np.sqrt(1 / n + rows[0].get("share", 0.0))
        half = stats.t.ppf(0.975, n - 1) * gain.std(ddof=1) * spread if n > 1 else np.nan
        beyond, error = int(np.sum(gain > 2 * gains[:, 1])), np.median(gains[:, 1])
        print(
            f"{one:>8} over {other:<9}   {np.median(gain):+8.2f} ± {error:.2f}   {gain.mean():+6.2f} "
            f"[{gain.mean() - half:+.2f}, {gain.mean() + half:+.2f}]   "
            f"{np.sum(gain > 0):6d} of {n}   {beyond:6d} of {n}"
        )
        summary[f"{one} over {other}"] = {
            "median": round(float(np.median(gain)), 3),
            "error": round(float(error), 3),
            "mean": round(float(gain.mean()), 3),
            "half": round(float(half), 3),
            "better": int(np.sum(gain > 0)),
            "beyond": beyond,
            "worse beyond": int(np.sum(gain < -2 * gains[:, 1])),
            "of": n,
        }
    print("agreement       median   lowest   median on test images   overlap of components, median")
    for name in agreements[0]:
        found = np.array([agreement[name] for agreement in agreements])
        spread = np.median([overlap[name] for overlap in overlaps])
        print(
            f"{name:>12}   {np.median(found[:, 0]):8.3f} {found[:, 0].min():8.3f} {np.median(found[:, 1]):14.3f}"
            f"{spread:25.3f}"
        )
        three = np.median(found[:, 0]), found[:, 0].min(), np.median(found[:, 1])
        summary[f"agreement of {name}"] = [round(float(f), 3) for f in three]
    if "one blob" in overlaps[0]:
        of_blob = [overlap["one blob"] for overlap in overlaps]
        print(f"overlap of a mixture fitted to one blob: median {np.median(of_blob):.3f}, lowest {min(of_blob):.3f}")
    summary["overlap"] = {
        name: [round(float(f([overlap[name] for overlap in overlaps])), 4) for f in (np.median, min)]
        for name in overlaps[0]
    }
    for pair in rands[0]:
        found = [rand[pair] for rand in rands]
        print(f"Rand index of {pair}: median {np.median(found):.2f}, lowest {min(found):.2f}")
        summary[f"Rand of {pair}"] = round(float(np.median(found)), 3)
    return summary


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds (default 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--data", "--dataset", default="digits", help="digits, mnist or an .npz file in MNIST's form")
    parser.add_argument("--epochs", type=int, default=100, help="passes over the training images (default 100)")
    parser.add_argument("--most-steps", type=int, default=1500, help="but at most so many steps (default 1500)")
    parser.add_argument("--latent-size", type=int, default=48, help="D (default 48)")
    parser.add_argument("--components", type=int, default=10, help="K (default 10)")
    parser.add_argument("--starts", type=int, default=11, help="of each EM fit (default 11)")
    parser.add_argument("--gamma", type=float, default=0.02, help="step of stepwise EM (default 0.02)")
    parser.add_argument("--test", type=int, default=1000, help="at most so many test images (default 1000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--decoder", choices=["binomial", "beta-binomial"], default="binomial")
    parser.add_argument("--controls", action="store_true", help="the priors restarted, frozen and Adam as well")
    parser.add_argument("--loose", action="store_true", help="more samples for the bounds of the first seed as well")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--dose", action="store_true", help="other weights of the KL instead of other priors")
    other.add_argument("--borrow", action="store_true", help="other numbers of borrowed images instead")
    options = parser.parse_args()
    for name in ("seeds", "latent_size", "components", "starts", "test", "jobs", "epochs", "most_steps", "first"):
        value, least = getattr(options, name), 0 if name == "first" else 16 if name == "most_steps" else 1
        if value < least:
            parser.error(f"--{name.replace('_', '-')}: expected a whole number of at least {least}, got {value}")
    if not 0 < options.gamma <= 1:
        parser.error(f"--gamma: expected a number above 0 and at most 1, got {options.gamma}")
    return parser, options


def main():
    parser, options = parse()
    began, context = time.perf_counter(), multiprocessing.get_context("spawn")
    seeds = range(options.first, options.first + options.seeds)
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "tensorflow-probability", "numpy"))
    what = f"{Path(options.data).name}, seeds {seeds[0]} to {seeds[-1]}, {options.decoder} decoder"
    print(f"{date.today()}, {versions}\n{what}", flush=True)
    results = []
    with ProcessPoolExecutor(min(options.jobs, options.seeds), mp_context=context) as pool:
        try:
            for seed, (result, seconds) in zip(seeds, pool.map(work, seeds, [options] * len(seeds)), strict=True):
                results.append(result)
                if options.borrow:
                    line = ", ".join(f"{n}: {two[1]:.2f}, {early[1]:.2f}" for n, (two, early) in result.items())
                elif options.dose:
                    line = "  ".join(f"{name}: {bound:.1f} (KL {kl:.1f})" for name, (bound, kl) in result.items())
                else:
                    row, chosen, agree = result[:3]
                    line = f"N(0,I) {row['N(0,I)'].mean():.2f}, mixture {row['mixture'].mean():.2f}; "
                    pairs = [pair for pair in PAIRS if pair[1] in row]
                    line += ", ".join("{} over {} {:+.2f} ± {:.2f}".format(*p, *difference(row, *p)) for p in pairs)
                    line += "; chosen " + ", ".join(chosen.values())
                    line += "; agreement " + ", ".join(f"{name} {values[0]:.3f}" for name, values in agree.items())
                    line += "; overlap " + ", ".join(f"{name} {value:.4f}" for name, value in result[3].items())
                    line += "; Rand " + ", ".join(f"{name} {value:.2f}" for name, value in result[4].items())
                print(f"seed {seed}: {line}; {seconds:.0f} s", flush=True)
        except ValueError as error:
            parser.error(str(error))
    if options.dose:
        for weight in results[0]:
            bound, kl = np.median([result[weight] for result in results], axis=0)
            print(f"KL times {weight:>4}: bound {bound:9.1f}, KL {kl:8.1f} (medians)")
        return 0
    if options.borrow:
        found = np.array([list(result.values()) for result in results])  # [seeds, borrowed, prior, what]
        gains = found - found[:, :1]
        print("test bound over that of 0 borrowed images, and agreement: two-step, early (medians; better at)")
        for i, n in enumerate(BORROWED[1:], 1):
            gain, agreement = gains[:, i, :, 1], np.median(found[:, i, :, 2], axis=0)
            medians, better = np.median(gain, axis=0), np.sum(gain > 0, axis=0)
            print(f"{n:>5}: {medians[0]:+.2f} ({better[0]}), {medians[1]:+.2f} ({better[1]}) of {len(gain)}; ", end="")
            print(f"agreement {agreement[0]:.3f}, {agreement[1]:.3f}")
        summary = {"borrowed": BORROWED}
        summary |= {name: found[..., i].round(3).tolist() for i, name in ((1, "test"), (2, "agreement"))}
        print(json.dumps(summary))
        return 0
    rows, _, agreements, overlaps, rands, loose = zip(*results, strict=True)
    summary = report(rows, agreements, overlaps, rands)
    if loose[0]:
        print("20 images, seed", seeds[0], "     S = 100   S = 1,000   S = 10,000   effective samples of 1,000")
    for name, (few, some, many, ess) in (loose[0] or {}).items():
        print(f"{name:>18}{few:14.2f}{some:12.2f}{many:13.2f}{ess:12.0f}")
    minutes = (time.perf_counter() - began) / 60
    print(
        json.dumps({"data": Path(options.data).name, "seeds": options.seeds, "minutes": round(minutes, 1), **summary})
    )
    if options.data != "digits" or options.seeds < 10 or options.decoder != "binomial":
        return 0
    over = [summary["mixture over N(0,I)"], summary["mixture over Gaussian"]]
    kept = over[0]["median"] >= 2.5 and over[0]["better"] == over[0]["of"]
    kept &= over[1]["median"] >= 1 and over[1]["better"] >= 0.9 * over[1]["of"]
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
