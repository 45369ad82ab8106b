"""Measures as tables for other programs: CSV with every figure of every run, LaTeX with a column a model.

A table whose figures were taken under different conditions would compare what does not compare: it is refused.
`at_a_glance` is the short table that a terminal or a notebook shows.
"""

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likelier.errors import InputError
from likelier.verdict import FEW, Summary, short, summarise

Result = Mapping[str, Any]
"""What measures.json holds."""
Models = Mapping[str, Sequence[Result]]
"""By name, what was measured of each training seed."""

COLUMNS = ("model", "run", "key", "name", "value", "noise", "unit", "better", "why_not")
REAL = {"train–train": "real (train)", "train–test": "real (test)"}
"""What real images score: the floor of every measure of samples."""
FIGURES = {
    "frechet_distance": "FD",
    "kernel_distance": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_histogram_kl": "class KL",
    "modes": "modes",
    "modes_kl": "modes KL",
    "copied_share": "copies",
    "reconstruction_mse": "MSE",
    "elbo": "ELBO",
    "linear_probe": "probe",
}
NOT_ALONE = ("precision", "density", "elbo")
"""No arrow: a blur scores highest in the first two, and bounds under different observation models do not compare."""
MARK = "* "
"""Stands before the best figure of a row."""
BEST_IN_WORDS = "* reads best in its row: an observation, which a verdict has to confirm"
FLOORS = ("train–train", "train–test", "raw pixels", "untrained encoder")


def check_conditions(models: Models) -> None:
    """InputError where a measure has different names, hence conditions, in two of the results.

    >>> one, two = ({"measures": [{"key": "recall", "name": f"recall_n{n}", "value": 0.5}]} for n in (599, 600))
    >>> check_conditions({"a": [one], "b": [two]})
    Traceback (most recent call last):
    likelier.errors.InputError: recall is recall_n599 of a and recall_n600 of b: figures of different conditions ...
    """
    seen: dict[str, tuple[str, str]] = {}
    for model, results in models.items():
        for m in (m for result in results for m in result["measures"] if m["value"] is not None):
            other, name = seen.setdefault(m["key"], (model, m["name"]))
            if name != m["name"]:
                raise InputError(
                    f"{m['key']} is {name} of {other} and {m['name']} of {model}: figures of different conditions do "
                    "not compare; measure both under the same"
                )


def values_by_model(models: Models, key: str) -> dict[str, list[float]]:
    """The values of one measure, by model; those without one are left out."""

    def values(results: Sequence[Result]) -> list[float]:
        found = (m["value"] for result in results for m in result["measures"] if m["key"] == key)
        return [value for value in found if value is not None]

    return {model: values(results) for model, results in models.items()}


def first_of(models: Models) -> dict[str, Mapping[str, Any]]:
    """By key, the first record of each measure, with its label, direction and floors; one with a value if there is."""
    found: dict[str, Mapping[str, Any]] = {}
    for m in (m for results in models.values() for result in results for m in result["measures"]):
        if m["key"] not in found or (found[m["key"]]["value"] is None and m["value"] is not None):
            found[m["key"]] = m
    return found


