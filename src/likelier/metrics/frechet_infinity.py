"""The Fréchet distance of infinitely many images, extrapolated: without the bias that a finite number gives it.

Min Jin Chong, David Forsyth: Effectively Unbiased FID and Inception Score and Where to Find Them, 2020,
arXiv 1911.07023.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.frechet import frechet_distance
from likelier.metrics.inputs import in_order, pair
from likelier.threads import by_piece

SHARES = torch.linspace(0.5, 1, 15, dtype=torch.float64)
"""Of both sets, at which the distance is taken. Below a half, and as many dimensions as images, 1/n bends."""


def frechet_distance_infinity(
    real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], generator: torch.Generator
) -> float:
    """The intercept of a line through Fréchet distances at several sizes of both sets, against the inverse of the size.

        FD(s) ≈ FD∞ + b/s   for the distance between random shares s of the real images and s of the fakes

    The bias of FD is b₁/n + b₂/m to first order, so it is b/s when both sets shrink alike, and gone at 1/s = 0. The
    paper shrinks the fakes alone, down to a tenth, against a fixed set of real images. Its intercept keeps the bias of
    the real side, which is half of the whole where n = m: harmless for 50,000 images, not for 10,000.

    It is the distance between the distributions if both sets are independent samples of them. Copies of the real
    images are not: their distance falls faster than b/s, and the intercept lies below 0. It is as noisy as FD, and the
    better model is not always the one with the lower intercept.

    Args:
        real: features [n, d] of real images, n > 2d.
        fake: features [m, d] of samples from the same extractor, m > 2d.
        generator: draws the subsets; the rows are sorted first, so their order is no chance.

    Returns:
        The distance in squared units of the features; it can be negative by chance.

    Raises:
        InputError: 2d rows or fewer, NaN or infinite features, different d, or real features that do not vary.

    Source:
        Chong, Forsyth: Effectively Unbiased FID and Inception Score and Where to Find Them, 2020, arXiv 1911.07023,
        sections 3 and 4.

    >>> import torch
    >>> x, y = torch.randn(2, 1000, 10, generator=torch.Generator().manual_seed(0))
    >>> round(frechet_distance(x, y), 2), round(frechet_distance_infinity(x, y, torch.Generator().manual_seed(1)), 2)
    (0.09, 0.02)
    """
    real, fake = pair(real, fake)
    if min(len(real), len(fake)) <= 2 * real.shape[1]:
        raise InputError(
            f"{len(real)} and {len(fake)} rows of {real.shape[1]} features: wanted more than {2 * real.shape[1]} of "
            "each to extrapolate from, as the bias is not of the order 1/n below"
        )
    real, fake = in_order(real), in_order(fake)
    subsets = [(subset(real, share, generator), subset(fake, share, generator)) for share in SHARES.tolist()]
    distances = by_piece(lambda pair: frechet_distance(real[pair[0]], fake[pair[1]]), subsets)
    inverse, y = 1 / SHARES, torch.tensor(distances, dtype=torch.float64)
    centred = inverse - inverse.mean()
    slope = (centred * y).sum() / centred.square().sum()
    return float(y.mean() - slope * inverse.mean())


def subset(x: Float[Tensor, "n d"], share: float, generator: torch.Generator) -> Int64[Tensor, " m"]:
    """Which rows are that share of all, drawn without repetition."""
    order = torch.randperm(len(x), generator=generator, device=generator.device)
    return order[: round(share * len(x))].to(x.device)
