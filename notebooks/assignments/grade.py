"""Mark a folder of submissions, write the points as CSV, take in those given by hand. README.md has every command.

Nothing here writes to a submission: what is run and marked is a copy, in copies/.
"""

import argparse
import copy
import csv
import json
import re
import sys
import time
import warnings
from pathlib import Path

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbgrader.api import MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from traitlets.config import PyFileConfigLoader

COURSE = Path(__file__).resolve().parent
NAME = re.compile(r"[\w-][\w.@-]*")  # of a student: it becomes the name of a folder
COLUMNS = ("student", "assignment", "step", "points", "of")


class ExecuteToTheEnd(Execute):
    """nbgrader's run of a notebook, which goes on where a cell has killed the kernel or will not be stopped."""

    def _get_timeout(self, cell):
        seconds = super()._get_timeout(cell)
        return 3 * seconds if seconds and cell is not None and self._is_ours(cell) else seconds

    @staticmethod
    def _is_ours(cell):
        """Imports and data: slow on a cold machine, and no fault of the student."""
        info = cell.metadata.get("nbgrader", {})
        return bool(info.get("locked")) and not info.get("grade")

    def preprocess(self, nb, resources=None, km=None):
        self.left_out = set()
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type != "code":
            return cell, resources
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
            name = "CellTimeoutError" if self._timed_out(cell) and not self._answers() else None
        except (DeadKernelError, CellTimeoutError) as error:  # the latter where even the interrupt was swallowed
            name = type(error).__name__
        if name:
            text = "the kernel died, or did not stop, in this cell; it was started again for the cells below"
            cell.outputs = [nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])]
        if self._is_ours(cell) and (name or self._timed_out(cell)):
            cell_id = cell.metadata.nbgrader.grade_id
            raise RuntimeError(f"{cell_id}, which only imports or loads, did not end: try more --cell-seconds")
        if name:
            self.left_out.add(index)
            self._start_again(index)
        return cell, resources

    @staticmethod
    def _timed_out(cell):
        return any(output.get("ename") == "CellTimeoutError" for output in cell.outputs)

    def _answers(self):
        try:
            run_sync(self.kc.wait_for_ready)(timeout=10)
        except RuntimeError:  # it does not answer
            return False
        return True

    def _start_again(self, index):
        """A new kernel, and in it every cell above but those that stopped one, their outputs thrown away."""
        run_sync(self.km.restart_kernel)(now=True)
        run_sync(self.kc.wait_for_ready)(timeout=60)
        for i, cell in enumerate(self.nb.cells[:index]):
            if cell.cell_type == "code" and i not in self.left_out and not self._timed_out(cell):
                self.execute_cell(copy.deepcopy(cell), i, store_history=False)


class WarningsCostNothing(NbGraderPreprocessor):
    """nbgrader gives 0 to a graded cell that writes to the error stream: a NumPy warning would cost the step."""

    def preprocess_cell(self, cell, resources, index):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                output.name = "stdout"
        return cell, resources


