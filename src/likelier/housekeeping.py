"""The runs in a folder: how each stands, what it takes of the disk, and which of them may go."""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from likelier.errors import InputError
from likelier.files import HALF_WRITTEN, is_held, locked, read_json, sync_folder
from likelier.measuring import read_measures
from likelier.report.folder import MAKING, strangers
from likelier.run import Run
from likelier.verdict import PRIMARY

Standing = Literal["running", "finished", "diverged", "unfinished", "failed", "unreadable"]
ENDED = ("finished", "diverged")
MOST_IMAGES = 1 << 62
DEEPEST = 4
"""Folders below the one that is listed: runs/COMPARISON/runs/RUN, with one to spare."""
RECORDS = ("config.json", "environment.json", "metrics.jsonl", "timing.jsonl", "done")
MEASURED = ("measures.json", "figures.npz", "atlas.npz")
STATES = ("state.safetensors", "state.previous.safetensors", "drift.json", "failed.json", ".lock")
LIKELIHOODS = ("likelihood.json", "likelihood.partial.safetensors", ".likelihood.json.lock")
FILES = frozenset((*RECORDS, *MEASURED, *STATES, *LIKELIHOODS))
"""What likelier writes into the folder of a run, besides pictures."""
PICTURES = ("samples", "reconstructions")
PICTURE = re.compile(r"\d{10,}\.png")
OF_COMPARISON = frozenset(("compare.json", "claims.json", "report.html", ".lock"))
"""What it writes into the folder of a comparison, besides its runs."""
FOLDERS = ("figures", "runs")
GONE = ".removed-by-likelier-"
"""How the names begin of folders that are being removed: a removal that was killed leaves no half of a run."""


@dataclass(frozen=True)
class Listed:
    """One run, as a list shows it."""

    path: Path
    standing: Standing
    family: str = "–"
    data: str = "–"
    digest: str = ""
    """Of the images that it was trained on."""
    seed: int | None = None
    images: int = 0
    """Seen so far."""
    budget: int | None = None
    bytes: int = 0
    distance: float | None = None
    """The Fréchet distance: the measured one; of a run that was not measured, the last of its log."""
    figure: str | None = None
    """The full name of a measured distance, with its conditions."""
    changed: float = 0.0
    """When it was last written to, in seconds since 1970."""
    comparison: Path | None = None
    """The comparison that it is part of."""
    reason: str = ""
    """Why it is unreadable."""

    @property
    def measured(self) -> bool:
        """Whether the distance is a measured one."""
        return self.figure is not None

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
    return [run for path in sorted(folders_of_runs(folder)) if (run := listed(path))]


