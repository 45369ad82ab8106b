"""The section "Copies?": the samples that lie nearest to training images, those images, and the share that convicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from likelier.report.grouping import Group, absent
from likelier.report.pixels import Bitmap, bitmap, tiled
from likelier.report.reading import Array, Run
from likelier.report.table import number
from likelier.verdict import COPIES_ALLOWED

KEY = "copied_share"
BLOCK = 8
"""Pairs in one picture: two of them stand side by side on a wide page, and one under the other on a phone."""
_WIDE = 532
"""CSS pixels: half the width of the page's column."""


@dataclass(frozen=True)
class Block:
    """A row of samples above a row of training images, as one picture."""

    picture: Bitmap
    alt: str


@dataclass(frozen=True)
class Copies:
    """One family: its pairs, nearest first, or why there are none; and its share of copies beside what is allowed."""

    group: Group
    blocks: tuple[Block, ...]
    caption: str
    figures: tuple[tuple[str, str], ...]
    convicted: bool
    why_not: str


def copies(groups: Sequence[Group]) -> list[Copies]:
    """The section, a family after another."""
    return [_copies(group) for group in groups]


def _copies(group: Group) -> Copies:
    """One family, by the run that copies most: a copy that one seed hides is a copy all the same."""
    shares = [share for run in group.runs if run.status != "diverged" and (share := _share(run)) is not None]
    convicted = bool(shares) and median(shares) > COPIES_ALLOWED
    figures = _figures(group, shares) if shares else _unknown(group)
    shown = [run for run in group.runs if _fits(run)]
    if not shown:
        why_not = absent(group, "Pairs of samples and training images")
        return Copies(group, (), "", figures, convicted, why_not)
    run = max(shown, key=lambda run: _share(run) or 0)
    most = bool(shares) and min(shares) < max(shares) == _share(run)
    caption = f"seed {run.seed}{', which has the most copies' if most else ''}"
    return Copies(group, _blocks(group, run), caption, figures, convicted, "")


def _share(run: Run) -> float | None:
    """The share of copies, where it was taken."""
    return run.measures[KEY].value if KEY in run.measures else None


def _figures(group: Group, shares: Sequence[float]) -> tuple[tuple[str, str], ...]:
    """The share that decides, what is allowed, and what images have that no training saw."""
    low, high = _percent(min(shares)), _percent(max(shares))
    over = f" (median; {low} to {high})" if low != high else ""
    found = [("share of copies", f"{_percent(median(shares))}{over}"), ("allowed", f"{COPIES_ALLOWED:.0%}")]
    floors = [run.measures[KEY].floor.get("train–test") for run in group.runs if KEY in run.measures]
    known = [floor for floor in floors if floor is not None]
    return (*found, ("held-out images have", _percent(known[0]))) if known else tuple(found)


def _unknown(group: Group) -> tuple[tuple[str, str], ...]:
    """Why there is no share: nothing is said of a family that was not measured, since its pictures say so."""
    found = [run.measures[KEY] for run in group.runs if KEY in run.measures]
    reasons = dict.fromkeys(m.why_not if m.value is None else "every run that was measured diverged" for m in found)
    return (("share of copies", f"n/a, {'; '.join(reasons)}"),) if reasons else ()


def _percent(share: float) -> str:
    """A share in hundredths."""
    return f"{number(100 * share, 1)}%"


def _fits(run: Run) -> bool:
    """Whether the run has as many samples as training images beside them, of one shape."""
    samples, training = run.figures.get("nearest_samples"), run.figures.get("nearest_training")
    return samples is not None and training is not None and samples.shape == training.shape


def _blocks(group: Group, run: Run) -> tuple[Block, ...]:
    """The pairs in pictures of two rows."""
    samples, training = run.figures["nearest_samples"], run.figures["nearest_training"]
    return tuple(
        _block(group, run, samples[first : first + BLOCK], training[first : first + BLOCK], first)
        for first in range(0, len(samples), BLOCK)
    )


def _block(group: Group, run: Run, samples: Array, training: Array, first: int) -> Block:
    """One picture: samples above, training images below."""
    columns = len(samples)
    pixels = tiled(np.concatenate([samples, training]), rows=2, columns=columns)
    alt = (
        f"Pairs {first + 1} to {first + columns}: samples of {group.label}, seed {run.seed}, and below each the "
        "training image that is nearest to it"
    )
    return Block(bitmap(pixels, fit=_WIDE * columns // BLOCK, name=f"pairs-{first + 1}", alt=alt), alt)
