"""What `likelier runs` does: one function for each action, and the list where none is given."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from likelier.commands import Given, print_json
from likelier.errors import InputError, printable
from likelier.files import is_held
from likelier.housekeeping import (
    Listed,
    budget_of,
    check_removable,
    finish_removals,
    listed_in,
    named_to_clean,
    remove,
    size_of,
    to_clean,
)
from likelier.progress import Terminal, table
from likelier.run import Run
from likelier.stopping import saying
from likelier.tables import figure

USUAL = "runs"
"""Where runs are made unless --out says otherwise."""
LOOK_AGAIN = 0.5
"""Seconds between two looks at a run that is followed."""


def list_runs(given: Given) -> None:
    """`likelier runs [list FOLDER…]`."""
    folders = given.get("folders") or [USUAL]
    if folders == [USUAL] and not Path(USUAL).exists():
        raise InputError(f"there is no folder {USUAL} here: train something, or name a folder with runs")
    found = listed_once(folders)
    if given.get("json"):
        print_json([as_json(run) for run in found])
        return
    if not found:
        print(f"no runs in {', '.join(folders)}")
        return
    print_runs(f"{len(found)} run{'s' * (len(found) > 1)}, {in_bytes(sum(run.bytes for run in found))}", found)
    for run in found:
        if run.reason:
            print(printable(run.reason))
    if any(run.distance is not None and not run.measured for run in found):
        print("FD with ~: logged while training, on fewer images; `likelier measure RUN` measures it")


def listed_once(folders: Sequence[str | Path]) -> list[Listed]:
    """The runs in some folders, each once, though it may be come to by two ways."""
    return list({run.path.resolve(): run for folder in folders for run in listed_in(Path(folder))}.values())


HEADINGS = ["run", "state", "family", "data", "seed", "images", "size", "FD ↓"]


COLOURS = {"running": "cyan", "unfinished": "yellow", "diverged": "red", "failed": "red", "unreadable": "red"}


def print_runs(title: str, runs: Sequence[Listed]) -> None:
    """The table of runs; a folder that all of them are in is named once, above it."""
    base = os.path.commonpath([run.path.parent for run in runs]) if runs else ""
    above = f"{title}, in {printable(base)}" if base and len(runs) > 1 else title
    colours = {(i, 1): COLOURS[run.standing] for i, run in enumerate(runs) if run.standing in COLOURS}
    table(above, HEADINGS, rows(runs, base if len(runs) > 1 else ""), colours)


def rows(runs: Sequence[Listed], base: str = "") -> list[list[str]]:
    """The runs as the rows of a table, their folders as seen from `base`."""
    return [
        [
            printable(os.path.relpath(run.path, base) if base else str(run.path)),
            f"{run.standing} {share(run)}".strip(),
            printable(run.family),
            printable(run.data),
            "–" if run.seed is None else str(run.seed),
            f"{run.images:,}",
            in_bytes(run.bytes),
            f"{'~' * (run.distance is not None and not run.measured)}{figure(run.distance)}",
        ]
        for run in runs
    ]


def share(run: Listed) -> str:
    """How far a run has come that has not ended."""
    return "" if run.ended or not run.budget else f"{100 * run.images / run.budget:.0f}%"


def in_bytes(count: float) -> str:
    """A size in words.

    >>> in_bytes(999), in_bytes(12_345_678)
    ('999 B', '12.3 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def as_json(run: Listed) -> Given:
    """A run of the list, as JSON holds it."""
    paths = {"path": str(run.path), "comparison": None if run.comparison is None else str(run.comparison)}
    return {**asdict(run), "measured": run.measured, **paths}


def show(given: Given) -> None:
    """`likelier runs show RUN`: a run, or those of a comparison; with --follow until it ends."""
    path = Path(given["run"])
    found = listed_in(path)
    if not found and not (path / "compare.json").is_file():
        raise InputError(f"{path} is no run and no comparison: `likelier runs list FOLDER` lists what is in a folder")
    if given.get("follow"):
        found = followed(path, given)
    if given.get("json"):
        print_json([as_json(run) for run in found])
    elif [run.path for run in found] == [path]:
        print_run(found[0])
    else:
        print_runs(f"{path}, {in_bytes(size_of(path))}", found)


def print_run(run: Listed) -> None:
    """One run in lines: what it is, how it stands, what it scored, what lies where."""
    if run.reason:
        raise InputError(run.reason)
    opened = Run.open(run.path)
    config, seconds = opened.config, opened.seconds()
    message = (opened.done or {}).get("message") or opened.failed
    lines = {
        "run": run.path,
        "state": f"{run.standing} {share(run)}".strip() + (f": {message}" if message else ""),
        "drift": "; ".join(
            f"from {each['images']:,} images on, {', '.join(map(str, each['changed']))}" for each in opened.drift
        ),
        "family": f"{run.family}, seed {run.seed}",
        "settings": ", ".join(f"{name} {value}" for name, value in config["settings"].items()) or "none",
        "numbers": "large products in bfloat16" if config.get("mixed_precision") else "",
        "data": f"{config['data']}, {'×'.join(map(str, config['shape']))}",
        "images": f"{run.images:,} of {run.budget:,}",
        "trained": f"{seconds:.1f} s on {opened.environment['device']}, {opened.environment['threads']} threads",
        "FD": f"{figure(run.distance)}{'' if run.measured else ', logged while training' if run.distance else ''}",
        "size": f"{in_bytes(run.bytes)}: {sizes_of(run.path)}",
        "log": ", ".join(f"{name} {value:.4g}" for name, value in last_record(opened).items()),
    }
    print("\n".join(f"{name:9} {printable(str(line))}" for name, line in lines.items() if str(line)))
    if run.standing in ("unfinished", "failed"):
        print(f"go on with: likelier train --resume {printable(str(run.path))}")


def sizes_of(path: Path) -> str:
    """What takes the most of a run's folder."""
    sizes = {each.name: size_of(each) if each.is_dir() else each.lstat().st_size for each in path.iterdir()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} {in_bytes(size)}" for name, size in largest)


def last_record(run: Run) -> dict[str, float]:
    """The scalars of the last line of the log."""
    lines = [line for line in run.metrics() if not line.get("evaluation")]
    return {name: value for name, value in (lines[-1] if lines else {}).items() if isinstance(value, float)}


def followed(path: Path, given: Given) -> list[Listed]:
    """Show how a run, or a comparison, gets on that another process trains, until it ends or nobody trains it."""
    with saying("what was followed goes on"), Terminal(given.get("quiet", False)) as audience:
        audience.training(path.name, 1, 1)
        while True:
            found = listed_in(path)
            total = budget_of(path) or sum(run.budget or 0 for run in found)
            if total:
                audience.progress(sum(run.images for run in found), total, newest_record(found))
            if not is_busy(path, found):
                return found
            time.sleep(LOOK_AGAIN)


def newest_record(runs: Sequence[Listed]) -> dict[str, float]:
    """The last record of the run that was written to last."""
    readable = [run for run in runs if run.standing != "unreadable"]
    return last_record(Run.open(max(readable, key=lambda run: run.changed).path)) if readable else {}


def is_busy(path: Path, runs: Sequence[Listed]) -> bool:
    """Whether a process is at work on a run, or on a comparison, which measures between its runs and after them."""
    return is_held(path / ".lock") or any(run.standing == "running" for run in runs)


def clean(given: Given) -> None:
    """`likelier runs clean`: what goes is listed; it goes with --yes."""
    rules = {name: given.get(name) for name in ("keep_last", "keep_best")}
    named, force = given.get("folders", []), given.get("force", False)
    if any(rule is not None for rule in rules.values()):
        going = [(run.path.resolve(), [run]) for run in to_clean(listed_once(named or [USUAL]), **rules)]
    elif named:
        if links := [path for path in named if Path(path).is_symlink()]:
            raise InputError(f"{links[0]} is a link: wanted the folder itself")
        going = [(path, named_to_clean(path)) for path in dict.fromkeys(Path(path).resolve() for path in named)]
    else:
        raise InputError(
            "nothing is named: name a run or a comparison, or say what stays: --keep-last N, --keep-best N"
        )
    for folder, runs in going:
        check_removable(folder, runs, force)
    sizes = {folder: size_of(folder) for folder, _ in going}
    if given.get("yes"):
        for folder, runs in going:
            remove(folder, runs, force)
        for parent in {folder.parent for folder in sizes}:
            finish_removals(parent)
    tell_cleaned(given, sizes)


def tell_cleaned(given: Given, sizes: dict[Path, int]) -> None:
    """What went, or would."""
    removed = bool(given.get("yes"))
    if given.get("json"):
        print_json({"removed": removed, "runs": [{"path": str(p), "bytes": size} for p, size in sizes.items()]})
        return
    for folder, size in sizes.items():
        print(f"{'removed' if removed else 'would go'}  {printable(str(folder))}  {in_bytes(size)}")
    if not sizes:
        print("nothing to remove")
    elif not removed:
        print(f"{in_bytes(sum(sizes.values()))} in all; nothing was removed: the same with --yes does it")


ACTIONS: dict[str | None, Callable[[Given], Any]] = {None: list_runs, "list": list_runs, "show": show, "clean": clean}
