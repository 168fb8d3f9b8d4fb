"""The README's first command as it stands, by whoever calls this: `python tests/first_command.py`.

It must say an address at which JupyterLab answers and lists the lessons. Then it is ended, and nothing may be left.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"(http://(?:127\.0\.0\.1|localhost):\d+/)lab\S*[?&]token=(\w+)")


def first_command():
    """What the README tells a learner to type first."""
    return re.search(r"^```sh\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)[1]


def ask(address, token, path, method="GET"):
    request = urllib.request.Request(address + path, method=method, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read().decode()


def ask_until(address, token, path, patience=60):
    """As `ask`, of a server that may take a moment to answer after it has said where it is."""
    end = time.monotonic() + patience
    while True:
        try:
            return ask(address, token, path)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@contextlib.contextmanager
def started(command, environment=None, patience=300):
    """Run the command until the block ends; gives (address, token) as the command's own output says them.

    Raises:
      RuntimeError: where it says no address, does not end when it is asked to, or leaves a process behind.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that whatever it starts can be found
        )

        def said():
            log.seek(0)
            return log.read()

        try:
            end = time.monotonic() + patience
            while not (found := ADDRESS.search(said())):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command}: no address\n{said()}")
                time.sleep(0.2)
            yield found.groups()
            with contextlib.suppress(OSError):
                ask(*found.groups(), "api/shutdown", "POST")
            try:
                process.wait(60)
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                pass
            raise RuntimeError(f"{command}: it did not end\n{said()}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def lessons_listed(address, token):
    """The names of the notebooks that a reader sees on the left of the first page."""
    content = json.loads(ask(address, token, "api/contents")[1])["content"]
    return sorted(entry["name"] for entry in content if entry["type"] == "notebook")


def main():
    command = first_command()
    with started(command) as (address, token):
        status, page = ask_until(address, token, "lab")
        listed = lessons_listed(address, token)
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    if status != 200 or "jupyter-config-data" not in page or listed != lessons:
        sys.exit(f"{command}: /lab answered {status}, with the notebooks {listed}; expected {lessons}")
    print(f"{command}: JupyterLab answers, with {len(lessons)} lessons, and ended")


if __name__ == "__main__":
    main()
