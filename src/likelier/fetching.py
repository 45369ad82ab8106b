"""Files from the network: whole and verified, or not there at all.

A file grows beside its place under another name, and takes its place when its sha256 is the published one. So what was
cut off can be gone on with, from another mirror too, and nothing needs to be believed that a server says.
"""

import hashlib
import http.client
import importlib.metadata
import io
import math
import os
import re
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from likelier.errors import InputError
from likelier.files import naming, opened_for_change, sync_folder, updating

PIECE = 1 << 16
"""Bytes taken from the network at a time."""

MOST_REDIRECTS = 5
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may do."""

PROGRESS = 1 << 20
"""Bytes that an attempt must add to count as one that gets on: a server may cut off a large file many times."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Remote:
    """A published file: its name here, its sha256 and bytes as published, and its addresses, the best one first."""

    name: str
    sha256: str
    size: int
    mirrors: tuple[str, ...]


@dataclass(frozen=True)
class Patience:
    """How long a mirror is borne with before the next one is asked."""

    timeout: float = 20.0
    """Seconds without a byte; and for the head of an answer, however its bytes come."""
    slowest: float = 1_000.0
    """Bytes per second, over as many seconds."""
    attempts: int = 4
    """In a row, that did not get on."""
    pause: float = 1.0
    """Seconds before the second attempt; before each further one twice as many."""


@dataclass(frozen=True)
class Listener:
    """Who is told how it goes; by default nobody."""

    on_ask: Callable[[str], None] = lambda host: None
    """Called before a mirror is asked for the first time."""
    on_retry: Callable[[str], None] = lambda reason: None
    """Called with what an attempt came to that did not get on, and with what comes next."""
    on_progress: OnProgress = lambda seen, total: None
    """Called with the bytes that are here, and the bytes in all."""
    on_wait: Callable[[], None] = lambda: None
    """Called when another process is at it."""


class Refused(Exception):
    """This mirror will not do, however often it is asked."""


class Broken(Exception):
    """This mirror may do the next time."""


def fetch(
    remote: Remote,
    folder: Path,
    *,
    patience: Patience = Patience(),
    listener: Listener = Listener(),
) -> Path:
    """The published file in `folder`, from the first mirror that gives it; one that is there already is left.

    Any number of processes may want it at once: one fetches it, the others wait and take what it got.

    Args:
        remote: what is wanted, and where it is.
        folder: where it is put; made if need be.
        patience: with slow and broken mirrors.
        listener: is told how it goes.

    Raises:
        InputError: no mirror gave it; what came of it is kept, and the next call goes on with it. Or the file that it
            grows in, or is locked by, is none.
    """
    path = folder / remote.name
    with naming(path):
        if is_whole(path, remote):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with updating(path, listener.on_wait):
            if not is_whole(path, remote):  # nobody else has fetched it meanwhile
                part = path.with_name(f".{path.name}.part")
                clear(part)
                download(remote, part, patience, listener)
                part.replace(path)
                sync_folder(folder)
    return path


def is_whole(path: Path, remote: Remote) -> bool:
    """Whether the published file is at `path`."""
    return path.is_file() and path.stat().st_size == remote.size and sha256_of(path) == remote.sha256


def clear(part: Path) -> None:
    """Remove a link, a pipe or whatever else lies where the file is to grow, and is none."""
    with suppress(FileNotFoundError):
        mode = part.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            part.unlink()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(remote: Remote, part: Path, patience: Patience, listener: Listener) -> None:
    """Make `part` the whole file, from one mirror after the other."""
    reasons = []
    for url, following in zip(remote.mirrors, (*remote.mirrors[1:], None), strict=True):
        listener.on_ask(host_of(url))
        try:
            return from_mirror(url, remote, part, patience, listener)
        except (Refused, Broken) as reason:
            reasons.append(f"{url} {reason}")
            if following is not None:
                listener.on_retry(f"{host_of(url)} {reason}: {host_of(following)} is asked next")
    raise InputError(
        f"{remote.name} could not be fetched: {'; '.join(reasons)}. Try it again later, it goes on where it stopped; "
        f"or put a file of that name with sha256 {remote.sha256} into {part.parent} by hand"
    )


def from_mirror(url: str, remote: Remote, part: Path, patience: Patience, listener: Listener) -> None:
    """Make `part` the whole file, in as many attempts as get on; Refused or Broken if this mirror cannot."""
    most, idle = size_of(part), 0
    mixed = most > 0  # with bytes of another time, or of another mirror
    while True:
        try:
            attempt(url, remote, part, patience, listener.on_progress)
            if (found := sha256_of(part)) == remote.sha256:
                return
            part.unlink()
            if not mixed:
                raise Refused(f"gives another file: sha256 {found[:16]}…, wanted {remote.sha256[:16]}…")
            mixed = False
            raise Broken("does not fit what was here, which is thrown away")
        except Broken as reason:
            here = size_of(part)
            most, idle = (here, 0) if here >= most + PROGRESS else (min(most, here), idle + 1)
            if idle == patience.attempts:
                raise
            if idle:
                listener.on_retry(f"{host_of(url)} {reason}: it is asked again")
            time.sleep(patience.pause * 2 ** max(idle - 1, 0))


def host_of(url: str) -> str:
    """The server of an address.

    >>> host_of("https://example.org:8000/a/b")
    'example.org:8000'
    """
    return urlsplit(url).netloc


