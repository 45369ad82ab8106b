"""A folder of files that is replaced as a whole, while whatever else lies in it stays."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from likelier.errors import InputError
from likelier.files import is_held, locked, naming, opened, read_json, sync_folder

OWN = ".likelier.json"
"""The file in the folder that lists the others with their digests: it marks the folder as one of ours."""
MAKING = ".making"
"""How the name of a folder ends in which another is made."""


def check_folder(folder: Path) -> None:
    """InputError if there is something of that name which is not a folder of ours, nor an empty one."""
    if not os.path.lexists(folder):
        return
    wanted = "wanted a folder of figures that likelier wrote; move it away, or choose another --out"
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder} is no folder: {wanted}")
    if not (folder / OWN).is_file() and any(folder.iterdir()):
        raise InputError(f"{folder} holds files that are not the report's, and none of a report: {wanted}")


@contextmanager
def replacing(folder: Path, files: Mapping[str, bytes]) -> Iterator[None]:
    """Have `folder` hold these files in place of those that were written there before, unless the body fails.

    They are all on the disk before the body runs, so that what follows it is a rename. Files that are not ours, or that
    somebody has changed since, stay.
    """
    with ExitStack() as held:
        with naming(folder):
            finish(folder)
            made = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=MAKING)
            new, old = (Path(held.enter_context(made)) / name for name in ("new", "old"))
            held.enter_context(locked(new.with_name(".lock"), f"{made.name} is in use"))  # tells that we are alive
            _fill(new, files)
        yield
        with naming(folder):
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync_folder(folder.parent)
            _return(old, folder)


def finish(folder: Path) -> None:
    """Finish what a killed process was about; whatever of it is not ours comes back."""
    for made in folder.parent.glob(f".{escape(folder.name)}.*{MAKING}"):
        if made.is_symlink() or not (made / ".lock").is_file() or is_held(made / ".lock"):
            continue
        old = made / "old"
        if old.exists() and not os.path.lexists(folder):
            old.rename(folder)
        _return(old, folder)
        shutil.rmtree(made)


def strangers(folder: Path) -> Iterator[Path]:
    """What is in the folder that was not written by us, or was changed since."""
    digests = _digests(folder)
    for path in sorted(folder.iterdir()):
        if path.name != OWN and (path.name not in digests or _digest(path) != digests[path.name]):
            yield path


def _return(old: Path, folder: Path) -> None:
    """Move what is not ours from the old folder to the new one; under another name, if its own is taken by now."""
    for path in strangers(old) if old.is_dir() else ():
        place, n = folder / path.name, 1
        while os.path.lexists(place):
            place, n = folder / f"{path.stem}.kept{n}{path.suffix}", n + 1
        path.rename(place)


def _digests(folder: Path) -> Mapping[str, Any]:
    """The files that were written here, with their digests; nothing, if the list cannot be read."""
    try:
        found = read_json(folder / OWN)["files"]
    except (InputError, OSError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(path: Path) -> str:
    """Of what is in a file; of anything but a file, none."""
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _fill(new: Path, files: Mapping[str, bytes]) -> None:
    """The folder with its files and their list, on the disk when this returns."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    listing = json.dumps({"format": 1, "files": digests}, indent=1)
    new.mkdir()
    contents = {OWN: listing.encode(), **files}
    for name, content in contents.items():
        (new / name).write_bytes(content)
    for name in contents:  # of many files, most are on the disk by the time the first one is
        with (new / name).open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(new)
