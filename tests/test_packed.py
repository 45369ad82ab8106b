"""Packed sets: the same images as in memory, drawn in the same order; made whole whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likelier import packing
from likelier.data import load, packed, verified
from likelier.errors import InputError
from likelier.experiment import train
from likelier.family import build, find
from likelier.images import Batches, Images, Mapped, Split
from likelier.loop import Game
from likelier.packing import pack
from likelier.tape import TapedTurn

SRC = Path(packing.__file__).parents[1]


def noise(n: int = 300, side: int = 8, channels: int = 3) -> Images:
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, side, side), generator=chance, dtype=torch.uint8)
    split = Split(pixels, torch.arange(n) % 4)
    return Images("noise", split, Split(split.images[:20].flip(0), split.labels[:20]), ("a", "b", "c", "d"))


def photographs(folder: Path, n: int, side: int = 16) -> Path:
    chance = np.random.default_rng(0)
    for i in range(n):
        place = folder / f"class {i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (side, side + i % 5, 3), dtype=np.uint8)).save(place / f"{i:04}.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pack(noise(), tmp_path / "pack")


# What is read is what was packed


def test_a_packed_set_is_the_set(folder: Path):
    images, found = noise(), load(folder)
    assert (found.name, found.classes, found.shape) == (images.name, images.classes, images.shape)
    assert found.digest == images.digest == packed.check(folder).digest
    for mine, theirs in ((found.train, images.train), (found.test, images.test)):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)
    assert sorted(content(folder)) == sorted(
        ["pack.json", "train-images.npy", "train-labels.npy", "test-images.npy", "test-labels.npy"]
    )


def test_a_digest_is_that_of_the_splits_that_it_was_recorded_for(folder: Path):
    found = load(folder)
    swapped = replace(found, train=found.test)
    assert swapped.digest == Images("x", noise().test, noise().test, found.classes).digest != found.digest


def test_numpy_reads_the_files(folder: Path):
    for part, split in (("train", noise().train), ("test", noise().test)):
        assert np.array_equal(np.load(folder / f"{part}-images.npy", mmap_mode="r"), split.images.numpy())
        assert np.array_equal(np.load(folder / f"{part}-labels.npy"), split.labels.numpy())


def test_a_folder_of_pictures_is_packed_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures = photographs(tmp_path / "photographs", 60)
    monkeypatch.setattr(packing, "CHUNK", 7)
    alone = pack(pictures, tmp_path / "alone", size=12, jobs=1)
    monkeypatch.setattr(packing, "WORTH_PROCESSES", 1)
    together = pack(pictures, tmp_path / "together", size=12, jobs=2)
    assert content(alone) == content(together)
    assert load(alone).digest == load(pictures, size=12).digest


# Training


def test_batches_are_those_of_resident_data(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mapped, "WINDOW", 50 * 8 * 8 * 3)  # six windows an epoch
    resident, mapped = (Batches(split, 3, "cpu") for split in (noise().train, load(folder).train))
    for position in (*range(0, 700, 32), 5_000, 10):
        resident.position = mapped.position = position
        for mine, theirs in zip(mapped.draw(32), resident.draw(32), strict=True):
            assert torch.equal(mine, theirs)
        assert mapped.position == resident.position == position + 32


def test_images_are_read_ahead_once_each_and_in_time(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mapped, "WINDOW", 50 * 8 * 8 * 3)
    batches = Batches(load(folder).train, 0, "cpu")
    expected: list[int] = []
    monkeypatch.setattr(packed.ImageFile, "expect", lambda self, index: expected.extend(index.tolist()))
    for start in range(0, 300, 30):
        drawn = batches.next_indices(30).tolist()
        assert set(drawn) <= set(expected)
        assert len(expected) == min((start // 50 + 2) * 50, 300), "this window and the next, and no more"
    assert sorted(expected) == list(range(300))


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the hint that there is on Linux")
def test_the_disk_is_told_of_each_image_in_the_order_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch):
    file, told = packed.ImageFile(load_array(folder)), []
    monkeypatch.setattr(os, "posix_fadvise", lambda *hint: told.append(hint))
    file.expect(torch.tensor([7, 2, 299]))
    assert told == [(file.descriptor, 4096 + i * 192, 192, os.POSIX_FADV_WILLNEED) for i in (2, 7, 299)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="what was advised is told of by Linux")
def test_images_drawn_here_and_there_are_read_without_their_neighbours(folder: Path):
    file = packed.ImageFile(load_array(folder))
    scattered = file.scattered()
    advised = {address: "rr" in flags for address, flags in mappings((scattered.data_ptr(), file.images.data_ptr()))}
    assert advised == {scattered.data_ptr(): True, file.images.data_ptr(): False}
    source = Batches(load(folder).train, 0, "cpu").source
    assert isinstance(source, Mapped)
    assert all("rr" in flags for _, flags in mappings([source._images.data_ptr()]))


def load_array(folder: Path) -> packed.Array:
    """The training images of a pack of noise."""
    return packed.arrays_of(folder, packed.read_manifest(folder))["train"][0]


def mappings(addresses: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """What Linux says of the mapping that each address lies in."""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *flags = line.split()
        if "-" in first:
            start, end = (int(edge, 16) for edge in first.split("-"))
        elif first == "VmFlags:":
            yield from ((address, flags) for address in addresses if start <= address < end)


def test_turns_on_packed_data_are_played_from_tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Though the first ones are recorded while the disk is told of the next window, which reads indices from torch."""
    images = load(pack("digits", tmp_path / "pack"))
    monkeypatch.setattr(Mapped, "WINDOW", 50 * 64)  # two batches of 32
    expected: list[int] = []
    expect = packed.ImageFile.expect
    monkeypatch.setattr(packed.ImageFile, "expect", lambda file, index: (expected.append(1), expect(file, index)))
    vae = build(find("vae"), find("vae").Config(batch=32), images, seed=0)
    game = Game(vae, images, 0, 10_000, torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(8):
            game.turn()
    assert len(expected) >= 5
    assert isinstance(game.moves, TapedTurn)
    assert game.moves.tape is not None, game.moves.why_not


def test_a_run_on_packed_data_is_the_run_on_resident_data(tmp_path: Path):
    digits = load("digits")
    found = [
        train("vae", data, images=3_000, out=tmp_path / name, device="cpu", settings={"hidden": 16, "latent": 2})
        for name, data in (("resident", digits), ("packed", pack(digits, tmp_path / "pack")))
    ]
    states = [run.state().tensors for run in found]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert (found[0].path / "metrics.jsonl").read_bytes() == (found[1].path / "metrics.jsonl").read_bytes()


MEMORY = """
import resource, sys, torch
from likelier.data import load
from likelier.images import Batches

torch.set_num_threads(1)
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + (24 << 20),) * 2)
batches = Batches(load(sys.argv[1]).train, 0, "cpu")
while batches.position < batches.size:
    batches.draw(64)
print(batches.position)
try:
    batches.source._images.clone()
    print("it was copied")
except RuntimeError:
    print("no room for a copy")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is told of by Linux")
def test_an_epoch_of_a_set_larger_than_the_memory_takes_none(tmp_path: Path):
    """The limit is on what a process may ask for; what it has in memory hangs on what else the machine does."""
    folder = pack(noise(2_000, 96), tmp_path / "pack")  # 55 MB, with room for 24
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2048", "no room for a copy"]


# Files that are not what they say


def manifest(**changed: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "pack.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def replaced(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        make(folder / name)

    return change


def edited(name: str, offset: int, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(offset)
            file.write(new)

    return change


def in_accord(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same by somebody who knows what is compared when a set is loaded."""

    def changed(folder: Path) -> None:
        change(folder)
        arrays = packed.arrays_of(folder, packed.read_manifest(folder))
        manifest(spots=packed.spots_digest(file for files in arrays.values() for file in files))(folder)

    return changed


LIES = {
    "2^31 images": (manifest(sizes={"train": 2**31, "test": 20}), "sizes.train"),
    "2^31 - 1 images": (manifest(sizes={"train": 2**31 - 1, "test": 20}), "train-images.npy has 61,696 bytes"),
    "no images": (manifest(sizes={"train": 0, "test": 20}), "sizes.train"),
    "a fraction": (manifest(sizes={"train": 300.5, "test": 20}), "sizes.train"),
    "another shape": (manifest(shape=[3, 8, 9]), "wanted the 68,896 of 300×3×8×9"),
    "shape of equal size": (manifest(shape=[1, 8, 24]), "another header"),
    "negative shape": (manifest(shape=[3, -8, -8]), "shape"),
    "five channels": (manifest(shape=[5, 8, 8]), "shape.0"),
    "large images": (manifest(shape=[3, 500, 500]), "shape.1"),
    "small images": (manifest(shape=[3, 7, 8]), "shape.1"),
    "a name that climbs out": (manifest(name="../../x"), "cannot be the name of a set"),
    "an absolute name": (manifest(name="/tmp/x"), "cannot be the name of a set"),
    "the folder above": (manifest(name=".."), "cannot be the name of a set"),
    "no name": (manifest(name=""), "cannot be the name of a set"),
    "a name for another system": (manifest(name="a\\b"), "cannot be the name of a set"),
    "a name with escapes": (manifest(name="x\x1b[2J"), "cannot be the name of a set"),
    "a long name": (manifest(name="x" * 121), "121 bytes: wanted at most 120"),
    "a class with escapes": (manifest(classes=["a", "b", "c", "\x1b[2J"]), "cannot be the name of a class"),
    "a class of two lines": (manifest(classes=["a", "b", "c", "d\ne"]), "cannot be the name of a class"),
    "the digest of another set": (manifest(digest=load("digits").digest), "have the digest .* says a15c"),
    "fewer classes": (manifest(classes=["a"]), "labels from 0 to 3"),
    "no classes": (manifest(classes=[]), "classes"),
    "another format": (manifest(format=2), "format"),
    "another digest of spots": (manifest(spots="0" * 64), "not those that were packed"),
    "no digest": (manifest(digest="…"), "digest"),
    "no JSON": (lambda folder: (folder / "pack.json").write_text("{"), "no manifest of format 1"),
    "a list": (lambda folder: (folder / "pack.json").write_text("[]"), "no manifest of format 1"),
    "nested": (lambda folder: (folder / "pack.json").write_text("[" * 10**5), "no manifest of format 1"),
    "a huge manifest": (lambda folder: os.truncate(folder / "pack.json", 1 << 40), "more than 1,048,576 bytes"),
    "a linked manifest": (replaced("pack.json", lambda p: p.symlink_to(p.parent.parent / p.name)), "cannot be read"),
    "linked images": (
        replaced("train-images.npy", lambda p: p.symlink_to(p.parent.parent / p.name)),
        "train-images.npy cannot be read",
    ),
    "a pipe": (replaced("test-labels.npy", lambda p: os.mkfifo(p)), "it is no regular file"),
    "a folder": (replaced("test-labels.npy", lambda p: p.mkdir()), "it is no regular file"),
    "no images file": (replaced("test-images.npy", lambda p: None), "cannot be read"),
    "cut short": (lambda folder: os.truncate(folder / "train-images.npy", 61_695), "has 61,695 bytes"),
    "longer": (lambda folder: os.truncate(folder / "train-labels.npy", 1 << 40), "has 1,099,511,627,776 bytes"),
    "another header": (edited("train-labels.npy", 6, b"\2"), "another header"),
    "an unknown class": (in_accord(edited("train-labels.npy", 4096 + 8, b"\7")), "labels from 0 to 7"),
    "a negative class": (in_accord(edited("train-labels.npy", 4096 + 8, b"\xff" * 8)), "labels from -1 to 3"),
    "zeros at the end": (edited("train-images.npy", 61_000, bytes(696)), "not those that were packed"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_told_in_one_line(folder: Path, lie: str):
    change, told = LIES[lie]
    change(folder)
    with pytest.raises(InputError, match=told) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, and a clock that any change lies behind."""
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "SETTLED", -10.0)


@pytest.mark.usefixtures("settled")
def test_all_images_are_read_once_and_again_when_a_file_changed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    told: list[tuple[int, int]] = []
    load(folder, progress=lambda *numbers: told.append(numbers))
    assert told == [(300, 320), (320, 320)]
    load(folder, progress=lambda *numbers: told.append(numbers))
    shutil.copytree(folder, folder.parent / "copy")
    assert len(told) == 2
    load(folder.parent / "copy", progress=lambda *numbers: told.append(numbers))
    assert len(told) == 4
    before = (folder / "test-images.npy").stat()
    edited("test-images.npy", 5_000, b"\0\1\2\3")(folder)
    os.utime(folder / "test-images.npy", ns=(before.st_atime_ns, before.st_mtime_ns))  # by somebody who hides it
    with pytest.raises(InputError, match=r"not those that were packed|have the digest"):
        load(folder)
    (known := folder.parent / "cache" / "verified").rename(folder.parent / "away")
    known.write_text("no folder")  # a cache that cannot be written
    load(folder.parent / "copy", progress=lambda *numbers: told.append(numbers))
    assert len(told) == 6


@pytest.mark.usefixtures("settled")
def test_what_is_known_of_a_file_is_one_claim_about_one_content(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("right")
    assert verified.holds([file], "it is true", lambda: True)
    assert verified.holds([file], "it is true", lambda: pytest.fail("it is asked again"))
    assert not verified.holds([file], "it is false", lambda: False)
    assert verified.holds([file], "it is false", lambda: True)  # what was refused is not kept


def test_what_has_just_changed_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    load(folder)
    assert not (tmp_path / "cache").exists()


def test_the_manifest_of_another_program_makes_no_pack_of_a_folder(tmp_path: Path):
    pictures = photographs(tmp_path / "photographs", 30)
    for name in ("pack.json", "unfinished.json"):
        (pictures / name).write_text('{"name": "left-pad", "format": "tgz"}')
    assert load(pictures, size=8).notes[0] == "files of other kinds passed over: 2"


def test_what_could_not_be_read_again_is_not_packed(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot be packed: shape\.1"):
        pack(noise(8, 130), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("settled")
def test_a_changed_byte_between_the_spots_is_found_by_a_check(tmp_path: Path, likelier):
    folder = pack(noise(2_000), tmp_path / "pack")
    load(folder)
    edited("train-images.npy", 5_000, b"\0\1\2\3")(folder)
    with pytest.raises(InputError, match=r"have the digest .* pack.json says"):
        load(folder)
    assert likelier("data", "check", pack(noise(), tmp_path / "whole")).code == 0
    with pytest.raises(InputError, match=r"have the digest .* pack.json says"):
        packed.check(folder)
    found = likelier("data", "check", folder)
    assert (found.code, "1 of 1 copies cannot be used" in found.err) == (2, True)


def test_options_come_before_packing(folder: Path):
    with pytest.raises(InputError, match="is packed: size can be given to `likelier data pack`"):
        load(folder, size=16)


# Interruptions


SLOWLY = """
import sys, time
from likelier import packing
packing.CHUNK, packing.SYNC_SECONDS, packing.WORTH_PROCESSES = 4, 0, 1
packing.pack(sys.argv[1], sys.argv[2], size=12, jobs=2, progress=lambda done, total: time.sleep(0.02))
"""


def test_a_worker_that_nobody_listens_to_ends_without_a_word():
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-m", "likelier.packing"], subprocess.PIPE
    worker = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
    assert worker.stdout is not None
    worker.stdout.close()
    job = {"out": "nowhere", "first": 0, "shape": [1, 8, 8], "files": ["no file"], "options": {}}
    _, told = worker.communicate(json.dumps(job).encode() + b"\n", timeout=60)
    assert (told, worker.returncode) == (b"", 0)


def marks_in(out: Path) -> list[str]:
    found: list[str] = json.loads((out / "unfinished.json").read_text())["done"]
    return found


def descendants(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path):
    thesis, out = tmp_path / "thesis.txt", tmp_path / "out"
    thesis.write_text("years of work")
    out.mkdir()
    (out / ".lock").symlink_to(thesis)
    with pytest.raises(InputError, match=r"\.lock is no regular file"):
        pack("digits", out)
    assert thesis.read_text() == "years of work"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found by Linux")
def test_a_killed_pack_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures, out = photographs(tmp_path / "photographs", 240), tmp_path / "out"
    monkeypatch.setattr(packing, "CHUNK", 4)
    whole = pack(pictures, tmp_path / "whole", size=12)
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, pictures, out], env=environment, stderr=subprocess.PIPE)
    while not (out / "unfinished.json").exists() or len(marks_in(out)) < 9:
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(InputError, match="being packed by another process"):
        pack(pictures, out, size=12)
    workers = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while not all(ended(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker has outlived whoever gave it work"
        time.sleep(0.02)
    assert len(workers) == 2
    assert process.stderr is not None
    assert process.stderr.read() == b"", "they end without a word"
    with pytest.raises(InputError, match="is not packed to the end"):
        load(out)
    with pytest.raises(InputError, match="an unfinished pack of other images, or with other options"):
        pack(pictures, out, size=16)
    seen: list[int] = []
    pack(pictures, out, size=12, progress=lambda done, total: seen.append(done))
    assert seen[0] > 36  # not from the start
    assert content(out) == content(whole)


def unfinished(whole: Path, out: Path, done: list[str]) -> Path:
    """A copy of a pack of noise, as it was when so many pieces were told of."""
    shutil.copytree(whole, out)
    (out / "pack.json").unlink()
    told = {"format": 1, "fingerprint": noise().digest, "done": done}
    (out / "unfinished.json").write_text(json.dumps(told))
    return out


def marks_of(images: Images, folder: Path) -> list[str]:
    source = packing.InMemory(images)
    return [source.mark(piece) for piece in packing.pieces_of(packed.arrays_of(folder, source.contents))]


def test_what_was_not_told_of_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "CHUNK", 50)
    whole = pack(noise(), tmp_path / "whole")
    out = unfinished(whole, tmp_path / "out", marks_of(noise(), whole)[:2])
    edited("train-images.npy", 4096 + 120 * 192, bytes(1000))(out)  # of the third piece
    pack(noise(), out)
    assert content(out) == content(whole)


@pytest.mark.parametrize("length", [None, 4096, 4096 + 60 * 192])
def test_what_went_away_meanwhile_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int | None):
    monkeypatch.setattr(packing, "CHUNK", 50)
    whole = pack(noise(), tmp_path / "whole")
    out = unfinished(whole, tmp_path / "out", marks_of(noise(), whole))
    if length is None:
        (out / "train-images.npy").unlink()
    else:
        os.truncate(out / "train-images.npy", length)
    pack(noise(), out)
    assert content(out) == content(whole)


LIES_ON_THE_WAY = [[], {}, {"format": 1, "fingerprint": "x"}, {"format": 1, "fingerprint": "x", "done": 3}]


@pytest.mark.parametrize("lie", LIES_ON_THE_WAY)
def test_another_account_of_what_is_done_is_refused(tmp_path: Path, lie: object):
    out = tmp_path / "out"
    out.mkdir()
    (out / "unfinished.json").write_text(json.dumps(lie).replace('"x"', f'"{noise().digest}"'))
    with pytest.raises(InputError, match="an unfinished pack of other images"):
        pack(noise(), out)


Written = list[tuple[str, int]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """The pieces that are decoded, as (split, first)."""
    found: Written = []
    job = packing.Pictures.job
    monkeypatch.setattr(packing, "CHUNK", 4)
    monkeypatch.setattr(
        packing.Pictures, "job", lambda self, piece: (found.append((piece.part, piece.first)), job(self, piece))[1]
    )
    return found


def split_photographs(folder: Path) -> Path:
    """24 to train on, 8 to test on, so that mending one does not move it to the other side."""
    photographs(folder / "train", 24)
    photographs(folder / "test", 8)
    return folder


def damaged(picture: Path) -> bytes:
    """What it was: now its header is whole, and its body is not."""
    before = picture.read_bytes()
    os.truncate(picture, len(before) // 2)
    return before


@pytest.mark.parametrize("moved", [False, True])
def test_a_broken_picture_costs_its_own_piece(tmp_path: Path, written: Written, moved: bool):
    pictures, out = split_photographs(tmp_path / "photos"), tmp_path / "out"
    broken = pictures / "train" / "class 2" / "0002.png"  # in the fifth of six pieces
    before = damaged(broken)
    with pytest.raises(InputError, match=r"1 of 32 files cannot be used: .*0002\.png .*; mend them"):
        pack(pictures, out, size=12)
    assert len(written) == 8, "whatever can be done is done"
    written.clear()
    if moved:
        broken.unlink()
    else:
        broken.write_bytes(before)
    pack(pictures, out, size=12)
    assert written == [("train", 16), *([("train", 20)] if moved else [])]
    assert content(out) == content(pack(pictures, tmp_path / "whole", size=12))


@pytest.mark.parametrize("change", ["time", "size"])
def test_a_picture_that_was_changed_on_the_way_is_packed_anew(tmp_path: Path, written: Written, change: str):
    pictures, out = split_photographs(tmp_path / "photos"), tmp_path / "out"
    damaged(pictures / "test" / "class 0" / "0000.png")
    with pytest.raises(InputError, match="cannot be used"):
        pack(pictures, out, size=12)
    written.clear()
    status = (mine := pictures / "train" / "class 0" / "0003.png").stat()
    if change == "time":
        os.utime(mine, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    else:
        mine.write_bytes(mine.read_bytes() + b"\0")
        os.utime(mine, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match="cannot be used"):
        pack(pictures, out, size=12)
    assert written == [("train", 0), ("test", 0)]


def test_what_is_told_of_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whenever the record or the manifest is written, all images were synced since the last was."""
    course: list[str] = []
    fsync, write, put = os.fsync, packing.write_json, packing.write_rows
    monkeypatch.setattr(os, "fsync", lambda file: (course.append("sync"), fsync(file)))
    monkeypatch.setattr(packing, "write_rows", lambda *a: (course.append("rows"), put(*a)))

    def tell(path: Path, value: dict[str, object]) -> None:
        course.append(f"{path.name} {len(value['done'])}" if "done" in value else path.name)
        write(path, value)

    monkeypatch.setattr(packing, "write_json", tell)
    monkeypatch.setattr(packing, "CHUNK", 100)
    monkeypatch.setattr(packing, "SYNC_SECONDS", -1)
    pack(noise(), tmp_path / "out")
    told = [name for name in course if "json" in name]
    assert [*dict.fromkeys(told)] == [*(f"unfinished.json {n}" for n in range(5)), "pack.json"]
    for here in range(2, len(course)):
        if "json" in course[here] and not course[here].endswith(" 0"):
            assert course[here - 4 : here] == ["sync"] * 4, course


# Two at once


HOLDING_BACK = """
import fcntl, sys
from likelier import packing
from likelier.errors import InputError

def flock(*args, flock=fcntl.flock):
    if out not in opened:  # the first time
        opened.add(out)
        print("opened", flush=True)
        sys.stdin.readline()
    flock(*args)

fcntl.flock, opened = flock, set()
for out in sys.argv[1:]:
    try:
        packing.pack("digits", out)
        print("packed", flush=True)
    except InputError as error:
        print(error, flush=True)
"""


def test_a_lock_that_was_taken_away_keeps_others_out_all_the_same(tmp_path: Path):
    """Another process has opened the lock of one that ends, and gets that lock when the file is gone."""
    taken, packed_by_now, free = (tmp_path / name for name in ("taken", "packed", "free"))
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING_BACK, taken, packed_by_now, free],
        env={**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    assert other.stdin is not None
    assert other.stdout is not None

    def opened_while_held(out: Path) -> None:
        with packing.alone_in(out):
            assert other.stdout.readline() == "opened\n"
        assert not out.exists()

    def then() -> str:
        other.stdin.write("go on\n")
        other.stdin.flush()
        return other.stdout.readline()

    opened_while_held(taken)
    with packing.alone_in(taken):
        assert "is being packed by another process" in then()
    opened_while_held(packed_by_now)
    pack("digits", packed_by_now)
    assert "is packed already" in then()
    opened_while_held(free)
    assert then() == "packed\n"
    assert not (free / ".lock").exists()
    other.communicate(timeout=60)


# What is refused, and leaves nothing behind


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path, folder: Path):
    before = content(folder)
    with pytest.raises(InputError, match="is packed already"):
        pack(noise(), folder)
    assert content(folder) == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is there already, and holds notes\.txt"):
        pack(noise(), mine)
    assert content(mine) == {"notes.txt": b"mine"}


def test_pictures_that_cannot_be_decoded_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, likelier):
    pictures = photographs(tmp_path / "photographs", 30)
    broken = pictures / "class 1" / "0004.png"
    os.truncate(broken, broken.stat().st_size // 2)
    found = likelier("data", "pack", pictures, "--size", 12, "--out", "out", "--quiet")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "0004.png" in found.err
    assert "1 of 30 files cannot be used" in found.err
    assert not (tmp_path / "out" / "pack.json").exists()


def test_a_full_disk_is_told_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match="the disk has 1,000"):
        pack(noise(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_says_how_it_goes_on(likelier, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "tell", interrupted)
    found = likelier("data", "pack", "digits", "--out", "packed")
    assert (found.code, found.err.splitlines()[-1]) == (
        130,
        "likelier: interrupted; the same command goes on where it stopped",
    )
    monkeypatch.undo()


def test_listing_and_packing_are_told_of_apart(likelier, tmp_path: Path):
    pictures = photographs(tmp_path / "photographs", 30)
    told = likelier("data", "pack", pictures, "--size", 12, "--out", "out").err.splitlines()
    assert [line for line in told if "…" in line] == [
        "reading photographs: 30 files …",
        "packing photographs: 30 images …",
    ]


def test_the_command_packs_and_describes(likelier, tmp_path: Path):
    found = likelier("data", "pack", "digits", "--out", "packed", "--json")
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert (told["name"], told["train"], told["digest"][:4]) == ("digits", 1198, "a15c")
    assert json.loads(likelier("data", "packed", "--json").out)["digest"] == told["digest"]
