"""The notebooks in JupyterLab, in a real browser: opened they stay as they are, a fold opens at a click; run all, move
each control from the keyboard, see the picture change.

Everything happens in a copy, under Jupyter folders of its own: no setting of the user's is read or written.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from chromium import launched, need

need("playwright")

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
# Stored by notebooks/store.py. The others will be.
NEW_FORM = [name for name in LESSONS if '"course"' in (ROOT / "notebooks" / name).read_text(encoding="utf-8")]
# Those that are run in it: all, or the numbers that the environment names.
TO_RUN = [name for name in LESSONS if name[:2] in os.environ.get("LESSONS_IN_LAB", name[:2]).split()]
RUN_LIMIT = 900  # seconds for a notebook; on two free cores it takes a minute or two, on loaded ones several times that
# What JupyterLab itself would fetch from elsewhere.
DISABLED = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
# JupyterLab asks for a picture that is attached to a text cell as if it were a file, before it looks into the notebook.
KNOWN = ("attachment:finished.png net::ERR_UNKNOWN_URL_SCHEME", "Failed to load resource: net::ERR_UNKNOWN_URL_SCHEME")

BROKEN = """
from helpers import plotting
import ipywidgets
import matplotlib.pyplot as plt


def draw(level):
    if level > 2:
        raise ValueError(f"level: expected at most 2, got {level}")
    fig, ax = plt.subplots()
    ax.plot([0, level])
    return fig, f"A line to {level}."


plotting.live(draw, level=ipywidgets.IntSlider(2, 0, 5))
"""
STRANGE = """
from helpers import plotting
import ipywidgets
import matplotlib.pyplot as plt


def draw(level, dotted):
    fig, ax = plt.subplots()
    ax.plot([0, level], ":" if dotted else "-")
    return fig, f"A line to {level}."


plotting.live(draw, level=ipywidgets.IntSlider(2, 0, 5), dotted=ipywidgets.Checkbox(description="dotted"))
"""
IDLE = """
import ipywidgets
slider, picture = ipywidgets.IntSlider(2, 0, 5), ipywidgets.HTML('<img alt="A dot." src="data:,">')
ipywidgets.VBox([slider, picture])
"""


def widget_notebook(path, *sources):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_code_cell(source.strip(), metadata={"tags": ["widget"]}) for source in sources]
    nbformat.write(notebook, path)


class Lab:
    """A JupyterLab of its own on 127.0.0.1; `api` asks its server."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.token, self.url = secrets.token_hex(16), f"http://127.0.0.1:{self.port}"
        own = {
            name: str(folder / name.lower())
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        }
        settings = folder / "jupyter_config_dir" / "labconfig"
        settings.mkdir(parents=True)
        (settings / "page_config.json").write_text(json.dumps(DISABLED))
        options = [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={folder / 'notebooks'}",
            "--LabApp.expose_app_in_browser=True",  # so that a test can ask the page for the notebook as it stands
        ]
        self.log = open(folder / "lab.log", "w+")
        command = [sys.executable, "-m", "jupyterlab", *options]
        self.process = subprocess.Popen(
            command, env=os.environ | own, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT
        )

    def api(self, path, method="GET"):
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def wait_until_up(self):
        for _ in range(240):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                return self.api("status")
            time.sleep(0.25)
        self.log.seek(0)
        raise RuntimeError("JupyterLab did not start:\n" + self.log.read())

    def session(self, name):
        return next((one for one in self.api("sessions") if one["path"] == name and one["kernel"]), None)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for name in LESSONS:
        shutil.copy(ROOT / "notebooks" / name, folder / "notebooks")
    widget_notebook(folder / "notebooks" / "broken.ipynb", BROKEN)
    widget_notebook(folder / "notebooks" / "strange.ipynb", STRANGE)
    widget_notebook(folder / "notebooks" / "idle.ipynb", IDLE)
    widget_notebook(folder / "notebooks" / "failing.ipynb", "1 / 0", "print('never reached')")
    server = Lab(folder)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@contextlib.contextmanager
