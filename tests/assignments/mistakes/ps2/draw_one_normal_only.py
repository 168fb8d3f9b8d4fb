"""Written for one normal.

step: draw
keeps: 1
"""


def draw(eps, loc, scale_tril):
    return loc + eps @ scale_tril.T
