"""The section "Quality and cost": the distance at the looks over images and over seconds, and what a model's costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import median
from typing import Any

import numpy as np

from likelier.report import figures
from likelier.report.figures import Course, Picture, Points
from likelier.report.grouping import Group
from likelier.report.reading import Run
from likelier.report.standing import listed
from likelier.report.table import decimals_for, number, seconds

Looks = Mapping[float, tuple[float, float]]
"""Seconds and distance at each look, by the images that had been seen; seconds are NaN where no clock was kept."""

FAR = 20
"""So many times the distance of real images is too far from it for both to be in one figure."""


@dataclass(frozen=True)
class Quality:
    """The section: its figures, what the distances in them are of, and who reached whose last distance when."""

    pictures: tuple[Picture, ...]
    conditions: str
    words: tuple[str, ...]
    why_not: str


@dataclass(frozen=True)
class Path:
    """A model's way: looks of every seed, and seconds and distance in the middle of them, by images seen."""

    group: Group
    seeds: tuple[Looks, ...]
    middle: Looks


def quality(groups: Sequence[Group]) -> Quality:
    """Both figures, and a sentence for each model."""
    paths = [path for group in groups if any((path := path_of(group)).seeds)]
    if not paths:
        return Quality((), "", (), "No look during training has a distance.")
    n, floor = next(
        ((run.looks.get("n"), run.looks.get("floor")) for g in groups for run in g.runs if run.looks), (None, None)
    )
    timed = [path for path in paths if all(isfinite(s) for looks in path.seeds for s, _ in looks.values())]
    least = min(fd for path in paths for looks in path.seeds for _, fd in looks.values())
    drawn = floor if floor is not None and least <= FAR * floor else None
    pictures = [_picture(paths, drawn, False)] + ([_picture(timed, drawn, True)] if timed else [])
    table = next((run.conditions.get("n") for g in groups for run in g.runs if run.conditions), None)
    return Quality(tuple(pictures), _conditions(n, floor, drawn is not None, table), tuple(reached(paths)), "")


def path_of(group: Group) -> Path:
    """The way of a model; a seed that diverged is as far as can be from then on, as it is in the verdict."""
    seeds = tuple(looks_of(run) for run in group.runs)
    lost = [
        max(looks, default=-1.0) if run.status == "diverged" else inf
        for run, looks in zip(group.runs, seeds, strict=True)
    ]
    middle: dict[float, tuple[float, float]] = {}
    for images in sorted({images for looks in seeds for images in looks}):
        known = [looks[images] for looks in seeds if images in looks]
        gone = sum(images > last for last in lost)
        if len(known) + gone == len(seeds):
            distance = median([*(fd for _, fd in known), *[inf] * gone])
            middle |= {images: (median(s for s, _ in known), distance)} if isfinite(distance) else {}
    return Path(group, seeds, middle)


def looks_of(run: Run) -> Looks:
    """The looks of a run that have a distance."""
    clock = sorted((line["images"], s) for line in run.timing if isfinite(s := line.get("seconds", nan)))
    images, at = np.array([(0.0, 0.0), *clock]).T
    return {
        line["images"]: (float(np.interp(line["images"], images, at)) if clock else nan, fd)
        for line in run.evaluations
        if isfinite(fd := line.get("fd", nan))
    }


def _picture(paths: Sequence[Path], floor: float | None, timed: bool) -> Picture:
    """The distance over seconds, or over images."""

    def points(looks: Looks) -> Points:
        return [s if timed else images for images, (s, _) in looks.items()], [fd for _, fd in looks.values()]

    courses = []
    for path in paths:
        group = path.group
        last = [looks for run, looks in zip(group.runs, path.seeds, strict=True) if run.status == "diverged" and looks]
        ends = [(xs[-1], ys[-1]) for xs, ys in map(points, last)]
        label = ", ".join([group.label, *group.troubles])
        curves = [points(looks) for looks in path.seeds]
        cross = ([x for x, _ in ends], [y for _, y in ends])
        courses.append(Course(label, group.index, group.seeds, curves, points(path.middle), cross))
    what = "seconds of training" if timed else "images seen"
    ways = [f"{c.label} from {c.middle[1][0]:.3g} to {c.middle[1][-1]:.3g}" for c in courses if c.middle[1]]
    alt = f"Fréchet distance at the looks over {what}: {'; '.join(ways)}"
    return figures.quality_curves(courses, what, floor, what.replace(" ", "-"), alt)


def _conditions(n: float | None, floor: float | None, drawn: bool, table: Any) -> str:
    """What the distances of the looks are of: those of the table are of another number, and are not these."""
    of = f"{number(n, 0)} samples" if n is not None else "a few thousand samples at most"
    if n is not None and n == table:
        fewer = "The table above has as many samples, but others of them, so its distances differ a little."
    else:
        other = f"of {number(table, 0)} samples" if isinstance(table, int) else "of more samples"
        fewer = (
            f"Fewer samples have a larger distance whatever the model: the table above is {other}, so hold these "
            "curves against one another and not against the table."
        )
    where = "dotted" if drawn else "far below these curves"
    real = "" if floor is None else f" As many held-out images have {_shown(floor)} ({where})."
    return (
        f"A look during training takes the distance of {of} from as many training images, with the same noise every "
        f"time.{real} {fewer}"
    )


def _shown(distance: float) -> str:
    """A distance with as many digits as mean something."""
    return number(distance, decimals_for([distance]))


def reached(paths: Sequence[Path]) -> list[str]:
    """For each model whose training has ended: at which distance, and who had reached that by when."""
    devices = {run.environment.get("device_name") for path in paths for run in path.group.runs}
    timed = len(devices) == 1 and all(isfinite(s) for path in paths for s, _ in path.middle.values())
    ended = [p for p in paths if p.middle and all(run.status != "unfinished" for run in p.group.runs)]
    ended = [p for p in ended if max(p.middle) == max(images for looks in p.seeds for images in looks)]
    return [_reached(path, [other for other in ended if other is not path], timed) for path in ended if len(ended) > 1]


def _reached(path: Path, others: Sequence[Path], timed: bool) -> str:
    """Who else reached the last distance of this model."""

    def when(images: float, found: tuple[float, float]) -> str:
        return seconds(found[0]) if timed else f"{number(images, 0)} images"

    (images, last), *_ = list(path.middle.items())[::-1]
    words, never = [], []
    for other in others:
        first = next(((at, found) for at, found in other.middle.items() if found[1] <= last[1]), None)
        if first is None:
            never.append(other.group.label)
        elif first[0] == 0:
            words.append(f"{other.group.label} was below that untrained")
        else:
            words.append(f"{other.group.label} had reached that by {when(*first)}")
    if never:
        words.append(f"{listed(never)} did not reach it")
    return f"{path.group.label} ended at {_shown(last[1])} after {when(images, last)}; {listed(words)}."
