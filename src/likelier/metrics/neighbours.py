"""Nearest neighbours, exactly: found by a fast product of matrices, and measured by differences.

The search is in float32, whose rounding it bounds: every pair that could be the nearest is measured again in float64.
So a copy has the distance 0, and no neighbour is missed, at half the memory and twice the speed of float64.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from likelier.metrics.inputs import chunk_rows, rows, same_dimension
from likelier.threads import by_piece

BLOCK = 32
"""Rows of which the search keeps only the nearest; all of them are measured where one could be the nearest."""
ROWS, TILE = 256, 128
"""Rows of x, and blocks of y, that are multiplied at a time: their product stays in a processor's cache."""


class Neighbours(NamedTuple):
    """The nearest neighbour of each row."""

    distances: Float[Tensor, " n"]
    """Euclidean, float64; 0 for a copy."""
    indices: Int64[Tensor, " n"]
    """Which row it is; of several at one distance, the first."""


def nearest_distances(x: Float[Tensor, "n d"], among: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """How far each row of `x` is from the nearest row of `among`.

        L(xᵢ) = minⱼ ‖xᵢ − yⱼ‖

    Args:
        x: features, or flattened pixels [n, d].
        among: the rows to look among [m, d].

    Returns:
        Euclidean distances [n] in float64, in the units of the features; 0 for an exact copy.

    Raises:
        InputError: no rows, NaN or infinite features, or different d.

    >>> import torch
    >>> nearest_distances(torch.tensor([[0.0], [7.0]]), torch.tensor([[1.0], [7.0]])).tolist()
    [1.0, 0.0]
    """
    return nearest(x, among).distances


def nearest_other_distances(x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """How far each row is from the nearest other row; 0 where the row is there twice.

        L(xᵢ) = min_{j≠i} ‖xᵢ − xⱼ‖

    Args:
        x: features, or flattened pixels [n, d], n ≥ 2.

    Returns:
        Euclidean distances [n] in float64, in the units of the features.

    Raises:
        InputError: fewer than two rows, NaN or infinite features.

    >>> import torch
    >>> nearest_other_distances(torch.tensor([[0.0], [1.0], [5.0], [5.0]])).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    x = rows("features", x)
    return search(x, x, others=True).distances


def nearest(x: Float[Tensor, "n d"], among: Float[Tensor, "m d"]) -> Neighbours:
    """The nearest row of `among` for each row of `x`, with its distance; arguments as `nearest_distances`."""
    x, among = rows("features x", x, least=1), rows("features to look among", among, least=1)
    same_dimension(x, among)
    return search(x, among)


def search(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], others: bool = False) -> Neighbours:
    """The nearest row of y for each row of x; with `others`, where x is y, another than the row itself."""
    least = -(-len(y) // BLOCK)
    tiles = -(-least // TILE)
    blocks = tiles * -(-least // tiles)  # row j of y is in block j modulo `blocks`
    a, b = for_search(x, y)
    norms = F.pad(b.square().sum(dim=1), (0, BLOCK * blocks - len(b)))
    largest = norms.view(BLOCK, blocks).amax(dim=0)
    norms[len(b) :] = torch.inf
    # A column more puts ‖y‖² into the product, and a row of padding at infinity.
    a_1 = F.pad(a, (0, 1), value=1)
    b_1 = torch.cat([F.pad(-2 * b, (0, 0, 0, len(norms) - len(b))), norms[:, None]], dim=1)
    b_1 = b_1.view(BLOCK, tiles, blocks // tiles, -1).transpose(0, 1).flatten(1, 2)
    single = torch.finfo(torch.float32)

    def of_part(start: int) -> Neighbours:
        part, itself = a[start : start + ROWS], torch.arange(start, min(start + ROWS, len(a)), device=x.device)
        low = least_in_blocks(a_1[start : start + ROWS], b_1, itself if others else None)
        # A sum of d products is off by no more than d roundings of its terms, and 2|x·y| ≤ ‖x‖² + ‖y‖².
        slack = (x.shape[1] + 8) * (single.eps * (part.square().sum(dim=1)[:, None] + largest) + single.tiny)
        possible = low - slack <= (low + slack).amin(dim=1, keepdim=True)
        return measured(x[start : start + ROWS], y, possible, itself if others else None)

    found = by_piece(of_part, range(0, len(x), ROWS))
    return Neighbours(torch.cat([part.distances for part in found]), torch.cat([part.indices for part in found]))


def least_in_blocks(
    a_1: Float[Tensor, "p d1"], b_1: Float[Tensor, "tiles rows d1"], itself: Int64[Tensor, " p"] | None
) -> Float[Tensor, "p k"]:
    """The least ‖y‖² − 2 x·y of each block, which lacks ‖x‖² of a squared distance; some blocks at a time."""
    width = b_1.shape[1] // BLOCK
    blocks = len(b_1) * width
    low = []
    for i, tile in enumerate(b_1):
        offsets = (a_1 @ tile.mT).view(len(a_1), BLOCK, width)
        if itself is not None:
            here = (itself % blocks // width == i).nonzero()[:, 0]
            offsets[here, itself[here] // blocks, itself[here] % blocks - i * width] = torch.inf
        low.append(offsets.amin(dim=1))
    return torch.cat(low, dim=1)


def for_search(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Both sets in float32: near the origin, where rounding is least, and no larger than 1, which cannot overflow."""
    centre = y.mean(dim=0)
    a, b = x - centre, y - centre
    scale = torch.maximum(a.abs().max(), b.abs().max())
    scale = torch.where(scale > 0, scale, 1)
    return (a / scale).float(), (b / scale).float()


def measured(
    x: Float[Tensor, "p d"], y: Float[Tensor, "m d"], possible: Bool[Tensor, "p k"], itself: Int64[Tensor, " p"] | None
) -> Neighbours:
    """The nearest among the rows of the possible blocks, by differences in float64."""
    row, block = possible.nonzero(as_tuple=True)
    members = torch.arange(BLOCK, device=y.device) * possible.shape[1]
    nearest_in_block, index_in_block = [], []
    size = chunk_rows(BLOCK * x.shape[1])
    for r, b in zip(torch.split(row, size), torch.split(block, size), strict=True):
        index = b[:, None] + members
        squares = (y[index.clamp(max=len(y) - 1)] - x[r, None]).square_().sum(dim=2)
        squares[index >= len(y)] = torch.inf
        if itself is not None:
            squares[index == itself[r, None]] = torch.inf
        least = squares.amin(dim=1)
        nearest_in_block.append(least)
        index_in_block.append(torch.where(squares == least[:, None], index, len(y)).amin(dim=1))
    squares, index = torch.cat(nearest_in_block), torch.cat(index_in_block)
    best = squares.new_full((len(x),), torch.inf).scatter_reduce(0, row, squares, "amin")
    index = torch.where(squares == best[row], index, len(y))
    return Neighbours(best.sqrt(), index.new_full((len(x),), len(y)).scatter_reduce(0, row, index, "amin"))
