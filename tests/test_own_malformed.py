"""Whatever is in a folder or an array file: a set, or one line and exit code 2; no hang, no code, bounded memory."""

import io
import json
import os
import pickle
import resource
import signal
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from likelier.data import load
from likelier.errors import InputError
from likelier.looking import contact_sheet, statistics

Likelier = Callable[..., Any]
N, SIDE = 40, 8
NOISE = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE), dtype=np.uint8)
CANARY = "harmed"
MOST_SECONDS, MOST_MEGABYTES = 30, 400


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def headed(header: str | bytes, content: bytes = bytes(64), version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy file with this header, whatever follows."""
    header = header.encode() if isinstance(header, str) else header
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + content


def described(dtype: str, shape: object) -> bytes:
    return headed(f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n")


def zipped(members: dict[str, bytes], flags: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    content = bytearray(out.getvalue())
    if flags:
        place = content.index(b"PK\x01\x02")
        content[place + 8] |= flags
        content[6] |= flags
    return bytes(content)


def picture(ending: str, array: np.ndarray = NOISE[0]) -> bytes:
    out = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(ending, ending.upper())
    Image.fromarray(array).save(out, format=kind)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG that claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def cut(content: bytes, pieces: int = 12) -> Iterator[tuple[str, bytes]]:
    for place in sorted({len(content) * i // pieces for i in range(pieces)}):
        yield f"cut at {place}", content[:place]


def flipped(content: bytes, times: int = 16) -> Iterator[tuple[str, bytes]]:
    for place in sorted({len(content) * i // times for i in range(times)}):
        yield f"flipped at {place}", content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


class Runs:
    """What would run, if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (CANARY,)


OBJECTS = np.array([Runs()], dtype=object)
UNIT = NOISE / 255
TWO = np.arange(N) % 2

ARRAYS: dict[str, bytes] = {  # .npy
    "empty": b"",
    "text": b"no array at all",
    "a pickle": pickle.dumps(Runs()),
    "objects": npy(OBJECTS),
    "more than claimed": npy(NOISE) + b"x",
    **{f"npy {name}": content for name, content in cut(npy(NOISE), 20)},
    "2^31 images": described("|u1", (2**31, 28, 28)),
    "2^62 images": described("|u1", (2**62, 8, 8)),
    "2^200 images": described("|u1", (2**200, 8, 8)),
    "a negative shape": described("|u1", (-1, 8, 8)),
    "two negative sides": described("|u1", (1, -8, -8)),
    "no images": npy(NOISE[:0]),
    "no pixels": described("|u1", (4, 0, 8)),
    "a shape that is no tuple": described("|u1", 64),
    "a shape of texts": described("|u1", ("8", "8")),
    "70 dimensions": described("|u1", (1,) * 70),
    "true as a side": described("|u1", (True, 8, 8)),
    "an unknown type": described("nonsense", (1, 8, 8)),
    "a type without size": described("|S0", (1, 8, 8)),
    "complex numbers": npy(UNIT.astype(np.complex64)),
    "dates": npy(np.zeros((4, 8, 8), dtype="datetime64[D]")),
    "records": npy(np.zeros((4, 8, 8), dtype=[("a", "u1"), ("b", "f4")])),
    "named like ünïcödé": npy(np.zeros((4, 8, 8), dtype=[("日本", "u1")])),
    "texts": npy(np.full((4, 8, 8), "a")),
    "an unknown version": headed("{}", version=(9, 9)),
    "a header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(99),
    "code in the header": headed(f"__import__('os').mkdir('{CANARY}')"),
    "deep brackets": headed("(" * 9000),
    "a long number": headed("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 9000 + ",)}"),
    "no header": headed(b""),
    "a header of zeros": headed(bytes(118)),
    "a header without shape": headed("{'descr': '|u1', 'fortran_order': False}"),
    "NaN": npy(np.where(UNIT > 0.9, np.nan, UNIT)),
    "infinity": npy(np.where(UNIT > 0.9, np.inf, UNIT)),
    "from -1 to 1": npy(2 * UNIT - 1),
    "floats to 255": npy(NOISE.astype(np.float32)),
    "floats to 1e30": npy(UNIT * 1e30),
    "int64": npy(NOISE.astype(np.int64)),
    "uint16": npy(NOISE.astype(np.uint16) * 257),
    "int8": npy(NOISE.astype(np.int8)),
    "yes and no": npy(NOISE > 128),
    "a row": npy(NOISE[0, 0]),
    "rows of pixels": npy(NOISE.reshape(N, -1)),
    "five dimensions": npy(NOISE.reshape(N, 1, 1, SIDE, SIDE)),
    "no channels": npy(np.zeros((4, 8, 8, 8), dtype=np.uint8)),
    "channels on both sides": npy(np.zeros((40, 3, 8, 3), dtype=np.uint8)),
    "small": npy(NOISE[:, :7]),
    "large": npy(np.zeros((9, 200, 200), dtype=np.uint8)),
    "one image": npy(NOISE[:1]),
    "one image many times": npy(NOISE[:1].repeat(40, axis=0)),
}
ARCHIVES: dict[str, bytes] = {  # .npz
    "empty archive": zipped({}),
    "zeros": bytes(1000),
    "no archive": b"PK\x03\x04nonsense",
    "an array": npy(NOISE),
    "objects": npz(images=NOISE, labels=np.array([Runs()] * N, dtype=object)),
    "object images": npz(images=OBJECTS),
    "a pickle for an array": zipped({"images.npy": pickle.dumps(Runs())}),
    "code for an array": zipped({"images.npy": b"import os"}),
    "an archive in it": zipped({"images.npy": zipped({"images.npy": npy(NOISE)})}),
    "other names": npz(a=NOISE, b=NOISE),
    "no .npy in it": zipped({"images.txt": b"x"}),
    "encrypted": zipped({"images.npy": npy(NOISE)}, flags=1),
    "climbing out": zipped({f"../../{CANARY}.npy": described("|O", (1,))}),
    "a climbing name with escapes": zipped({"\x1b[2J.npy": npy(NOISE), "b.npy": npy(NOISE)}),
    "2^31 images in it": zipped({"images.npy": described("|u1", (2**31, 28, 28))}),
    "a bomb": zipped(
        {"images.npy": headed("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 8, 8)}", bytes(10**8))}
    ),
    "fewer labels": npz(images=NOISE, labels=TWO[:-1]),
    "one-hot labels": npz(images=NOISE, labels=np.eye(2)[TWO]),
    "labels of NaN": npz(images=NOISE, labels=np.full(N, np.nan)),
    "labels of infinity": npz(images=NOISE, labels=np.full(N, np.inf)),
    "labels between": npz(images=NOISE, labels=TWO + 0.5),
    "labels of no characters": npz(images=NOISE, labels=np.full(N, 0x110000, "u4").view("U1")),
    "labels of swapped bytes": npz(images=NOISE, labels=np.full(N, 0x41, ">u4").view("<U1")),
    "labels of half infinity": npz(images=NOISE, labels=np.full(N, np.inf, "f2")),
    "labels of dates": npz(images=NOISE, labels=TWO.astype("datetime64[D]")),
    "a label for each": npz(images=NOISE, labels=np.arange(N)),
    "one label": npz(images=NOISE, labels=np.array(1)),
    "no test labels": npz(x_train=NOISE, y_train=TWO, x_test=NOISE),
    "no training labels": npz(x_train=NOISE, x_test=NOISE, y_test=TWO),
    "two shapes": npz(x_train=NOISE, y_train=TWO, x_test=NOISE.repeat(2, axis=1), y_test=TWO),
    "an empty test split": npz(x_train=NOISE, y_train=TWO, x_test=NOISE[:0], y_test=TWO[:0]),
    **{f"npz {name}": content for name, content in cut(npz(images=NOISE, labels=TWO), 20)},
}
PERHAPS: dict[str, bytes] = {  # .npz that may be read all the same, as not every bit matters
    **{f"npz {name}": content for name, content in flipped(npz(images=NOISE, labels=TWO), 40)},
    **{f"npy {name}": zipped({"images.npy": content}) for name, content in flipped(npy(NOISE), 24)},
}
PICTURES = ("png", "jpg", "webp", "bmp", "gif", "tif", "pgm")
FILES: dict[str, bytes] = {  # one picture of a folder that is whole otherwise
    **{f"an empty .{ending}": b"" for ending in PICTURES},
    **{f"text in a .{ending}": b"GIF? no, text" for ending in PICTURES},
    **{f"zeros in a .{ending}": bytes(999) for ending in PICTURES},
    **{f"{what}.{end}": content for end in PICTURES for what, content in cut(picture(end), 4)},
    "a claim of 10^10 pixels.png": png_of(100_000, 100_000),
    "a claim of 2^62 pixels.png": png_of(2**31 - 1, 2**31 - 1),
    "a claim of no pixels.png": png_of(0, 8),
    "a claim of 60 million pixels.png": png_of(8000, 7500),
    "a claim of 10^10 pixels.bmp": picture("bmp")[:18] + struct.pack("<ii", 100_000, 100_000) + picture("bmp")[26:],
    "a claim of 2^31 pixels.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + picture("gif")[10:],
    "a claim of 10^12 pixels.pgm": b"P5 1000000 1000000 255\n" + bytes(99),
    "a number without end.pgm": b"P5 " + b"9" * 5000,
    "floats.tif": picture("tif", UNIT[0].astype(np.float32)),
    "negative.tif": picture("tif", NOISE[0].astype(np.int32) - 128),
    "32 bits.tif": picture("tif", NOISE[0].astype(np.int32) * 2**20),
    "an SVG.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "an EPS.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n",
}
PERHAPS_FILES = {f"{what}.{ending}": content for ending in PICTURES for what, content in flipped(picture(ending), 12)}


