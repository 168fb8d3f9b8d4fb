"""A Chromium that is already installed, driven by Playwright for Python: what the tests in a browser share."""

import contextlib
import importlib.util
import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable():
    """The path of a Chromium, or None: the variable CHROMIUM, else the first that is found by name."""
    candidates = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    return next(filter(None, map(shutil.which, candidates)), None)


def skip_reason(*modules):
    """One line that says how to get what is missing, of the modules and of Chromium; None where nothing is."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    ways = []
    if missing:
        ways.append(f"no {', '.join(missing)}: uv run --group docs --group browser pytest tests/browser")
    if executable() is None:
        ways.append("no Chromium: apt-get install chromium, or its path in the variable CHROMIUM")
    return "; ".join(ways) or None


def need(*modules):
    """Skip the test file that calls this, with that line. Where nothing may be skipped (NOTHING_SKIPPED=1), fail."""
    if reason := skip_reason(*modules):
        if os.environ.get("NOTHING_SKIPPED"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)


@contextlib.contextmanager
def launched():
    """A Playwright browser, closed at the end. It has no screen, and Playwright downloads nothing."""
    from playwright.sync_api import sync_playwright

    arguments = ["--disable-dev-shm-usage"]  # containers have a small /dev/shm
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to start as root with it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()
