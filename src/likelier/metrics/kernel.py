"""The kernel distance between two sets of features (KID where the extractor is Inception): an unbiased MMD².

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y),   k(x, y) = (x·y/d + 1)³

Mikołaj Bińkowski, Danica J. Sutherland, Michael Arbel, Arthur Gretton: Demystifying MMD GANs, 2018, arXiv 1801.01401.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import chunk_rows, pair
from likelier.threads import by_piece


def kernel_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy under the cubic kernel.

        MMD² = Σ_{i≠j} k(xᵢ, xⱼ)/n(n−1) + Σ_{i≠j} k(yᵢ, yⱼ)/m(m−1) − 2 Σ_{ij} k(xᵢ, yⱼ)/nm,   k(x, y) = (x·y/d + 1)³

    The paper averages over random subsets to save time; all rows are used here, so that no chance is in it. Unbiased
    means that it can be negative: of a set with itself it is −(2/n)(mean k(x, x) − mean of k(x, x′)), not 0.

    Args:
        x: features [n, d] of real images, n ≥ 2.
        y: features [m, d] from the same extractor, m ≥ 2.

    Returns:
        MMD², which has no unit: the kernel defines the scale.

    Raises:
        InputError: fewer than two rows, NaN or infinite features, different d, or an x that does not vary.

    Source:
        Bińkowski, Sutherland, Arbel, Gretton: Demystifying MMD GANs, 2018, arXiv 1801.01401, Eq. (4) and section 4.

    >>> import torch
    >>> kernel_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]]))
    9.5
    """
    x, y = pair(x, y)
    return mean_within(x) + mean_within(y) - 2 * kernel_sum(x, y) / (len(x) * len(y))  # Eq. (4)


def mean_within(x: Float[Tensor, "n d"]) -> float:
    """The mean of k over all ordered pairs of different rows."""
    n, d = x.shape
    itself = float((x.square().sum(dim=1) / d + 1).pow(3).sum())
    # k is symmetric: of two chunks, only the pairs of the first with the second are computed, and counted twice.
    size = chunk_rows(n)

    def of_chunk(start: int) -> float:
        part, later = x[start : start + size], x[start + size :]
        return kernel_sum(part, part) + 2 * kernel_sum(part, later)

    total = sum(by_piece(of_chunk, range(0, n, size)))
    return (total - itself) / (n * (n - 1))


def kernel_sum(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Σ_{ij} k(xᵢ, yⱼ), some rows of the kernel's matrix at a time."""
    d = x.shape[1]
    chunks = torch.split(x, chunk_rows(max(1, len(y))))
    return float(torch.stack(by_piece(lambda part: (part @ y.mT).div_(d).add_(1).pow_(3).sum(), chunks)).sum())
