"""The Fréchet distance between two sets of features, each seen as a Gaussian (FID where the extractor is Inception).

    FD = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

Martin Heusel, Hubert Ramsauer, Thomas Unterthiner, Bernhard Nessler, Sepp Hochreiter: GANs Trained by a Two
Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017, arXiv 1706.08500, Eq. (6).
"""

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import pair
from likelier.threads import so_many

SMALL = 256
"""Dimensions up to which threads would cost more than they save: a distance at d = 64 takes 20 ms on one."""


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The squared Fréchet (2-Wasserstein) distance of the Gaussians with the moments of `x` and of `y`.

        FD = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½)

    Biased upwards: two samples of n = m from one N(0, I_d) are expected at about 2d/n + d(d+1)/2n, so distances
    compare at equal n only.

    Args:
        x: features [n, d] of real images, n ≥ 2; n < d is allowed.
        y: features [m, d] from the same extractor.

    Returns:
        The distance in squared units of the features, at least 0.

    Raises:
        InputError: fewer than two rows, NaN or infinite features, different d, or an x that does not vary.

    Source:
        Heusel et al.: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017,
        arXiv 1706.08500, Eq. (6).

    >>> import torch
    >>> x = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    >>> round(frechet_distance(x, x + 3), 6)
    18.0
    """
    x, y = pair(x, y)
    with so_many(1) if x.shape[1] <= SMALL else nullcontext():
        return of_moments(x, y)


def of_moments(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The distance itself."""
    gap = x.mean(dim=0) - y.mean(dim=0)
    sigma1, sigma2 = covariance(x), covariance(y)
    distance = gap.square().sum() + sigma1.trace() + sigma2.trace() - 2 * trace_of_root(sigma1, sigma2)  # Eq. (6)
    return float(distance.clamp(min=0))


def covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The unbiased covariance of the rows; a matrix for d = 1 too, where torch.cov gives a scalar."""
    centred = x - x.mean(dim=0)
    return centred.mT @ centred / (len(x) - 1)


def trace_of_root(sigma1: Float[Tensor, "d d"], sigma2: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """tr((Σ₁Σ₂)^½): Σ₁Σ₂ has the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric, so none is complex."""
    values, vectors = torch.linalg.eigh(sigma1)
    half = vectors * roots(values)  # half halfᵀ = Σ₁, and halfᵀ Σ₂ half has the same eigenvalues again
    return roots(torch.linalg.eigvalsh(half.mT @ sigma2 @ half)).sum()


def roots(values: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Square roots of the eigenvalues of a semi-definite matrix; those below its rounding error are 0.

    A covariance of n < d rows has d − n + 1 eigenvalues of 0 that eigh returns as ±1e-16; their roots would be 1e-8.
    """
    noise = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    return torch.where(values > noise, values, 0).sqrt()
