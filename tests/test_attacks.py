"""Submissions that cheat: none gains a point, writes a file, reads a solution, reaches a socket or harms another.

tests/assignments/attacks/ has one file an attack. Its first line says what it tries; it is either the code of a cell,
in place of the answer to a step (`step: ...`, else split), or has a function `submit` that makes what is handed in.
All are marked by the README's own command, in two courses side by side, each with honest submissions before, between
and behind them. Each attack that says `wins without: ...` is tried once more with that defence taken out, and has to
win; that is done first, while the marking, which waits for many a time limit, runs.
"""

import ast
import contextlib
import csv
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest

pytest.importorskip("nbgrader", reason="needs nbgrader: uv run --group classroom pytest tests/test_attacks.py")
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # it calls alembic

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "notebooks" / "assignments"
ATTACKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests/assignments/attacks").glob("*.py")}
PS1 = "ps1_layout_and_density"
STEPS = {"split": 3, "covariance": 3, "normal": 4, "diagnose": 4}  # those that are marked here, and their points
sys.path.insert(0, str(COURSE))

import grade  # noqa: E402  the teacher's script
import locked  # noqa: E402
import wire  # noqa: E402
from nbconvert.filters import markdown2html_mistune as shown  # noqa: E402

WHY = locked.can_lock()
needs_lock = pytest.mark.skipif(bool(WHY), reason=f"attacks are run where they can be locked in, and {WHY}")
HONEST = "a_honest", "m_honest", "z_honest"
SECONDS = 10  # of a cell, in these tests
SECRET = "the teacher's secret"


def says(name, key):
    found = re.search(rf"^{key}: (.+)$", ast.get_docstring(ast.parse(ATTACKS[name])), re.M)
    return found and found[1]


def winners(defence):
    return sorted(name for name in ATTACKS if says(name, "wins without") == defence)


def is_cell(name):
    return "\ndef submit(" not in ATTACKS[name]


# ---- Two courses, one run each


def shorter(notebook):
    """ps1 with the steps that the attacks use and no others: each of some sixty submissions takes less long."""
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type != "code"
        or not (cell.metadata.nbgrader.grade or cell.metadata.nbgrader.solution)
        or grade.step_of(cell.metadata.nbgrader.grade_id) in STEPS
    ]
    notebook.metadata.hidden = ["helpers/arguments.py"]  # as ps4 hides three others, which take longer to import
    return notebook


@contextlib.contextmanager
def released(folder):
    """A released course, with a service that listens on two sockets."""
    shutil.copytree(COURSE / "source" / PS1, folder / "source" / PS1)
    source = next((folder / "source" / PS1).glob("*.ipynb"))
    nbformat.write(shorter(nbformat.read(source, as_version=4)), source)
    for file in COURSE.glob("*.py"):
        shutil.copy(file, folder)
    assert grade.course(folder).generate_assignment(PS1)["success"]
    (folder / "submitted" / "ps1").mkdir(parents=True)
    heard, tcp, unix = [], socket.socket(), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    with contextlib.chdir(folder):  # the name of a socket must be short
        unix.bind("service.sock")

    def listen(door):
        door.listen()
        with contextlib.suppress(OSError):
            while True:
                line, _ = door.accept()
                heard.append(line.recv(100))

    for door in (tcp, unix):
        threading.Thread(target=listen, args=[door], daemon=True).start()
    yield {"folder": folder, "port": tcp.getsockname()[1], "heard": heard}
    tcp.close()
    unix.close()


HALVES = [sorted(ATTACKS)[::2], sorted(ATTACKS)[1::2]]


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    with released(tmp_path_factory.mktemp("c")) as one, released(tmp_path_factory.mktemp("c")) as other:
        yield one, other


