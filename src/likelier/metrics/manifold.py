"""Precision, recall, density and coverage: fidelity and diversity, in balls around each image up to its k-th neighbour.

Tuomas Kynkäänniemi, Tero Karras, Samuli Laine, Jaakko Lehtinen, Timo Aila: Improved Precision and Recall Metric for
Assessing Generative Models, 2019, arXiv 1904.06991; Muhammad Ferjad Naeem, Seong Joon Oh, Youngjung Uh, Yunjey Choi,
Jaejun Yoo: Reliable Fidelity and Diversity Metrics for Generative Models, 2020, arXiv 2002.09797.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import chunk_rows, pair


class Manifold(NamedTuple):
    """How two sets of features overlap. Precision or density alone misleads: blurred images raise both."""

    precision: float
    """The share of fakes inside a ball of a real image, 0 to 1."""
    recall: float
    """The share of real images inside a ball of a fake, 0 to 1."""
    density: float
    """How many balls of real images a fake lies in, over k: near 1 for honest samples, unbounded above."""
    coverage: float
    """The share of real images with a fake inside their ball, 0 to 1."""


def precision_recall_density_coverage(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int = 5) -> Manifold:
    """How many fakes look real, and how many real images have a fake that looks like them.

        precision = 1/m Σⱼ 1[∃i: yⱼ ∈ B(xᵢ)]      density  = 1/km Σⱼ Σᵢ 1[yⱼ ∈ B(xᵢ)]
        recall    = 1/n Σᵢ 1[∃j: xᵢ ∈ B(yⱼ)]      coverage = 1/n Σᵢ 1[∃j: yⱼ ∈ B(xᵢ)]

    B(x) is the open ball around x that reaches to its k-th nearest neighbour among its own set, itself not counted.
    Open, as in Naeem's code, where Kynkäänniemi's paper writes ≤: they differ in ties only, and sets that are the same
    then have density 1 exactly.

    Args:
        real: features [n, d] of real images, n > k.
        fake: features [m, d] of samples from the same extractor, m > k.
        k: which neighbour the balls reach to; one for all four figures.

    Returns:
        The four figures. They depend on n and m: compare at equal sizes only.

    Raises:
        InputError: k < 1, k rows or fewer, NaN or infinite features, different d, or real features that do not vary.

    Source:
        Kynkäänniemi et al.: Improved Precision and Recall Metric for Assessing Generative Models, 2019,
        arXiv 1904.06991, Eqs. (1), (2); Naeem et al.: Reliable Fidelity and Diversity Metrics for Generative Models,
        2020, arXiv 2002.09797, Eqs. (3), (5).

    >>> import torch
    >>> line = torch.arange(8.0)[:, None]
    >>> precision_recall_density_coverage(line, line + 100, k=2)
    Manifold(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    if k < 1:
        raise InputError(f"k is {k}: wanted the number of a neighbour, 1 or more")
    real, fake = pair(real, fake, least=k + 1)
    # Near the origin rounding is least.
    centre = real.mean(dim=0)
    real, fake = real - centre, fake - centre
    return overlap(real, fake, ball_sizes(real, k), ball_sizes(fake, k), k)


def overlap(
    real: Float[Tensor, "n d"],
    fake: Float[Tensor, "m d"],
    real_balls: Float[Tensor, " n"],
    fake_balls: Float[Tensor, " m"],
    k: int,
) -> Manifold:
    """The four figures, from the squared radii of the balls; some real images at a time."""
    in_a_real_ball = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = covered = pairs = 0
    size = chunk_rows(len(fake))
    for x, radius in zip(torch.split(real, size), torch.split(real_balls, size), strict=True):
        distances = squared_distances(x, fake)
        inside = distances < radius[:, None]
        in_a_real_ball |= inside.any(dim=0)
        pairs += int(inside.sum())
        covered += int(inside.any(dim=1).sum())
        recalled += int((distances < fake_balls).any(dim=1).sum())
    n, m = len(real), len(fake)
    return Manifold(int(in_a_real_ball.sum()) / m, recalled / n, pairs / (k * m), covered / n)


def ball_sizes(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, " n"]:
    """The squared distance of each row to its k-th nearest other row, less the error of rounding.

    Without the last, ties would be decided by rounding: the k-th neighbour would be inside or out by chance, and a
    point that is repeated k times would have a ball of radius 1e-8 and not of 0.
    """
    # The nearest of k + 1 is the row itself, at 0.
    parts = [
        squared_distances(part, x).topk(k + 1, largest=False).values[:, -1]
        for part in torch.split(x, chunk_rows(len(x)))
    ]
    radius = torch.cat(parts)
    return radius - 4 * x.shape[1] * torch.finfo(x.dtype).eps * (x.square().sum(dim=1) + radius)


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """‖x‖² − 2 x·y + ‖y‖²: twelve times as fast as differences at d = 1000, and safe in float64 near the origin."""
    return torch.addmm(y.square().sum(dim=1), x, y.mT, alpha=-2).add_(x.square().sum(dim=1)[:, None])
