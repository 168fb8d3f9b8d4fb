"""The weights are left out.

step: dead
keeps: 0
"""

import numpy as np
import tensorflow_probability as tfp


def dead_components(weights, loc, scale_tril, codes):
    parts = tfp.distributions.MultivariateNormalTriL(loc, scale_tril)
    winner = parts.log_prob(codes[:, np.newaxis]).numpy().argmax(axis=1)
    return sorted(set(range(len(weights))) - set(winner.tolist()))