@pytest.fixture(scope="module")
def marking(courses):
    """Begun, and not waited for."""
    begun = [begin(course, names) for course, names in zip(courses, HALVES, strict=True)]
    yield begun
    for process, said, _ in begun:
        process.kill()
        process.wait()
        said.close()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Another one, in which nothing is marked."""
    with released(tmp_path_factory.mktemp("c")) as another:
        yield another


def cell_of(name, course):
    text = ATTACKS[name].replace("COURSE", str(course["folder"])).replace("PORT", str(course["port"]))
    return text.replace("WITNESS", str(course["folder"] / f"witness-{name}"))


def read(kind, course):
    return nbformat.read(next((course["folder"] / kind / PS1).glob("*.ipynb")), as_version=4)


def with_answer(notebook, step, code):
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.grade_id == f"ps1-{step}":
            cell.source = code
    return notebook


def hand_in(name, course):
    inbox, release = course["folder"] / "submitted" / "ps1", read("release", course)
    if is_cell(name):
        notebook = with_answer(release, says(name, "step") or "split", cell_of(name, course))
    else:
        notebook = runpy.run_path(str(ROOT / "tests/assignments/attacks" / f"{name}.py"))["submit"](
            inbox, name, release, course["folder"]
        )
    if notebook:
        (inbox / f"{name}.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")


def files(folder):
    """What must stay as it is: everything but what marking writes."""
    kept = [folder / "source", folder / "release", folder / "submitted"]
    listed = [path for top in kept for path in sorted(top.rglob("*")) if path.is_file() and path.stat().st_size < 10**7]
    written = "gradebook.db", "marks.csv", "copies", "autograded", "__pycache__"
    top = [path for path in folder.iterdir() if path.name not in written]
    return {path: path.read_bytes() for path in listed} | {path: None for path in top}


def marks(folder):
    table = {}
    with open(folder / "marks.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert list(row) == [*grade.COLUMNS]
            table.setdefault(row["student"], {})[row["step"]] = row["points"] and float(row["points"])
    return table


def begin(course, names):
    """All that is handed in to a course; the command that marks it, running; and what all files were before."""
    folder = course["folder"]
    inbox, honest = folder / "submitted" / "ps1", read("release", course)
    for cell in read("source", course).cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.solution:
            with_answer(honest, grade.step_of(cell.metadata.nbgrader.grade_id), cell.source)
    honest.cells[-1].source = "In my own words."
    honest = nbformat.writes(honest)
    for student in HONEST:
        (inbox / f"{student}.ipynb").write_text(honest, encoding="utf-8")
    for name in names:
        hand_in(name, course)
    (inbox / "\uff41_honest.ipynb").write_text(honest, encoding="utf-8")  # the same name to whoever reads it
    before = files(folder)
    command = [sys.executable, "grade.py", "mark", PS1, "submitted/ps1", "--cell-seconds", str(SECONDS)]
    environment = os.environ | {"TEACHERS_SECRET": SECRET}
    said = tempfile.TemporaryFile("w+", encoding="utf-8")
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    return process, said, before


@pytest.fixture(scope="module")
def marked(courses, marking, tmp_path_factory):
    """The report and the marks of each half of the attacks."""
    found = []
    for course, (process, report, before) in zip(courses, marking, strict=True):
        process.wait(1200)
        report.seek(0)
        said = report.read()
        assert process.returncode == 1, said
        time.sleep(1.5)  # for what a child that stayed behind would do
        changed = files(course["folder"]).items() ^ before.items()
        found.append(course | {"said": said, "marks": marks(course["folder"]), "changed": changed})
    said = "".join(half["said"] for half in found)
    (tmp_path_factory.getbasetemp() / "report.txt").write_text(said, encoding="utf-8")
    return found


def report(marked, name):
    """The lines of the report about a student."""
    lines, mine, found = marked["said"].splitlines(), False, []
    for line in lines:
        if line.startswith("["):
            mine = re.match(rf"\[\d+/\d+\] {name} ", line) is not None
        if mine and not line.startswith(("Not marked", f"{len(lines)} of")):
            found.append(line)
    return found


@needs_lock
def test_the_marking_begins(marking):
    """And runs while the tests below do; the last ones here look at what it said."""
    assert [process.poll() for process, *_ in marking] == [None, None]


def test_catalogue_of_attacks():
    assert len(ATTACKS) >= 25
    for name in ATTACKS:
        assert says(name, "wins without") in {None, "judge", "lock", "reader", "output"}


# ---- Each defence taken out once


@pytest.mark.parametrize("name", winners("judge"))
def test_without_the_judge_it_wins(name, course):
    """The checks run as nbgrader runs them, in the student's own kernel."""
    step, kernel = says(name, "step") or "split", locked.Kernel(not WHY)
    try:
        kernel.ready()
        passed = []
        for cell in read("source", course).cells:
            info = cell.metadata.get("nbgrader", {})
            if cell.cell_type == "code" and (not info.grade_id.startswith("ps1-") or info.locked and not info.grade):
                kernel.run(cell.source, 60)
            elif cell.cell_type == "code" and grade.step_of(info.grade_id) == step:
                outputs, error, _ = kernel.run(cell.source if info.grade else cell_of(name, course), 30)
                failed = error or any(output.output_type == "error" for output in outputs)
                passed += [info.grade_id] if info.grade and not failed else []
        assert passed
    finally:
        kernel.close()


