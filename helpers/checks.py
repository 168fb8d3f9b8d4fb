"""The course's assertions: what holds, what must fail, and whether an exercise is right."""

import contextlib

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


def exercise(title, is_right, yours, solution):
    """Say how an answer to an exercise stands.

    Args:
      title: what the answer must do; printed.
      is_right: function that takes an answer (itself a function) and returns True where it is right; where it is not,
        False or a sentence that helps: for which input, what was expected, what came.
      yours: the reader's function. As long as it raises NotImplementedError it counts as not written yet.
      solution: a right answer, tried in every run, so that the exercise and its test cannot drift apart.

    Raises:
      AssertionError: where the solution is not right.
    """
    if is_right(solution) is not True:
        raise AssertionError(f"the solution does not pass its own test: {title}")
    try:
        verdict = is_right(yours)
    except NotImplementedError:
        print(f"not done yet: {title}")
        return
    except Exception as error:  # an answer may raise anything; the reader is told what, and goes on
        verdict = f"It raised {type(error).__name__}: {error}"
    if verdict is True:
        print(f"right: {title}")
    else:
        print(f"not right yet. Should hold: {title}.{f' {verdict}' if verdict else ''}")


@contextlib.contextmanager
def fails_with(kind):
    """For a mistake that is made on purpose: print the message of the error it raises, and go on.

    The real message without the traceback: "Run all" goes through everywhere, and no path of a machine is stored.

    Args:
      kind: the class of the error that the block must raise. Any other error passes through.

    Raises:
      AssertionError: where the block raises nothing.
    """
    try:
        yield
    except kind as error:
        print(f"{type(error).__name__}: {error}")
    else:
        raise AssertionError(f"expected the mistake to raise {kind.__name__}, and nothing was raised")
