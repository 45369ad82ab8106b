"""`atlas.npz` of a run, checked: what `likelier.atlas` wrote, or a stranger under its name."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from likelier.files import opened

Array = npt.NDArray[Any]

_ARRAYS = {
    "format": ("iu", 0),
    "how": ("U", 0),
    "given": ("iu", 0),
    "origin": ("f", 1),
    "axes": ("f", 2),
    "extent": ("f", 2),
    "images": ("u", 5),
    "codes": ("f", 2),
    "labels": ("iu", 1),
    "explained": ("f", 1),
}
"""Kinds of dtype, and dimensions."""
_MOST_BYTES = 1 << 26
_MOST_SIDE = 51
_MOST_PIXELS = 4_000_000
HOW = ("plane", "line", "pca", "first layer", "random")


@dataclass(frozen=True, eq=False)
class Atlas:
    """A plane z = origin + u · axes[0] + v · axes[1] of a latent space, decoded on a grid; see `likelier.atlas`."""

    how: str
    given: int | None
    origin: Array
    axes: Array
    extent: Array
    images: Array
    codes: Array
    labels: Array
    explained: Array


def read_atlas(path: Path, notes: list[str]) -> Atlas:
    """The atlas of a run; ValueError if it is not one, of this format, whole and finite."""
    with opened(path) as content, np.load(content, allow_pickle=False) as archive:
        arrays = {name: _array(archive, name, *wanted) for name, wanted in _ARRAYS.items()}
    if (number := int(arrays.pop("format"))) != 1:
        raise ValueError(f"its format is {number}, wanted 1; `likelier measure` takes it again")
    how, given = str(arrays.pop("how")), int(arrays.pop("given"))
    atlas = Atlas(how=how, given=None if given < 0 else given, **arrays)
    if (fault := _fault(atlas)) is not None:
        raise ValueError(f"{fault}; `likelier measure` takes it again")
    return atlas


def _array(archive: Any, name: str, kinds: str, dimensions: int) -> Array:
    """One array, if its header claims what is wanted: nothing is unpacked that would fill the memory."""
    with archive.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    bytes_ = math.prod(shape) * dtype.itemsize
    if dtype.kind not in kinds or len(shape) != dimensions or bytes_ > _MOST_BYTES:
        raise ValueError(f"{name} is {dtype} of shape {shape}; `likelier measure` takes it again")
    array: Array = archive[name]
    return array


def _fault(atlas: Atlas) -> str | None:
    """What is wrong with an atlas whose arrays are of the right kinds, or None."""
    rows, columns, channels, height, width = atlas.images.shape
    ends = atlas.extent if atlas.extent.shape == (2, 2) else np.full((2, 2), np.nan)
    (left, right), (bottom, top) = ends.tolist()
    d = len(atlas.origin)
    checks = {
        "its way to choose a plane is not known": atlas.how in HOW,
        "its axes do not fit its origin": d > 0 and atlas.axes.shape == (2, d),
        "its images are not of bytes": atlas.images.dtype == np.uint8,
        "its grid is empty or too large": 1 <= min(rows, columns) <= max(rows, columns) <= _MOST_SIDE,
        "its images are empty or too large": 0 < rows * columns * height * width <= _MOST_PIXELS and channels > 0,
        "its extent does not fit its grid": _goes(left, right, columns) and _goes(bottom, top, rows),
        "its codes do not fit their labels": atlas.codes.shape == (len(atlas.labels), 2),
        "its shares are not two": len(atlas.explained) in (0, 2),
        "it is not finite": all(
            bool(np.isfinite(each).all()) for each in (atlas.origin, atlas.axes, atlas.codes, atlas.explained)
        ),
    }
    return next((fault for fault, holds in checks.items() if not holds), None)


def _goes(low: float, high: float, steps: int) -> bool:
    """Whether so many steps go from one to the other; a single one goes nowhere."""
    return -1e6 < low < high < 1e6 if steps > 1 else low == high == 0
