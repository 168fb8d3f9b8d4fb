"""The first page that a learner sees, of the README's first command as it stands, with no settings of anybody's."""

import os
import sys
from pathlib import Path

from chromium import launched, need

need("playwright")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from first_command import first_command, started  # noqa: E402


def test_the_first_page_lists_the_lessons_and_asks_nothing(tmp_path):
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(tmp_path / name.lower()) for name in names}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = first_command().split("uv run ")[1]  # in this environment: uv would make the learner's
    elsewhere = []
    with started(command, os.environ | own) as (address, token), launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda sent: sent.url.startswith((address, "data:", "blob:")) or elsewhere.append(sent.url))
        page.goto(f"{address}lab?token={token}")
        listed = page.locator(".jp-DirListing-itemName")
        listed.filter(has_text="01_bivariate_full_covariance.ipynb").wait_for(timeout=60_000)
        page.wait_for_timeout(3000)  # the question, which came 1 s after the page
        names = [name.strip() for name in listed.all_text_contents()]
        over = page.locator(".jp-Dialog, .Toastify__toast").all_text_contents()
    assert {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} <= {*names}
    assert over == [] and elsewhere == []
