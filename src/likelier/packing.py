"""`likelier data pack`: an image set, written once into the layout of `likelier.data.packed`.

Pictures are decoded by several processes, some at a time, each into its place in files that have their final size from
the start. Every few seconds what is written is synced, and `unfinished.json` is told which pieces are done, each by a
mark of all that it was made of; after a crash, a power cut, or a picture that cannot be decoded, the same command goes
on from there. A piece that was written and not told of, or is to be made of something else by now, is written again.
`pack.json` comes last, so a pack without it is none.

A worker (see `likelier.workers`) is `python -m likelier.packing`: it is given one piece after the other.
"""

import fcntl
import hashlib
import json
import os
import queue
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO, runtime_checkable

import numpy as np
import pydantic
import torch
from jaxtyping import UInt8
from typing_extensions import TypedDict

from likelier import data as sources
from likelier.data import folder as folders
from likelier.data.folder import Listing, listed, settled
from likelier.data.packed import (
    FORMAT,
    HEADER,
    MANIFEST,
    UNFINISHED,
    Array,
    Contents,
    Manifest,
    Sizes,
    arrays_of,
    checked,
    mapped_split,
    spots_digest,
)
from likelier.data.picture import Options, decoded
from likelier.errors import InputError
from likelier.files import naming, opened_for_change, read_json, write_json
from likelier.images import Images, content_digest
from likelier.workers import Process, give, heard, own_descriptors, say, started

CHUNK = 256
"""Images of a piece."""
SYNC_SECONDS = 2.0
"""Between two words on how far it is: what a crash may cost."""
WORTH_PROCESSES = 2_000
"""Pictures below which processes take longer to start than they save."""
SHOWN = 3
"""Files in a message."""

LOCK = ".lock"

OnProgress = Callable[[int, int], None]
Job = dict[str, Any]
"""A piece of a folder of pictures, as JSON holds it."""
Arrays = dict[str, tuple[Array, Array]]


@dataclass(frozen=True)
class Piece:
    """Some neighbours of one split, and where they belong."""

    part: str
    path: Path
    first: int
    count: int


class Unfinished(TypedDict):
    """What `unfinished.json` holds."""

    format: Literal[1]
    fingerprint: str
    """That of the source."""
    done: list[str]
    """The marks of the pieces that are written."""


@runtime_checkable
class Source(Protocol):
    """What can be packed."""

    contents: Contents
    fingerprint: str
    """Of where the images come from, and what shape they get: with another one, an unfinished pack is of others."""

    def mark(self, piece: Piece) -> str:
        """Of all that the bytes of a piece hang on: while it is the same, the piece is not written again."""

    def labels(self, part: str) -> Sequence[int]:
        """The class of each image of a split."""

    def written(self, pieces: Iterable[Piece], jobs: int) -> Iterator[list[str]]:
        """Put the images of each piece into their file; in the order of the pieces, why some of its files cannot be."""


class InMemory:
    """Any image set as a `Source`."""

    def __init__(self, images: Images) -> None:
        self.splits, self.fingerprint = {"train": images.train, "test": images.test}, images.digest
        sizes: Sizes = {"train": len(images.train), "test": len(images.test)}
        self.contents = contents_of(images.name, images.shape, images.classes, sizes, {})

    def mark(self, piece: Piece) -> str:
        """As `Source`: the fingerprint is that of all images, so the place is enough."""
        return short_hash([piece.part, piece.first, piece.count])

    def labels(self, part: str) -> Sequence[int]:
        """As `Source`."""
        found: list[int] = self.splits[part].labels.tolist()
        return found

    def written(self, pieces: Iterable[Piece], jobs: int) -> Iterator[list[str]]:
        """As `Source`; there is nothing that several processes would do sooner."""
        for piece in pieces:
            rows = self.splits[piece.part].images[piece.first : piece.first + piece.count]
            write_rows(piece.path, rows[0].numel(), piece.first, rows.numpy())
            yield []


