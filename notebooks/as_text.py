"""A notebook as text: its sources and text outputs, for `git diff`.

Once in a clone: git config diff.ipynb.textconv "python3 notebooks/as_text.py"
(.gitattributes does the rest). Pictures are named by the first digits of their
SHA-256, so that a diff says that one changed, and do not fill the screen.
"""

import hashlib
import json
import sys


def lines(notebook):
    """The lines of a parsed notebook."""
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        yield " ".join(["-" * 8, cell["cell_type"], cell.get("id", ""), *tags])
        yield from "".join(cell["source"]).splitlines()
        for name, data in cell.get("attachments", {}).items():
            yield f"[{name} {digest(data)}]"
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text") or data.get("text/plain", [])
            text = "\n".join(output.get("traceback", [])) or "".join(text)
            yield from (f"> {line}" for line in text.splitlines())
            if "image/png" in data:
                yield f"> [picture {digest(data)}]"


def digest(data):
    """A picture's name."""
    return hashlib.sha256("".join(data["image/png"]).encode()).hexdigest()[:8]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    with open(sys.argv[1], encoding="utf-8") as file:
        print("\n".join(lines(json.load(file))))
