"""Leaves a file when its process ends, after all that watches is gone.

wins without: lock
"""

import atexit

atexit.register(lambda: open("WITNESS", "w").write("was here"))
