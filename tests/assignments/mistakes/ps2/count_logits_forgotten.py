"""The logits are forgotten.

step: count
keeps: 0
"""


def flat_size(K, D, structure):
    triangle = D * (D + 1) // 2
    return K * D + {"tril": K * triangle, "diag": K * D, "tied": triangle}[structure]