class Pictures:
    """A folder of pictures as a `Source`."""

    def __init__(self, listing: Listing, options: Options) -> None:
        options = settled(listing, options)
        self.items = {"train": listing.train, "test": listing.test}
        shape = decoded(listing.items[0].path, options).shape
        sizes: Sizes = {"train": len(listing.train), "test": len(listing.test)}
        self.contents = contents_of(listing.name, shape, listing.classes, sizes, asdict(options))
        self.fingerprint = short_hash([os.fspath(listing.folder.resolve()), shape, asdict(options)])

    def mark(self, piece: Piece) -> str:
        """As `Source`: where its pictures are, and their sizes and times, so that a mended one is noticed."""
        found: list[Any] = [piece.part, piece.first]
        for item in self.items[piece.part][piece.first : piece.first + piece.count]:
            status = item.path.stat()
            found.append([os.fspath(item.path), status.st_size, status.st_mtime_ns])
        return short_hash(found)

    def labels(self, part: str) -> Sequence[int]:
        """As `Source`."""
        return [item.label for item in self.items[part]]

    def written(self, pieces: Iterable[Piece], jobs: int) -> Iterator[list[str]]:
        """As `Source`, by so many processes; by this one if there is little to do."""
        wanted = (self.job(piece) for piece in pieces)
        if jobs == 1 or sum(map(len, self.items.values())) < WORTH_PROCESSES:
            return map(carry_out, wanted)
        return shared_out(wanted, jobs)

    def job(self, piece: Piece) -> Job:
        """One piece, as JSON holds it."""
        files = [str(item.path) for item in self.items[piece.part][piece.first : piece.first + piece.count]]
        where = {"out": str(piece.path), "first": piece.first, "shape": self.contents["shape"]}
        return {**where, "files": files, "options": self.contents["options"]}


def short_hash(of: Any) -> str:
    """Of what JSON can hold; 64 bits tell the pieces of one pack apart."""
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16]


def contents_of(
    name: str, shape: Sequence[int], classes: Sequence[str], sizes: Sizes, options: dict[str, Any]
) -> Contents:
    """What is packed; InputError for what could not be read again."""
    c, h, w = shape
    return checked({"name": name, "shape": (c, h, w), "classes": list(classes), "sizes": sizes, "options": options})


def pack(
    source: str | Path | Images,
    out: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    jobs: int | None = None,
    reading: OnProgress = lambda done, total: None,
    progress: OnProgress = lambda done, total: None,
) -> Path:
    """Write an image set into a folder that `likelier.load_images` reads without holding it in memory.

    Args:
        source: any image set, or its name or path as for `likelier.load_images`; a folder of pictures is never held in
            memory whole.
        out: the folder to make; by default NAME-packed, here. One that an interrupted call has left is gone on with.
        data_root, size, channels, fit: as for `likelier.load_images`.
        jobs: how many processes decode pictures; by default as many as torch has threads.
        reading: called with the files that are listed, or read, and the files in all, before anything is packed.
        progress: called with the images that are packed, and the images in all.

    Returns:
        The folder.

    Raises:
        InputError: `out` is taken, the source cannot be read, or the disk has not enough room.

    >>> import likelier, tempfile
    >>> folder = pack("digits", tempfile.mkdtemp() + "/digits")
    >>> likelier.load_images(folder)
    Images(digits: 1198 + 599 of 1×8×8, 10 classes, digest a15c…)
    """
    found = source_of(source, data_root, Options(size, channels, fit), reading)
    folder = Path(f"{found.contents['name']}-packed" if out is None else out)
    check_free(folder)
    with alone_in(folder):
        fill(folder, found, torch.get_num_threads() if jobs is None else jobs, progress)
    return folder


def source_of(source: str | Path | Images, root: str | Path | None, options: Options, progress: OnProgress) -> Source:
    """What is to be packed: pictures where they are, everything else in memory."""
    if isinstance(source, Images):
        return in_memory(source)
    path = Path(source)
    if path.is_dir() and str(source) not in sources.sources() and sources.reader_of(path) is folders:
        return Pictures(listed(path, progress), options)
    return in_memory(sources.load(source, root, **options.given(), progress=progress))


def in_memory(images: Images) -> InMemory:
    """A set as a source; InputError for one that a pack would make less of."""
    if images.stacked_from is not None:
        raise InputError(
            f"a pack does not hold of what set the channels of {images.name} are images, without which its modes are "
            f"not counted: use it by its name, it is made from {images.stacked_from.name} in seconds"
        )
    return InMemory(images)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the one process that packs into a folder; InputError if there is another. One that stays empty goes."""
    with locked(folder):
        try:
            check_free(folder)  # another one may have been quicker
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()


def locked(folder: Path) -> BinaryIO:
    """The lock of a folder, which is held until it is closed; the folder is made. InputError if another holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # whoever held it has just taken it away, and maybe the folder
            lock = opened_for_change(folder / LOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock.fileno()), os.lstat(folder / LOCK)):
                    return lock
            except BlockingIOError:
                lock.close()
                raise InputError(f"{folder} is being packed by another process: wait for it to end") from None
            lock.close()  # of one that is gone: it would keep nobody out


