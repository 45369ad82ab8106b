"""The table of measures: medians and ranges over seeds, the best marked, every gap with its reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from likelier.report.glossary import TERMS
from likelier.report.grouping import Group
from likelier.report.reading import Measure, Run

SECTIONS: dict[str, tuple[str, ...]] = {
    "Samples against real images": (
        "frechet_distance",
        "kernel_distance",
        "precision",
        "recall",
        "density",
        "coverage",
        "class_histogram_kl",
        "missing_classes",
    ),
    "Encoding and latent space": (
        "elbo",
        "kl",
        "reconstruction_mse",
        "linear_probe",
        "silhouette",
        "silhouette_pca",
        "active_units",
    ),
}
"""The measures in reading order. Precision stands over recall and density over coverage: neither is shown alone."""

PARTNERS = {"precision": "recall", "recall": "precision", "density": "coverage", "coverage": "density"}


@dataclass(frozen=True)
class Cell:
    """One value of the table; `gap` is the number of the footnote that says why there is none."""

    text: str
    details: tuple[str, ...] = ()
    best: bool = False
    gap: int | None = None


@dataclass(frozen=True)
class Row:
    """One measure across the families."""

    label: str
    unit: str
    direction: str
    meaning: str
    cells: tuple[Cell, ...]
    references: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """Rows under a heading of their own."""

    title: str
    rows: tuple[Row, ...]


@dataclass
class Footnotes:
    """Reasons, numbered in the order in which they are first needed."""

    reasons: list[str] = field(default_factory=list)

    def number(self, reason: str) -> int:
        """The number of the footnote with this text."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


def sections(groups: Sequence[Group], footnotes: Footnotes) -> list[Section]:
    """The table, costs last."""
    present = dict.fromkeys(key for group in groups for run in group.runs for key in run.measures)
    wanted = set(present) | {PARTNERS[key] for key in present if key in PARTNERS}
    known = {key for keys in SECTIONS.values() for key in keys}
    plan = {**SECTIONS, "Other measures": tuple(key for key in present if key not in known)}
    found = [
        Section(title, tuple(_measure_row(key, groups, footnotes) for key in keys if key in wanted))
        for title, keys in plan.items()
    ]
    return [*(section for section in found if section.rows), _costs(groups, footnotes)]


def number(value: float, decimals: int) -> str:
    """A number as it is set in print: thin spaces between thousands, a true minus.

    >>> number(-12345.678, 1)
    '−12\u202f345.7'
    """
    return f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "−")


def seconds(value: float) -> str:
    """A duration in the unit that reads best.

    >>> seconds(31.24), seconds(754), seconds(8000)
    ('31.2 s', '12 min 34 s', '2 h 13 min')
    """
    if value < 100:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


NEVER_BEST = ("precision", "density", "elbo")
"""No winner is marked: a blur scores highest in the first two, and bounds under different observation models are
densities of different things."""


def _measure_row(key: str, groups: Sequence[Group], footnotes: Footnotes) -> Row:
    """The row of one measure; the wording is that of the first run that has it."""
    first = next((run.measures[key] for group in groups for run in group.runs if key in run.measures), None)
    values = [[m.value for m in _measures(group, key) if m.value is not None] for group in groups]
    decimals = decimals_for([value for of_group in values for value in of_group])
    better = first.better if first and key not in NEVER_BEST else ""
    ranks = [_rank(group, key, better) for group in groups]
    best = _best(ranks, better)
    cells = tuple(
        over_seeds(of_group, len(group.runs), lambda value: number(value, decimals), rank is not None and rank == best)
        if of_group
        else Cell("n/a", gap=footnotes.number(_why_not(group, key)))
        for group, of_group, rank in zip(groups, values, ranks, strict=True)
    )
    return Row(
        label=_capital(first.label if first else key.replace("_", " ")),
        unit=first.unit if first else "",
        direction=_direction(key, first.better if first else ""),
        meaning=TERMS.get(key, ""),
        cells=cells,
        references=_references(groups, key),
    )


def _direction(key: str, better: str) -> str:
    """Which way is better, in words; blur alone raises precision, so it is better with its partner only."""
    words = {"lower": "lower is better", "higher": "higher is better"}.get(better, "")
    return f"{words}, given {PARTNERS[key]}" if words and key in ("precision", "density") else words


def _capital(text: str) -> str:
    """The first letter large, the others as they are: "KL" stays."""
    return text[:1].upper() + text[1:]


