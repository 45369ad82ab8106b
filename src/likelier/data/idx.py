"""The four IDX files of the MNIST family: `mnist`, `fashion-mnist`, and any folder that holds such files.

The format: two zero bytes, a type (8 is uint8), the number of dimensions, each as big-endian uint32, then the bytes
in row-major order (Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998).
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from likelier.errors import InputError
from likelier.images import Images, Split


@dataclass(frozen=True)
class Published:
    """What is known of a published set: the names of its classes and the sha256 of each decompressed file."""

    classes: tuple[str, ...]
    sha256: tuple[str, str, str, str]  # in the order of FILES


FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

PUBLISHED = {
    "mnist": Published(
        classes=tuple("0123456789"),
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Published(
        classes=(
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}
NAMES = tuple(PUBLISHED)

LARGEST = 1 << 33
"""Bytes that one file may claim: a lying header must not be believed with memory."""


def load(name: str, root: Path | None) -> Images:
    """A published set from the folder of its name under `root`, every file verified by its hash."""
    if root is None:
        raise InputError(
            f"{name} is not embedded: give the folder that holds {name}/ with --data-root or LIKELIER_DATA, "
            "or use --data digits, which is"
        )
    return load_folder(root / name, name, PUBLISHED[name])


def load_folder(folder: Path, name: str | None = None, published: Published | None = None) -> Images:
    """The set in `folder`; without `published` hashes the classes are numbered and the content is taken as it is."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder: wanted one with the four IDX files {', '.join(FILES)} (.gz or plain)"
        )
    paths = [find(folder, file) for file in FILES]
    arrays = [read(path, dimensions=3 if "images" in file else 1) for path, file in zip(paths, FILES, strict=True)]
    if published:
        for path, (_, digest), wanted in zip(paths, arrays, published.sha256, strict=True):
            if digest != wanted:
                raise InputError(
                    f"{path} is not the published file of {name}: its content has sha256 {digest[:16]}…, wanted "
                    f"{wanted[:16]}…; fetch it again, or give the folder by its path to use it as a set of your own"
                )
    (train_x, _), (train_y, _), (test_x, _), (test_y, _) = arrays
    classes = published.classes if published else tuple(map(str, range(1 + int(max(train_y.max(), test_y.max())))))
    return Images(
        name=name or folder.resolve().name,
        train=Split(train_x.unsqueeze(1), train_y.long()),
        test=Split(test_x.unsqueeze(1), test_y.long()),
        classes=classes,
    )


def find(folder: Path, file: str) -> Path:
    """The path of `file` in `folder`, whichever of its usual spellings is there."""
    spellings = (file, f"{file}.gz", file.replace("-idx", ".idx"), f"{file.replace('-idx', '.idx')}.gz")
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    raise InputError(f"{folder} has no {file} (.gz or plain): all of {', '.join(FILES)} are wanted")


def read(path: Path, dimensions: int) -> tuple[Tensor, str]:
    """One IDX file as a uint8 tensor, with the sha256 of its decompressed content."""
    opener: Callable[[Path], BinaryIO] = gzip.open if path.suffix == ".gz" else Path.open  # type: ignore[assignment]
    try:
        with opener(path, "rb") as file:  # type: ignore[call-arg]
            return parse(path, file, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None


def parse(path: Path, file: BinaryIO, dimensions: int) -> tuple[Tensor, str]:
    """Header, then exactly the bytes it promises."""
    header = file.read(4 + 4 * dimensions)
    if header[:4] != bytes((0, 0, 8, dimensions)):
        kind = {1: "labels", 3: "images"}
        found = kind.get(header[3], "another type") if header[:3] == b"\0\0\x08" else "no IDX file of bytes"
        raise InputError(
            f"{path} holds {found} (it starts with {header[:4].hex(' ') or 'nothing'}): wanted {kind[dimensions]}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path} ends inside its header: it is cut short; fetch it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size = int(np.prod(shape, dtype=object))
    if not 0 < size <= LARGEST:
        raise InputError(f"{path} claims {'×'.join(map(str, shape))} bytes: wanted between 1 and {LARGEST}")
    content = read_at_most(file, size + 1)
    if len(content) != size:
        found = f"only {len(content)}" if len(content) < size else "more"
        raise InputError(
            f"{path} promises {size} bytes of {'×'.join(map(str, shape))} and holds {found}; fetch it again"
        )
    digest = hashlib.sha256(header + content).hexdigest()
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape), digest


def read_at_most(file: BinaryIO, limit: int, piece: int = 1 << 20) -> bytearray:
    """Up to `limit` bytes, in pieces: memory follows what is there, never what a header claims."""
    content = bytearray()
    while len(content) < limit and (data := file.read(min(piece, limit - len(content)))):
        content += data
    return content
