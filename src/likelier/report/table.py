"""The table of measures: centres and intervals over seeds, the best marked, every gap with its reason."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from likelier.report.glossary import TERMS
from likelier.report.grouping import Group
from likelier.report.reading import Measure, Run
from likelier.verdict import COPIES_ALLOWED, FEW, summarise

SECTIONS: dict[str, tuple[str, ...]] = {
    "Samples against real images": (
        "frechet_distance",
        "frechet_distance_infinity",
        "kernel_distance",
        "precision",
        "recall",
        "density",
        "coverage",
        "class_histogram_kl",
        "missing_classes",
        "modes",
        "modes_kl",
    ),
    "Copying": ("copied_share", "authenticity", "data_copying_ct"),
    "Encoding and latent space": (
        "elbo",
        "kl",
        "mmd_to_prior",
        "reconstruction_mse",
        "reconstruction_psnr",
        "reconstruction_ssim",
        "linear_probe",
        "knn_accuracy",
        "silhouette",
        "silhouette_pca",
        "nmi",
        "nmi_pca",
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
    """The table of measures."""
    present = dict.fromkeys(key for group in groups for run in group.runs for key in run.measures)
    wanted = set(present) | {PARTNERS[key] for key in present if key in PARTNERS}
    known = {key for keys in SECTIONS.values() for key in keys}
    plan = {**SECTIONS, "Other measures": tuple(key for key in present if key not in known)}
    found = [
        Section(title, tuple(_measure_row(key, groups, footnotes) for key in keys if key in wanted))
        for title, keys in plan.items()
    ]
    return [section for section in found if section.rows]


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


NEVER_BEST = ("precision", "density", "elbo", "copied_share", "authenticity", "data_copying_ct")
"""No winner is marked: a blur scores highest in the first two, bounds under different observation models are densities
of different things, and measures of copying convict a model without ranking those that they acquit."""


def _measure_row(key: str, groups: Sequence[Group], footnotes: Footnotes) -> Row:
    """The row of one measure; the wording is that of the first run that has it."""
    first = next((run.measures[key] for group in groups for run in group.runs if key in run.measures), None)
    values = [[m.value for m in _counted(group, key) if m.value is not None] for group in groups]
    show = _shown_like([value for of_group in values for value in of_group])
    better = first.better if first and key not in NEVER_BEST else ""
    ranks = [_rank(group, key, better) for group in groups]
    best = _best(ranks, better)
    reads = [rank if rank is None or math.isinf(rank) else show(rank) for rank in ranks]
    # Not by digits that nobody sees: what reads like the best is marked with it, unless everything does.
    marked = None if best is None or len(set(reads) - {None}) < 2 else reads[ranks.index(best)]
    cells = tuple(
        _with_noise(over_seeds(of_group, len(group.runs), show, marked is not None and read == marked), group, key)
        if of_group
        else Cell("n/a", gap=footnotes.number(_why_not(group, key)))
        for group, of_group, read in zip(groups, values, reads, strict=True)
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
    if key == "copied_share":
        return f"up to {COPIES_ALLOWED:g} is allowed"
    words = {"lower": "lower is better", "higher": "higher is better"}.get(better, "")
    return f"{words}, given {PARTNERS[key]}" if words and key in ("precision", "density") else words


def _capital(text: str) -> str:
    """The first letter large, the others as they are: "KL" stays, and the k of "k-NN"."""
    return text if text[1:2] == "-" else text[:1].upper() + text[1:]


def _measures(group: Group, key: str) -> list[Measure]:
    """This measure of the group's runs, where it was taken."""
    return [run.measures[key] for run in group.runs if key in run.measures]


def _counted(group: Group, key: str) -> list[Measure]:
    """This measure of the runs that did not diverge: what a run scored before it broke is no figure of its recipe."""
    return [run.measures[key] for run in group.runs if key in run.measures and run.status != "diverged"]


def _with_noise(cell: Cell, group: Group, key: str) -> Cell:
    """The cell with half the 95% range that the measure itself has, where it was taken."""
    noises = [measure.noise / 2 for measure in _counted(group, key) if measure.noise is not None]
    if not noises:
        return cell
    middle = median(noises)
    return replace(cell, details=(*cell.details, f"noise ± {number(middle, decimals_for([middle]))}"))


