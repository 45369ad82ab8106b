"""Image sets: read whole, verified by content, refused in one line when they are not what they say."""

import gzip
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from likelier.data import idx as reader
from likelier.data import load, sources
from likelier.errors import InputError

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = reader.FILES
MakeFolder = Callable[..., Path]


def idx(content: bytes, *shape: int, kind: int = 8) -> bytes:
    """An IDX file whose header claims `shape`, whatever its content is."""
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + content


def images(n: int, side: int) -> bytes:
    return idx(random.Random(n).randbytes(n * side * side), n, side, side)


# The embedded digits


def test_digits_are_the_same_everywhere_and_always() -> None:
    digits = load("digits")
    assert (len(digits.train), len(digits.test), digits.shape) == (1198, 599, (1, 8, 8))
    assert digits.classes == tuple("0123456789")
    assert digits.digest == "a15c089d3091b63733e8c617bec1b9dd3a6a5d7efce0ecc4c6d67554310b585b"


def test_digits_are_split_and_not_changed() -> None:
    digits, raw = load("digits"), load_digits()
    both = torch.cat([digits.train.images, digits.test.images]).flatten(1).numpy()
    labels = torch.cat([digits.train.labels, digits.test.labels]).numpy()
    ours = sorted(
        (*(x.astype(float) * 16 / 255).round().astype(int), int(y)) for x, y in zip(both, labels, strict=True)
    )
    theirs = sorted((*x.astype(int), int(y)) for x, y in zip(raw.data, raw.target, strict=True))
    assert np.array_equal(ours, theirs)


# Names and paths


def test_every_named_set_has_its_source() -> None:
    like_mnist = dict.fromkeys(("mnist", "fashion-mnist", "kmnist", "emnist-letters"), "idx")
    assert sources() == {"digits": "digits", "cifar10": "cifar10", "stacked-mnist": "stacked_mnist", **like_mnist}


