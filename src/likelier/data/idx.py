"""The four IDX files of the MNIST family: `mnist`, `fashion-mnist`, `kmnist`, `emnist-letters`, and any folder of such.

The format: two zero bytes, a type (8 is uint8), the number of dimensions, each as big-endian uint32, then the bytes
in row-major order (Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998).
"""

import gzip
import hashlib
import io
import os
import string
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likelier.data.catalogue import REMOTES
from likelier.data.picture import Options, reshaped
from likelier.data.splitting import OnProgress
from likelier.data.verified import holds
from likelier.errors import InputError
from likelier.fetching import is_whole
from likelier.files import read_at_most, regular
from likelier.images import Images, Split, name_from

FILES = tuple(remote.name.removesuffix(".gz") for remote in REMOTES["mnist"])
"""Images and labels to train on, images and labels to test on."""

FOUR_FILES = f"the four IDX files {', '.join(FILES)}, gzipped or plain"

LETTERS = tuple(f"emnist-letters-{part}" for part in (*FILES[:2], "test-images-idx3-ubyte", "test-labels-idx1-ubyte"))


@dataclass(frozen=True)
class Published:
    """What is known of a published set."""

    classes: tuple[str, ...]
    sha256: tuple[str, ...] = ()
    """Of each decompressed file, in the order of `files`; none where only the files as published have known sums."""
    files: tuple[str, ...] = FILES
    first: int = 0
    """The label of the first class."""
    transposed: bool = False
    """Whether images are stored column by column."""


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
    "kmnist": Published(classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "emnist-letters": Published(classes=tuple(string.ascii_uppercase), files=LETTERS, first=1, transposed=True),
}
NAMES = tuple(PUBLISHED)
ON_DISK = True
SIDE = 28
"""Pixels of the sets of these names."""

LARGEST = 1 << 33
"""Bytes that one file may claim: a lying header must not be believed with memory."""


ARCHIVE = REMOTES["emnist-letters"][0].name
"""All of EMNIST as published; read as it is, since only the sum of the whole is known."""

MOST_PACKED = 256
"""Times that a file may grow when it is decompressed: drawings grow 20 times, zeros a thousand times."""

