"""The teacher's pack: made of the stored notebooks, it gives nothing away, and its copies run. The slides' pages are
held to the site's rules by test_site.py."""

import ast
import json
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from chromium import executable, launched, need

need("markdown_it", "mdit_py_plugins", "sphinx-mathjax-offline", "playwright", "axe_playwright_python")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import slides  # noqa: E402
import teach  # noqa: E402
from site_checks import served  # noqa: E402

LESSONS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
PLANS = sorted((ROOT / "docs" / "teach").glob("[0-9]*.md"))
HIDDEN = re.compile(r"### BEGIN (HIDDEN TESTS|SOLUTION)\n(.*?)### END", re.S)
MODEL = re.compile(r"\*\*(?:Model answer|Rubric)\.?\*\*.*", re.S)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with pack/ and teacher/, without PDF."""
    out = tmp_path_factory.mktemp("teach")
    (out / "pack").mkdir()
    (out / "pack" / "old.txt").touch()
    teach.build(ROOT, out, say=lambda line: None, pdf=False)
    return out


def lines_of(text):
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 25}


def assignments():
    """Lines of hidden tests, solutions and model answers, without those that students see anywhere."""
    secret, seen = set(), [slides.text_of(cell) for notebook in LESSONS.values() for cell in notebook["cells"]]
    for path in (ROOT / "notebooks" / "assignments" / "source").glob("*/*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = slides.text_of(cell)
            secret |= lines_of("\n".join(match[2] for match in HIDDEN.finditer(text)) + "".join(MODEL.findall(text)))
            seen.append(HIDDEN.sub("", MODEL.sub("", text)))
    seen = "\n".join(seen)
    return {line for line in secret if line not in seen}


def test_nothing_in_the_pack_gives_a_test_or_an_answer_away(built):
    secret = assignments()
    assert len(secret) > 300
    answers = {
        c["metadata"]["course"]["predict"] for n in LESSONS.values() for c in n["cells"] if "course" in c["metadata"]
    }
    texts = [path for path in (built / "pack").rglob("*") if path.suffix in (".ipynb", ".html", ".md")]
    assert len(texts) >= 3 * len(PLANS)
    for path in texts:
        text = path.read_text(encoding="utf-8")
        words = json.dumps(text)[1:-1] if path.suffix != ".ipynb" else text
        plain = "\n".join(slides.text_of(c) for c in json.loads(text)["cells"]) if path.suffix == ".ipynb" else text
        assert [line for line in secret if line in plain] == [], path
        assert [answer for answer in answers if answer in plain or answer in words] == [], path
    assert not (built / "pack" / "old.txt").exists()
    assert "build/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("stem", LESSONS)
def test_the_key_has_every_question_of_the_lesson_with_its_answer(built, stem):
    cells = [cell for cell in LESSONS[stem]["cells"] if "predict" in cell["metadata"].get("course", {})]
    key = teach.key(LESSONS[stem])
    assert len(cells) >= 5 and key.count("**Key:**") == len(cells)
    assert all(f"**Key:** {cell['metadata']['course']['predict']}" in key for cell in cells)
    assert all("redict" in teach.asked(slides.text_of(cell)) or "?" in slides.text_of(cell) for cell in cells)
    page = (built / "teacher" / f"{stem}.html").read_text(encoding="utf-8")
    assert page.count("Key:") == len(cells) and teach.PRIVATE in page


@pytest.mark.parametrize("stem", LESSONS)
def test_a_students_copy_lacks_what_it_should_and_nothing_that_it_needs(built, stem):
    copy = nbformat.read(built / "pack" / "notebooks" / f"{stem}.ipynb", as_version=4)
    nbformat.validate(copy)
    whole = LESSONS[stem]["cells"]
    solved = [slides.text_of(cell) for cell in whole if "solution" in teach.tags(cell)]
    assert solved and len(copy.cells) == len(whole) - len(solved)
    kept = [cell.source for cell in copy.cells if cell.cell_type == "code"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in copy.cells)
    assert not any("course" in holder.metadata for holder in (copy, *copy.cells))
    gone = {node.name for text in solved for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert len(gone) >= len(solved)
    used = {node.id for text in kept for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert used & gone == set()
    calls = [text for text in kept if re.search(r"^\s*exercise\(", text, re.M)]
    assert len(calls) == len(solved) and not any("_solution" in text for text in kept)
    assert "solution" not in "\n".join(cell.source for cell in copy.cells)


def test_a_students_copy_runs(built, monkeypatch):
    """That of 01, to the end of section 3: four of its exercises are there, none is done."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    copy = nbformat.read(built / "pack" / "notebooks" / f"{[*LESSONS][0]}.ipynb", as_version=4)
    end = next(i for i, cell in enumerate(copy.cells) if cell.source.startswith("## 4"))
    copy.cells = copy.cells[:end]
    nbclient.NotebookClient(copy, timeout=120, resources={"metadata": {"path": str(built)}}).execute()
    said = [output.get("text", "") for cell in copy.cells for output in cell.get("outputs", ())]
    assert "".join(said).count("not done yet: ") == 4 and "".join(said).count("holds: ") > 5


