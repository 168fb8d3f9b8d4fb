"""The teacher's pack: `uv run --group docs python docs/teach.py`, from the notebooks as they are stored, offline.

build/pack/     for everybody: notebooks/ as students get them, slides/ as pages and PDF, teach/ with the plans
build/teacher/  for the teacher alone: the key to every Predict, and the solutions of the exercises

git ignores build/. Nothing here is run, and the assignments are not touched.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import slides  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOLVED = re.compile(r"(exercise\([^()]*?),\s*\w+_solution(,?\s*\))", re.S)
TOLD = re.compile(r"\s*The folded cell\s+between them is a solution[^.]*\.")
PRIVATE = "For the teacher alone. This folder is not kept in git; do not put it where students are."


def tags(cell):
    return set(cell["metadata"].get("tags", []))


def for_students(notebook):
    """A lesson without outputs, solutions and the answers to its questions; the argument stays as it is."""
    cells = []
    for cell in json.loads(json.dumps(notebook["cells"])):
        if "solution" in tags(cell):
            continue
        cell["metadata"].pop("course", None)
        source = slides.text_of(cell)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            source = SOLVED.sub(r"\1\2", source)
        else:
            source = TOLD.sub("", source)
        cell["source"] = source.splitlines(keepends=True)
        cells.append(cell)
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "course"}
    return {**notebook, "cells": cells, "metadata": metadata}


def asked(text):
    """What a cell asks: its text from the paragraph with "Predict" on; where there is none, its last paragraph."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(paragraphs[next((i for i, part in enumerate(paragraphs) if "Predict" in part), -1) :])


def key(notebook):
    """Markdown: for each question that the lesson asks its number, section, words and answer; then the solutions."""
    lines, title = [], ""
    for cell in notebook["cells"]:
        text = slides.text_of(cell)
        if cell["cell_type"] == "markdown":
            title = ([title] + [match[2] for match in slides.HEADING.finditer(text)])[-1]
        if answer := cell["metadata"].get("course", {}).get("predict"):
            lines.append(f"## Question {len(lines) + 1}: {title}\n\n{asked(text)}\n\n**Key:** {answer}\n")
    for cell in notebook["cells"]:
        if "solution" in tags(cell):
            lines.append(f"## A solution\n\n```python\n{slides.text_of(cell)}\n```\n")
    return "\n".join(lines)


def as_pdf(chromium, page):
    """Print a page; 30 seconds of its own time, so that the formulas are there."""
    options = ["--headless", "--disable-dev-shm-usage", "--virtual-time-budget=30000", "--no-pdf-header-footer"]
    options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    target = page.with_suffix(".pdf")
    command = [chromium, *options, f"--print-to-pdf={target}", page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if not target.exists():
        raise OSError(f"{chromium} printed nothing: {done.stderr.strip()[-300:]}")


def build(root, out, say=print, pdf=True):
    """Write the pack of the course that lies in `root` into the folder `out`, which is emptied first.

    Args:
      root: the top of the repository.
      out: the folder that gets pack/ and teacher/.
      say: called with a line for each thing that was made, and for what could not be.
      pdf: whether to print the slides as well.
    """
    pack, private = Path(out, "pack"), Path(out, "teacher")
    for folder in (pack, private):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (pack / "notebooks", pack / "slides", private):
        folder.mkdir(parents=True)
    shutil.copytree(Path(root, "docs", "teach"), pack / "teach")
    slides.copy_mathjax(pack / "mathjax")
    slides.copy_mathjax(private / "mathjax")
    chromium = next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM") or "", *CHROMIUM])), None)
    if pdf and not chromium:
        say("no PDF: there is no Chromium (apt-get install chromium, or its path in the variable CHROMIUM)")
    for stem, text in slides.decks(root, "../mathjax").items():
        notebook = json.loads(Path(root, "notebooks", f"{stem}.ipynb").read_text(encoding="utf-8"))
        told = json.dumps(for_students(notebook), indent=1, ensure_ascii=False) + "\n"
        (pack / "notebooks" / f"{stem}.ipynb").write_text(told, encoding="utf-8")
        (pack / "slides" / f"{stem}.html").write_text(text, encoding="utf-8")
        body = f"<h1>Key to {stem[:2]}</h1>\n<p><strong>{PRIVATE}</strong></p>\n{slides.markdown(key(notebook))}"
        page = slides.page(f"Key to {stem[:2]}", body, "mathjax", "body { padding: 2em; max-width: 60em }", ";")
        (private / f"{stem}.html").write_text(page, encoding="utf-8")
        if pdf and chromium:
            as_pdf(chromium, pack / "slides" / f"{stem}.html")
        say(f"{stem}: notebook, {text.count('<section')} slides{', PDF' if pdf and chromium else ''}, key")
    say(f"for everybody: {pack}\nfor you alone: {private}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-pdf", action="store_true", help="leave out the slides as PDF")
    build(ROOT, ROOT / "build", pdf=not parser.parse_args().no_pdf)
