"""Hands in a folder in which the notebook is a link to what somebody else has handed in."""


def submit(inbox, name, notebook, course):
    (inbox / name).mkdir()
    (inbox / name / "ps1.ipynb").symlink_to(inbox / "a_honest.ipynb")
