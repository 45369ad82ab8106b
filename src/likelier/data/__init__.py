"""Where image sets come from: one file per source, and `load`, which finds one by name or by path."""

import importlib
import os
import pkgutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from likelier.errors import InputError, unknown
from likelier.images import Images

ROOT_VARIABLE = "LIKELIER_DATA"
UNVERIFIED = "the structure is right, but no published sum is known for these files, so the content is not verified"


@dataclass(frozen=True)
class Found:
    """A named set, and where it was found."""

    images: Images
    path: Path | None
    """None for a set that is embedded."""
    whose: str
    """Who keeps it there: the data root, the cache, torchvision, Keras, the package."""
    verified: bool
    """Whether its content is known to be the published one; otherwise its structure was right."""


def sources() -> dict[str, str]:
    """Every named set and the module that reads it, found by looking: a module lists its sets in `NAMES`.

    `NEEDS_ROOT` says whether they are looked for on the disk.
    """
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for name in getattr(importlib.import_module(f"{__name__}.{module.name}"), "NAMES", ()):
            found[name] = module.name
    return found


def source(name: str) -> ModuleType:
    """The module that reads a named set; InputError, with the nearest name, if there is no such set."""
    known = sources()
    if name not in known:
        raise unknown_set(name)
    return importlib.import_module(f"{__name__}.{known[name]}")


def unknown_set(name: str) -> InputError:
    """The error for a name that is none of a set."""
    return unknown("image set", name, sources(), "`likelier data` lists them; a folder is given by its path")


def existing(root: str | Path | None, name: str) -> Path | None:
    """The folder of the named sets, by default that of LIKELIER_DATA; InputError if it is given and not there."""
    root = root or os.environ.get(ROOT_VARIABLE)
    if root and not Path(root).is_dir():
        raise InputError(f"there is no folder {root}: as the data root, wanted the folder that holds {name}/")
    return Path(root).resolve() if root else None


def find(name: str, root: str | Path | None = None) -> Found:
    """A named set, from the first place that has it.

    Args:
        name: one of `sources()`.
        root: the folder that holds the named sets; by default the environment variable LIKELIER_DATA.

    Raises:
        InputError: there is no such set, it is nowhere, or the first copy is not whole or not the published one.
    """
    module = source(name)
    if not module.NEEDS_ROOT:
        embedded: Images = module.load(name)
        return Found(replace(embedded, source=name, found=embedded.digest), None, "the package", True)
    from likelier.data.places import copies

    folder = existing(root, name)
    for place in copies(name, folder):
        images, verified = place.read(name, place.path)
        recorded = None if place.root is None else str(place.root)
        images = replace(images, source=name, root=recorded, found=images.digest)
        return Found(images, place.path, place.whose, verified)
    there = f"{folder / name}, " if folder else ""
    raise InputError(
        f"{name} is neither in {there}the cache, nor where torchvision or Keras would keep it: "
        f"`likelier data fetch {name}` fetches it; or give the folder that holds {name}/ with --data-root or "
        f"{ROOT_VARIABLE}; or use --data digits, which is embedded"
    )


def load(name_or_path: str | Path = "digits", root: str | Path | None = None) -> Images:
    """The image set called `name_or_path`, or the one in that folder.

    Args:
        name_or_path: a name that `likelier data` lists (`digits` is embedded, `likelier data fetch` gets the others),
            or the path of any folder with the four IDX files of the MNIST family, gzipped or plain.
        root: the folder that holds the named sets; by default the environment variable LIKELIER_DATA.

    Raises:
        InputError: there is no such set, or its files are missing, cut short, mislabelled or not the published ones.

    >>> load("digits").shape
    (1, 8, 8)
    """
    known = sources()
    name = str(name_or_path)
    if not name:
        raise InputError(
            f"the image set has no name: wanted one of {', '.join(sorted(known))}, or the path of a folder"
        )
    if name in known:
        found = find(name, root)
        if not found.verified:
            warnings.warn(f"{found.path}: {UNVERIFIED}", stacklevel=2)
        return found.images
    path = Path(name_or_path)
    if path.exists():
        idx = importlib.import_module(f"{__name__}.idx")
        own: Images = idx.load_folder(path)
        return replace(own, source=str(path.resolve()), found=own.digest)
    if os.sep in name:
        raise InputError(
            f"there is no folder {path}: --data takes a folder with IDX files, or one of {', '.join(sorted(known))}"
        )
    raise unknown_set(name)
