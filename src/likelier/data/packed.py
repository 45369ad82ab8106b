"""A packed set: a folder with the images of both splits as they are in memory, mapped from there and never copied whole.

    pack.json           what is in it: format, name, shape, classes, sizes, options, digest; written last
    train-images.npy    uint8 [n, c, h, w], after a header of 4,096 bytes, so that images begin with a page
    train-labels.npy    int64 [n]
    test-images.npy, test-labels.npy

The arrays are plain NumPy files, which `np.load(file, mmap_mode="r")` reads anywhere; none of their headers is parsed
here, as each has to be the one that the manifest calls for. `likelier data pack` makes such a folder.
"""

import hashlib
import mmap
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from typing_extensions import TypedDict

from likelier.errors import InputError
from likelier.files import read_json
from likelier.images import Images, Shape, Split

NAMES = ()
NEEDS_ROOT = False

MANIFEST, UNFINISHED = "pack.json", "unfinished.json"
HEADER = 4096
"""Bytes before the images: a page, so that images of a page or more are read with no more pages than they need."""
MOST_BYTES = 1 << 20
"""Of a manifest, which is read whole."""
MOST = 2**31
SPOTS, SPOT = 64, 4096
"""How many places of each file are looked at when a set is loaded, and the bytes of each."""

Size = Annotated[int, pydantic.Field(ge=1, lt=MOST)]
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, pydantic.Field(min_length=1, max_length=200)]


class Sizes(TypedDict):
    """Images of each split."""

    train: Size
    test: Size


class Contents(TypedDict):
    """What is packed, known before any of it is."""

    name: Name
    shape: tuple[Size, Size, Size]
    classes: Annotated[list[Name], pydantic.Field(min_length=1)]
    sizes: Sizes
    options: dict[str, Any]
    """How the images were read from where they came from."""


class Manifest(Contents):
    """What `pack.json` holds."""

    format: Literal[1]
    digest: Sha256
    """`Images.digest`: that of the same set in memory."""
    spots: Sha256
    """Of some pieces of the four files, which are read whenever the set is loaded."""


class ImageFile:
    """The images of one split in their file, an `OnDisk`."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self.descriptor = opened(path, np.dtype(np.uint8), shape)

    def scattered(self) -> UInt8[Tensor, "n c h w"]:
        """As `OnDisk`: each access reads its own pages and no more."""
        return mapped(self.descriptor, np.dtype(np.uint8), self.shape, mmap.MADV_RANDOM)

    def expect(self, index: Int64[Tensor, " n"]) -> None:
        """As `OnDisk`."""
        size = int(np.prod(self.shape[1:]))
        for start in (index.sort().values * size + HEADER).tolist():
            os.posix_fadvise(self.descriptor, start, size, os.POSIX_FADV_WILLNEED)
