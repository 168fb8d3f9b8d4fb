"""What a stored notebook must be, apart from being right: the rules that need no kernel. Nothing is run here."""

import re

MAX_BYTES = 1.5 * 2**20
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|mnt|content|work)/[\w./-]+|\b[A-Z]:\\\\?Users\b")

# What the last line of a cell leaves behind by accident, such as a loss: fifteen digits that no other machine repeats.
UNROUNDED = re.compile(r"(?:np\.float\d+\()?-?\d+\.\d{7,}(?:e[+-]?\d+)?\)?")


def _text(value):
    return "".join(value) if isinstance(value, list) else (value or "")


def _png(data):
    """The PNG of an output or an attachment as stored text, however its lines are broken; "" where it has none."""
    return _text((data or {}).get("image/png")).replace("\n", "")


def _tags(cell):
    return set(cell.get("metadata", {}).get("tags", []))


def _output_texts(output):
    yield _text(output.get("text"))
    yield "\n".join(output.get("traceback", []))
    for mime, data in (output.get("data") or {}).items():
        if mime.startswith("text/"):
            yield _text(data)


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
    if not any("parameters" in _tags(cell) for cell in code):
        found.append("no cell tagged 'parameters'")
    if "widgets" in notebook.get("metadata", {}):
        found.append("the state of widgets, dead without their kernel; clear it")
    if size > MAX_BYTES:
        found.append(f"{size} bytes, more than {MAX_BYTES:.0f}")
    pictures = {_png(output.get("data")) for cell in code for output in cell.get("outputs", [])} - {""}
    for index, cell in enumerate(cells):
        where = f"cell {index}"
        for name, attachment in cell.get("attachments", {}).items():
            if _png(attachment) not in pictures:
                found.append(f"{where}: the attachment {name} is none of this notebook's own pictures")
        if re.search(r"!\[\s*\]\(", _text(cell["source"])):
            found.append(f"{where}: a picture without a text alternative")
        texts = [_text(cell["source"])]
        for output in cell.get("outputs", []):
            texts += _output_texts(output)
            if output.get("name") == "stderr":
                found.append(f"{where}: error-stream text: {_text(output.get('text')).strip()[:60]!r}")
            if "nbval-ignore-output" not in _tags(cell) and UNROUNDED.fullmatch(
                _text((output.get("data") or {}).get("text/plain"))
            ):
                found.append(f"{where}: a bare unrounded number, which differs between machines")
            if output["output_type"] == "error" and "raises-exception" not in _tags(cell):
                found.append(f"{where}: a traceback without the tag raises-exception")
            for mime in output.get("data") or {}:
                if mime == "image/svg+xml":
                    found.append(f"{where}: an SVG, which is compared to the byte; use PNG")
                elif "widget" in mime:
                    found.append(f"{where}: a panel's output, dead without its kernel; clear it, its figure follows")
                elif mime.startswith("image/") and not output.get("metadata", {}).get(mime, {}).get("alt", "").strip():
                    found.append(f"{where}: a picture without a text alternative")
        for text in texts:
            if match := ABSOLUTE_PATH.search(text):
                found.append(f"{where}: a path of somebody's machine: {match.group()}")
        if "raises-exception" in _tags(cell) and not any(o["output_type"] == "error" for o in cell.get("outputs", [])):
            found.append(f"{where}: tagged raises-exception, but nothing was raised")
    return found
