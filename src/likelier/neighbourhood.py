"""Samples beside the training images that are nearest to them: is it a copy, a likeness, or something new?

The samples are the first of those that are measured, whatever they look like. Nearness is taken twice: in the features
of the extractor, in which the measures are taken and which see what is drawn, and in pixels, in which a shift by one
pixel is far and a pale blur is near to much.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier.evidence import Evidence, NoFigure
from likelier.images import as_float, as_uint8
from likelier.metrics.inputs import chunk_rows
from likelier.walks import Arrays, fitting, reduced

SAMPLES, NEIGHBOURS = 8, 3


def neighbours(evidence: Evidence) -> Arrays:
    """`neighbour_samples` [s, c, h, w], and the images nearest to each, nearest first, in features and in pixels.

    These are `neighbour_features` and `neighbour_pixels` [s, k, c, h, w]; which training images they are is
    `…_index` [s, k].
    """
    if evidence.samples is None or evidence.features is None:
        raise NoFigure("its samples are not finite")
    train = evidence.images.train.images
    n = fitting(SAMPLES, 1 + 2 * NEIGHBOURS, evidence.images.shape, least=4)
    samples, vectors = evidence.samples[:n], evidence.features.vectors[:n]
    found: Arrays = {"neighbour_samples": drawn(samples).numpy()}
    nearest = {
        "features": nearest_few(vectors, in_parts(evidence.reference.whole_train), NEIGHBOURS),
        "pixels": nearest_few(samples.flatten(1), (part.flatten(1) for part in in_parts(train)), NEIGHBOURS),
    }
    for name, index in nearest.items():
        shown = drawn(train[index.flatten()])
        found[f"neighbour_{name}"] = shown.view(*index.shape, *shown.shape[1:]).numpy()
        found[f"neighbour_{name}_index"] = index.numpy()
    return found


def in_parts(x: Tensor) -> tuple[Tensor, ...]:
    """Some rows at a time, few enough that they stay in a processor's cache as float64."""
    return torch.split(x, chunk_rows(x[0].numel()))


def drawn(images: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h2 w2"]:
    """Images as large as the report draws them."""
    return as_uint8(reduced(as_float(images)))


def nearest_few(
    x: Float[Tensor, "s d"] | UInt8[Tensor, "s d"], among: Iterable[Tensor], k: int
) -> Int64[Tensor, "s k"]:
    """Which k rows of `among`, given in parts, are nearest to each row of x, nearest first; of equals the first.

    By differences in float64, so that a copy has the distance 0.

    >>> nearest_few(torch.tensor([[0.0]]), [torch.tensor([[3.0], [1.0]]), torch.tensor([[-1.0], [0.0]])], 3)
    tensor([[3, 1, 2]])
    """
    exactly = "donot_use_mm_for_euclid_dist"
    distances = torch.cat([torch.cdist(x.double(), part.double(), compute_mode=exactly) for part in among], dim=1)
    return distances.argsort(dim=1, stable=True)[:, :k]
