"""MNIST as Keras keeps it: `mnist.npz` with `x_train`, `y_train`, `x_test` and `y_test`.

Of an .npz only what is needed is read: four members that hold plain bytes, no objects (those would be unpickled).
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from likelier.data.idx import BROKEN, FILES, PUBLISHED, header_of, named, read_at_most
from likelier.errors import InputError
from likelier.images import Images

KEYS = ("x_train", "y_train", "x_test", "y_test")
SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))


def load(name: str, path: Path) -> tuple[Images, bool]:
    """MNIST from the file, and True: its content has the sums of the IDX files.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tensors = [read(path, archive, key, shape) for key, shape in zip(KEYS, SHAPES, strict=True)]
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None
    for key, tensor, wanted in zip(KEYS, tensors, PUBLISHED[name].sha256, strict=True):
        sha = hashlib.sha256(header_of(tuple(tensor.shape)))
        sha.update(tensor.numpy().data)
        if sha.hexdigest() != wanted:
            raise InputError(f"{path} is not {name}: its {key} holds other bytes than {FILES[KEYS.index(key)]}")
    return named(name, path, tensors), True


def read(path: Path, archive: zipfile.ZipFile, key: str, shape: tuple[int, ...]) -> Tensor:
    """One array; memory follows the shape that is wanted, never the one that is claimed."""
    with archive.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise InputError(f"{path}: {key} has version {version} of the format of NumPy: wanted (1, 0)")
        found, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
        if found != shape or dtype != np.uint8 or by_columns:
            raise InputError(f"{path}: {key} is {dtype} of shape {found}: wanted uint8 of shape {shape}, row by row")
        size = int(np.prod(shape))
        content = read_at_most(cast("io.BufferedIOBase", member), size + 1)
    if len(content) != size:
        raise InputError(f"{path}: {key} does not hold the {size:,} bytes that it claims; fetch it again")
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)