@pytest.mark.parametrize("stem", LESSONS)
def test_slides_are_about_a_dozen_with_figures_and_formulas_and_no_wall_of_code(built, stem):
    page = (built / "pack" / "slides" / f"{stem}.html").read_text(encoding="utf-8")
    found = re.findall(r"<section.*?</section>", page, re.S)
    assert 10 <= len(found) <= 15
    assert sum("<img" in slide for slide in found) >= 4 and 'class="math' in page
    assert "<pre" not in page and all(re.search(r"<h[12]>[^<]", slide) for slide in found)
    assert all(len(re.sub(r"<[^>]+>|\\\[.*?\\\]", "", slide).split()) < 190 for slide in found)
    headings = [title for level, title, _ in slides.sections(LESSONS[stem]) if level == 2]
    titles = [slides.markdown(title).strip()[3:-4] for title in headings if "Exercises" not in title]
    assert all(f"<h2>{title}</h2>" in page for title in titles)


def test_arrow_keys_move_from_slide_to_slide_and_the_pdf_has_a_sheet_for_each(built):
    stem = [*LESSONS][0]
    page = built / "pack" / "slides" / f"{stem}.html"
    with launched() as browser, served(built / "pack") as origin:
        shown = browser.new_page(viewport={"width": 1280, "height": 720})
        shown.goto(f"{origin}slides/{stem}.html")
        tops = "[...document.querySelectorAll('section')].map(one => one.getBoundingClientRect().top)"
        places = []
        for key in ("ArrowRight", "PageDown", "ArrowLeft"):
            shown.keyboard.press(key)
            shown.wait_for_timeout(200)
            places.append(shown.evaluate(f"{tops}.findIndex(top => Math.abs(top) < 9)"))
    assert places == [1, 2, 1]
    teach.as_pdf(executable(), page)
    sheets = re.findall(rb"/Type\s*/Page\b(?!s)", page.with_suffix(".pdf").read_bytes())
    assert len(sheets) == page.read_text(encoding="utf-8").count("<section")


@pytest.mark.parametrize("path", PLANS, ids=[path.stem for path in PLANS])
def test_a_plan_has_two_sittings_of_ninety_minutes_made_of_the_lessons_sections(path):
    text = path.read_text(encoding="utf-8")
    (lesson,) = (notebook for stem, notebook in LESSONS.items() if stem.startswith(path.stem))
    titles = {title for level, title, _ in slides.sections(lesson) if level == 2} | {"Opening"}
    planned = set()
    for sitting in ("First", "Second"):
        rows = re.findall(
            r"^\| (\d+) \| (.+?) \|.*\| (core|extra) \|$",
            text.split(f"## {sitting} sitting")[1].split("\n## ")[0],
            re.M,
        )
        assert sum(int(minutes) for minutes, _, _ in rows) == 90
        planned |= {title for _, title, _ in rows}
    assert planned <= titles and {title for title in titles if re.match(r"\d", title)} <= planned
    for part in (
        "**In one sitting:**",
        "Where to stop and vote",
        "Let them celebrate",
        "Questions for the class",
        "An open task",
    ):
        assert part in text
    assert f"({path.name})" in (path.parent / "index.md").read_text(encoding="utf-8")


def test_the_cell_for_the_week_before_runs():
    (cell,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/teach/index.md").read_text(encoding="utf-8"), re.S)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[-1].text.endswith("ready\n")
