"""`cifar10`: 60,000 colour photographs of 32×32 pixels in ten classes, from the official binary version.

Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, 2009.

The format: six files (five of training images, one of test images) of 10,000 records; a record is one byte for the
class, then 3,072 bytes of red, green and blue, each plane row by row. The pickled version is not read: to unpickle a
file is to run its code.
"""

import hashlib
import tarfile
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from likelier.errors import InputError
from likelier.images import Images, Split

NAMES = ("cifar10",)
NEEDS_ROOT = True

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
FILES = {  # the sha256 of each file as published
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
RECORDS, RECORD = 10_000, 1 + 3 * 32 * 32


def load(name: str, root: Path) -> Images:
    """CIFAR-10 from its archive, or from the folder that the archive unpacks to, under `root`/cifar10."""
    contents = read(root / name)
    batches = [parse(contents[file]) for file in FILES]
    train_x, train_y = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    return Images(name, Split(train_x, train_y.long()), Split(batches[-1][0], batches[-1][1].long()), CLASSES)


def read(folder: Path) -> dict[str, bytes]:
    """The six files, unpacked or out of the archive, each verified by its hash."""
    for place in (folder, folder / FOLDER):
        if all((place / file).is_file() for file in FILES):
            return {file: checked(place / file, read_file(place / file)) for file in FILES}
    archive = folder / ARCHIVE
    if archive.is_file():
        return read_archive(archive)
    pickled = any(folder.rglob("data_batch_1")) or (folder / "cifar-10-python.tar.gz").exists()
    found = "holds the pickled version, which is not read, as to unpickle is to run code" if pickled else "has neither"
    raise InputError(
        f"{folder} {found}: wanted the binary version, {ARCHIVE} or its six files {', '.join(list(FILES)[:1])} …"
    )


def read_file(path: Path) -> bytes:
    """As many bytes as a whole file has, and one more, so that a longer one is noticed."""
    try:
        with path.open("rb") as file:
            return file.read(RECORDS * RECORD + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; fetch it again") from None


def read_archive(path: Path) -> dict[str, bytes]:
    """The six members of the archive by name; nothing is unpacked to the disk, whatever else the archive holds."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = Path(member.name).name
                if file in FILES and member.isreg():
                    stream = archive.extractfile(member)
                    assert stream is not None  # a regular member has one
                    found[file] = checked(path / file, stream.read(RECORDS * RECORD + 1))
    except (OSError, EOFError, tarfile.TarError) as error:
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
