"""What every metric asks of its tensors before it computes, and the size of the pieces that it computes in."""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from likelier.errors import InputError

CHUNK_BYTES = 2**23
"""The largest piece of an [n, m] matrix of float64 that a metric holds at a time: what stays in a processor's cache."""


def rows(name: str, x: Float[Tensor, "n d"], least: int = 2) -> Float[Tensor, "n d"]:
    """`x` in float64, if it is a table of at least `least` rows of finite numbers; InputError otherwise."""
    if x.ndim != 2 or x.shape[1] == 0 or not x.is_floating_point():
        raise InputError(f"{name} are {x.dtype} of shape {tuple(x.shape)}: wanted floats of shape [n, d]")
    if len(x) < least:
        raise InputError(f"{len(x)} rows of {name}: wanted at least {least}")
    if bad := int((~x.isfinite()).any(dim=1).sum()):
        raise InputError(f"{bad} of {len(x)} rows of {name} hold NaN or infinity: look for a diverged training")
    return x.detach().double()


def pair(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], least: int = 2
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Features x of real images and y of others, checked as `rows` does, of one dimension, and x not all equal."""
    x, y = reference("features x", x, least), rows("features y", y, least)
    same_dimension(x, y)
    return x, y


def reference(name: str, x: Float[Tensor, "n d"], least: int = 2) -> Float[Tensor, "n d"]:
    """Features of real images, checked as `rows` does, that vary.

    Where the features of real images are all equal, every set that the extractor maps there too would be perfect.
    A set of fakes may be a single point: its generator has collapsed, and the distances say so.
    """
    rounding = 8 * torch.finfo(x.dtype).eps if x.is_floating_point() else 0.0
    x = rows(name, x, least)
    if bool((x.amax(dim=0) - x.amin(dim=0) <= rounding * x.abs().amax(dim=0)).all()):
        raise InputError(
            f"the {len(x)} rows of {name} are all equal, the features do not vary: the extractor is dead for these "
            "images; look at the images, and take another extractor"
        )
    return x


def same_dimension(x: Float[Tensor, "n d"], *others: Float[Tensor, "_ d2"]) -> None:
    """InputError unless the rows of all sets have one length."""
    for y in others:
        if x.shape[1] != y.shape[1]:
            raise InputError(
                f"features of {x.shape[1]} and of {y.shape[1]} dimensions: wanted both from one extractor of features"
            )


def in_order(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The rows sorted, so that what is then drawn from them does not depend on the order in which they came."""
    return x[torch.from_numpy(np.lexsort(x.numpy(force=True).T)).to(x.device)]


def one_label_a_row(name: str, x: Float[Tensor, "n d"], labels: Shaped[Tensor, " n"]) -> None:
    """InputError unless `labels` has one label for each row of `x`."""
    if labels.shape != x.shape[:1]:
        raise InputError(f"labels of shape {tuple(labels.shape)} for {len(x)} rows of {name}: wanted one label a row")


def chunk_rows(columns: int) -> int:
    """How many rows of a float64 matrix of that many columns fit into CHUNK_BYTES."""
    return max(1, CHUNK_BYTES // (8 * columns))
