"""Time runs of a comparison one after another on all threads, and at the same time on one thread each.

    LIKELIER_DATA=DATA python benchmarks/side_by_side.py --data mnist --families vae gan --epochs 2

Each round trains the same runs in both ways, in processes as `likelier compare` does, their start included; looks and
checkpoints are those of any run. Medians of the seconds, and of the ratio within a round (least–most), are printed.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from contenders import timed

from likelier.side_by_side import Job, train_side_by_side


def jobs(families: list[str], data: str, epochs: float, runs: int, folder: str) -> list[Job]:
    """So many runs of each family."""
    root = os.environ.get("LIKELIER_DATA")
    return [
        {"family": family, "data": data, "data_root": root, "epochs": epochs, "seed": seed,
         "out": str(Path(folder) / f"{family}{seed}")}
        for seed in range(runs) for family in families
    ]  # fmt: skip


def seconds(families: list[str], chosen: argparse.Namespace, workers: int, threads: int) -> float:
    """All runs of these families, begun anew."""
    with tempfile.TemporaryDirectory() as folder:
        todo = jobs(families, chosen.data, chosen.epochs, chosen.runs, folder)
        return timed(lambda: train_side_by_side(todo, workers, threads, lambda job, news: None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--families", nargs="*", default=["vae", "gan"])
    parser.add_argument("--epochs", type=float, default=100)
    parser.add_argument("--runs", type=int, default=4, help="of each family")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print("| family | runs | one after another, s | at the same time, s | ratio |\n|---|---|---|---|---|")
    for family in chosen.families:
        found = [
            (seconds([family], chosen, 1, chosen.cores), seconds([family], chosen, chosen.cores, 1))
            for _ in range(chosen.rounds)
        ]
        alone, together = (statistics.median(column) for column in zip(*found, strict=True))
        ratios = sorted(a / b for a, b in found)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        print(f"| {family} | {chosen.runs} | {alone:.1f} | {together:.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
