"""A packed set: a folder with the images of both splits, which are mapped from there and never copied whole.

    pack.json           what is in it: format, name, shape, classes, sizes, options, digest; written last
    train-images.npy    uint8 [n, c, h, w], after a header of 4,096 bytes, so that images begin with a page
    train-labels.npy    int64 [n]
    test-images.npy, test-labels.npy

The arrays are plain NumPy files, which `np.load(file, mmap_mode="r")` reads anywhere; none of their headers is parsed
here, as each has to be the one that the manifest calls for. `likelier data pack` makes such a folder.
"""

import hashlib
import math
import mmap
import os
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from typing_extensions import TypedDict

from likelier.data.picture import LEAST_SIDE, MOST_SIDE, Options
from likelier.data.splitting import OnProgress
from likelier.data.verified import holds
from likelier.errors import InputError
from likelier.files import regular
from likelier.images import Images, Recorded, Split, check_class, check_name, content_digest

FORMAT: Literal[1] = 1
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
Side = Annotated[int, pydantic.Field(ge=LEAST_SIDE, le=MOST_SIDE)]
Name = Annotated[str, pydantic.AfterValidator(check_name)]
ClassName = Annotated[str, pydantic.AfterValidator(check_class)]


class Sizes(TypedDict):
    """Images of each split."""

    train: Size
    test: Size


class Contents(TypedDict):
    """What is packed, known before any of it is."""

    name: Name
    shape: tuple[Literal[1, 3], Side, Side]
    classes: Annotated[list[ClassName], pydantic.Field(min_length=1)]
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


def recognises(path: Path) -> bool:
    """Whether a folder is a pack, or was to become one: a manifest alone may be of another program's packs."""
    return any(os.path.lexists(path / name) for name in (MANIFEST, UNFINISHED)) and any(
        os.path.lexists(path / f"{part}-{what}.npy") for part in ("train", "test") for what in ("images", "labels")
    )


def load_path(path: Path, options: Options, progress: OnProgress | None = None) -> Images:
    """The set that is packed in a folder; its images stay there, and are read when they are needed.

    The first time, all of them are read, as everything that is known of a set is found by its digest, and the manifest
    may come from anybody.

    Args:
        path: the folder.
        options: none may be given.
        progress: called with the images that are read, and the images in all, if they have to be.

    Raises:
        InputError: the pack is not finished, its manifest is none, its files are not those that it describes, or
            options are given: images are read as they were packed.
    """
    if given := options.given():
        raise InputError(f"{path} is packed: {', '.join(given)} can be given to `likelier data pack`, not afterwards")
    manifest = read_manifest(path)
    arrays = arrays_of(path, manifest)
    train, test = (mapped_split(*arrays[part]) for part in ("train", "test"))
    if spots_digest(chain(*arrays.values())) != manifest["spots"]:
        raise InputError(f"the files of {path} are not those that were packed: pack the set again")
    found = Images(
        manifest["name"],
        train,
        test,
        tuple(manifest["classes"]),
        recorded=Recorded(manifest["digest"], train, test),
    )
    files = [array.path for array in chain(*arrays.values())]
    holds(files, f"digest {found.digest}", lambda: check_digest(path, found, progress))
    return found


def check(folder: Path) -> Images:
    """As `load_path`, with every byte read: InputError if the digest is not that of the images."""
    images = load_path(folder, Options())
    check_digest(folder, images)
    return images


def check_digest(folder: Path, images: Images, progress: OnProgress | None = None) -> bool:
    """True; InputError if the recorded digest is not that of the images, all of which are read."""
    if (found := content_digest(images.train, images.test, progress=progress)) != images.digest:
        raise InputError(
            f"the images in {folder} have the digest {found[:12]}…, {MANIFEST} says {images.digest[:12]}…: "
            "pack the set again"
        )
    return True


def checked(contents: dict[str, Any]) -> Contents:
    """What is to be packed; InputError if the manifest could not say so."""
    try:
        return pydantic.TypeAdapter(Contents).validate_python(contents)
    except pydantic.ValidationError as error:
        raise InputError(f"the set cannot be packed: {first_of(error)}") from None


