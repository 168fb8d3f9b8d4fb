"""What lets the README's first command start everywhere. `.ci/run` runs the command itself (first_command.py)."""

import http.server
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import first_command
import pytest

from helpers import _lab

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """As much of Jupyter's ServerApp as helpers/_lab.py touches."""

    def __init__(self, root_dir):
        self.root_dir, self.allow_root, self.open_browser, self.said = str(root_dir), False, True, []
        self.log = SimpleNamespace(info=self.said.append)
        self.contents_manager = SimpleNamespace(get=None, register_pre_save_hook=lambda hook: None)


@pytest.fixture
def nobodys_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


def loaded(root_dir):
    server = Server(root_dir)
    _lab._load_jupyter_server_extension(server)
    return server.allow_root, server.open_browser, len(server.said)


def test_root_may_start_the_course_and_nothing_else(monkeypatch, nobodys_screen, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert loaded(ROOT / "notebooks") == loaded(ROOT) == (True, False, 1)
    assert loaded(tmp_path) == loaded(ROOT.parent) == (False, True, 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert loaded(ROOT / "notebooks") == (False, False, 0)
    monkeypatch.delattr(os, "geteuid")  # Windows
    assert loaded(ROOT / "notebooks") == (False, False, 0)


@pytest.mark.parametrize("screen", ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"])
def test_a_browser_opens_where_there_is_a_screen(monkeypatch, nobodys_screen, screen):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(screen, ":0")
    assert loaded(ROOT / "notebooks")[1]


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_windows_and_macs_have_a_screen(monkeypatch, nobodys_screen, platform):
    monkeypatch.setattr(sys, "platform", platform)
    assert loaded(ROOT / "notebooks")[1]


def test_jupyter_finds_both_files_where_the_course_is_installed():
    for name, place in (
        ("server.json", "etc/jupyter/jupyter_server_config.d"),
        ("settings.json", "share/jupyter/lab/settings/overrides.d"),
    ):
        installed = Path(sys.prefix) / place / "mvn-mixture-notebooks.json"
        assert installed.read_bytes() == (ROOT / "helpers" / "jupyter" / name).read_bytes()
    settings = json.loads((ROOT / "helpers" / "jupyter" / "settings.json").read_text(encoding="utf-8"))
    assert settings["@jupyterlab/apputils-extension:notification"] == {"checkForUpdates": False, "fetchNews": "false"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("echo Running as root is not recommended.; exit 1", "no address\nRunning as root"),
        ("echo http://127.0.0.1:9/lab?token=abc; sleep 600 & echo on", "it did not end"),
    ],
)
def test_a_command_that_does_not_start_or_leaves_something_behind_is_named(command, says):
    with pytest.raises(RuntimeError, match=says), first_command.started(command):
        pass


def test_a_server_may_take_a_moment_to_answer():
    class Late(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Late, bind_and_activate=False) as server:
        server.server_bind()  # nothing listens yet
        address = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(OSError):
            first_command.ask_until(address, "", "", patience=0)
        later = threading.Timer(1, lambda: (server.server_activate(), server.handle_request()))
        later.start()
        assert first_command.ask_until(address, "", "", patience=30) == (200, "here")
        later.join()
