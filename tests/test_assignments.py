"""The graders are marked themselves: by right answers, by wrong ones, and by what teachers find in a mailbox.

What runs how:
- The teacher's own commands, as the assignments' README has them, run on a folder of made-up submissions of ps1;
  test_attacks.py does the same with submissions that cheat. One of these is a patchwork: each of its steps carries
  another accident (a syntax error, an endless loop, a tampered test, a step left out, ...), which is sound because the
  steps do not build on each other. The other assignments are marked by nbgrader on two submissions, such that the
  reference solution of each step is in one of them at least.
- The catalogue in tests/assignments/ is batched: it runs in this process, which has imported TensorFlow already, in a
  namespace of its own: all code cells of the source notebook in their order, answers of the catalogue in place of the
  reference solutions, the hidden tests included, and a graded cell that raises earns nothing, as with nbgrader.
  One run takes a case of each step, and each case is run once: a case holds imports and one function and nothing else
  (that is tested), so it cannot reach another step. A submission of each assignment with two catalogue mistakes holds
  this batched marker to nbgrader's own marks.
"""

import ast
import concurrent.futures
import contextlib
import copy
import csv
import io
import itertools
import json
import linecache
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest

pytest.importorskip(
    "nbgrader", reason="the graders' own tests need nbgrader: uv run --group classroom pytest tests/test_assignments.py"
)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # it calls alembic

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "notebooks" / "assignments"
CASES = ROOT / "tests" / "assignments"
SOURCES = {path.stem: path for path in sorted((COURSE / "source").glob("*/*.ipynb"))}
README = (COURSE / "README.md").read_text(encoding="utf-8")
sys.path.insert(0, str(COURSE))

import grade  # noqa: E402  the teacher's script
import locked  # noqa: E402
from grade import step_of  # noqa: E402

# Where kernels cannot be locked in, the marks are the same. What the lock is for, test_attacks.py tests.
UNPROTECTED = " --unprotected" if locked.can_lock() else ""

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", re.S)
SOLUTION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", re.S)


TRAINS = {"prior", "encoder", "network"}  # steps of ps3 and ps4 that take seconds


# ---- The notebooks and the catalogue


def read(ps):
    return nbformat.read(SOURCES[ps], as_version=4)


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def code_steps(ps):
    """{step: full marks} of the steps that are marked by running them."""
    steps = {}
    for cell in read(ps).cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.grade:
            step = step_of(grade_id(cell))
            steps[step] = steps.get(step, 0) + cell.metadata.nbgrader.points
    return steps


def solutions(ps):
    """{step: code} of the reference solutions."""
    cells = [cell for cell in read(ps).cells if cell.cell_type == "code" and cell.metadata.nbgrader.solution]
    return {step_of(grade_id(cell)): cell.source for cell in cells}


def case(path):
    """A file of the catalogue -> its step, the points of the step that it keeps, its code."""
    text = path.read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(text))
    keeps = re.search(r"^keeps: (\d+)$", doc, re.M)
    return re.search(r"^step: (.+)$", doc, re.M)[1], int(keeps[1]) if keeps else None, text


def catalogue(kind):
    files = sorted(CASES.glob(f"{kind}/*/*.py"))
    return [pytest.param(path.parent.name, path, id=f"{path.parent.name}-{path.stem}") for path in files]


def rounds(kind):
    """The catalogue, so that each case is run once and a run takes one case of each step: the steps do not build on
    each other, and a case cannot reach another's."""
    found = []
    for ps in SOURCES:
        by_step = {}
        for path in sorted(CASES.glob(f"{kind}/{ps}/*.py")):
            by_step.setdefault(case(path)[0], []).append(path)
        for number, paths in enumerate(itertools.zip_longest(*by_step.values()), 1):
            found.append(pytest.param(ps, [path for path in paths if path], id=f"{ps}-{number}"))
    return found


def batched_marks(ps, answers):
    """Points by step where `answers` {step: code} stand in place of the reference solutions."""
    namespace, points = {"__name__": "__main__"}, {step: 0 for step in code_steps(ps)}
    for number, cell in enumerate(read(ps).cells):
        if cell.cell_type != "code":
            continue
        step, info, passed = step_of(grade_id(cell)), cell.metadata.nbgrader, True
        source = answers.get(step, cell.source) if info.solution else cell.source
        name = f"<{ps} cell {number} {abs(hash(source))}>"
        # tf.function reads it
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
            with silence[0], silence[1], warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(source, name, "exec"), namespace)
        except Exception:  # an answer may raise anything
            passed = False
        if info.grade and passed:
            points[step] += info.points
    return points


# ---- The teacher's way, once for each assignment


