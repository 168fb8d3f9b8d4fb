"""Runs a submission: its cells in a kernel that is locked in, the checks in a process that they never enter.

On Linux the kernel runs inside bubblewrap: no network, no file of the teacher's, the environment read-only, one scratch
folder, limits on memory, time, processes and disk. The checks run in the judge (wire.py), which asks the kernel for the
results of the student's functions and compares plain copies of them.
"""

import contextlib
import json
import os
import queue
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Integer, List

from wire import MIME, ROOM

WIRE = Path(__file__).with_name("wire.py")
MEMORY = 4e9  # bytes of all processes of a submission together
SPACE = 8 * 2**30  # bytes of addresses of one process: TensorFlow reserves many that it never uses
DISK = 200e6  # bytes in the scratch folder; as many again in /tmp
PROCESSES = 16
UNSEEN = 12e6  # bytes that a process may take beside what its Python objects take
LISTS = 3_000_000  # brackets in a message
PRINTED = 10e6  # bytes that one cell may print or show
NEEDED = "bubblewrap (on Debian and Ubuntu: apt install bubblewrap), or mark in a container: see Dockerfile"

# Runs before the kernel, in its process: a student's code can lower these, not raise them.
LIMITS = f"""
import os, resource, sys
for name, most in (("AS", {SPACE}), ("FSIZE", {DISK:.0f}), ("CORE", 0), ("NPROC", 2000), ("NOFILE", 512)):
    kind = getattr(resource, "RLIMIT_" + name, None)
    if kind is not None and not (name == "AS" and sys.platform == "darwin"):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
if os.path.exists("/proc/self/oom_score_adj"):
    open("/proc/self/oom_score_adj", "w").write("1000")  # the first to go where memory ends
os.execvp(sys.argv[1], sys.argv[1:])
"""


def plain(text, most=200):
    """A text of a student's, fit for the terminal: one line, no control characters, no longer than `most`."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return text if len(text) <= most else text[: most - 1] + "…"


def inert(text):
    """Markdown of a student's, fit for a page: no script, no link, no picture from elsewhere."""
    text = re.sub(r"\](?=[(:[])", "] ", text)  # links and pictures, and where they are defined
    text = re.sub(r"(https?):(?=//)", r"\1: ", text, flags=re.I)  # a bare address becomes a link, too
    text = re.sub(r"\\(?=(href|url|unicode|require|style|class|cssId)\b)", r"\\ ", text)  # in formulas
    text = re.sub(r"^(\s*[>*+\-\s]*(```|~~~)+)\s*\W?mermaid", r"\1text", text, flags=re.M | re.I)  # drawn by a script
    if re.search(r"<[A-Za-z/!?]", text):
        text = SanitizeHTML(tags=["sub", "sup", "br"], attributes={}).sanitize_html_tags(text)
    return text


# ---- Locked in


def _environment():
    """Folders that hold Python and what is installed; and {link: where it leads} for links outside them on the way."""
    import helpers

    folders = [
        "/usr",
        sys.prefix,
        sys.base_prefix,
        os.path.realpath(sys.base_prefix),
        os.path.dirname(helpers.__file__),
    ]
    folders = [Path(folder) for folder in dict.fromkeys(folders) if os.path.isdir(folder) and folder != "/"]
    step, links = Path(sys.executable), {}
    while step.is_symlink() and str(step) not in links:
        if not any(step.is_relative_to(folder) for folder in folders):
            links[str(step)] = os.readlink(step)
        step = Path(os.path.normpath(step.parent / os.readlink(step)))
    return folders, links


