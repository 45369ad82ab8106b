"""Downloads from a real server on loopback that behaves as badly as servers do; real processes, killed and at once."""

import hashlib
import http.server
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from likelier.errors import InputError
from likelier.fetching import PROGRESS, Listener, Patience, Remote, fetch

CONTENT = b"".join(i.to_bytes(4, "big") for i in range(100_000))
"""What is published: 400,000 bytes, no two pieces of them the same."""
HALF = len(CONTENT) // 2
LONG = CONTENT * 10
"""Longer than what an attempt has to add to count as one that gets on."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the first part of the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        manner = self.path.split("/")[1]
        self.server.asked[manner] += 1  # type: ignore[attr-defined]
        self.server.ranges.append(self.headers.get("Range"))  # type: ignore[attr-defined]
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            MANNERS[manner](self)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Silence."""

    @property
    def begin(self) -> int:
        """The first byte that was asked for."""
        return int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])  # type: ignore[index]

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def part(self, content: bytes = CONTENT) -> bytes:
        """The head of an answer that honours ranges; what is to be sent after it."""
        begin = self.begin
        if not begin:
            self.head(200, Content_Length=len(content))
            return content
        span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self.head(206, Content_Range=span, Content_Length=len(content) - begin)
        return content[begin:]

    def dribble(self, content: bytes, piece: int, seconds: float) -> None:
        for start in range(0, len(content), piece):
            self.wfile.write(content[start : start + piece])
            self.wfile.flush()
            if self.server.closing.wait(seconds):  # type: ignore[attr-defined]
                return


def whole(h: Handler) -> None:
    h.wfile.write(h.part())


def no_ranges(h: Handler) -> None:
    h.head(200, Content_Length=len(CONTENT))
    h.wfile.write(CONTENT)


def without_length(h: Handler) -> None:
    h.head(200)
    h.wfile.write(CONTENT)


def chunked(h: Handler) -> None:
    h.head(200, Transfer_Encoding="chunked")
    for start in range(0, len(CONTENT), 50_000):
        h.wfile.write(b"c350\r\n" + CONTENT[start : start + 50_000] + b"\r\n")
    h.wfile.write(b"0\r\n\r\n")


def cuts_off(h: Handler) -> None:
    h.wfile.write(h.part()[:150_000])


def cuts_off_a_long_one(h: Handler) -> None:
    h.wfile.write(h.part(LONG)[: PROGRESS + 1])


def cuts_off_without_ranges(h: Handler) -> None:
    h.head(200, Content_Length=len(CONTENT))
    h.wfile.write(CONTENT[:HALF])


def resets(h: Handler) -> None:
    h.wfile.write(h.part()[:1_000])
    h.wfile.flush()
    h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends a reset
    h.connection.close()


def hangs_up(h: Handler) -> None:
    h.connection.shutdown(socket.SHUT_RDWR)


def slow(h: Handler) -> None:
    h.dribble(h.part(), piece=40_000, seconds=0.05)


def falls_silent(h: Handler) -> None:
    h.wfile.write(h.part()[:1_000])
    h.wfile.flush()
    h.server.closing.wait(20)  # type: ignore[attr-defined]


DRIPS = 200
"""They come to an end, in ten seconds: a client that bears with them for ever fails its test, and does not hang."""


def drips(h: Handler) -> None:
    h.part()
    h.dribble(bytes(DRIPS), piece=1, seconds=0.05)


