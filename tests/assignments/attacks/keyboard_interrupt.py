"""Leaves the check as if somebody had interrupted it."""


def split(params, K):
    raise KeyboardInterrupt
