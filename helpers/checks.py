"""The course's assertion: it says what holds, and stops the run where it does not."""

import numpy as np


def check(claim, holds):
    """Print `claim` where it holds and stop with an AssertionError where it does not.

    Args:
      claim: the sentence that the cell stands for. It must not contain numbers that differ between runs.
      holds: one truth value (a bool, NumPy bool or boolean tensor of shape []).

    Raises:
      AssertionError: where `holds` is false.
      TypeError: where `holds` is not one truth value: a number or an array would pass by being non-zero or non-empty.
    """
    value = np.asarray(holds)
    if value.dtype != bool or value.shape != ():
        raise TypeError(
            f"holds: expected one truth value, got {value.dtype} of shape {value.shape} for the claim: {claim}"
        )
    if not value:
        raise AssertionError(f"does not hold: {claim}")
    print(f"holds: {claim}")
