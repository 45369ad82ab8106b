"""`likelier data pack`: an image set, written once into the layout of `likelier.data.packed`.

Pictures are decoded by several processes, some at a time, each into its place in files that have their final size from
the start. Every few seconds what is written is synced, and `unfinished.json` is told how many pieces there are from the
beginning on; after a crash, or a power cut, the same command goes on from there. A piece that was written and not told
of is written again, to the same bytes. `pack.json` comes last, so a pack without it is none.

A worker is `python -m likelier.packing`: pieces come as lines of JSON on its standard input, and it answers each with
one. When the input ends, because there is no more to do or because whoever gave the pieces is gone, so does the worker.
"""

import fcntl
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8

from likelier import data as sources
from likelier.data import folder as folders
from likelier.data.folder import Listing, Options, decoded, listed, settled
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
from likelier.errors import InputError
from likelier.files import naming, opened_for_change, read_json, write_json
from likelier.images import Images, content_digest

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


@runtime_checkable
class Source(Protocol):
    """What can be packed."""

    contents: Contents
    fingerprint: str
    """Of all that the result hangs on: with another one, an unfinished pack is that of something else."""

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
        sha = hashlib.sha256(repr(self.contents).encode())
        for item in listing.items:
            found = item.path.stat()
            where = os.fsencode(item.path.relative_to(listing.folder))
            sha.update(b"%s\0%d %d %d\n" % (where, item.label, found.st_size, found.st_mtime_ns))
        self.fingerprint = sha.hexdigest()

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
    progress: OnProgress = lambda done, total: None,
) -> Path:
    """Write an image set into a folder that `likelier.load_images` reads without holding it in memory.

    Args:
        source: any image set, or its name or path as for `likelier.load_images`; a folder of pictures is never held in
            memory whole.
        out: the folder to make; by default NAME-packed, here. One that an interrupted call has left is gone on with.
        data_root, size, channels, fit: as for `likelier.load_images`.
        jobs: how many processes decode pictures; by default as many as torch has threads.
        progress: called with the images that are done, and the images in all; before, with the pictures listed.

    Returns:
        The folder.

    Raises:
        InputError: `out` is taken, the source cannot be read, or the disk has not enough room.

    >>> import likelier, tempfile
    >>> folder = pack("digits", tempfile.mkdtemp() + "/digits")
    >>> likelier.load_images(folder)
    Images(digits: 1198 + 599 of 1×8×8, 10 classes, digest a15c…)
    """
    found = source_of(source, data_root, Options(size, channels, fit), progress)
    folder = Path(f"{found.contents['name']}-packed" if out is None else out)
    check_free(folder)
    with alone_in(folder):
        fill(folder, found, torch.get_num_threads() if jobs is None else jobs, progress)
    return folder


