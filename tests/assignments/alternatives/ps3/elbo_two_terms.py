"""Reconstruction minus cost, each averaged by itself.

step: elbo
"""


def elbo(log_likelihood, log_prior, log_q):
    S = log_q.shape[0]
    rebuilt = log_likelihood.sum(axis=0) / S
    cost = (log_q - log_prior).sum(axis=0) / S
    return rebuilt - cost
