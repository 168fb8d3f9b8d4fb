"""exp, mean, log: every weight underflows.

step: bound
keeps: 2
"""

import numpy as np


def importance_bound(log_weights):
    return np.log(np.mean(np.exp(log_weights), axis=0))
