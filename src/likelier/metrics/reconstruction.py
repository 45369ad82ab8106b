"""How far reconstructions are from their images, pixel by pixel."""

import math

from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError


def mse(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> float:
    """The mean squared error per pixel and channel, averaged over the images.

        MSE = 1/(n c h w) Σ (x − y)²

    Times c·h·w it is the squared error per image that papers on MNIST quote.

    Args:
        x: images [n, c, h, w], intensities in [0, 1].
        y: their reconstructions, the same shape and range.

    Returns:
        The error in squared intensities.

    Raises:
        InputError: different shapes, no images, integers, or intensities outside [0, 1].

    >>> import torch
    >>> mse(torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5))
    0.25
    """
    if x.shape != y.shape or x.numel() == 0:
        raise InputError(f"images of shape {tuple(x.shape)} and {tuple(y.shape)}: wanted one shape, not empty")
    return float((intensities(x) - intensities(y)).square().mean())


def psnr(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> float:
    """The peak signal-to-noise ratio of the whole set.

        PSNR = 10 log₁₀(1 / MSE)

    Of the error averaged over the images, so that one perfect reconstruction does not make the average infinite.

    Args:
        x: images [n, c, h, w], intensities in [0, 1], so that the peak is 1.
        y: their reconstructions, the same shape and range.

    Returns:
        The ratio in decibels; `math.inf` if all are equal.

    Raises:
        InputError: as `mse`.

    >>> import torch
    >>> round(psnr(torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 4), 0.6)), 4)
    20.0
    """
    return psnr_of(mse(x, y))


def psnr_of(error: float) -> float:
    """The PSNR of a mean squared error, with a peak of 1.

    >>> psnr_of(0.01), psnr_of(0.0)
    (20.0, inf)
    """
    return -10 * math.log10(error) if error > 0 else math.inf


def intensities(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """`x` in float64, if its values lie in [0, 1]; InputError otherwise."""
    if not x.is_floating_point():
        raise InputError(f"images are {x.dtype}: wanted floats in [0, 1]; likelier.images.as_float converts bytes")
    low, high = (float(v) for v in x.detach().aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise InputError(f"intensities from {low:g} to {high:g}: wanted [0, 1]; clamp the reconstructions")
    return x.detach().double()