def opened(lab, browser, name):
    """The notebook in a page of its own, its kernel started; and what the page complains of meanwhile."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    page, complaints = context.new_page(), []

    def hear(kind, text):
        if not any(known in text for known in KNOWN):
            complaints.append(f"{kind}: {text}")

    page.on("console", lambda said: hear("console", said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: hear("page", str(error)))
    page.on("requestfailed", lambda request: hear("request", f"{request.url} {request.failure}"))
    try:
        page.goto(f"{lab.url}/lab/tree/{name}?reset&token={lab.token}")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
        wait(lambda: (lab.session(name) or {}).get("kernel", {}).get("execution_state") == "idle", 90, "an idle kernel")
        yield page, complaints
    finally:
        if session := lab.session(name):
            lab.api(f"sessions/{session['id']}", "DELETE")
        context.close()


def wait(holds, seconds, what):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def stored(page):
    """The notebook as it stands in the page, as JSON."""
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON()")


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def failed_cells(notebook):
    """A sentence for each cell that failed unplanned, or was not run."""
    found = []
    for position, cell in enumerate(code_cells(notebook)):
        first = "".join(cell["source"]).splitlines()[0]
        if cell["execution_count"] is None:
            found.append(f"code cell {position} was not run: {first}")
        planned = "raises-exception" in cell["metadata"].get("tags", [])
        for output in cell["outputs"]:
            if output["output_type"] == "error" and not planned:
                found.append(f"code cell {position} failed: {output['ename']}: {output['evalue']}")
            elif output.get("name") == "stderr":
                found.append(f"code cell {position} wrote to the error stream: {''.join(output['text'])[:80]}")
    return found


def run_all(page, lab, name):
    """Clear what is stored, run every cell from the menu, and wait for the server to say that the kernel is done.

    The page's own idle badge may be late; the server's word and the counts of the cells are not.
    """
    page.evaluate("() => window.jupyterapp.commands.execute('editmenu:clear-all')")
    assert all(cell["execution_count"] is None for cell in code_cells(stored(page)))
    page.get_by_role("menubar").get_by_text("Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def done():
        notebook = stored(page)
        outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
        stopped = failed_cells({"cells": [{**cell, "execution_count": 0} for cell in notebook["cells"]]}) and outputs
        counted = all(cell["execution_count"] is not None for cell in code_cells(notebook))
        return lab.session(name)["kernel"]["execution_state"] == "idle" and (counted or stopped)

    wait(done, RUN_LIMIT, f"{name} to run")


def panels(page):
    """The positions of the cells that are tagged as panels."""
    cells = stored(page)["cells"]
    return [i for i, cell in enumerate(cells) if "widget" in cell["metadata"].get("tags", [])]


# The controls that this test can move, and the widgets that are none; whatever else stands in a panel is reported.
MOVED = ".noUi-handle, select, .widget-toggle-buttons"
NO_CONTROL = ".widget-container, .widget-html, .widget-output"
UNKNOWN = """(cell, [moved, none]) => [...cell.querySelectorAll('.jupyter-widgets, .widget-html :is(input, button, a)')]
    .filter(part => !part.matches(none) && !part.matches(moved) && !part.querySelector(moved))
    .map(part => part.className || part.tagName)"""


def show_cell(page, position):
    """Scroll to a cell: JupyterLab draws no others."""
    page.evaluate(
        """async position => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = position;
            await notebook.scrollToItem(position, 'start');
        }""",
        position,
    )
    return page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{position}']")


def problems_of_panel(page, position):
    """Move each control of the panel in this cell from the keyboard.

    Returns:
      A sentence for each control that fails, and the number of controls.
    """
    cell = show_cell(page, position)

    def picture(attribute="src"):  # asked of the page in one go: it is a new element after each move
        return cell.evaluate("(cell, name) => cell.querySelector('img')?.getAttribute(name) ?? null", attribute)

    wait(picture, 20, f"the picture of cell {position}")
    found = [] if picture("alt").strip() else [f"cell {position}: no text alternative"]
    unknown = cell.evaluate(UNKNOWN, [MOVED, NO_CONTROL])
    found += [f"cell {position}: a control of a kind that this test cannot move: {kind}" for kind in unknown]
    controls = cell.locator(MOVED)
    for i in range(controls.count()):
        control = controls.nth(i)
        before = picture()
        control.scroll_into_view_if_needed()
        kinds = control.get_attribute("class") or ""
        if "noUi-handle" in kinds:
            at_end = float(control.get_attribute("aria-valuenow")) >= float(control.get_attribute("aria-valuemax"))
            control.focus()
            page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
        elif "widget-toggle-buttons" in kinds:
            control.locator("button:not(.mod-active)").first.focus()
            page.keyboard.press("Enter")
        else:
            last = control.evaluate("element => element.selectedIndex === element.length - 1")
            control.focus()
            page.keyboard.press("ArrowUp" if last else "ArrowDown")
        end = time.monotonic() + 15
        while picture() == before and time.monotonic() < end:
            time.sleep(0.05)
        where = f"cell {position}, control {i}"
        alert = cell.locator("[role=alert]")
        if alert.count():
            found.append(f"{where}: the callback failed: {alert.first.inner_text().strip().splitlines()[-1]}")
            break
        if picture() == before:
            found.append(f"{where}: its picture did not change")
    return found, controls.count()


@pytest.mark.parametrize("name", TO_RUN)
def test_lesson_runs_and_its_panels_move(lab, browser, name):
    with opened(lab, browser, name) as (page, complaints):
        attached = page.locator(".jp-Notebook .jp-MarkdownCell img").first
        wait(lambda: attached.evaluate("image => image.naturalWidth") > 0, 20, "the finished picture")
        run_all(page, lab, name)
        assert failed_cells(stored(page)) == []
        positions = panels(page)
        assert len(positions) >= 1
        for position in positions:
            found, moved = problems_of_panel(page, position)
            assert found == [] and moved >= 1
        assert complaints == []


@pytest.mark.parametrize("name", NEW_FORM)
def test_a_notebook_that_is_opened_stays_as_it_is(lab, browser, name):
    before = (ROOT / "notebooks" / name).read_bytes()
    file = lab.folder / "notebooks" / f"untouched_{name}"  # JupyterLab saves by itself what other tests run
    file.write_bytes(before)
    with opened(lab, browser, file.name) as (page, _):
        page.wait_for_timeout(3000)  # nothing announces that nothing happens
        assert not page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty")
        assert page.locator(".jp-mod-dirty").count() == 0
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        saved = "() => window.jupyterapp.shell.currentWidget.context.contentsModel.last_modified"
        assert page.evaluate(saved) and file.read_bytes() == before


def test_the_dot_of_a_change_is_seen(lab, browser):
    """The test above on a notebook that is none of the course's, into which JupyterLab writes its kernel."""
    with opened(lab, browser, "idle.ipynb") as (page, _):
        wait(lambda: page.locator(".jp-mod-dirty").count(), 20, "the dot")
        assert page.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty")