def lock(scratch, secret=(), hidden=()):
    """The beginning of a command line that locks what follows in.

    Args:
      scratch: the one folder that can be written to.
      secret: folders that must not be seen, wherever they lie.
      hidden: modules of the course, such as "helpers/conditional.py", that hold what an assignment asks for.
    """
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/dev/shm", "/tmp"):
        words += ["--size", f"{DISK:.0f}", "--tmpfs", path]
    for path in ("/lib", "/lib32", "/lib64", "/bin", "/sbin"):
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu"):
        words += ["--ro-bind-try", path, path]
    folders, links = _environment()
    for folder in folders:
        words += ["--ro-bind", str(folder), str(folder)]
    for link, target in links.items():
        words += ["--symlink", target, link]
    for folder in secret:
        if any(Path(folder).is_relative_to(shown) for shown in folders):
            words += ["--tmpfs", str(folder)]
    for file in _hidden(hidden):
        words += ["--ro-bind", "/dev/null", str(file)]  # no module: Python imports plain files only
    for compiled in {file.parent / "__pycache__" for file in _hidden(hidden)}:  # other processes may still write there
        with contextlib.suppress(OSError):
            compiled.mkdir(exist_ok=True)
        words += ["--tmpfs", str(compiled)] if compiled.is_dir() else []
    words += ["--bind", scratch, scratch, "--chdir", scratch]
    fonts = Path(os.environ.get("MPLCONFIGDIR") or Path.home() / ".cache" / "matplotlib")
    if fonts.is_dir():  # Matplotlib's list of fonts, which takes seconds to make
        words += ["--ro-bind", str(fonts), f"{scratch}/.cache/matplotlib"]
    for name, value in _variables(scratch).items():
        words += ["--setenv", name, value]
    return words


def _hidden(modules):
    """The files of modules of the course."""
    import helpers

    return [file for module in modules if (file := Path(helpers.__file__).parents[1] / module).exists()]


def _variables(scratch):
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TZ", "PYTHONHASHSEED")}
    threads = str(min(os.cpu_count() or 1, 4))
    kept |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    inline = "module://matplotlib_inline.backend_inline"
    return kept | {"PATH": path, "HOME": scratch, "USER": "student", "TMPDIR": "/tmp", "MPLBACKEND": inline}


