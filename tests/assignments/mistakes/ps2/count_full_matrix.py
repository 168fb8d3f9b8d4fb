"""D squared numbers for a triangular factor.

step: count
keeps: 0
"""


def flat_size(K, D, structure):
    return K + K * D + {"tril": K * D * D, "diag": K * D, "tied": D * D}[structure]
