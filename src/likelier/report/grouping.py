"""Which runs are seeds of one another, and which may stand on one page at all."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from likelier.errors import InputError
from likelier.report.reading import Run, clean

_CONDITIONS = ("data_digest", "extractor", "n", "reference", "quantisation", "neighbours")
"""The conditions that change what a number means. Runs may differ in the others, such as the extractors beside."""


@dataclass(frozen=True)
class Group:
    """The runs of one model, by seed: a column of the table, a colour of the figures."""

    label: str
    index: int
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [run.seed for run in self.runs]

    @property
    def troubles(self) -> list[str]:
        """What went wrong, in words that stand beside its name wherever that is shown."""
        count = Counter(run.trouble for run in self.runs if run.trouble)
        return [what if n == len(self.runs) else f"{n} of {len(self.runs)} {what}" for what, n in count.items()]


def group_runs(runs: Sequence[Run], models: Sequence[str] | None = None) -> list[Group]:
    """Group runs that differ in their seed only; families with several settings are told apart by them.

    A median over seeds of different settings would be a number of nothing, so settings are part of the group. If the
    model of each run is named, the names are the groups.
    """
    if models is not None:
        named: dict[str, list[Run]] = {}
        for run, name in zip(runs, models, strict=True):
            named.setdefault(clean(name), []).append(run)
        return [Group(name, index, in_order(members)) for index, (name, members) in enumerate(named.items())]
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault(_identity(run), []).append(run)
    groups = []
    for index, ((family, _), members) in enumerate(found.items()):
        siblings = [_told_apart_by(other[0]) for (name, _), other in found.items() if name == family]
        label = family + _difference(_told_apart_by(members[0]), siblings)
        groups.append(Group(label, index, in_order(members)))
    return groups


def in_order(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs by seed."""
    return tuple(sorted(runs, key=lambda run: run.seed))


def _identity(run: Run) -> tuple[str, str]:
    """What seeds of one another have in common: the family, its settings and the budget."""
    return run.family, json.dumps(_told_apart_by(run), sort_keys=True, default=str)


def _told_apart_by(run: Run) -> dict[str, Any]:
    """The settings, and the budget as it was asked for: minutes are as many images as each run's machine can do."""
    budget = {"images": run.budget} if run.minutes is None else {"minutes": run.minutes}
    return {**run.settings, **budget}


def _difference(settings: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]) -> str:
    """The settings that tell a group from its siblings of the same family; nothing if there are none."""
    keys = dict.fromkeys(key for sibling in siblings for key in sibling)
    differing = [key for key in keys if any(s.get(key) != siblings[0].get(key) for s in siblings)]
    shown = ", ".join(f"{key} {settings.get(key, 'unset')}" for key in differing)
    return f" ({shown})" if shown else ""


def absent(group: Group, what: str) -> str:
    """Why a figure made by measuring is not there."""
    if any(run.measured for run in group.runs):
        return f"{what} were not written when this run was measured."
    return f"{what} are made when a run is measured, and this one is not measured."


def why_missing(group: Group, figure: str, what: str) -> str:
    """Why a figure is not there: the reason that measuring wrote down for it, or else `absent`."""
    for run in group.runs:
        pairs = run.figures.get("figures_missing")
        known = dict(pairs.tolist()) if pairs is not None and pairs.shape[1] == 2 else {}
        if figure in known:
            return f"None: {known[figure]}."
    return absent(group, what)


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise InputError unless all runs saw the same data and were measured under the same conditions."""
    _check_twice(runs)
    for first, second in pairwise(runs):
        known = first.environment.get("data_digest") and second.environment.get("data_digest")
        if first.data != second.data and not known:
            raise _incomparable("data", first, first.data, second, second.data)
    _check_same("data_digest", {run: run.environment.get("data_digest") for run in runs})
    for condition in _CONDITIONS:
        _check_same(condition, {run: run.conditions.get(condition) for run in runs})
    for key in dict.fromkeys(key for run in runs for key in run.measures):
        with_value = [run for run in runs if key in run.measures and run.measures[key].value is not None]
        _check_same(key, {run: run.measures[key].name for run in with_value})


def _check_twice(runs: Sequence[Run]) -> None:
    """A run that counts twice would narrow the range over seeds."""
    seen: dict[tuple[tuple[str, str], int], Run] = {}
    for run in runs:
        twin = seen.setdefault((_identity(run), run.seed), run)
        if twin is not run:
            raise InputError(
                f"{twin.path} and {run.path} are both {run.family} with seed {run.seed} and the same settings: "
                "wanted each run once; leave one out"
            )


def _check_same(what: str, values: Mapping[Run, Any]) -> None:
    """One value for all runs that have one."""
    known = [(run, value) for run, value in values.items() if value is not None]
    for (first, a), (second, b) in pairwise(known):
        if a != b:
            raise _incomparable(what, first, a, second, b)


def _incomparable(what: str, first: Run, a: Any, second: Run, b: Any) -> InputError:
    """The error that names the two runs and what tells them apart."""
    step = "report on them apart" if what.startswith("data") else "measure both again under one condition"
    return InputError(
        f"{first.path} and {second.path} cannot be compared, {what} is {a!r} in the first and {b!r} in the second: "
        f"figures of different conditions mean different things; {step}"
    )
