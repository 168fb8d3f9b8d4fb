"""Breaks the import machinery, so that everything that imports waits."""

import builtins
import time

usual = builtins.__import__


def slow(*args, **kwargs):
    time.sleep(600)
    return usual(*args, **kwargs)


builtins.__import__ = slow
