"""Colab's first cell, and the command that tells the course its address: what each does, and what it leaves alone."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hygiene import problems

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "docs"))

from publish import COURSE_LINE, LINKS_LINE, publish  # noqa: E402

ADDRESS = "https://github.com/example/course.2"
COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def first_cell(folder, name):
    notebook = json.loads((folder / "notebooks" / name).read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "colab" in cell["metadata"]["tags"]
    return "".join(cell["source"])


def run(source, folder):
    return subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_first_cell_is_the_same_in_every_lesson_and_does_nothing_here(tmp_path):
    sources = {first_cell(ROOT, name) for name in LESSONS}
    assert len(sources) == 1
    done = run("import sys\nbefore = list(sys.path)\n" + sources.pop() + "\nassert sys.path == before", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and list(tmp_path.iterdir()) == []


def test_in_colab_the_first_cell_fetches_the_course_once(tmp_path):
    origin, session = tmp_path / "origin", tmp_path / "session"
    (origin / "helpers").mkdir(parents=True)
    session.mkdir()
    (origin / "helpers" / "__init__.py").write_text("FETCHED = True\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=origin, check=True)
    here = COURSE_LINE.sub(f'COURSE = "{origin.as_uri()}"', first_cell(ROOT, LESSONS[0]))
    source = COLAB + here + "\nimport helpers\nassert helpers.FETCHED"
    assert run(source, session).stderr == ""
    shutil.rmtree(origin)
    assert run(source, session).stderr == ""  # a second time nothing is fetched


def test_in_colab_a_course_without_an_address_says_how_to_get_it(tmp_path):
    source = COURSE_LINE.sub('COURSE = ""', first_cell(ROOT, LESSONS[0]))
    done = run(COLAB + source, tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and list(tmp_path.iterdir()) == []
    assert "address of its repository into COURSE" in done.stdout and "folder named course" in done.stdout
    helpers = tmp_path / "course" / "helpers"  # as uploaded by hand
    helpers.mkdir(parents=True)
    (helpers / "__init__.py").write_text("UPLOADED = True\n")
    done = run(COLAB + source + "\nimport helpers\nassert helpers.UPLOADED", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def address(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def disagreements(folder):
    """A sentence for each place of the course that does not name the address in its pyproject.toml."""
    known, found = address(folder), []
    place = known.removeprefix("https://github.com/")
    for name in LESSONS:
        text = (folder / "notebooks" / name).read_text(encoding="utf-8")
        opening = "".join(json.loads(text)["cells"][0]["source"])
        line = LINKS_LINE.search(opening)
        if bool(line) != bool(known) or line and f"gh/{place}/HEAD?urlpath=lab/tree/notebooks/{name})" not in line[0]:
            found.append(f"{name}: Binder")
        if line and f"github/{place}/blob/HEAD/notebooks/{name})" not in line[0]:
            found.append(f"{name}: Colab")
        if f'COURSE = "{known}"' not in first_cell(folder, name):
            found.append(f"{name}: first cell")
    line = LINKS_LINE.search((folder / "README.md").read_text(encoding="utf-8"))
    if (
        bool(line) != bool(known)
        or line
        and f"](https://mybinder.org/v2/gh/{place}/HEAD?urlpath=lab/tree/notebooks/)" not in line[0]
    ):
        found.append("README: Binder")
    return found


def test_the_course_names_one_address():
    assert disagreements(ROOT) == []


@pytest.fixture
def course(tmp_path):
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("assignments", ".*", "__pycache__")
    )
    return tmp_path


def texts(folder):
    return {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}


def changes(before, after):
    """({file: lines that are no longer there}, {file: lines that are new}); nothing where a file stays as it was."""
    gone, new = {}, {}
    for path in before.keys() | after.keys():
        old, now = (Counter(some.get(path, "").split("\n")) for some in (before, after))
        for lines, found in ((old - now, gone), (now - old, new)):
            if lines:
                found[path.name] = sorted(lines.elements())
    return gone, new


def test_publishing_writes_one_address_everywhere_and_nothing_else(course):
    before = texts(course)
    publish(course, ADDRESS)
    assert address(course) == ADDRESS and disagreements(course) == []
    for path, text in before.items():
        if path.suffix == ".ipynb":
            now = json.loads(path.read_text(encoding="utf-8"))
            assert {*problems(now)} <= {*problems(json.loads(text))}
    once = texts(course)
    gone, new = changes(before, once)
    if known := address(ROOT):  # a copy of the course that is published already: the address, and nothing else
        assert once == {path: text.replace(known, ADDRESS) for path, text in before.items()}
    else:
        course_line = r'    "    COURSE = \"{}\"{}\n",'
        place = ADDRESS.removeprefix("https://github.com/")
        binder = f"https://mybinder.org/v2/gh/{place}/HEAD?urlpath=lab/tree/notebooks/"
        colab = f"https://colab.research.google.com/github/{place}/blob/HEAD/notebooks/"
        assert gone == {
            name: [course_line.format("", "  # the address of the course's repository")] for name in LESSONS
        }
        expected = {"pyproject.toml": ["", "[project.urls]", f'Repository = "{ADDRESS}"']}
        expected["README.md"] = ["", f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"]
        for name in LESSONS:
            links = rf'    "Open in [Binder]({binder}{name}) · [Colab]({colab}{name})\n",'
            expected[name] = [r'    "\n",', links, course_line.format(ADDRESS, "")]
        assert new == {name: sorted(lines) for name, lines in expected.items()}
    publish(course, ADDRESS)
    assert texts(course) == once
    elsewhere = "https://github.com/somebody/else"
    publish(course, elsewhere)
    short = [text.removeprefix("https://github.com/") for text in (ADDRESS, elsewhere)]
    assert texts(course) == {path: text.replace(*short) for path, text in once.items()}


def test_a_place_that_was_forgotten_is_named(course):
    publish(course, ADDRESS)
    readme = course / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("course.2", "moved"), encoding="utf-8")
    lesson = course / "notebooks" / LESSONS[1]
    lesson.write_text(lesson.read_text(encoding="utf-8").replace("course.2", "moved"), encoding="utf-8")
    names = [f"{LESSONS[1]}: {place}" for place in ("Binder", "Colab", "first cell")]
    assert disagreements(course) == [*names, "README: Binder"]


@pytest.mark.parametrize("ending", [".git", "/", ".git/"])
def test_what_git_and_browsers_put_behind_an_address_is_no_part_of_it(course, ending):
    publish(course, ADDRESS + ending)
    assert address(course) == ADDRESS and disagreements(course) == []


WRONG = ["", "example/course", "https://example.org/course", 'https://github.com/a/b"', "http://github.com/a/b"]
WRONG += [
    "https://github.com/a/.git",
    "https://github.com/a",
    "https://github.com/a/b/tree/main",
    "git@github.com:a/b.git",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_address_changes_nothing(course, wrong):
    before = texts(course)
    with pytest.raises(ValueError, match="address: expected https://github.com/OWNER/NAME, got "):
        publish(course, wrong)
    assert texts(course) == before


def test_the_command_says_what_is_wrong(tmp_path):
    command = [sys.executable, str(ROOT / "docs" / "publish.py"), "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("address: expected")
