"""What the pixels are, given what the decoder says: p(x|z), and the pixels that it is a density of.

A Gaussian is a density of real numbers, and bytes are none: on bytes a model can reach any value by shrinking its
variance. So the bytes are dequantised, x' = (byte + u)/256 with u uniform on [0, 1), and figures are nats per image of
the density of x' on [0, 1]^d. The mean of log p(x') − d·ln 256 over u is then a lower bound on the log-probability of
the bytes (Theis, van den Oord, Bethge: A note on the evaluation of generative models, 2016, arXiv 1511.01844, section
3.1). A Bernoulli is a probability of bits, so that the bytes are drawn to be bits once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from likelier.distributions import Distribution

Decode = Callable[[Tensor], Tensor]
"""Codes [n, latent] → images [n, …] in [0, 1]."""

LEAST = 1e-6
"""A pixel's probability is kept this far from 0 and 1, where float32 ends: a wrong bit costs 13.8 nats at the most."""


@runtime_checkable
class Observation(Protocol):
    """p(x|z), given the images that z decodes to."""

    def log_prob(self, x: Float[Tensor, "m d"], decoded: Float[Tensor, "m k d"]) -> Float[Tensor, "m k"]:
        """log p(x|z) in nats per image, float64."""

    def sample(self, decoded: Float[Tensor, "m d"], generator: torch.Generator) -> Float[Tensor, "m d"]:
        """One x for each decoded image."""


@dataclass(frozen=True)
class Gaussian:
    """N(decoded, σ²I): independent pixels of one variance.

    >>> log_prob = Gaussian(0.5).log_prob(torch.zeros(1, 2), torch.ones(1, 1, 2))
    >>> round(log_prob.item() + math.log(math.pi), 6)
    -2.0
    """

    variance: float

    def log_prob(self, x: Float[Tensor, "m d"], decoded: Float[Tensor, "m k d"]) -> Float[Tensor, "m k"]:
        """−‖x − decoded‖² / 2σ² − d/2 · ln 2πσ², in nats per image."""
        squared_error = (decoded - x[:, None]).square().sum(-1).double()
        return -0.5 * (squared_error / self.variance + self._constant(x.shape[1]))

    def squared_error(self, log_prob: Float[Tensor, "m k"], d: int) -> Float[Tensor, "m k"]:
        """‖x − decoded‖², read back from log p(x|z)."""
        return self.variance * (-2 * log_prob - self._constant(d))

    def sample(self, decoded: Float[Tensor, "m d"], generator: torch.Generator) -> Float[Tensor, "m d"]:
        """The decoded images with Gaussian noise; not confined to [0, 1], as the model is not."""
        noise = torch.randn(decoded.shape, generator=generator, device=generator.device, dtype=decoded.dtype)
        return decoded + math.sqrt(self.variance) * noise

    def _constant(self, d: int) -> float:
        return d * math.log(2 * math.pi * self.variance)


@dataclass(frozen=True)
class Bernoulli:
    """Independent bits, with the decoded intensities as their probabilities.

    >>> Bernoulli().log_prob(torch.tensor([[0.0, 1.0]]), torch.tensor([[[0.5, 0.25]]])).exp()
    tensor([[0.1250]], dtype=torch.float64)
    """

    def log_prob(self, x: Float[Tensor, "m d"], decoded: Float[Tensor, "m k d"]) -> Float[Tensor, "m k"]:
        """Σ x ln p + (1 − x) ln(1 − p) in nats per image; p is kept within [LEAST, 1 − LEAST]."""
        p = decoded.clamp(LEAST, 1 - LEAST)
        bits = x[:, None]
        return (bits * p.log() + (1 - bits) * torch.log1p(-p)).sum(-1).double()

    def sample(self, decoded: Float[Tensor, "m d"], generator: torch.Generator) -> Float[Tensor, "m d"]:
        """Bits."""
        uniform = torch.rand(decoded.shape, generator=generator, device=generator.device, dtype=decoded.dtype)
        return (uniform < decoded.clamp(LEAST, 1 - LEAST)).to(decoded.dtype)


def dequantise(images: UInt8[Tensor, "n *shape"], generator: torch.Generator) -> Float[Tensor, "n *shape"]:
    """(byte + u)/256 with u uniform on [0, 1): real numbers on [0, 1), uniform within the cell of their byte.

    >>> x = dequantise(torch.tensor([[0, 255]], dtype=torch.uint8), torch.Generator().manual_seed(0))
    >>> (256 * x).floor()
    tensor([[  0., 255.]])
    """
    u = torch.rand(images.shape, generator=generator)
    return torch.minimum((images.float() + u) / 256, (images.float() + (1 - 2**-16)) / 256)  # float32 may round up


def binarise(images: UInt8[Tensor, "n *shape"], generator: torch.Generator) -> Float[Tensor, "n *shape"]:
    """Bits that are 1 with probability byte/255 (Salakhutdinov & Murray 2008), drawn once."""
    return (torch.rand(images.shape, generator=generator) < images.float() / 255).float()


def joint(
    prior: Distribution, decode: Decode, observation: Observation, x: Float[Tensor, "m d"]
) -> Callable[[Float[Tensor, "m k latent"]], tuple[Float[Tensor, "m k"], Float[Tensor, "m k"]]]:
    """z → (log p(z), log p(x|z)) for k codes of each image, in nats, float64; differentiable in z.

    Args:
        prior: p(z) of one code.
        decode: codes [n, latent] → images [n, …].
        observation: p(x|z), given the decoded image.
        x: the images, flattened.
    """

    def log_densities(z: Float[Tensor, "m k latent"]) -> tuple[Float[Tensor, "m k"], Float[Tensor, "m k"]]:
        m, k, _ = z.shape
        decoded = decode(z.reshape(m * k, -1)).reshape(m, k, -1)
        return prior.log_prob(z).double(), observation.log_prob(x, decoded)

    return log_densities
