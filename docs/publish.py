"""Tell the course where it lives, once: `uv run python docs/publish.py https://github.com/OWNER/NAME`.

The address goes into pyproject.toml, from where the site takes it; into the first cell of each lesson, from where Colab
fetches the course; and as links to Binder and Colab under the title of each lesson and of the README. Where the course
moves, run it again. Only lines that this file writes are touched, and no output of a notebook.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"(https://github\.com/[\w.-]+/(?!\.git/?$)[\w.-]*?\w)(?:\.git)?/?")
COURSE_LINE = re.compile(r'COURSE = ".*?"(  #.*)?')  # the remark only explains the empty address
LINKS_LINE = re.compile(r"^(\[!\[Open in |Open in \[).*\n\n", re.MULTILINE)
BADGE = "https://mybinder.org/badge_logo.svg"


def links(address, notebook=""):
    """Where to open the course, or one of its notebooks, without installing anything: {name: address}."""
    place = address.removeprefix("https://github.com/")
    found = {"Binder": f"https://mybinder.org/v2/gh/{place}/HEAD?urlpath=lab/tree/notebooks/{notebook}"}
    if notebook:
        found["Colab"] = f"https://colab.research.google.com/github/{place}/blob/HEAD/notebooks/{notebook}"
    return found


def badge(address):
    """For the README, as a picture."""
    return f"[![Open in Binder]({BADGE})]({links(address)['Binder']})"


def line_of_links(address, notebook):
    """For a notebook, as words: a picture would be fetched from elsewhere each time that the notebook is opened."""
    return "Open in " + " · ".join(f"[{name}]({link})" for name, link in links(address, notebook).items())


def under_the_title(text, line):
    """The text with `line` in a paragraph of its own below its first line, in place of an earlier one."""
    title, rest = LINKS_LINE.sub("", text, count=1).split("\n", 1)
    return f"{title}\n\n{line}\n{rest}"


def published_notebook(text, address, name):
    notebook = json.loads(text)
    opening, first = notebook["cells"][:2]
    opening["source"] = under_the_title("".join(opening["source"]), line_of_links(address, name)).splitlines(True)
    first["source"] = COURSE_LINE.sub(f'COURSE = "{address}"', "".join(first["source"])).splitlines(True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def published_project(text, address):
    """pyproject.toml with the address as the project's Repository."""
    section = f'[project.urls]\nRepository = "{address}"\n'
    if "[project.urls]" in text:
        return re.sub(r'\[project\.urls\]\nRepository = ".*"\n', section, text)
    return text.replace("\n[dependency-groups]", f"\n{section}\n[dependency-groups]", 1)


def publish(root, address):
    """Write the address into the course that lies in the folder `root`.

    An ending that belongs to git or to a browser, `.git` or a slash, is no part of it.

    Raises:
      ValueError: where `address` is not that of a repository on GitHub, such as with http; nothing is written.
    """
    if not (match := ADDRESS.fullmatch(address)):
        raise ValueError(f"address: expected https://github.com/OWNER/NAME, got {address!r}")
    address, new = match[1], {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        new[path] = published_notebook(path.read_text(encoding="utf-8"), address, path.name)
    for path, change in (
        (root / "pyproject.toml", published_project),
        (root / "README.md", lambda text, address: under_the_title(text, badge(address))),
    ):
        new[path] = change(path.read_text(encoding="utf-8"), address)
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="https://github.com/OWNER/NAME")
    try:
        publish(ROOT, parser.parse_args().address)
    except ValueError as error:
        sys.exit(str(error))
