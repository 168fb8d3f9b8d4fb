"""The course's assertions: what holds, what must fail, and whether an exercise is right."""

import contextlib
import functools
import textwrap

import numpy as np

WIDTH = 79  # characters of a printed line: a reader's column


def _say(text):
    """Print a text, its lines broken at the width of a reader's column."""
    for line in text.splitlines():
        print(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def check(claim, holds, value=None):
    """Print `claim` where it holds and stop with an AssertionError where it does not.

    Args:
      claim: the sentence that the cell stands for. It must not contain numbers that differ between runs.
      holds: one truth value (a bool, NumPy bool or boolean tensor of shape []).
      value: what the claim was judged by, printed behind it in brackets: a text as it is, rounded by you, a whole
        number in full, any other number to two significant digits. Where even those may differ between machines
        (rounding errors, training), the cell is tagged nbval-ignore-output: the claim is tested in any case.

    Raises:
      AssertionError: where `holds` is false; the message has the value.
      TypeError: where `holds` is not one truth value: a number or an array would pass by being non-zero or non-empty;
        where `value` is neither a text nor one number.
    """
    truth = np.asarray(holds)
    if truth.dtype != bool or truth.shape != ():
        raise TypeError(
            f"holds: expected one truth value, got {truth.dtype} of shape {truth.shape} for the claim: {claim}"
        )
    shown = "" if value is None else f" ({_rounded(value)})"
    if not truth:
        raise AssertionError(f"does not hold: {claim}{shown}")
    _say(f"holds: {claim}{shown}")


def _rounded(value):
    if isinstance(value, str):
        return value
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf":
        raise TypeError(f"value: expected a text or one number, got {number.dtype} of shape {number.shape}")
    return f"{number.item():.2g}" if number.dtype.kind == "f" else str(number.item())


def exercise(title, is_right, yours, solution=None):
    """Say how an answer to an exercise stands.

    Args:
      title: what the answer must do; printed.
      is_right: function that takes an answer (itself a function) and returns True where it is right; where it is not,
        False or a sentence that helps: for which input, what was expected, what came.
      yours: the reader's function. As long as it raises NotImplementedError it counts as not written yet.
      solution: a right answer, tried in every run, so that the exercise and its test cannot drift apart. None in the
        copies that students get (docs/teach.py).

    Raises:
      AssertionError: where the solution is not right.
    """
    if solution is not None and is_right(solution) is not True:
        raise AssertionError(f"the solution does not pass its own test: {title}")
    returned_none = []

    @functools.wraps(yours)
    def noted(*arguments, **options):
        answer = yours(*arguments, **options)
        returned_none.append(answer is None)
        return answer

    try:
        verdict = is_right(noted)
    except NotImplementedError:
        _say(f"not done yet: {title}")
        return
    except Exception as error:  # an answer may raise anything; the reader is told what, and goes on
        verdict = f"It raised {type(error).__name__}: {error}"
    if verdict is not True and any(returned_none):
        verdict = "It returned None: is there a return?"
    if verdict is True:
        _say(f"right: {title}")
    else:
        _say(f"not right yet. Should hold: {title}.{f' {verdict}' if verdict else ''}")


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
        _say(f"{type(error).__name__}: {error}")
    else:
        raise AssertionError(f"expected the mistake to raise {kind.__name__}, and nothing was raised")