@pytest.fixture(autouse=True)
def watched(tmp_path: Path) -> Iterator[None]:
    """Nothing hangs, fills the memory, or runs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MEGABYTES
    assert not list(tmp_path.rglob(f"{CANARY}*")) and not Path(CANARY).exists()


def refused(path: Path) -> str:
    """Why a set is refused; that the command line makes one line and exit code 2 of it is tested on some of them."""
    with pytest.raises(InputError) as refusal:
        load(path)
    assert "allow_pickle" not in str(refusal.value)  # numpy's advice is to run what the file holds
    return str(refusal.value)


def read_or_refused(path: Path, **options: Any) -> None:
    with suppress(InputError):
        assert load(path, **options).digest


@pytest.mark.parametrize("what", ARRAYS)
def test_no_array_file_does_harm(tmp_path: Path, what: str):
    (tmp_path / "x.npy").write_bytes(ARRAYS[what])
    assert "x.npy" in refused(tmp_path / "x.npy") or what.startswith("one image")


@pytest.mark.parametrize("what", ARCHIVES)
def test_no_archive_does_harm(tmp_path: Path, what: str):
    (tmp_path / "x.npz").write_bytes(ARCHIVES[what])
    refused(tmp_path / "x.npz")


@pytest.mark.parametrize("what", PERHAPS)
def test_no_flipped_bit_of_an_archive_does_harm(tmp_path: Path, what: str):
    (tmp_path / "x.npz").write_bytes(PERHAPS[what])
    read_or_refused(tmp_path / "x.npz")


def folder_with(tmp_path: Path, name: str, content: bytes) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(20):
        (folder / f"{index}.png").write_bytes(picture("png", NOISE[index]))
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, what: str):
    name = what.replace(" in a .", ".").replace("an empty .", "empty.")
    told = refused(folder_with(tmp_path, name, FILES[what]))
    assert f"1 of 21 files of photos cannot be used: {tmp_path / 'photos' / name}" in told or "pictures of" in told


def test_the_first_files_are_named_and_the_others_counted(tmp_path: Path):
    all_broken(tmp_path / "photos")
    told = refused(tmp_path / "photos")
    assert "30 of 30 files of photos cannot be used" in told
    assert told.count("is no picture") == 3 and told.endswith("; and 27 more; mend them, or move them away")


@pytest.mark.parametrize("what", PERHAPS_FILES)
def test_no_flipped_bit_of_a_picture_does_harm(tmp_path: Path, what: str):
    read_or_refused(folder_with(tmp_path, what, PERHAPS_FILES[what]), size=8)


def pictures(folder: Path, n: int = 20, ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(n):
        (folder / f"{index}.{ending}").write_bytes(picture(ending, NOISE[index]))
    return folder


def bare(folder: Path) -> None:
    folder.mkdir()


def only_other_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(picture("png"))


def only_links(folder: Path) -> None:
    elsewhere = pictures(folder.parent / "elsewhere")
    folder.mkdir()
    for file in elsewhere.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "all").symlink_to(elsewhere)


def linked_to_itself(folder: Path) -> None:
    folder.mkdir()
    (folder / "round").symlink_to(folder)
    (folder / "a.png").symlink_to(folder / "a.png")


def only_a_pipe(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "a.png")


def only_a_socket(folder: Path) -> None:
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as found:
        found.bind("a.png")
    os.chdir(before)


def folders_of_folders(folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "d").mkdir()


def named_like_pictures(folder: Path) -> None:
    (folder / "a.png").mkdir(parents=True)


def loose_beside_classes(folder: Path) -> None:
    pictures(folder)
    pictures(folder / "cat")


def no_test_pictures(folder: Path) -> None:
    pictures(folder / "train")
    (folder / "test").mkdir()


def other_test_classes(folder: Path) -> None:
    pictures(folder / "train" / "cat")
    pictures(folder / "test" / "dog")


def classes_on_one_side(folder: Path) -> None:
    pictures(folder / "train" / "cat")
    pictures(folder / "test")


def one(folder: Path) -> None:
    pictures(folder, 1)


def one_many_times(folder: Path) -> None:
    folder.mkdir()
    for index in range(30):
        (folder / f"{index}.png").write_bytes(picture("png"))


def two_sizes(folder: Path) -> None:
    pictures(folder)
    (folder / "wide.png").write_bytes(picture("png", NOISE[0].repeat(2, axis=1)))


def too_large(folder: Path) -> None:
    folder.mkdir()
    for index in range(9):
        (folder / f"{index}.png").write_bytes(picture("png", np.full((200, 200), index, dtype=np.uint8)))


def all_broken(folder: Path) -> None:
    folder.mkdir()
    for index in range(30):
        (folder / f"{index}.png").write_text(f"{index}\n\x1b[2J")


FOLDERS: list[Callable[[Path], None]] = [
    bare,
    only_other_files,
    only_links,
    linked_to_itself,
    only_a_pipe,
    only_a_socket,
    folders_of_folders,
    named_like_pictures,
    loose_beside_classes,
    no_test_pictures,
    other_test_classes,
    classes_on_one_side,
    one,
    one_many_times,
    two_sizes,
    too_large,
    all_broken,
]


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_a_folder_that_is_no_set_is_refused(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "photos")
    assert "photos" in refused(tmp_path / "photos")


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9", b"\xff\xfe", "日本".encode(), "🦊".encode(), b"a\nb", b"\x1b[2J", b"<script>", b" ", b"-x", b"'\""],
)
def test_names_of_all_kinds_are_read_and_can_be_written(tmp_path: Path, name: bytes):
    folder = tmp_path / "photos"
    for odd in (name, b"other"):
        inner = Path(os.fsdecode(os.fsencode(folder) + b"/" + odd))
        pictures(inner)
        (inner / os.fsdecode(name + b".png")).write_bytes(picture("png", NOISE[30]))
    found = load(folder)
    assert len(set(found.classes)) == 2 and all(name.isprintable() for name in found.classes)
    json.dumps(statistics(found), ensure_ascii=False).encode("utf-8")
    contact_sheet(found, statistics(found))


def test_pipes_links_and_other_files_are_passed_over_and_counted(tmp_path: Path):
    folder = pictures(tmp_path / "photos")
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to("/dev/zero")
    (folder / "notes.txt").write_text("x")
    (folder / ".DS_Store").write_text("x")
    assert load(folder).notes == (
        "hidden files or folders passed over: 1",
        "links not followed: 1",
        "files of other kinds passed over: 2",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path):
    folder = pictures(tmp_path / "photos")
    (folder / "3.png").chmod(0)
    assert "3.png cannot be read: Permission denied" in refused(folder)
    folder.chmod(0)
    assert "cannot be read" in refused(folder)
    folder.chmod(0o755)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.sampled_from([npy(NOISE), npz(images=NOISE, labels=TWO), *(picture(ending) for ending in PICTURES)]),
    places=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=9)), max_size=4),
    end=st.floats(0, 1),
    name=st.sampled_from(["x.npy", "x.npz", "photos/x.png"]),
)
def test_whatever_is_changed_there_is_a_set_or_one_line(
    tmp_path: Path, source: bytes, places: list[tuple[float, bytes]], end: float, name: str
):
    content = bytearray(source[: round(len(source) * end)])
    for share, replacement in places:
        place = int(share * len(content))
        content[place : place + len(replacement)] = replacement
    (tmp_path / "photos").mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    try:
        load((tmp_path / name).parent if name.startswith("photos") else tmp_path / name, size=8)
    except InputError as error:
        assert "\n" not in str(error)


def test_the_corpus_is_large():
    assert sum(map(len, (ARRAYS, ARCHIVES, PERHAPS, FILES, PERHAPS_FILES, FOLDERS))) >= 300
