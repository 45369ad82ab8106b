"""CIFAR-10 in its binary version: the layout, the hashes, archives that are not what they say."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from likelier.data import cifar10, load
from likelier.errors import InputError

RECORDS = 4


def batch(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 10, RECORDS * cifar10.RECORD, dtype=np.uint8).tobytes()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six files of four records each, published under their hashes."""
    contents = {file: batch(i) for i, file in enumerate(cifar10.FILES)}
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    monkeypatch.setattr(cifar10, "FILES", {f: hashlib.sha256(c).hexdigest() for f, c in contents.items()})
    return contents


def archive(folder: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / cifar10.ARCHIVE
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return path


def inside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{cifar10.FOLDER}/{name}": content for name, content in files.items()}


def unpacked(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_record_is_a_class_and_three_planes(tmp_path: Path, files: dict[str, bytes]):
    unpacked(tmp_path / "cifar10", files)
    images = load("cifar10", tmp_path)
    first = np.frombuffer(files["data_batch_1.bin"], dtype=np.uint8)[: cifar10.RECORD]
    assert images.shape == (3, 32, 32)
    assert (len(images.train), len(images.test)) == (5 * RECORDS, RECORDS)
    assert int(images.train.labels[0]) == first[0]
    for channel in range(3):
        plane = first[1 + 1024 * channel :][:1024].reshape(32, 32)
        assert np.array_equal(images.train.images[0, channel].numpy(), plane)
    assert images.classes[3] == "cat"


def test_archive_folder_and_loose_files_are_the_same_set(tmp_path: Path, files: dict[str, bytes]):
    unpacked(tmp_path / "a" / "cifar10", files)
    unpacked(tmp_path / "b" / "cifar10" / cifar10.FOLDER, files)
    (tmp_path / "c").mkdir()
    archive(tmp_path / "c" / "cifar10", {"batches.meta.txt": b"", **inside(files)})
    assert len({load("cifar10", tmp_path / root).digest for root in "abc"}) == 1


def test_a_changed_byte_is_refused(tmp_path: Path, files: dict[str, bytes]):
    content = bytearray(files["data_batch_2.bin"])
    content[7] ^= 1
    archive(tmp_path / "cifar10", inside({**files, "data_batch_2.bin": bytes(content)}))
    with pytest.raises(InputError, match=r"data_batch_2.bin is not the published file of cifar10"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("harm", ["short", "long", "cut", "missing", "link", "noise"])
def test_an_archive_that_is_not_whole_is_refused(harm: str, tmp_path: Path, files: dict[str, bytes]):
    members = inside(files)
    name = f"{cifar10.FOLDER}/test_batch.bin"
    if harm in ("short", "long"):
        members[name] = members[name][:-1] if harm == "short" else members[name] + b"\0"
    if harm in ("missing", "link"):
        del members[name]
    path = archive(tmp_path / "cifar10", members, name if harm == "link" else None)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    if harm == "noise":
        path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"fetch it again"):
        load("cifar10", tmp_path)


def test_nothing_of_an_archive_is_written_to_the_disk(tmp_path: Path, files: dict[str, bytes]):
    archive(tmp_path / "cifar10", {"../../outside.txt": b"x", **inside(files)})
    before = sorted(tmp_path.rglob("*"))
    load("cifar10", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize("kind", ["folder", "archive", "nothing", "no root"])
def test_what_is_no_binary_version_is_answered_with_what_is_wanted(kind: str, tmp_path: Path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    if kind == "folder":
        unpacked(folder / "cifar-10-batches-py", {"data_batch_1": b"\x80\x04."})
    if kind == "archive":
        (folder / "cifar-10-python.tar.gz").write_bytes(b"")
    message = {"nothing": "is neither in", "no root": "data fetch cifar10"}.get(kind, "to unpickle is to run code")
    with pytest.raises(InputError, match=message):
        load("cifar10", None if kind == "no root" else tmp_path)


def test_the_published_archive_passes(data_root: Path):
    images = load("cifar10", data_root)
    assert (len(images.train), len(images.test), images.shape) == (50_000, 10_000, (3, 32, 32))
    assert torch.bincount(images.train.labels).tolist() == [5_000] * 10
