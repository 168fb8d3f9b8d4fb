"""The order of D = 3, typed in.

step: unfill
keeps: 0
"""


def unfill_triangular(matrix):
    rows, columns = [2, 2, 2, 0, 1, 1], [2, 1, 0, 0, 1, 0]
    return matrix[..., rows, columns]
