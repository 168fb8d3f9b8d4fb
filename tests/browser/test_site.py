"""The site in a real browser: built as the README says, then every page of it held to the rules of site_checks.py."""

import copy
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import launched, need, skip_reason

NEEDS = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline", "playwright", "axe_playwright_python")
need(*NEEDS)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import lessons  # noqa: E402
from site_checks import pages, site_problems  # noqa: E402

LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
RULES = ("loading", "origin", "formulas", "pictures", "reference", "links", "light", "dark", "width")
ADDRESS = "https://github.com/example/course"
SECONDS = 150  # what a build takes on a busy machine, with room to spare
WIDGET = {
    "cell_type": "code",
    "execution_count": None,
    "id": "panel",
    "metadata": {"tags": ["widget"]},
    "source": "plotting.live(draw)",
    "outputs": [{"output_type": "display_data", "metadata": {}, "data": {lessons.WIDGET_VIEW: {"model_id": "panel"}}}],
}


def course(folder):
    """A copy of what the site is made of, so that building it writes nothing into the checkout."""
    for part in ("docs", "notebooks"):
        generated = shutil.ignore_patterns("__pycache__", *(("notebooks", "generated") if part == "docs" else ()))
        shutil.copytree(ROOT / part, folder / part, ignore=generated)
    for part in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / part, folder)
    return folder


def start(folder, address):
    """The README's command, begun in a copy of the course."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"uv run --group docs sphinx-build (.*)", readme)
    return subprocess.Popen(
        [sys.executable, "-m", "sphinx", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"REPOSITORY_URL": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(build, folder):
    output = build.communicate(timeout=4 * SECONDS)[0]
    assert build.returncode == 0, output
    assert "execution_mode='off'" in output
    return folder / "build" / "site"


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Two sites: the course as it is, and one with an address and a marked notebook."""
    plain, marked = (course(tmp_path_factory.mktemp(name)) for name in ("plain", "marked"))
    path = marked / "notebooks" / f"{LESSONS[0]}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    output = next(
        o for cell in notebook["cells"] for o in cell.get("outputs", []) if "holds: " in "".join(o.get("text", ""))
    )
    output["text"] = "holds: this text is stored, and no run would print it\n"
    opening = notebook["cells"][0]
    opening["source"] = [*opening["source"], "\n\n[code](../helpers/layout.py), [file](../environment.yml)"]
    notebook["cells"].append(WIDGET)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    both = [(start(folder, address), folder) for folder, address in ((plain, ""), (marked, ADDRESS))]
    return [finished(build, folder) for build, folder in both]


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def found(builds, browser):
    return site_problems(browser, builds[0])


def text_of(site, stem):
    return (site / "notebooks" / f"{stem}.html").read_text(encoding="utf-8")


def test_the_site_has_its_pages(builds):
    site, _ = builds
    expected = {"index.html", "answer.html", "helpers.html", "search.html", "notebooks/assignments/README.html"}
    assert expected | {f"notebooks/{stem}.html" for stem in LESSONS} <= {*pages(site)}


@pytest.mark.parametrize("rule", RULES)
def test_every_page_keeps_the_rule(found, rule):
    assert {name: sentences for name, sentences in found[rule].items() if sentences} == {}


def test_no_rule_is_left_out(found):
    assert sorted(found) == sorted(RULES)


def test_formulas_are_there_to_be_typeset(builds, browser):
    assert all('class="math' in text_of(builds[0], stem) for stem in LESSONS)


def test_search_finds_a_word_of_a_lesson(builds, browser):
    from site_checks import served

    with served(builds[0]) as origin:
        page = browser.new_page()
        page.goto(f"{origin}search.html?q=responsibilities")
        page.wait_for_selector("#search-results li a")
        links = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
        page.close()
    assert any(f"notebooks/{LESSONS[0]}.html" in link for link in links)


@pytest.mark.parametrize("stem", LESSONS)
def test_stored_outputs_and_their_text_alternatives_are_shown(builds, stem):
    page = text_of(builds[0], stem)
    for cell in json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert f'alt="{output["metadata"]["image/png"]["alt"]}"' in html.unescape(page)
    assert page.count("holds: ") > 10 and "Show a solution" in page
    assert "widget-view" not in page and "requirejs" not in page and "require.js" not in page


