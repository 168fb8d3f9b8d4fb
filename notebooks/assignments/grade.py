"""Mark a folder of submissions, write the points as CSV, take in those given by hand. README.md has every command.

Nothing here writes to a submission: what is run and marked is a copy, in copies/. locked.py runs it.
"""

import argparse
import copy
import csv
import json
import re
import signal
import stat
import sys
import time
import unicodedata
import warnings
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Base, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute
from sqlalchemy import select
from traitlets.config import PyFileConfigLoader

from locked import NEEDED, REPORTS, ExecuteToTheEnd, can_lock, plain

COURSE = Path(__file__).resolve().parent
NAME = re.compile(r"[\w-][\w.@-]*")  # of a student: it becomes the name of a folder
COLUMNS = ("student", "assignment", "step", "points", "of")
UNPROTECTED = "unprotected"  # a sixth column of marks.csv, where a submission was run without a lock
CELLS = 1000  # of a submission: nbgrader looks at each many times
LARGEST = 20_000_000  # bytes of a submission
LONGEST = 30_000  # characters of an answer in written.csv: a spreadsheet's cell has no room for more
FORMULA = re.compile(r"[=+@\t\r]|-[^\s-]")  # how a text begins that a spreadsheet would run; no list, and no rule


class GradebookError(ValueError):
    """The gradebook holds what no marking has written: nothing more is marked or written."""


def course(folder=COURSE, cell_seconds=None):
    """nbgrader's own interface to the course folder, with `ExecuteToTheEnd` in place of its own run of a notebook.

    Args:
      folder: that holds nbgrader_config.py and source/.
      cell_seconds: instead of the time limit of the configuration.
    """
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    if cell_seconds:
        config.Execute.timeout = cell_seconds
    config.ExecuteToTheEnd.timeout = config.Execute.timeout
    config.ExecuteToTheEnd.secret = [str(Path(folder).resolve())]
    usual = Autograde.autograde_preprocessors.default()
    config.Autograde.autograde_preprocessors = [ExecuteToTheEnd if pp is Execute else pp for pp in usual]
    api = NbGraderAPI(config=config)
    api.log.handlers.clear()  # what it would say goes into the report
    api.log.propagate = False
    return api


def steps_of(notebook):
    """{grade_id: cell} of the cells that nbgrader knows, in their order."""
    known = ((cell.metadata.get("nbgrader", {}).get("grade_id"), cell) for cell in notebook.cells)
    return {grade_id: cell for grade_id, cell in known if grade_id}


def is_graded(cell):
    return cell.metadata.nbgrader.get("grade", False)


def step_of(grade_id):
    """ps1-split-2 -> split: the step that a graded cell belongs to."""
    return re.fullmatch(r"[^-]+-(.+?)(-\d+)?", grade_id)[1]


