"""Hands in a link, which leads to the teacher's own solution.

wins without: reader
"""


def submit(inbox, name, notebook, course):
    (inbox / f"{name}.ipynb").symlink_to(next((course / "source").glob("ps1*/ps1.ipynb")))