def drips_headers(h: Handler) -> None:
    h.wfile.write(b"HTTP/1.1 200 OK\r\n")
    h.dribble(b"X: 1\r\n" * (DRIPS // 6), piece=1, seconds=0.05)


def drips_one_header(h: Handler) -> None:
    h.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    h.dribble(b"x" * DRIPS, piece=1, seconds=0.05)


def goes_on(h: Handler) -> None:
    h.head(200)
    h.wfile.write(CONTENT + bytes(1 << 16))


def endless(h: Handler) -> None:
    h.head(200)
    while not h.server.closing.is_set():  # type: ignore[attr-defined]
        h.wfile.write(bytes(1 << 16))


def claims_more(h: Handler) -> None:
    h.head(200, Content_Length=1 << 40)
    h.wfile.write(CONTENT)


def claims_less(h: Handler) -> None:
    h.head(200, Content_Length=1_000)
    h.wfile.write(CONTENT)


def claims_nonsense(h: Handler) -> None:
    h.head(200, Content_Length="a lot")
    h.wfile.write(CONTENT)


def wrong_bytes(h: Handler) -> None:
    h.wfile.write(h.part(CONTENT[:-1] + b"\xff"))


def wrong_range(h: Handler) -> None:
    if not h.begin:
        return whole(h)
    h.head(206, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}", Content_Length=len(CONTENT))
    h.wfile.write(CONTENT)
    return None


def wrong_encoding(h: Handler) -> None:
    h.head(200, Content_Encoding="gzip", Content_Length=10)
    h.wfile.write(bytes(10))


def no_http(h: Handler) -> None:
    h.wfile.write(b"\x1b[31m\x00nonsense\r\n" * 100)


def long_header(h: Handler) -> None:
    h.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n")


def status(code: int) -> Callable[[Handler], None]:
    return lambda h: h.head(code, Content_Length=0)


def redirect(target: str, body: bool = False) -> Callable[[Handler], None]:
    def answer(h: Handler) -> None:
        h.head(302, Location=target.format(port=h.server.server_address[1]))  # type: ignore[misc]
        while body and not h.server.closing.is_set():  # type: ignore[attr-defined]
            h.wfile.write(bytes(1 << 16))

    return answer


def stops_halfway_once(h: Handler) -> None:
    """The first one who asks gets half of it, and waits for the rest."""
    if h.server.asked["stops_halfway_once"] > 1:  # type: ignore[attr-defined]
        return whole(h)
    h.wfile.write(h.part()[:HALF])
    h.wfile.flush()
    h.server.closing.wait(30)  # type: ignore[attr-defined]
    return None


def flaky(h: Handler) -> None:
    """Down twice, then up."""
    return status(503)(h) if h.server.asked["flaky"] <= 2 else whole(h)  # type: ignore[attr-defined]


MANNERS: dict[str, Callable[[Handler], None]] = {
    each.__name__: each
    for each in (
        whole,
        no_ranges,
        without_length,
        chunked,
        cuts_off,
        cuts_off_a_long_one,
        cuts_off_without_ranges,
        resets,
        hangs_up,
        slow,
        falls_silent,
        drips,
        drips_headers,
        drips_one_header,
        goes_on,
        endless,
        claims_more,
        claims_less,
        claims_nonsense,
        wrong_bytes,
        wrong_range,
        wrong_encoding,
        no_http,
        long_header,
        flaky,
        stops_halfway_once,
    )
} | {
    "404": status(404),
    "403": status(403),
    "500": status(500),
    "204": status(204),
    "999": status(999),
    "redirects": redirect("/whole/file"),
    "redirects_with_endless_body": redirect("/whole/file", body=True),
    "loops": redirect("/loops/file"),
    "to_a_file": redirect("file:///etc/passwd"),
    "to_ftp": redirect("ftp://127.0.0.1/file"),
    "to_http": redirect("http://127.0.0.1:{port}/whole/file"),
    "to_nonsense": redirect("http://[::1/\x7f"),
}


class Mirror(http.server.ThreadingHTTPServer):
    """The server; what it was asked is counted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str | None] = []
        self.closing = threading.Event()
        self.scheme = "http"

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no error."""

    def url(self, manner: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/{manner}/file"


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """The server in a thread of its own."""
    thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.closing.set()
        mirror.shutdown()
        mirror.server_close()
        thread.join()


SHORT = Patience(timeout=0.3, slowest=1_000, attempts=2, pause=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is on this machine, whatever leads out of it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror()) as found:
        yield found


def published(*urls: str) -> Remote:
    return Remote("file", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), urls)


def left(folder: Path) -> dict[str, int]:
    """What is in the folder besides the lock: names and sizes."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.endswith(".lock")}


# What gives the file


@pytest.mark.parametrize(
    "manner",
    [
        "whole",
        "no_ranges",
        "without_length",
        "chunked",
        "cuts_off",
        "slow",
        "flaky",
        "redirects",
        "wrong_range",
        "goes_on",
    ],
)
def test_the_file_is_fetched_whole(manner: str, mirror: Mirror, tmp_path: Path) -> None:
    patience = replace(SHORT, attempts=3)
    assert fetch(published(mirror.url(manner)), tmp_path / "new" / "folder", patience=patience).read_bytes() == CONTENT
    assert left(tmp_path / "new" / "folder") == {"file": len(CONTENT)}


@pytest.mark.parametrize("manner", ["whole", "no_ranges", "chunked", "wrong_range", "to_nonsense"])
@pytest.mark.parametrize("here", [HALF, len(CONTENT) - 1, len(CONTENT)])
def test_what_is_here_is_gone_on_with(manner: str, here: int, mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT[:here])
    fetch(published(mirror.url(manner), mirror.url("whole")), tmp_path, patience=SHORT)
    assert left(tmp_path) == {"file": len(CONTENT)}
    assert set(mirror.ranges) == ({f"bytes={here}-"} if here < len(CONTENT) else set())


@pytest.mark.parametrize("manner", ["whole", "no_ranges"])
@pytest.mark.parametrize("rest", [b"\xff" * 1_000, b"\xff" * len(CONTENT), b"\xff" * 2 * len(CONTENT)])
def test_a_wrong_half_is_thrown_away(manner: str, rest: bytes, mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(rest)
    assert fetch(published(mirror.url(manner)), tmp_path, patience=SHORT).read_bytes() == CONTENT


def test_a_file_that_is_here_is_not_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    fetch(published(mirror.url("whole")), tmp_path)
    assert not mirror.asked


def test_a_file_that_is_not_the_published_one_is_replaced(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"\xff")
    assert fetch(published(mirror.url("whole")), tmp_path).read_bytes() == CONTENT


def test_progress_counts_bytes_and_ends_at_the_whole(mirror: Mirror, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / ".file.part").write_bytes(CONTENT[:HALF])
    fetch(published(mirror.url("slow")), tmp_path, listener=Listener(on_progress=lambda *seen: told.append(seen)))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [seen for seen, _ in told] == sorted(seen for seen, _ in told)
    assert told[0][0] > HALF


def test_a_slow_mirror_has_all_the_time_that_its_bytes_take(mirror: Mirror, tmp_path: Path) -> None:
    fetch(published(mirror.url("slow")), tmp_path, patience=SHORT)
    assert mirror.asked == {"slow": 1}


def test_a_mirror_that_gets_on_after_a_stale_half_is_borne_with(mirror: Mirror, tmp_path: Path) -> None:
    stale = b"\xff" * len(LONG)
    (tmp_path / ".file.part").write_bytes(stale)
    remote = Remote("file", hashlib.sha256(LONG).hexdigest(), len(LONG), (mirror.url("cuts_off_a_long_one"),))
    assert fetch(remote, tmp_path, patience=SHORT).read_bytes() == LONG


def test_a_mirror_of_another_file_is_given_up_after_a_stale_half(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT[:HALF])
    with pytest.raises(InputError, match="gives another file"):
        fetch(published(mirror.url("wrong_bytes")), tmp_path, patience=replace(SHORT, attempts=9))
    assert mirror.asked == {"wrong_bytes": 2}


def test_who_listens_is_told_who_is_asked_and_why_the_next_one(mirror: Mirror, tmp_path: Path) -> None:
    asked: list[str] = []
    told: list[str] = []
    urls = mirror.url("falls_silent"), mirror.url("404"), mirror.url("whole")
    fetch(published(*urls), tmp_path, patience=SHORT, listener=Listener(on_ask=asked.append, on_retry=told.append))
    host = f"127.0.0.1:{mirror.server_address[1]}"
    assert asked == [host] * 3
    assert [re.sub(r" \(.*\)", "", each) for each in told] == [
        f"{host} cannot be reached or breaks off: it is asked again",
        f"{host} cannot be reached or breaks off: {host} is asked next",
        f"{host} answers 404: {host} is asked next",
    ]


# What is no file


@pytest.mark.parametrize("name", [".file.part", ".file.lock"])
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_what_lies_in_the_way_is_not_written_to(name: str, what: str, mirror: Mirror, tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_bytes(b"of somebody else")
    folder.mkdir()
    {
        "link": lambda path: path.symlink_to(precious),
        "dangling link": lambda path: path.symlink_to(tmp_path / "not there"),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
    }[what](folder / name)
    if name == ".file.lock" or what == "folder":
        with pytest.raises(InputError, match=rf"{name} is no regular file"):
            fetch(published(mirror.url("whole")), folder, patience=SHORT)
    else:
        assert fetch(published(mirror.url("whole")), folder, patience=SHORT).read_bytes() == CONTENT
    assert precious.read_bytes() == b"of somebody else"
    assert not (tmp_path / "not there").exists()


# What does not

BAD = {
    "cuts_off_without_ranges": "stopped after 200,000 of 400,000 bytes",
    "resets": "cannot be reached or breaks off",
    "hangs_up": "cannot be reached or breaks off",
    "falls_silent": "timed out",
    "drips": "is too slow",
    "drips_headers": "the head of its answer takes too long",
    "drips_one_header": "the head of its answer takes too long",
    "endless": "gives another file",
    "claims_more": f"offers {1 << 40} bytes: the published file has 400000",
    "claims_less": "offers 1000 bytes",
    "claims_nonsense": "offers a lot bytes",
    "wrong_bytes": "gives another file: sha256",
    "wrong_encoding": "offers 10 bytes",
    "no_http": "cannot be reached or breaks off",
    "long_header": "cannot be reached or breaks off",
    "404": "answers 404 (not found)",
    "403": "answers 403 (forbidden)",
    "500": "answers 500 (internal server error)",
    "204": "answers 204 (no content)",
    "999": "answers 999",
    "loops": "redirects more than 5 times",
    "to_a_file": "redirects to 'file:///etc/passwd': wanted https or http",
    "to_ftp": "redirects to 'ftp://127.0.0.1/file'",
    "to_nonsense": "cannot be reached or breaks off",
}


@pytest.mark.parametrize("manner", BAD)
def test_a_bad_mirror_is_told_of_and_the_next_one_asked(manner: str, mirror: Mirror, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=re.escape(BAD[manner])) as caught:
        fetch(published(mirror.url(manner)), tmp_path, patience=SHORT)
    assert time.monotonic() - began < 5
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500 + len(str(tmp_path))
    assert "by hand" in message
    assert not (tmp_path / "file").exists()
    assert all(0 < size <= len(CONTENT) for size in left(tmp_path).values()), "an empty or an endless file stays"
    assert fetch(published(mirror.url(manner), mirror.url("whole")), tmp_path, patience=SHORT).read_bytes() == CONTENT


def test_a_mirror_that_is_not_there(mirror: Mirror, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(InputError, match="Connection refused"):
            fetch(published(gone), tmp_path, patience=SHORT)
        fetch(published(gone, mirror.url("whole")), tmp_path, patience=SHORT)


def test_a_mirror_that_is_down_for_good_is_asked_so_many_times(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        fetch(published(mirror.url("500"), mirror.url("404")), tmp_path, patience=replace(SHORT, attempts=4))
    assert mirror.asked == {"500": 4, "404": 1}


def test_a_redirect_with_an_endless_body_is_followed_at_once(mirror: Mirror, tmp_path: Path) -> None:
    began = time.monotonic()
    assert fetch(published(mirror.url("redirects_with_endless_body")), tmp_path, patience=SHORT).is_file()
    assert time.monotonic() - began < 2


def test_a_folder_that_cannot_be_made_is_named(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("x")
    with pytest.raises(OSError, match="no folder/file"):
        fetch(published(mirror.url("whole")), tmp_path / "no folder")
    assert not mirror.asked


# TLS


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """The server behind TLS, with a certificate that this process trusts."""
    key = tmp_path_factory.mktemp("tls") / "key.pem"
    request = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    try:
        subprocess.run([*request.split(), "-keyout", key, "-out", key], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key)
    mirror = Mirror()
    mirror.socket = context.wrap_socket(mirror.socket, server_side=True)
    mirror.scheme = "https"
    monkeypatch.setenv("SSL_CERT_FILE", str(key))
    with serving(mirror):
        yield mirror


def test_https_is_fetched_and_never_left(secure: Mirror, mirror: Mirror, tmp_path: Path) -> None:
    assert fetch(published(secure.url("redirects")), tmp_path / "a", patience=SHORT).read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"redirects to 'http://127.*wanted https"):
        fetch(published(secure.url("to_http")), tmp_path / "b", patience=SHORT)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    secure: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(InputError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(published(secure.url("whole")), tmp_path, patience=SHORT)
    assert not secure.asked


# Processes

PROGRAM = """
import sys
from pathlib import Path
from likelier.fetching import Listener, Remote, fetch
url, sha256, size, folder = sys.argv[1:]
waits = Listener(on_wait=lambda: print("waits", flush=True))
fetch(Remote("file", sha256, int(size), (url,)), Path(folder), listener=waits)
"""


def start(url: str, folder: Path) -> subprocess.Popen[str]:
    remote = published(url)
    arguments = [sys.executable, "-c", PROGRAM, url, remote.sha256, str(remote.size), str(folder)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_at_once_fetch_it_once(mirror: Mirror, tmp_path: Path) -> None:
    processes = [start(mirror.url("slow"), tmp_path) for _ in range(3)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert mirror.asked == {"slow": 1}
    assert sum("waits" in each for each in told) <= 2
    assert left(tmp_path) == {"file": len(CONTENT)}


def test_one_that_is_killed_is_gone_on_with_by_the_one_that_waits(mirror: Mirror, tmp_path: Path) -> None:
    first = start(mirror.url("stops_halfway_once"), tmp_path)
    part = tmp_path / ".file.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 0)
    second = start(mirror.url("stops_halfway_once"), tmp_path)
    assert second.stdout is not None
    assert second.stdout.readline() == "waits\n"
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / "file").exists()
    assert second.wait(timeout=60) == 0
    assert (tmp_path / "file").read_bytes() == CONTENT
    begun = int((mirror.ranges[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    assert 0 < begun < len(CONTENT)