def read_submission(file, release):
    """A submission made fit to be marked, in memory.

    Args:
      file: path of what came.
      release: the notebook that was handed out.

    Returns:
      The notebook, its graded cells put back where they are missing and with the metadata they were handed out with;
      and a list of remarks.

    Raises:
      ValueError: where the file cannot be marked; it says why.
    """
    if file.is_symlink() or not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("a link or a device and no file of its own")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"the file has more than {LARGEST / 1e6:.0f} MB")
    text = file.read_bytes()
    if not text.strip():
        raise ValueError("the file is empty")
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("not a notebook: the file is no JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError("not a notebook: it has no list of cells")
    if len(content["cells"]) > CELLS:
        raise ValueError(f"it has more than {CELLS} cells")
    try:
        content.setdefault("metadata", {})
        notebook = nbformat.reads(json.dumps(content), as_version=4)
        found = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells} - {None}
    except Exception as error:  # nbformat raises many kinds for what is nearly a notebook
        raise ValueError(f"not a notebook that can be read: {type(error).__name__}: {error}") from None

    handed_out = steps_of(release)
    prefix = next(iter(handed_out)).split("-")[0]
    if not found & handed_out.keys():
        others = sorted({grade_id.split("-")[0] for grade_id in found})
        is_of = f"of {', '.join(others)}" if others else "of no assignment"
        raise ValueError(f"a notebook {is_of}: none of its cells is of {prefix}")

    remarks, changed, place = [], [], -1  # place: of the last cell of the release that is there
    for grade_id, original in handed_out.items():
        here = [
            i for i, cell in enumerate(notebook.cells) if grade_id == cell.metadata.get("nbgrader", {}).get("grade_id")
        ]
        if len(here) > 1:
            remarks.append(f"cell {grade_id} was there {len(here)} times, the last one counts")
            for i in here[:-1]:
                notebook.cells[i].metadata.nbgrader = {}
        if here:
            place = here[-1]
            if not original.metadata.nbgrader["solution"]:
                cell, points = notebook.cells[place], original.metadata.nbgrader.get("points")
                if cell.source.strip() != original.source.strip() or cell.metadata.nbgrader.get("points") != points:
                    changed.append(grade_id)
                notebook.cells[place] = copy.deepcopy(original)
        elif is_graded(original) or not original.metadata.nbgrader["solution"]:
            place += 1
            notebook.cells.insert(place, copy.deepcopy(original))
            if is_graded(original):
                remarks.append(f"cell {grade_id} was missing and has been put back")
    if changed:
        remarks.append(f"changed, and restored: {', '.join(changed)}")
    notebook.nbformat, notebook.nbformat_minor = release.nbformat, release.nbformat_minor
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    if language != "python":
        remarks.append(f"it asks for a kernel of {plain(language, 40)}, and gets Python's")
    notebook.metadata = copy.deepcopy(release.metadata)  # so no kernel of the student's choice
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id and grade_id not in handed_out:
            remarks.append(f"cell {plain(grade_id)} says that it is marked, and was not handed out")
        cell.metadata = copy.deepcopy(handed_out[grade_id].metadata) if grade_id in handed_out else NotebookNode()
        if grade_id and cell.cell_type == "markdown" and (len(cell.source) > LONGEST or FORMULA.match(cell.source)):
            remarks.append(f"cell {grade_id}: too long for a table, or begins like a formula; written.csv has it tamed")
        if cell.cell_type == "raw":  # which would stand in a page as it is
            cell.cell_type = "markdown"
    ids = set()
    for i, cell in enumerate(notebook.cells):  # cells copied by hand carry the same id twice
        if cell.get("id") in ids or not re.fullmatch(r"[\w-]{1,64}", str(cell.get("id", ""))):
            cell["id"] = f"cell-{i}"
        ids.add(cell["id"])
    return notebook, remarks


