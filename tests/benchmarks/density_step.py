"""One step of a TriL mixture: TFP's gradient, FastMultivariateNormalTriL's, stepwise EM, two float32 matrix products.

    uv run python tests/benchmarks/density_step.py [--batch 1000] [--components 20] [--dimensions 63] [--repeats 30]

Each variant runs in a process of its own, and beside every one of its steps the floor, the two products of that size,
is timed in the same process: a busy machine slows both. Given are medians over `--rounds` processes of the ratio to the
floor; "times faster" is the ratio of two such ratios. Peak memory is what three steps add in one process. The slope is
that of log time against log D over D/2 and D. A table, and one line of JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

VARIANTS = ("tfp", "fast", "stepwise", "floor")
TIMED = ("tfp", "fast", "fast, D/2", "fast, XLA", "stepwise")


def peak_mib():
    """Highest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage starts a child at its parent's peak
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def make_step(variant, b, k, d):
    """A compiled function of no arguments: loss and gradient of the flat vector, or for "floor" two products."""
    from helpers import runtime

    runtime.quiet_import()
    import tensorflow as tf
    import tensorflow_probability as tfp

    from helpers.distributions import FastMultivariateNormalTriL
    from helpers.layout import MixtureLayout

    tfd = tfp.distributions
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(b, d)), tf.float32)
    if variant == "floor":
        weights = tf.constant(rng.normal(size=(d, k * d)), tf.float32)
        return tf.function(lambda: tf.matmul(x, tf.matmul(x, weights), transpose_a=True))
    if variant == "stepwise":
        from helpers.fitting import StepwiseEM

        model = StepwiseEM(MixtureLayout(k, d), starts=1)
        model.adapt(rng.normal(size=(max(2 * d, 1000), d)))
        step = tf.function(model.step)
        return lambda: step(x)
    kind = {"tfp": tfd.MultivariateNormalTriL, "fast": FastMultivariateNormalTriL}[variant]
    layout = MixtureLayout(k, d, "tril")
    factor = np.tril(0.1 * rng.normal(size=(k, d, d)), -1) + np.eye(d)
    params = tf.Variable(layout.pack(np.zeros(k), rng.normal(size=(k, d)), factor))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(layout.distribution(params, kind).log_prob(x))
        return tape.gradient(loss, params)

    return step


def compiled(step):
    """The same step with `jit_compile=True`."""
    import tensorflow as tf

    return tf.function(step.python_function, jit_compile=True)


def times(variant, b, k, d, repeats):
    """Seconds of each step, and of the floor's step taken just before it: two lists."""
    if variant == "fast, D/2":
        step, floor = make_step("fast", b, k, d // 2), make_step("floor", b, k, d // 2)
    else:
        step, floor = make_step(variant.removesuffix(", XLA"), b, k, d), make_step("floor", b, k, d)
    step = compiled(step) if variant.endswith("XLA") else step
    found = [], []
    for each in (step, floor):
        each()
        each()
    for _ in range(repeats):
        for seconds, each in zip(found, (step, floor), strict=True):
            begin = time.perf_counter()
            np.asarray(each())
            seconds.append(time.perf_counter() - begin)
    return found


def times_alone(variant, b, k, d, repeats):
    """`times` in a process of its own."""
    code = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})
import density_step as bench
print(json.dumps(bench.times({variant!r}, {b}, {k}, {d}, {repeats})))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [np.array(each) for each in json.loads(run.stdout.splitlines()[-1])]


def extra_memory(variant, b, k, d):
    """Peak memory that three steps add, MiB, measured in a process of its own."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})
import density_step as bench
bench.make_step({variant!r}, 2, 2, 2)()
before = bench.peak_mib()
step = bench.make_step({variant!r}, {b}, {k}, {d})
for _ in range(3):
    step()
print(bench.peak_mib() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--dimensions", type=int, default=63)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="processes a variant (default 3)")
    options = parser.parse_args()
    for name, least in (("batch", 1), ("components", 1), ("dimensions", 2), ("repeats", 1), ("rounds", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: expected at least {least}, got {getattr(options, name)}")
    b, k, d = options.batch, options.components, options.dimensions
    seconds, floors = {}, {}
    for _ in range(options.rounds):
        for variant in TIMED:
            # a step ten times slower is taken a fifth as often
            step, floor = times_alone(variant, b, k, d, max(1, options.repeats // (5 if variant == "tfp" else 1)))
            seconds.setdefault(variant, []).append(np.median(step))
            floors.setdefault(variant, []).append(np.median(step) / np.median(floor))
    median = {variant: float(np.median(each)) for variant, each in seconds.items()}
    floor = {variant: float(np.median(each)) for variant, each in floors.items()}
    print({name: round(1e3 * each, 2) for name, each in median.items()}, "ms; now the memory", flush=True)
    memory = {variant: extra_memory(variant, b, k, d) for variant in VARIANTS}
    memory_2000 = {variant: extra_memory(variant, 2000, k, 64) for variant in ("tfp", "fast")}
    print(f"one step, B = {b}, K = {k}, D = {d}")
    print(f"{'':>10} {'median ms':>10} {'floors':>7} {'extra MiB':>10}")
    for name in TIMED:
        extra = f"{memory[name]:10.0f}" if name in memory else ""
        print(f"{name:>10} {1e3 * median[name]:10.1f} {floor[name]:7.2f} {extra}")
    result = {
        "benchmark": "density_step",
        "batch": b,
        "components": k,
        "dimensions": d,
        "times_faster_than_tfp": round(floor["tfp"] / floor["fast"], 1),
        "times_the_floor": round(floor["fast"], 2),
        "times_the_floor_with_xla": round(floor["fast, XLA"], 2),
        "times_the_floor_of_stepwise_em": round(floor["stepwise"], 2),
        "slope_of_time_in_dimensions": round(
            float(np.log(median["fast"] / median["fast, D/2"]) / np.log(d / (d // 2))), 2
        ),
        "memory_share_of_tfp": round(memory["fast"] / max(memory["tfp"], 1), 3),
        "memory_share_of_tfp_at_B_2000_D_64": round(memory_2000["fast"] / max(memory_2000["tfp"], 1), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
