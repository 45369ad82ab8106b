"""Time how long one waits: for `likelier --help`, and from a command to its first step of training.

    LIKELIER_DATA=DATA python benchmarks/startup.py --data digits mnist

Timed from outside, each in a process of its own: a training from its command to the first turn on its log, with a
budget so small that every turn is logged; before it come the imports, the data, a rehearsal, a checkpoint and the first
look. `python` is an empty program and `torch` one that imports torch alone, which no program that trains can be faster
than. Medians (least–most) are printed; wanted are at most 0.3 s for --help and 6 s to the first step on two cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from likelier.experiment import processor

LIKELIER = [sys.executable, "-m", "likelier"]
POLL = 0.002
"""Seconds between two looks at a log."""


def whole_process(*command: str) -> float:
    """Seconds of a command that ends by itself."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def to_the_first_turn(family: str, data: str) -> float:
    """Seconds from the command until its log has a turn; the process is then ended."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "run", "metrics.jsonl")
        command = [*LIKELIER, "train", family, "--data", data, "--images", "20000", "--quiet", "--out", str(log.parent)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not (log.exists() and b'"turns"' in log.read_bytes()):
            if process.poll() is not None:
                raise SystemExit(f"`likelier train {family} --data {data}` has ended before its first turn")
            time.sleep(POLL)
        seconds = time.perf_counter() - start
        process.kill()
        process.wait()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="*", default=["vae"])
    parser.add_argument("--data", nargs="*", default=["digits"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    cases = {
        "python": partial(whole_process, sys.executable, "-c", "pass"),
        "likelier --help": partial(whole_process, *LIKELIER, "--help"),
        "torch": partial(whole_process, sys.executable, "-c", "import torch"),
    }
    for data in chosen.data:
        for family in chosen.families:
            cases[f"train {family} --data {data}"] = partial(to_the_first_turn, family, data)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():  # the first time reads files from disk
        case()
    for _ in range(chosen.repeats):
        for name, case in cases.items():
            found[name].append(case())
    for name, seconds in found.items():
        print(f"{name:32}{statistics.median(seconds):6.2f} s ({min(seconds):.2f}–{max(seconds):.2f})")
    if chosen.json:
        chosen.json.write_text(json.dumps({"processor": processor(), "seconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
