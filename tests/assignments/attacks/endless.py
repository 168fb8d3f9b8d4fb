"""Runs for ever and does not listen to interrupts."""

while True:
    try:
        while True:
            pass
    except BaseException:
        pass
