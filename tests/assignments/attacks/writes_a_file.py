"""Leaves a file in the teacher's folder.

wins without: lock
"""

open("WITNESS", "w").write("was here")
