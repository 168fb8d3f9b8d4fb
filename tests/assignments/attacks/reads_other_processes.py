"""Shows the command lines and environments of the teacher's processes.

wins without: lock
"""

from pathlib import Path

for file in Path("/proc").glob("[0-9]*/environ"):
    try:
        print(file.read_text())
    except OSError:
        pass
