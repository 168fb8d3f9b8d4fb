"""The tests in another order, the softmax by hand.

step: diagnose
"""

import numpy as np


def diagnose(report):
    e = np.exp(np.asarray(report["logits"]) - np.max(report["logits"]))
    if np.max(np.abs(e / e.sum() - report["weights"])) > 5e-3:
        return "softmax twice"
    if np.all(np.ptp(report["loc"], axis=0) < 1e-3):
        return "started alike"
    return "sees the point" if report["entropy"] - report["loss"] > 0.1 else "none of these"
