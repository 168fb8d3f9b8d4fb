"""A quiet TensorFlow, one seed for everything that draws, and the line that says which versions ran."""

import contextlib
import os
import platform
import random
import sys

from helpers import arguments


@contextlib.contextmanager
def _silent_stderr():
    """TensorFlow's C++ side writes past Python's sys.stderr, straight to file descriptor 2."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def quiet_import():
    """Import TensorFlow and TensorFlow Probability without the log lines of their start. Errors still raise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf
        import tensorflow_probability  # noqa: F401
        import tf_keras  # noqa: F401

        tf.get_logger().setLevel("ERROR")
        tf.config.list_physical_devices()  # the search for a GPU logs on its first call


def set_seed(seed):
    """Seed Python, NumPy and TensorFlow.

    Raises:
      ValueError: where `seed` is not a whole number from 0 to 4294967295 (2**32 - 1).
    """
    seed = arguments.whole_number("seed", seed, least=0, most=2**32 - 1)
    import numpy as np
    import tensorflow as tf

    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)


def versions():
    """One line: the versions that this run uses."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras

    return (
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, TFP {tfp.__version__}, "
        f"tf_keras {tf_keras.__version__}, NumPy {np.__version__}"
    )


def start(seed):
    """What every notebook does first: a quiet import, the seed, and the version line as its output."""
    quiet_import()
    set_seed(seed)
    print(versions())
