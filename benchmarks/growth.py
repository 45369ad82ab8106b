"""Show how cost grows: of an epoch with the number of images, of a comparison with the number of seeds.

    python benchmarks/growth.py --json benchmarks/growth.json --plot benchmarks/growth.png      about a minute

An epoch is a permutation of the images, and for each of them its part of a turn. The two are timed apart, the turns of
`vae` at batch 128 on random bytes of 28×28, held in memory. Every round times a stretch of turns on every size, one
after the other, so that a busy machine is busy for all, and within one epoch, so that a small set does not pay its
permutation twice. The batches of these turns are also drawn once without training. Medians are printed.

Seeds are those of `likelier.compare` on the embedded digits: training, measuring and the report.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from contenders import timed
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import likelier
from likelier import rng
from likelier.experiment import processor
from likelier.family import build, find
from likelier.images import Batches, Images, Split, as_float
from likelier.loop import Game

SIZES = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
SHAPE = (1, 28, 28)
BATCH = 128
PARTS = {"training": "a turn, all of it", "drawing": "of which its batch", "order": "the permutation"}

Seconds = dict[str, list[float]]


def first(noise: torch.Tensor, n: int) -> Images:
    """The first n images, in the memory of all."""
    split = Split(noise[:n], torch.arange(n) % 10)
    return Images(f"{n} random images", split, split, tuple("0123456789"))


def stretch(batches: Batches, turn: Callable[[], object], turns: int) -> None:
    """So many turns without the end of an epoch."""
    for _ in range(turns):
        if batches.position + BATCH > batches.size:
            batches.position = 0
        turn()


def images_by_size(sizes: list[int], turns: int, rounds: int) -> dict[int, Seconds]:
    """Seconds an image of each part, in every round."""
    shape = (max(sizes), *SHAPE)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng.generator(0, "growth"))
    family = find("vae")
    sets, games = {n: first(noise, n) for n in sizes}, {}
    for n, images in sets.items():
        games[n] = Game(build(family, family.Config(batch=BATCH), images, 0), images, 0, 10**12, torch.device("cpu"))
        stretch(games[n].step.batches, games[n].turn, 5)
    found: dict[int, Seconds] = {n: {part: [] for part in PARTS} for n in sizes}
    for k in range(rounds):
        for n, game in games.items():
            trained = timed(lambda game=game: stretch(game.step.batches, game.turn, turns))
            batches = Batches(sets[n].train, k, "cpu")
            ordered = timed(lambda batches=batches: batches.draw(1))
            drawn = timed(lambda b=batches: stretch(b, lambda: as_float(b.draw(BATCH)[0]), turns))
            seconds = {"training": trained / (turns * BATCH), "drawing": drawn / (turns * BATCH), "order": ordered / n}
            for part, value in seconds.items():
                found[n][part].append(value)
    return found


def seconds_by_seeds(counts: list[int], images: int) -> dict[int, float]:
    """Seconds of a comparison of one family with so many seeds."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        likelier.compare(["vae"], images=images, out=f"{folder}/first")  # the first time is slower
        for k in counts:
            found[k] = timed(lambda k=k: likelier.compare(["vae"], images=images, seeds=k, out=f"{folder}/{k}"))
    return found


def epoch(parts: Seconds, n: int) -> float:
    """Seconds of one, from the medians of its parts."""
    return n * (statistics.median(parts["training"]) + statistics.median(parts["order"]))


def exponent(cost: Mapping[int, float]) -> float:
    """p of the power law cost ∝ n^p that fits best: 1 is linear."""
    return float(np.polyfit(np.log(list(cost)), np.log(list(cost.values())), 1)[0])


def line(cost: Mapping[int, float]) -> tuple[float, float, float]:
    """Slope and intercept of the line that fits best, and the largest distance from it as a share of the cost."""
    x, y = np.array(list(cost)), np.array(list(cost.values()))
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept), float(np.max(np.abs(slope * x + intercept - y) / y))


def plot(found: Mapping[int, Seconds], seeds: Mapping[int, float], path: Path) -> None:
    """Microseconds an image over the number of images, and seconds over the number of seeds."""
    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for part, label in PARTS.items():
        left.plot(list(found), [1e6 * statistics.median(s[part]) for s in found.values()], "o-", label=label)
    left.set(xscale="log", ylim=(0, None), xlabel="images in the set", ylabel="µs an image", title="one epoch")
    left.legend(frameon=False)
    right.plot(list(seeds), list(seeds.values()), "o", label="measured")
    if len(seeds) > 1:
        slope, intercept, _ = line(seeds)
        right.plot(list(seeds), [slope * k + intercept for k in seeds], "-", label=f"{slope:.2f} s a seed")
    right.set(xlim=(0, None), ylim=(0, None), xlabel="seeds", ylabel="seconds", title="one comparison")
    right.legend(frameon=False)
    for axes in (left, right):
        lighten(axes)
    figure.savefig(path)


def lighten(axes: Axes) -> None:
    """No frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--images", type=int, default=20_000, help="that each seed is trained on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sizes = [n for n in sorted(chosen.sizes) if n * np.prod(SHAPE) < memory / 2]
    if left_out := sorted(set(chosen.sizes) - set(sizes)):
        print(f"left out, as they take more than half of the memory: {', '.join(f'{n:,}' for n in left_out)} images")
    found = images_by_size(sizes, chosen.turns, chosen.rounds)
    seeds = seconds_by_seeds(sorted(chosen.seeds), chosen.images) if chosen.seeds else {}
    tell(found, seeds)
    if chosen.plot:
        plot(found, seeds, chosen.plot)
    if chosen.json:
        about = {"torch": torch.__version__, "processor": processor(), "threads": chosen.threads, "turns": chosen.turns}
        results = {"seconds_per_image": found, "seconds_by_seeds": seeds, "images_per_seed": chosen.images}
        chosen.json.write_text(json.dumps({**about, **results}, indent=1) + "\n")


def tell(found: Mapping[int, Seconds], seeds: Mapping[int, float]) -> None:
    """The tables, and whether they are lines."""
    print(f"| images    | {' | '.join(f'{part} µs/image' for part in PARTS)} | epoch s |")
    print(f"|-----------|{'|'.join('-' * (len(part) + 11) for part in PARTS)}|---------|")
    for n, parts in found.items():
        cells = [f"{1e6 * statistics.median(parts[part]):{len(part) + 9}.3f}" for part in PARTS]
        print(f"| {n:9,} | {' | '.join(cells)} | {epoch(parts, n):7.2f} |")
    if len(found) > 1:
        power = exponent({n: epoch(parts, n) for n, parts in found.items()})
        print(f"an epoch of n images costs n^{power:.3f}; 1 is linear\n")
    print("| seeds | s |\n|-------|---|")
    for k, seconds in seeds.items():
        print(f"| {k:5} | {seconds:.2f} |")
    if len(seeds) > 1:
        slope, intercept, off = line(seeds)
        print(f"k seeds cost {slope:.2f} k + {intercept:.2f} s, {off:.0%} off at most")


if __name__ == "__main__":
    main()
