"""Structural similarity: how alike two images are in luminance, contrast and structure, window by window.

Zhou Wang, Alan C. Bovik, Hamid R. Sheikh, Eero P. Simoncelli: Image Quality Assessment: From Error Visibility to
Structural Similarity, 2004, IEEE Transactions on Image Processing 13(4), 600-612.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import chunk_rows
from likelier.metrics.reconstruction import intensities

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # (K₁L)² and (K₂L)², with intensities of range L = 1


def ssim(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> float:
    """The mean structural similarity of the images.

        SSIM = (2μₓμᵧ + C₁)(2σₓᵧ + C₂) / ((μₓ² + μᵧ² + C₁)(σₓ² + σᵧ² + C₂)),   C₁ = .01², C₂ = .03²

    Means, variances and covariance are weighted by a Gaussian of σ = 1.5 in windows of 11×11 pixels, which lie wholly
    inside the image, as in the authors' code. Libraries that extend the image by reflection count its border too, and
    so find other figures. Each channel is one image.

    Args:
        x: images [n, c, h, w], intensities in [0, 1], sides of 11 pixels or more.
        y: their reconstructions, the same shape and range.

    Returns:
        The mean over windows, channels and images: 1 for equal images, about 0 for unrelated ones, −1 at worst.

    Raises:
        InputError: different shapes, no images, sides below 11 pixels, integers, or intensities outside [0, 1].

    Source:
        Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity,
        2004, IEEE Transactions on Image Processing 13(4), 600-612, Eqs. (13) to (17).

    >>> import torch
    >>> x = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> ssim(x, x), round(ssim(torch.zeros_like(x), torch.ones_like(x)), 4)
    (1.0, 0.0001)
    """
    if x.shape != y.shape or x.numel() == 0:
        raise InputError(f"images of shape {tuple(x.shape)} and {tuple(y.shape)}: wanted one shape, not empty")
    if min(x.shape[-2:]) < WINDOW:
        raise InputError(
            f"images of {x.shape[-2]}×{x.shape[-1]} pixels: SSIM is not defined below {WINDOW}, its window"
        )
    size = chunk_rows(x[0].numel())
    parts = zip(torch.split(intensities(x), size), torch.split(intensities(y), size), strict=True)
    return float(torch.cat([similarity(a, b) for a, b in parts]).mean())


def similarity(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """The similarity of each pair of images."""
    down, right = windows(x.shape[2]).to(x.device), windows(x.shape[3]).to(x.device)

    def mean(image: Tensor) -> Tensor:
        return down @ image @ right.mT

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + C1) / (mu_x**2 + mu_y**2 + C1)
    structure = (2 * cov + C2) / (var_x + var_y + C2)
    return (luminance * structure).mean(dim=(1, 2, 3))  # Eq. (13)


def windows(side: int) -> Float[Tensor, "positions side"]:
    """The Gaussian weights of each position of the window along one side: a row for each position."""
    offset = torch.arange(side, dtype=torch.float64) - torch.arange(side - WINDOW + 1)[:, None] - WINDOW // 2
    weights = torch.where(offset.abs() <= WINDOW // 2, torch.exp(-offset.square() / (2 * SIGMA**2)), 0)
    return weights / weights.sum(dim=1, keepdim=True)
