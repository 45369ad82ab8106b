"""likelier with a kill in it: `python launcher.py NUMBER ARGUMENTS...` dies at that step, and counts steps if it is 0.

A step is the moment before or after anything that changes a file (in the middle of a write and of a log line, too), or
a turn. Nothing in likelier knows of this: the functions that it calls are replaced here, in a process of its own.
"""

import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from likelier import cli, loop

COUNT = itertools.count(1)
DIES_AT = LAST = 0


def step(where: str) -> None:
    """Die here if it is time."""
    global LAST
    LAST = next(COUNT)
    if LAST == DIES_AT:
        os.write(2, f"killed at {where}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str) -> None:
    """A step before each call of owner.name, and one after."""
    real: Callable[..., Any] = getattr(owner, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        step(f"before {name}")
        found = real(*arguments, **named)
        step(f"after {name}")
        return found

    setattr(owner, name, replaced)


class Halved:
    """A file that is written in two halves."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Halved":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        half = len(content) // 2
        written = self.file.write(content[:half])
        self.file.flush()
        step("half of a write")
        return written + self.file.write(content[half:])


def halving(owner: Any, name: str, modes: tuple[str, ...]) -> None:
    """Files that owner.name opens in one of the modes are written in two halves."""
    real: Callable[..., Any] = getattr(owner, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        file = real(*arguments, **named)
        return Halved(file) if len(arguments) > 1 and arguments[1] in modes else file

    setattr(owner, name, replaced)


def main() -> None:
    global DIES_AT
    DIES_AT = int(sys.argv[1])
    for owner, names in (
        (tempfile, ("mkstemp",)),
        (os, ("fsync", "link")),
        (Path, ("replace", "rename", "unlink", "mkdir")),
        (shutil, ("rmtree",)),
        (loop.Game, ("turn", "restore")),
    ):
        for name in names:
            around(owner, name)
    halving(os, "fdopen", ("wb",))
    halving(Path, "open", ("ab",))
    code = cli.main(sys.argv[2:])
    if DIES_AT == 0:
        print(f"steps {LAST}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
