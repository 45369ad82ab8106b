"""Files of named sets that are not what they say: each kind of file with each kind of fault, and faults that Hypothesis
finds. All end in one line, or in the right images; none takes much memory or time, writes anything, or runs anything.
"""

import gzip
import hashlib
import io
import os
import pickle
import random
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likelier.data import cifar10, find, idx, keras
from likelier.data.catalogue import REMOTES
from likelier.errors import InputError
from likelier.fetching import Remote

pytestmark = pytest.mark.filterwarnings("ignore:.*no published sum")

MOST_MEMORY, MOST_SECONDS = 32e6, 5.0
BOMB = 64 << 20
"""Bytes of zeros that a small file grows to, or that a header claims."""
N = (12, 8)
RECORDS = 4
NOISE = random.Random(0)


def header(*shape: int, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def four(first: int, classes: int) -> list[bytes]:
    """Images and labels of training and test, as IDX."""
    parts = []
    for n in N:
        parts.append(header(n, 28, 28) + NOISE.randbytes(n * 28 * 28))
        parts.append(header(n) + bytes(first + i % classes for i in range(n)))
    return parts


DIGITS, LETTERS = four(0, 10), four(1, 26)
BATCHES = {file: bytes(NOISE.randrange(10) for _ in range(RECORDS * cifar10.RECORD)) for file in cifar10.FILES}


def in_zip(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, packing)
    return buffer.getvalue()


def letters_zip(**changed: bytes) -> bytes:
    files = dict(zip(idx.LETTERS, (gzip.compress(c, mtime=0) for c in LETTERS), strict=True))
    return in_zip({f"gzip/{name}.gz": content for name, content in (files | changed).items()})


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ARRAYS = {
    key: np.frombuffer(c, np.uint8, offset=16 if "x" in key else 8).reshape((-1, 28, 28) if "x" in key else (-1,))
    for key, c in zip(keras.KEYS, DIGITS, strict=True)
}


def keras_zip(packing: int = zipfile.ZIP_DEFLATED, **changed: bytes) -> bytes:
    return in_zip({f"{key}.npy": npy(array) for key, array in ARRAYS.items()} | changed, packing)


Member = tuple[str, bytes, dict[str, object]]
BATCH = f"{cifar10.FOLDER}/test_batch.bin"


def tar(*more: Member, without: str = "", first: bool = False) -> bytes:
    """The archive of CIFAR-10, with more members before or after its own."""
    own: list[Member] = [
        (f"{cifar10.FOLDER}/{f}", c, {}) for f, c in BATCHES.items() if f not in without or not without
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, attributes in [*more, *own] if first else [*own, *more]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tgz(*more: Member, without: str = "", first: bool = False) -> bytes:
    return gzip.compress(tar(*more, without=without, first=first), mtime=0)


@cache
def zeros_gz(prefix: bytes, zeros: int = BOMB) -> bytes:
    """A small gzip file of something, then of many zeros."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(prefix)]
    block = bytes(1 << 20)
    parts += [packer.compress(block) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.flush()])


@dataclass(frozen=True)
class Kind:
    """A kind of file: the set that it belongs to, where it lies, and what a good one holds."""

    name: str
    folder: str
    good: bytes
    beside: dict[str, bytes]
    file: str


def around(names: tuple[str, ...], contents: list[bytes]) -> dict[str, bytes]:
    return dict(zip(names, contents, strict=True))


PACKED = [gzip.compress(c, mtime=0) for c in DIGITS]
KINDS = {
    "idx images": Kind("kmnist", "root/kmnist", DIGITS[0], around(idx.FILES, DIGITS), idx.FILES[0]),
    "idx labels": Kind("kmnist", "root/kmnist", DIGITS[3], around(idx.FILES, DIGITS), idx.FILES[3]),
    "idx gz": Kind(
        "kmnist", "root/kmnist", PACKED[0], around(tuple(f"{f}.gz" for f in idx.FILES), PACKED), f"{idx.FILES[0]}.gz"
    ),
    "emnist zip": Kind("emnist-letters", "root/emnist-letters", letters_zip(), {}, idx.ARCHIVE),
    "keras npz": Kind("mnist", "keras/datasets", keras_zip(), {}, "mnist.npz"),
    "keras npz stored": Kind("mnist", "keras/datasets", keras_zip(zipfile.ZIP_STORED), {}, "mnist.npz"),
    "cifar bin": Kind("cifar10", "root/cifar10", BATCHES["test_batch.bin"], BATCHES, "test_batch.bin"),
    "cifar tar": Kind("cifar10", "root/cifar10", tgz(), {}, cifar10.ARCHIVE),
}


@pytest.fixture(autouse=True)
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The good files are published under their sums."""
    (tmp_path / "root").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    sums = tuple(hashlib.sha256(c).hexdigest() for c in DIGITS)
    monkeypatch.setitem(idx.PUBLISHED, "mnist", replace(idx.PUBLISHED["mnist"], sha256=sums))
    monkeypatch.setattr(keras, "SHAPES", tuple(array.shape for array in ARRAYS.values()))
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    monkeypatch.setattr(cifar10, "FILES", {f: hashlib.sha256(c).hexdigest() for f, c in BATCHES.items()})
    whole = letters_zip()
    remote = Remote(idx.ARCHIVE, hashlib.sha256(whole).hexdigest(), len(whole), ())
    monkeypatch.setitem(REMOTES, "emnist-letters", (remote,))


def laid(kind: Kind, tmp_path: Path, content: bytes | None) -> Path:
    """Put a file of this kind, and those that belong to it, where it is looked for; None puts nothing there."""
    folder = tmp_path / kind.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, beside in kind.beside.items():
        (folder / name).write_bytes(beside)
    path = folder / kind.file
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    return path


@contextmanager
def bounded() -> Iterator[None]:
    """Little memory, little time."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < MOST_SECONDS


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def outcome(kind: Kind, tmp_path: Path) -> str | None:
    """The one line that refuses the set; None if it is loaded, and right."""
    before = tree(tmp_path)
    try:
        with bounded():
            found = find(kind.name, tmp_path / "root")
    except InputError as error:
        message = str(error)
        assert message.splitlines() == [message]
        assert 10 < len(message) < 1_000
        return message
    finally:
        assert tree(tmp_path) == before
    images = found.images
    assert len(images.train) in (N[0], 5 * RECORDS)
    assert images.shape in ((1, 28, 28), (3, 32, 32))
    if found.verified and kind.name in ("mnist", "cifar10"):
        first = (
            ARRAYS["x_train"][0] if kind.name == "mnist" else np.frombuffer(BATCHES["data_batch_1.bin"][1:3073], "B")
        )
        assert np.array_equal(images.train.images[0].flatten().numpy(), first.flatten())
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_the_good_file_passes(kind: str, tmp_path: Path) -> None:
    laid(KINDS[kind], tmp_path, KINDS[kind].good)
    assert outcome(KINDS[kind], tmp_path) is None


# Faults of any file


def set_byte(position: int, value: int) -> Callable[[bytes], bytes]:
    def harm(good: bytes) -> bytes:
        at = position % len(good)
        return good[:at] + bytes([value]) + good[at + 1 :]

    return harm


def flip(share: float) -> Callable[[bytes], bytes]:
    def harm(good: bytes) -> bytes:
        at = int(share * (len(good) - 1))
        return good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]

    return harm


class Evil:
    """What would be run if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("harmed",)


SURELY_BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "one byte": lambda good: good[:1],
    "zeros": lambda good: bytes(len(good)),
    "ones": lambda good: b"\xff" * len(good),
    "noise": lambda good: random.Random(1).randbytes(len(good)),
    "a web page": lambda good: b"<!DOCTYPE html><title>404 Not Found</title>" * 40,
    "a picture": lambda good: b"\x89PNG\r\n\x1a\n" + random.Random(2).randbytes(len(good)),
    "text": lambda good: "zwölf Bilder\n".encode() * 100,
    "a pickle": lambda good: pickle.dumps(Evil()),
    "reversed": lambda good: good[::-1],
    "cut in the header": lambda good: good[:6],
    "cut in half": lambda good: good[: len(good) // 2],
    "packed twice": lambda good: gzip.compress(gzip.compress(good)),
    "zeros that grow": lambda good: zeros_gz(b""),
    "a header, then zeros that grow": lambda good: zeros_gz(header(BOMB >> 12, 64, 64)),
}
MAYBE_BAD: dict[str, Callable[[bytes], bytes]] = {
    "cut by one": lambda good: good[:-1],
    "twice": lambda good: good + good,
    "with a tail": lambda good: good + b"\n",
    "with a head": lambda good: b"\n" + good,
    "halves exchanged": lambda good: good[len(good) // 2 :] + good[: len(good) // 2],
    **{f"byte {i} is ff": set_byte(i, 0xFF) for i in range(12)},
    **{f"byte -{i} is ff": set_byte(-i, 0xFF) for i in range(1, 23, 3)},
    **{f"a bit at {share:.0%}": flip(share) for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)},
}


@pytest.mark.parametrize("fault", SURELY_BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_refused(kind: str, fault: str, tmp_path: Path) -> None:
    path = laid(KINDS[kind], tmp_path, SURELY_BAD[fault](KINDS[kind].good))
    message = outcome(KINDS[kind], tmp_path)
    assert message is not None
    assert str(path) in message


@pytest.mark.parametrize("fault", MAYBE_BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_a_harmed_file_is_refused_or_right(kind: str, fault: str, tmp_path: Path) -> None:
    path = laid(KINDS[kind], tmp_path, MAYBE_BAD[fault](KINDS[kind].good))
    message = outcome(KINDS[kind], tmp_path)
    assert message is None or str(path.parent) in message


@pytest.mark.parametrize("what", ["folder", "dangling link", "link to itself", "endless device", "pipe"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_none(kind: str, what: str, tmp_path: Path) -> None:
    path = laid(KINDS[kind], tmp_path, None)
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"dangling link": "nowhere", "link to itself": path.name, "endless device": "/dev/zero"}[what])
    assert outcome(KINDS[kind], tmp_path) is not None


# Faults of a format


def zip_patched(good: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Every header of that signature with some bytes changed."""
    parts = good.split(signature)
    harmed = [part[: offset - 4] + value + part[offset - 4 + len(value) :] for part in parts[1:]]
    return signature.join([parts[0], *harmed])


CENTRAL, LOCAL = b"PK\x01\x02", b"PK\x03\x04"


def npy_of(description: str, version: bytes = b"\1\0", rest: bytes = b"") -> bytes:
    """An .npy file whose header says what it likes."""
    text = description.encode()
    length = struct.pack("<H", len(text)) if version == b"\1\0" else struct.pack("<I", len(text))
    return b"\x93NUMPY" + version + length + text + rest


def described(descr: str = "'|u1'", order: str = "False", shape: str = "(12, 28, 28)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def x_train(content: bytes) -> bytes:
    return keras_zip(**{"x_train.npy": content})


def image_file(name: str) -> str:
    return f"gzip/{name}.gz"


PIXELS = ARRAYS["x_train"].tobytes()
FORMAT_FAULTS: dict[str, dict[str, Callable[[], bytes]]] = {
    "idx images": {
        "2**31 images": lambda: header(2**31, 28, 28) + PIXELS,
        "2**96 bytes": lambda: header(*[2**32 - 1] * 3) + PIXELS,
        "no images": lambda: header(0, 28, 28),
        "images without pixels": lambda: header(12, 0, 28) + PIXELS,
        "an image too few": lambda: header(11, 28, 28) + PIXELS[: 11 * 784],
        "an image too many": lambda: header(13, 28, 28) + PIXELS + PIXELS[:784],
        "another shape": lambda: header(12, 14, 56) + PIXELS,
        "four dimensions": lambda: header(12, 28, 28, 1) + PIXELS,
        "no dimensions": lambda: header() + PIXELS,
        "255 dimensions": lambda: header(*[1] * 255) + PIXELS,
        "floats": lambda: header(12, 28, 28, kind=13) + PIXELS * 4,
    },
    "idx labels": {
        "2**32 labels": lambda: header(2**32 - 1) + bytes(8),
        "labels beyond the classes": lambda: header(8) + bytes([250] * 8),
        "a label too few": lambda: header(7) + bytes(7),
    },
    "idx gz": {
        "2**31 images": lambda: gzip.compress(header(2**31, 28, 28) + PIXELS),
        "zeros as claimed": lambda: zeros_gz(header(BOMB // 784, 28, 28)),
        "zeros of one image": lambda: zeros_gz(header(1, 1 << 13, BOMB >> 13)),
        "two members": lambda: gzip.compress(header(12, 28, 28)) + gzip.compress(PIXELS) + gzip.compress(b"more"),
        "a wrong sum": lambda: PACKED[0][:-8] + bytes(8),
        "an unknown method": lambda: b"\x1f\x8b\x07" + PACKED[0][3:],
        "a name without end": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 5_000,
    },
    "emnist zip": {
        "no members": lambda: in_zip({}),
        "others only": lambda: in_zip({"gzip/emnist-digits-train-images-idx3-ubyte.gz": b""}),
        "members that climb out": lambda: in_zip({f"../../{f}.gz": b"x" for f in idx.LETTERS}),
        "absolute members": lambda: in_zip({f"/tmp/{f}.gz": b"x" for f in idx.LETTERS}),
        "a folder for a member": lambda: letters_zip(**{f"{idx.LETTERS[0]}": b""}),
        "encrypted": lambda: zip_patched(zip_patched(letters_zip(), CENTRAL, 8, b"\1\0"), LOCAL, 6, b"\1\0"),
        "an unknown method": lambda: zip_patched(zip_patched(letters_zip(), CENTRAL, 10, b"c\0"), LOCAL, 8, b"c\0"),
        "a claim of 4 GB": lambda: zip_patched(letters_zip(), CENTRAL, 24, b"\xfe\xff\xff\xff"),
        "packed as 4 GB": lambda: zip_patched(letters_zip(), CENTRAL, 20, b"\xfe\xff\xff\xff"),
        "wrong sums": lambda: zip_patched(letters_zip(), CENTRAL, 16, b"\1\2\3\4"),
        "wrong places": lambda: zip_patched(letters_zip(), CENTRAL, 42, b"\xff\xff\xff\x7f"),
        "zeros as claimed": lambda: letters_zip(**{idx.LETTERS[0]: zeros_gz(header(BOMB >> 12, 64, 64))}),
        "twice its size before": lambda: bytes(2 * len(letters_zip())) + letters_zip(),
        "not gzipped": lambda: letters_zip(**{idx.LETTERS[0]: LETTERS[0]}),
    },
    "keras npz": {
        "objects": lambda: x_train(npy(np.array([Evil()] * 12, dtype=object))),
        "objects as claimed": lambda: x_train(npy_of(described("'|O'"), rest=pickle.dumps(Evil()))),
        "floats": lambda: x_train(npy(ARRAYS["x_train"].astype(np.float32))),
        "a record": lambda: x_train(npy_of(described("[('a', '|u1')]"), rest=PIXELS)),
        "by columns": lambda: x_train(npy_of(described(order="True"), rest=PIXELS)),
        "2**31 images": lambda: x_train(npy_of(described(shape="(2147483648, 28, 28)"), rest=PIXELS)),
        "a negative shape": lambda: x_train(npy_of(described(shape="(-12, 28, 28)"), rest=PIXELS)),
        "code for a shape": lambda: x_train(npy_of(described(shape="__import__('os').mkdir('harmed')"), rest=PIXELS)),
        "brackets without end": lambda: x_train(npy_of("(" * 9_000)),
        "a header of megabytes": lambda: x_train(npy_of(described() + " " * (8 << 20), b"\2\0", PIXELS)),
        "a header that is too long": lambda: x_train(npy_of(described() + " " * 60_000, rest=PIXELS)),
        "version 2": lambda: x_train(npy_of(described(), b"\2\0", PIXELS)),
        "version 9": lambda: x_train(npy_of(described(), b"\x09\0", PIXELS)),
        "a pickle": lambda: x_train(pickle.dumps(Evil())),
        "another magic": lambda: x_train(b"\x93NUMPX" + npy_of(described(), rest=PIXELS)[6:]),
        "version 1.1": lambda: x_train(npy_of(described(), rest=PIXELS).replace(b"\1\0", b"\1\1", 1)),
        "too few bytes": lambda: x_train(npy_of(described(), rest=PIXELS[:-1])),
        "too many bytes": lambda: x_train(npy_of(described(), rest=PIXELS + b"\0")),
        "other pixels": lambda: x_train(npy_of(described(), rest=PIXELS[::-1])),
        "zeros that grow": lambda: x_train(npy_of(described(), rest=bytes(BOMB // 4))),
        "megabytes before": lambda: bytes(2 << 20) + keras_zip(),
        "no test images": lambda: in_zip({"x_train.npy": npy(ARRAYS["x_train"])}),
        "a claim of 4 GB": lambda: zip_patched(keras_zip(), CENTRAL, 24, b"\xfe\xff\xff\xff"),
        "wrong sums": lambda: zip_patched(keras_zip(), CENTRAL, 16, b"\1\2\3\4"),
        "encrypted": lambda: zip_patched(zip_patched(keras_zip(), CENTRAL, 8, b"\1\0"), LOCAL, 6, b"\1\0"),
        "an unknown method": lambda: zip_patched(zip_patched(keras_zip(), CENTRAL, 10, b"c\0"), LOCAL, 8, b"c\0"),
    },
    "cifar bin": {
        "a record too many": lambda: BATCHES["test_batch.bin"] + bytes(cifar10.RECORD),
        "a record too few": lambda: BATCHES["test_batch.bin"][: -cifar10.RECORD],
        "another batch": lambda: BATCHES["data_batch_1.bin"],
    },
    "cifar tar": {
        "a symbolic link": lambda: tgz(
            (BATCH, b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}), without=BATCH
        ),
        "a hard link": lambda: tgz((BATCH, b"", {"type": tarfile.LNKTYPE, "linkname": "../../x"}), without=BATCH),
        "a device": lambda: tgz((BATCH, b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}), without=BATCH),
        "a pipe": lambda: tgz((BATCH, b"", {"type": tarfile.FIFOTYPE}), without=BATCH),
        "a folder": lambda: tgz((BATCH, b"", {"type": tarfile.DIRTYPE}), without=BATCH),
        "nothing": lambda: gzip.compress(bytes(10_240)),
        "members that climb out, with other bytes": lambda: tgz(("../../test_batch.bin", b"x", {})),
        "a claim of 2**40": lambda: gzip.compress(lying_size(tar(), b"%011o\0" % (2**33 - 1))),
        "a negative claim": lambda: gzip.compress(lying_size(tar(), b"\xff" * 12)),
        "a huge claim": lambda: gzip.compress(lying_size(tar(), b"\x80" + b"\xff" * 11)),
        "no number for a size": lambda: gzip.compress(lying_size(tar(), b"zwei Bilder ")),
        "zeros before": lambda: zeros_gz(tar_header("zeros", BOMB)),
        "zeros after": lambda: tgz(("zeros", bytes(2 << 20), {})),
        "a long name of zeros": lambda: zeros_gz(tar_header("name", BOMB, tarfile.GNUTYPE_LONGNAME)),
        "a pax header of zeros": lambda: zeros_gz(tar_header("pax", BOMB, tarfile.XHDTYPE)),
        "a pax header of nonsense": lambda: gzip.compress(tar_header("pax", 512, tarfile.XHDTYPE) + b"9 =\xff\n" * 73),
        "a sparse member": lambda: gzip.compress(tar_header(BATCH, 512, tarfile.GNUTYPE_SPARSE) + bytes(1024)),
        "a wrong sum of a header": lambda: gzip.compress(set_byte(150, 0x37)(tar())),
        "cut at the end of the zip": lambda: tgz()[:-8],
        "a plain tar": lambda: tar(),
    },
}


HARMLESS = {("emnist zip", fault) for fault in ("a claim of 4 GB", "packed as 4 GB")}
HARMLESS |= {("keras npz", "a claim of 4 GB"), ("cifar tar", "cut at the end of the zip")}
"""What is wrong is not needed: the images are whole, and right."""


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def lying_size(content: bytes, size: bytes) -> bytes:
    """The first header claims another size, and its sum is right."""
    head = bytearray(content[:512])
    head[124:136] = size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content[512:]


@pytest.mark.parametrize(("kind", "fault"), [(kind, fault) for kind in FORMAT_FAULTS for fault in FORMAT_FAULTS[kind]])
def test_a_fault_of_the_format_is_refused(kind: str, fault: str, tmp_path: Path) -> None:
    path = laid(KINDS[kind], tmp_path, FORMAT_FAULTS[kind][fault]())
    message = outcome(KINDS[kind], tmp_path)
    assert (message is None) == ((kind, fault) in HARMLESS)
    assert message is None or str(path.parent) in message


def test_there_are_enough_of_them() -> None:
    format_faults = sum(map(len, FORMAT_FAULTS.values()))
    assert len(KINDS) * (len(SURELY_BAD) + len(MAYBE_BAD)) + format_faults >= 300


@pytest.mark.parametrize(
    "more",
    [
        ("../../../outside", b"x", {}),
        ("/tmp/outside", b"x", {}),
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("ünïcödé/\N{SNOWMAN}", b"x", {}),
        ("x" * 5_000, b"x", {}),
        ("fifo", b"", {"type": tarfile.FIFOTYPE}),
    ],
    ids=lambda member: member[0][:16],
)
@pytest.mark.parametrize("first", [True, False])
def test_other_members_of_an_archive_do_no_harm(more: Member, first: bool, tmp_path: Path) -> None:
    laid(KINDS["cifar tar"], tmp_path, tgz(more, first=first))
    assert outcome(KINDS["cifar tar"], tmp_path) is None


# Faults that are looked for

EDIT = st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 12))
"""Where, what is put there, how many bytes it takes the place of."""


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(EDIT, min_size=1, max_size=4), end=st.floats(0, 1), cut=st.booleans())
def test_any_edit_is_refused_or_right(
    kind: str, tmp_path: Path, edits: list[tuple[float, bytes, int]], end: float, cut: bool
) -> None:
    content = KINDS[kind].good
    for share, put, taken in edits:
        at = int(share * len(content))
        content = content[:at] + put + content[at + taken :]
    laid(KINDS[kind], tmp_path, content[: int(end * len(content))] if cut else content)
    outcome(KINDS[kind], tmp_path)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(EDIT, min_size=1, max_size=4))
def test_any_edit_within_the_compression_is_refused_or_right(
    tmp_path: Path, edits: list[tuple[float, bytes, int]]
) -> None:
    content = tar()
    for share, put, taken in edits:
        at = int(share * 2_000)  # headers, and a little more
        content = content[:at] + put + content[at + taken :]
    laid(KINDS["cifar tar"], tmp_path, gzip.compress(content, 1))
    outcome(KINDS["cifar tar"], tmp_path)
