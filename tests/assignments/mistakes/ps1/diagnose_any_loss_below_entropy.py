"""A loss a hair below the entropy taken for a fault.

step: diagnose
keeps: 1
"""

import numpy as np
from scipy.special import softmax


def diagnose(report):
    if report["loss"] < report["entropy"]:
        return "sees the point"
    if np.ptp(report["loc"], axis=0).max() < 1e-3:
        return "started alike"
    if not np.allclose(report["weights"], softmax(report["logits"]), atol=0.01):
        return "softmax twice"
    return "none of these"
