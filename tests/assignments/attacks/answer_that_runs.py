"""An answer that pretends to be of an object type that runs code when it is read."""

import pickle


class Runs:
    def __reduce__(self):
        return __import__("os").mkdir, ("WITNESS",)

    def __array__(self, *args, **kwargs):
        import numpy as np

        return np.array([pickle.dumps(self)], dtype=object)


def split(params, K):
    return Runs(), Runs(), Runs()