def first_of(error: pydantic.ValidationError) -> str:
    """The first fault that was found: where, and what is wanted."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "all of it"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a pack, checked: it may come from anybody."""
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise InputError(f"{folder} is not packed to the end: the same `likelier data pack` goes on with it")
    try:
        with os.fdopen(regular(path, follow=False), "rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise InputError(f"{path} has more than {MOST_BYTES:,} bytes: it is no manifest; pack the set again")
        return pydantic.TypeAdapter(Manifest).validate_json(content, strict=True)
    except pydantic.ValidationError as error:
        raise InputError(f"{path} is no manifest of format {FORMAT} ({first_of(error)}): pack the set again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Array:
    """One file of a pack: its path, and what it has to hold."""

    path: Path
    kind: str
    """`|u1` or `<i8`, as NumPy writes it."""
    shape: tuple[int, ...]

    @property
    def header(self) -> bytes:
        """What the file begins with: a NumPy header of version 1.0, padded to a page."""
        said = f"{{'descr': '{self.kind}', 'fortran_order': False, 'shape': {self.shape!r}, }}".encode()
        return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + said.ljust(HEADER - 11) + b"\n"

    @property
    def row(self) -> int:
        """Bytes of one image, or label."""
        return np.dtype(self.kind).itemsize * math.prod(self.shape[1:])

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return HEADER + self.shape[0] * self.row

    def open(self) -> int:
        """A descriptor of the file to be read; InputError unless it is one of this size and header."""
        try:
            descriptor = regular(self.path, follow=False)
            found = os.fstat(descriptor).st_size
            begins = os.pread(descriptor, HEADER, 0)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}; pack the set again") from None
        if found != self.size or begins != self.header:
            os.close(descriptor)
            raise InputError(
                f"{self.path} has {found:,} bytes{'' if found != self.size else ' and another header'}: wanted the "
                f"{self.size:,} of {'×'.join(map(str, self.shape))} that {MANIFEST} tells of; pack the set again"
            )
        return descriptor

    def map(self, descriptor: int, advice: int = mmap.MADV_NORMAL) -> Tensor:
        """The array, mapped from the open file: nothing is read until it is looked at, and nothing may be written."""
        memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        memory.madvise(advice)
        array = np.frombuffer(memory, self.kind, offset=HEADER).reshape(self.shape)
        with warnings.catch_warnings():
            # Torch has no tensors that may only be read; nobody here writes to images or labels.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(array)


class ImageFile:
    """The images of one split in their file, an `OnDisk`."""

    def __init__(self, array: Array) -> None:
        self.array, self.descriptor = array, array.open()
        weakref.finalize(self, os.close, self.descriptor)
        self.images = array.map(self.descriptor)
        """For whoever reads them in order: the system reads on by itself."""

    def scattered(self) -> UInt8[Tensor, "n c h w"]:
        """As `OnDisk`: an image is read without its neighbours, which would be up to 64 times as much."""
        return self.array.map(self.descriptor, mmap.MADV_RANDOM)

    def expect(self, index: Int64[Tensor, " n"]) -> None:
        """As `OnDisk`; where the system takes no such hint, nothing."""
        if not hasattr(os, "posix_fadvise"):
            return
        row = self.array.row
        for start in (HEADER + row * index.sort().values).tolist():
            os.posix_fadvise(self.descriptor, start, row, os.POSIX_FADV_WILLNEED)


def arrays_of(folder: Path, contents: Contents) -> dict[str, tuple[Array, Array]]:
    """The files of a pack: images and labels of each split."""
    found = {}
    for part, n in (("train", contents["sizes"]["train"]), ("test", contents["sizes"]["test"])):
        images = Array(folder / f"{part}-images.npy", "|u1", (n, *contents["shape"]))
        found[part] = (images, Array(folder / f"{part}-labels.npy", "<i8", (n,)))
    return found


def mapped_split(images: Array, labels: Array) -> Split:
    """One split of a pack."""
    file = ImageFile(images)
    descriptor = labels.open()
    try:
        return Split(file.images, labels.map(descriptor), file)
    finally:
        os.close(descriptor)  # a mapping outlives it


def spots_digest(arrays: Iterable[Array]) -> str:
    """sha256 of places that are spread over the files: what can be looked at whenever a set is loaded."""
    sha = hashlib.sha256()
    for array in arrays:
        descriptor = array.open()
        for i in range(SPOTS):
            sha.update(os.pread(descriptor, SPOT, (array.size - SPOT) * i // (SPOTS - 1)))
        os.close(descriptor)
    return sha.hexdigest()