@pytest.fixture
def other(course, tmp_path):
    """A folder like the course's, to be spoilt."""
    shutil.copytree(course["folder"] / "source", tmp_path / "source")
    shutil.copy(course["folder"] / "gradebook.db", tmp_path)
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "a_honest.ipynb").write_text("honest", encoding="utf-8")
    (tmp_path / "service.sock").symlink_to(course["folder"] / "service.sock")
    return course | {"folder": tmp_path}


@pytest.mark.skipif(os.name == "nt", reason="the attacks are written for a Unix")
@pytest.mark.parametrize("name", winners("lock"))
def test_without_the_lock_it_wins(name, other, monkeypatch):
    monkeypatch.setenv("TEACHERS_SECRET", SECRET)
    book, heard = other["folder"] / "gradebook.db", len(other["heard"])
    witness, before = other["folder"] / f"witness-{name}", book.read_bytes()
    kernel = locked.Kernel(protected=False)
    try:
        kernel.ready()
        outputs, _, _ = kernel.run(cell_of(name, other), 30)
        for _ in range(4):  # so that what is to run at its end runs; IPython's kernel does not always hear it at once
            kernel.client.shutdown()
            with contextlib.suppress(subprocess.TimeoutExpired):
                kernel.process.wait(15)
                break
        time.sleep(1.5)
    finally:
        kernel.close()
    shown = json.dumps(outputs)
    told = SECRET in shown or "BEGIN SOLUTION" in shown
    assert told or witness.exists() or len(other["heard"]) > heard or book.read_bytes() != before


def test_without_the_reader_a_link_hands_in_the_solution(course, tmp_path, monkeypatch):
    release = read("release", course)
    runpy.run_path(str(ROOT / "tests/assignments/attacks/link_to_the_solution.py"))["submit"](
        tmp_path, "eve", None, course["folder"]
    )
    with pytest.raises(ValueError, match="a link or a device"):
        grade.read_submission(tmp_path / "eve.ipynb", release)
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)
    assert "BEGIN SOLUTION" in nbformat.writes(grade.read_submission(tmp_path / "eve.ipynb", release)[0])


