"""How far the codes of all images together are from the prior that samples are drawn from.

Ilya Tolstikhin, Olivier Bousquet, Sylvain Gelly, Bernhard Schölkopf: Wasserstein Auto-Encoders, 2018,
arXiv 1711.01558.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import chunk_rows, rows, same_dimension
from likelier.metrics.manifold import squared_distances

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the widths of the kernel; those of the authors' code."""


def mmd_to_prior(codes: Float[Tensor, "n d"], prior_draws: Float[Tensor, "m d"]) -> float:
    """The unbiased squared maximum mean discrepancy of the aggregate posterior from the prior.

        MMD² = Σ_{i≠j} k(zᵢ, zⱼ)/n(n−1) + Σ_{i≠j} k(z̃ᵢ, z̃ⱼ)/m(m−1) − 2 Σ_{ij} k(zᵢ, z̃ⱼ)/nm
        k(z, z̃) = Σ_s C/(C + ‖z − z̃‖²),   C = 2 d s,   s = .1, .2, .5, 1, 2, 5, 10

    2d is the expected squared distance of two draws from N(0, I_d), so for a prior of another scale divide both sets
    by its standard deviation. The codes are draws from q(z|x), one an image: their means alone are too narrow.

    Args:
        codes: draws z ~ q(z|x) for n ≥ 2 images [n, d], in units of the prior's standard deviation.
        prior_draws: draws z̃ ~ p(z) [m, d], m ≥ 2.

    Returns:
        MMD², which has no unit, about 0 for codes that are spread as the prior, and below 0 as often as above; 7 · 2
        at most, for seven kernels.

    Raises:
        InputError: fewer than two rows, NaN or infinite codes, or different d.

    Source:
        Tolstikhin, Bousquet, Gelly, Schölkopf: Wasserstein Auto-Encoders, 2018, arXiv 1711.01558, section 4 and
        algorithm 2.

    >>> import torch
    >>> round(mmd_to_prior(torch.tensor([[1e6], [1e6]]), torch.tensor([[0.0], [0.0]])), 4)
    14.0
    """
    x, y = rows("codes", codes), rows("draws from the prior", prior_draws)
    same_dimension(x, y)
    centre = y.mean(dim=0)  # near the origin rounding is least
    x, y = x - centre, y - centre
    n, m = len(x), len(y)
    itself = len(SCALES)  # k(z, z)
    within_x, within_y = kernel_sum(x, x) / n - itself, kernel_sum(y, y) / m - itself
    return within_x / (n - 1) + within_y / (m - 1) - 2 * kernel_sum(x, y) / (n * m)


def kernel_sum(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Σ_{ij} k(xᵢ, yⱼ), some rows of the kernel's matrix at a time."""
    widths = [2 * x.shape[1] * scale for scale in SCALES]
    total = 0.0
    for part in torch.split(x, chunk_rows(len(y))):
        distances = squared_distances(part, y).clamp_(min=0)
        total += float(sum(c * (distances + c).reciprocal_().sum() for c in widths))
    return total
