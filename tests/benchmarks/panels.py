"""Move every control of a notebook's live panels and report how long the figure takes to follow.

    uv run python tests/benchmarks/panels.py NOTEBOOK [NOTEBOOK ...]

Each notebook is run in a kernel, in memory; after each cell tagged `widget` its controls go through all their values,
or through twelve of a slider's. One line a control: median and slowest (ms). An error in a callback ends all.
"""

import argparse
import json
from pathlib import Path

import nbformat
from nbclient import NotebookClient

MOVES = 12
# Runs in the notebook's kernel, after a panel: `_` is the panel.
MEASURE = f"""
def _measure(panel):
    import json, statistics, time
    import numpy as np

    for control in panel.children[:-1]:
        if hasattr(control, "options"):
            values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        else:
            places = np.linspace(0, round((control.max - control.min) / control.step), {MOVES}).round()
            values = [type(control.value)(control.min + place * control.step) for place in places]
        milliseconds = []
        for value in [*values, control.value]:
            before, begin = control.value, time.perf_counter()
            control.value = value
            if control.value != before:
                milliseconds.append(1000 * (time.perf_counter() - begin))
        median, slowest = statistics.median(milliseconds), max(milliseconds)
        print(json.dumps([control.description, len(milliseconds), median, slowest]))


_measure(_)
"""


def measure(path):
    """For each control of the notebook: its description, how often it moved, median and slowest redraw (ms)."""
    notebook = nbformat.read(path, as_version=4)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if "widget" in cell.metadata.get("tags", []):
            cells.append(nbformat.v4.new_code_cell(MEASURE, metadata={"measured": True}))
    notebook.cells = cells
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(
        output.text for cell in cells if cell.metadata.get("measured") for output in cell.outputs if "text" in output
    )
    return [json.loads(line) for line in printed.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="+", metavar="NOTEBOOK")
    for path in parser.parse_args().notebooks:
        if not path.is_file():
            parser.error(f"NOTEBOOK: expected a file, got {path}")
        for name, moves, median, slowest in measure(path):
            print(f"{path.name}: {name}: {moves} moves, median {median:.0f} ms, slowest {slowest:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