@dataclass(frozen=True)
class Glance:
    """A short table: what it shows, its columns, its rows of cells, and which cells are the best of their row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]


def at_a_glance(models: Models, seconds: Mapping[str, Sequence[float]], unfit: Collection[str] = ()) -> Glance:
    """A row for each of the main measures, a column for each model, and what real images score.

    The best figure of a row has a mark: of several that differ to the eye, and none of `unfit` models, some run of
    which diverged; not in a row where the figure alone decides nothing.

    Args:
        models: what was measured of each training seed, by model.
        seconds: how long each run was trained, by model.
        unfit: models that cannot be the best.
    """
    rows: list[tuple[str, ...]] = []
    best = set()
    for key, m in ((key, m) for key, m in first_of(models).items() if key in FIGURES):
        values = values_by_model(models, key)
        cells = [centre_and_interval(each) for each in values.values()]
        better = m["better"] if key not in NOT_ALONE else ""
        ranked = better if key != "copied_share" else ""  # some are allowed, and so no win
        centres = {name: summarise(each).centre for name, each in values.items() if each and name not in unfit}
        marked = best_of(centres, ranked)
        for place, name in enumerate(values):
            if name in marked:
                best.add((len(rows), place + 1))
                cells[place] = MARK + cells[place]
        label = FIGURES[key] + {"lower": " ↓", "higher": " ↑"}.get(better, "")
        rows.append((label, *cells, *(figure((m["floor"] or {}).get(kind)) for kind in REAL)))
    if rows:
        rows.append(("sec", *(centre_and_interval(seconds.get(name, ())) for name in models), *("" for _ in REAL)))
    n = next((result["conditions"]["n"] for results in models.values() for result in results), 0)
    seeds = most_seeds(models)
    how = {1: ""}.get(seeds, ", interquartile mean, 95% interval" if seeds >= FEW else ", median, range")
    title = f"{n:,} samples each, {seeds} seed{'s' * (seeds > 1)}{how}"
    return Glance(title, ("", *models, *REAL.values()), tuple(rows), frozenset(best))


def best_of(centres: Mapping[str, float], better: str) -> set[str]:
    """The models whose figure reads like the best one; none if all read alike, or no direction is the better one.

    >>> best_of({"a": 1.0001, "b": 1.0, "c": 2.0}, "lower") == {"a", "b"}
    True
    """
    reads = {name: figure(value) for name, value in centres.items()}
    if better not in ("lower", "higher") or len(set(reads.values())) < 2:
        return set()
    first = (min if better == "lower" else max)(centres, key=lambda name: centres[name])
    return {name for name, read in reads.items() if read == reads[first]}


def centre_and_interval(values: Sequence[float]) -> str:
    """The centre over the seeds and, on a line of its own, the interval."""
    if not values:
        return "–"
    found = summarise(values)
    low, high = figure(found.low), figure(found.high)
    if low == high:
        return figure(found.centre)
    return f"{figure(found.centre)}\n{low}{' to ' if '-' in low + high else '–'}{high}"


def figure(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def as_csv(models: Models) -> str:
    """One line for each measure of each run, floors as columns; what has no value says why.

    Raises:
        InputError: the results were taken under different conditions.
    """
    check_conditions(models)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *FLOORS])
    for model, results in models.items():
        for run, result in enumerate(results):
            for m in result["measures"]:
                row = {**m, "model": model, "run": run}
                cells = [row.get(column) for column in COLUMNS] + [(m["floor"] or {}).get(kind) for kind in FLOORS]
                writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def as_latex(models: Models) -> str:
    r"""A tabular (booktabs) with a row a measure and a column a model, centre and interval over the seeds.

    Raises:
        InputError: the results were taken under different conditions.
    """
    check_conditions(models)
    records = first_of(models)
    floors = [kind for kind in FLOORS[:2] if any(kind in (m["floor"] or {}) for m in records.values())]
    head = ["", *models, *(f"real ({kind})" for kind in floors)]
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        row_of(list(map(escape, head))),
        r"\midrule",
    ]
    for key, m in records.items():
        by_model = values_by_model(models, key)
        arrow = {"lower": r" $\downarrow$", "higher": r" $\uparrow$"}.get(m["better"], "")
        cells = [escape(m["label"]) + arrow, *(cell(values) for values in by_model.values())]
        cells += [number((m["floor"] or {}).get(kind)) for kind in floors]
        lines.append(row_of(cells))
    conditions = next((m["name"] for m in records.values()), "")
    note = "interquartile mean and 95\\% bootstrap interval" if most_seeds(models) >= FEW else "median and range"
    lines += [r"\bottomrule", r"\end{tabular}", f"% {note} over the seeds; conditions as in {conditions}"]
    return "\n".join(lines) + "\n"


def most_seeds(models: Models) -> int:
    """The largest number of runs of a model."""
    return max((len(results) for results in models.values()), default=0)


def row_of(cells: Sequence[str]) -> str:
    """One line of a tabular."""
    return " & ".join(cells) + r" \\"


def cell(values: Sequence[float]) -> str:
    """Centre and interval in LaTeX; one value alone has none."""
    if not values:
        return "n/a"
    found = summarise(values)
    interval = "" if found.low == found.high else rf" {{\scriptsize {between(found)}}}"
    return number(found.centre) + interval


def between(found: Summary) -> str:
    """An interval."""
    return f"[{number(found.low)}, {number(found.high)}]"


def number(value: float | None) -> str:
    """A number in LaTeX's math mode, so that a minus is one."""
    if value is None or not math.isfinite(value):
        return ""
    return f"${short(value)}$" if value < 0 else short(value)


def escape(text: str) -> str:
    r"""Text whose characters LaTeX would take for commands, as text.

    >>> escape("vae_gan 100%")
    'vae\\_gan 100\\%'
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\to$"}
    special |= {"∞": r"$\infty$", "²": "$^2$", "‖": r"$\|$", "–": "--"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(special.get(c, c) for c in text)
