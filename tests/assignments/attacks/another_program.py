"""Has another program do it.

wins without: lock
"""

import subprocess

subprocess.run(["sh", "-c", "touch WITNESS"])
