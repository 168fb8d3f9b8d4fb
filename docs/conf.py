"""The site: `uv run --group docs sphinx-build -W docs build/site`, offline, no notebook is run."""

import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))  # lessons.py

from helpers import runtime  # noqa: E402

runtime.quiet_import()  # autodoc imports the helpers, and they TensorFlow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Where the course lives; with an address every lesson gets its buttons to Binder, Colab and the source.
# The environment's word, even an empty one, goes before that of pyproject.toml.
repository_url = os.environ.get("REPOSITORY_URL", PROJECT.get("urls", {}).get("Repository", "")).rstrip("/")

project = html_title = "Mixtures of multivariate normals"
version = PROJECT["version"]
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "lessons"]
exclude_patterns = ["generated"]  # pieces that pages include

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
myst_heading_slug_func = "lessons.jupyter_anchor"

default_role = "code"  # the docstrings write `this`
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False  # Keras and TFP write theirs in Markdown
napoleon_use_rtype = False  # what stands before a colon in "Returns:" is no type

# lessons.py copies MathJax into the site. A command that MathJax does not know must be an error, which the tests see.
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"tex": {"packages": {"[-]": ["noundefined", "noerrors"]}}, "options": {"enableMenu": False}}

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is; without it the theme logs an error
html_copy_source = False
html_use_index = html_domain_indices = False  # the search finds the same
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,  # it would hand out the copy, whose pictures and panels are gone
    "navbar_persistent": [],  # the sidebar has the search already
    "show_toc_level": 2,
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": "Code MIT, text CC BY 4.0, the penguin table CC0.",
}
if repository_url:
    html_theme_options |= {
        "repository_url": repository_url,
        "repository_branch": "HEAD",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }
