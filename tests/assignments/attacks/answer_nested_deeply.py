"""An answer so deep that reading it fails."""


def split(params, K):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep
