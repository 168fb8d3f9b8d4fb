"""Leaves folders so deep that removing them fails."""

import os

for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chmod(".", 0)
