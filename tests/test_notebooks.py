"""The stored notebooks keep the rules of tests/hygiene.py, and each rule is seen to fail where it is broken."""

import base64
import collections
import copy
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hygiene import problems
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
GENERATED = {".ipynb_checkpoints", "release", "submitted", "copies", "autograded", "feedback"}
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if not GENERATED & {*path.parts})
LESSONS = [path for path in NOTEBOOKS if path.name[0].isdigit()]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_notebook(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    found = problems(notebook, path.stat().st_size)
    assert found == []
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    if path in LESSONS:  # which opens with its finished picture
        opening = notebook["cells"][0]
        assert "](attachment:finished.png)" in "".join(opening["source"]) and "finished.png" in opening["attachments"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_readme_shows_the_opening_picture_as_it_is(path):
    opening = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    attached = base64.b64decode("".join(opening["attachments"]["finished.png"]["image/png"]))
    kept = ROOT / "docs" / "pictures" / f"{path.stem}.png"
    assert kept.read_bytes() == attached
    assert f"](docs/pictures/{kept.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_readme_tells_the_time_of_the_lesson(path):
    """The minutes of its sittings: "two sittings of about 110 and 90 minutes", "two sittings of about 60 minutes"."""
    opening = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    told = re.search(r"\*\*Time\*\*: two sittings of about (\d+)(?: and (\d+))? minutes", opening)
    minutes = int(told[1]) + int(told[2] or told[1])
    row = re.search(
        rf"^\| \[.*\]\(notebooks/{path.name}\) \| .* \| (\d+) \|$", (ROOT / "README.md").read_text("utf-8"), re.M
    )
    assert int(row[1]) == minutes


def test_no_large_picture_is_kept_twice():
    """Thumbnails are kept twice, in the notebook and for the README; whatever is larger, once."""
    pictures = collections.Counter()
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for part in [*cell.get("attachments", {}).values(), *(o.get("data", {}) for o in cell.get("outputs", []))]:
                if "image/png" in part:
                    pictures[base64.b64decode("".join(part["image/png"]))] += 1
    pictures.update(path.read_bytes() for path in (ROOT / "docs" / "pictures").iterdir())
    assert [len(png) for png, times in pictures.items() if times > 1 and len(png) > 60_000] == []


def test_code_is_formatted():
    """Line lengths and rules differ between the notebooks and the rest: notebooks/ruff.toml."""
    others = (ROOT / folder for folder in ("helpers", "tests", "docs", "notebooks/store.py"))
    files = [str(path) for path in (*NOTEBOOKS, *others)]
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        run = subprocess.run([sys.executable, "-m", "ruff", *command, *files], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


def code(source, count, outputs=(), tags=()):
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
        "source": source,
    }


def folded(source, count, outputs=(), tags=("hide-input",)):
    return code(source, count, outputs, tags) | {"metadata": {"tags": [*tags], "jupyter": {"source_hidden": True}}}


def png(rows, size=None):
    """Grey levels [height, width] as the text of a PNG."""
    file, picture = io.BytesIO(), Image.fromarray(np.uint8(rows)).convert("RGB")
    (picture.resize(size) if size else picture).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


SHADES = np.add.outer(np.arange(120), np.arange(120))
PICTURE = {
    "output_type": "display_data",
    "data": {"image/png": png(SHADES), "text/plain": "A line, and a text alternative " * 9},
    "metadata": {"image/png": {"alt": "A line."}},
}
TEXT = {"output_type": "stream", "name": "stdout", "text": ["some text\n"]}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}
GOOD = {
    "metadata": {},
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": "# Title ![A line.](attachment:a.png)",
            "attachments": {"a.png": {"image/png": png(SHADES, (60, 60))}},
        },
        code("SEED = 1", 1, tags=["parameters"]),
        code("plot()", 2, [PICTURE]),
        code("mistake()", 3, [ERROR], ["raises-exception"]),
        folded("fig = draw(x)", 4, [copy.deepcopy(PICTURE) | {"data": {"image/png": png(SHADES.T // 2)}}]),
        folded("def draw_more(x):\n    return x", 5),
        code("live(draw_more)", 6, tags=["widget"]),
        code("fig = 1\nprint(fig)", 7, [TEXT]),
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
    notebook["cells"][0]["attachments"]["a.png"] = {"image/png": png(SHADES[::-1], (60, 60))}


def large_attachment(notebook):
    large = SHADES + np.random.default_rng(0).integers(0, 2, (120, 120))
    data = png(np.kron(large, np.ones((9, 9))) + np.random.default_rng(1).integers(0, 3, (1080, 1080)))
    notebook["cells"][0]["attachments"]["a.png"] = {"image/png": data}


def picture_twice(notebook):
    notebook["cells"][2]["outputs"].append(copy.deepcopy(notebook["cells"][2]["outputs"][0]))


def wide_code(notebook):
    notebook["cells"][2]["source"] = f"plot({'x' * 74})"


def wide_code_in_prose(notebook):
    notebook["cells"][0]["source"] += "\n\n```python\n" + "x" * 80 + "\n```"


def wide_comment(notebook):
    notebook["cells"][2]["source"] = "plot()  # " + "so " * 24


def wide_stream(notebook):
    notebook["cells"][7]["outputs"][0] = {**TEXT, "text": ["short\n", "x" * 80 + "\n"]}


def wide_result(notebook):
    result = {"output_type": "execute_result", "data": {"text/plain": "[" + "1, " * 26 + "]"}, "metadata": {}}
    notebook["cells"][2]["outputs"].append(result)


def long_cell(notebook):
    notebook["cells"][7]["source"] = ["pass\n"] * 25 + ["pass"]


def long_folded_cell(notebook):
    notebook["cells"][4]["source"] = "\n".join(["draw()"] * 36)


def folded_on_the_site_only(notebook):
    del notebook["cells"][4]["metadata"]["jupyter"]


def folded_in_jupyterlab_only(notebook):
    notebook["cells"][2]["metadata"]["jupyter"] = {"source_hidden": True}


def folded_and_prints(notebook):
    notebook["cells"][4]["outputs"].append(TEXT)


def folded_and_computes(notebook):
    notebook["cells"][4]["source"] = "score = draw(x)"
    notebook["cells"][7]["source"] = "print([score for x in range(3)])"


def folded_idea(notebook):
    notebook["cells"][7]["source"] = "def f():\n    return draw_more(1)\n\n\nprint(f())"


def folded_for_nobody(notebook):
    notebook["cells"][6]["source"] = "live(draw)"


def short_path_by_sections(notebook):
    cells = notebook["cells"]
    cells[0]["source"] += "\n**Short path**, one sitting: section 2. And more, 1."
    cells[2:2] = [{"cell_type": "markdown", "metadata": {}, "source": "## 1 · One"}]
    cells.append({"cell_type": "markdown", "metadata": {}, "source": "## 2 · Two"})
    cells.append(code("print(fig)", 8, [TEXT]))


def short_path_by_marks(notebook):
    cells = notebook["cells"]
    cells[0]["source"] += "\n**Short path**: leave out what is marked ○."
    cells[-1:-1] = [{"cell_type": "markdown", "metadata": {}, "source": "### ○ Aside\n#### Part of it"}]
    cells.append({"cell_type": "markdown", "metadata": {}, "source": "### Back"})
    cells.append(code("print(fig)", 8, [TEXT]))
    cells[4]["source"] = "draw(x)"


def short_path_by_both(notebook):
    short_path_by_marks(notebook)
    cells = notebook["cells"]
    cells[0]["source"] = cells[0]["source"].replace("leave out", "section 1, and leave out")
    cells[2:2] = [{"cell_type": "markdown", "metadata": {}, "source": "## 1 · One"}]


def drawing_not_folded(notebook):
    notebook["cells"][2]["source"] = "\n".join(["plot()"] * 9)


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
        (large_attachment, "bytes, more than 60000"),
        (picture_twice, "stored twice"),
        (wide_code, "80 characters wide"),
        (wide_code_in_prose, "code in prose"),
        (wide_comment, "82 characters wide"),
        (wide_stream, "line 2: 80 characters wide"),
        (wide_result, "80 characters wide"),
        (long_cell, "26 lines of code, more than 25"),
        (long_folded_cell, "36 lines of code, more than 35"),
        (folded_on_the_site_only, "not in both"),
        (folded_in_jupyterlab_only, "not in both"),
        (folded_and_prints, "more or less than draw"),
        (folded_and_computes, "binds score, which cell 7 reads"),
        (folded_idea, "binds draw_more, which cell 7 reads"),
        (folded_for_nobody, "more or less than draw"),
        (drawing_not_folded, "only draws"),
        (short_path_by_sections, "on the short path, and it reads fig"),
        (short_path_by_marks, "on the short path, and it reads fig"),
        (short_path_by_both, "on the short path, and it reads fig"),
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
    assert problems(copy.deepcopy(GOOD), 1_258_291) == []  # 1.2 MiB
    assert "bytes" in problems(copy.deepcopy(GOOD), 1_258_292)[0]


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
