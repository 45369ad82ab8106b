"""The first samples of a run beside the training images nearest to each: in features, and in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likelier.report.data import Data
from likelier.report.grouping import Group, why_missing
from likelier.report.pixels import Bitmap, bitmap, tiled
from likelier.report.reading import Array, Run

_NAMES = ("neighbour_samples", "neighbour_features", "neighbour_pixels")
_WIDE = 432
"""CSS pixels: half of the page's column, less the words beside the pictures."""
_MOST = 2**22
"""Bytes of one array."""


@dataclass(frozen=True)
class Neighbours:
    """One family: samples, and under each its neighbours in both senses, or why there are none."""

    group: Group
    rows: tuple[tuple[str, Bitmap], ...]
    caption: str
    words: str
    why_not: str


def neighbours(groups: Sequence[Group]) -> list[Neighbours]:
    """The section, a family after another."""
    return [_neighbours(group) for group in groups]


def _neighbours(group: Group) -> Neighbours:
    """One family, by its first run that has them."""
    run = next((run for run in group.runs if _fits(run)), None)
    if run is None:
        return Neighbours(group, (), "", "", why_missing(group, "neighbours", "Neighbours of samples"))
    samples, features, pixels = (run.figures[name] for name in _NAMES)
    rows = (
        ("sample", _row(samples[:, None], "", f"The first {len(samples)} samples of {group.label}, seed {run.seed}")),
        ("in features", _row(features, "features", _nearest(features, "features"), _indices(run, "features"))),
        ("in pixels", _row(pixels, "pixels", _nearest(pixels, "pixels"), _indices(run, "pixels"))),
    )
    return Neighbours(group, rows, f"seed {run.seed}", _agreement(run), "")


def _nearest(images: Array, sense: str) -> str:
    """What a picture of neighbours shows."""
    return f"The {images.shape[1]} training images nearest to each in {sense}"


def _indices(run: Run, sense: str) -> Data | None:
    """Which training images they are, where that is known of each."""
    shape, found = run.figures[f"neighbour_{sense}"].shape[:2], run.figures.get(f"neighbour_{sense}_index")
    if found is None or found.shape != shape:
        return None
    rows = [[i, j, found[i, j]] for i in range(shape[0]) for j in range(shape[1])]
    return Data(["sample", "neighbour, nearest first", "index of the training image"], rows)


def _row(images: Array, name: str, alt: str, data: Data | None = None) -> Bitmap:
    """Images [s, k, c, h, w] as one picture, a column for each sample."""
    s, k = images.shape[:2]
    columns = images.swapaxes(0, 1).reshape(s * k, *images.shape[2:])
    return bitmap(tiled(columns, rows=k, columns=s), fit=_WIDE, name=name, alt=alt, data=data)


def _agreement(run: Run) -> str:
    """How often the two senses of nearness name the same image first."""
    features, pixels = (run.figures.get(f"{name}_index") for name in _NAMES[1:])
    n = len(run.figures[_NAMES[0]])
    if features is None or pixels is None or not len(features) == len(pixels) == n:
        return ""
    same = int(np.equal(features[:, 0], pixels[:, 0]).sum())
    return f"The nearest in features is the nearest in pixels, too, for {same} of {n}."


def _fits(run: Run) -> bool:
    """Whether the arrays are there, belong together, and are no larger than they should be."""
    if not all(name in run.figures and run.figures[name].nbytes <= _MOST for name in _NAMES):
        return False
    samples, *others = (run.figures[name] for name in _NAMES)
    return all(len(samples) == len(other) and samples.shape[1:] == other.shape[2:] for other in others)
