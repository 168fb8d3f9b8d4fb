"""Differences in float64, a loop over the samples in blocks.

step: kl-estimate
"""

import numpy as np


def kl_estimate(q, prior, num_samples, seed):
    parts = []
    for block in range(4):
        z = q.sample(num_samples // 4, seed=seed + block)
        parts.append(np.float64(q.log_prob(z)) - np.float64(prior.log_prob(z)))
    return np.concatenate(parts).mean(axis=0)