def course(folder=COURSE, cell_seconds=None):
    """nbgrader's own interface to the course folder, with the two preprocessors above put in.

    Args:
      folder: that holds nbgrader_config.py and source/.
      cell_seconds: instead of the time limit of the configuration.
    """
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    for execute in ("Execute", "ExecuteToTheEnd"):
        if cell_seconds:
            config[execute].timeout = cell_seconds
    config.ExecuteToTheEnd.iopub_timeout = 20  # seconds for the output of a stopped cell; 4 are few on a busy machine
    config.ExecuteToTheEnd.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    swap = {Execute: [ExecuteToTheEnd, WarningsCostNothing]}
    usual = Autograde.autograde_preprocessors.default()
    config.Autograde.autograde_preprocessors = [new for pp in usual for new in swap.get(pp, [pp])]
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
    text = file.read_bytes()
    if not text.strip():
        raise ValueError("the file is empty")
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except ValueError:
        raise ValueError("not a notebook: the file is no JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError("not a notebook: it has no list of cells")
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

    remarks, place = [], -1  # place: of the last cell of the release that is there
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
            notebook.cells[place].metadata.nbgrader = copy.deepcopy(original.metadata.nbgrader)
        elif is_graded(original) or not original.metadata.nbgrader["solution"]:
            place += 1
            notebook.cells.insert(place, copy.deepcopy(original))
            if is_graded(original):
                remarks.append(f"cell {grade_id} was missing and has been put back")
    notebook.nbformat, notebook.nbformat_minor = release.nbformat, release.nbformat_minor
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
        if entry.is_dir():
            inside = sorted(file for file in entry.rglob("*.ipynb") if ".ipynb_checkpoints" not in file.parts)
            named = [file for file in inside if file.stem == stem] or inside
            found += [(entry.name, file) for file in named] or [(entry.name, None)]
        else:
            found.append((entry.stem, entry))
    return found


def mark(api, assignment, folder, again=False, say=print):
    """Mark every submission of a folder.

    Args:
      api: of `course`.
      assignment: name of the folder in source/.
      folder: what students have sent, one file or one folder a student.
      again: mark also what has been marked already and has not changed.
      say: function for one line of progress or report.

    Returns:
      {student: what went wrong} for the submissions that could not be marked.

    Raises:
      ValueError: for an assignment or a folder that is not there.
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
    handed_out, broken, seen = nbformat.read(release, as_version=4), {}, set()
    everyone = submissions(folder, stem)
    for number, (student, file) in enumerate(everyone, start=1):
        begin, remarks = time.perf_counter(), []
        try:
            if student in seen:
                raise ValueError(f"a second file of {student}: the first one was taken")
            seen.add(student)
            if not NAME.fullmatch(student):
                raise ValueError("the name of the file is that of the student: letters, digits, . _ @ - only, please")
            if file is None:
                raise ValueError("no notebook in the folder")
            notebook, remarks = read_submission(file, handed_out)
            outcome = _mark_one(api, root, assignment, stem, student, notebook, again)
        except Exception as error:  # one submission must never stop the others
            broken.setdefault(student, str(error) or type(error).__name__)
            outcome = f"NOT MARKED: {error}"
        name = file.name if file else "-"
        say(f"[{number}/{len(everyone)}] {student} ({name}): {outcome} ({time.perf_counter() - begin:.0f} s)")
        for remark in remarks:
            say(f"        {remark}")
    say(f"{len(everyone) - len(broken)} of {len(everyone)} marked" + (". Not marked:" if broken else "."))
    for student, why in broken.items():
        say(f"  {student}: {why}")
    return broken


def _mark_one(api, root, assignment, stem, student, notebook, again):
    target = root / "copies" / student / assignment / f"{stem}.ipynb"
    marked = root / "autograded" / student / assignment / f"{stem}.ipynb"
    text = nbformat.writes(notebook)
    newest = max(path.stat().st_mtime for path in (root / "release" / assignment).iterdir())
    if not again and marked.exists() and target.exists() and marked.stat().st_mtime > newest:
        if target.read_text(encoding="utf-8") == text:
            return "marked before, not changed since"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    result = api.autograde(assignment, student, force=True, create=True)
    if not result["success"]:
        _forget_unmarked(api, assignment, student)
        told = "\n".join(result.get(key) or "" for key in ("log", "error"))
        reasons = re.findall(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*", told, re.M)
        raise RuntimeError(f"nbgrader stopped: {reasons[0] if reasons else told.strip()[-200:]}")
    rows = [row for row in marks(api, assignment) if row["student"] == student]
    earned = sum(row["points"] for row in rows if row["points"] != "")
    by_hand = [row["step"] for row in rows if row["points"] == ""]
    lost = [row["step"] for row in rows if row["points"] != "" and row["points"] < row["of"]]
    text = f"{earned:g} of {sum(row['of'] for row in rows):g} points"
    text += f"; lost some in: {', '.join(lost)}" if lost else ""
    return text + (f"; to be marked by hand: {', '.join(by_hand)}" if by_hand else "")


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


def marks(api, assignment=None):
    """Rows {student, assignment, step, points, of}, one a step; points are "" until a step is marked by hand."""
    table = {}
    with api.gradebook as gradebook:
        for student, name, grade in _grades(gradebook, assignment):
            key = (student, name, step_of(grade.name))
            row = table.setdefault(key, {**dict(zip(COLUMNS, key, strict=False)), "points": 0.0, "of": 0.0})
            row["of"] += grade.max_score
            given = _given(grade)
            row["points"] = "" if given is None or row["points"] == "" else row["points"] + given
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
            rows.append(
                {**dict(zip(COLUMNS, values, strict=True)), "answer": getattr(cells.get(grade.name), "source", "")}
            )
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
    """Rows as CSV, under the names of the columns."""
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
            broken = mark(api, options.assignment, options.folder, options.again, lambda line: print(line, flush=True))
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
    except (ValueError, OSError) as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
