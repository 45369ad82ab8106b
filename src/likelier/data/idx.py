"""The four IDX files of the MNIST family: `mnist`, `fashion-mnist`, and any folder that holds such files.

The format: two zero bytes, a type (8 is uint8), the number of dimensions, each as big-endian uint32, then the bytes
in row-major order (Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998).
"""

import gzip
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likelier.data.picture import Options, reshaped
from likelier.data.splitting import OnProgress
from likelier.errors import InputError
from likelier.files import read_at_most
from likelier.images import Images, Split


@dataclass(frozen=True)
class Published:
    """What is known of a published set: the names of its classes and the sha256 of each decompressed file."""

    classes: tuple[str, ...]
    sha256: tuple[str, str, str, str]  # in the order of FILES


FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

FOUR_FILES = f"the four IDX files {', '.join(FILES)}, gzipped or plain"

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
NEEDS_ROOT = True

LARGEST = 1 << 33
"""Bytes that one file may claim: a lying header must not be believed with memory."""


def recognises(path: Path) -> bool:
    """Whether this is for a folder that holds one of the four files, or more."""
    return any((path / spelling).is_file() for file in FILES for spelling in spellings(file))


def load_path(path: Path, options: Options, progress: OnProgress | None = None) -> Images:
    """The set in a folder, as the files have it; see `load_folder`."""
    return reshaped(load_folder(path), options)


def load(name: str, root: Path) -> Images:
    """A published set from the folder of its name under `root`, every file verified by its hash."""
    return load_folder(root / name, name, PUBLISHED[name])


def load_folder(folder: Path, name: str | None = None, published: Published | None = None) -> Images:
    """The set in `folder`; without `published` hashes the classes are numbered and the content is taken as it is."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is not there"
        raise InputError(f"{folder} {found}: wanted a folder with {FOUR_FILES}")
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
    for x, y, file in ((train_x, train_y, paths[1]), (test_x, test_y, paths[3])):
        if len(x) != len(y):
            raise InputError(
                f"{file} holds {len(y):,} labels for {len(x):,} images: wanted one each; are the files of one set?"
            )
    if train_x.shape[1:] != test_x.shape[1:]:
        sizes = ["×".join(map(str, x.shape[1:])) for x in (train_x, test_x)]
        raise InputError(
            f"{folder} has training images of {sizes[0]} and test images of {sizes[1]} pixels: wanted one size; "
            "are the files of one set?"
        )
    classes = published.classes if published else tuple(map(str, range(1 + int(max(train_y.max(), test_y.max())))))
    return Images(
        name=name or folder.resolve().name,
        train=Split(train_x.unsqueeze(1), train_y.long()),
        test=Split(test_x.unsqueeze(1), test_y.long()),
        classes=classes,
    )


def find(folder: Path, file: str) -> Path:
    """The path of `file` in `folder`, whichever of its usual spellings is there."""
    for spelling in spellings(file):
        if (folder / spelling).is_file():
            return folder / spelling
    raise InputError(f"{folder} has no {file} (.gz or plain): wanted a folder with {FOUR_FILES}")


def spellings(file: str) -> tuple[str, ...]:
    """What the file may be called."""
    return file, f"{file}.gz", file.replace("-idx", ".idx"), f"{file.replace('-idx', '.idx')}.gz"


def read(path: Path, dimensions: int) -> tuple[Tensor, str]:
    """One IDX file as a uint8 tensor, with the sha256 of its decompressed content."""
    try:
        with path.open("rb") as file:
            # By content: browsers and archivers decompress a file and leave it its name.
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(file) as content:
                    return parse(path, content, dimensions)
            return parse(path, file, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None


def parse(path: Path, file: io.BufferedIOBase, dimensions: int) -> tuple[Tensor, str]:
    """Header, then exactly the bytes it promises."""
    header = file.read(4 + 4 * dimensions)
    if header[:4] != bytes((0, 0, 8, dimensions)):
        kind = {1: "labels", 3: "images"}
        found = kind.get(header[3], "something else") if header[:3] == b"\0\0\x08" else "no bytes in IDX format"
        starts = f"it starts with {header[:4].hex(' ')}" if header else "it is empty"
        raise InputError(f"{path} holds {found} ({starts}): wanted {kind[dimensions]}; fetch it again")
    if len(header) < 4 + 4 * dimensions:
        raise InputError(f"{path} ends inside its header: it is cut short; fetch it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size = int(np.prod(shape, dtype=object))
    if not 0 < size <= LARGEST:
        raise InputError(
            f"{path} claims {'×'.join(map(str, shape))} bytes: wanted between 1 and {LARGEST:,} in all; fetch it again"
        )
    content = read_at_most(file, size + 1)
    if len(content) != size:
        found = f"only {len(content):,}" if len(content) < size else "more"
        raise InputError(
            f"{path} holds {found} bytes: wanted the {size:,} of {'×'.join(map(str, shape))} that it claims; "
            "fetch it again"
        )
    sha = hashlib.sha256(header)
    sha.update(content)
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape), sha.hexdigest()
