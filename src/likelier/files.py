"""Files that are whole or absent: written beside their name, synced, renamed."""

import errno
import fcntl
import io
import json
import os
import re
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from likelier.errors import InputError

HALF_WRITTEN = re.compile(r"\..+\.(json|npz|png|safetensors|html|likelier)\.(\w{8}|link)|\.done\.\w{8}")
"""Names of files that are on their way to their own: see `replace_file` and `keep_as`."""
MOST = 1 << 28
"""Bytes of a log or a JSON file that are read: a hundred times as many as the longest training writes."""
LOOK_SECONDS = 0.2
"""How long a process that only asks who holds a lock may have it; it takes a thousandth of that."""


def cache_folder() -> Path:
    """$LIKELIER_CACHE, else $XDG_CACHE_HOME/likelier, else ~/.cache/likelier."""
    if own := os.environ.get("LIKELIER_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "likelier"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors inside name `path`: a full disk names no file by itself, and a temporary one means nothing to a user."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def regular(path: Path, follow: bool = True) -> int:
    """A descriptor of a file to be read, if it is one: to open a pipe would wait for whoever writes into it.

    Args:
        path: the file.
        follow: whether it may be a link to one.

    Raises:
        OSError: it is a pipe, a device or a folder, is not there, or may not be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def opened(path: Path) -> io.BufferedReader:
    """As `regular`, buffered."""
    return open(regular(path), "rb")


def opened_for_change(path: Path) -> io.BufferedRandom:
    """A file to be locked, or written in part, with all that is in it; made if need be.

    Others may write into its folder: a link is not followed to whatever it leads to, and a pipe is not waited for.

    Raises:
        InputError: it is a link, a pipe, a device or a folder.
        OSError: it may not be written.
    """
    refused = InputError(f"{path} is no regular file: wanted one of likelier's own there, move it away")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise refused if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO) else error from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refused
    return open(descriptor, "r+b")  # noqa: PTH123


def read_whole(path: Path) -> bytes:
    """What is in a file of a run, which may come from a stranger: no pipe, no device, and no more than `MOST` bytes.

    Raises:
        InputError: it is larger.
        OSError: it is no file, is not there, or may not be read.
    """
    with opened(path) as file:
        content = read_at_most(file, MOST + 1)
    if len(content) > MOST:
        raise InputError(f"{path} has more than {MOST:,} bytes: likelier writes no such file; move it away")
    return bytes(content)


def read_at_most(file: io.BufferedIOBase, limit: int, piece: int = 1 << 20) -> bytearray:
    """Up to `limit` bytes, in pieces: memory follows what is there, never what a header claims."""
    content = bytearray()
    while len(content) < limit and (data := file.read(min(piece, limit - len(content)))):
        content += data
    return content


def write_atomically(path: Path, content: bytes, former: Path | None = None) -> None:
    """Put `content` at `path`, so that a reader, or a power cut, finds either the old file or the new one.

    The old file is kept as `former`, if that is given.
    """
    with naming(path):
        replace_file(path, content, former)


def replace_file(path: Path, content: bytes, former: Path | None = None) -> None:
    """Write beside `path`, sync, keep what was there, rename."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        if former is not None and path.exists():
            keep_as(path, former)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def keep_as(path: Path, former: Path) -> None:
    """Give the file at `path` a second name, which may be another file's until then."""
    beside = former.with_name(f".{former.name}.link")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # a file system without hard links: for a moment there is nothing at `path`
        path.replace(former)
    else:
        beside.replace(former)
        beside.unlink(missing_ok=True)  # it stays where `former` was that file already


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock in the file at `path`; InputError if another process has it. The lock of a dead one is nobody's."""
    with opened_for_change(path) as lock:  # closing it unlocks
        if not taken(lock, fcntl.LOCK_EX, LOOK_SECONDS):
            raise InputError(refusal)
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock in this file."""
    try:
        with opened(path) as lock:
            return not taken(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def taken(lock: BinaryIO, kind: int, patience: float = 0.0) -> bool:
    """Whether the lock could be had, within so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def sweep(paths: Iterable[Path]) -> None:
    """Remove the files among `paths` that a killed process left half-written, by the names that they have here."""
    for left_over in [p for p in paths if HALF_WRITTEN.fullmatch(p.name) and p.is_file()]:
        left_over.unlink()


@contextmanager
def updating(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait to be the one process that reads the file at `path`, changes it and writes it anew.

    Args:
        path: the file; it need not be there.
        on_wait: called when another process is at it, and this one has to wait.
    """
    # A file of its own, opened for writing: network file systems lock no folder, and `path` itself is replaced.
    with opened_for_change(path.with_name(f".{path.name}.lock")) as lock:  # closing it unlocks
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities are refused, since JSON has none."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that likelier wrote; InputError if it is not there or not JSON."""
    try:
        return json.loads(read_whole(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def yaml_of(text: str | bytes) -> Any:
    """What a YAML (or JSON) text says; ValueError if it is none, or gives a key twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            for key, times in keys.most_common(1):
                if times > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
