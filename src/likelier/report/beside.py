"""The figures of a page as files that lie beside it: what they are called, and what is in them.

Whatever the page shows is found by going through what its template is given, so that no section can forget a figure.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from likelier.report.data import Data
from likelier.report.figures import Picture
from likelier.report.grouping import Group
from likelier.report.pixels import Bitmap
from likelier.report.reading import Run

INDEX = "index.csv"
SECTIONS = {"shared": "samples", "copies": "nearest", "latent": "latent-space", "histograms": "classes"}
"""What the figures of a section are called, where the template has another name for it."""
LONGEST = 48
"""Letters that a part of a name may have."""


@dataclass(frozen=True)
class Link:
    """A file, as the page names it: its own name, what is shown of it, and where it lies."""

    name: str
    shown: str
    address: str


@dataclass(frozen=True)
class Found:
    """A figure with the section and the model that it was found under, and its name within them."""

    figure: Picture | Bitmap
    section: str
    model: str
    parts: tuple[str, ...]


class Beside:
    """The files beside a page, and the links to them."""

    def __init__(self, context: Mapping[str, Any], folder: str) -> None:
        """Name every figure in `context`, which maps a section of the page to what it shows."""
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.names: dict[int, list[str]] = {}
        self.taken = {"index"}
        self.kept = context  # as long as a figure lives, its id is no other's
        rows = []
        for found in found_in(context):
            if id(found.figure) in self.names:
                continue
            base = self.free(slug(*found.parts))
            files = {f"{base}{suffix}": content for suffix, content in contents(found.figure)}
            self.files |= files
            self.names[id(found.figure)] = list(files)
            rows += [[name, found.section, found.model, found.figure.alt] for name in files]
        self.files[INDEX] = Data(["file", "section", "model", "shows"], rows).csv()

    def free(self, base: str) -> str:
        """`base`, or with a number if another figure is called that."""
        name, n = base, 1
        while name in self.taken:
            n += 1
            name = f"{base}-{n}"
        self.taken.add(name)
        return name

    def links(self, figure: Picture | Bitmap) -> list[Link]:
        """The files of a figure: the first by its whole name, the others by their endings."""
        names = self.names.get(id(figure), [])
        return [
            Link(name, name if i == 0 else Path(name).suffix, f"{quote(self.folder, safe='')}/{name}")
            for i, name in enumerate(names)
        ]


def folder_of(out: Path) -> Path:
    """Where the figures of the page `out` go: two pages in a folder do not share one."""
    return out.with_name("figures" if out.name == "report.html" else f"{out.stem}-figures")


def contents(figure: Picture | Bitmap) -> Iterator[tuple[str, bytes]]:
    """The endings of a figure's files, and what is in them."""
    if isinstance(figure, Bitmap):
        yield ".png", decoded(figure.src)
        return
    yield ".svg", decoded(figure.light)
    if figure.png:
        yield ".png", figure.png
    if figure.data is not None:
        yield ".csv", figure.data.csv()


def decoded(uri: str) -> bytes:
    """What is in a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def found_in(context: Mapping[str, Any]) -> Iterator[Found]:
    """Every figure in what a template is given, in its order."""
    for key, value in context.items():
        section = SECTIONS.get(key, key)
        yield from _within(value, section, "", (section,))


def _within(value: Any, section: str, model: str, parts: tuple[str, ...]) -> Iterator[Found]:
    """The figures in a value; runs and groups, which hold pictures as they were trained, are no figures."""
    if isinstance(value, Picture | Bitmap):
        yield Found(value, section, model, (*parts, value.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _within(one, section, model, parts)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _within(one, section, model, parts)
    elif is_dataclass(value) and not isinstance(value, Group | Run | type):
        group = getattr(value, "group", None)
        if isinstance(group, Group):
            model, parts = group.label, (*parts, slug(group.label) or f"model-{group.index + 1}")
        for field in fields(value):
            yield from _within(getattr(value, field.name), section, model, parts)


def slug(*parts: str) -> str:
    """Parts as a name that every file system takes: small letters of ASCII, digits and hyphens.

    >>> slug("losses", "vae (latent 2)", "Générateur/../x")
    'losses-vae-latent-2-generateur-x'
    """
    plain = (unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode().lower() for part in parts)
    return "-".join(filter(None, (re.sub("[^a-z0-9]+", "-", part)[:LONGEST].strip("-") for part in plain)))
