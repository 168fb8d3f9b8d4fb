"""Store notebooks: `uv run python notebooks/store.py 02`, several, or `all`.

A notebook is formatted by ruff (notebooks/ruff.toml), run from top to bottom
in a clean kernel, cleaned, given its opening picture, and held to the rules of
tests/hygiene.py. What is stored is written at the end, in one piece: a run
that fails, or that you stop, leaves the file as it was.

What a cell may carry, as tags:
  parameters              the sizes and SEED; one cell at least
  hide-input              it only draws: folded here and on the site
  solution, hide-cell     folded as well
  widget                  a live panel: its outputs are not stored
  raises-exception        fails on purpose
  nbval-ignore-output     its text differs between machines or runs
  finished-picture        its picture is the opening picture, which the first
                          cell shows as ![...](attachment:finished.png)

Storing twice changes nothing. As long as the code of a cell and of all cells
above it is what it was when the notebook was stored (comments and line breaks
aside; the notebook's metadata remember the code by digests), its outputs stand
where the run confirms them: the same texts, and pictures that look the same
(TOLERANCE). Outputs of a cell tagged nbval-ignore-output, say timings, cannot
be confirmed so; they stand as long as they are of the same kinds. After a
change that the notebook's own code does not show, in helpers/ or in versions,
`--fresh` takes all outputs from the run.
"""

import argparse
import ast
import base64
import copy
import difflib
import hashlib
import io
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests"))

from hygiene import (  # noqa: E402
    MAX_THUMBNAIL_BYTES,
    WIDGET_VIEW,
    is_folded,
    problems,
    tags,
)

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
VOLATILE = "ExecuteTime", "collapsed", "execution", "scrolled", "trusted"
THUMBNAIL_WIDTHS = range(960, 300, -40)  # pixels; the first that fits is taken
COLOURS = 256, 128, 64, 32  # likewise
TOLERANCE = 1e-3  # of a picture's pixels may differ by more than 16 of 255
FAILURES = (
    ValueError,
    nbclient.exceptions.CellExecutionError,
    nbclient.exceptions.DeadKernelError,
)
DIGITS = 6  # of the digest of a cell's code
SCREEN = 40  # lines of a report on one notebook


def notebooks():
    """{short name: path} of the lessons and the assignments, in order."""
    lessons = {
        path.name[:2]: path for path in sorted(HERE.glob("[0-9]*.ipynb"))
    }
    sources = (HERE / "assignments" / "source").glob("*/*.ipynb")
    return lessons | {path.stem: path for path in sorted(sources)}


def found(name):
    """The paths that a word of the command line stands for."""
    known = notebooks()
    if name == "all":
        return list(known.values())
    path = Path(name)
    if name in known:
        return [known[name]]
    if path.suffix == ".ipynb" and path.is_file():
        return [path.resolve()]
    raise argparse.ArgumentTypeError(
        f"expected {', '.join(known)}, all or the path of a notebook, "
        f"got {name!r}"
    )


def ruff(path, text, *command):
    """What ruff says of a notebook's text, under the settings of its place."""
    ruff = sys.executable, "-m", "ruff"
    return subprocess.run(
        [*ruff, *command, "--stdin-filename", path, "-"],
        input=text,
        capture_output=True,
        encoding="utf-8",
    )


def format_code(notebook, path):
    """Format the code cells, in place. Raises a ValueError where it cannot."""
    done = ruff(path, nbformat.writes(notebook), "format")
    if not done.stdout:
        raise ValueError(done.stderr.strip())
    formatted = nbformat.reads(done.stdout, as_version=4)
    for cell, new in zip(notebook.cells, formatted.cells):
        cell.source = new.source


def run(notebook, path):
    """Run all cells in a clean kernel, in place, with a progress bar."""
    total, start = len(notebook.cells), time.monotonic()

    def progress(cell, cell_index, **_):
        done = (cell_index + 1) * 30 // total
        bar = "#" * done + "-" * (30 - done)
        seconds = time.monotonic() - start
        line = f"\r{path.stem[:24]} [{bar}] {cell_index + 1}/{total}"
        print(f"{line} {seconds:4.0f} s", end="", file=sys.stderr, flush=True)

    client = nbclient.NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=progress,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    try:
        client.execute()
        progress(None, total - 1)
    finally:
        print(file=sys.stderr)


