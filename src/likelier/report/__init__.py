"""Runs in, one self-contained HTML file out: the table of measures, the pictures, the curves and how to get them again.

The report reads what is written in the run folders and nothing else: no model is loaded, and nothing is computed again.
How steadily a training went is read off its log.
"""

from collections.abc import Sequence
from pathlib import Path

from likelier.errors import InputError
from likelier.files import write_atomically
from likelier.report.grouping import check_comparable, group_runs
from likelier.report.reading import clean, read_run
from likelier.report.standing import verdicts
from likelier.verdict import Verdict

__all__ = ["verdicts_on", "write_report"]


def verdicts_on(runs: Sequence[Path]) -> list[Verdict]:
    """What may be said of every pair of families among these run folders; errors as `write_report`."""
    read = [read_run(path) for path in runs]
    check_comparable(read)
    return verdicts(group_runs(read))


def write_report(runs: Sequence[Path], out: Path, *, title: str, command: str, declared: bool = False) -> Path:
    """Write the report on `runs` (run folders) to the file `out`, whole or not at all, and return `out`.

    `command` is the command line that reproduces the comparison; it is printed on the page, not run. `declared` says
    that the pairs were declared before training, as `likelier compare` does: only then do verdicts confirm anything.
    Raises InputError if there is no run, if a folder is no run, or if the runs cannot be compared.
    """
    from likelier.report.page import render  # matplotlib and torch with it: whoever only trains need not wait for that

    if not runs:
        raise InputError("there are no runs to report on: wanted at least one run folder; `likelier train` writes one")
    if out.is_dir():
        raise InputError(f"{out} is a folder: wanted the name of a file; try {out / 'report.html'}")
    read = [read_run(path) for path in runs]
    check_comparable(read)
    html = render(group_runs(read), title=clean(title), command=clean(command), declared=declared)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, html.encode())
    return out
