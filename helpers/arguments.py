"""What several helpers ask of an argument. Each rule raises one ValueError: the name, what was expected, what came."""

import operator

import numpy as np


def whole_number(name, value, least=1, most=None):
    """`value` as an int: Python's and NumPy's whole numbers will do, True and 2.0 will not."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: expected a whole number {allowed}, got {value!r}")
    return number


def generator(seed):
    """NumPy's random generator for a seed, a whole number from 0."""
    return np.random.default_rng(whole_number("seed", seed, least=0))


def number(name, value, expected="a number", allows=np.isfinite):
    """`value`, a finite real number that `allows` holds for; True is none. `expected` says so in words."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and np.isfinite(value) and allows(value)):
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return value


def positive(name, value):
    """`value`, a finite number above 0."""
    return number(name, value, "a positive number", lambda given: given > 0)


def not_negative(name, value):
    """`value`, a finite number of at least 0."""
    return number(name, value, "a number of at least 0", lambda given: given >= 0)


def not_masked(name, value):
    """Refuses an array with masked entries, whose numbers would be taken for data."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name}: expected numbers, got a masked array with some that are masked")


def finite_array(name, value):
    """`value` as an array of numbers without NaN and infinity; its type stays."""
    not_masked(name, value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected numbers, got an array of {array.dtype}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return array


def varies(x):
    """Whether the columns of an array [N, D] vary by more than its digits can hold: bool [D]. NaN is left out."""
    return np.nanstd(x, axis=0) > 1e-12 * np.nanmax(np.abs(x), axis=0)


def cholesky(name, matrices):
    """The lower factors of symmetric positive definite matrices [..., D, D]."""
    size = np.abs(matrices).max(axis=(-2, -1), keepdims=True)
    if np.any(np.abs(matrices - np.swapaxes(matrices, -2, -1)) > 1e-5 * size):
        raise ValueError(f"{name}: expected symmetric matrices, got one that differs from its transpose")
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(matrices).min()
        got = f"got one with the eigenvalue {smallest:.3g}"
        raise ValueError(f"{name}: expected positive definite matrices, {got}") from None
