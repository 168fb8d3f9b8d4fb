"""Lesson 05 starts processes. Its own cells are taken here: where one fails half-way, nothing is left behind."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

LESSON = Path(__file__).resolve().parent.parent / "notebooks" / "05_scale_and_service.ipynb"
NEEDED = ("import atexit", "def clean_up", "HEAD =", "def program", "def said", "def free_ports")

CHILD = """
def listen(port):
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))
        one.listen()
        Path(FOLDER, "ready").touch()
        time.sleep(300)
"""
FAILS = """
K, D, BATCH, STEPS = 1, 1, 1, 1
(FOLDER / "shards").mkdir()
np.save(FOLDER / "shards" / "0.npy", np.zeros([4, 64], np.uint8))
from child import listen

port, = free_ports(1)
child = start(program(f"listen({port})", listen), FOLDER)
wait_for((FOLDER / "ready").exists, child)
print(json.dumps([child.pid, port, str(FOLDER)]), flush=True)
"""


def cells():
    """The cells of the lesson that have to do with processes, without TensorFlow, which the parent does not need."""
    sources = ["".join(c["source"]) for c in json.loads(LESSON.read_text(encoding="utf-8"))["cells"]]
    found = [next(text for text in sources if sign in text) for sign in NEEDED]
    lines = "\n".join(dict.fromkeys(found)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("runtime.start("))


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("end", ["raise RuntimeError('a cell that fails')", "clean_up()"])
def test_no_process_no_port_and_no_file_is_left(tmp_path, end):
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "lesson.py").write_text(f"SEED = 1\n{cells()}\n{FAILS}\n{end}\n")
    run = subprocess.run([sys.executable, "lesson.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.stdout, run.stderr
    pid, port, folder = json.loads(run.stdout.splitlines()[-1])
    assert (run.returncode == 0) == (end == "clean_up()")
    assert not psutil.pid_exists(pid) and not is_open(port) and not Path(folder).exists()


def test_an_open_port_is_seen():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert is_open(one.getsockname()[1])