def test_without_care_what_is_put_out_acts(course, monkeypatch, tmp_path):
    """A script reaches the page, a control code the terminal, a formula the spreadsheet."""
    content = {"data": {"text/html": "<script>", "text/plain": "an object"}, "metadata": {}}
    assert locked._output("display_data", content).data == {"text/plain": "an object"}
    notebook = runpy.run_path(str(ROOT / "tests/assignments/attacks/terminal_codes.py"))["submit"](
        tmp_path, "eve", read("release", course), None
    )
    (tmp_path / "eve.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    remark = grade.read_submission(tmp_path / "eve.ipynb", read("release", course))[1][0]
    monkeypatch.setattr(grade, "plain", str)
    bare = grade.read_submission(tmp_path / "eve.ipynb", read("release", course))[1][0]
    assert "\x1b" not in remark and "\x1b" in bare
    text = "[a](javascript:alert(1)) ![b](http://x.org/b.png) [c][1]\n\n[1]: javascript:alert(2)\n\n"
    text += "$\\href{javascript:x}{y}$"
    assert shown(text).count('="javascript:') == 2 and '<img src="http' in shown(text)
    made = shown(locked.inert(text + "\n\n<b onclick='x'>d</b> $a<b$\n\n```mermaid\ngraph TD\n```"))
    assert not re.search(r'="javascript:|href="http|<img|\\href|<b onclick|mermaid', made) and "graph TD" in made
    assert locked.inert("$x_{1}\\in[0, 1]$, see [the course] (p. 3)") == "$x_{1}\\in[0, 1]$, see [the course] (p. 3)"
    for fetches in (
        "<img src=x>",
        "<div onclick='x'>",
        "<script>",
        "<style>@import 'x'",
        "<p style='background:url(x)'>",
    ):
        assert locked._acts("text/html", fetches), fetches
    for seen in ("<table><thead><tr><th>a</th></tr></thead></table>", "<div><style scoped>.d {}</style></div>"):
        assert not locked._acts("text/html", seen), seen
    grade.write_csv(tmp_path / "x.csv", [{"answer": "=1+1"}], ["answer"])
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").split() == ["answer", "=1+1"]
    assert "\n =1+1" in (tmp_path / "x.csv").read_text(encoding="utf-8")


# ---- What goes over


@pytest.mark.parametrize(
    "text",
    [
        {"pickle": "gASVAAAA"},
        {"array": ["|O", [1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [10**12], ""]},
        {"distribution": ["Popen", {"dict": [["args", "ls"]]}]},
        {"made": ["standard_prior", {"list": []}, "1", []]},
        {"list": {"dict": []}},
        [1, 2],
        {"list": [], "tuple": []},
    ],
)
def test_what_no_result_looks_like_is_refused(text):
    with pytest.raises((ValueError, AttributeError, TypeError)):
        wire.decode(text)


def test_values_come_back_as_they_were_and_nothing_of_their_own_comes_with_them():
    array = np.arange(6.0).reshape(2, 3).T
    for value in (array, np.float32(2.5), np.int64(3), (1, [2.0, None], {"a": True}), "x", 1 + 2j, np.array(["full"])):
        again = wire.decode(json.loads(json.dumps(wire.encode(value))))
        assert type(again) is type(value)
        np.testing.assert_equal(again, value)

    class Yes(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

    assert Yes("a") == "b" and wire.decode(wire.encode(Yes("a"))) != "b"
    assert type(wire.decode(wire.encode(np.ma.masked_array([1.0, 2.0])))) is np.ndarray
    with pytest.raises(TypeError, match="expected arrays, numbers or collections of them, got a object"):
        wire.encode([object()])


def test_a_model_that_would_read_a_file_is_refused(tmp_path, monkeypatch):
    import tensorflow as tf

    (tmp_path / "solution").write_text("BEGIN SOLUTION", encoding="utf-8")
    wire.MODELS.append(
        lambda x: tf.strings.length(tf.io.read_file(str(tmp_path / "solution"))) + 0 * tf.cast(x, tf.int32)
    )
    told = wire.decode(wire.encode(wire.graph_of(len(wire.MODELS) - 1, "float32", (), {})))
    model, x = wire.Model(wire.encode({"number": 0})), tf.constant(0.0)
    with pytest.raises(ValueError, match="operations that cannot be sent: ReadFile, StringLength"):
        model._read(x, *told)
    monkeypatch.setattr(wire, "OPERATIONS", [*wire.OPERATIONS, "ReadFile", "StringLength"])
    assert int(model._read(x, *told)[2](x)[0]) == len("BEGIN SOLUTION")  # without that defence


# ---- What the marking said


@needs_lock
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_attack_gains_nothing_and_is_named(marked, name):
    marked = marked[name in HALVES[1]]
    lines = report(marked, name)
    assert len(lines) >= 1
    assert "NOT MARKED" in lines[0] or len(lines) > 1 and lines[1].startswith("        "), lines
    assert not is_cell(name) or "NOT MARKED" not in lines[0]  # all its other steps are marked
    points = marked["marks"].get(name, {})
    assert not any(points.values()), points
    file = marked["folder"] / "autograded" / name / PS1 / "ps1.ipynb"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    outputs = [o for c in (nbformat.reads(text, 4).cells if text else ()) for o in c.get("outputs", ())]
    shown = json.dumps([output for output in outputs if output.output_type != "error"])
    for secret in ("BEGIN SOLUTION", "_hidden", SECRET, "text/html"):
        assert secret not in shown
    assert not (marked["folder"] / f"witness-{name}").exists()
    seconds = int(re.search(r"\((\d+) s\)$", lines[0])[1])
    assert seconds < 20 * SECONDS  # a limit of the marker's that is told, and no measure of speed


@needs_lock
@pytest.mark.parametrize("half", [0, 1])
def test_who_is_honest_gets_what_is_deserved_and_nothing_else_changed(marked, half):
    marked = marked[half]
    for student in HONEST:
        assert marked["marks"][student] == STEPS | {"written": ""}
        assert len(report(marked, student)) == 1, report(marked, student)
    assert marked["changed"] == set() and marked["heard"] == []
    assert "\uff41_honest: a second file" in marked["said"]
    assert "\x1b" not in marked["said"]


@needs_lock
def test_written_answers_run_in_no_spreadsheet_and_can_be_read_back(marked):
    marked = marked["formula_for_the_spreadsheet" in HALVES[1]]
    with contextlib.chdir(marked["folder"]):
        assert grade.main(["written"]) == 0
        rows = grade.read_csv("written.csv")
        answer = next(row["answer"] for row in rows if row["student"] == "formula_for_the_spreadsheet")
        assert answer.startswith(" =") and "(cut" in answer
        assert grade.main(["enter", "written.csv"]) == 0
        Path("written.csv").unlink()