@pytest.mark.parametrize(("name", "near"), [("minst", "mnist"), ("MNIST", "mnist"), ("fashionmnist", "fashion-mnist")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{near}'"):
        load(name)


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(InputError, match="has no name: wanted one of cifar10, digits"):
        load("")


def test_a_named_set_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`likelier data fetch mnist` fetches it.*--data-root or LIKELIER_DATA"):
        load("mnist")
    with pytest.raises(InputError, match=r"there is no folder .*nowhere.*wanted the folder that holds mnist/"):
        load("mnist", tmp_path / "nowhere")
    with pytest.raises(InputError, match=rf"mnist is neither in {tmp_path}/mnist, the cache, nor where torchvision"):
        load("mnist", tmp_path)


def test_the_root_is_found_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKELIER_DATA", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path / "mnist")):
        load("mnist")


# Folders


@pytest.mark.parametrize("gz", [False, True])
def test_a_folder_is_read_plain_or_gzipped(idx_folder: MakeFolder, gz: bool) -> None:
    found = load(idx_folder(gz=gz))
    assert (found.name, found.shape, len(found.train), len(found.test)) == ("set", (1, 8, 8), 32, 32)
    assert found.classes == ("0", "1", "2", "3")
    assert found.train.labels.tolist() == [i % 4 for i in range(32)]
    assert found.train.images.numpy().tobytes() == (idx_folder(name="plain") / TRAIN_X).read_bytes()[16:]


def test_compression_does_not_change_the_digest_and_one_pixel_does(idx_folder: MakeFolder) -> None:
    plain, packed = idx_folder(name="a"), idx_folder(name="b", gz=True)
    assert load(plain).digest == load(packed).digest
    content = bytearray((plain / TEST_X).read_bytes())
    content[-1] ^= 1
    (plain / TEST_X).write_bytes(content)
    assert load(plain).digest != load(packed).digest


def test_compression_is_told_by_content_not_by_name(idx_folder: MakeFolder) -> None:
    folder = idx_folder()
    (folder / TRAIN_X).rename(folder / f"{TRAIN_X}.gz")
    (folder / TEST_X).write_bytes(gzip.compress((folder / TEST_X).read_bytes()))
    assert load(folder).digest == load(idx_folder(name="other")).digest


def test_the_spelling_with_a_dot_is_known(idx_folder: MakeFolder) -> None:
    folder = idx_folder()
    (folder / TRAIN_X).rename(folder / "train-images.idx3-ubyte")
    assert len(load(folder).train) == 32


def test_other_things_in_the_folder_do_not_disturb(idx_folder: MakeFolder) -> None:
    folder = idx_folder(name="mit Leerzeichen und ünïcödé")
    (folder / "README.txt").write_text("hello")
    (folder / "subfolder").mkdir()
    assert load(folder).name == "mit Leerzeichen und ünïcödé"


BROKEN = {
    "an empty file": (TRAIN_X, b"", "it is empty"),
    "a cut header": (TRAIN_X, b"\0\0\x08\x03\0\0", "ends inside its header"),
    "fewer bytes than claimed": (
        TRAIN_X,
        idx(bytes(100), 32, 8, 8),
        "holds only 100 bytes: wanted the 2,048 of 32×8×8",
    ),
    "more bytes than claimed": (TRAIN_X, idx(bytes(2049), 32, 8, 8), "holds more bytes: wanted the 2,048"),
    "labels for images": (TRAIN_X, idx(bytes(32), 32), "holds labels .*: wanted images"),
    "images for labels": (TEST_Y, images(32, 8), "holds images .*: wanted labels"),
    "numbers that are not bytes": (TRAIN_X, idx(bytes(2048), 32, 8, 8, kind=13), "holds no bytes in IDX format"),
    "a picture": (TRAIN_X, b"\x89PNG\r\n\x1a\n" + bytes(99), "starts with 89 50 4e 47"),
    "no images": (TRAIN_X, idx(b"", 0, 8, 8), "claims 0×8×8 bytes"),
    "no pixels": (TRAIN_X, idx(b"", 32, 0, 8), "claims 32×0×8 bytes"),
    "2**31 images": (TRAIN_X, idx(bytes(10), 2**31, 28, 28), "claims 2147483648×28×28 bytes: wanted between 1 and"),
    "2**96 bytes": (TRAIN_X, idx(bytes(10), *[2**32 - 1] * 3), "wanted between 1 and"),
    "2**32 labels": (TRAIN_Y, idx(bytes(10), 2**32 - 1), "holds only 10 bytes"),
    "a label too few": (TRAIN_Y, idx(bytes(31), 31), "holds 31 labels for 32 images"),
    "a label too many": (TEST_Y, idx(bytes(33), 33), "holds 33 labels for 32 images"),
    "two sizes": (TEST_X, images(32, 9), "training images of 8×8 and test images of 9×9"),
    "a missing file": (TEST_Y, None, f"has no {TEST_Y}"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_and_named(idx_folder: MakeFolder, what: str) -> None:
    file, content, reason = BROKEN[what]
    folder = idx_folder({file: content})
    with pytest.raises(InputError, match=reason) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def cut(packed: bytes) -> bytes:
    return packed[:-40]


def changed_check(packed: bytes) -> bytes:
    return packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]


def changed_content(packed: bytes) -> bytes:
    return packed[:100] + bytes([packed[100] ^ 255]) + packed[101:]


@pytest.mark.parametrize("harm", [cut, changed_check, changed_content])
def test_a_damaged_gzip_is_refused(idx_folder: MakeFolder, harm: Callable[[bytes], bytes]) -> None:
    folder = idx_folder(gz=True)
    path = folder / f"{TRAIN_X}.gz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match=rf"{TRAIN_X}\.gz .*; fetch it again"):
        load(folder)


def test_a_lying_header_is_not_believed_with_memory(idx_folder: MakeFolder) -> None:
    folder = idx_folder({TRAIN_Y: idx(bytes(10), 2**32 - 1)})
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            load(folder)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is a file: wanted a folder"):
        load(tmp_path / "file")
    with pytest.raises(InputError, match="there is no folder"):
        load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds no pictures \(files of other kinds passed over: 1\): wanted"):
        load(tmp_path)


def test_a_folder_in_the_place_of_a_file_is_refused(idx_folder: MakeFolder) -> None:
    folder = idx_folder({TRAIN_X: None})
    (folder / TRAIN_X).mkdir()
    with pytest.raises(InputError, match=f"has no {TRAIN_X}"):
        load(folder)


# Published sets


def test_a_set_under_a_published_name_must_be_the_published_one(idx_folder: MakeFolder, tmp_path: Path) -> None:
    idx_folder(name="mnist")
    with pytest.raises(InputError, match=r"not the published file of mnist: .* wanted ba891046e6505d7a…"):
        load("mnist", tmp_path)
    assert len(load(tmp_path / "mnist").train) == 32  # by its path it is a set of one's own


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_sets_pass_by_name(data_root: Path, name: str) -> None:
    found = load(name, data_root)
    assert (len(found.train), len(found.test), found.shape) == (60_000, 10_000, (1, 28, 28))
    assert len(found.classes) == 10
    assert torch.bincount(found.test.labels).sum() == 10_000


def test_one_changed_byte_in_a_published_set_is_refused(data_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in (data_root / "mnist").iterdir():
        (folder / file.name).symlink_to(file)
    packed = reader.find(folder, TEST_Y)
    content = bytearray(gzip.decompress(packed.read_bytes()))
    content[5000] ^= 1
    packed.unlink()
    (folder / TEST_Y).write_bytes(content)
    with pytest.raises(InputError, match=f"{TEST_Y} is not the published file of mnist"):
        load("mnist", tmp_path)
