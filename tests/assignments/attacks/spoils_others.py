"""Writes over what others have handed in, and over their marked copies.

wins without: lock
"""

from pathlib import Path

for folder in ("submitted", "copies", "autograded"):
    for file in Path("COURSE", folder).rglob("*honest*"):
        if file.is_file():
            file.write_text("spoilt")
open("WITNESS", "w").write("was here")
