"""Walks through latent spaces: traversals, manifolds, and interpolations, as they were decoded while measuring."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likelier.report.data import Data
from likelier.report.grouping import Group, why_missing
from likelier.report.pixels import Bitmap, bitmap, tiled
from likelier.report.reading import Array, Pixels, Run

_FULL = 912
"""CSS pixels that a manifold may be wide."""
_HALF = 528
"""Half of the page's column."""
_BESIDE = 408
"""The same, less the words beside a row."""
_MOST = 2**23
"""Bytes of one array."""
_MARK = 160
"""The grey of the bars that part the ends of a path from what lies between."""


@dataclass(frozen=True)
class Row:
    """One direction: what it is called, its weight, and the images along it."""

    name: str
    detail: str
    weight: float
    picture: Bitmap


@dataclass(frozen=True)
class Traversal:
    """One family's traversals, or why there are none."""

    group: Group
    caption: str
    start: tuple[str, Bitmap] | None
    rows: tuple[Row, ...]
    why_not: str


@dataclass(frozen=True)
class Manifold:
    """One family's plane of codes."""

    group: Group
    caption: str
    picture: Bitmap


@dataclass(frozen=True)
class Paths:
    """What lies between some pairs of codes: a picture for each pair, and how long the codes are halfway."""

    title: str
    pictures: tuple[Bitmap, ...]
    words: str


@dataclass(frozen=True)
class Interpolation:
    """One family's paths, or why there are none."""

    group: Group
    caption: str
    paths: tuple[Paths, ...]
    why_not: str


def traversals(groups: Sequence[Group]) -> list[Traversal]:
    """What changes along single directions, a family after another."""
    return [_traversal(group) for group in groups]


def manifolds(groups: Sequence[Group]) -> list[Manifold]:
    """The planes of the families whose codes have two dimensions; none if no family has."""
    return [_manifold(group) for group in groups if any(_has(run, "manifold") for run in group.runs)]


def interpolations(groups: Sequence[Group]) -> list[Interpolation]:
    """What lies between codes, a family after another."""
    return [_interpolation(group) for group in groups]


def _has(run: Run, *names: str) -> bool:
    """Whether the run's figures hold these arrays, no larger than they should be."""
    return all(name in run.figures and run.figures[name].nbytes <= _MOST for name in names)


