"""Being asked to stop: SIGTERM, SIGHUP and Ctrl-C, and the places where a training can stop with nothing lost.

The first request ends whatever is being done with a `Stopped`, at once, unless it is a training: that plays its turn to
the end and saves itself. The second ends even that at once, and the third is left to the system.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM", signal.SIGHUP: "stopped by SIGHUP"}


class Stopped(KeyboardInterrupt):
    """Somebody asked for an end; `next_step` says how what was begun goes on."""

    def __init__(self, number: int = signal.SIGINT, next_step: str = "") -> None:
        self.number = number
        super().__init__(next_step)


class Request:
    """What was asked of this process, and whether it will look for itself."""

    number: int | None = None
    patient = False


REQUEST = Request()


def ask(number: int) -> None:
    """Ask a patient training to stop after its turn."""
    REQUEST.number = number


def check() -> None:
    """Stopped, if somebody asked for it: a training calls this where it can stop."""
    if REQUEST.number is not None:
        raise Stopped(REQUEST.number)


@contextmanager
def patiently() -> Iterator[None]:
    """In here `check` is called every now and then, so that a request need not break off what is being done."""
    REQUEST.patient = True
    try:
        yield
    finally:
        REQUEST.patient = False
    check()  # asked after the last look


@contextmanager
def saying(next_step: str) -> Iterator[None]:
    """Whoever stops in here is told how it goes on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise Stopped(getattr(stopped, "number", signal.SIGINT), next_step) from None


@contextmanager
def listening() -> Iterator[None]:
    """Signals become requests; those that this process was told to ignore (nohup) are ignored."""
    REQUEST.number = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in WORDS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        REQUEST.number = None


def on_signal(number: int, frame: FrameType | None) -> None:
    """The handler of all of them."""
    first = REQUEST.number is None
    REQUEST.number = number
    if not first:
        signal.signal(number, signal.SIG_DFL)
    if not (first and REQUEST.patient):
        raise Stopped(number)