def clean(notebook):
    """Drop what is volatile or dead without the kernel, and fold, in place."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        hidden = {"source_hidden": True} if is_folded(cell) else {}
        cell.metadata.pop("jupyter", None)
        if hidden:
            cell.metadata["jupyter"] = hidden
        cell.outputs = [
            output
            for output in cell.outputs
            if WIDGET_VIEW not in output.get("data", {})
        ]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(cell):
    """A few digits that stand for the code, without comments and layout."""
    try:
        meaning = ast.dump(ast.parse(cell.source))
    except SyntaxError:  # a magic of IPython
        meaning = cell.source
    return hashlib.sha256(meaning.encode()).hexdigest()[:DIGITS]


def remember(notebook):
    """Write the digests of the code into the metadata, in place."""
    digests = "".join(map(digest, code_cells(notebook)))
    notebook.metadata["course"] = {"code": digests}


def remembered(notebook):
    """The digests of the code that the stored outputs come from."""
    digests = notebook.metadata.get("course", {}).get("code", "")
    starts = range(0, len(digests), DIGITS)
    return [digests[i : i + DIGITS] for i in starts]


def look_alike(one, other):
    """Whether two PNG, as stored text, show the same to the eye."""
    if one == other:
        return True
    first, second = (
        np.asarray(
            Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
        )
        for png in (one, other)
    )
    if first.shape != second.shape:
        return False
    apart = np.abs(first.astype(int) - second).max(axis=-1) > 16
    return apart.mean() <= TOLERANCE


def kinds(cell):
    """The kinds of a cell's outputs, in order."""
    return [
        (o.output_type, o.get("name"), sorted(o.get("data", {})))
        for o in cell.outputs
    ]


def confirmed(old, new):
    """Whether an output of the run says what the stored one says."""
    old, new = copy.deepcopy(old), copy.deepcopy(new)
    png = [o.get("data", {}).pop("image/png", "") for o in (old, new)]
    return old == new and look_alike(*png)


def settle(old, new):
    """Keep the stored outputs that the run confirms (see above), in place.

    Returns:
      A line for each cell that is not compared, and whose text the run would
      change by more than its numbers.
    """
    notes = []
    cells = zip(remembered(old), code_cells(old), code_cells(new))
    for code, before, after in cells:
        if code != digest(after):
            break
        if kinds(before) != kinds(after):
            continue
        ignored = "nbval-ignore-output" in tags(after)
        if ignored and without_numbers(before) != without_numbers(after):
            notes.append(f"({after.id}) stands, but says other than the run")
        after.outputs = [
            o if ignored or confirmed(o, n) else n
            for o, n in zip(before.outputs, after.outputs)
        ]
    return notes


def without_numbers(cell):
    return re.sub(r"\d[\d.,e+-]*|\s+", "", "".join(text_outputs(cell)))


