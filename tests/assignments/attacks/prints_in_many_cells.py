"""Prints as much as a cell may, in cell after cell."""

import nbformat


def submit(inbox, name, release, course):
    loud = "print('a line of text that is long enough\\n' * 240_000)"
    release.cells[2:2] = [nbformat.v4.new_code_cell(loud) for _ in range(6)]
    return release
