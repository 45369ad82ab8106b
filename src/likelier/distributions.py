"""Distributions over latent codes: small, and drawn only from a generator that the caller hands in.

torch.distributions sample from the global generator, which nothing in likelier may touch.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Distribution(Protocol):
    """What priors and encoders return."""

    @property
    def mean(self) -> Tensor:
        """The expectation, [..., d]."""

    def sample(self, generator: torch.Generator, n: int | None = None) -> Tensor:
        """One draw for each element of the batch, [..., d]; with `n`, that many: [n, ..., d]."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats, summed over the last dimension."""


@dataclass(frozen=True, eq=False)
class Normal:
    """N(mu, diag(exp(log_var))): a diagonal Gaussian, [..., d].

    >>> q = Normal(torch.zeros(2), torch.zeros(2))
    >>> round(q.log_prob(torch.zeros(2)).item(), 4)  # −log 2π
    -1.8379
    """

    mu: Float[Tensor, "*b d"]
    log_var: Float[Tensor, "*b d"]

    @property
    def mean(self) -> Float[Tensor, "*b d"]:
        """mu."""
        return self.mu

    def sample(self, generator: torch.Generator, n: int | None = None) -> Float[Tensor, "*nb d"]:
        """mu + sigma·eps with eps from `generator`, on whose device it is drawn."""
        shape = self.mu.shape if n is None else (n, *self.mu.shape)
        eps = torch.randn(shape, generator=generator, device=generator.device, dtype=self.mu.dtype)
        return self.reparameterise(eps.to(self.mu.device))

    def reparameterise(self, eps: Float[Tensor, "*nb d"]) -> Float[Tensor, "*nb d"]:
        """mu + sigma·eps: the draw that standard normal noise `eps` becomes (Kingma & Welling 2014, section 2.4)."""
        return self.mu + torch.exp(0.5 * self.log_var) * eps

    def log_prob(self, z: Float[Tensor, "*nb d"]) -> Float[Tensor, "*nb"]:
        """log N(z; mu, diag(exp(log_var))) in nats."""
        squared = (z - self.mu) ** 2 * torch.exp(-self.log_var)
        return -0.5 * (squared + self.log_var + math.log(2 * math.pi)).sum(-1)


def standard_normal(d: int, like: Tensor) -> Normal:
    """N(0, I) of d dimensions, of the type and on the device of `like`: the prior of every family here."""
    zeros = torch.zeros(d, dtype=like.dtype, device=like.device)
    return Normal(zeros, zeros)