def test_the_landing_page_shows_every_lesson(builds):
    page = (builds[0] / "index.html").read_text(encoding="utf-8")
    for stem in LESSONS:
        assert re.search(rf'href="notebooks/{stem}.html">(<span[^>]*>)?<img alt="[^"]{{40,}}', page), stem
    words = " ".join(html.unescape(re.sub("<[^>]+>", "", page)).split()).replace("’", "'")
    rows = re.findall(
        r"^\| \[(.+?)\]\(notebooks/(.+?)\.ipynb\) \| (.+?) \| (.+?) \|$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.M,
    )
    assert [stem for _, stem, _, _ in rows] == LESSONS
    for title, _, question, minutes in rows:
        assert re.sub("[*`]", "", f"{title} {question} {minutes} minutes") in words
    assert "pip install uv && uv run jupyter lab notebooks" in words and "pip install uv && uv run pytest" in words


@pytest.mark.parametrize("stem", LESSONS)
def test_buttons_follow_the_address(builds, stem):
    plain, marked = builds
    for target in (
        f"https://mybinder.org/v2/gh/example/course/HEAD?urlpath=lab/tree/notebooks/{stem}.ipynb",
        f"https://colab.research.google.com/github/example/course/blob/HEAD/notebooks/{stem}.ipynb",
        f"{ADDRESS}/blob/HEAD/notebooks/{stem}.ipynb",
    ):
        assert f'href="{target}"' in text_of(marked, stem)
    plain_buttons = text_of(plain, stem).split("article-header-buttons", 1)[1].split("jb-print-docs-body", 1)[0]
    assert "href=" not in plain_buttons and "fullscreen" in plain_buttons


@pytest.mark.parametrize("stem", LESSONS)
def test_a_lesson_can_be_downloaded_as_it_is_stored(builds, stem):
    page = text_of(builds[0], stem)
    (link,) = re.findall(r'<a class="[^"]*download[^"]*" download="" href="([^"]+)"', page)
    stored = (builds[0] / "notebooks" / link).resolve()
    assert stored.name == f"{stem}.ipynb" and stored.read_bytes() == (ROOT / "notebooks" / stored.name).read_bytes()


def test_every_helper_is_in_the_reference(builds):
    page = (builds[0] / "helpers.html").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "helpers").glob("[a-z]*.py")}
    assert len(modules) >= 6 and {*re.findall(r'<section id="module-helpers\.(\w+)">', page)} == modules


def test_pages_that_are_no_notebooks_have_their_source_too(builds):
    index = (builds[1] / "index.html").read_text(encoding="utf-8")
    assert f'href="{ADDRESS}/blob/HEAD/docs/index.md"' in index and "mybinder.org/v2" not in index
    teachers = (builds[1] / "notebooks" / "assignments" / "README.html").read_text(encoding="utf-8")
    assert f'href="{ADDRESS}/blob/HEAD/notebooks/assignments/README.md"' in teachers


def test_no_notebook_is_run_and_a_panel_is_no_dead_output(builds):
    page = text_of(builds[1], LESSONS[0])
    assert "holds: this text is stored, and no run would print it" in page
    assert "Sliders stand here, live in JupyterLab, Binder or Colab." in page and "Show the code of the sliders" in page
    assert "widget-view" not in page and "widget-state" not in page
    assert 'href="../helpers.html#layout"' in page and f'href="{ADDRESS}/blob/HEAD/environment.yml"' in page


def test_links_to_files_that_are_no_pages_keep_their_words():
    text = "[02](02_high_dimensional_tril.ipynb), [top](../README.md), [file](../environment.yml#L3), [here](#x)"
    kept = "[02](02_high_dimensional_tril.ipynb), [top](../index.md), {}, [here](#x)"
    assert lessons.mended_links(text, "notebooks") == kept.format("file")
    assert lessons.mended_links(text, "notebooks", ADDRESS) == kept.format(
        f"[file]({ADDRESS}/blob/HEAD/environment.yml#L3)"
    )


def test_the_notebook_that_is_copied_stays_as_it_is():
    notebook = {"cells": [copy.deepcopy(WIDGET)]}
    shown = lessons.for_the_site(notebook, "any")[0]["cells"]
    assert notebook == {"cells": [WIDGET]}
    assert [cell["cell_type"] for cell in shown] == ["markdown", "code"] and shown[1]["outputs"] == []