def pictures(cell):
    """The PNG, as stored text, that a cell shows."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [part["image/png"] for part in data if "image/png" in part]


def finished_figure(notebook):
    """The last picture of the cell tagged finished-picture, or ""."""
    for cell in notebook.cells:
        if "finished-picture" in tags(cell) and pictures(cell):
            return pictures(cell)[-1]
    return ""


def thumbnail(png):
    """A figure made small: a PNG with a palette, as text like `png`."""
    figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    # Median cut, the usual method, makes one colour of two thin lines'.
    coverage = Image.Quantize.MAXCOVERAGE
    for width, colours in itertools.product(THUMBNAIL_WIDTHS, COLOURS):
        small, file = figure.copy(), io.BytesIO()
        small.thumbnail((width, width))
        palette = small.quantize(colours, coverage, dither=Image.Dither.NONE)
        palette.save(file, format="png", optimize=True)
        if file.tell() <= MAX_THUMBNAIL_BYTES:
            return base64.b64encode(file.getvalue()).decode()
    raise ValueError("no small copy of the opening picture fits")


def refresh_opening(old, new):
    """Attach the thumbnail to the first cell, in place.

    Returns:
      The thumbnail as bytes; b"" where no cell is tagged finished-picture.
    """
    figure = finished_figure(new)
    if not figure:
        return b""
    kept = old.cells[0].get("attachments", {}).get("finished.png", {})
    small = kept.get("image/png", "")
    too_large = len(base64.b64decode(small)) > MAX_THUMBNAIL_BYTES
    if not small or too_large or figure != finished_figure(old):
        small = thumbnail(figure)
    new.cells[0].attachments = {"finished.png": {"image/png": small}}
    return base64.b64decode(small)


def text_outputs(cell):
    """The lines that a cell prints, and the alternatives of its pictures."""
    lines = []
    for output in cell.get("outputs", []):
        plain = output.get("data", {}).get("text/plain", "")
        lines += output.get("text", output.get("evalue", plain)).splitlines()
    return lines


def report(old, new):
    """What differs between two notebooks, in lines for a screen."""
    lines = []
    before = {cell.id: cell for cell in old.cells}
    nothing = nbformat.v4.new_code_cell("")
    for number, cell in enumerate(new.cells):
        past = before.pop(cell.id, nothing)
        what = []
        if past.source != cell.source:
            what.append("source")
        if pictures(past) != pictures(cell):
            what.append("picture")
        diff = difflib.ndiff(text_outputs(past), text_outputs(cell))
        diff = [line for line in diff if line[0] in "+-"]
        if diff:
            ignored = "nbval-ignore-output" in tags(cell)
            what.append("text, not compared" if ignored else "text")
        if what:
            lines.append(f"cell {number} ({cell.id}): {', '.join(what)}")
            lines += [f"    {line}" for line in diff[:8]]
            lines += [f"    ... {len(diff) - 8} lines more"] * (len(diff) > 8)
    lines += [f"cell {name} is gone" for name in before]
    if len(lines) > SCREEN:
        lines[SCREEN - 1 :] = [f"... {len(lines) - SCREEN + 1} lines more"]
    return lines


def replace(path, content):
    """Write a file in one piece, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        if path.exists():
            os.chmod(temporary, path.stat().st_mode)
        else:
            os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def store(path, check=False, fresh=False):
    """Run and store one notebook, and say what changed.

    Args:
      path: of the notebook.
      check: whether to write nothing.
      fresh: whether to take all outputs from this run.

    Returns:
      (changed, faults): whether a file is changed, or would be; and a sentence
      for each rule that the notebook breaks.

    Raises:
      ValueError: where the code is no Python, or the file changed meanwhile.
      nbclient's errors: where a cell fails.
    """
    was = path.read_bytes()
    old = nbformat.reads(was.decode("utf-8"), as_version=4)
    new = copy.deepcopy(old)
    clean(new)  # first, as it says to ruff and Jupyter that this is Python
    format_code(new, path)
    run(new, path)
    clean(new)
    notes = [] if fresh else settle(old, new)
    remember(new)
    opening = refresh_opening(old, new)

    text = nbformat.writes(new).rstrip("\n") + "\n"
    files = {path: text.encode("utf-8")}
    if opening and path.parent == HERE:
        files[ROOT / "docs" / "pictures" / f"{path.stem}.png"] = opening
    if path.read_bytes() != was:
        raise ValueError("the file was changed during the run; run it again")
    changed = []
    for file, content in files.items():
        if not file.exists() or file.read_bytes() != content:
            changed.append(file)
            if not check:
                replace(file, content)

    print("\n".join(report(old, new)) or "no source and no output differs")
    print("".join(f"note: {note}: --fresh\n" for note in notes), end="")
    for file in changed:
        place = os.path.relpath(file)
        print(f"{'would change' if check else 'stored'}: {place}")
    lint = ruff(path, text, "check", "--quiet", "--output-format", "concise")
    faults = problems(nbformat.from_dict(new), len(text.encode()))
    faults += lint.stdout.splitlines()
    for fault in faults:
        print(f"fault: {fault}")
    return bool(changed), faults


def main(words=None):
    summary, details = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("notebook", nargs="+", type=found)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument(
        "--fresh", action="store_true", help="keep no stored output"
    )
    wanted = parser.parse_args(words)
    bad = False
    for path in dict.fromkeys(sum(wanted.notebook, [])):
        try:
            changed, faults = store(path, wanted.check, wanted.fresh)
            bad |= bool(faults) or (wanted.check and changed)
        except FAILURES as error:
            print(f"{error}\n{path.name} failed; it stays as it was")
            bad = True
        except KeyboardInterrupt:
            sys.exit(f"{path.name} was stopped; it stays as it was")
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
