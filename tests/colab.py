# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "tensorflow==2.20.*",
#     "tensorflow-probability==0.25.*",
#     "tf-keras==2.20.*",
#     "setuptools<81",
#     "numpy>=2.0,<2.1",
#     "scipy==1.16.*",
#     "scikit-learn==1.6.*",
#     "scikit-image==0.25.*",
#     "matplotlib==3.10.*",
#     "ipykernel==6.17.*",
#     "ipywidgets==7.7.*",
#     "nbclient",
#     "nbformat",
#     "pip",
# ]
# ///
"""Every lesson as Colab runs it: Colab's versions, no helpers beside the notebook, and the first cell to fetch them.

`uv run --no-project tests/colab.py` makes an environment of its own from the header above, whatever is installed here.
The course that is fetched is the last commit of this repository; the notebooks that are run are those of the checkout.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
# What a session in Colab has before the first cell.
STARTUP = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')"


def run(path, folder):
    """Run a notebook in `folder`, with the address of this repository in its first cell; return its seconds."""
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if "colab" in cell.metadata.get("tags", []))
    assert 'COURSE = "' in first.source
    head, tail = first.source.split('COURSE = "', 1)
    first.source = f'{head}COURSE = "file://{ROOT}"{tail[tail.index(chr(34)) + 1 :]}'
    begin = time.perf_counter()
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return time.perf_counter() - begin


def main():
    names = sys.argv[1:] or sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            startup = Path(folder, "ipython", "profile_default", "startup")
            startup.mkdir(parents=True)
            (startup / "00-colab.py").write_text(STARTUP)
            os.environ["IPYTHONDIR"] = str(Path(folder, "ipython"))
            try:
                print(f"{name}: {run(ROOT / 'notebooks' / name, folder):.0f} s", flush=True)
            except CellExecutionError as error:
                print(f"{name}: failed\n{error}", flush=True)
                failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
