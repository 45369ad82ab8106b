"""Who stands where: the groups of runs as contenders, and the verdict on every pair of them, or why there is none."""

from collections.abc import Sequence

from likelier.report.grouping import Group
from likelier.report.reading import Run
from likelier.verdict import PRIMARY, Contender, Trial, Verdict, contender, judge


def verdicts(groups: Sequence[Group]) -> list[Verdict]:
    """The verdict on every pair; none as long as a run is unmeasured or unfinished, or budgets differ."""
    return judge([contender_of(group) for group in groups]) if why_none(groups) is None else []


def why_none(groups: Sequence[Group]) -> str | None:
    """Why nothing may be said of these groups, in one sentence; None if they may be judged."""
    if len(groups) < 2:
        return "One family stands alone here: these figures describe it, and there is nothing to compare it with."
    budgets = {run.budget if run.minutes is None else run.minutes for group in groups for run in group.runs}
    if len(budgets) > 1:
        return "No verdict: the budgets differ, and a model that saw more images had an advantage."
    waiting = [
        f"{group.label}, seed{'s' * (len(seeds) > 1)} {listed([str(s) for s in seeds])}, {state}"
        for group in groups
        for state, seeds in states(group).items()
    ]
    return f"No verdict until every run has ended and is measured: {'; '.join(waiting)}." if waiting else None


def states(group: Group) -> dict[str, list[int]]:
    """The seeds that a verdict has to wait for, by what they lack."""
    found: dict[str, list[int]] = {}
    for run in group.runs:
        if not ready(run):
            found.setdefault("unfinished" if run.status == "unfinished" else "not measured", []).append(run.seed)
    return found


def ready(run: Run) -> bool:
    """Whether there is all of the run that a verdict wants: its end, and its measures unless it diverged."""
    return run.status == "diverged" or (run.status == "finished" and run.measured)


def contender_of(group: Group) -> Contender:
    """One group of runs, one trial a seed."""
    return contender(group.label, [trial_of(run) for run in group.runs])


def trial_of(run: Run) -> Trial:
    """One run in the figures that a verdict rests on."""
    primary = run.measures.get(PRIMARY)
    return Trial(
        finished=run.status == "finished",
        values={key: m.value for key, m in run.measures.items() if m.value is not None},
        noise=None if primary is None else primary.noise,
        elsewhere={} if primary is None else primary.elsewhere,
    )


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Which seeds, without counting up to the last of many.

    >>> seeds_in_words([3]), seeds_in_words([0, 1, 3]), seeds_in_words([0, 1, 2, 3, 4])
    ('seed 3', 'seeds 0, 1 and 3', 'seeds 0 to 4')
    """
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"


def listed(items: Sequence[str]) -> str:
    """A list as it is read aloud.

    >>> listed(["vae", "gan", "dcgan"])
    'vae, gan and dcgan'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