def fill(folder: Path, source: Source, jobs: int, progress: OnProgress) -> None:
    """Whatever of a pack is not done yet, then its manifest."""
    arrays = arrays_of(folder, source.contents)
    marks = {piece: source.mark(piece) for piece in pieces_of(arrays)}
    done = begun(folder, source, arrays, marks)
    ready = set(done)
    left = [piece for piece, mark in marks.items() if mark not in ready]
    total = sum(piece.count for piece in marks)
    seen = total - sum(piece.count for piece in left)
    refused: list[str] = []
    told = time.monotonic()
    for piece, why_not in zip(left, source.written(left, jobs), strict=True):
        refused += why_not
        if not why_not:
            done.append(marks[piece])
        seen += piece.count
        progress(seen, total)
        if time.monotonic() - told > SYNC_SECONDS:
            tell(folder, source, arrays, done)
            told = time.monotonic()
    tell(folder, source, arrays, done)
    if refused:
        more = f"; and {len(refused) - SHOWN:,} more" if len(refused) > SHOWN else ""
        raise InputError(
            f"{len(refused):,} of {total:,} files cannot be used: {'; '.join(refused[:SHOWN])}{more}; mend them, and "
            "the same command goes on with them alone, or move them away, and it packs anew what comes after them"
        )
    finish(folder, source, arrays)


def pieces_of(arrays: Arrays) -> Iterator[Piece]:
    """All images of both splits, some neighbours at a time."""
    for part, (images, _) in arrays.items():
        n = images.shape[0]
        for first in range(0, n, CHUNK):
            yield Piece(part, images.path, first, min(CHUNK, n - first))


def check_free(folder: Path) -> None:
    """InputError for a folder that holds something else than an unfinished pack."""
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder} is packed already: use it as it is, or choose another --out")
    if not folder.exists() or (folder / UNFINISHED).exists():
        return
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith((LOCK, f".{UNFINISHED}")))
    if others:
        raise InputError(f"{folder} is there already, and holds {others[0]}: choose another --out")


def begun(folder: Path, source: Source, arrays: Arrays, marks: dict[Piece, str]) -> list[str]:
    """The marks of the pieces that are done already; the files have their size, and their labels, afterwards."""
    done: list[str] = []
    if (folder / UNFINISHED).exists():
        before = set(found_unfinished(folder, source)["done"])
        sizes = {images.path: size_of(images.path) for images, _ in arrays.values()}
        ends = {piece: HEADER + (piece.first + piece.count) * arrays[piece.part][0].row for piece in marks}
        done = [mark for piece, mark in marks.items() if mark in before and ends[piece] <= sizes[piece.path]]
    else:
        check_room(folder, arrays)
    write_json(folder / UNFINISHED, unfinished(source, done))  # before files that were cut short get zeros at their end
    for part, (images, labels) in arrays.items():
        lay_out(images)
        lay_out(labels)
        write_rows(labels.path, labels.row, 0, np.array(source.labels(part), dtype=labels.kind))
    return done


