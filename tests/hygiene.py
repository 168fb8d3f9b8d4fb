"""What a stored notebook must be, apart from being right: the rules that need no kernel. Nothing is run here."""

import ast
import base64
import io
import re

import numpy as np
from PIL import Image

MAX_BYTES = 1.2 * 2**20
MAX_THUMBNAIL_BYTES = 60_000
WIDTH = 79  # characters: a reader's column on the site, at a window of 1280 pixels
LINES, FOLDED_LINES = 25, 35  # of a code cell; of one that is folded
DRAWING_LINES = 8  # a cell that only draws is folded when it is longer
HIDDEN_TESTS = re.compile(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", re.S)
SMALL_COPY = 3  # of 255, in the mean over all pixels: a palette makes 2 at most, another scatter plot 8
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|mnt|content|work)/[\w./-]+|\b[A-Z]:\\\\?Users\b")

# What the last line of a cell leaves behind by accident, such as a loss: fifteen digits that no other machine repeats.
UNROUNDED = re.compile(r"(?:np\.float\d+\()?-?\d+\.\d{7,}(?:e[+-]?\d+)?\)?")


def _text(value):
    return "".join(value) if isinstance(value, list) else (value or "")


def _png(data):
    """The PNG of an output or an attachment as stored text, however its lines are broken; "" where it has none."""
    return _text((data or {}).get("image/png")).replace("\n", "")


def tags(cell):
    return set(cell.get("metadata", {}).get("tags", []))


def is_folded(cell):
    """Whether the tags of a cell fold its code: one that only draws, or one that waits behind a click."""
    return bool(tags(cell) & {"hide-input", "hide-cell"})


def _output_texts(output):
    yield _text(output.get("text"))
    yield "\n".join(output.get("traceback", []))
    for mime, data in (output.get("data") or {}).items():
        if mime.startswith("text/"):
            yield _text(data)


def _shows(cell):
    """What a cell leaves on the page: a set of "picture" and "text"."""
    kinds = set()
    for output in cell.get("outputs", []):
        kinds.add("picture" if "image/png" in (output.get("data") or {}) else "text")
    return kinds