@pytest.mark.parametrize("name", NEW_FORM)
def test_a_folded_cell_opens_at_a_click(lab, browser, name):
    with opened(lab, browser, name) as (page, _):
        cells = stored(page)["cells"]
        folded = [i for i, cell in enumerate(cells) if "hide-input" in cell["metadata"].get("tags", [])]
        with_figure = next(i for i in folded if any("image/png" in o.get("data", {}) for o in cells[i]["outputs"]))
        cell = show_cell(page, with_figure)
        figure, code = cell.locator(".jp-OutputArea img").first, cell.locator(".jp-InputArea-editor")
        wait(figure.is_visible, 20, "the figure of a folded cell")
        assert not code.is_visible()
        cell.locator(".jp-InputPlaceholder .jp-Placeholder-content").click()
        wait(code.is_visible, 10, "the code of a folded cell")
        assert figure.is_visible() and cells[with_figure]["source"].splitlines()[0] in code.inner_text()


def test_a_control_of_an_unknown_kind_is_reported(lab, browser):
    with opened(lab, browser, "strange.ipynb") as (page, _):
        run_all(page, lab, "strange.ipynb")
        found, moved = problems_of_panel(page, 0)
        assert moved == 1 and len(found) == 1 and "cannot move" in found[0] and "checkbox" in found[0]


def test_a_broken_callback_is_reported(lab, browser):
    with opened(lab, browser, "broken.ipynb") as (page, _):
        run_all(page, lab, "broken.ipynb")
        assert failed_cells(stored(page)) == []
        found, moved = problems_of_panel(page, 0)
        assert moved == 1 and len(found) == 1
        assert "the callback failed: ValueError: level: expected at most 2, got 3" in found[0]


def test_a_picture_that_stands_still_is_reported(lab, browser):
    with opened(lab, browser, "idle.ipynb") as (page, _):
        run_all(page, lab, "idle.ipynb")
        found, _ = problems_of_panel(page, 0)
        assert len(found) == 1 and "did not change" in found[0]


def test_a_failed_cell_is_reported(lab, browser):
    with opened(lab, browser, "failing.ipynb") as (page, _):
        run_all(page, lab, "failing.ipynb")
        found = failed_cells(stored(page))
        assert any("ZeroDivisionError" in one for one in found) and any("not run: print" in one for one in found)


def test_a_complaint_of_the_page_is_heard(lab, browser):
    with opened(lab, browser, "idle.ipynb") as (page, complaints):
        page.evaluate("() => console.error('a deliberate complaint')")
        wait(lambda: complaints, 10, "the complaint")
        assert complaints == ["console: a deliberate complaint"]
