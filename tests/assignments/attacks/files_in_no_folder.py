"""Fills the disk with files that stand in no folder any more."""

import os
import time

kept, block = [], bytes(10_000_000)
for i in range(40):
    kept.append(os.open(f"file{i}", os.O_RDWR | os.O_CREAT))
    os.unlink(f"file{i}")
    for _ in range(19):
        os.write(kept[-1], block)
time.sleep(5)
