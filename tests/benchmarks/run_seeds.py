"""Run a notebook at other seeds and report at how many of them every one of its checks holds.

    uv run python tests/benchmarks/run_seeds.py NOTEBOOK [--seeds 20] [--first 1]

The notebook's cell tagged `parameters` sets SEED; papermill replaces it. The stored notebook is read, never written.
One line a seed: seconds, and for a failure the claim or error that ended the run. Exit status 0 where all seeds pass.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import papermill


def run(notebook, seed):
    """None where the notebook runs to its end at this seed, otherwise the last line of the error that ended it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            papermill.execute_notebook(
                notebook,
                Path(folder) / "run.ipynb",
                parameters={"SEED": seed},
                cwd=notebook.parent,
                progress_bar=False,
                log_output=False,
            )
        except papermill.PapermillExecutionError as error:
            return f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default 20)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    options = parser.parse_args()
    if not options.notebook.is_file():
        parser.error(f"NOTEBOOK: expected a file, got {options.notebook}")
    if options.seeds < 1 or options.first < 0:
        parser.error(f"--seeds: expected at least 1 and --first at least 0, got {options.seeds} and {options.first}")
    passed = 0
    for seed in range(options.first, options.first + options.seeds):
        start = time.perf_counter()
        failure = run(options.notebook, seed)
        passed += failure is None
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s, {failure or 'every check holds'}", flush=True)
    print(f"{options.notebook.name}: every check holds at {passed} of {options.seeds} seeds")
    return passed < options.seeds


if __name__ == "__main__":
    sys.exit(main())
