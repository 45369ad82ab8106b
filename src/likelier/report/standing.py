"""Who stands where: the groups of runs as contenders, and the verdict on every pair of them."""

from collections.abc import Sequence

from likelier.report.grouping import Group
from likelier.report.reading import Run
from likelier.verdict import PRIMARY, Contender, Trial, Verdict, contender, judge


def verdicts(groups: Sequence[Group]) -> list[Verdict]:
    """The verdict on every pair; none as long as a run is unmeasured or unfinished, or budgets differ."""
    runs = [run for group in groups for run in group.runs]
    budgets = {run.budget if run.minutes is None else run.minutes for run in runs}
    if len(groups) < 2 or len(budgets) > 1 or not all(ready(run) for run in runs):
        return []
    return judge([contender_of(group) for group in groups])


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
