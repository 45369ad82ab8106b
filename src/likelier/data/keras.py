"""MNIST as Keras keeps it: `mnist.npz` with `x_train`, `y_train`, `x_test` and `y_test`.

Of an .npz only what is needed is read: four members that hold plain bytes, no objects (those would be unpickled).
"""

import hashlib
import io
import math
import re
import zipfile
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from likelier.data.idx import BROKEN, FILES, PUBLISHED, check_size, header_of, named
from likelier.errors import InputError
from likelier.files import read_at_most
from likelier.images import Images

KEPT = {"mnist": "mnist.npz"}
"""The sets that Keras keeps in this form, and what it calls the file."""
KEYS = ("x_train", "y_train", "x_test", "y_test")
SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
MORE = 1 << 20
"""Bytes of the file that are not of the arrays, however little they are compressed."""
MAGIC = b"\x93NUMPY\1\0"
WANTED = re.compile(rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \(([\d, ]{1,50})\), \} *\n")
"""The header that NumPy writes for bytes; NumPy itself would evaluate whatever stands there."""


def load(name: str, path: Path) -> tuple[Images, bool]:
    """MNIST from the file, and True: its content has the sums of the IDX files.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        check_size(path, path.stat().st_size, sum(map(math.prod, SHAPES)) + MORE)
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
    size = math.prod(shape)
    with archive.open(f"{key}.npy") as member:
        magic, length = member.read(8), int.from_bytes(member.read(2), "little")
        header = member.read(length)  # at most 64 kB
        found = WANTED.fullmatch(header)
        if magic != MAGIC or not found or tuple(map(int, re.findall(rb"\d+", found[1]))) != shape:
            raise InputError(f"{path}: {key} is {header[:100]!r}: wanted bytes of shape {shape}, row by row")
        content = read_at_most(cast("io.BufferedIOBase", member), size + 1)
    if len(content) != size:
        raise InputError(f"{path}: {key} does not hold the {size:,} bytes that it claims; fetch it again")
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)
