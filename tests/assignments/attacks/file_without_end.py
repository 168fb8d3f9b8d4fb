"""Hands in a file of a terabyte, which takes no room on the disk and all memory when it is read."""


def submit(inbox, name, notebook, course):
    with open(inbox / f"{name}.ipynb", "wb") as file:
        file.truncate(10**11)
