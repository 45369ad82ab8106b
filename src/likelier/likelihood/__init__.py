"""Estimates of log p(x) for a decoder with a tractable prior: functions of tensors and callables, which know no family.

`observation` says what the pixels are, given the decoder's output; `bounds` has the ELBO and IWAE-K, which need an
encoder; `ais` anneals from the prior to the posterior, which needs none. All values are in nats per image.
"""

from likelier.likelihood.ais import (
    Annealing,
    Joint,
    Point,
    adapted_steps,
    evaluate,
    first_steps,
    hmc,
    log_mean_exp,
    sigmoid_schedule,
)
from likelier.likelihood.bounds import importance_bound, log_weights
from likelier.likelihood.observation import Bernoulli, Gaussian, Observation, binarise, dequantise, joint

__all__ = [
    "Annealing",
    "Bernoulli",
    "Gaussian",
    "Joint",
    "Observation",
    "Point",
    "adapted_steps",
    "binarise",
    "dequantise",
    "evaluate",
    "first_steps",
    "hmc",
    "importance_bound",
    "joint",
    "log_mean_exp",
    "log_weights",
    "sigmoid_schedule",
]
