"""The stored notebooks keep the rules of tests/hygiene.py, and each rule is seen to fail where it is broken."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hygiene import MAX_BYTES, problems

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from pictures import finished_pictures  # noqa: E402

GENERATED = {".ipynb_checkpoints", "release", "submitted", "copies", "autograded", "feedback"}
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if not GENERATED & {*path.parts})


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_notebook(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    assert problems(notebook, path.stat().st_size) == []
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    if path.name[0].isdigit():  # a lesson, which opens with its finished picture
        opening = notebook["cells"][0]
        assert "](attachment:finished.png)" in "".join(opening["source"]) and "finished.png" in opening["attachments"]


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.name[0].isdigit()], ids=lambda path: path.name)
def test_readme_shows_the_finished_picture_as_it_is(path):
    """After a lesson was run anew: uv run python docs/pictures.py."""
    (stored,) = finished_pictures(path).values()
    kept = ROOT / "docs" / "pictures" / f"{path.stem}.png"
    assert kept.read_bytes() == stored
    assert f"](docs/pictures/{kept.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


def code(source, count, outputs=(), tags=()):
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
        "source": source,
    }


PICTURE = {
    "output_type": "display_data",
    "data": {"image/png": "iVBORw0"},
    "metadata": {"image/png": {"alt": "A line."}},
}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}
GOOD = {
    "metadata": {},
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": "# Title ![A line.](attachment:a.png)",
            "attachments": {"a.png": {"image/png": "iVBORw0"}},
        },
        code("SEED = 1", 1, tags=["parameters"]),
        code("plot()", 2, [PICTURE]),
        code("mistake()", 3, [ERROR], ["raises-exception"]),
    ],
}


def cleared(notebook):
    notebook["cells"][2]["execution_count"] = None


def out_of_order(notebook):
    notebook["cells"][2]["execution_count"] = 7


def no_parameters(notebook):
    notebook["cells"][1]["metadata"]["tags"] = []


def error_stream(notebook):
    notebook["cells"][2]["outputs"].append({"output_type": "stream", "name": "stderr", "text": ["WARNING: slow"]})


def no_alternative(notebook):
    notebook["cells"][2]["outputs"][0]["metadata"] = {}


def stale_attachment(notebook):
    notebook["cells"][0]["attachments"]["a.png"] = {"image/png": "iVBORw1"}


def no_alternative_in_prose(notebook):
    notebook["cells"][0]["source"] = "# Title ![](attachment:a.png)"


def svg(notebook):
    drawing = {"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}, "metadata": {}}
    notebook["cells"][2]["outputs"].append(drawing)


def unplanned_error(notebook):
    notebook["cells"][3]["metadata"]["tags"] = []


def planned_error_missing(notebook):
    notebook["cells"][3]["outputs"] = []


def path_in_prose(notebook):
    notebook["cells"][0]["source"] = "Saved in /home/" + "ada/weights."


def path_in_output(notebook):
    text = "File /" + "tmp/x.py"
    notebook["cells"][2]["outputs"].append({"output_type": "stream", "name": "stdout", "text": [text]})


def dead_panel(notebook):
    view = {"text/plain": "VBox()", "application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
    notebook["cells"][2]["outputs"].append({"output_type": "execute_result", "data": view, "metadata": {}})


def state_of_widgets(notebook):
    notebook["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}


def unrounded(notebook):
    result = {"output_type": "execute_result", "data": {"text/plain": "157.64524841308594"}, "metadata": {}}
    notebook["cells"][2]["outputs"].append(result)


def test_a_good_notebook_has_no_problems():
    assert problems(copy.deepcopy(GOOD), 1000) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cleared, "not executed once"),
        (out_of_order, "not executed once"),
        (no_parameters, "parameters"),
        (error_stream, "error-stream"),
        (no_alternative, "without a text alternative"),
        (stale_attachment, "none of this notebook's own pictures"),
        (no_alternative_in_prose, "without a text alternative"),
        (svg, "SVG"),
        (unplanned_error, "without the tag raises-exception"),
        (planned_error_missing, "nothing was raised"),
        (path_in_prose, "path of somebody's machine"),
        (path_in_output, "path of somebody's machine"),
        (unrounded, "unrounded"),
        (dead_panel, "dead without its kernel"),
        (state_of_widgets, "dead without their kernel"),
    ],
)
def test_each_rule_can_fail(spoil, says):
    notebook = copy.deepcopy(GOOD)
    spoil(notebook)
    found = problems(notebook, 1000)
    assert len(found) == 1 and says in found[0]


def test_a_large_notebook_is_a_problem():
    assert "bytes" in problems(copy.deepcopy(GOOD), MAX_BYTES + 1)[0]


def test_strict_comparison_sees_one_digit(tmp_path):
    """The very options of pyproject.toml, on two cells: a stored output that is right, and one off by a digit."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for count, stored in ((1, "0.1235\n"), (2, "0.1236\n")):
        stream = nbformat.v4.new_output("stream", name="stdout", text=stored)
        cell = nbformat.v4.new_code_cell("print(f'{0.12345678:.4f}')", execution_count=count, outputs=[stream])
        notebook.cells.append(cell)
    nbformat.write(notebook, tmp_path / "one_digit.ipynb")
    config = str(ROOT / "pyproject.toml")
    options = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-c", config]
    run = subprocess.run([*options, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "1 failed, 1 passed" in run.stdout, run.stdout + run.stderr
    assert "Cell 1" in run.stdout and "0.1236" in run.stdout
