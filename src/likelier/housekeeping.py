"""The runs in a folder: how each stands, what it takes of the disk, and which of them may go."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likelier.errors import InputError
from likelier.files import read_json, sync_folder
from likelier.measuring import read_measures
from likelier.run import Run
from likelier.verdict import PRIMARY

Standing = Literal["running", "finished", "diverged", "unfinished", "failed", "unreadable"]
ENDED = ("finished", "diverged")
DEEPEST = 4
"""Folders below the one that is listed: runs/COMPARISON/runs/RUN, with one to spare."""
FILES = (
    "config.json",
    "environment.json",
    "drift.json",
    "failed.json",
    "metrics.jsonl",
    "timing.jsonl",
    "done",
    "measures.json",
    "figures.npz",
)
OWN = frozenset(
    (*FILES, "samples", "reconstructions", "likelihood.json", ".lock", "compare.json", "report.html", "runs")
)
"""What likelier writes into the folder of a run, or of a comparison; `state*` and `likelihood*` besides."""
GONE = ".removed-by-likelier"
"""The end of a folder's name while it is removed: a removal that was killed leaves no half of a run."""


@dataclass(frozen=True)
class Listed:
    """One run, as a list shows it."""

    path: Path
    standing: Standing
    family: str = "–"
    data: str = "–"
    seed: int | None = None
    images: int = 0
    """Seen so far."""
    budget: int | None = None
    bytes: int = 0
    distance: float | None = None
    """The Fréchet distance: the measured one; of a run that was not measured, the last of its log."""
    measured: bool = False
    changed: float = 0.0
    """When it was last written to, in seconds since 1970."""
    comparison: Path | None = None
    """The comparison that it is part of."""
    reason: str = ""
    """Why it is unreadable."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.standing in ENDED


def listed_in(folder: Path) -> list[Listed]:
    """The runs in a folder and in the comparisons there, or the one run that the folder is, by path.

    Raises:
        InputError: it is not there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not there: wanted a folder with runs, as `likelier train --out` makes them")
    return [listed(path) for path in sorted(folders_of_runs(folder))]