def source_of(source: str | Path | Images, root: str | Path | None, options: Options, progress: OnProgress) -> Source:
    """What is to be packed: pictures where they are, everything else in memory."""
    if isinstance(source, Images):
        return InMemory(source)
    path = Path(source)
    if path.is_dir() and str(source) not in sources.sources() and sources.reader_of(path) is folders:
        return Pictures(listed(path, progress), options)
    return InMemory(sources.load(source, root, **options.given(), progress=progress))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the one process that packs into a folder; InputError if there is another. One that stays empty goes."""
    folder.mkdir(parents=True, exist_ok=True)
    with opened_for_change(folder / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is being packed by another process: wait for it to end") from None
        try:
            check_free(folder)  # another one may have been quicker
            yield
        finally:
            (folder / LOCK).unlink()
            with suppress(OSError):
                folder.rmdir()


def fill(folder: Path, source: Source, jobs: int, progress: OnProgress) -> None:
    """Whatever of a pack is not done yet, then its manifest."""
    arrays = arrays_of(folder, source.contents)
    pieces = list(pieces_of(arrays))
    done = begun(folder, source, arrays, len(pieces))
    seen, total = sum(piece.count for piece in pieces[:done]), sum(piece.count for piece in pieces)
    refused: list[str] = []
    told = time.monotonic()
    for number, why_not in enumerate(source.written(pieces[done:], jobs), start=done):
        refused += why_not
        seen += pieces[number].count
        progress(seen, total)
        if not refused and time.monotonic() - told > SYNC_SECONDS:
            tell(folder, source, arrays, number + 1)
            told = time.monotonic()
    if refused:
        more = f"; and {len(refused) - SHOWN:,} more" if len(refused) > SHOWN else ""
        raise InputError(
            f"{len(refused):,} of {total:,} files cannot be used: {'; '.join(refused[:SHOWN])}{more}; mend them, or "
            f"move them away, and pack anew without {folder}"
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


def begun(folder: Path, source: Source, arrays: Arrays, pieces: int) -> int:
    """How many pieces are done already; the files have their size, and their labels, afterwards."""
    if (folder / UNFINISHED).exists():
        done = done_so_far(folder, source, pieces)
    else:
        check_room(folder, arrays)
        done = 0
        write_json(folder / UNFINISHED, unfinished(source, done))
    if done:  # InputError if somebody took files away meanwhile
        for array in chain(*arrays.values()):
            os.close(array.open())
    for part, (images, labels) in arrays.items():
        lay_out(images)
        lay_out(labels)
        write_rows(labels.path, labels.row, 0, np.array(source.labels(part), dtype=labels.kind))
    return done


def done_so_far(folder: Path, source: Source, pieces: int) -> int:
    """How many pieces an interrupted call has written; InputError if they are of something else."""
    found = read_json(folder / UNFINISHED)
    done = found.get("done") if isinstance(found, dict) else None
    if not isinstance(done, int) or not 0 <= done <= pieces or found != unfinished(source, done):
        raise InputError(
            f"{folder} is an unfinished pack of other images, or with other options: give those again, choose another "
            "--out, or remove it"
        )
    return done


def unfinished(source: Source, done: int) -> dict[str, Any]:
    """What `unfinished.json` holds."""
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


def tell(folder: Path, source: Source, arrays: Arrays, done: int) -> None:
    """Make durable what is written, then say how far it is."""
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


def shared_out(jobs: Iterable[Job], workers: int) -> Iterator[list[str]]:
    """Carry jobs out in so many processes; why some of the files of each cannot be used, in the order of the jobs."""
    waiting: deque[Future[list[str]]] = deque()
    with started(workers) as idle, ThreadPoolExecutor(workers) as pool:

        def ask(job: Job) -> list[str]:
            worker = idle.get()
            try:
                return answer(worker, job)
            finally:
                idle.put(worker)

        try:
            for job in jobs:
                waiting.append(pool.submit(ask, job))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def started(n: int) -> Iterator["queue.SimpleQueue[subprocess.Popen[str]]"]:
    """So many workers, all of them idle; they have ended when this has."""
    places = [str(Path(__file__).parents[1]), *filter(None, sys.path)]  # where likelier was found
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-m", "likelier.packing"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # An interrupt from the terminal reaches whoever started them, and he ends them.
    processes = [subprocess.Popen(command, **pipes, env=environment, start_new_session=True) for _ in range(n)]
    idle = queue.SimpleQueue[subprocess.Popen[str]]()
    for process in processes:
        idle.put(process)
    try:
        yield idle
    finally:
        for process in processes:
            process.communicate()  # closes its input


def answer(worker: "subprocess.Popen[str]", job: Job) -> list[str]:
    """Have a worker carry out a job."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(BrokenPipeError):  # then there is no answer
        worker.stdin.write(json.dumps(job) + "\n")
        worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise InputError(
            f"a process that decodes pictures ended with exit code {worker.wait()}: the same command goes on, with "
            "--jobs 1 if memory was short"
        )
    found: dict[str, Any] = json.loads(line)
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
        print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        work(sys.stdin, sys.__stdout__ or sys.stdout)