def can_lock():
    """Why kernels cannot be locked in on this machine; "" where they can."""
    if not shutil.which("bwrap"):
        return "there is no bubblewrap here" if sys.platform == "linux" else f"{sys.platform} has no bubblewrap"
    scratch = tempfile.mkdtemp()
    try:
        words = [*lock(scratch), sys.executable, "-c", "import zmq"]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not start: {error}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    reason = plain((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return "" if done.returncode == 0 else f"bubblewrap does not work here ({reason})"


def _processes(root):
    """{process: (parent, bytes in memory, faults of children that have ended)} of a process and all below it."""
    everything, page = {}, os.sysconf("SC_PAGE_SIZE")
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                everything[int(entry.name)] = int(fields[1]), page * int(fields[21]), int(fields[8])
    found, new = {}, [root] if root in everything else []
    while new:
        found |= {process: everything[process] for process in new}
        new = [process for process, (parent, *_) in everything.items() if parent in new and process not in found]
    return found


class Gone(Exception):
    """The kernel has died, or was stopped because it went over a limit."""


class Stuck(Exception):
    """The kernel does not stop what it is doing."""


class Kernel:
    """One submission's kernel, with all that it started: protected, or as free as the teacher's own programs."""

    def __init__(self, protected, copy="", secret=(), hidden=()):
        self.protected = protected
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="mark"))
        Path(self.scratch, "submission.ipynb").write_text(copy, encoding="utf-8")
        self.why, self.shown = None, set()  # why it was stopped; what it has shown that is left out
        connection = f"{self.scratch}/kernel.json"
        unix = os.name != "nt"
        transport = {"transport": "ipc", "ip": f"{self.scratch}/k"} if unix else {"ip": "127.0.0.1"}
        ports = {f"{name}_port": i for i, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        key = secrets.token_hex(32).encode()
        write_connection_file(connection, key=key, **transport, **(ports if unix else {}))
        self.ear, mouth = os.pipe()
        os.set_blocking(self.ear, False)
        words = [sys.executable, "-m", "ipykernel_launcher", "-f", connection, "--IPKernelApp.log_level=50"]
        words += ["--HistoryManager.enabled=False"]
        if unix:
            words = [
                sys.executable,
                "-I",
                "-S",
                "-c",
                LIMITS,
                *(lock(self.scratch, secret, hidden) if protected else []),
                *words,
            ]
        environment = {k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"} | {"MPLBACKEND": "agg"}
        if protected:  # bubblewrap's own process can be seen in there, and would show it
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
        quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        fds = {"pass_fds": (mouth,)} if unix else {}
        self.process = subprocess.Popen(
            words, **quiet, **fds, cwd=self.scratch, env=environment, start_new_session=True
        )
        os.close(mouth)
        self.mouth = mouth
        self.client = BlockingKernelClient()
        self.client.load_connection_file(connection)
        self.client.context.setsockopt(zmq.MAXMSGSIZE, 100_000_000)
        self.client.context.setsockopt(zmq.RCVHWM, 10)
        self.doors = tempfile.mkdtemp(prefix="doors")  # the kernel's sockets, under names that a student cannot replace
        if protected:
            self.client.ip = f"{self.doors}/k"
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def ready(self, seconds=90):
        """Wait until it answers; then tell it what the judge will ask for."""
        end = time.monotonic() + seconds
        for door in [f"k-{i}" for i in range(1, 6)] if self.protected else []:
            while self.process.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError):
                    os.link(f"{self.scratch}/{door}", f"{self.doors}/{door}", follow_symlinks=False)
                    break
                time.sleep(0.05)
        self.client.start_channels(stdin=False, hb=False)
        while True:
            try:
                self.client.wait_for_ready(timeout=1)
                break
            except RuntimeError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Gone("its kernel did not start") from None
        text = WIRE.read_text(encoding="utf-8")
        self.run(
            f"import types as _t; _m = _t.ModuleType('w'); exec(compile({text!r}, 'wire.py', 'exec'), _m.__dict__)\n"
            f"_m.start({self.mouth}); del _t, _m",
            60,
            hidden=True,
        )

    def stop(self, why=None):
        """End it and everything that it started; what it has told can still be read."""
        self.why = self.why or why or "stopped"
        for process in sorted(_processes(self.process.pid), reverse=True) if os.path.isdir("/proc") else ():
            with contextlib.suppress(OSError):
                os.kill(process, 9)
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()

    def close(self):
        self.stop()
        self.watcher.join()
        self.client.stop_channels()
        self.client.context.destroy(linger=0)  # else each submission leaves open files behind
        os.close(self.ear)
        for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]) if os.name != "nt" else ():
            # A submission can leave folders behind that are too deep for rmtree, or closed.
            subprocess.run([*words, self.scratch], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.doors, ignore_errors=True)

    def _watch(self):
        """Stops it where it takes more memory, processes or disk than it may. Only Linux tells."""
        rounds = 0
        while self.process.poll() is None and os.path.isdir("/proc"):
            mine = _processes(self.process.pid)
            if sum(size for _, size, _ in mine.values()) > MEMORY:
                self.stop(f"it took more than {MEMORY / 1e9:.0f} GB of memory")
            if len(mine) > PROCESSES:
                self.stop(f"it started more than {PROCESSES} processes")
            if rounds % 5 == 0 and _disk(self.scratch) + _nameless(mine) > DISK:
                self.stop(f"it wrote more than {DISK / 1e6:.0f} MB")
            rounds += 1
            time.sleep(0.2)

    def children(self):
        """A number that grows whenever a process other than the kernel itself is started."""
        if not self.protected:
            return 0
        mine = _processes(self.process.pid)
        return sum(faults for *_, faults in mine.values()) + 10**9 * max(0, len(mine) - 3)

    def told(self):
        """What was noticed inside, since this was asked last."""
        with contextlib.suppress(BlockingIOError):  # a pipe holds no more
            return [plain(line) for line in os.read(self.ear, 70_000).decode("utf-8", "replace").splitlines() if line]
        return []

    def peak(self, reset=False):
        """Bytes of memory: now where `reset`, else the most since then. 0 where it cannot be known."""
        try:
            kernel = max(_processes(self.process.pid)) if self.protected else self.process.pid
            if reset:
                Path(f"/proc/{kernel}/clear_refs").write_text("5")
            status = Path(f"/proc/{kernel}/status").read_text()
            return 1024 * int(re.search(rf"{'VmRSS' if reset else 'VmHWM'}:\s+(\d+)", status)[1])
        except (OSError, TypeError, ValueError):
            return 0

    def run(self, source, seconds, hidden=False, ours=False):
        """Run code.

        Args:
          source: Python, as in a cell.
          seconds: after which it is interrupted.
          hidden: whether nothing of it is to be seen in there, no event either.
          ours: whether it is no cell of the notebook.

        Returns:
          outputs, as a notebook stores them, text and PNG only; an error as (name, text), or None; and what `answer`
          published. An error named CellTimeoutError says that the time was up and the kernel obeyed.

        Raises:
          Gone, Stuck
        """
        client, outputs, error, answer, size = self.client, [], None, None, 0
        keep = {"store_history": not (hidden or ours), "allow_stdin": False, "stop_on_error": False}
        sent = client.execute(source, silent=hidden, **keep)
        end, idle, replied, late = time.monotonic() + seconds, False, False, False
        while not (idle and replied):
            if self.process.poll() is not None:
                raise Gone(self.why or "its kernel died")
            if time.monotonic() > end:
                if late:
                    raise Stuck("it did not stop when its time was up")
                late, end = True, time.monotonic() + 10
                client.session.send(client.control_channel.socket, "interrupt_request", {})
            try:
                message = self._message(idle)
                if message is None:
                    continue
                kind, content = message["msg_type"], message["content"]
                size += len(json.dumps(content, default=str))
                if size > PRINTED + 10 * len(source) + (2 * ROOM if ours else 0):
                    self.stop(f"it put out more than {PRINTED / 1e6:.0f} MB at once")
                    raise Gone(self.why)
                if message["parent_header"].get("msg_id") != sent:
                    continue
                if kind == "execute_reply":
                    replied = True
                    if content.get("status") != "ok":
                        error = str(content.get("ename")), str(content.get("evalue"))
                elif kind == "status":
                    idle = idle or content.get("execution_state") == "idle"
                elif kind == "display_data" and MIME in content["data"]:
                    answer = str(content["data"][MIME])
                elif output := _output(kind, content):
                    outputs.append(output)
                    self.shown |= {
                        plain(mime, 40) for mime, text in content.get("data", {}).items() if _acts(mime, text)
                    }
            except (Gone, KeyboardInterrupt):
                raise
            except Exception as broken:  # whatever a forged message can raise
                self.stop(f"its kernel sends what no kernel sends: {type(broken).__name__}")
                raise Gone(self.why) from broken
        return _joined(outputs), (("CellTimeoutError", "the time was up") if late else error), answer

    def _message(self, idle):
        """The next message, or None. Before it is idle most come on the channel of outputs, then the reply."""
        channels, session = [self.client.iopub_channel, self.client.shell_channel], self.client.session
        for channel, seconds in zip(reversed(channels) if idle else channels, (0.05, 0.001), strict=True):
            if not channel.socket.poll(1000 * seconds):
                continue
            parts = channel.socket.recv_multipart()
            if sum(part.count(b"[") + part.count(b"{") for part in parts) > LISTS:
                raise ValueError("more lists than an answer has")  # each takes 20 times its text in memory
            return session.deserialize(session.feed_identities(parts)[1])
        return None


