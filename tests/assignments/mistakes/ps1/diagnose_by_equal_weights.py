"""Equal weights taken for the sign of a double softmax: a good model may have them.

step: diagnose
keeps: 1
"""

import numpy as np


def diagnose(report):
    if report["loss"] < report["entropy"] - 0.1:
        return "sees the point"
    if np.ptp(report["loc"], axis=0).max() < 1e-3:
        return "started alike"
    return "softmax twice" if report["weights"].max() < 0.75 else "none of these"
