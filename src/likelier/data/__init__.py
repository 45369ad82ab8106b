"""Where image sets come from: one file per source, and `load`, which finds one by name or by path."""

import importlib
import os
import pkgutil
from dataclasses import replace
from pathlib import Path

from likelier.data import packed
from likelier.errors import InputError, unknown
from likelier.images import Images

ROOT_VARIABLE = "LIKELIER_DATA"


def sources() -> dict[str, str]:
    """Every named set and the module that reads it, found by looking: a module lists its sets in `NAMES`.

    `NEEDS_ROOT` says whether they are read from the folder of the named sets.
    """
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for name in getattr(importlib.import_module(f"{__name__}.{module.name}"), "NAMES", ()):
            found[name] = module.name
    return found


def existing(root: str | Path | None, name: str) -> Path:
    """The folder of the named sets; InputError if it is not given or not there, for a set that is not embedded."""
    if not root:
        raise InputError(
            f"{name} is not embedded: give the folder that holds {name}/ with --data-root or LIKELIER_DATA, "
            "or use --data digits, which is"
        )
    if not Path(root).is_dir():
        raise InputError(f"there is no folder {root}: as the data root, wanted the folder that holds {name}/")
    return Path(root)


def load(name_or_path: str | Path = "digits", root: str | Path | None = None) -> Images:
    """The image set called `name_or_path`, or the one in that folder.

    Args:
        name_or_path: `digits` (embedded), `mnist` or `fashion-mnist` (a folder of that name under `root`), or the
            path of any folder with the four IDX files of the MNIST family, gzipped or plain.
        root: the folder that holds the named sets; by default the environment variable LIKELIER_DATA.

    Raises:
        InputError: there is no such set, or its files are missing, cut short, mislabelled or not the published ones.

    >>> load("digits").shape
    (1, 8, 8)
    """
    root = root or os.environ.get(ROOT_VARIABLE)
    known = sources()
    name = str(name_or_path)
    if not name:
        raise InputError(
            f"the image set has no name: wanted one of {', '.join(sorted(known))}, or the path of a folder"
        )
    if name in known:
        module = importlib.import_module(f"{__name__}.{known[name]}")
        if not module.NEEDS_ROOT:
            embedded: Images = module.load(name)
            return replace(embedded, source=name)
        folder = existing(root, name)
        found: Images = module.load(name, folder)
        return replace(found, source=name, root=str(folder.resolve()))
    path = Path(name_or_path)
    if packed.recognises(path):
        return replace(packed.load_folder(path), source=str(path.resolve()))
    if path.exists():
        idx = importlib.import_module(f"{__name__}.idx")
        own: Images = idx.load_folder(path)
        return replace(own, source=str(path.resolve()))
    if os.sep in name:
        raise InputError(
            f"there is no folder {path}: --data takes a folder with IDX files, or one of {', '.join(sorted(known))}"
        )
    raise unknown("image set", name, known, "`likelier data` lists them; a folder is given by its path")
