"""Forges an answer of millions of empty lists, which take twenty times as much memory as text."""

import sys
import types

from IPython import get_ipython


def answer(name, arguments, measure=False):
    text = '{"value": {"list": [' + '{"list": []}, ' * 3_000_000 + "1]}}"
    get_ipython().display_pub.publish({"application/x-course-answer": text})


sys.modules["course_wire"] = types.ModuleType("course_wire")
sys.modules["course_wire"].__dict__.update(answer=answer, look=lambda *args, **kwargs: None)
