"""notebooks/store.py on small notebooks: what it stores, keeps, refuses, and that nothing is lost when a run fails."""

import base64
import contextlib
import io
import sys
import types
from pathlib import Path

import nbformat
import pytest
from hygiene import problems
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "notebooks"))

import store as tool  # noqa: E402

DRAW = """import io

from IPython.display import display
from PIL import Image

file, alt = io.BytesIO(), {"image/png": {"alt": "From dark to light."}}
Image.linear_gradient("L").save(file, "png")
data = {"image/png": file.getvalue(), "text/plain": "From dark to light."}
display(data, raw=True, metadata=alt)
"""


def small(path, *more):
    """A notebook in the form in which JupyterLab leaves it, with widget state and what else a session strews about."""
    notebook = new_notebook(metadata={"widgets": {"state": {}}, "kernelspec": {"name": "python3", "display_name": "x"}})
    timed = {"execution": {"iopub.status.busy": "2026"}, "collapsed": False}
    notebook.cells = [
        new_markdown_cell("# Title\n\n![A gradient.](attachment:finished.png)", id="title"),
        new_code_cell("SEED   =   1", id="seed", metadata={"tags": ["parameters"], **timed}),
        new_code_cell("import time\n\nprint(time.time_ns())", id="clock", metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell("import ipywidgets\nipywidgets.IntSlider()", id="panel", metadata={"tags": ["widget"]}),
        new_code_cell(DRAW, id="figure", metadata={"tags": ["finished-picture", "hide-input"]}),
        new_code_cell("print(SEED)  # a comment", id="last"),
        *more,
    ]
    nbformat.write(notebook, path)
    return path


def run(*words):
    """`store.py` with these words, in this process, which has imported what it needs."""
    said, bar, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(bar):
        try:
            tool.main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
    return types.SimpleNamespace(returncode=status, stdout=said.getvalue(), stderr=bar.getvalue())


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A notebook that was stored once, and what the tool said."""
    path = small(tmp_path_factory.mktemp("stored") / "small.ipynb")
    done = run(path)
    assert done.returncode == 0, done.stdout + done.stderr
    return path, done


def copied(stored, folder, change=lambda notebook: None):
    notebook = nbformat.read(stored[0], 4)
    change(notebook)
    nbformat.write(notebook, folder / "small.ipynb")
    return folder / "small.ipynb"


def cell(path, name):
    return next(cell for cell in nbformat.read(path, 4).cells if cell.id == name)


def test_what_is_stored(stored):
    path, done = stored
    notebook = nbformat.read(path, 4)
    assert "widgets" not in notebook.metadata and notebook.metadata.language_info == {"name": "python"}
    assert cell(path, "seed").source == "SEED = 1" and cell(path, "seed").metadata == {"tags": ["parameters"]}
    assert cell(path, "panel").outputs == []
    assert cell(path, "figure").metadata.jupyter == {"source_hidden": True}
    assert cell(path, "last").outputs[0].text == "1\n"
    assert problems(notebook) == []
    assert "6/6" in done.stderr and "cell 5 (last): text" in done.stdout and "+ 1" in done.stdout


def test_opening_picture_is_a_palette(stored):
    small_one = base64.b64decode(cell(stored[0], "title").attachments["finished.png"]["image/png"])
    assert Image.open(io.BytesIO(small_one)).mode == "P"


def test_twice_changes_nothing_though_a_text_differs_each_time(stored, tmp_path):
    path = copied(stored, tmp_path)
    before = path.read_bytes()
    done = run(path)
    assert done.returncode == 0 and path.read_bytes() == before == stored[0].read_bytes()
    assert "no source and no output differs" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["small.ipynb"]


def test_a_word_changes_that_word(stored, tmp_path):
    def word(notebook):
        notebook.cells[0].source = notebook.cells[0].source.replace("Title", "Name")
        notebook.cells[5].source = notebook.cells[5].source.replace("comment", "remark")

    path = copied(stored, tmp_path, word)
    run(path)
    was, now = (file.read_text().splitlines() for file in (stored[0], path))
    assert len(was) == len(now)
    assert [b.strip() for a, b in zip(was, now, strict=True) if a != b] == ['"# Name\\n",', '"print(SEED)  # a remark"']


def test_code_that_changes_takes_the_outputs_below_it(stored, tmp_path):
    path = copied(stored, tmp_path, lambda notebook: notebook.cells[1].update(source="SEED = 2"))
    done = run(path)
    assert cell(path, "last").outputs[0].text == "2\n" and "- 1\n" in done.stdout and "+ 2\n" in done.stdout
    assert cell(path, "clock").outputs != cell(stored[0], "clock").outputs
    assert cell(path, "figure").outputs == cell(stored[0], "figure").outputs


def test_what_helpers_change_is_said(stored, tmp_path):
    """The notebook's code is what it was, and an output that is not compared comes out in other words."""
    path = copied(stored, tmp_path, lambda notebook: notebook.cells[2].outputs[0].update(text="took 3 ms\n"))
    assert "(clock) stands, but says other than the run" in run(path).stdout
    assert cell(path, "clock").outputs[0].text == "took 3 ms\n"


def test_fresh_takes_every_output(stored, tmp_path):
    path = copied(stored, tmp_path)
    done = run("--fresh", path)
    assert cell(path, "clock").outputs != cell(stored[0], "clock").outputs
    assert "cell 2 (clock): text, not compared" in done.stdout


def test_check_writes_nothing(stored, tmp_path):
    path = copied(stored, tmp_path)
    assert run("--check", path).returncode == 0
    path = copied(stored, tmp_path, lambda notebook: notebook.cells[1].update(source="SEED  =  3"))
    before = path.read_bytes()
    done = run("--check", path)
    assert done.returncode == 1 and path.read_bytes() == before and "would change" in done.stdout


@pytest.mark.parametrize(
    ("source", "says"),
    [("print(1 / 0)", "ZeroDivisionError"), ("print(", "Failed to parse"), ("import os\n\nos._exit(1)", "died")],
)
def test_a_run_that_fails_leaves_the_notebook_as_it_was(tmp_path, source, says):
    path = small(tmp_path / "small.ipynb", new_code_cell(source))
    before = path.read_bytes()
    done = run(path)
    assert done.returncode == 1 and path.read_bytes() == before
    assert says in done.stdout and "stays as it was" in done.stdout and "Traceback (most" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["small.ipynb"]


def test_a_fault_is_said(stored, tmp_path):
    path = copied(stored, tmp_path, lambda notebook: notebook.cells[5].update(source="import os\n\nprint('x' * 80)"))
    done = run(path)
    assert done.returncode == 1 and "fault: cell 5, output, line 1: 80 characters wide" in done.stdout
    assert "F401" in done.stdout  # of ruff


@pytest.mark.parametrize("name", ["07", "nowhere.ipynb", "store.py"])
def test_an_unknown_name_is_one_clear_error(name):
    done = run(name)
    assert done.returncode == 2 and f"got '{name}'" in done.stderr.splitlines()[-1] and "expected 01, 02" in done.stderr


def test_names():
    assert [path.name[:2] for path in tool.found("02")] == ["02"]
    assert {"01", "02", "03", "ps1", "ps2", "ps3"} <= tool.notebooks().keys()
    assert tool.found("all") == list(tool.notebooks().values())
