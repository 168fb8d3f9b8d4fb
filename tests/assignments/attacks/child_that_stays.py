"""A child process that outlives the kernel, to write when nobody looks any more.

wins without: lock
"""

import os
import time

if os.fork() == 0:
    os.setsid()
    time.sleep(1)
    open("WITNESS", "w").write("was here")
    os._exit(0)
