"""Hands in a notebook whose parts are of other types than a notebook's."""

import json


def submit(inbox, name, notebook, course):
    notebook.cells[3].source = {"no": "text"}
    notebook.cells[4].metadata = ["no", "metadata"]
    (inbox / f"{name}.ipynb").write_text(json.dumps(notebook))
