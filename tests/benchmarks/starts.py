"""Does StepwiseEM's start lead where scikit-learn's best of five does, on mixtures of every shape?

    uv run python tests/benchmarks/starts.py [--seeds 3] [--first 0] [--rows 4000] [--kinds line plane ...]

Nine kinds of mixtures, three sizes (K, D), each at several seeds. `StepwiseEM` with nothing set and
`GaussianMixture(n_init=5)` see the same rows; given is the difference of their mean log densities of 20,000 other rows.
A fit "misses" where it is more than 0.02 nats below. A table, and a line of JSON; exit status 1 where one misses.
"""

import argparse
import json
import sys

import numpy as np

KINDS = ("blobs", "near", "line", "axis", "plane", "weights", "sizes", "star", "spread")
SIZES = ((3, 10), (6, 4), (8, 20))


def mixture(kind, k, d, seed=0, rows=4000, held_out=20_000):
    """Rows of a mixture, and others of the same: float64 [rows, d], [held_out, d].

    Args:
      kind: "blobs", well apart, and "near", less so; in a "line", along one "axis", in a "plane"; "weights" from 1 to
        0.1; "sizes" over a factor of ten; a "star" of long thin ones; tight ones "spread" over one broad one.
      k, d: components and dimensions.
      seed: of the mixture and of the rows.
      rows, held_out: how many.
    """
    rng = np.random.default_rng([seed, k, d])

    def covariance(condition=10.0, size=1.0):
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        return size * (turn * np.exp(rng.uniform(0, np.log(condition), d))) @ turn.T

    weights = np.full(k, 1 / k)
    apart = {"near": 1.5, "sizes": 1.0, "star": 0.5}.get(kind, 3.0)
    loc = apart * rng.normal(size=(k, d))
    scale = np.stack([covariance() for _ in range(k)])
    if kind == "line":
        way = rng.normal(size=d)
        loc, scale = 6 * np.arange(k)[:, np.newaxis] * way / np.linalg.norm(way), np.stack([covariance(2)] * k)
    elif kind == "axis":
        loc, scale = 8.0 * np.arange(k)[:, np.newaxis] * np.eye(d)[0], np.stack([np.eye(d)] * k)
    elif kind == "plane":
        loc, scale = 6 * rng.normal(size=(k, 2)) @ rng.normal(size=(2, d)), np.stack([covariance(4)] * k)
    elif kind == "weights":
        weights = np.geomspace(1, 0.1, k)
    elif kind == "sizes":
        scale = np.stack([covariance(4, size) for size in np.geomspace(0.1, 10, k)])
    elif kind == "star":
        scale = np.stack([covariance(1000, 0.1) for _ in range(k)])
    elif kind == "spread":
        weights = np.array([0.4] + [0.6 / (k - 1)] * (k - 1))
        loc[0], scale = 0, 0.2 * scale
        scale[0] = 12 * np.eye(d)
    n = rows + held_out
    z = rng.choice(k, n, p=weights / weights.sum())
    x = loc[z] + np.einsum("nij,nj->ni", np.linalg.cholesky(scale)[z], rng.normal(size=(n, d)))
    return x[:rows], x[rows:]


def difference(kind, k, d, seed, rows):
    """Mean log density of new rows, StepwiseEM's minus scikit-learn's."""
    from sklearn.mixture import GaussianMixture

    from helpers.fitting import StepwiseEM
    from helpers.layout import MixtureLayout

    train, test = mixture(kind, k, d, seed, rows)
    em = GaussianMixture(k, n_init=5, random_state=seed).fit(train)
    model = StepwiseEM(MixtureLayout(k, d), seed=seed)
    model.fit(train, verbose=0)
    return -model.evaluate(test, verbose=0) - em.score(test)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    from helpers import runtime

    runtime.quiet_import()
    seeds = range(options.first, options.first + options.seeds)
    print(f"{'':10}" + "".join(f"{f'K = {k}, D = {d}':>{9 * len(seeds)}}" for k, d in SIZES))
    found = {}
    for kind in options.kinds:
        found[kind] = [difference(kind, *size, seed, options.rows) for size in SIZES for seed in seeds]
        print(f"{kind:10}" + "".join(f"{value:9.3f}" for value in found[kind]), flush=True)
    values = np.array(list(found.values()))
    missing = int(np.sum(values < -0.02))
    print(json.dumps({"fits": values.size, "missing": missing, "worst": round(float(values.min()), 4)}))
    return missing > 0


if __name__ == "__main__":
    sys.exit(main())
