"""One gradient step of a TriL mixture: TFP as it stands, FastMultivariateNormalTriL, two float32 matrix products.

    uv run python tests/benchmarks/density_step.py [--batch 1000] [--components 20] [--dimensions 63] [--repeats 30]

Times are taken in turn inside one process, so that a busy machine slows all of them; the median and the minimum are
reported. Peak memory is that of one process a variant, above the same process without the step. The slope is that of
log time against log D over D/2 and D. A table, and one line of JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

VARIANTS = ("tfp", "fast", "floor")


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


def times(steps, repeats):
    """{name: seconds of each repeat}, the steps taken in turn; a step ten times slower is taken a fifth as often."""
    found = {name: [] for name in steps}
    for step in steps.values():
        step()
    for turn in range(repeats):
        for name, step in steps.items():
            if name.startswith("tfp") and turn % 5:
                continue
            begin = time.perf_counter()
            np.asarray(step())
            found[name].append(time.perf_counter() - begin)
    return found


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
    options = parser.parse_args()
    for name, least in (("batch", 1), ("components", 1), ("dimensions", 2), ("repeats", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name}: expected at least {least}, got {getattr(options, name)}")
    b, k, d = options.batch, options.components, options.dimensions
    steps = {variant: make_step(variant, b, k, d) for variant in VARIANTS}
    steps["fast, D/2"] = make_step("fast", b, k, d // 2)
    steps["fast, XLA"] = compiled(steps["fast"])
    found = times(steps, options.repeats)
    median = {name: float(np.median(seconds)) for name, seconds in found.items()}
    print({name: round(1e3 * seconds, 2) for name, seconds in median.items()}, "ms; now the memory", flush=True)
    memory = {variant: extra_memory(variant, b, k, d) for variant in VARIANTS}
    memory_2000 = {variant: extra_memory(variant, 2000, k, 64) for variant in ("tfp", "fast")}
    print(f"one gradient step, B = {b}, K = {k}, D = {d}")
    print(f"{'':>10} {'median ms':>10} {'min ms':>8} {'extra MiB':>10}")
    for name, seconds in found.items():
        extra = f"{memory[name]:10.0f}" if name in memory else ""
        print(f"{name:>10} {1e3 * np.median(seconds):10.1f} {1e3 * np.min(seconds):8.1f} {extra}")
    result = {
        "benchmark": "density_step",
        "batch": b,
        "components": k,
        "dimensions": d,
        "times_faster_than_tfp": round(median["tfp"] / median["fast"], 1),
        "times_the_floor": round(median["fast"] / median["floor"], 2),
        "times_the_floor_with_xla": round(median["fast, XLA"] / median["floor"], 2),
        "slope_of_time_in_dimensions": round(
            float(np.log(median["fast"] / median["fast, D/2"]) / np.log(d / (d // 2))), 2
        ),
        "memory_share_of_tfp": round(memory["fast"] / max(memory["tfp"], 1), 3),
        "memory_share_of_tfp_at_B_2000_D_64": round(memory_2000["fast"] / max(memory_2000["tfp"], 1), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
