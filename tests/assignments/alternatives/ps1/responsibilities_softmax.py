"""A softmax over the components, in a loop over the points.

step: responsibilities
"""

import numpy as np
from scipy.special import softmax


def responsibilities(logits, log_parts):
    return np.array([softmax(logits + row) for row in log_parts])
