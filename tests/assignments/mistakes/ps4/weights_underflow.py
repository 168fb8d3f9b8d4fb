"""Densities divided by their sum: 0 / 0 far out.

step: weights
keeps: 2
"""

import numpy as np
from scipy.stats import multivariate_normal


def conditional_weights(logits, loc, covariance, x):
    m, joint = x.shape[1], []
    for k in range(len(logits)):
        density = multivariate_normal(loc[k, :m], covariance[k, :m, :m]).pdf(x)
        joint.append(np.exp(logits[k]) * np.reshape(density, len(x)))
    joint = np.stack(joint, axis=1)
    return joint / joint.sum(axis=1, keepdims=True)
