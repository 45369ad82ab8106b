"""What every metric asks of its tensors before it computes, and the size of the pieces that it computes in."""

from jaxtyping import Float, Shaped
from torch import Tensor

from likelier.errors import InputError

CHUNK_BYTES = 2**26
"""The largest piece of an [n, m] matrix of float64 that a metric holds at a time."""


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
    """Two sets of features, checked as `rows` does, and of one dimension."""
    x, y = rows("features x", x, least), rows("features y", y, least)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"features of {x.shape[1]} and of {y.shape[1]} dimensions: wanted both from one extractor of features"
        )
    return x, y


def one_label_a_row(name: str, x: Float[Tensor, "n d"], labels: Shaped[Tensor, " n"]) -> None:
    """InputError unless `labels` has one label for each row of `x`."""
    if labels.shape != x.shape[:1]:
        raise InputError(f"labels of shape {tuple(labels.shape)} for {len(x)} rows of {name}: wanted one label a row")


def chunk_rows(columns: int) -> int:
    """How many rows of a float64 matrix of that many columns fit into CHUNK_BYTES."""
    return max(1, CHUNK_BYTES // (8 * columns))