# A page that keeps every rule, and what breaks each of them, alone.
PAGE = """<!doctype html><html lang="en"><head><title>Page</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<style>body, a {{ color: #000; background: #fff }}
@media (prefers-color-scheme: dark) {{ body, a {{ color: #fff; background: #000 }} }}
</style></head><body><main><h1 id="top-of-page">Page</h1>
<p>It costs $5, or 6 $, and <code>\\frac</code> is code.
<a href="#top-of-page">Up</a>, <a href="page.html">again</a></p>
<img alt="A dot." src="{dot}">{extra}</main></body></html>"""
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
FIELD = """<dl class="py function"><dt class="sig" id="f">{signature}</dt><dd>
<dl class="field-list"><dt>{field}<span class="colon">:</span></dt><dd>{body}</dd></dl></dd></dl>"""
BROKEN = {
    "status": ('<script src="missing.js"></script>', "loading", "status: 404"),
    "script": ("<script>throw new Error('no')</script>", "loading", "script: no"),
    "console": ("<script>console.error('no')</script>", "loading", "console: no"),
    "outside script": ('<script src="https://example.com/a.js"></script>', "origin", "https://example.com/a.js"),
    "outside font": (
        "<style>@font-face {font-family: f; src: url(https://example.com/f.woff)} h1 {font-family: f}</style>",
        "origin",
        "f.woff",
    ),
    "no MathJax": ('<p class="math">\\(x\\)</p>', "formulas", "not typeset"),
    "error in TeX": (
        '<p class="math"><mjx-container><mjx-merror>no</mjx-merror></mjx-container></p>',
        "formulas",
        "no",
    ),
    "dollars": ("<p>Draw $x_n$ first.</p>", "formulas", "TeX: Draw $x_n$"),
    "command": ("<p>Then \\Sigma.</p>", "formulas", "TeX: Then"),
    "in a fold": ("<details><summary>More</summary><p>$$x$$</p></details>", "formulas", "TeX: $$x$$"),
    "empty alternative": (
        f'<img alt="" src="{DOT}">',
        "pictures",
        "no text alternative",
    ),
    "name for an alternative": (f'<img alt="a.png" src="{DOT}">', "pictures", "no text alternative"),
    "broken picture": ('<img alt="None." src="data:image/png;base64,AAAA">', "pictures", "no picture"),
    "attribute split": (
        FIELD.format(signature="x: ndarray", field="Type", body="<p>float64</p>"),
        "reference",
        "float64",
    ),
    "return split": (FIELD.format(signature="f()", field="Return type", body="<p>A tuple</p>"), "reference", "A tuple"),
    "error split": (
        FIELD.format(signature="f()", field="Raises", body="<p><strong>Whatever it likes</strong> - no</p>"),
        "reference",
        "no error: f: Whatever it likes",
    ),
    "parameter split": (
        FIELD.format(
            signature="f(<em class='sig-param'>x=1</em>)",
            field="Parameters",
            body="<ul><li><p><strong>x</strong> - one</p></li><li><p><strong>then y</strong> - two</p></li></ul>",
        ),
        "reference",
        "no parameter: f: then y",
    ),
    "signature lost": (
        FIELD.format(signature="f(*args, **kwargs)", field="Returns", body="<p>One.</p>"),
        "reference",
        "no signature: f",
    ),
    "dead page": ('<a href="other.html">Other</a>', "links", "no such page: other.html"),
    "dead place": ('<a href="page.html#nowhere">Other</a>', "links", "no such place: page.html#nowhere"),
    "pale": (
        "<style>i {color: #ccc} @media (prefers-color-scheme: dark) {i {color: #fff}}</style><i>pale</i>",
        "light",
        "color-contrast",
    ),
    "dim": (
        "<style>@media (prefers-color-scheme: dark) {i {color: #333}}</style><i>dim</i>",
        "dark",
        "color-contrast",
    ),
    "wide": ('<div style="width: 500px">wide</div>', "width", "on a screen of 390"),
}


def broken_site(folder, extra):
    (folder / "page.html").write_text(PAGE.format(dot=DOT, extra=extra), encoding="utf-8")
    return folder


def test_a_good_page_keeps_every_rule(browser, tmp_path):
    found = site_problems(browser, broken_site(tmp_path, ""))
    assert found == {rule: {"page.html": []} for rule in found} and sorted(found) == sorted(RULES)


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_can_fail(browser, tmp_path, name):
    extra, rule, says = BROKEN[name]
    found = site_problems(browser, broken_site(tmp_path, extra))
    broken = {rule: of_page["page.html"] for rule, of_page in found.items() if of_page["page.html"]}
    assert [*broken] == [rule] and any(says in sentence for sentence in broken[rule]), broken


def test_what_is_missing_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    says = skip_reason("no_such_module")
    assert "apt-get install chromium" in says and "no_such_module" in says and "\n" not in says
    assert "uv run --group docs --group browser pytest tests/browser" in says
