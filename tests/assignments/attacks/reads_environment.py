"""Shows a secret of the teacher's environment.

wins without: lock
"""

import os

print(os.environ["TEACHERS_SECRET"])