def folders_of_runs(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Those that hold a config.json; links are not followed, nor names that begin with a dot."""
    if (folder / "config.json").is_file():
        yield folder
    elif depth:
        try:
            inner = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except PermissionError:
            return
        for each in inner:
            if not each.name.startswith("."):
                yield from folders_of_runs(each, depth - 1)


def listed(path: Path) -> Listed:
    """One run; a folder that holds something else under a run's names is unreadable, and says why."""
    size, changed = size_of(path), path.stat().st_mtime
    try:
        run = Run.open(path)
        config, done, log = run.config, run.done, run.metrics()
        standing: Any = done["status"] if done else standing_of(run)
        if standing not in (*ENDED, "running", "unfinished", "failed"):
            raise InputError(f"{path / 'done'} has status = {standing!r}: wanted {' or '.join(ENDED)}")
        distance, measured = distance_of(path, log)
        return Listed(
            path,
            standing,
            family=config["family"],
            data=Path(config["data"]).name,
            seed=config["seed"],
            images=seen_in(log),
            budget=config["images"],
            bytes=size,
            distance=distance,
            measured=measured,
            changed=max(
                (p.stat().st_mtime for p in (path / "metrics.jsonl", path / "done") if p.exists()), default=changed
            ),
            comparison=comparison_of(path),
        )
    except (InputError, OSError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{error.filename}: {error.strerror}"
        return Listed(path, "unreadable", bytes=size, changed=changed, reason=reason, comparison=comparison_of(path))


def standing_of(run: Run) -> Standing:
    """How a run stands that has not ended; it has failed if a comparison gave it up."""
    if run.is_running():
        return "running"
    return "unfinished" if run.failed is None else "failed"


def comparison_of(path: Path) -> Path | None:
    """The comparison whose run this is."""
    above = path.absolute().parent
    return path.parent.parent if above.name == "runs" and (above.parent / "compare.json").is_file() else None


def seen_in(log: Sequence[Mapping[str, Any]]) -> int:
    """Images seen, as far as the log tells."""
    seen = log[-1].get("images", 0) if log else 0
    return seen if isinstance(seen, int) else 0


def distance_of(path: Path, log: Sequence[Mapping[str, Any]]) -> tuple[float | None, bool]:
    """The Fréchet distance, and whether it is a measured one."""
    measures = (read_measures(path) or {}).get("measures", [])
    for measure in measures:
        if measure["key"] == PRIMARY and measure["value"] is not None:
            return float(measure["value"]), True
    logged = [line["fd"] for line in log if isinstance(line.get("fd"), float)]
    return (logged[-1] if logged else None), False


def size_of(folder: Path) -> int:
    """Bytes that the files in a folder take of the disk; a link counts as itself, a file with two names once."""
    blocks: dict[tuple[int, int], int] = {}
    for where, _, files in os.walk(folder, onerror=lambda _: None):
        for name in files:
            try:
                found = os.lstat(Path(where) / name)
            except OSError:
                continue  # it went while it was counted
            blocks[found.st_dev, found.st_ino] = 512 * found.st_blocks
    return sum(blocks.values())


def to_clean(runs: Sequence[Listed], keep_last: int | None, keep_best: int | None) -> list[Listed]:
    """The ended runs that no rule keeps: of each family on each data set the last so many, and the best.

    The best are those with the least measured Fréchet distance. Runs of comparisons are never among those that go, as
    the figures of a comparison hang on all of them, nor is a run without a measured distance where the best are asked
    for: it might be the best.
    """
    gone: list[Listed] = []
    groups: dict[tuple[str, str], list[Listed]] = {}
    for run in runs:
        if run.ended and run.comparison is None:
            groups.setdefault((run.family, run.data), []).append(run)
    for group in groups.values():
        kept: list[Listed] = []
        if keep_last:
            kept += sorted(group, key=lambda run: run.changed)[-keep_last:]
        if keep_best is not None:
            ranked = sorted((run for run in group if run.measured), key=lambda run: run.distance or 0.0)
            kept += [*ranked[:keep_best], *(run for run in group if not run.measured)]
        gone += [run for run in group if run not in kept]
    return sorted(gone, key=lambda run: run.path)


def named_to_clean(path: Path) -> list[Listed]:
    """The runs that go with a folder that was named: a run, or all of a comparison.

    Raises:
        InputError: it is neither, or part of a comparison.
    """
    if path.is_symlink():
        raise InputError(f"{path} is a link: wanted the folder itself")
    if (path / "compare.json").is_file():
        return listed_in(path)
    if not (path / "config.json").is_file():
        raise InputError(
            f"{path} is no run and no comparison: name one, or say which runs of a folder stay with --keep-last N or "
            "--keep-best N"
        )
    run = listed(path)
    if run.comparison is not None:
        raise InputError(f"{path} is part of the comparison {run.comparison}: remove all of that, or nothing")
    return [run]


def check_removable(folder: Path, runs: Sequence[Listed], force: bool) -> None:
    """InputError if something would be lost that cannot be wanted lost: a run on its way, or somebody's own files."""
    if strange := [each.name for each in sorted(folder.iterdir()) if not is_own(each.name)]:
        raise InputError(f"{folder} holds {strange[0]}, which is not likelier's: move it away first")
    if force:
        return
    for run in runs:
        if not run.ended:
            why = {"running": "is being trained", "unreadable": "cannot be read", "failed": "has failed"}.get(
                run.standing, "is unfinished"
            )
            raise InputError(f"{run.path} {why}: it is removed with --force only")
    if (folder / "compare.json").is_file() and not (folder / "report.html").exists():
        raise InputError(f"{folder} is an unfinished comparison: it is removed with --force only")


def is_own(name: str) -> bool:
    """Whether likelier writes a file or folder of this name, or makes one on the way to another."""
    return name in OWN or name.startswith(("state", "likelihood", *(f".{own}." for own in OWN)))


def remove(folder: Path) -> None:
    """Remove the folder of a run or a comparison: it is gone at once, under its name, and then from the disk.

    Raises:
        InputError: it may not be removed.
    """
    going = folder.with_name(f".{folder.name}{GONE}")
    try:
        if going.exists():
            shutil.rmtree(going)  # an earlier removal of that name was killed
        folder.rename(going)
        sync_folder(folder.parent)
        shutil.rmtree(going)
    except OSError as error:
        raise InputError(f"{folder} cannot be removed: {error.strerror} ({error.filename})") from None


def finish_removals(folder: Path) -> None:
    """Remove what a killed removal left of the folders in `folder`."""
    for left in folder.glob(f".*{GONE}"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def budget_of(path: Path) -> int | None:
    """Images in all of a comparison; None of anything else, or before its first run is begun."""
    plan = read_json(path / "compare.json") if (path / "compare.json").is_file() else {}
    budgets = [run.budget for run in listed_in(path) if run.budget]
    try:
        return len(plan["families"]) * len(plan["seeds"]) * budgets[0]
    except (KeyError, TypeError, IndexError):
        return None
