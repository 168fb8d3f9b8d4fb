"""A Sphinx extension that brings notebooks, teacher's page and pieces of the README to the site, at build time.

The copies lie in docs/notebooks, under the paths that their originals have in the repository, so that their links
and the theme's addresses for Binder and Colab hold as they are. Neither they nor docs/generated are kept in git.
"""

import base64
import hashlib
import inspect
import json
import pkgutil
import re
from pathlib import Path, PurePosixPath

import slides
from docutils import nodes

import helpers

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# A notebook, what its readers are asked, and how long it takes: a row of the map in the README.
ROW = re.compile(
    r"^\| \[(?P<title>.+?)\]\((?P<path>notebooks/.+?\.ipynb)\) \| (?P<question>.+?) \| (?P<minutes>\d+) \|$", re.M
)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LIVE = "*Sliders stand here, live in JupyterLab, Binder or Colab. The picture below shows them at one setting.*"
DOWNLOAD = (
    "[This page as a notebook](path:../../notebooks/{stem}.ipynb), to be run [inside the course](../index.md#Run-it).\n"
)
INHERITED = "cross_entropy, kl_divergence"  # TFP gives its classes copies of these
FIRST = ("layout", "distributions", "fitting")  # of the helpers; the others follow by name
PROMPTS = {  # the first that fits
    "solution": "a solution",
    "widget": "the code of the sliders",
    "colab": "the cell that sets Colab up",
    "hide-input": "the code of the drawing",
}


def jupyter_anchor(title):
    """The anchor of a heading as JupyterLab makes it, which is what the notebooks' own links use."""
    return title.replace(" ", "-")


def mended_links(text, folder, repository_url=""):
    """Markdown whose links hold on the site.

    Args:
      text: Markdown of a file of the repository.
      folder: where that file lies, as a path from the top of the repository.
      repository_url: where links to files that are no pages lead; without it only their text stays.

    Returns:
      The text with other links.
    """

    def mended(match):
        picture, words, target = match.groups()
        if picture or re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, fragment = target.partition("#")
        path = (ROOT / folder / path).resolve().relative_to(ROOT).as_posix()
        up = "/".join([".."] * len(PurePosixPath(folder).parts)) or "."
        if path in copied():
            return match[0]
        if path == "README.md":
            return f"[{words}]({up}/index.md)"
        if path.startswith("docs/") and path.endswith(".md"):
            return f"[{words}]({up}/{path.removeprefix('docs/')}{'#' * bool(fragment)}{fragment})"
        if path.startswith("helpers/"):
            return f"[{words}]({up}/helpers.md#{PurePosixPath(path).stem})"
        return (
            f"[{words}]({repository_url}/blob/HEAD/{path}{'#' * bool(fragment)}{fragment})" if repository_url else words
        )

    return LINK.sub(mended, text)


