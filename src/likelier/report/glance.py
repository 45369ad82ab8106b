"""The first screen beside the verdict: a few samples of every model under as many real images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likelier.report.grouping import Group
from likelier.report.pixels import Bitmap, bitmap, tiled
from likelier.report.reading import Pixels, Run

SHOWN = 8
_WIDE = 300
"""CSS pixels."""
_ROWS = 8
"""A picture of a run has so many rows of samples."""


@dataclass(frozen=True)
class Glimpse:
    """One row; of real images where there is no group. `why_not` says why there is no picture."""

    group: Group | None
    picture: Bitmap | None
    alt: str
    why_not: str


def glance(groups: Sequence[Group]) -> list[Glimpse]:
    """Real images, where a run has them, and each model below them."""
    real = next((run.figures["real"] for group in groups for run in group.runs if "real" in run.figures), None)
    found = [] if real is None else [_row(None, tiled(real, rows=1, columns=SHOWN), "Real training images")]
    return [*found, *(_of(group) for group in groups)]


def _of(group: Group) -> Glimpse:
    """The first samples on shared noise; of a run that is not measured, those of its last look."""
    measured = next((run for run in group.runs if "shared_noise_samples" in run.figures), None)
    if measured is not None:
        pixels = tiled(measured.figures["shared_noise_samples"], rows=1, columns=SHOWN)
        return _row(group, pixels, f"Samples of {group.label}, seed {measured.seed}")
    looked = next((run for run in group.runs if run.samples), None)
    if looked is None:
        return Glimpse(group, None, "", "No samples yet.")
    after = f"{looked.samples[-1].images:,}".replace(",", "\u202f")
    return _row(group, _first_row(looked), f"Samples of {group.label}, seed {looked.seed}, after {after} images")


def _first_row(run: Run) -> Pixels:
    """The first row of the last picture."""
    pixels = run.samples[-1].pixels
    return np.ascontiguousarray(pixels[: max(1, pixels.shape[0] // _ROWS)])


def _row(group: Group | None, pixels: Pixels, alt: str) -> Glimpse:
    """One row of pictures."""
    return Glimpse(group, bitmap(pixels, fit=_WIDE, name="" if group else "real", alt=alt), alt, "")