def _measures(group: Group, key: str) -> list[Measure]:
    """This measure of the group's runs, where it was taken."""
    return [run.measures[key] for run in group.runs if key in run.measures]


def over_seeds(values: Sequence[float], runs: int, show: Callable[[float], str], best: bool = False) -> Cell:
    """Median and range over seeds; a seed without a number is told, since the range is then of fewer than it seems."""
    low, high = show(min(values)), show(max(values))
    details = [f"{low} to {high}"] if low != high else []
    details += [f"n = {len(values)} of {runs}"] if len(values) < runs else []
    return Cell(show(median(values)), tuple(details), best)


def _rank(group: Group, key: str, better: str) -> float | None:
    """The median by which a family is ranked: a diverged run counts as the worst, or divergence would pay."""
    worst = math.inf if better == "lower" else -math.inf
    known = [m.value for m in _measures(group, key) if m.value is not None]
    if not known:
        return None
    finished = [run for run in group.runs if run.status != "diverged"]
    values = [run.measures[key].value for run in finished if key in run.measures]
    return median([*(v for v in values if v is not None), *[worst] * (len(group.runs) - len(finished))] or [worst])


def _best(ranks: Sequence[float | None], better: str) -> float | None:
    """The best median; there is none of a single one, of equal ones, or of a measure without a direction."""
    known = [rank for rank in ranks if rank is not None]
    if len(set(known)) < 2 or better not in ("lower", "higher"):
        return None
    return min(known) if better == "lower" else max(known)


def _why_not(group: Group, key: str) -> str:
    """Why a family has no number here."""
    reasons = dict.fromkeys(measure.why_not for measure in _measures(group, key))
    if reasons:
        return "; ".join(reasons)
    measured = any(run.measured for run in group.runs)
    return "this was not among the measures taken of the run" if measured else "not measured yet"


def decimals_for(values: Sequence[float]) -> int:
    """Decimals that give the value nearest to 0 three digits but the largest at most four; counts get none."""
    sizes = [abs(value) for value in values if value != 0]
    if not sizes or all(value == round(value) for value in values):
        return 0
    least, most = (math.floor(math.log10(size)) for size in (min(sizes), max(sizes)))
    return min(5, max(0, min(2 - least, 3 - most)))


def _references(groups: Sequence[Group], key: str) -> tuple[tuple[str, str], ...]:
    """What the runs hold this measure against; a range where it differs, as an untrained encoder does by family."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for measure in _measures(group, key):
            for name, value in measure.floor.items():
                found.setdefault(name, []).append(value)
    shown = []
    for name, values in found.items():
        places = decimals_for(values)
        low, high = number(min(values), places), number(max(values), places)
        shown.append((name, low if low == high else f"{low} to {high}"))
    return tuple(shown)


def _count(value: float) -> str:
    """A whole number."""
    return number(value, 0)


def _costs(groups: Sequence[Group], footnotes: Footnotes) -> Section:
    """What the numbers above cost."""
    rows = [
        _cost_row("Training time", "seconds", groups, lambda run: run.seconds, seconds, footnotes),
        _cost_row("Images seen", "images", groups, lambda run: run.images, _count, footnotes),
    ]
    if any(run.parameters is not None for group in groups for run in group.runs):
        rows.append(_cost_row("Parameters", "parameters", groups, lambda run: run.parameters, _count, footnotes))
    finished = tuple(_finished(group) for group in groups)
    return Section("Cost", (*rows, Row("Runs finished", "", "", TERMS["finished"], finished, ())))


def _cost_row(
    label: str,
    key: str,
    groups: Sequence[Group],
    get: Callable[[Run], float | None],
    show: Callable[[float], str],
    footnotes: Footnotes,
) -> Row:
    """A cost across families; one value where the seeds agree."""
    cells = []
    for group in groups:
        values = [value for run in group.runs if (value := get(run)) is not None]
        if not values:
            cells.append(Cell("n/a", gap=footnotes.number("not recorded in the run folder")))
        elif min(values) == max(values):
            cells.append(Cell(show(values[0])))
        else:
            cells.append(over_seeds(values, len(group.runs), show))
    return Row(label, "", "", TERMS[key], tuple(cells), ())


def _finished(group: Group) -> Cell:
    """How many of the runs ended as they should."""
    count = Counter(run.status for run in group.runs)
    others = tuple(f"{n} {status}" for status, n in count.items() if status != "finished")
    return Cell(f"{count['finished']} of {len(group.runs)}", others)