def size_of(path: Path) -> int:
    """Bytes of a file; none if it is not there."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def found_unfinished(folder: Path, source: Source) -> Unfinished:
    """What an interrupted call has written; InputError if it is of something else."""
    try:
        found = pydantic.TypeAdapter(Unfinished).validate_python(read_json(folder / UNFINISHED), strict=True)
    except pydantic.ValidationError:
        found = None
    if found is None or found["fingerprint"] != source.fingerprint:
        raise InputError(
            f"{folder} is an unfinished pack of other images, or with other options: give those again, choose another "
            "--out, or remove it"
        )
    return found


def unfinished(source: Source, done: list[str]) -> Unfinished:
    """What `unfinished.json` is to hold."""
    return {"format": FORMAT, "fingerprint": source.fingerprint, "done": done}


def check_room(folder: Path, arrays: Arrays) -> None:
    """InputError unless the disk has room for these files."""
    needed, free = sum(array.size for array in chain(*arrays.values())), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"{folder} would take {needed:,} bytes, and the disk has {free:,}: choose another --out")


def lay_out(array: Array) -> None:
    """A file of its final size; what is in it already stays."""
    with naming(array.path):
        descriptor = os.open(array.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb", closefd=True) as file:
            file.write(array.header)
            file.truncate(array.size)


def write_rows(path: Path, row: int, first: int, rows: np.ndarray[Any, np.dtype[Any]]) -> None:
    """Put rows of so many bytes into their place in a file that is laid out."""
    with naming(path), path.open("r+b") as file:
        file.seek(HEADER + first * row)
        file.write(np.ascontiguousarray(rows).data)


def tell(folder: Path, source: Source, arrays: Arrays, done: list[str]) -> None:
    """Make durable what is written, then say what is."""
    sync(arrays)
    write_json(folder / UNFINISHED, unfinished(source, done))


def sync(arrays: Arrays) -> None:
    """Make durable what is written."""
    for array in chain(*arrays.values()):
        with naming(array.path), array.path.open("r+b") as file:
            os.fsync(file.fileno())


def finish(folder: Path, source: Source, arrays: Arrays) -> None:
    """The manifest, of what is on the disk; then nothing is left of the way there."""
    sync(arrays)
    digest = content_digest(*(mapped_split(*files) for files in arrays.values()))
    spots = spots_digest(chain(*arrays.values()))
    manifest: Manifest = {"format": FORMAT, **source.contents, "digest": digest, "spots": spots}
    write_json(folder / MANIFEST, manifest)
    for left_over in folder.glob(f".{UNFINISHED}.*"):
        left_over.unlink()
    (folder / UNFINISHED).unlink()


def shared_out(jobs: Iterable[Job], n: int) -> Iterator[list[str]]:
    """Carry jobs out in so many processes; why some of the files of each cannot be used, in the order of the jobs."""
    waiting: deque[Future[list[str]]] = deque()
    idle = queue.SimpleQueue[Process]()

    def ask(job: Job) -> list[str]:
        worker = idle.get()
        try:
            return answer(worker, job)
        finally:
            idle.put(worker)

    with started(n, "likelier.packing") as workers, ThreadPoolExecutor(n) as pool:
        for worker in workers:
            idle.put(worker)
        try:
            for job in jobs:
                waiting.append(pool.submit(ask, job))
                if len(waiting) > 2 * n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def answer(worker: Process, job: Job) -> list[str]:
    """Have a worker carry out a job."""
    give(worker, job)
    found = heard(worker)
    if found is None:
        raise InputError(
            f"a process that decodes pictures ended with exit code {worker.returncode}: the same command goes on, with "
            "--jobs 1 if memory was short"
        )
    if "failed" in found:
        raise OSError(*found["failed"])
    refused: list[str] = found["refused"]
    return refused


def carry_out(job: Job) -> list[str]:
    """Decode the pictures of a job into their place; if some cannot be, why, and nothing is written."""
    options, shape, files = Options(**job["options"]), tuple(job["shape"]), job["files"]
    rows: UInt8[np.ndarray, "n c h w"] = np.empty((len(files), *shape), dtype=np.uint8)
    refused = []
    for row, file in zip(rows, files, strict=True):
        try:
            row[...] = of_shape(shape, Path(file), options)
        except InputError as error:
            refused.append(str(error))
    if not refused:
        write_rows(Path(job["out"]), rows[0].nbytes, job["first"], rows)
    return refused


def of_shape(shape: tuple[int, ...], file: Path, options: Options) -> UInt8[np.ndarray, "c h w"]:
    """A picture; InputError if it cannot be decoded, or comes out in another shape."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # whatever Pillow minds, the picture can be used or not
        pixels = decoded(file, options)
    if pixels.shape != shape:
        raise InputError(f"{file} has the shape {pixels.shape}, others {shape}")
    return pixels


def work(jobs: TextIO, out: TextIO) -> None:
    """Carry out whatever comes, until no more does."""
    for line in jobs:
        try:
            told: dict[str, Any] = {"refused": carry_out(json.loads(line))}
        except OSError as error:
            told = {"failed": [error.errno, error.strerror, error.filename]}
        say(told, out)


if __name__ == "__main__":
    work(*own_descriptors())