def _shown_like(values: Sequence[float]) -> Callable[[float], str]:
    """The print of a row: equal decimals for all, and counts whole unless their centre is none."""
    decimals = decimals_for(values)
    counts = all(value == round(value) for value in values)
    return lambda value: number(value, 1 if counts and value != round(value) else decimals)


def over_seeds(values: Sequence[float], runs: int, show: Callable[[float], str], best: bool = False) -> Cell:
    """Centre and interval over seeds; a seed without a number is told, as the interval is of fewer than it seems."""
    found = summarise(values)
    low, high = show(found.low), show(found.high)
    details = [f"{low} to {high}"] if low != high else []
    details += [f"n = {len(values)} of {runs}"] if len(values) < runs else []
    return Cell(show(found.centre), tuple(details), best)


def in_words(groups: Sequence[Group]) -> str:
    """What a value and the figures under it are; nothing where each family has one seed."""
    most = max(len(group.runs) for group in groups)
    if most < 2:
        return ""
    if most < FEW:
        return "Median over seeds, their range beneath."
    return (
        "Interquartile mean over seeds, its 95% bootstrap interval beneath; median and range where fewer than five "
        "have a value."
    )


def _centre(values: Sequence[float]) -> float:
    """The centre of `summarise`, which takes infinite values too."""
    if len(values) < FEW:
        return median(values)
    from scipy.stats import trim_mean

    return values[0] if len(set(values)) == 1 else float(trim_mean(values, 0.25))


def _rank(group: Group, key: str, better: str) -> float | None:
    """The centre by which a family is ranked: a diverged run counts as the worst, or divergence would pay."""
    worst = math.inf if better == "lower" else -math.inf
    known = [m.value for m in _measures(group, key) if m.value is not None]
    if not known:
        return None
    finished = [run for run in group.runs if run.status != "diverged"]
    values = [run.measures[key].value for run in finished if key in run.measures]
    return _centre([*(v for v in values if v is not None), *[worst] * (len(group.runs) - len(finished))] or [worst])


def _best(ranks: Sequence[float | None], better: str) -> float | None:
    """The best centre; there is none of a single one, of equal ones, or of a measure without a direction."""
    known = [rank for rank in ranks if rank is not None]
    if len(set(known)) < 2 or better not in ("lower", "higher"):
        return None
    return min(known) if better == "lower" else max(known)


def _why_not(group: Group, key: str) -> str:
    """Why a family has no number here."""
    found = _measures(group, key)
    reasons = dict.fromkeys(measure.why_not for measure in found if measure.value is None)
    if reasons:
        return "; ".join(reasons)
    if found:
        return "every run that was measured diverged: what it scored before is in its measures.json"
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


def costs(groups: Sequence[Group], footnotes: Footnotes) -> list[Section]:
    """What the figures of the table cost."""
    rows = [
        _cost_row("Parameters", "parameters", groups, lambda run: run.parameters, _count, footnotes),
        _cost_row("Images seen", "images", groups, lambda run: run.images, _count, footnotes),
        _cost_row("Training time", "seconds", groups, lambda run: run.seconds, seconds, footnotes),
        _cost_row("Images a second", "images_a_second", groups, _images_a_second, _count, footnotes),
    ]
    devices = tuple(Cell(", ".join(dict.fromkeys(map(_device, group.runs)))) for group in groups)
    finished = tuple(_finished(group) for group in groups)
    rows += [Row("Device", "", "", "", devices, ()), Row("Runs finished", "", "", TERMS["finished"], finished, ())]
    return [Section("", tuple(rows))]


def _images_a_second(run: Run) -> float | None:
    """How fast it was trained, looks and measures apart."""
    return run.images / run.seconds if run.images and run.seconds else None


def _device(run: Run) -> str:
    """What it was trained on, with how many of its cores."""
    name, threads = run.environment.get("device_name"), run.environment.get("threads")
    if name is None:
        return "not recorded"
    cpu = run.environment.get("device") == "cpu" and isinstance(threads, int)
    return f"{name}, {threads} thread{'s' * (threads != 1)}" if cpu else str(name)


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
