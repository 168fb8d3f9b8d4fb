"""The weights of the joint mixture, for every x.

step: weights
keeps: 0
"""

import numpy as np
from scipy.special import softmax


def conditional_weights(logits, loc, covariance, x):
    return np.broadcast_to(softmax(logits), (len(x), len(logits)))
