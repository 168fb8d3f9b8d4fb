"""The shared factor counted once for each component.

step: count
keeps: 2
"""


def flat_size(K, D, structure):
    triangle = D * (D + 1) // 2
    return K * (1 + D + {"tril": triangle, "diag": D, "tied": triangle}[structure])