def _traversal(group: Group) -> Traversal:
    """One family, by its first run that has them."""
    run = next((run for run in group.runs if _traversal_fits(run)), None)
    if run is None:
        return Traversal(group, "", None, (), why_missing(group, "traversals", "Traversals"))
    images, names = run.figures["traversal_images"], run.figures["traversal_units"].tolist()
    units = run.figures["traversal_kind"][0] == "units"
    scale = max(1.0, (2 * _BESIDE // (images.shape[1] * (images.shape[-1] + 1))) / 2)
    rows = tuple(
        _traversal_row(group, units, name, float(weight), row, scale)
        for name, weight, row in zip(names, run.figures["traversal_weight"], images, strict=True)
    )
    start = run.figures["traversal_start"]
    words = f"{'a test image, and what its code is decoded to' if len(start) > 1 else 'the draw'}, before the walk"
    data = Data(["direction", "variance" if units else "share"], [[row.name, row.weight] for row in rows])
    first = _scaled(start, scale, "", f"{group.label}: {words}", data)
    return Traversal(
        group,
        f"{_of_how_many(run, units)}, seed {run.seed}",
        ("image, rebuilt" if len(start) > 1 else "draw", first),
        rows,
        "",
    )


def _traversal_fits(run: Run) -> bool:
    """Whether the arrays of traversals are there, and belong together."""
    names = ("images", "start", "steps", "kind", "units", "weight")
    if not _has(run, *(f"traversal_{name}" for name in names)):
        return False
    images, start, steps, _, units, weight = (run.figures[f"traversal_{name}"] for name in names)
    return (
        len(images) == len(units) == len(weight)
        and images.shape[1] == len(steps)
        and images.shape[2:] == start.shape[1:]
        and bool(np.isfinite(weight).all())
    )


def _traversal_row(group: Group, units: bool, name: int, weight: float, images: Array, scale: float) -> Row:
    """The images along one direction."""
    called = f"unit {name + 1}" if units else f"direction {name + 1}"
    detail = f"variance {weight:.2g}" if units else f"{100 * weight:.1f}%"
    picture = _scaled(images, scale, called, f"{group.label}: {len(images)} images along {called}")
    return Row(called, detail, weight, picture)


def _scaled(images: Array, scale: float, name: str, alt: str, data: Data | None = None) -> Bitmap:
    """Images in a row, enlarged by `scale`."""
    pixels = tiled(images, rows=1, columns=len(images))
    return bitmap(pixels, fit=math.ceil(scale * pixels.shape[1]), name=name, alt=alt, data=data)


def _of_how_many(run: Run, units: bool) -> str:
    """How many directions there are, and of units how many are active."""
    shown = len(run.figures["traversal_units"])
    if not units:
        return f"the {shown} leading directions" if shown > 1 else "one direction"
    of = run.figures["codes"].shape[1] if "codes" in run.figures else shown
    active = run.measures["active_units"].value if "active_units" in run.measures else None
    counted = "" if active is None else f", {active:.0f} of which {'is' if active == 1 else 'are'} active"
    most = f"the {shown} with the most variance of {of} units" if shown < of else f"all {of} units"
    return f"{most if of > 1 else 'its one unit'}{counted if of > 1 else ''}"


def _manifold(group: Group) -> Manifold:
    """One family, by its first run that has one."""
    run = next(run for run in group.runs if _has(run, "manifold"))
    images = run.figures["manifold"]
    rows, columns = images.shape[:2]
    pixels = tiled(images.reshape(rows * columns, *images.shape[2:]), rows=rows, columns=columns)
    alt = f"The plane of codes of {group.label}, decoded at {rows} × {columns} points"
    return Manifold(group, f"{rows} × {columns} codes, seed {run.seed}", bitmap(pixels, fit=_FULL, alt=alt))


def _interpolation(group: Group) -> Interpolation:
    """One family, by its first run that has them."""
    run = next((run for run in group.runs if _paths_fit(run, "path_noise")), None)
    if run is None:
        return Interpolation(group, "", (), why_missing(group, "interpolations", "Interpolations"))
    found = [_paths(group, run, "path_noise", "Between draws from the prior", None)]
    if _paths_fit(run, "path_codes") and _ends_fit(run):
        between = "Between the codes of test images"
        found.insert(0, _paths(group, run, "path_codes", between, run.figures["path_codes_ends"]))
    return Interpolation(group, f"seed {run.seed}", tuple(found), "")


def _paths_fit(run: Run, name: str) -> bool:
    """Whether the paths are there, with lengths, and along one or two kinds of line."""
    if not _has(run, name, f"{name}_lengths", "path_free"):
        return False
    paths, lengths, free = run.figures[name], run.figures[f"{name}_lengths"], run.figures["path_free"]
    whole = paths.shape[:3] == lengths.shape and paths.shape[1] <= 2 and bool(free[0] > 0)
    return whole and bool(np.isfinite(lengths).all())


def _ends_fit(run: Run) -> bool:
    """Whether there are two images for each path between codes, of the same shape."""
    ends, paths = run.figures.get("path_codes_ends"), run.figures["path_codes"]
    return ends is not None and ends.shape == (len(paths), 2, *paths.shape[3:])


def _paths(group: Group, run: Run, name: str, title: str, ends: Array | None) -> Paths:
    """The paths of one sort, a picture for each pair."""
    paths, lengths = run.figures[name], run.figures[f"{name}_lengths"]
    rows = ": straight above, along the arc below" * (paths.shape[1] > 1)
    pictures = tuple(
        bitmap(
            _path(paths[i], None if ends is None else ends[i]),
            fit=_HALF,
            name=f"{'noise' if ends is None else 'codes'}-{i + 1}",
            alt=f"{group.label}, {title.lower()}, pair {i + 1}{rows}",
            data=_lengths(lengths[i]),
        )
        for i in range(len(paths))
    )
    return Paths(title, pictures, _halfway(lengths, int(run.figures["path_free"][0])))


def _lengths(lengths: Array) -> Data:
    """How long the codes of a pair's paths [kinds, stops] are."""
    columns = ["stop", "length of the code, straight", "length of the code, along the arc"]
    return Data(columns[: 1 + len(lengths)], [[stop, *each] for stop, each in enumerate(lengths.T)])


def _path(kinds: Array, ends: Array | None) -> Pixels:
    """A row for each kind of path [kinds, stops, c, h, w]; bars part what is given from what lies between."""
    n = len(kinds)
    if ends is None:
        parts = [kinds[:, :1], kinds[:, 1:-1], kinds[:, -1:]]
    else:
        parts = [ends[:1].repeat(n, axis=0)[:, None], kinds, ends[1:].repeat(n, axis=0)[:, None]]
    pictures = [_block(part) for part in parts if part.shape[1]]
    width = max(1, kinds.shape[-1] // 8)
    bar = np.full((pictures[0].shape[0], width, *pictures[0].shape[2:]), _MARK, np.uint8)
    joined = [piece for picture in pictures for piece in (picture, bar)]
    return np.concatenate(joined[:-1], axis=1)


def _block(images: Array) -> Pixels:
    """Images [rows, columns, c, h, w] as one picture."""
    rows, columns = images.shape[:2]
    return tiled(images.reshape(rows * columns, *images.shape[2:]), rows=rows, columns=columns)


def _halfway(lengths: Array, free: int) -> str:
    """How long codes are in the middle of a path, on average, beside what draws are."""
    if lengths.shape[1] == 1:
        return "Codes of one dimension have a line between them, and no arc."
    middle = lengths[:, :, lengths.shape[2] // 2].mean(axis=0)
    return (
        f"Halfway, a code is {middle[0]:.2g} long on the straight line, {middle[1]:.2g} on the arc; "
        f"a draw is about √{free} ≈ {math.sqrt(free):.2g} long."
    )
