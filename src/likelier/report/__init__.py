"""Runs in, one self-contained HTML file out: the table of measures, the pictures, the curves and how to get them again.

The report reads what is written in the run folders and nothing else: no model is loaded, and nothing is computed again.
How steadily a training went is read off its log.
"""

from collections.abc import Sequence
from pathlib import Path

from likelier.claims import Judged
from likelier.errors import InputError
from likelier.files import write_atomically
from likelier.report.claims import judged_of
from likelier.report.folder import check_folder, replacing
from likelier.report.grouping import check_comparable, group_runs
from likelier.report.reading import clean, read_run
from likelier.report.standing import contender_of, verdicts, why_none
from likelier.verdict import Contender, Verdict

__all__ = ["claims_on", "standings_on", "write_report"]


def standings_on(runs: Sequence[Path], models: Sequence[str] | None = None) -> tuple[list[Contender], list[Verdict]]:
    """Each model by its figures, and what may be said of every pair; both empty as long as none may be judged.

    `models` and errors as in `write_report`.
    """
    read = [read_run(path) for path in runs]
    check_comparable(read)
    groups = group_runs(read, models)
    return ([], []) if why_none(groups) else (list(map(contender_of, groups)), verdicts(groups))


def claims_on(runs: Sequence[Path], models: Sequence[str] | None = None) -> list[Judged]:
    """The claims of the lab report, judged of these runs; `models` and errors as in `write_report`."""
    read = [read_run(path) for path in runs]
    check_comparable(read)
    return judged_of(group_runs(read, models))


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    title: str,
    command: str,
    declared: bool = False,
    models: Sequence[str] | None = None,
) -> Path:
    """Write the report on `runs` (run folders) to the file `out`, whole or not at all, and return `out`.

    Beside it stands a folder with every figure as a file, and its data as CSV: `figures`, or `NAME-figures` of a report
    that is called NAME.html. It is replaced with the report; files in it that are not the report's stay.
    `command` is the command line that reproduces the comparison; it is printed on the page, not run. `declared` says
    that the pairs were declared before training, as `likelier compare` does: only then do verdicts confirm anything.
    `models` names the model that each run is a seed of; without it those of one family with equal settings are seeds
    of one another.
    Raises InputError if there is no run, if a folder is no run, or if the runs cannot be compared.
    """
    # matplotlib and torch with them: whoever only trains need not wait for that
    from likelier.report.beside import folder_of
    from likelier.report.page import render

    if not runs:
        raise InputError("there are no runs to report on: wanted at least one run folder; `likelier train` writes one")
    if out.is_dir():
        raise InputError(f"{out} is a folder: wanted the name of a file; try {out / 'report.html'}")
    read = [read_run(path) for path in runs]
    check_comparable(read)
    folder = folder_of(out)
    check_folder(folder)
    page = render(
        group_runs(read, models),
        title=clean(title),
        command=clean(command),
        declared=declared,
        folder=clean(folder.name),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder, page.files):
        write_atomically(out, page.html.encode())
    return out
