"""Classes wanted against classes seen: of samples that were asked for by class, or of reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likelier.report.figures import Picture, confusion_matrix
from likelier.report.grouping import Group, why_missing
from likelier.report.reading import Array, Run
from likelier.report.table import number

_MOST = 100
"""Classes."""
_KINDS = {
    "asked": ("class asked for", "samples, each asked for by its class", "samples"),
    "rebuilt": ("class of the test image", "reconstructions of test images", "reconstructions"),
}


@dataclass(frozen=True)
class Confusion:
    """One family's table, or why there is none."""

    group: Group
    picture: Picture | None
    caption: str
    words: str
    why_not: str


def confusions(groups: Sequence[Group], names: Sequence[str]) -> list[Confusion]:
    """The section, a family after another."""
    return [_confusion(group, names) for group in groups]


def _confusion(group: Group, names: Sequence[str]) -> Confusion:
    """One family, by its first run that has one."""
    run = next((run for run in group.runs if _fits(run)), None)
    if run is None:
        return Confusion(group, None, "", "", why_missing(group, "confusion", "Classes wanted and seen"))
    counts = run.figures["confusion"]
    wanted, of_what, short = _KINDS[run.figures["confusion_kind"][0]]
    shown = [names[k] if k < len(names) else str(k) for k in range(len(counts))]
    words = f"Label agreement {_agreement(counts)} of {number(int(counts.sum()), 0)} {short}"
    real = run.figures.get("confusion_real")
    beside = "" if real is None or not _is_table(real) else f"; of real test images {_agreement(real)}"
    alt = f"{group.label}: {wanted} against the class seen, of {of_what}. {words}{beside}"
    picture = confusion_matrix(counts, shown, (wanted, "class seen (% of a row)"), group.index, alt)
    return Confusion(group, picture, f"{short}, seed {run.seed}", f"{words}{beside}.", "")


def _agreement(counts: Array) -> str:
    """The share on the diagonal."""
    return f"{number(100 * float(counts.trace()) / float(counts.sum()), 1)}%"


def _fits(run: Run) -> bool:
    """Whether the run has a square table of counts, of a kind that is known."""
    counts, kind = run.figures.get("confusion"), run.figures.get("confusion_kind")
    if counts is None or kind is None or kind[0] not in _KINDS:
        return False
    return _is_table(counts)


def _is_table(counts: Array) -> bool:
    """Whether it is square, and holds counts."""
    square = counts.shape[0] == counts.shape[1] <= _MOST
    return square and bool((counts >= 0).all()) and 0 < float(counts.sum(dtype=np.float64)) < 1e9
