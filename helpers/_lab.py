"""What JupyterLab does otherwise for this course, so that one command starts it everywhere. No lesson imports this.

Jupyter hears of it through `helpers/jupyter/server.json`, which is installed with the course. `settings.json` beside it
keeps JupyterLab from asking about news, and from offering versions that this course was not tested with.

JupyterLab writes into a notebook which kernel opened it, to the version of Python: one that was stored elsewhere would
be a changed one as soon as it is opened. So the server hands the course's notebooks, which are known by what
notebooks/store.py puts into their metadata, out with that, and does not write it down: opened and not touched, or saved
as it was, a file stays the same to the byte.
"""

import os
import sys
from functools import cache
from pathlib import Path

from jupyter_core.utils import ensure_async

STORED = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ROOT = Path(__file__).resolve().parents[1]


def _jupyter_server_extension_points():
    return [{"module": "helpers._lab"}]


def _load_jupyter_server_extension(server):
    """Jupyter calls this before it decides whether it may start; `server` is its ServerApp."""
    _keep_unmodified(server)
    if not Path(server.root_dir).resolve().is_relative_to(ROOT):
        return  # other folders keep Jupyter's own rules
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not server.allow_root:
        server.allow_root = True
        server.log.info("You are root, as one is in a container: Jupyter may start in the folder of this course.")
    # Without a screen, a text browser would open in the terminal that shows the address.
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys():
        server.open_browser = False


def _keep_unmodified(server):
    """Put the kernel's metadata into notebooks of the course as they are opened; the stored ones as they are saved."""
    contents = server.contents_manager
    get = contents.get

    @cache
    def told():
        from ipykernel.ipkernel import IPythonKernel

        spec = server.kernel_spec_manager.get_kernel_spec("python3")
        names = {"name": "python3", "display_name": spec.display_name, "language": spec.language}
        return {"kernelspec": names, "language_info": IPythonKernel.language_info}

    def is_ours(model):
        metadata = (model.get("content") or {}).get("metadata", {}) if model["type"] == "notebook" else {}
        return "course" in metadata and metadata.get("kernelspec", {}).get("name") == "python3"

    async def get_as_opened(*args, **kwargs):
        model = await ensure_async(get(*args, **kwargs))
        if is_ours(model):
            model["content"]["metadata"] |= told()
        return model

    def save_as_stored(model, **_):
        if is_ours(model):
            model["content"]["metadata"] |= STORED

    contents.get = get_as_opened
    contents.register_pre_save_hook(save_as_stored)
