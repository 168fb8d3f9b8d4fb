"""Numbers placed one by one along the last axis.

step: fill
"""

import numpy as np


def fill_triangular(numbers):
    m = numbers.shape[-1]
    D = 1
    while D * (D + 1) // 2 < m:
        D += 1
    source = [*range(D, m), *reversed(range(m))]
    answer = np.zeros((*numbers.shape[:-1], D, D))
    for i in range(D):
        for j in range(i + 1):
            answer[..., i, j] = numbers[..., source[i * D + j]]
    return answer
