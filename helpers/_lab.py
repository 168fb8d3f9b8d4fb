"""What JupyterLab does otherwise for this course, so that one command starts it everywhere. No lesson imports this.

Jupyter hears of it through `helpers/jupyter/server.json`, which is installed with the course. `settings.json` beside it
keeps JupyterLab from asking about news, and from offering versions that this course was not tested with.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _jupyter_server_extension_points():
    return [{"module": "helpers._lab"}]


def _load_jupyter_server_extension(server):
    """Jupyter calls this before it decides whether it may start; `server` is its ServerApp."""
    if not Path(server.root_dir).resolve().is_relative_to(ROOT):
        return  # other folders keep Jupyter's own rules
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not server.allow_root:
        server.allow_root = True
        server.log.info("You are root, as one is in a container: Jupyter may start in the folder of this course.")
    # Without a screen, a text browser would open in the terminal that shows the address.
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys():
        server.open_browser = False