def attempt(url: str, remote: Remote, part: Path, patience: Patience, on_progress: OnProgress) -> None:
    """One connection: what `part` still lacks."""
    begun = size_of(part)
    if begun >= remote.size:
        return
    with network_errors():
        response = ask(url, begun, patience.timeout)
    with response:
        offset = first_byte(response, begun, remote)
        with opened_for_change(part) as file:
            # A server without ranges starts anew: its bytes go over those that are here, which stay until then.
            file.seek(offset)
            for piece in pieces(response, offset, remote, patience):
                file.write(piece)
                on_progress(file.tell(), remote.size)
            file.flush()
            os.fsync(file.fileno())


def size_of(part: Path) -> int:
    """Bytes that are here."""
    return part.stat().st_size if part.exists() else 0


def pieces(response: Any, offset: int, remote: Remote, patience: Patience) -> Iterator[bytes]:
    """The bytes of an answer up to the size of the file, however many there are; Broken if they come to an end."""
    mark, since = time.monotonic(), 0
    while offset < remote.size:
        with network_errors():
            piece = response.read1(min(PIECE, remote.size - offset))
        if not piece:
            raise Broken(f"stopped after {offset:,} of {remote.size:,} bytes")
        yield piece
        offset, since = offset + len(piece), since + len(piece)
        if (seconds := time.monotonic() - mark) > patience.timeout:
            if since < patience.slowest * seconds:
                raise Broken(f"is too slow: {since / seconds:,.0f} bytes per second")
            mark, since = time.monotonic(), 0


def first_byte(response: Any, begun: int, remote: Remote) -> int:
    """Where the bytes of this answer belong; Refused or Broken if it cannot be the published file."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != begun or found[2] not in ("*", str(remote.size)):
            raise Refused("answers with another part than the one that was asked for")
        return begun
    if response.status != HTTPStatus.OK:
        raise Refused(f"answers {status_in_words(response.status)}")
    length = response.headers.get("Content-Length", str(remote.size))
    if length != str(remote.size):
        raise Refused(f"offers {length[:20]} bytes: the published file has {remote.size}")
    return 0


class Unfollowed(urllib.request.HTTPRedirectHandler):
    """Redirects come back as answers: urllib would follow them to anywhere, and read whatever stands in them."""

    def redirect_request(self, *_: Any) -> None:
        """None: not to be followed."""


class Head(io.RawIOBase):
    """What a server sends, up to a point in time: each byte of an endless head may come soon enough."""

    def __init__(self, stream: Any, seconds: float) -> None:
        self.stream, self.deadline = stream, time.monotonic() + seconds

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """The next bytes."""
        if time.monotonic() > self.deadline:
            raise TimeoutError("the head of its answer takes too long")
        count: int | None = self.stream.readinto(buffer)
        return count

    def close(self) -> None:
        """This, and the stream."""
        self.stream.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """An answer whose head has as long as the server may be silent."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.head = Head(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self.head)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self.head.deadline = math.inf  # how long the rest may take is a matter of its size


class InTime(urllib.request.AbstractHTTPHandler):
    """A handler that makes an `Answer` of each answer."""

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        """As urllib has it."""

        def connection(*args: Any, **kwargs: Any) -> Any:
            made = http_class(*args, **kwargs)
            made.response_class = Answer
            return made

        return super().do_open(connection, req, **options)


class InTimeHTTP(InTime, urllib.request.HTTPHandler):
    """For http."""


class InTimeHTTPS(InTime, urllib.request.HTTPSHandler):
    """For https."""


def ask(url: str, begun: int, timeout: float) -> Any:
    """The answer of a server to a request for all bytes from `begun` on, after some redirects."""
    opener = urllib.request.build_opener(Unfollowed, InTimeHTTP, InTimeHTTPS)
    headers = {"User-Agent": f"likelier/{importlib.metadata.version('likelier')}", "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    for _ in range(1 + MOST_REDIRECTS):
        try:
            return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
        except urllib.error.HTTPError as answer:
            target = answer.headers.get("Location")
            if answer.code // 100 != 3 or target is None:
                raise
            answer.close()
            url = followed(url, target)
    raise Refused(f"redirects more than {MOST_REDIRECTS} times")


def followed(url: str, target: str) -> str:
    """Where a redirect leads; Refused if that is less safe than where it comes from."""
    target = urljoin(url, target)
    safe = ("https",) if urlsplit(url).scheme == "https" else ("https", "http")
    if urlsplit(target).scheme not in safe:
        raise Refused(f"redirects to {target[:80]!r}: wanted {' or '.join(safe)}")
    return target


@contextmanager
def network_errors() -> Iterator[None]:
    """What can go wrong between here and a server, as Refused or Broken."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        kind = Broken if error.code in TRANSIENT else Refused
        raise kind(f"answers {status_in_words(error.code)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        kind = Refused if isinstance(reason, ssl.SSLCertVerificationError) else Broken
        words = "".join(c for c in str(reason)[:120] if c.isprintable()) or type(reason).__name__  # maybe a server's
        raise kind(f"cannot be reached or breaks off ({words})") from None


def status_in_words(code: int) -> str:
    """A status with our own phrase: the server's may hold anything.

    >>> status_in_words(404)
    '404 (not found)'
    """
    known = code in set(HTTPStatus)
    return f"{code} ({HTTPStatus(code).phrase.lower()})" if known else str(code)
