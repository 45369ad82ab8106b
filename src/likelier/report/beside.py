"""The figures of a page as files that lie beside it: what they are called, and what is in them.

Whatever the page shows is found by going through what its template is given, so that no section can forget a figure.
"""

import base64
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from likelier.report.data import Data
from likelier.report.figures import Picture
from likelier.report.grouping import Group
from likelier.report.pixels import Bitmap
from likelier.report.reading import Run

Figure = Picture | Bitmap
INDEX = "index.csv"
SECTIONS = {
    "shared": "samples",
    "copies": "nearest",
    "latent": "latent-space",
    "raw_pixels": "latent-space",
    "histograms": "classes",
    "manifolds": "manifold",
    "confusions": "confusion",
    "maps": "atlas",
}
"""What the figures of a section are called, where the template has another name for it."""
PARTS = {"glance"}
"""Sections of which each figure is a part of another section's."""
LONGEST = 48
"""Letters that a part of a name may have."""


@dataclass(frozen=True)
class Link:
    """A file, as the page names it: its own name, what is shown of it, and where it lies."""

    name: str
    shown: str
    address: str


@dataclass(frozen=True)
class Place:
    """Where a figure was found: its section, its model, and what is called so far of its file."""

    section: str
    model: str
    parts: tuple[str, ...]


def named(context: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The context with every figure told what its files are called, and those files, with a list of them."""
    files: dict[str, bytes] = {}
    taken = {Path(INDEX).stem}
    done: dict[int, Figure] = {}
    rows: list[list[str]] = []

    def name(figure: Figure, place: Place) -> Figure:
        if id(figure) in done:
            return done[id(figure)]
        base = free(slug(*place.parts, figure.name), taken)
        own = {f"{base}{suffix}": content for suffix, content in contents(figure)}
        files.update(own)
        rows.extend([one, place.section, place.model, figure.alt] for one in own)
        return done.setdefault(id(figure), replace(figure, files=tuple(own)))

    found = {
        key: value if key in PARTS else mapped(value, name, Place(of := SECTIONS.get(key, key), "", (of,)))
        for key, value in context.items()
    }
    files[INDEX] = Data(["file", "section", "model", "shows"], rows).csv()
    return found, files


def free(base: str, taken: set[str]) -> str:
    """`base`, or with a number if another figure is called that."""
    name, n = base, 1
    while name in taken:
        n += 1
        name = f"{base}-{n}"
    taken.add(name)
    return name


def mapped(value: Any, change: Callable[[Figure, Place], Figure], place: Place) -> Any:
    """A value with every figure in it changed; runs and groups, which hold pictures as trained, have no figures."""
    if isinstance(value, Picture | Bitmap):
        return change(value, place)
    if isinstance(value, Mapping):
        return {key: mapped(one, change, place) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([mapped(one, change, place) for one in value])
    if not is_dataclass(value) or isinstance(value, Group | Run | type):
        return value
    group = getattr(value, "group", None)
    if isinstance(group, Group):
        own = slug(group.label) or f"model-{group.index + 1}"
        place = Place(place.section, group.label, (*place.parts, own))
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return replace(value, **{name: mapped(part, change, place) for name, part in parts.items()})


def links(figures: Figure | Sequence[Figure], folder: str) -> list[Link]:
    """The files of a figure, or of some beside one another: the first by its whole name, the others by what differs."""
    found: list[Link] = []
    for figure in [figures] if isinstance(figures, Picture | Bitmap) else figures:
        for i, name in enumerate(figure.files):
            ending = Path(name).suffix
            shown = ending if i else name if not found else f"{slug(figure.name)}{ending}"
            found.append(Link(name, shown, f"{quote(folder, safe='')}/{name}"))
    return found


def folder_of(out: Path) -> Path:
    """Where the figures of the page `out` go: two pages in a folder do not share one."""
    return out.with_name("figures" if out.name == "report.html" else f"{out.stem}-figures")


def contents(figure: Figure) -> Iterator[tuple[str, bytes]]:
    """The endings of a figure's files, and what is in them."""
    if isinstance(figure, Bitmap):
        yield (".png", figure.whole) if figure.whole else (f".{kind_of(figure.src)}", decoded(figure.src))
    else:
        yield ".svg", decoded(figure.light)
        yield from [(".png", figure.png)] if figure.png else []
    if figure.data is not None:
        yield ".csv", figure.data.csv()


def kind_of(uri: str) -> str:
    """What sort of picture is in a data URI.

    >>> kind_of("data:image/webp;base64,")
    'webp'
    """
    return uri.partition(";")[0].rpartition("/")[2]


def decoded(uri: str) -> bytes:
    """What is in a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def slug(*parts: str) -> str:
    """Parts as a name that every file system takes: small letters of ASCII, digits and hyphens.

    >>> slug("losses", "vae (latent 2)", "Générateur/../x")
    'losses-vae-latent-2-generateur-x'
    """
    plain = (unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode().lower() for part in parts)
    return "-".join(filter(None, (re.sub("[^a-z0-9]+", "-", part)[:LONGEST].strip("-") for part in plain)))