def folders_of_runs(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Those that hold a config.json; links are not followed, nor names that begin with a dot."""
    try:
        if (folder / "config.json").is_file():
            yield folder
        inner = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except (PermissionError, FileNotFoundError):  # somebody else's, or gone by now
        return
    for each in inner if depth else ():
        if not each.name.startswith("."):
            yield from folders_of_runs(each, depth - 1)


def listed(path: Path) -> Listed | None:
    """One run, None if it is gone; what holds something else under a run's names is unreadable, and says why."""
    try:
        changed = path.stat().st_mtime
    except OSError:
        return None
    size, comparison = size_of(path), comparison_of(path)
    try:
        run = Run.open(path)
        config, done, log = run.config, run.done, run.metrics()
        standing: Any = done["status"] if done else standing_of(run)
        if standing not in (*ENDED, "running", "unfinished", "failed"):
            raise InputError(f"{path / 'done'} has status = {standing!r}: wanted {' or '.join(ENDED)}")
        distance, figure = distance_of(path, log)
        return Listed(
            path,
            standing,
            family=config["family"],
            data=Path(config["data"]).name,
            digest=run.environment["data_digest"],
            seed=config["seed"],
            images=seen_in(log),
            budget=config["images"],
            bytes=size,
            distance=distance,
            figure=figure,
            changed=max(
                (p.stat().st_mtime for p in (path / "metrics.jsonl", path / "done") if p.exists()), default=changed
            ),
            comparison=comparison,
        )
    except (InputError, OSError) as error:
        if not path.exists():
            return None
        reason = str(error) if isinstance(error, InputError) else f"{error.filename}: {error.strerror}"
        return Listed(path, "unreadable", bytes=size, changed=changed, reason=reason, comparison=comparison)


def standing_of(run: Run) -> Standing:
    """How a run stands that has not ended; it has failed if a comparison gave it up."""
    if run.is_running():
        return "running"
    return "unfinished" if run.failed is None else "failed"


def comparison_of(path: Path) -> Path | None:
    """The comparison whose run this is, whichever way it was come to."""
    above = path.resolve().parent
    return above.parent if above.name == "runs" and (above.parent / "compare.json").is_file() else None


def seen_in(log: Sequence[Mapping[str, Any]]) -> int:
    """Images seen, as far as the log tells."""
    seen = log[-1].get("images", 0) if log else 0
    return seen if isinstance(seen, int) and 0 <= seen <= MOST_IMAGES else 0


def distance_of(path: Path, log: Sequence[Mapping[str, Any]]) -> tuple[float | None, str | None]:
    """The Fréchet distance, and the full name of it if it is a measured one."""
    measures = (read_measures(path) or {}).get("measures", [])
    for measure in measures:
        if measure["key"] == PRIMARY and measure["value"] is not None:
            return float(measure["value"]), str(measure["name"])
    logged = [line["fd"] for line in log if isinstance(line.get("fd"), float)]
    return (logged[-1] if logged else None), None


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
    """The ended runs that no rule keeps: of each family on the same images the last so many, and the best.

    The best are those with the least measured Fréchet distance, among figures of one name, as others do not compare.
    Runs of comparisons are never among those that go, as the figures of a comparison hang on all of them, nor is a run
    without a measured distance where the best are asked for: it might be the best.
    """
    gone: list[Listed] = []
    groups: dict[tuple[str, str], list[Listed]] = {}
    for run in runs:
        if run.ended and run.comparison is None:
            groups.setdefault((run.family, run.digest), []).append(run)
    for group in groups.values():
        kept: list[Listed] = []
        if keep_last:
            kept += sorted(group, key=lambda run: run.changed)[-keep_last:]
        if keep_best is not None:
            for figure in {run.figure for run in group if run.measured}:
                ranked = sorted((run for run in group if run.figure == figure), key=lambda run: run.distance or 0.0)
                kept += ranked[:keep_best]
            kept += [run for run in group if not run.measured]
        gone += [run for run in group if run not in kept]
    return sorted(gone, key=lambda run: run.path)


def named_to_clean(path: Path) -> list[Listed]:
    """The runs that go with a folder that was named: a run, or all of a comparison.

    Raises:
        InputError: it is neither, or part of a comparison.
    """
    if (path / "compare.json").is_file():
        return listed_in(path)
    run = listed(path) if (path / "config.json").is_file() else None
    if run is None:
        raise InputError(
            f"{path} is no run and no comparison: name one, or say which runs of a folder stay with --keep-last N or "
            "--keep-best N"
        )
    if run.comparison is not None:
        raise InputError(f"{path} is part of the comparison {run.comparison}: remove all of that, or nothing")
    return [run]


def check_removable(folder: Path, runs: Sequence[Listed], force: bool) -> None:
    """InputError if something would be lost that cannot be wanted lost: a run on its way, or somebody's own files."""
    if (strange := next(strangers_in(folder), None)) is not None:
        raise InputError(f"{folder} holds {strange.relative_to(folder)}, which is not likelier's: move it away first")
    if force:
        return
    for run in runs:
        if not run.ended:
            raise InputError(f"{run.path} {NOT_ENDED[run.standing]}: it is removed with --force only")
    if is_held(folder / ".lock"):
        raise InputError(f"{folder} is in use by another process: it is removed with --force only")
    if (folder / "compare.json").is_file() and not (folder / "report.html").exists():
        raise InputError(f"{folder} is an unfinished comparison: it is removed with --force only")


NOT_ENDED = {
    "running": "is being trained",
    "unfinished": "is unfinished",
    "failed": "has failed, and can be gone on with",
    "unreadable": "cannot be read",
}


def strangers_in(folder: Path) -> Iterator[Path]:
    """What is in the folder of a run, or of a comparison, that likelier does not write there."""
    if (folder / "compare.json").is_file():
        for path in sorted(folder.iterdir()):
            if not is_own(path, OF_COMPARISON) and path.name not in FOLDERS and not is_half_made(path):
                yield path
        figures, runs = (folder / name for name in FOLDERS)
        if os.path.lexists(figures):
            yield from strangers(figures) if figures.is_dir() and not figures.is_symlink() else [figures]
        for path in sorted(runs.iterdir()) if runs.is_dir() and not runs.is_symlink() else ():
            yield from strangers_in_run(path)
    else:
        yield from strangers_in_run(folder)


def strangers_in_run(folder: Path) -> Iterator[Path]:
    """The same of one run; all of a folder that is none, though it may have a config.json."""
    if folder.is_symlink() or not folder.is_dir() or not (folder / "environment.json").is_file():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.name in PICTURES and path.is_dir() and not path.is_symlink():
            yield from (each for each in sorted(path.iterdir()) if not (PICTURE.fullmatch(each.name) or is_own(each)))
        elif not is_own(path, FILES):
            yield path


def is_half_made(path: Path) -> bool:
    """Whether this is what a killed process left that was writing figures."""
    return path.name.startswith(f".{FOLDERS[0]}.") and path.name.endswith(MAKING) and not path.is_symlink()


def is_own(path: Path, names: Collection[str] = ()) -> bool:
    """Whether this is a file that likelier writes under one of these names, or began to."""
    return (path.name in names or bool(HALF_WRITTEN.fullmatch(path.name))) and not path.is_dir()


def remove(folder: Path, runs: Sequence[Listed] = (), force: bool = False) -> None:
    """Remove the folder of a run or a comparison: it is gone at once, under its name, and then from the disk.

    Raises:
        InputError: it may not be removed, or another process is at it, and it is not `force`.
    """
    going = None
    try:
        with ExitStack() as held:
            for path in () if force else dict.fromkeys((folder, *(run.path for run in runs))):
                refusal = f"{path} is in use by another process: it is removed with --force only"
                held.enter_context(locked(path / ".lock", refusal))
            going = Path(tempfile.mkdtemp(dir=folder.parent, prefix=GONE))
            folder.rename(going / folder.name)
        sync_folder(folder.parent)
        shutil.rmtree(going)
    except OSError as error:
        rest = f"; its rest lies in {going}" if going and not folder.exists() else ""
        raise InputError(f"{folder} cannot be removed: {error.strerror} ({error.filename}){rest}") from None


def finish_removals(folder: Path) -> None:
    """Remove what a killed removal left of the folders in `folder`."""
    for left in folder.glob(f"{GONE}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def budget_of(path: Path) -> int | None:
    """Images in all of a comparison; None of anything else, or before its first run is begun."""
    plan = read_json(path / "compare.json") if (path / "compare.json").is_file() else {}
    budgets = [run.budget for run in listed_in(path) if run.budget]
    try:
        models = plan["families"] if plan["format"] == 2 else plan["models"]
        return len(models) * len(plan["seeds"]) * budgets[0]
    except (KeyError, TypeError, IndexError):
        return None
