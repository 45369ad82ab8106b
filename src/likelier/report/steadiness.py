"""How steadily the trainings went: a table of players, a table of families, and both in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from likelier.report.grouping import Group
from likelier.report.reading import Run
from likelier.report.table import Cell, Footnotes, decimals_for, number, over_seeds
from likelier.stability import stability_in_words, training_stability

Stability = Mapping[str, Any]
Show = Callable[[float], str]


@dataclass(frozen=True)
class Column:
    """A measure: its heading, the small print under it, and the name of its term in the glossary."""

    title: str
    detail: str
    term: str


PLAYERS = (
    Column("Rising", "share of steps", "rising_fraction"),
    Column("Spikes", "points", "spikes"),
    Column("Gradient norm", "median", "grad_norm_median"),
    Column("Gradient peak", "times the median", "grad_norm_peak"),
)
FAMILIES = (
    Column("Pairwise accuracy", "last 5 evaluations", "d_pairwise"),
    Column("Train–held-out gap", "last evaluation", "d_gap"),
    Column("FD at the end", "last 5, mean ± sd", "fd_mean"),
    Column("Best below last", "share of the last", "fd_best_minus_last_relative"),
)


@dataclass(frozen=True)
class Line:
    """One row: a player of a family, or a family as a whole where `player` is empty."""

    group: Group
    player: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a caption."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Steadiness:
    """The section: tables with at least one number, and per run what was found in words."""

    tables: tuple[Table, ...]
    footnotes: tuple[str, ...]
    words: tuple[tuple[Group, Run, str], ...]


def steadiness(groups: Sequence[Group]) -> Steadiness:
    """Measure every run by its log, and set the figures of its seeds side by side."""
    measured = [
        (group, [training_stability([*run.training, *run.evaluations]) for run in group.runs]) for group in groups
    ]
    footnotes = Footnotes()
    players = tuple(line for group, found in measured for line in _player_lines(group, found, footnotes))
    tables = [Table("Players", PLAYERS, players)] if players else []
    columns = tuple(c for c in FAMILIES if any(one[c.term] is not None for _, found in measured for one in found))
    if columns:
        lines = tuple(_family_line(group, found, measured, columns, footnotes) for group, found in measured)
        tables.append(Table("Discriminator and samples", columns, lines))
    words = [
        (group, run, text)
        for group, found in measured
        for run, one in zip(group.runs, found, strict=True)
        for text in stability_in_words(one)
    ]
    return Steadiness(tuple(tables), tuple(footnotes.reasons), tuple(words))


def _player_lines(group: Group, found: Sequence[Stability], footnotes: Footnotes) -> list[Line]:
    """A row for each player that any seed logged."""
    names = dict.fromkeys(name for one in found for name in one["players"])
    lines = []
    for name in names:
        # Gradients of different players have different scales, so each row has its own decimals.
        players = [one["players"][name] for one in found if name in one["players"]]
        norms = [player["grad_norm_median"] for player in players if player["grad_norm_median"] is not None]
        show = {
            "rising_fraction": _percent,
            "spikes": lambda value: number(value, 0),
            "grad_norm_median": _with(decimals_for(norms)),
            "grad_norm_peak": _with(1),
        }
        cells = tuple(_cell(players, len(group.runs), c.term, show[c.term], footnotes) for c in PLAYERS)
        lines.append(Line(group, name, cells))
    return lines


def _family_line(
    group: Group,
    found: Sequence[Stability],
    measured: Sequence[tuple[Group, Sequence[Stability]]],
    columns: Sequence[Column],
    footnotes: Footnotes,
) -> Line:
    """The row of a family as a whole; distances of all families have the same decimals."""
    distances = [one["fd_mean"] for _, every in measured for one in every if one["fd_mean"] is not None]
    show = {
        "d_pairwise": _with(3),
        "d_gap": _with(3),
        "fd_mean": _with(decimals_for(distances)),
        "fd_best_minus_last_relative": _percent,
    }
    cells = [_cell(found, len(group.runs), c.term, show[c.term], footnotes) for c in columns]
    spreads = [one["fd_sd"] for one in found if one["fd_sd"] is not None]
    for i, column in enumerate(columns):
        if column.term == "fd_mean" and spreads:
            text = f"{cells[i].text} ± {show['fd_mean'](median(spreads))}"
            cells[i] = Cell(text, cells[i].details)
    return Line(group, "", tuple(cells))


def _cell(found: Sequence[Stability], runs: int, key: str, show: Show, footnotes: Footnotes) -> Cell:
    """Centre and interval over the seeds that have the figure, or why none has."""
    values = [one[key] for one in found if one[key] is not None]
    if values:
        return over_seeds(values, runs, show)
    reasons = dict.fromkeys(one["why_not"][key] for one in found)
    return Cell("n/a", gap=footnotes.number("; ".join(reasons)))


def _percent(share: float) -> str:
    """A share in hundredths."""
    return f"{number(100 * share, 1)}%"


def _with(decimals: int) -> Show:
    """Numbers with that many decimals."""
    return lambda value: number(value, decimals)
