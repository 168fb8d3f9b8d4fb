"""Written for one normal.

step: draw
keeps: 1
"""

import numpy as np


def draw(eps, loc, scale_tril):
    return loc + eps @ scale_tril.T
