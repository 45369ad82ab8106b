"""Time and memory of packed sets beside resident ones: training, loading, drawing from a cold disk, a limit of memory.

    LIKELIER_DATA=DATA python benchmarks/packed.py --rounds 7 --seconds 1 --gigabytes 2 --limit 1 --json packed.json

Resident and packed runs are trained in turn, so that a busy machine is busy for both, and the median of the ratios is
printed. Loading is that of processes of their own, in which `anonymous` is the memory that the system cannot take back.
The large set is noise, written for the purpose and removed; its pages are put out of the system's cache before it is
drawn from, so every image comes from the disk, and a process trains from it with a limit on the memory that it may have
for itself (RLIMIT_DATA), imports included.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likelier.data import load
from likelier.family import build, configure, find
from likelier.images import Batches, Images
from likelier.loop import Game
from likelier.packing import Piece, alone_in, contents_of, fill, pack, write_rows

TRAINED = (("vae", "mnist"), ("dcgan", "cifar10"))
LOADED = """
import json, sys, time, torch
from likelier.data import load
def anonymous():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
before, start = anonymous(), time.perf_counter()
images = load(sys.argv[1])
images.digest
print(json.dumps({"seconds": time.perf_counter() - start, "anonymous_mib": anonymous() - before}))
"""
LIMITED = """
import json, sys, threading, time
from likelier import train
peak = [0]
def watch():
    while True:
        found = dict(line.split(":", 1) for line in open("/proc/self/status"))
        peak[0] = max(peak[0], int(found["RssAnon"].split()[0]) / 1024)
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
run = train("vae", sys.argv[1], images=int(sys.argv[2]), out=sys.argv[3], device="cpu", looks=2)
print(json.dumps({"images": run.done["images"], "seconds": run.done["seconds"], "peak_anonymous_mib": peak[0]}))
"""


class Noise:
    """Images of bands and noise that no memory holds at once, as a source of `pack`."""

    fingerprint = "noise"

    def __init__(self, n: int, side: int) -> None:
        classes = [str(label) for label in range(10)]
        self.contents = contents_of("noise", (3, side, side), classes, {"train": n, "test": 2_000}, {})

    def mark(self, piece: Piece) -> str:
        return f"{piece.part} {piece.first} {piece.count}"

    def labels(self, part: str) -> list[int]:
        return [i % 10 for i in range(self.contents["sizes"][part])]

    def written(self, pieces: Iterable[Piece], jobs: int) -> Iterator[list[str]]:
        side = self.contents["shape"][1]
        bands = 128 + 60 * np.sin(np.linspace(0, 6, side)[None, :, None] * (1 + np.arange(10)[:, None, None]))
        for piece in pieces:
            chance = np.random.default_rng([piece.first, len(piece.part)])
            label = np.arange(piece.first, piece.first + piece.count) % 10
            pixels = bands[label][:, None] + chance.integers(-60, 60, (piece.count, 3, side, side))
            write_rows(piece.path, 3 * side**2, piece.first, pixels.clip(0, 255).astype(np.uint8))
            yield []


def game_of(family: str, images: Images) -> Game:
    config = configure(find(family), {})
    return Game(build(find(family), config, images, 0), images, 0, 10**9, torch.device("cpu"))


def rates(sides: dict[str, Any], rounds: int, seconds: float) -> dict[str, float]:
    """Images a second of each side, from functions that take some and say how many; the median ratio to the first."""
    for take in sides.values():
        for _ in range(5):
            take()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, take in sides.items():
            seen, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                seen += take()
            found[name].append(seen / (time.perf_counter() - start))
    ratios = [b / a for a, b in zip(*found.values(), strict=True)]
    return {name: statistics.median(v) for name, v in found.items()} | {"ratio": statistics.median(ratios)}


def trained(family: str, images: Images) -> Any:
    game = game_of(family, images)

    def take() -> int:
        before = game.seen
        game.turn()
        return game.seen - before

    return take


def drawn(images: Images) -> Any:
    batches = Batches(images.train, 0, "cpu")
    return lambda: len(batches.draw(128)[1])


def put_out_of_the_cache(folder: Path) -> None:
    for file in folder.glob("*.npy"):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def from_a_cold_disk(folder: Path, hint: bool, n: int = 20_000) -> float:
    """Images a second that can be drawn if none is in the system's cache."""
    batches = Batches(load(folder).train, 0, "cpu")
    if not hint:
        batches.source.foresee = lambda order, start: None  # type: ignore[method-assign]
    put_out_of_the_cache(folder)
    start = time.perf_counter()
    while batches.position < min(n, batches.size):
        batches.draw(128)
    return batches.position / (time.perf_counter() - start)


def told_by(code: str, *arguments: object, limit: int | None = None) -> dict[str, Any]:
    """What a process prints as JSON, under a limit of memory in bytes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    words = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limited)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the large set; 0 leaves it out")
    parser.add_argument("--side", type=int, default=64, help="of its images")
    parser.add_argument("--limit", type=float, default=1.0, help="gigabytes that training from it may take")
    parser.add_argument("--images", type=int, default=50_000, help="that are trained on then")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--families", nargs="*", default=[family for family, _ in TRAINED])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for family, name in TRAINED:
            if family not in chosen.families:
                continue
            resident = load(name)
            folder = pack(resident, Path(temporary) / name)
            packed = load(folder)
            sides = {"resident": trained(family, resident), "packed": trained(family, packed)}
            results[f"{family} on {name}, images/s"] = rates(sides, chosen.rounds, chosen.seconds)
            sides = {"resident": drawn(resident), "packed": drawn(packed)}
            results[f"batches of {name}, images/s"] = rates(sides, chosen.rounds, chosen.seconds)
            del resident, packed, sides
            results[f"load {name}, resident"] = told_by(LOADED, name)
            results[f"load {name}, packed"] = told_by(LOADED, folder)
        if chosen.gigabytes:
            large = Path(temporary) / "large"
            start = time.perf_counter()
            with alone_in(large):
                source = Noise(int(chosen.gigabytes * 1e9) // (3 * chosen.side**2), chosen.side)
                fill(large, source, 1, lambda done, total: None)
            results["large set"] = {"gigabytes": chosen.gigabytes, "seconds to write": time.perf_counter() - start}
            cold = {"read ahead": from_a_cold_disk(large, True), "without": from_a_cold_disk(large, False)}
            results["large set, drawn from a cold disk, images/s"] = cold
            results["large set, load"] = told_by(LOADED, large)
            put_out_of_the_cache(large)
            limit = int(chosen.limit * 1e9)
            results[f"large set, VAE trained with {chosen.limit:g} GB"] = told_by(
                LIMITED, large, chosen.images, Path(temporary) / "run", limit=limit
            )
    for name, found in results.items():
        row = "  ".join(f"{k} {v:,.4g}" if isinstance(v, float | int) else f"{k} {v}" for k, v in found.items())
        print(f"{name:48} {row}")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