BROKEN = (OSError, EOFError, ValueError, KeyError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
"""What the standard library says of gzip and zip files that are none, or not whole, or encrypted."""


def recognises(path: Path) -> bool:
    """Whether this is for a folder that holds one of the four files, or more."""
    return any((path / spelling).is_file() for file in FILES for spelling in spellings(file))


def load_path(path: Path, options: Options, progress: OnProgress | None = None) -> Images:
    """The set in a folder, as the files have it; see `load_folder`."""
    return reshaped(load_folder(path), options)


def load(name: str, folder: Path) -> tuple[Images, bool]:
    """A published set from a folder, and whether its content is known to be the published one.

    Where only the sums of the files as published are known, a copy that was packed anew is taken if its structure is
    right: it cannot be told from the published one.

    Raises:
        InputError: the files are missing, cut short, mislabelled, or known not to be the published ones.
    """
    published = PUBLISHED[name]
    paths, arrays = read_files(folder, published.files)
    digests = tuple(digest for _, digest in arrays)
    for path, found, wanted in zip(paths, digests, published.sha256, strict=False):
        if found != wanted:
            raise InputError(
                f"{path} is not the published file of {name}: its content has sha256 {found[:16]}…, wanted "
                f"{wanted[:16]}…; fetch it again, or give the folder by its path to use it as a set of your own"
            )
    tensors = [tensor for tensor, _ in arrays]
    return named(name, folder, tensors), digests == published.sha256 or as_published(name, paths)


def as_published(name: str, paths: list[Path]) -> bool:
    """Whether the files that were read are those that are published, by the sums of these as they are."""
    files = {path.name: path for path in paths}
    remotes = {remote.name: remote for remote in REMOTES[name]}
    return files.keys() == remotes.keys() and all(
        holds([path], f"sha256 {remotes[file].sha256}", partial(is_whole, path, remotes[file]))
        for file, path in files.items()
    )


def named(name: str, place: Path, tensors: list[Tensor]) -> Images:
    """A published set from its four tensors, whatever file they came in; InputError if they cannot be those."""
    published = PUBLISHED[name]
    train_x, train_y, test_x, test_y = tensors
    for x, y in ((train_x, train_y), (test_x, test_y)):
        least, most = int(y.min()) - published.first, int(y.max()) - published.first
        if tuple(x.shape[1:]) != (SIDE, SIDE) or least < 0 or most >= len(published.classes):
            raise InputError(
                f"{place} is not {name}: it has images of {x.shape[1]}×{x.shape[2]} pixels with labels from "
                f"{int(y.min())} to {int(y.max())}, wanted {SIDE}×{SIDE} and {published.first} to "
                f"{published.first + len(published.classes) - 1}; fetch it again"
            )
    if published.transposed:
        train_x, test_x = (x.transpose(1, 2).contiguous() for x in (train_x, test_x))
    train, test = (Split(x.unsqueeze(1), y.long() - published.first) for x, y in ((train_x, train_y), (test_x, test_y)))
    return Images(name, train, test, published.classes)


def load_folder(folder: Path) -> Images:
    """The set in `folder`, its classes numbered, its content taken as it is."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is not there"
        raise InputError(f"{folder} {found}: wanted a folder with {FOUR_FILES}")
    _, ((train_x, _), (train_y, _), (test_x, _), (test_y, _)) = read_files(folder, FILES)
    return Images(
        name=name_from(folder.resolve().name),
        train=Split(train_x.unsqueeze(1), train_y.long()),
        test=Split(test_x.unsqueeze(1), test_y.long()),
        classes=tuple(map(str, range(1 + int(max(train_y.max(), test_y.max()))))),
    )


def read_files(folder: Path, files: tuple[str, ...]) -> tuple[list[Path], list[tuple[Tensor, str]]]:
    """Images and labels of training and test, with their digests; InputError if they do not belong together."""
    paths = [find(folder, file) for file in files]
    arrays = [read(path, file) for path, file in zip(paths, files, strict=True)]
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
    return paths, arrays


def is_here(name: str, folder: Path) -> bool:
    """Whether any file of a published set is in `folder`."""
    spelled = (spelling for file in PUBLISHED[name].files for spelling in spellings(file))
    archives = [remote.name for remote in REMOTES[name]]
    return any((folder / file).is_file() for file in (*spelled, *archives))


def spellings(file: str) -> tuple[str, ...]:
    """How a file is called: as published, with the dot of some archivers, or unpacked."""
    dotted = file.replace("-idx", ".idx")
    return f"{file}.gz", f"{dotted}.gz", file, dotted


def find(folder: Path, file: str) -> Path:
    """The path of `file` in `folder`, whichever of its usual spellings is there, or of the archive that holds it."""
    for spelling in (*spellings(file), *([ARCHIVE] if file in LETTERS else [])):
        if (folder / spelling).is_file():
            return folder / spelling
    raise InputError(f"{folder} has no {file} (.gz or plain): wanted a folder with {FOUR_FILES}")


def read(path: Path, file: str) -> tuple[Tensor, str]:
    """One IDX file as a uint8 tensor, with the sha256 of its decompressed content."""
    try:
        with opened(path, file) as (content, most):
            return parse(path, content, 3 if "images" in file else 1, most)
    except InputError:  # which is a ValueError, and says all
        raise
    except BROKEN as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None


@contextmanager
def opened(path: Path, file: str) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """The decompressed content of a file, or of one in the archive of EMNIST, and the bytes that it may have."""
    with os.fdopen(regular(path), "rb") as stored:
        size = os.fstat(stored.fileno()).st_size
        if path.name == ARCHIVE:
            check_size(path, size, 2 * REMOTES["emnist-letters"][0].size)
            with zipfile.ZipFile(stored) as archive, archive.open(f"gzip/{file}.gz") as member:
                packed = min(size, archive.getinfo(f"gzip/{file}.gz").compress_size)
                with gzip.open(member) as content:
                    yield content, MOST_PACKED * packed
        # By content: browsers and archivers decompress a file and leave it its name.
        elif stored.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(stored) as content:
                yield content, MOST_PACKED * size
        else:
            yield stored, size


def check_size(path: Path, size: int, most: int) -> None:
    """InputError for a zip file that is far too large: its table of contents, read at once, may be as large as it."""
    if size > most:
        raise InputError(f"{path} has {size:,} bytes: wanted {most:,} at most; fetch it again")


def parse(path: Path, file: io.BufferedIOBase, dimensions: int, most: int) -> tuple[Tensor, str]:
    """Header, then exactly the bytes it promises, and no more than `most`."""
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
    content = read_at_most(file, min(size, most) + 1)
    if size > most and len(content) > most:
        raise InputError(
            f"{path} claims {size:,} bytes and grows to more than {MOST_PACKED} times its size: wanted images, and not "
            "what fills the memory; decompress it yourself if it is right"
        )
    if len(content) != size:
        found = f"only {len(content):,}" if len(content) < size else "more"
        raise InputError(
            f"{path} holds {found} bytes: wanted the {size:,} of {'×'.join(map(str, shape))} that it claims; "
            "fetch it again"
        )
    sha = hashlib.sha256(header)
    sha.update(content)
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape), sha.hexdigest()


def header_of(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of bytes of that shape."""
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