def _acts(mime, text):
    """Whether what is shown is more than text, a table or a picture: a page might run it, or fetch something for it."""
    if mime == "text/html":
        usual = r"/|!--|(?:table|thead|tbody|tr|t[dh]|div|p|span|b|i|br|pre|style)\b"
        return bool(re.search(rf"<(?!{usual})\S|\bon\w+\s*=|url\(|@import", str(text), re.I))
    return mime not in ("text/plain", "text/markdown", "text/latex", "image/png")


def _output(kind, content):
    """A message as an output of a cell, rid of all that a page would run; None where it is no output."""
    if kind == "stream":
        return nbformat.v4.new_output("stream", name="stdout", text=str(content["text"]))
    if kind == "error":
        lines = [str(line) for line in content["traceback"]]
        return nbformat.v4.new_output(
            "error", ename=str(content["ename"]), evalue=str(content["evalue"]), traceback=lines
        )
    if kind in ("display_data", "execute_result"):
        data = {mime: str(content["data"][mime]) for mime in ("text/plain", "image/png") if mime in content["data"]}
        if not re.fullmatch(r"[A-Za-z0-9+/=\s]*", data.get("image/png", "")):
            del data["image/png"]
        return nbformat.v4.new_output("display_data", data) if data else None
    return None


def _joined(outputs):
    """Outputs with neighbouring pieces of printed text put together."""
    joined = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _disk(folder):
    """Bytes in a folder, 4096 at least for each file; many where there are too many to count."""
    total, new = 0, [folder]
    while new and total <= DISK:
        with contextlib.suppress(OSError), os.scandir(new.pop()) as entries:
            for entry in entries:
                if total > DISK:
                    break
                with contextlib.suppress(OSError):
                    total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        new.append(entry.path)
    return total


def _nameless(processes):
    """Bytes in files that processes hold open and that stand in no folder any more: of memory (memfd) or deleted."""
    files = {}
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    told = os.stat(entry.path)
                    if stat.S_ISREG(told.st_mode) and told.st_nlink == 0:
                        files[told.st_dev, told.st_ino] = told.st_blocks * 512
    return sum(files.values())


