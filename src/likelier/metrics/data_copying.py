"""The test for data-copying C_T: are samples nearer to the training images than fresh images are, region by region?

Casey Meehan, Kamalika Chaudhuri, Sanjoy Dasgupta: A Non-Parametric Test to Detect Data-Copying in Generative Models,
2020, arXiv 2004.05675.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.clusters import clusters
from likelier.metrics.inputs import reference, rows, same_dimension
from likelier.metrics.neighbours import nearest_distances

ENOUGH = 20
"""Held-out images, and fakes, that a cell wants: with fewer, U is not nearly normal."""


def data_copying_ct(
    train: Float[Tensor, "n d"], held_out: Float[Tensor, "h d"], fake: Float[Tensor, "m d"], cells: int = 10
) -> float:
    """The mean over cells of the z-score of U for the distances to the training set, fakes against held-out images.

        C_T = Σ_π P(π) Z_U(π) / Σ_π P(π),   Z_U = (U − hm/2) / √(hm(h + m + 1)/12)

    The cells π are those of k-means on the training features, and P(π) is the share of held-out images in them. In a
    cell with h held-out images and m fakes, U counts the pairs in which the fake is the further from the nearest
    training image of the cell, ties as half; its variance is the one corrected for ties. Cells with fewer than 20 of
    either are left out, as the paper leaves out those with few fakes.

    Below 0: the fakes are nearer to training images than fresh images are, which is copying; above 0: further away,
    which is underfitting. Two traps. It is a z-score: the same model has twice the C_T at four times the images, so
    compare at equal sizes only. And nearer is not copied: honest samples that are smoother than images, or keep to
    the middle of their class, lie below −3 at some thousand images. It describes; it should not decide.

    Args:
        train: features [n, d] of the training images.
        held_out: features [h, d] of images of the data that no training saw.
        fake: features [m, d] of samples.
        cells: the number of cells, 1 to n.

    Returns:
        C_T in standard deviations: about N(0, 1) for honest fakes and one cell, and narrower for several.

    Raises:
        InputError: too few rows, no cell with enough of them, NaN or infinite features, different d, or training
            features that do not vary.

    Source:
        Meehan, Chaudhuri, Dasgupta: A Non-Parametric Test to Detect Data-Copying in Generative Models, 2020,
        arXiv 2004.05675, section 3.

    >>> import torch
    >>> train = torch.arange(100.0)[:, None]
    >>> round(data_copying_ct(train, train[:50] + 0.3, train[:50], cells=1), 2)
    -9.44
    """
    train, fake = reference("features of training images", train), rows("features of samples", fake)
    held_out = rows("features of held-out images", held_out)
    same_dimension(train, held_out, fake)
    if not 1 <= cells <= len(train):
        raise InputError(f"{cells} cells of {len(train)} training images: wanted 1 to that many")
    cell_of = clusters(train, cells)
    of_train, of_held_out, of_fake = cell_of(train), cell_of(held_out), cell_of(fake)
    scores, weights = [], []
    for cell in range(cells):
        near, p, q = train[of_train == cell], held_out[of_held_out == cell], fake[of_fake == cell]
        if min(len(p), len(q)) >= ENOUGH and len(near) > 0:
            scores.append(z_score(nearest_distances(q, near), nearest_distances(p, near)))
            weights.append(len(p) / len(held_out))
    if not scores:
        raise InputError(
            f"none of {cells} cells has {ENOUGH} held-out images and {ENOUGH} samples: take more, or fewer cells"
        )
    return sum(z * w for z, w in zip(scores, weights, strict=True)) / sum(weights)


def z_score(x: Float[Tensor, " m"], y: Float[Tensor, " h"]) -> float:
    """The Mann–Whitney U of x over y, standardised with the variance for ties; 0 if all values are equal."""
    m, h = len(x), len(y)
    ordered = y.sort().values
    below, not_above = (torch.searchsorted(ordered, x, right=right) for right in (False, True))
    u = float((below + not_above).double().sum()) / 2
    tied = torch.unique(torch.cat([x, y]), return_counts=True)[1].double()
    n = m + h
    variance = h * m / 12 * (n + 1 - float((tied.pow(3) - tied).sum()) / (n * (n - 1)))
    return (u - h * m / 2) / math.sqrt(variance) if variance > 0 else 0.0