def _names(node):
    """The names that a piece of code reads from outside it, and those that it binds. What is local stays inside."""
    if isinstance(node, ast.Name):
        return ({node.id}, set()) if isinstance(node.ctx, ast.Load) else (set(), {node.id})
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return set(), {(name.asname or name.name).split(".")[0] for name in node.names}
    reads, binds = set(), set()
    for child in ast.iter_child_nodes(node):
        inner = _names(child)
        # In `x = f(x)` the right side is read before x is bound; in `for x in xs: f(x)` x is bound first.
        bound_before = set() if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) else binds
        reads |= inner[0] - bound_before
        binds |= inner[1]
    if isinstance(node, ast.AugAssign):
        reads |= binds
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        own = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        return reads - binds - own, set()
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        own = {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
        return reads - binds - own, {node.name}
    return reads, binds


def _names_of(cell):
    """(reads, binds) of a code cell; nothing for one that is no plain Python."""
    try:
        return _names(ast.parse(_text(cell["source"])))
    except SyntaxError:
        return set(), set()


def _only_draws(cell):
    """A cell that shows pictures and prints nothing, or a live panel."""
    return "widget" in tags(cell) or _shows(cell) == {"picture"}


def _only_defines(cell):
    """A cell of functions, which prints and shows nothing."""
    return not _shows(cell) and all(isinstance(part, ast.FunctionDef) for part in ast.parse(_text(cell["source"])).body)


def _lines(cell):
    """How many lines of code a reader sees, and how many hidden tests have, which nbgrader takes out before."""
    source = _text(cell["source"])
    hidden = "".join(HIDDEN_TESTS.findall(source))
    return len(HIDDEN_TESTS.sub("", source).rstrip().splitlines()), len(hidden.splitlines())


def _folds(code):
    """A sentence for each code cell that is folded and should not be, or is not and should be, or is too long.

    A folded cell only draws, or has functions that others draw with. What it binds, only cells that draw may read, so
    that nobody has to open one to follow the rest.
    """
    binder, drawn_with, told_with = {}, set(), {}
    for index, cell in code:
        reads, binds = _names_of(cell)
        for name in reads & binder.keys():
            if _only_draws(cell) or is_folded(cell):
                drawn_with.add(binder[name])
            else:
                told_with.setdefault(binder[name], f"{name}, which cell {index} reads")
        binder |= dict.fromkeys(binds, index)
    for index, cell in code:
        where, (lines, hidden) = f"cell {index}", _lines(cell)
        if is_folded(cell) != cell["metadata"].get("jupyter", {}).get("source_hidden", False):
            yield f"{where}: folded on the site or in JupyterLab, not in both: tags {sorted(tags(cell))}"
        if "hide-input" in tags(cell):
            if not _only_draws(cell) and not (index in drawn_with and _only_defines(cell)):
                yield f"{where}: folded, and it does more or less than draw"
            if index in told_with:
                yield f"{where}: folded, and it binds {told_with[index]}"
        elif _shows(cell) == {"picture"} and index not in told_with and lines > DRAWING_LINES:
            yield f"{where}: it only draws, on {lines} lines; fold it (tag hide-input)"
        allowed = FOLDED_LINES if is_folded(cell) else LINES
        if lines > allowed:
            yield f"{where}: {lines} lines of code, more than {allowed}"
        if hidden > FOLDED_LINES:
            yield f"{where}: {hidden} lines of hidden tests, more than {FOLDED_LINES}"


def _too_wide(where, text):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH:
            yield f"{where}, line {number}: {len(line)} characters wide, more than {WIDTH}: {line.strip()[:30]}..."


def _pixels(png, size=None):
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return np.asarray(picture.resize(size or picture.size), dtype=float)


def short_path(cells):
    """The numbers of the cells on the short path that the first cell names, or None where it names none.

    "sections 1, 3 and 4": what precedes the first section, and these; "what is marked ○": not the parts under a heading
    with that mark.
    """
    told = re.search(r"\*\*Short path\*\*[^.(:]*[:.(](.*)", _text(cells[0]["source"]), flags=re.S)
    if not told:
        return None
    wanted = re.search(r"sections? ([\d, and]+)", told[1].split("\n")[0])
    wanted = wanted and set(re.findall(r"\d+", wanted[1]))
    no_asides = "○" in told[1].split("\n")[0]
    chosen, section, left_out = [], None, 0
    for index, cell in enumerate(cells):
        for level, title in re.findall(r"^(#+) (.*)", _text(cell["source"]), flags=re.M):
            if cell["cell_type"] == "markdown":
                section = title.split(" ")[0] if level == "##" else section
                left_out = (left_out or len(level)) if "○" in title else (len(level) > left_out) * left_out
        if (wanted is None or section is None or section in wanted) and not (no_asides and left_out):
            chosen.append(index)
    return chosen


def _lost_on_the_short_path(cells):
    """A sentence for each cell on the short path that reads a name which only cells outside it bind."""
    chosen = short_path(cells)
    if chosen is None:
        return
    names = {index: _names_of(cell) for index, cell in enumerate(cells) if cell["cell_type"] == "code"}
    everywhere = set().union(*(binds for _, binds in names.values()))
    there = set().union(*(binds for index, (_, binds) in names.items() if index in chosen))
    for index in chosen:
        lost = names.get(index, (set(), set()))[0] & everywhere - there
        if lost:
            yield f"cell {index}: on the short path, and it reads {', '.join(sorted(lost))}, bound outside it"


def _is_small_copy(small, figure):
    """Whether a PNG shows a figure at no more than its size, on a palette of its own."""
    size = Image.open(io.BytesIO(base64.b64decode(small))).size
    one, other = _pixels(small), _pixels(figure, size)
    return np.abs(one - other).mean() < SMALL_COPY


def problems(notebook, size=0):
    """A sentence for each rule that a notebook breaks.

    Args:
      notebook: the parsed JSON of an .ipynb file (nbformat 4).
      size: of the file, in bytes.

    Returns:
      A list of strings, empty for a notebook that is fit to be stored.
    """
    found = []
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and _text(cell["source"]).strip()]
    counts = [cell.get("execution_count") for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"not executed once, top to bottom: execution counts {counts}")
    if not any("parameters" in tags(cell) for cell in code):
        found.append("no cell tagged 'parameters'")
    if "widgets" in notebook.get("metadata", {}):
        found.append("the state of widgets, dead without their kernel; clear it")
    if size > MAX_BYTES:
        found.append(f"{size} bytes, more than {MAX_BYTES:.0f}")
    pictures = [png for cell in code for output in cell.get("outputs", []) if (png := _png(output.get("data")))]
    if len(set(pictures)) < len(pictures):
        found.append("a picture is stored twice")
    found += _lost_on_the_short_path(cells)
    found += _folds([(index, cell) for index, cell in enumerate(cells) if cell["cell_type"] == "code"])
    for index, cell in enumerate(cells):
        where = f"cell {index}"
        for name, attachment in cell.get("attachments", {}).items():
            bytes_ = len(base64.b64decode(_png(attachment)))
            if bytes_ > MAX_THUMBNAIL_BYTES:
                found.append(f"{where}: the attachment {name} has {bytes_} bytes, more than {MAX_THUMBNAIL_BYTES}")
            if not any(_is_small_copy(_png(attachment), picture) for picture in pictures):
                found.append(f"{where}: the attachment {name} is none of this notebook's own pictures")
        if cell["cell_type"] == "code":
            found += _too_wide(f"{where}, code", _text(cell["source"]))
        else:
            for block in re.findall(r"^```\w*\n(.*?)^```", _text(cell["source"]), flags=re.M | re.S):
                found += _too_wide(f"{where}, code in prose", block)
        if re.search(r"!\[\s*\]\(", _text(cell["source"])):
            found.append(f"{where}: a picture without a text alternative")
        texts = [_text(cell["source"])]
        for output in cell.get("outputs", []):
            texts += _output_texts(output)
            if not _png(output.get("data")):  # the text beside a picture is its alternative, which nobody sees in lines
                found += _too_wide(f"{where}, output", _text((output.get("data") or {}).get("text/plain")))
                found += _too_wide(f"{where}, output", _text(output.get("text")))
            if output.get("name") == "stderr":
                found.append(f"{where}: error-stream text: {_text(output.get('text')).strip()[:60]!r}")
            if "nbval-ignore-output" not in tags(cell) and UNROUNDED.fullmatch(
                _text((output.get("data") or {}).get("text/plain"))
            ):
                found.append(f"{where}: a bare unrounded number, which differs between machines")
            if output["output_type"] == "error" and "raises-exception" not in tags(cell):
                found.append(f"{where}: a traceback without the tag raises-exception")
            for mime in output.get("data") or {}:
                if mime == "image/svg+xml":
                    found.append(f"{where}: an SVG, which is compared to the byte; use PNG")
                elif mime == WIDGET_VIEW:
                    found.append(f"{where}: a panel's output, dead without its kernel; clear it, its figure follows")
                elif mime.startswith("image/") and not output.get("metadata", {}).get(mime, {}).get("alt", "").strip():
                    found.append(f"{where}: a picture without a text alternative")
        for text in texts:
            if match := ABSOLUTE_PATH.search(text):
                found.append(f"{where}: a path of somebody's machine: {match.group()}")
        if "raises-exception" in tags(cell) and not any(o["output_type"] == "error" for o in cell.get("outputs", [])):
            found.append(f"{where}: tagged raises-exception, but nothing was raised")
    return found
