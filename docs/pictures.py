"""The finished picture of each lesson as a file in docs/pictures, for the README: `uv run python docs/pictures.py`.

A page on the web cannot show a picture that is attached to a notebook. A test holds the files to the notebooks.
"""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def finished_pictures(path):
    """{name: PNG as bytes} of the pictures that are attached to the opening cell of a notebook."""
    opening = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    attachments = opening.get("attachments", {})
    return {name: base64.b64decode("".join(data["image/png"])) for name, data in attachments.items()}


if __name__ == "__main__":
    (ROOT / "docs" / "pictures").mkdir(exist_ok=True)
    for lesson in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for picture in finished_pictures(lesson).values():
            (ROOT / "docs" / "pictures" / f"{lesson.stem}.png").write_bytes(picture)
