"""Hands in a pipe, at which whoever reads it waits for ever."""

import os


def submit(inbox, name, notebook, course):
    os.mkfifo(inbox / f"{name}.ipynb")
