"""What checkpoints cost: the share of training time that they take at the default interval.

    LIKELIER_DATA=DATA python benchmarks/checkpoints.py --data mnist --rounds 15 --json checkpoints.json

Each round of a family trains for a slot, saves the run as training does (copied, hashed, written, synced), and trains
for a slot again, so that a busy machine is busy for both. The share is the median save, with what the turns after it
are slower than those before, over the default interval.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from likelier.data import load
from likelier.experiment import CHECKPOINT_SECONDS, train
from likelier.family import build, configure, find, names
from likelier.images import Images
from likelier.loop import Game


def seconds_of(game: Game, turns: int) -> float:
    start = time.perf_counter()
    for _ in range(turns):
        game.turn()
    return time.perf_counter() - start


def cost_of(family: str, images: Images, rounds: int, slot: float, folder: Path) -> dict[str, float]:
    """Seconds of a save and of what it slows down, in one run."""
    cls = find(family)
    game = Game(build(cls, configure(cls, {}), images, 0), images, 0, 10**9, torch.device("cpu"))
    run = train(family, images, images=10**9, out=folder / family, device="cpu", begin_only=True)
    turns = max(1, round(slot / (seconds_of(game, 5) / 5)))
    saves, slowed = [], []
    for _ in range(rounds):
        before = seconds_of(game, turns)
        start = time.perf_counter()
        run.save(game.state())
        saves.append(time.perf_counter() - start)
        slowed.append(seconds_of(game, turns) - before)
    seconds = statistics.median(saves) + max(0.0, statistics.median(slowed))
    size = (run.path / "state.safetensors").stat().st_size
    found = {"share": seconds / CHECKPOINT_SECONDS, "seconds": statistics.median(saves), "longest": max(saves)}
    return found | {"slowed": statistics.median(slowed), "megabytes": size / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--families", nargs="*", default=names())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slot", type=float, default=0.5, help="seconds of training before and after each save")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    images, results = load(chosen.data), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        for family in chosen.families:
            results[family] = cost_of(family, images, chosen.rounds, chosen.slot, Path(folder))
    for family, found in results.items():
        print(
            f"{family:10} {found['share']:.3%} of {CHECKPOINT_SECONDS:.0f} s: a save of {found['megabytes']:.1f} MB "
            f"takes {found['seconds']:.3f} s (at most {found['longest']:.3f}), then {found['slowed']:+.3f} s"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
