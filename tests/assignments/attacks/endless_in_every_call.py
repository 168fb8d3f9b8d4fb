"""Each call of the function runs for ever."""


def split(params, K):
    while True:
        pass
