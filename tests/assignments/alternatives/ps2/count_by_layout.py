"""Counted by adding up, factor by factor.

step: count
"""


def flat_size(K, D, structure):
    triangle = sum(range(1, D + 1))
    if structure == "tied":
        return K * (1 + D) + triangle
    return K * (1 + D + (triangle if structure == "tril" else D))
