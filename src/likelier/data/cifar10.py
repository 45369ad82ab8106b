"""`cifar10`: 60,000 colour photographs of 32×32 pixels in ten classes, from the official binary version.

Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, 2009.

The format: six files (five of training images, one of test images) of 10,000 records; a record is one byte for the
class, then 3,072 bytes of red, green and blue, each plane row by row. The pickled version is not read: to unpickle a
file is to run its code.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from likelier.data.catalogue import REMOTES
from likelier.errors import InputError
from likelier.images import Images, Split

NAMES = ("cifar10",)
ON_DISK = True

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
ARCHIVE = REMOTES[NAMES[0]][0].name
FILES = {  # the sha256 of each file as published
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORDS, RECORD = 10_000, 1 + 3 * 32 * 32
MORE = 1 << 20
"""Bytes of the archive that are not images: headers, padding, the names of the classes."""
PICKLED = ("cifar-10-batches-py*", "cifar-10-python.tar.gz")
"""What torchvision and Keras keep."""


def load(name: str, folder: Path) -> tuple[Images, bool]:
    """CIFAR-10 from its archive in `folder`, or from what that unpacks to, and True: the hashes were right.

    Raises:
        InputError: files are missing, cut short, or not the published ones.
    """
    contents = read(folder)
    batches = [parse(contents[file]) for file in FILES]
    train_x, train_y = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    test_x, test_y = batches[-1]
    return Images(name, Split(train_x, train_y.long()), Split(test_x, test_y.long()), CLASSES), True


def is_here(name: str, folder: Path) -> bool:
    """Whether the archive, or any of what it unpacks to, is in `folder`."""
    return any((folder / file).is_file() for file in (ARCHIVE, *FILES, *(f"{FOLDER}/{file}" for file in FILES)))


def refuse_pickled(name: str, path: Path) -> tuple[Images, bool]:
    """The answer to the version that other libraries keep."""
    raise InputError(
        f"{path} is the pickled version of {name}, which is not read, as to unpickle is to run code: "
        f"`likelier data fetch {name}` fetches the binary one, or put {ARCHIVE} into a folder {name}/ of the data root"
    )


def read(folder: Path) -> dict[str, bytes]:
    """The six files, unpacked or out of the archive, each verified by its hash."""
    for place in (folder, folder / FOLDER):
        if all((place / file).is_file() for file in FILES):
            return {file: checked(place / file, read_file(place / file)) for file in FILES}
    if (folder / ARCHIVE).is_file():
        return read_archive(folder / ARCHIVE)
    raise InputError(
        f"{folder} has neither {ARCHIVE} nor the six files that it unpacks to, from {next(iter(FILES))} on; "
        "fetch it again"
    )


def read_file(path: Path) -> bytes:
    """As many bytes as a whole file has, and one more, so that a longer one is noticed."""
    try:
        with path.open("rb") as file:
            return file.read(RECORDS * RECORD + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; fetch it again") from None


class Bounded(io.RawIOBase):
    """A stream that ends with an error before it has given more than the published archive holds."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file = file
        self.left = len(FILES) * RECORDS * RECORD + MORE

    def read(self, n: int = -1) -> bytes:
        """Up to n of the next bytes."""
        content = self.file.read(min(n, self.left + 1) if n >= 0 else self.left + 1)
        self.left -= len(content)
        if self.left < 0:
            raise OSError("it holds far more than the published files")
        return content


def read_archive(path: Path) -> dict[str, bytes]:
    """The six members of the archive by name; nothing is unpacked to the disk, whatever else the archive holds."""
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=Bounded(content), mode="r|") as archive:
            for member in archive:
                file = Path(member.name).name
                if file in FILES and member.isreg():
                    stream = archive.extractfile(member)
                    assert stream is not None  # a regular member has one
                    found[file] = checked(path / file, stream.read(RECORDS * RECORD + 1))
    except InputError:
        raise
    except (OSError, EOFError, ValueError, ArithmeticError, zlib.error, tarfile.TarError) as error:
        raise InputError(f"{path} cannot be read: {error}; fetch it again") from None
    if missing := [file for file in FILES if file not in found]:
        raise InputError(f"{path} has no {missing[0]}: wanted the six files of the binary version; fetch it again")
    return found


def checked(path: Path, content: bytes) -> bytes:
    """The content, if it is the published one."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != FILES[path.name]:
        raise InputError(
            f"{path} is not the published file of cifar10: its content has sha256 {digest[:16]}…, wanted "
            f"{FILES[path.name][:16]}…; fetch it again"
        )
    return content


def parse(content: bytes) -> tuple[UInt8[Tensor, "n 3 32 32"], UInt8[Tensor, " n"]]:
    """Images and classes of one file."""
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(RECORDS, RECORD)
    return records[:, 1:].reshape(RECORDS, 3, 32, 32).contiguous(), records[:, 0]