def copied():
    """Paths, from the top of the repository, of what becomes a page."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return [path.relative_to(ROOT).as_posix() for path in notebooks] + ["notebooks/assignments/README.md"]


def for_the_site(notebook, stem, repository_url=""):
    """The notebook as the site shows it.

    Args:
      notebook: the parsed JSON of an .ipynb file; left as it is.
      stem: the name of its file without the suffix.
      repository_url: as for `mended_links`.

    Returns:
      The notebook, its opening picture the one that docs/pictures keeps for the README; and the text alternatives of
      its outputs, {SHA-256 of the PNG: alt}.
    """
    cells, alternatives = [], {}
    for cell in json.loads(json.dumps(notebook["cells"])):
        tags = cell["metadata"].setdefault("tags", [])
        if cell["cell_type"] == "markdown":
            source = mended_links("".join(cell["source"]), "notebooks", repository_url)
            if cell.pop("attachments", {}):
                source = source.replace("](attachment:finished.png)", f"](/pictures/{stem}.png)")
            if not cells:
                title, rest = source.split("\n", 1)
                source = f"{title}\n\n{DOWNLOAD.format(stem=stem)}{rest}"
            cell["source"] = source
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                digest = hashlib.sha256(base64.b64decode("".join(png))).hexdigest()
                alternatives[digest] = output["metadata"]["image/png"]["alt"]
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if WIDGET_VIEW not in output.get("data", {})]
        if "widget" in tags:
            tags += {"hide-input"} - {*tags}
            cells.append({"cell_type": "markdown", "id": f"live-{len(cells)}", "metadata": {}, "source": LIVE})
        for what in [what for tag, what in PROMPTS.items() if tag in tags][:1]:
            cell["metadata"]["mystnb"] = {"code_prompt_show": f"Show {what}", "code_prompt_hide": f"Hide {what}"}
        cells.append(cell)
    return {**notebook, "cells": cells}, alternatives


def cards(readme, openings):
    """The map of the README as Markdown: for each lesson its finished picture, question and minutes.

    Args:
      readme: the text of the README.
      openings: {path of a notebook: the source of its opening cell, as the site has it}.
    """
    found = []
    for row in ROW.finditer(readme):
        picture = next(match for match in LINK.finditer(openings[row["path"]]) if match[1])
        found.append(
            f"## [{row['title']}](/{row['path']})\n\n{row['question']} *{row['minutes']} minutes*\n\n"
            f"[![{picture[2]}]({picture[3]})](/{row['path']})\n"
        )
    return "\n".join(found)


def reference(names):
    """Markdown for the reference of the modules of these names: a section each, those of FIRST at the top."""
    names = sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return "\n".join(
        f"## {name}\n\n```{{eval-rst}}\n.. automodule:: helpers.{name}\n   :exclude-members: {INHERITED}\n```\n"
        for name in names
    )


def section(readme, begin, end):
    """The README from the text `begin` to the text `end`; a ValueError where it has changed."""
    start = readme.index(begin)
    return readme[start : readme.index(end, start)]


def write(path, content):
    """Only where it changes something: Sphinx reads again what is new."""
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def copy_the_course(app):
    url, readme = app.config.repository_url, (ROOT / "README.md").read_text(encoding="utf-8")
    app.env.alternatives, openings = {}, {}
    for path in copied():
        text = (ROOT / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            write(DOCS / path, mended_links(text, str(PurePosixPath(path).parent), url))
            continue
        notebook, alternatives = for_the_site(json.loads(text), PurePosixPath(path).stem, url)
        write(DOCS / path, json.dumps(notebook, ensure_ascii=False))
        app.env.alternatives |= alternatives
        openings[path] = notebook["cells"][0]["source"]
    write(DOCS / "generated" / "cards.md", cards(readme, openings))
    write(DOCS / "generated" / "start.md", section(readme, "**Learn**", "## The map"))
    modules = [module.name for module in pkgutil.iter_modules(helpers.__path__) if not module.name.startswith("_")]
    write(DOCS / "generated" / "helpers.md", reference(modules))
    answer = section(readme, "## The answer", "## Other ways in")
    write(DOCS / "generated" / "answer.md", mended_links(answer.split("\n", 1)[1], ".", url))


def add_alternatives(app, doctree):
    """MyST-NB names a picture by its SHA-256 and knows one text alternative a cell; the outputs have one each."""
    for image in doctree.findall(nodes.image):
        alternative = app.env.alternatives.get(Path(image["uri"]).stem)
        if alternative:
            image["alt"] = alternative


def true_signature(app, what, name, obj, options, signature, return_annotation):
    """Autodoc takes that of the metaclass where there is one, as TFP's distributions have."""
    return (str(inspect.signature(obj)), None) if what == "class" and signature == "(*args, **kwargs)" else None


def keep_whole(app, what, name, obj, options, lines):
    """Before Napoleon, which takes what stands before a colon for a type. Ours have theirs as annotations."""
    app.env.whole = [*lines]


def mend_attributes(app, what, name, obj, options, lines):
    """After Napoleon."""
    if what in ("attribute", "property", "data") and any(line.startswith(":type:") for line in lines):
        lines[:] = app.env.whole


def add_source_button(app, pagename, templatename, context, doctree):
    """The theme's own button would show a notebook as raw JSON."""
    if app.config.repository_url and doctree is not None:
        path = app.env.doc2path(pagename, base=False)
        path = path if str(path).startswith("notebooks/") else f"docs/{path}"
        context["header_buttons"].append(
            {
                "type": "link",
                "url": f"{app.config.repository_url}/blob/HEAD/{path}",
                "tooltip": "Source of this page",
                "icon": "fas fa-code",
                "label": "source-file-button",
            }
        )


def add_mathjax_and_slides(app, error):
    if error is None and app.builder.format == "html":
        slides.copy_mathjax(Path(app.outdir) / "_static" / "mathjax")
        for stem, page in slides.decks(ROOT, "../_static/mathjax").items():
            write(Path(app.outdir) / "slides" / f"{stem}.html", page)


def setup(app):
    app.add_config_value("repository_url", "", "env", str)
    app.connect("builder-inited", copy_the_course)
    app.connect("autodoc-process-signature", true_signature)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)  # Napoleon has 500
    app.connect("autodoc-process-docstring", mend_attributes, priority=600)
    app.connect("doctree-read", add_alternatives)
    app.connect("html-page-context", add_source_button, priority=502)  # after the theme has made its list of buttons
    app.connect("build-finished", add_mathjax_and_slides)
    return {"parallel_read_safe": False}
