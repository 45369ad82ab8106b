"""What was found out of large files by reading all of them, remembered until one of them changes.

A file counts as unchanged while it is the same one (by its inode), and has the size and the times of its last change.
Nobody sets the time at which the system saw a file change, as that of its content can be set; and a change within the
same tick of the clock is not told from none, so what has changed only just now is not remembered.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from likelier.files import cache_folder, write_atomically

SETTLED = 1.0
"""Seconds after which a change would be seen by the clock of any file system."""


def holds(paths: Sequence[Path], claim: str, check: Callable[[], bool]) -> bool:
    """Whether `check`, which reads the files, finds that the claim is true of them; or has, and they have not changed.

    Args:
        paths: the files.
        claim: what is said of them, so that another claim is another question.
        check: reads them, and is not called if the answer is known.
    """
    before, asked = states_of(paths), time.time()
    known = cache_folder() / "verified" / hashlib.sha256(repr((claim, before)).encode()).hexdigest()
    if known.is_file():
        return True
    if not check():
        return False
    if max(changed for *_, changed in before) < (asked - SETTLED) * 1e9:
        with suppress(OSError):  # a cache that cannot be written costs time, no more
            known.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(known, b"")
    return True


def states_of(paths: Sequence[Path]) -> list[tuple[str, int, int, int, int]]:
    """What tells a file that has changed: where it is, which it is, its size, and when it changed."""
    found = [(str(path.resolve()), path.stat()) for path in paths]
    return [(where, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for where, s in found]