# ---- The judge


class Judge:
    """The process that has the checks."""

    def __init__(self):
        words = [sys.executable, "-I", "-X", "utf8", str(WIRE)]
        if os.name != "nt":
            words = [sys.executable, "-I", "-S", "-c", LIMITS, *words]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        environment = os.environ | {"MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.folder = tempfile.mkdtemp(prefix="judge")
        self.process = subprocess.Popen(words, **pipes, text=True, encoding="utf-8", cwd=self.folder, env=environment)
        self.lines = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def begin(self, source, name, functions=()):
        self._say({"run": source, "name": name, "functions": list(functions)})

    def finish(self, seconds, call=None):
        """How the cell ended: None or (name, text, traceback); and what it printed. `call` makes calls for it."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.1, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.close()
                raise Gone("the checks took too much time or memory with what came back")
            message = json.loads(line)
            if "done" in message:
                return message["done"], message["printed"]
            self._say(call(message))

    def _say(self, message):
        with contextlib.suppress(OSError):  # it has died: its silence will tell
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- A whole submission

REPORTS = {}  # {student: remarks of the last run}
INSIDE = "__import__('course_wire')"  # what wire.py has put into the kernel


class ExecuteToTheEnd(NbGraderPreprocessor):
    """Runs a notebook in place of nbgrader: cells in the locked kernel, checks in the judge.

    It goes on where a cell has killed the kernel or will not be stopped.
    """

    timeout = Integer(100, help="seconds of a cell").tag(config=True)
    protected = Bool(True, help="whether the kernel is locked in").tag(config=True)
    functions = List(help="names of the functions that are asked for").tag(config=True)
    secret = List(help="folders that no kernel may see").tag(config=True)

    IN_ALL = 3  # times the seconds of a cell: what all code of a submission may take together

    def _get_timeout(self, cell):
        return 3 * self.timeout if self._is_ours(cell) else self.timeout

    @staticmethod
    def _info(cell):
        return cell.metadata.get("nbgrader", {})

    @classmethod
    def _is_ours(cls, cell):
        """Imports and data: slow on a cold machine, and no fault of the student."""
        return bool(cls._info(cell).get("locked")) and not cls._info(cell).get("grade")

    def preprocess(self, nb, resources):
        self.nb, self.left_out, self.student_ran, self.blind, self.switched_off = nb, set(), False, False, False
        self.printed, self.silent, self.judging = 0, False, self.IN_ALL * self.timeout
        self.remarks, self.left, self.kernel, self.judge = [], self.IN_ALL * self.timeout, None, Judge()
        REPORTS[resources["nbgrader"]["student"]] = self.remarks
        try:
            self._start()
            return super().preprocess(nb, resources)
        finally:
            self.judge.close()
            if self.kernel:
                self.kernel.close()

    def _start(self):
        new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
        cells = [cell for cell in self.nb.cells if cell.cell_type in new and not self._info(cell).get("grade")]
        copy = nbformat.writes(nbformat.v4.new_notebook(cells=[new[cell.cell_type](cell.source) for cell in cells]))
        self.kernel = Kernel(self.protected, copy, self.secret, self.nb.metadata.get("hidden", ()))
        self.kernel.ready()

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type != "code":
            cell.pop("attachments", None)
            if not self._info(cell).get("locked"):
                cell.source = inert(cell.source)
            return cell, resources
        self.where = plain(self._info(cell).get("grade_id") or f"cell {index + 1}", 60)
        cell.outputs, cell.execution_count = [], None
        if self._info(cell).get("grade"):
            self._check(cell, index)
        else:
            self._run_cell(cell, index)
        return cell, resources

    # -- cells of the notebook

    def _run_cell(self, cell, index):
        ours, seconds = self._is_ours(cell), self._get_timeout(cell)
        if ours:
            self.judge.begin(cell.source, self.where)
        try:
            cell.outputs, error, _ = self._run(cell.source, seconds, free=ours and not self.student_ran)
            lost = error[0] if error and error[0] == "CellTimeoutError" else None
            before, self.printed = self.printed, self.printed + len(json.dumps(cell.outputs))
            if self.printed > 3 * PRINTED:
                cell.outputs = []
                if before <= 3 * PRINTED:
                    self._remark(f"what its cells put out is left out from here: more than {3 * PRINTED / 1e6:.0f} MB")
            if error and not lost and not ours and sum(": ended in " in one for one in self.remarks) < 10:
                self._remark(f"ended in {plain(error[0], 40)}: {plain(error[1], 100)}")
            if lost or (error and not any(output.output_type == "error" for output in cell.outputs)):
                cell.outputs.append(_error(*error))
        except (Gone, Stuck) as raised:
            lost, text = ("DeadKernelError" if isinstance(raised, Gone) else "CellTimeoutError"), str(raised)
            cell.outputs.append(_error(lost, text + "; it was started again for the cells below"))
            self._remark(text)
        if ours:
            if lost and not self.student_ran:
                raise RuntimeError(f"{self.where}, which only imports or loads, did not end: try more --cell-seconds")
            error, _ = self.judge.finish(seconds)
            if error:
                raise RuntimeError(f"{self.where}, which only imports or loads, failed: {error[0]}: {error[1]}")
        if lost:
            self.left_out.add(index)
            if lost == "CellTimeoutError":
                self._remark("it ran into its time limit")
        self._restart_if_lost(index)
        if not ours:
            self.student_ran = True
            self._look()
        elif self.kernel and not self.blind:  # what imports change is no tampering
            with contextlib.suppress(Gone, Stuck):
                self._run(f"{INSIDE}.look(compare=False)", 10, hidden=True, free=not self.student_ran)
            if self.kernel and not self.student_ran:
                self.kernel.told()  # by libraries

    def _run(self, source, seconds, free=False, **options):
        """A run in the kernel, on the time of the submission where it is not free."""
        if not self.kernel:
            raise Gone("no kernel is left")
        if not free and self.left <= 0:
            raise Gone(f"all code of a submission may take {self.IN_ALL * self.timeout} seconds, and they are used up")
        begin = time.monotonic()
        try:
            return self.kernel.run(source, seconds if free else min(seconds, self.left), **options)
        except (Gone, Stuck):
            self.kernel.stop()
            self._hear()
            self.kernel.close()
            self.kernel = None
            raise
        finally:
            self.left -= 0 if free else time.monotonic() - begin

    def _restart_if_lost(self, index):
        """A new kernel, and in it every cell above but those that stopped one, their outputs thrown away."""
        if self.kernel or self.left <= 0:
            return
        begin = time.monotonic()
        try:
            self._start()
            for i, cell in enumerate(self.nb.cells[:index]):
                if cell.cell_type == "code" and i not in self.left_out and not self._info(cell).get("grade"):
                    left = self.left - (time.monotonic() - begin)
                    if left <= 0:
                        break
                    self._run(cell.source, min(self._get_timeout(cell), left), free=True)
        except (Gone, Stuck) as raised:
            self._remark(f"{raised}, when the cells above were run again")
        self.left -= time.monotonic() - begin

    # -- what is noticed

    def _remark(self, text):
        text = f"{self.where}: {text}"
        if text not in self.remarks and len(self.remarks) < 40:
            self.remarks.append(text)

    def _hear(self, word=""):
        """Remarks on what the kernel has told and shown; whether `word`, which is none, was told."""
        told = self.kernel.told() if self.kernel else []
        for text in told:
            if text != word:
                self._remark(text)
        while self.kernel and self.kernel.shown:
            self._remark(f"showed {self.kernel.shown.pop()}, which is left out")
        return word in told

    def _look(self):
        """After code of a student's: a canary that must fail, and what the kernel noticed."""
        if not self.kernel or self.left <= 0 or self.blind:
            return
        one, other, word = secrets.randbelow(10**9), secrets.randbelow(10**9) + 10**9, secrets.token_hex(8)
        canary = f"assert __import__('numpy').allclose([{one}], [{other}]), '{word}'"
        try:
            _, error, _ = self._run(canary, 10, ours=True)
            if error and error[0] == "CellTimeoutError":
                self.blind = True  # and no more time is spent on looking
                self._remark("the kernel no longer answers in time")
                return
            if error != ("AssertionError", word) and not self.switched_off:
                self.switched_off = True  # once told is enough
                self._remark("the checks were switched off in this cell: a claim that is false did not fail")
            _, error, _ = self._run(f"{INSIDE}.look(word={word!r})", 10, hidden=True)
            if not self._hear(word) and os.name != "nt" and not self.silent:
                self.silent = True
                self._remark("the kernel no longer tells what it notices")
            if error:
                self._remark(f"the kernel can no longer be looked at: {plain(error[0])}")
        except (Gone, Stuck) as raised:
            self._remark(f"{raised}, after this cell")
        self._hear()

    # -- checks

    def _check(self, cell, index):
        """A graded cell, in the judge."""
        printed, self.why = [], None
        end = time.monotonic() + self.timeout

        def call(message):
            reply, name, seconds = None, message["call"], end - time.monotonic()
            source = f"{INSIDE}.answer({name!r}, {json.dumps(message['arguments'])!r}, {message['measure']})"
            try:
                if self.why:
                    raise Gone(self.why)
                if message["measure"]:
                    before = self.kernel.peak(reset=True), self.kernel.children()
                outputs, error, text = self._run(source, max(seconds, 0.1), ours=True)
                if len(printed) < 20:
                    printed.extend(output for output in outputs if output.output_type != "error")
                if error:
                    self.why = error[0] if error[0] == "CellTimeoutError" else None
                    self._remark(f"a call of {name} ended in {plain(error[0], 40)}")
                    return {"error": [plain(error[0]), plain(error[1])]}
                reply = json.loads(text or "null")
                if not isinstance(reply, dict):
                    return {"error": ["RuntimeError", f"{name} gave no answer"]}
                for noted in reply.pop("noted", ()):
                    self._remark(f"{name} gave a {plain(noted, 40)}: it went over as a plain copy, or not at all")
                if "error" in reply:
                    reply = {"error": [str(part)[:2000] for part in reply["error"]][:2]}
                if message["measure"]:
                    reply["peak"] = self._measured(reply.get("peak"), *before)
            except (Gone, Stuck) as raised:
                self.why = "DeadKernelError" if isinstance(raised, Gone) else "CellTimeoutError"
                self._remark(f"{raised}, in a call of {name}")
                reply = {"error": ["RuntimeError", str(raised)]}
            except Exception as raised:
                reply = {"error": ["RuntimeError", f"{name} gave an answer in no known form: {type(raised).__name__}"]}
            return reply

        begin, left, used_up = time.monotonic(), self.left, self.judging <= 0
        try:
            if used_up:
                raise Gone(
                    f"all checks of a submission may take {self.IN_ALL * self.timeout} seconds, and they are used up"
                )
            self.judge.begin(cell.source, self.where, self.functions)
            error, text = self.judge.finish(min(self.timeout + 30, self.judging + max(self.left, 0)), call)
        except Gone as raised:
            self._remark(str(raised))
            error, text = ("MemoryError", str(raised), str(raised)), ""
            if not used_up:  # cells that only load need a judge, even where it checks nothing more
                self._new_judge(index)
        self.judging -= time.monotonic() - begin - (left - self.left)  # the checks' own time, on what came back
        self._hear()
        cell.outputs = _joined([*printed, *([nbformat.v4.new_output("stream", text=text)] if text else [])])
        if self.why:
            what = "the kernel died, or did not stop, in this cell; it was started again for the cells below"
            cell.outputs.append(_error(self.why, what))
            if self.why == "CellTimeoutError":
                self._remark("it ran into its time limit")
        if error:
            cell.outputs.append(_error(error[0], error[1], error[2]))
            if "cannot be compared" in error[1] or "cannot be read" in error[1]:
                self._remark(plain(error[1]))
        self._restart_if_lost(index)
        if printed or error:
            self._look()

    def _measured(self, told, before, children):
        """Bytes that a call took at the most: what was told inside, held to what can be seen from outside."""
        peak = float(told) if isinstance(told, (int, float)) else float("inf")
        if not self.protected:
            return peak
        if self.kernel.children() != children:
            self._remark("another process was started where memory is measured")
            return float("inf")
        seen = self.kernel.peak() - before - UNSEEN if before else 0
        if seen > peak:
            self._remark(f"the memory that was told, {peak / 1e6:.0f} MB, is not what was taken, {seen / 1e6:.0f} MB")
        return max(peak, seen)

    def _new_judge(self, index):
        self.judge.close()
        self.judge = Judge()
        for cell in self.nb.cells[:index]:
            if cell.cell_type == "code" and self._is_ours(cell):
                self.judge.begin(cell.source, "again")
                self.judge.finish(self._get_timeout(cell))


def _error(name, text, told=None):
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=(told or f"{name}: {text}").splitlines())