def run(command, folder, check=True):
    """A command of the README in a process of its own, without the `uv run --group classroom` in front."""
    words = command.removeprefix("uv run --group classroom ").split()
    head = {"nbgrader": [sys.executable, "-m", "nbgrader"], "python": [sys.executable]}[words[0]]
    done = subprocess.run([*head, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=900)
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def grade_py(command, folder, capsys):
    """A command of grade.py in this process, for those that run no notebook: exit code, output, error output."""
    with contextlib.chdir(folder):
        code = grade.main(command.split("grade.py ")[1].split())
    return code, *capsys.readouterr()


def readme_command(needle, ps="ps1"):
    """The command of the README that holds `needle`, for another assignment if asked."""
    commands = [line for line in README.splitlines() if line.startswith("uv run --group classroom ")]
    command = next(line for line in commands if needle in line).replace("submitted/ps1", f"submitted/{ps}")
    command += UNPROTECTED * ("grade.py mark" in command)
    return command.replace(SOURCES["ps1"].parent.name, SOURCES[ps].parent.name)


def course_copy(folder):
    shutil.copytree(COURSE / "source", folder / "source")
    for file in COURSE.glob("*.py"):
        shutil.copy(file, folder)
    return folder


class Renamed(ast.NodeTransformer):
    """Every local name of a function gets another one: what a student does who renames variables."""

    def __init__(self, tree):
        self.local = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    def visit_Name(self, node):
        return ast.Name(f"my_{node.id}", node.ctx) if node.id in self.local else node


def renamed(source):
    tree = ast.parse(source)
    return ast.unparse(ast.fix_missing_locations(Renamed(tree).visit(tree)))


def submission(ps, answers, change=None):
    """The release with answers {step: code} filled in; a step that is not named keeps its stub."""
    notebook = nbformat.read(RELEASES[ps], as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.solution and step_of(grade_id(cell)) in answers:
            cell.source = answers[step_of(grade_id(cell))]
    if change:
        change(notebook)
    return nbformat.writes(notebook)


RELEASES = {}
SECONDS = {"ps1": 30, "ps2": 20}  # of a cell, in these tests; three times as much for imports
TWO_MISTAKES = {  # but for ps1 of steps that are right in the patchwork, which spoils the first five
    "ps1": ("mixture_underflow", "normal_missing_normaliser"),
    "ps2": ("batch_copies_the_factors", "curves_gap_at_the_best"),
    "ps3": ("encoder_prior_frozen", "bound_overflow"),
    "ps4": ("region_one_level_for_all", "em_guesses_taken_for_numbers"),
}


def patchwork(ps):
    """Code by step, a function that spoils the notebook, and the points that each step deserves."""
    full, answers = code_steps(ps), {step: renamed(code) for step, code in solutions(ps).items()}
    syntax, loop, tampered, left_out, other_name, cell_gone = [*full][:6]
    answers[syntax] = answers[syntax].replace("return", "retrun it", 1)
    function = re.search(r"def (\w+)\((.*)\):", solutions(ps)[loop])
    in_a_function = f"def {function[1]}({function[2]}):\n    while True:\n        pass\n"
    loops = {"ps1": in_a_function, "ps2": "while True:\n    pass\n"}  # the former meets the limit twice
    answers[loop] = loops.get(ps, "1 / 0\n")
    answers[tampered] = re.sub(r"(def .*:\n)[\s\S]*", r"\1    return 0\n", answers[tampered])
    answers[other_name] = answers[other_name].replace("def ", "def my_")
    talks = [*full][-1]
    answers[talks] = re.sub(r"(def .*:\n)", r"\1    import sys\n    print('hm', file=sys.stderr)\n", answers[talks])

    def spoil(notebook):
        gone = f"{ps}-{left_out}", f"{ps}-{cell_gone}-2"
        notebook.cells = [cell for cell in notebook.cells if grade_id(cell) not in gone]
        for cell in notebook.cells:
            if step_of(grade_id(cell)) == tampered and cell.metadata.nbgrader.grade:
                cell.source = "pass"
                cell.metadata.nbgrader.points = 1000

    return answers, spoil, {**full, **dict.fromkeys((syntax, loop, tampered, left_out, other_name), 0)}


def two_mistakes(ps):
    return dict(case(CASES / "mistakes" / ps / f"{name}.py")[::2] for name in TWO_MISTAKES[ps])


def prepared(ps, folder):
    """A course folder that has released an assignment, and got a folder of submissions."""
    course_copy(folder)
    assignment = SOURCES[ps].parent.name
    inbox = folder / "submitted" / ps
    (inbox / "mistakes").mkdir(parents=True)
    release = RELEASES[ps] = folder / "release" / assignment / f"{ps}.ipynb"
    if ps == "ps1":
        run(readme_command("generate_assignment"), folder)
        for name, text in whole_mailbox(release).items():
            (inbox / name).write_bytes(text)
        (inbox / "nobody").mkdir()
    else:
        assert grade.course(folder).generate_assignment(assignment)["success"]
    answers, spoil, _ = patchwork(ps)
    (inbox / "patchwork.ipynb").write_text(submission(ps, answers, spoil), encoding="utf-8")
    mistaken = submission(ps, {**solutions(ps), **two_mistakes(ps)})
    (inbox / "mistakes" / f"{ps}.ipynb").write_text(mistaken, encoding="utf-8")
    before = {path: path.read_bytes() for path in inbox.rglob("*") if path.is_file()}
    return {"ps": ps, "folder": folder, "inbox": inbox, "before": before}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """{ps: its course folder, and the marking that has been begun}: one at a time, while other tests run."""
    courses = {ps: prepared(ps, tmp_path_factory.mktemp(ps)) for ps in sorted(SOURCES)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for ps, course in courses.items():
            command = f"{readme_command('grade.py mark', ps)} --cell-seconds {SECONDS.get(ps, 45)}"
            course["marking"] = pool.submit(run, command, course["folder"], check=False)
        yield courses
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module", params=sorted(SOURCES))
def marked(request, begun):
    """The course folder after a teacher has released an assignment and marked a folder of submissions."""
    course = begun[request.param]
    done = course["marking"].result()
    assert done.returncode == (course["ps"] == "ps1"), (
        done.stdout + done.stderr
    )  # not all of that mailbox can be marked
    return course | {"said": done.stdout, "marks": read_marks(course["folder"])}


def whole_mailbox(release):
    """{name of a file: its bytes}: what comes in besides, right and untouched, and what cannot be marked."""
    kills = "import os\nos._exit(1)\n"
    stays = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass\n"
    dies = {**solutions("ps1"), "weights": kills, "match": stays}
    other = next(path for name, path in SOURCES.items() if name != "ps1")
    untouched = release.read_bytes()
    return {
        "reference.ipynb": submission("ps1", solutions("ps1"), answer_in_words).encode(),
        "untouched.ipynb": untouched,
        "dies.ipynb": submission("ps1", dies).encode(),
        "empty.ipynb": b"",
        "letter.docx": b"PK\x03\x04 Dear teacher",
        "list.ipynb": b"[1, 2, 3]",
        "half.ipynb": untouched[:5000],
        "another.ipynb": other.read_bytes(),
        "lesson.ipynb": next((ROOT / "notebooks").glob("01_*.ipynb")).read_bytes(),
        "two words.ipynb": untouched,
        "reference.txt": untouched,
    }


ONE = pytest.mark.parametrize("marked", ["ps1"], indirect=True)  # what no assignment has of its own


def answer_in_words(notebook):
    for cell in notebook.cells:
        if grade_id(cell).endswith("-written"):
            cell.source = "Because nothing that sees its point is a density."


def read_marks(folder):
    """{student: {step: (points, of)}} of marks.csv; points None where they are not given yet."""
    table = {}
    with open(folder / "marks.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            expected = ["student", "assignment", "step", "points", "of", *(["unprotected"] * bool(UNPROTECTED))]
            assert list(row) == expected
            points = float(row["points"]) if row["points"] else None
            table.setdefault(row["student"], {})[row["step"]] = points, float(row["of"])
    return table


def by_code(marks, ps):
    return {step: points for step, (points, _) in marks.items() if step in code_steps(ps)}


def test_the_marking_begins(begun):
    """And runs while the tests below do; the last ones here look at what it said."""
    assert not begun["ps1"]["marking"].done()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("mark ps9 .", f"expected one of {sorted(path.parent.name for path in SOURCES.values())}, got 'ps9'"),
        ("mark ps1_layout_and_density nowhere", "expected a folder of submissions, got 'nowhere'"),
        ("mark ps1_layout_and_density .", "has not been released"),
        ("enter nothing.csv", "nothing.csv"),
    ],
)
def test_a_command_that_cannot_be_is_refused_in_one_sentence(tmp_path, capsys, command, says):
    course = course_copy(tmp_path)
    (course / "source" / ".ruff_cache").mkdir(exist_ok=True)
    code, _, error = grade_py(f"grade.py {command}", course, capsys)
    assert code == 2 and error.startswith("grade.py: ") and says in error and error.count("\n") == 1


# ---- The teacher's desk: grade.py around a marker that needs no kernel


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = course_copy(tmp_path_factory.mktemp("desk"))
    result = grade.course(folder).generate_assignment(SOURCES["ps1"].parent.name)
    assert result["success"], result
    return folder


@pytest.fixture
def desk(released, tmp_path, monkeypatch):
    """A released course, two submissions, and in place of nbgrader's run full marks for the code, or a failure."""
    folder, assignment = tmp_path / "course", SOURCES["ps1"].parent.name
    shutil.copytree(released, folder)
    release = folder / "release" / assignment / "ps1.ipynb"
    monkeypatch.setitem(RELEASES, "ps1", release)
    inbox = folder / "submitted" / "ps1"
    inbox.mkdir(parents=True)
    for student in ("ada", "bob"):
        (inbox / f"{student}.ipynb").write_text(submission("ps1", {}, answer_in_words), encoding="utf-8")
    (inbox / ".DS_Store").touch()  # what file managers leave behind is no student
    asked, fails = [], set()

    def autograde(api, assignment, student, force=False, create=False):
        assert force and create
        asked.append(student)
        with api.gradebook as gradebook:
            gradebook.update_or_create_student(student)
            entry = gradebook.update_or_create_submission(assignment, student)
            if student in fails:  # as nbgrader: the submission is entered before it is run
                return {"success": False, "log": "[ERROR] ...\nRuntimeError: the cell\n", "error": ""}
            for given in entry.notebooks[0].grades:
                by_hand = given.cell.cell_type == "markdown"
                given.auto_score, given.needs_manual_grade = None if by_hand else given.max_score, by_hand
            gradebook.db.commit()
        here, there = (folder / name / student / assignment / "ps1.ipynb" for name in ("copies", "autograded"))
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, there)
        return {"success": True, "log": "", "error": ""}

    monkeypatch.setattr(grade.NbGraderAPI, "autograde", autograde)
    monkeypatch.setattr(grade, "can_lock", lambda: "")
    return {"folder": folder, "inbox": inbox, "release": release, "asked": asked, "fails": fails}


def test_marking_again_takes_what_changed_what_is_released_anew_or_all(desk, capsys):
    def asked(options=""):
        desk["asked"].clear()
        code, said, _ = grade_py(readme_command("grade.py mark") + options, desk["folder"], capsys)
        assert code == 0 and said.count("marked before, not changed since") == 2 - len(desk["asked"])
        assert ("is newer than its release" in said) == edited
        return list(desk["asked"])

    edited = False
    assert asked() == ["ada", "bob"]
    assert asked() == []
    assert asked(" --again") == ["ada", "bob"]
    (desk["inbox"] / "bob.ipynb").write_text(submission("ps1", {"weights": "pass\n"}), encoding="utf-8")
    assert asked() == ["bob"]
    later = time.time() + 60
    os.utime(desk["release"], (later, later))
    assert asked() == ["ada", "bob"]
    source = next((desk["folder"] / "source").glob("ps1*/*.ipynb"))
    os.utime(source, (later + 60, later + 60))
    edited = True
    assert asked() == ["ada", "bob"]


def test_a_submission_that_nbgrader_could_not_run_has_no_rows_and_marks_that_stand_are_kept(desk, capsys):
    desk["fails"].add("ada")
    code, said, _ = grade_py(readme_command("grade.py mark"), desk["folder"], capsys)
    assert code == 1 and "  ada: nbgrader stopped: RuntimeError: the cell" in said
    assert read_marks(desk["folder"]).keys() == {"bob"}
    desk["fails"].add("bob")
    assert grade_py(readme_command("grade.py mark") + " --again", desk["folder"], capsys)[0] == 1
    assert by_code(read_marks(desk["folder"])["bob"], "ps1") == code_steps("ps1")


@pytest.mark.parametrize(
    ("delimiter", "points", "encoding"), [(",", "2.5", "utf-8"), (";", "2,5", "utf-8"), (";", "2,5", "utf-8-sig")]
)
def test_points_are_taken_in_as_spreadsheets_write_them(desk, capsys, delimiter, points, encoding):
    folder = desk["folder"]
    grade_py(readme_command("grade.py mark"), folder, capsys)
    grade_py(readme_command("grade.py written"), folder, capsys)
    with open(folder / "written.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["points"] for row in rows] == ["", ""] and "density" in rows[0]["answer"]
    rows[0]["points"] = points
    rows[1]["answer"] = 'two lines;\n"and" a comma, and é'
    with open(folder / "written.csv", "w", encoding=encoding, newline="") as file:
        table = csv.DictWriter(file, rows[0], delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    assert grade.read_csv(folder / "written.csv") == rows
    code, said, _ = grade_py(readme_command("grade.py enter"), folder, capsys)
    assert code == 0 and "1 answers entered" in said
    for wrong in ("nan", "inf", "-0.5", "3,5"):
        with pytest.raises(ValueError, match="line 3: points: expected a number from 0 to 3, got"):
            grade.enter(grade.course(folder), [rows[0] | {"points": 1}, rows[1] | {"points": wrong}])
    entered = read_marks(folder)
    assert entered["ada"]["written"] == (2.5, 3.0) and entered["bob"]["written"] == (None, 3.0)
    with grade.course(folder).gradebook as gradebook:
        waiting = {
            s.student_id for s in gradebook.assignment_submissions(SOURCES["ps1"].parent.name) if s.needs_manual_grade
        }
    assert waiting == {"bob"}  # what nbgrader's own pages would ask for


def test_where_nothing_can_be_locked_in_marking_stops_with_one_line_or_says_so_in_the_marks(desk, capsys, monkeypatch):
    monkeypatch.setattr(grade, "can_lock", lambda: "this machine has no user namespaces")
    command = readme_command("grade.py mark").removesuffix(UNPROTECTED)
    code, said, error = grade_py(command, desk["folder"], capsys)
    assert code == 2 and error.count("\n") == 1 and desk["asked"] == []
    for word in ("this machine has no user namespaces", "bubblewrap", "Dockerfile", "--unprotected"):
        assert word in error
    code, said, _ = grade_py(command + " --unprotected", desk["folder"], capsys)
    assert code == 0 and "without a lock" in said
    grade_py("grade.py export", desk["folder"], capsys)

    def how():
        with open(desk["folder"] / "marks.csv", encoding="utf-8", newline="") as file:
            return {(row["student"], row.get("unprotected")) for row in csv.DictReader(file)}

    assert how() == {("ada", "marked unprotected"), ("bob", "marked unprotected")}
    monkeypatch.setattr(grade, "can_lock", lambda: "")
    (desk["inbox"] / "bob.ipynb").unlink()
    desk["asked"].clear()
    assert grade_py(command, desk["folder"], capsys)[0] == 0
    assert desk["asked"] == ["ada"]  # unchanged, but marked without the lock before
    assert how() == {("ada", ""), ("bob", "marked unprotected")}


def book(desk, *orders):
    """Changes in the gradebook, as nobody but nbgrader should make them."""
    with contextlib.closing(sqlite3.connect(desk["folder"] / "gradebook.db")) as gradebook:
        for order in orders:
            gradebook.execute(order)
        gradebook.commit()


TAMPERED = {
    "update grade set auto_score = 99": "99.0 points, where 0 to",
    "update grade set auto_score = -1": "-1.0 points, where 0 to",
    "update grade set manual_score = 1683": "1683.0 points, where 0 to",
    "update grade set extra_credit = 1": "points, where 0 to",
    "update grade_cells set max_score = 99": "99.0 points, where 0 to",
}


def test_points_that_cannot_be_had_are_refused_at_every_door(desk, capsys, monkeypatch):
    folder, assignment = desk["folder"], SOURCES["ps1"].parent.name
    assert grade_py(readme_command("grade.py mark"), folder, capsys)[0] == 0
    api, file = grade.course(folder), folder / "gradebook.db"
    rows, good, honest = grade.written(api), file.read_bytes(), grade.marks(api)
    doors = {
        "mark": lambda: grade.mark(api, assignment, desk["inbox"], again=True, say=str),
        "enter": lambda: grade.enter(api, rows),
        "export": lambda: grade.marks(api),
    }
    for order, says in TAMPERED.items():
        book(desk, order)
        for door, goes_through in doors.items():
            with pytest.raises(grade.GradebookError, match=says):
                goes_through()
                pytest.fail(f"{door} let {order!r} through")
        before = (folder / "marks.csv").read_bytes()
        code, _, error = grade_py(readme_command("grade.py export"), folder, capsys)
        assert code == 2 and error.splitlines()[-1].startswith("grade.py: gradebook.db: ")
        assert (folder / "marks.csv").read_bytes() == before
        with monkeypatch.context() as without:
            without.setattr(grade, "_refuse", lambda *args: None)
            assert grade.marks(api) != honest or "extra" in order  # which goes into nbgrader's own totals
        file.write_bytes(good)


CHANGES = {
    "update grade set auto_score = 0 where auto_score > 0": "grade of ada",
    "update grade set manual_score = 3 where auto_score is null": "points by hand",
    "update source_cell set source = 'pass'": "source_cell",
    "insert into student (id) values ('eve')": "student of eve",
}


@pytest.mark.parametrize("when", ["while bob was marked", "between two submissions"])
def test_a_gradebook_that_changed_under_the_marking_is_refused(desk, capsys, monkeypatch, when):
    """Ada has been marked; what then comes into the gradebook is none of bob's marking."""
    assert grade_py(readme_command("grade.py mark"), desk["folder"], capsys)[0] == 0
    api, file, usual, orders = grade.course(desk["folder"]), desk["folder"] / "gradebook.db", grade._mark_one, []

    def marking(api, *args):
        if when.startswith("while") and args[3] == "bob":
            book(desk, *orders)
        return usual(api, *args)

    def saying(line):
        if when.startswith("between") and " ada " in line:
            book(desk, *orders)

    monkeypatch.setattr(grade, "_mark_one", marking)
    good = file.read_bytes()
    for order, names in CHANGES.items():
        orders[:] = [order]
        with pytest.raises(grade.GradebookError, match=f"has changed {when}, where it must not: .*{names}"):
            grade.mark(api, SOURCES["ps1"].parent.name, desk["inbox"], True, saying)
        file.write_bytes(good)
        with monkeypatch.context() as without:
            without.setattr(grade, "_same", lambda *args: None)
            assert grade.mark(api, SOURCES["ps1"].parent.name, desk["inbox"], True, saying) == {}
        file.write_bytes(good)


@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
def test_a_submission_is_read_with_a_mark_at_its_start_and_cells_that_came_twice(desk):
    handed_out = nbformat.read(desk["release"], as_version=4)
    notebook = nbformat.read(desk["release"], as_version=4)
    _, twice, unnamed, *_ = (c for c in notebook.cells if c.cell_type == "code" and c.metadata.nbgrader.grade)
    answer = next(c for c in notebook.cells if c.cell_type == "code" and c.metadata.nbgrader.solution)
    older, newer = (copy.deepcopy(answer) for _ in range(2))
    older.source, newer.source = "older = 1", "newer = 1"
    at = notebook.cells.index(answer)
    notebook.cells[at : at + 1] = [older, newer]  # the same id and the same grade_id, both of them
    twice.metadata.nbgrader.points = 1000
    notebook.cells.append(copy.deepcopy(twice))
    put_back = unnamed.metadata.pop("nbgrader").grade_id  # the cell that is put back has the same id
    notebook.cells[0]["id"] = "no id, this"
    file = desk["folder"] / "eve.ipynb"
    file.write_text(json.dumps(notebook), encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    read, remarks = grade.read_submission(file, handed_out)
    for repeated in (answer, twice):
        assert f"cell {grade_id(repeated)} was there 2 times, the last one counts" in remarks
    assert [cell.source for cell in read.cells if grade_id(cell) == grade_id(answer)] == ["newer = 1"]
    assert read.metadata == handed_out.metadata  # no kernel of the student's choice
    assert [grade_id(cell) for cell in read.cells].count(grade_id(twice)) == 1
    assert grade_id(read.cells[-1]) == grade_id(twice) and read.cells[-1].metadata.nbgrader.points < 1000
    assert f"cell {put_back} was missing and has been put back" in remarks
    ids = [cell.id for cell in read.cells]
    assert len(set(ids)) == len(ids) == len(handed_out.cells) + 3
    nbformat.validate(read)


def test_cells_that_only_import_have_three_times_as_long():
    execute = grade.ExecuteToTheEnd(timeout=7)
    seconds = {}
    for cell in read("ps1").cells:
        if cell.cell_type == "code":
            info = cell.metadata.nbgrader
            seconds.setdefault((info.grade, info.solution), set()).add(execute._get_timeout(cell))
    assert seconds == {(False, False): {21}, (False, True): {7}, (True, False): {7}}
    api = grade.course(COURSE, cell_seconds=5)
    assert api.config.ExecuteToTheEnd.timeout == api.config.Execute.timeout == 5
    assert grade.course(COURSE).config.Execute.timeout == 100


# ---- The release


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Each release as generated in two course folders, in the second one twice: three versions of its bytes."""
    versions = {ps: [] for ps in SOURCES}
    for times in (1, 2):
        folder = course_copy(tmp_path_factory.mktemp("release"))
        for _ in range(times):
            for ps, path in SOURCES.items():
                result = grade.course(folder).generate_assignment(path.parent.name, force=True)
                assert result["success"], result
                versions[ps].append((folder / "release" / path.parent.name / path.name).read_bytes())
    return versions


def secrets(ps):
    """Lines of solutions, hidden tests and model answers that stand nowhere in what students may see."""
    hidden, open_text = [], []
    for cell in read(ps).cells:
        info, source = cell.metadata.nbgrader, cell.source
        if info.solution and cell.cell_type == "markdown":
            hidden.append(source)
            continue
        hidden += HIDDEN.findall(source) + SOLUTION.findall(source)
        open_text.append(SOLUTION.sub("", HIDDEN.sub("", source)))
    visible, lines = "\n".join(open_text), {line.strip() for text in hidden for line in text.splitlines()}
    return sorted(line for line in lines if len(line) > 14 and line not in visible)


@pytest.mark.parametrize("ps", SOURCES)
def test_release_gives_nothing_away(releases, ps):
    notebook = nbformat.reads(releases[ps][0].decode("utf-8"), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert len(secrets(ps)) > 60
    assert [line for line in secrets(ps) if line in text] == []
    for word in ("BEGIN SOLUTION", "HIDDEN TESTS", "_hidden", "Rubric", "Model answer"):
        assert word not in releases[ps][0].decode("utf-8")
    traces = ("outputs", "execution_count", "attachments")
    assert [cell.id for cell in notebook.cells if any(cell.get(trace) for trace in traces)] == []
    assert text.count(STUB.splitlines()[1]) >= text.count("YOUR CODE HERE") == len(code_steps(ps))
    assert all(cell.source == "YOUR ANSWER HERE" for cell in notebook.cells if grade_id(cell).endswith("-written"))


def test_release_of_assignment_4_says_which_helpers_hold_its_answers(releases):
    """These are not there when it is marked: the attack answer_from_the_helpers."""
    hidden = nbformat.reads(releases["ps4"][0].decode("utf-8"), as_version=4).metadata.hidden
    text = "\n".join(cell.source for cell in read("ps4").cells if cell.cell_type == "markdown")
    assert len(hidden) == 3 and all((ROOT / file).exists() for file in hidden)
    assert all(f"`{file[:-3].replace('/', '.')}`" in text for file in hidden)


@pytest.mark.parametrize("ps", SOURCES)
def test_release_is_the_same_to_the_byte(releases, ps):
    assert len(releases[ps]) == 3 and len(set(releases[ps])) == 1


@pytest.mark.parametrize("ps", SOURCES)
def test_form_of_an_assignment(ps):
    """6 to 10 steps, partial credit in most, visible and hidden checks, a written question, other seeds in hiding."""
    cells = [cell for cell in read(ps).cells if cell.metadata.nbgrader.grade]
    steps = code_steps(ps)
    assert 6 <= len(steps) + 1 <= 10
    graded = [step_of(grade_id(cell)) for cell in cells if cell.cell_type == "code"]
    assert all(graded.count(step) >= 2 for step in steps)
    assert [cell.cell_type for cell in cells].count("markdown") == 1
    for cell in cells:
        if cell.cell_type == "code":
            assert "HIDDEN TESTS" in cell.source and HIDDEN.sub("", cell.source).strip()
            hidden = "".join(HIDDEN.findall(cell.source))
            assert not re.search(r"\bSEED\b|\brng\b|default_rng\(1\)", hidden)


# ---- The catalogue


def test_catalogue_is_complete():
    for ps in SOURCES:
        wrong, right = (sorted((CASES / kind / ps).glob("*.py")) for kind in ("mistakes", "alternatives"))
        assert len(wrong) >= 12 and len(right) >= 4
        assert {case(path)[0] for path in wrong} == code_steps(ps).keys()  # every step is tried


@pytest.mark.parametrize(("ps", "path"), catalogue("*"))
def test_case_holds_imports_and_one_function(ps, path):
    """The one of its step: so it cannot reach another step, and need not be tried against it."""
    step, _, code = case(path)
    kinds = [type(node) for node in ast.parse(code).body[1:]]
    assert kinds.count(ast.FunctionDef) == 1 and set(kinds) <= {ast.FunctionDef, ast.Import, ast.ImportFrom}
    assert re.findall(r"^def (\w+)", code, re.M) == re.findall(r"^def (\w+)", solutions(ps)[step], re.M)


@pytest.mark.parametrize("ps", SOURCES)
def test_reference_gets_full_marks_in_the_batch_and_an_untouched_release_nothing(ps):
    stubs = {step: re.sub(SOLUTION, STUB.replace("\n", "\n    "), code) for step, code in solutions(ps).items()}
    assert batched_marks(ps, {}) == code_steps(ps)
    assert set(batched_marks(ps, stubs).values()) == {0}


# The first is marked on the reports that students see, and says so; the second on other data of the same structure.
KNOWN = {"ps1-diagnose-1", "ps2-choose-1"}


@pytest.mark.parametrize("ps", SOURCES)
def test_parrot_passes_what_is_seen_and_gets_nothing(ps):
    """Answers that know the visible checks by heart and nothing else: every hidden check has to notice."""
    seen = {}

    def learning(function):
        def answer(*args, **kwargs):
            seen[function.__name__, repr((args, kwargs))] = seen[function.__name__] = function(*args, **kwargs)
            return seen[function.__name__]

        return answer

    def parrot(function):
        return lambda *args, **kwargs: seen.get((function.__name__, repr((args, kwargs))), seen[function.__name__])

    def earned(wrap, visible_only):
        namespace, passed = {"__name__": "__main__"}, set()
        for cell in read(ps).cells:
            if cell.cell_type != "code" or step_of(grade_id(cell)) in TRAINS:
                continue
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                exec(HIDDEN.sub("", cell.source) if visible_only else cell.source, namespace)
                passed.add(grade_id(cell))
            if cell.metadata.nbgrader.solution:
                name = re.search(r"^def (\w+)", cell.source, re.M)[1]
                namespace[name] = wrap(namespace[name])
        return {grade_id(c) for c in read(ps).cells if c.metadata.nbgrader.grade and grade_id(c) in passed}

    assert len(earned(learning, visible_only=True)) >= 12
    assert earned(parrot, visible_only=False) <= KNOWN


@pytest.mark.parametrize(("ps", "paths"), rounds("mistakes"))
def test_mistakes_lose_what_they_should_and_nothing_else(ps, paths):
    """One mistake of each step at a time: each step keeps exactly its own points, among others that are wrong too."""
    answers, deserved = {}, code_steps(ps)
    for path in paths:
        step, keeps, code = case(path)
        assert keeps < deserved[step]
        answers[step], deserved[step] = code, keeps
    assert batched_marks(ps, answers) == deserved


@pytest.mark.parametrize(("ps", "paths"), rounds("alternatives"))
def test_other_right_answers_get_full_marks(ps, paths):
    cases = [case(path) for path in paths]
    assert {keeps for _, keeps, _ in cases} == {None}
    assert batched_marks(ps, {step: code for step, _, code in cases}) == code_steps(ps)


def test_order_taught_in_assignment_2_is_tfps():
    import tensorflow_probability as tfp

    namespace = {"np": np}
    exec(solutions("ps2")["fill"] + "\n" + solutions("ps2")["unfill"], namespace)
    for size in (1, 3, 10, 36):
        numbers = np.random.default_rng(size).normal(size=(2, size))
        matrix = tfp.bijectors.FillTriangular()(numbers).numpy()
        np.testing.assert_array_equal(namespace["fill_triangular"](numbers), matrix)
        np.testing.assert_array_equal(namespace["unfill_triangular"](matrix), numbers)


def test_learners_do_not_get_nbgrader():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    others = json.dumps([project["project"]["dependencies"], project["dependency-groups"]["dev"]])
    assert "nbgrader" not in others and "nbgrader" in json.dumps(project["dependency-groups"]["classroom"])
    assert "nbgrader" not in (ROOT / "environment.yml").read_text(encoding="utf-8")


# ---- What the marking said


def test_reference_solution_gets_full_marks(marked):
    """Each step of it, in the submission that is right but for two mistakes or in the patchwork, renamed."""
    ps, marks = marked["ps"], marked["marks"]
    right = [student for student in ("reference", "mistakes", "patchwork") if student in marks]
    best = {step: max(by_code(marks[student], ps)[step] for student in right) for step in code_steps(ps)}
    assert best == code_steps(ps)
    assert sum(of for _, of in marks["patchwork"].values()) == 30


@ONE
def test_a_whole_reference_solution_gets_full_marks_and_an_untouched_release_nothing(marked):
    marks = marked["marks"]["reference"]
    assert by_code(marks, "ps1") == code_steps("ps1")
    assert marks["written"] == (None, 3.0)  # a person's to give
    assert {points for points, _ in marked["marks"]["untouched"].values()} == {0.0}


def test_each_accident_costs_its_own_step_only(marked):
    """Syntax error, endless loop, tampered test, step left out, function renamed.

    Renamed variables, a deleted test cell and a note on the error stream cost nothing.
    """
    _, _, deserved = patchwork(marked["ps"])
    assert by_code(marked["marks"]["patchwork"], marked["ps"]) == deserved
    assert "was missing and has been put back" in marked["said"]


@pytest.mark.parametrize("marked", [*SECONDS], indirect=True)
def test_endless_loop_was_stopped_by_the_time_limit(marked):
    ps = marked["ps"]
    file = marked["folder"] / "autograded" / "patchwork" / SOURCES[ps].parent.name / f"{ps}.ipynb"
    outputs = [output for cell in nbformat.read(file, as_version=4).cells for output in cell.get("outputs", [])]
    names = [output.ename for output in outputs if output.output_type == "error"]
    assert "CellTimeoutError" in names and "SyntaxError" in names


def test_batched_marker_agrees_with_nbgrader(marked):
    ps = marked["ps"]
    by_nbgrader = by_code(marked["marks"]["mistakes"], ps)
    assert by_nbgrader == batched_marks(ps, two_mistakes(ps)) != code_steps(ps)


@ONE
def test_what_cannot_be_marked_is_named_and_nothing_crashes(marked):
    said, expected = (
        marked["said"],
        {
            "empty": "the file is empty",
            "letter": "not a notebook: the file is no JSON",
            "list": "not a notebook: it has no list of cells",
            "half": "not a notebook: the file is no JSON",
            "nobody": "no notebook in the folder",
            "another": "a notebook of ps",
            "lesson": "a notebook of no assignment",
            "two words": "the name of the file or folder is that of the student: letters, digits",
            "reference": "a second file of reference: reference.ipynb was taken",
        },
    )
    at_the_end = said[said.index("Not marked:") :]
    for student, why in expected.items():
        assert f"  {student}: {why}" in at_the_end
    assert marked["marks"].keys() == {"reference", "untouched", "patchwork", "mistakes", "dies"}
    assert "[1/14]" in said and "[14/14]" in said  # progress, a line each


def test_no_submission_is_touched(marked):
    now = {path: path.read_bytes() for path in marked["inbox"].rglob("*") if path.is_file()}
    assert now == marked["before"]


@ONE
def test_marked_again_only_where_something_changed(marked, capsys):
    code, said, _ = grade_py(readme_command("grade.py mark", marked["ps"]), marked["folder"], capsys)
    assert code == 1 and said.count("marked before, not changed since") == 5


@ONE
def test_a_marking_that_was_stopped_is_done_again(marked, capsys, monkeypatch):
    """nbgrader takes Ctrl-C for the failure of one submission."""

    def cut(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return {"success": False, "error": "KeyboardInterrupt", "log": ""}

    command = readme_command("grade.py mark", marked["ps"])
    with monkeypatch.context() as patch:
        patch.setattr(grade.NbGraderAPI, "autograde", cut)
        code, said, errors = grade_py(f"{command} --again", marked["folder"], capsys)
    assert code == 130 and said.count("NOT MARKED: nbgrader stopped") == 1 and "stopped." in errors
    before = read_marks(marked["folder"])
    code, said, _ = grade_py(command, marked["folder"], capsys)
    assert code == 1 and said.count("marked before, not changed since") == 4 and "5 of 14 marked" in said
    assert read_marks(marked["folder"]) == before == marked["marks"]


@ONE
def test_points_by_hand(marked, capsys):
    """written.csv holds the answers; points that cannot be are refused, all of them; right ones arrive in marks.csv."""
    folder = marked["folder"]
    assert grade_py(readme_command("grade.py written"), folder, capsys)[0] == 0
    assert grade_py(readme_command("grade.py written"), folder, capsys)[0] == 2  # would overwrite typed points
    file = folder / "written.csv"
    text = file.read_text(encoding="utf-8")
    assert "Because nothing that sees its point is a density." in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["student"]: row["points"] for row in rows}["untouched"] == "0.0"
    for points, code in (("3.5", 2), ("many", 2), ("2.5", 0)):
        for row in rows:
            row["points"] = "1" if row["student"] != "reference" else points
        grade.write_csv(file, rows, rows[0])
        assert grade_py(readme_command("grade.py enter"), folder, capsys)[0] == code
        entered = read_marks(folder)
        assert entered["reference"]["written"] == ((2.5 if code == 0 else None), 3.0)
        assert entered["patchwork"]["written"][0] == (1.0 if code == 0 else 0.0)


@ONE
def test_feedback_pages_hold_the_hidden_tests_as_the_readme_warns(marked):
    run(readme_command("generate_feedback", marked["ps"]), marked["folder"])
    page = marked["folder"] / "feedback" / "patchwork" / SOURCES[marked["ps"]].parent.name / f"{marked['ps']}.html"
    assert "_hidden" in page.read_text(encoding="utf-8") and "hidden tests" in README


@ONE
def test_totals_export(marked, capsys):
    assert grade_py(readme_command("grade.py export"), marked["folder"], capsys)[0] == 0
    run(readme_command("nbgrader export"), marked["folder"])
    with open(marked["folder"] / "grades.csv", encoding="utf-8", newline="") as file:
        totals = {row["student_id"]: float(row["max_score"]) for row in csv.DictReader(file)}
    assert totals == dict.fromkeys(("reference", "untouched", "patchwork", "mistakes", "dies"), 30.0)


@ONE
def test_kernel_that_dies_or_will_not_stop_costs_its_own_step_only(marked):
    """os._exit in one step, a loop that swallows the interrupt in another: the kernel is started again for the rest."""
    assert by_code(marked["marks"]["dies"], "ps1") == {**code_steps("ps1"), "weights": 0, "match": 0}
