"""Where image sets come from: one file per source, and `load`, which finds one by name or by path."""

import importlib
import os
import pkgutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from likelier.data import arrays, folder, idx, packed
from likelier.data.picture import Options, reshaped
from likelier.data.sequence import images_from
from likelier.data.splitting import OnProgress
from likelier.errors import InputError, printable, unknown
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

    `ON_DISK` says whether they are looked for on the disk: then `is_here(name, folder)` says whether there is anything
    of a set in a folder, and `load(name, folder)` gives the set and whether its content is known to be published.
    Otherwise `load(name)` gives a set that is embedded. One that is made from another set has no files of its own:
    `MADE_FROM` names that set, and `make(images)` makes it.
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


def stored_as(name: str) -> str:
    """The named set whose files are looked for and fetched: the one that a set is made from, or itself."""
    stored: str = getattr(source(name), "MADE_FROM", name)
    return stored


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
    if not module.ON_DISK:
        embedded: Images = module.load(name)
        return Found(replace(embedded, source=name, found=embedded.digest), None, "the package", True)
    from likelier.data.places import copies

    stored = stored_as(name)
    folder = existing(root, stored)
    for place in copies(name, folder):
        images, verified = place.read(name, place.path)
        recorded = None if place.root is None else str(place.root)
        images = replace(images, source=name, root=recorded, found=images.digest)
        return Found(images, place.path, place.whose, verified)
    there = f"{folder / stored}, " if folder else ""
    what = name if stored == name else f"{name} is made from {stored}, which"
    raise InputError(
        f"{what} is neither in {there}the cache, nor where torchvision or Keras would keep it: "
        f"`likelier data fetch {stored}` fetches it; or give the folder that holds {stored}/ with --data-root or "
        f"{ROOT_VARIABLE}; or use --data digits, which is embedded"
    )


def load(
    name_or_path: Any = "digits",
    root: str | Path | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    progress: OnProgress | None = None,
) -> Images:
    """The image set called `name_or_path`, or the one at that path, or in that sequence.

    Args:
        name_or_path: a name that `likelier data` lists (`digits` is embedded, `likelier data fetch` gets the others);
            the path of a folder of pictures (see `likelier.data.folder`), of an .npz or .npy (see
            `likelier.data.arrays`) or of a folder with the four IDX files of the MNIST family; or any sequence or
            PyTorch data set of (image, label), as `images_from` takes it.
        root: the folder that holds the named sets; by default the environment variable LIKELIER_DATA.
        size: the side in pixels, 8 to 128, that all images are to get; by default the one that they have.
        channels: 1 for grey, 3 for RGB; by default grey if all images are.
        fit: whether an image that is not square is cut to its centre (`crop`) or set whole into black (`pad`).
        progress: called with how many files of how many are read, where they are many.

    Raises:
        InputError: there is no such set, its files are missing, cut short, mislabelled or not the published ones, or
            they hold no images, or images of no shape that fits all.

    >>> load("digits").shape
    (1, 8, 8)
    >>> load("digits", size=16).shape
    (1, 16, 16)
    """
    if not isinstance(name_or_path, str | Path):
        return images_from(name_or_path, size=size, channels=channels, fit=fit, progress=progress)
    options = Options(size, channels, fit)
    found = at_path_or_named(name_or_path, root, options, progress)
    return replace(found, options=options.given(), found=found.digest)


def load_again(source: Any, root: str | Path | None, options: Mapping[str, Any], name: str | None = None) -> Images:
    """What a run or a comparison was begun with, as `Images` remembers it.

    With `name` they are called that, wherever they are now: the names of figures hang on it.

    Raises:
        InputError: as `load`; or there are other options, as the run may come from somebody else.
    """
    known = {field.name for field in fields(Options)}
    if not isinstance(options, Mapping) or not options.keys() <= known:
        raise InputError(f"the options of the images are {options}: wanted some of {', '.join(sorted(known))}")
    found = load(source, root, **options)
    return found if name is None else replace(found, name=name)


def at_path_or_named(
    name_or_path: str | Path, root: str | Path | None, options: Options, progress: OnProgress | None
) -> Images:
    """A named set, or one that a path leads to."""
    known = sources()
    name = str(name_or_path)
    if not name:
        raise InputError(
            f"the image set has no name: wanted one of {', '.join(sorted(known))}, or the path of a folder"
        )
    if name in known:
        found = find(name, root)
        if not found.verified:
            warnings.warn(f"{found.path}: {UNVERIFIED}", stacklevel=3)
        return reshaped(found.images, options)
    path = Path(name_or_path)
    if path.exists():
        return at_path(path, options, progress)
    if os.sep in name or path.suffix.lower() in arrays.ENDINGS:
        raise InputError(
            f"there is no folder or file {path}: --data takes a folder of pictures or of IDX files, an .npz or .npy, "
            f"or one of {', '.join(sorted(known))}"
        )
    raise unknown_set(name)


def at_path(path: Path, options: Options, progress: OnProgress | None) -> Images:
    """The set at a path that is there."""
    full = str(path.resolve())
    if not full.isprintable():
        raise InputError(f"{printable(full)} cannot be written down in a run: wanted a path of readable characters")
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        raise InputError(f"{path} cannot be read: wanted the permission to; chmod u+rX gives it to its owner")
    found: Images = reader_of(path).load_path(path, options, progress)
    return replace(found, source=full)


def reader_of(path: Path) -> ModuleType:
    """The first module that knows what is at a path."""
    for module in (packed, idx, arrays, folder):  # any folder may be one of pictures
        if module.recognises(path):
            return module
    raise InputError(
        f"{path} is a file: wanted a folder of pictures or of IDX files, or a file {' or '.join(arrays.ENDINGS)}"
    )