def submissions(folder, stem):
    """[(student, file)]: folder/STUDENT.ipynb or any other file there, and folder/STUDENT/<stem>.ipynb."""
    found = []
    for entry in sorted(Path(folder).iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            inside = sorted(file for file in entry.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts)
            named = [file for file in inside if file.stem == stem] or inside
            found += [(entry.name, file) for file in named] or [(entry.name, None)]
        else:
            found.append((entry.stem, entry))
    return found


def mark(api, assignment, folder, again=False, say=print, protected=True):
    """Mark every submission of a folder.

    Args:
      api: of `course`.
      assignment: name of the folder in source/.
      folder: what students have sent, one file or one folder a student.
      again: mark also what has been marked already and has not changed.
      say: function for one line of progress or report.
      protected: whether each submission runs locked in.

    Returns:
      {student: what went wrong} for the submissions that could not be marked.

    Raises:
      ValueError: for an assignment or a folder that is not there, or where kernels cannot be locked in and should be.
      GradebookError: where the gradebook has changed in a way that marking does not change it.
    """
    root = Path(api.coursedir.root)
    sources = sorted((root / "source" / assignment).glob("*.ipynb"))
    if not sources:
        # A linter's or JupyterLab's own folders (.ruff_cache, .ipynb_checkpoints) lie there too.
        there = sorted(path.name for path in (root / "source").iterdir() if path.is_dir() and path.name[0] != ".")
        raise ValueError(f"assignment: expected one of {there}, got {assignment!r}")
    if not Path(folder).is_dir():
        raise ValueError(f"folder: expected a folder of submissions, got {str(folder)!r}, which is none")
    stem = sources[0].stem
    release = root / "release" / assignment / f"{stem}.ipynb"
    if not release.exists() or not _in_gradebook(api, assignment):
        raise ValueError(f"{assignment} has not been released: run `nbgrader generate_assignment {assignment}` first")
    if sources[0].stat().st_mtime > release.stat().st_mtime:
        say(f"note: source/{assignment} is newer than its release, and the release is what is marked")
    if protected and (why := can_lock()):
        raise ValueError(f"student code cannot be locked in: {why}. Install {NEEDED}; or add --unprotected")
    if not protected:
        say("note: student code runs without a lock, with all your rights; marks.csv will say so")
    handed_out, broken, seen = nbformat.read(release, as_version=4), {}, {}
    asked_for = [cell.source for cell in handed_out.cells if cell.metadata.nbgrader.get("solution")]
    api.config.ExecuteToTheEnd.functions = re.findall(r"^def (\w+)", "\n".join(asked_for), re.M)
    api.config.ExecuteToTheEnd.protected = protected
    everyone, book, count = submissions(folder, stem), _rows(api), 0
    for number, (student, file) in enumerate(everyone, start=1):
        begin, remarks, told = time.perf_counter(), [], []
        try:
            _same(book, _rows(api), "between two submissions")
            looks_like = unicodedata.normalize("NFKC", student).casefold()
            if looks_like in seen:
                raise ValueError(f"a second file of {student}: {plain(seen[looks_like])} was taken")
            seen[looks_like] = file.relative_to(folder) if file else student
            if not NAME.fullmatch(student):
                raise ValueError("the name of the file or folder is that of the student: letters, digits, . _ @ - only")
            if file is None:
                raise ValueError("no notebook in the folder")
            notebook, remarks = read_submission(file, handed_out)
            outcome, told = _mark_one(api, root, assignment, stem, student, notebook, again, protected)
            after = _rows(api)
            _same(_of_others(book, student), _of_others(after, student), f"while {student} was marked")
            book, count = after, count + 1
        except GradebookError:
            raise
        except Exception as error:  # one submission must never stop the others
            broken.setdefault(student, plain(error, 400) or type(error).__name__)
            outcome = f"NOT MARKED: {plain(error, 400)}"
            _same(_of_others(book, student), _of_others(_rows(api), student), f"while {plain(student)} was marked")
            book = _rows(api)
        name = plain(file.name) if file else "-"
        say(f"[{number}/{len(everyone)}] {plain(student)} ({name}): {outcome} ({time.perf_counter() - begin:.0f} s)")
        for remark in [*remarks, *told]:
            say(f"        {remark}")
    say(f"{count} of {len(everyone)} marked" + (". Not marked:" if broken else "."))
    for student, why in broken.items():
        say(f"  {plain(student)}: {why}")
    return broken


def _rows(api):
    """Every row of the gradebook: (table, student that it belongs to or None, values)."""
    with api.gradebook as gradebook:
        tables = {
            table.name: [tuple(row) for row in gradebook.db.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }
        grades = Base.metadata.tables["grade"].c
        by_hand = gradebook.db.execute(select(grades.id, grades.manual_score).where(grades.manual_score.is_not(None)))
        found = {("points by hand", None, tuple(row)) for row in by_hand}  # no marking may change these
    owner, column = {}, {"student": "id", "submitted_assignment": "student_id", "submitted_notebook": "assignment_id"}
    for name, link in (column | {"comment": "notebook_id", "grade": "notebook_id"}).items():
        place = [entry.name for entry in Base.metadata.tables[name].columns].index(link)
        for row in tables.pop(name):
            whose = row[0] if name == "student" else owner.get(row[place])
            if name in column:
                owner[row[0]] = whose
            found.add((name, whose, row))
    return found | {(name, None, row) for name, rows in tables.items() for row in rows}


def _of_others(rows, student):
    return {row for row in rows if row[1] != student}


def _same(before, now, when):
    if changed := before ^ now:
        names = sorted({f"{name} of {whose}" if whose else name for name, whose, _ in changed})
        raise GradebookError(
            f"gradebook.db has changed {plain(when)}, where it must not: {plain(', '.join(names))}. Nothing more is "
            "marked or written; put a copy of gradebook.db back that you trust"
        )


def _mark_one(api, root, assignment, stem, student, notebook, again, protected):
    """What the report says: a line, and remarks."""
    target = root / "copies" / student / assignment / f"{stem}.ipynb"
    marked = root / "autograded" / student / assignment / f"{stem}.ipynb"
    text = nbformat.writes(notebook)
    newest = max(path.stat().st_mtime for path in (root / "release" / assignment).iterdir())
    how = _how(api, student, assignment)
    stands = not again and how and marked.exists() and target.exists() and marked.stat().st_mtime > newest
    if stands and target.read_text(encoding="utf-8") == text and how["protected"] >= protected:
        return "marked before, not changed since", how["remarks"]
    (marked.parent / "how.json").unlink(missing_ok=True)  # there again when all is done, however this run may end
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    result = api.autograde(assignment, student, force=True, create=True)
    if not result["success"]:
        _forget_unmarked(api, assignment, student)
        told = "\n".join(result.get(key) or "" for key in ("log", "error"))
        reasons = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*", told, re.M)
        raise RuntimeError(f"nbgrader stopped: {reasons[0] if reasons else told.strip()[-200:]}")
    remarks = REPORTS.pop(student, [])
    how = json.dumps({"protected": protected, "remarks": remarks}, indent=1)
    (marked.parent / "how.json").write_text(how, encoding="utf-8")
    rows = [row for row in marks(api, assignment) if row["student"] == student]
    earned = sum(row["points"] for row in rows if row["points"] != "")
    by_hand = [row["step"] for row in rows if row["points"] == ""]
    lost = [row["step"] for row in rows if row["points"] != "" and row["points"] < row["of"]]
    text = f"{earned:g} of {sum(row['of'] for row in rows):g} points"
    text += f"; lost some in: {', '.join(lost)}" if lost else ""
    return text + (f"; to be marked by hand: {', '.join(by_hand)}" if by_hand else ""), remarks


def _how(api, student, assignment):
    """{"protected", "remarks"} of the last marking of a submission; {} where it did not come to its end."""
    file = Path(api.coursedir.root) / "autograded" / student / assignment / "how.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _forget_unmarked(api, assignment, student):
    """What nbgrader enters before it runs a notebook, and leaves behind where that fails."""
    with api.gradebook as gradebook:
        grades = [g for who, _, g in _grades(gradebook, assignment) if who == student and g.cell.cell_type == "code"]
        if grades and all(grade.auto_score is None for grade in grades):
            gradebook.remove_submission(assignment, student)


def _in_gradebook(api, assignment):
    with api.gradebook as gradebook:
        try:
            return bool(gradebook.find_assignment(assignment).notebooks)
        except MissingEntry:
            return False


def _grades(gradebook, assignment):
    """(student, assignment, grade) for each graded cell of each submission, in the order of the release."""
    for name in sorted(entry.name for entry in gradebook.assignments if assignment in (None, entry.name)):
        for submission in sorted(gradebook.assignment_submissions(name), key=lambda entry: entry.student_id):
            for notebook in submission.notebooks:
                order = [cell.name for cell in gradebook.find_notebook(notebook.name, name).source_cells]
                for grade in sorted(notebook.grades, key=lambda grade: order.index(grade.name)):
                    yield submission.student_id, name, grade


def _given(grade):
    """The points of a graded cell, those given by hand before those of its tests; None where there are none yet."""
    return grade.auto_score if grade.manual_score is None else grade.manual_score


def _most(api, assignment):
    """{grade_id: points} as the assignment was handed out; {} where it is not there any more."""
    files = (Path(api.coursedir.root) / "release" / assignment).glob("*.ipynb")
    cells = [cell for file in files for cell in nbformat.read(file, as_version=4).cells if is_graded(cell)]
    return {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points for cell in cells}


def _refuse(student, name, grade, most):
    """A GradebookError for points that no marking gives."""
    most = most.get(grade.name, grade.max_score)
    for points in (grade.auto_score, grade.manual_score, grade.extra_credit, grade.max_score):
        if not 0 <= (points or 0) <= most or (grade.extra_credit or 0) != 0 or grade.max_score != most:
            raise GradebookError(
                f"gradebook.db: {student}, {name}, cell {grade.name}: {points} points, where 0 to {most:g} can be had; "
                "nothing is written"
            )


def marks(api, assignment=None):
    """Rows {student, assignment, step, points, of}, one a step; points are "" until a step is marked by hand.

    Where a submission was run without a lock, all rows have one more column, UNPROTECTED.

    Raises:
      GradebookError: for points outside 0 to what was handed out.
    """
    table, most = {}, {}
    with api.gradebook as gradebook:
        for student, name, grade in _grades(gradebook, assignment):
            if name not in most:
                most[name] = _most(api, name)
            _refuse(student, name, grade, most[name])
            key = (student, name, step_of(grade.name))
            row = table.setdefault(key, {**dict(zip(COLUMNS, key, strict=False)), "points": 0.0, "of": 0.0})
            row["of"] += grade.max_score
            given = _given(grade)
            row["points"] = "" if given is None or row["points"] == "" else row["points"] + given
    unlocked = {key[:2] for key in table if not _how(api, *key[:2]).get("protected", True)}
    for key, row in table.items() if unlocked else ():
        row[UNPROTECTED] = "marked unprotected" if key[:2] in unlocked else ""
    return list(table.values())


def written(api, assignment=None):
    """Rows {student, assignment, step, points, of, answer}: the answers that are marked by hand."""
    rows = []
    with api.gradebook as gradebook:
        for student, name, grade in _grades(gradebook, assignment):
            if grade.cell.cell_type != "markdown":
                continue
            file = Path(api.coursedir.root) / "autograded" / student / name / f"{grade.notebook.name}.ipynb"
            cells = steps_of(nbformat.read(file, as_version=4)) if file.exists() else {}
            given = _given(grade)
            values = student, name, step_of(grade.name), "" if given is None else given, grade.max_score
            answer = getattr(cells.get(grade.name), "source", "").replace("\0", "")
            answer = answer if len(answer) <= LONGEST else answer[:LONGEST] + " ... (cut: the rest is in autograded/)"
            rows.append({**dict(zip(COLUMNS, values, strict=True)), "answer": answer})
    return rows


def enter(api, rows):
    """Take in the points of answers that were marked by hand.

    Args:
      api: of `course`.
      rows: as `written` gives them, the points filled in; rows with empty points are left alone.

    Returns:
      How many were entered. None is entered where one of them is wrong.

    Raises:
      ValueError: for an answer that is not there, or points that are no number from 0 to what it can earn.
    """
    marks(api)  # refuses a gradebook that holds what it must not
    with api.gradebook as gradebook:
        there = {
            (student, name, step_of(grade.name)): grade
            for student, name, grade in _grades(gradebook, None)
            if grade.cell.cell_type == "markdown"
        }
        entered = 0
        for number, row in enumerate(rows, start=2):
            key = tuple(row.get(column) for column in COLUMNS[:3])
            if key not in there:
                raise ValueError(
                    f"line {number}: expected an answer that is marked by hand, got {' '.join(map(str, key))}"
                )
            if str(row.get("points") or "").strip() == "":
                continue
            most = there[key].max_score
            try:
                points = float(str(row["points"]).replace(",", "."))
            except ValueError:
                points = -1.0
            if not 0 <= points <= most:
                raise ValueError(f"line {number}: points: expected a number from 0 to {most:g}, got {row['points']!r}")
            there[key].manual_score, there[key].needs_manual_grade = points, False
            entered += 1
        gradebook.db.commit()
    return entered


def write_csv(file, rows, columns=COLUMNS):
    """Rows as CSV, under the names of the columns. A text that a spreadsheet would take for a formula gets a space."""
    columns = [*columns, *(UNPROTECTED for row in rows[:1] if UNPROTECTED in row)]

    def inert(value):
        return f" {value}" if isinstance(value, str) and FORMULA.match(value) else value

    rows = [{key: inert(value) for key, value in row.items()} for row in rows]
    with open(file, "w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows(rows)


def read_csv(file):
    """The rows of a CSV file as dictionaries; commas or semicolons, as spreadsheets write them."""
    text = Path(file).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(text.splitlines(keepends=True), delimiter=";" if ";" in text.split("\n")[0] else ","))


def main(arguments=None):
    """A command of README.md. Returns 0; 1 where a submission could not be marked; 2 for a command that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    marking = commands.add_parser("mark", help="mark a folder of submissions and write marks.csv")
    marking.add_argument("assignment", help="name of the folder in source/")
    marking.add_argument("folder", help="holds STUDENT.ipynb or STUDENT/NOTEBOOK.ipynb for each student")
    marking.add_argument("--again", action="store_true", help="mark also what has been marked and has not changed")
    marking.add_argument("--unprotected", action="store_true", help="run student code with all your rights")
    marking.add_argument("--cell-seconds", type=int, help="time limit of a cell, instead of the configuration's")
    commands.add_parser("written", help="write written.csv: the answers to be marked by hand")
    entering = commands.add_parser("enter", help="take in written.csv, its points filled in, and write marks.csv")
    entering.add_argument("file")
    commands.add_parser("export", help="write marks.csv")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="nbgrader")  # of its database, at every submission
    api, broken = course(Path.cwd(), getattr(options, "cell_seconds", None)), {}
    try:
        if options.command == "mark":
            pressed = []
            signal.signal(signal.SIGINT, lambda *_: pressed.append(True) or signal.default_int_handler(*_))

            def told(line):
                print(line, flush=True)
                if pressed:  # nbgrader takes Ctrl-C for the failure of one submission
                    raise KeyboardInterrupt

            broken = mark(api, options.assignment, options.folder, options.again, told, not options.unprotected)
        elif options.command == "enter":
            print(f"{enter(api, read_csv(options.file))} answers entered")
        if options.command == "written":
            if Path("written.csv").exists():
                raise ValueError("written.csv is there already, perhaps with points in it: enter it, then move it away")
            write_csv("written.csv", written(api), (*COLUMNS, "answer"))
            print("written.csv: fill in the points, then: grade.py enter written.csv")
        else:
            write_csv("marks.csv", marks(api))
            print("marks.csv written")
    except (ValueError, OSError, csv.Error) as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("grade.py: stopped. The same command goes on where this one ended", file=sys.stderr)
        return 130
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
