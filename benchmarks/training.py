"""Time a training loop against what users run today, and against what the work alone takes.

    make bench                        four families, two sets, batches 128 and 512; BENCH=full for 64 to 2,048
    LIKELIER_DATA=DATA python benchmarks/training.py --data mnist --families vae gan --threads 1 2

All contenders train the same networks with the same equations (the family's own `turns`) on the same images; what
differs is the loop around them:

    student   DataLoader over single images, each a PIL image that is converted as torchvision does it; Adam as it
              comes; `backward()` into everything and `.item()` on every scalar, every step
    tidy      images in memory as floats, a shuffled index, fused Adam, nothing read back
    pythae    pythae 0.1.2 with the networks of `vae` and its own loss, data set and trainer, in an environment of its
              own (`make bench-pythae`); it has none of the other families with the same structure
    likelier  `loop.play` on the last turns of a run of 20 epochs, with its log and its share of what happens once a run
              or once a minute; without looks, whose number is fixed and which --looks times apart
    written   the same with every turn carried out as written, in place of from tape
    mixed     the same with its large products in bfloat16 (--mixed-precision)
    products  the turn's matrix products and convolutions alone, forward and backward, on the memory they have there
    limit     the turn's floating-point operations at the rate of the best of a few large matrix products
    +bytes    the same, and the bytes that Adam and the batches must move, at the bandwidth of the best of a few plain
              passes over as many bytes as these have in memory

Each round times every contender once, in turn, beginning with another one each time, so that a busy machine is busy for
all; rates and bandwidth are taken in every round with the same threads. Ratios are taken within a round, and their
median is printed with the smallest and the largest. The start of the process is in no figure.

Without LIKELIER_DATA, `mnist` and `cifar10` are random bytes of that shape and number, and the table says so: what a
turn costs depends on the shape alone.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from contenders import Contender, Ours, Pythae, student, tidy, timed, versions
from limit import Work, best_bandwidth, best_rate, fastest, products_of, work_of

from likelier import rng
from likelier.data import ROOT_VARIABLE, load
from likelier.errors import InputError
from likelier.experiment import commit, processor
from likelier.family import Family, build, configure, find
from likelier.images import Images, Split
from likelier.run import Run
from likelier.watch import Watch

FAMILIES = ("vae", "gan", "dcgan", "vae_gan")
COLUMNS = ("student", "tidy", "pythae", "written", "mixed", "products", "limit", "+bytes")
SHAPES = {"mnist": (60_000, 1, 28, 28), "cifar10": (50_000, 3, 32, 32)}
PYTHAE = Path(__file__).parents[1] / ".venv-pythae" / "bin" / "python"

Result = dict[str, Any]


def images_called(name: str) -> Images:
    """The named set, or noise of its shape where no data are at hand."""
    if name in SHAPES and not os.environ.get(ROOT_VARIABLE):
        n, *shape = SHAPES[name]
        noise = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=rng.generator(0, "benchmark"))
        split = Split(noise, torch.arange(n) % 10)
        return Images(f"{name} shapes", split, split, tuple("0123456789"))
    return load(name)


def contest(name: str, images: Images, batch: int, chosen: argparse.Namespace, pythae: Pythae | None) -> Result:
    """Seconds an epoch of every contender in every round."""
    cls = find(name)
    config = configure(cls, {"batch": batch})

    def make() -> Family:
        return build(cls, config, images, seed=0).train()

    with tempfile.TemporaryDirectory() as folder:
        likelier = Ours(make(), images, Path(folder, "taped"), taped=True)
        work, products = work_of(likelier.game), products_of(likelier.game)
        contenders: dict[str, Contender] = {
            "likelier": likelier,
            "student": student(make(), images),
            "tidy": tidy(make(), images),
            "written": Ours(make(), images, Path(folder, "written"), taped=False),
            "mixed": Ours(make(), images, Path(folder, "mixed"), taped=True, mixed_precision=True),
            "products": lambda turns: timed(partial(products, turns)),
        }
        if pythae and name == "vae":
            contenders["pythae"] = pythae.contender(make())
        for train in contenders.values():  # the first time is slower for all
            train(1)
        wanted = round(chosen.slot / fastest(likelier.game.turn, 0.1))
        turns = max(1, min(wanted, len(images.train) // work.images))
        rounds = [one_round(rotated(contenders, k), turns, work) for k in range(chosen.rounds)]
        look = seconds_of_a_look(make(), images, Path(folder)) if chosen.looks else None
    epoch = len(images.train) / (turns * work.images)
    return {
        "data": images.name,
        "threads": torch.get_num_threads(),
        "family": name,
        "batch": batch,
        "turns": turns,
        "work_of_a_turn": asdict(work),
        "flops_per_second": [rate for _, rate, _ in rounds],
        "bytes_per_second": [bandwidth for _, _, bandwidth in rounds],
        "seconds_per_epoch": {who: [epoch * seconds[who] for seconds, _, _ in rounds] for who in rounds[0][0]},
        "seconds_of_a_look": look,
    }


def one_round(contenders: Mapping[str, Contender], turns: int, work: Work) -> tuple[dict[str, float], float, float]:
    """Seconds of everybody's turns, and the rate and the bandwidth that the limits among them go by."""
    seconds = {who: train(turns) for who, train in contenders.items()}
    rate, bandwidth = best_rate(), best_bandwidth(work.working_set)
    seconds["limit"] = turns * work.flops / rate
    seconds["+bytes"] = seconds["limit"] + turns * work.bytes / bandwidth
    return seconds, rate, bandwidth


def rotated(contenders: Mapping[str, Contender], k: int) -> dict[str, Contender]:
    """The same order, beginning with another one each time."""
    names = list(contenders)
    return {names[(i + k) % len(names)]: contenders[names[(i + k) % len(names)]] for i in range(len(names))}


def seconds_of_a_look(family: Family, images: Images, folder: Path) -> float:
    """Of which a run of any length has sixteen at most."""
    from likelier.features import extractor

    watch = Watch(Run.create(folder / "looked at", {}, {}), images, extractor(images))
    family.eval()
    return statistics.median(timed(partial(watch, family, seen)) for seen in range(3))


def spread(values: list[float]) -> str:
    """Median (least–most)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def head_of(about: Mapping[str, Any], looks: bool) -> str:
    """What the table was made with, and its first two lines."""
    names = [f"{who:18}" for who in ("likelier, s an epoch", *COLUMNS)] + ["look, s"] * looks
    cells = [f"{'data':14}", "threads", f"{'family':7}", "batch", *names]
    return f"""{about["processor"]}, {about["cores"]} cores, load {about["load"]:.1f} before, torch {about["torch"]}.
pythae: {about["pythae"]}.
Seconds an epoch of likelier, then how many times as long the others take: medians (least–most) of {about["rounds"]}.

| {" | ".join(cells)} |
|{"|".join("-" * (len(cell) + 2) for cell in cells)}|"""


def row_of(result: Result, looks: bool) -> str:
    """One line of the table; ratios are taken within a round."""
    seconds: dict[str, list[float]] = result["seconds_per_epoch"]
    cells = [f"{result['data']:14}", f"{result['threads']:7}", f"{result['family']:7}", f"{result['batch']:5}"]
    cells.append(f"{spread(seconds['likelier']):20}")
    for who in COLUMNS:
        ratios = [a / b for a, b in zip(seconds.get(who, []), seconds["likelier"], strict=False)]
        cells.append(f"{spread(ratios) if ratios else '':18}")
    if looks:
        cells.append(f"{result['seconds_of_a_look']:7.2f}")
    return f"| {' | '.join(cells)} |"


def tell(text: str) -> None:
    """Progress, for a reader who waits: on a terminal each note takes the place of the last."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def contests(chosen: argparse.Namespace, pythae_python: Path | None) -> Iterator[Result]:
    """All that were asked for, one after the other."""
    number, begun = 0, time.monotonic()
    of = len(chosen.data) * len(chosen.threads) * len(chosen.families) * len(chosen.batch)
    for data in chosen.data:
        images = images_called(data)
        if max(chosen.batch) > len(images.train):
            raise InputError(f"a batch of {max(chosen.batch)} is more than the {len(images.train)} images of {data}")
        with ExitStack() as stack:
            pythae = None
            if pythae_python and "vae" in chosen.families:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                pythae = stack.enter_context(closing(Pythae(pythae_python, images, folder)))
            for threads in chosen.threads:
                torch.set_num_threads(threads)
                for name in chosen.families:
                    for batch in chosen.batch:
                        number, minutes = number + 1, (time.monotonic() - begun) / 60
                        tell(f"{number} of {of}, after {minutes:.1f} minutes: {data} {name} {batch}")
                        yield contest(name, images, batch, chosen, pythae)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=["mnist"])
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--batch", type=int, nargs="*", default=[128])
    parser.add_argument("--threads", type=int, nargs="*", default=[2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--slot", type=float, default=1.0, help="seconds of likelier's turns in a round; 1 turn at least"
    )
    parser.add_argument("--looks", action="store_true", help="time a look as well; needs real images")
    parser.add_argument("--pythae", type=Path, help="the Python that has pythae (.venv-pythae, if it is there)")
    parser.add_argument("--json", type=Path, help="write all seconds there, after each contest")
    parser.add_argument("--show", type=Path, help="print the table of an earlier --json, and time nothing")
    chosen = parser.parse_args()
    if min(*chosen.batch, *chosen.threads, chosen.rounds) < 1 or not chosen.slot > 0:
        parser.error("batch, threads and rounds are whole numbers of at least 1, a slot more than 0 seconds")
    try:
        show(json.loads(chosen.show.read_text())) if chosen.show else compare(chosen)
    except InputError as error:
        parser.error(str(error))


def compare(chosen: argparse.Namespace) -> None:
    """All contests, a line each as they end."""
    python = chosen.pythae or (PYTHAE if PYTHAE.exists() else None)
    about = about_this(chosen, python)
    cells = len(chosen.data) * len(chosen.threads) * len(chosen.families) * len(chosen.batch)
    minutes = cells * (3 + chosen.rounds * (8 * chosen.slot + 0.5)) / 60
    tell(f"{cells} to time: about {minutes:.0f} minutes, and more where one turn takes longer than a slot\n")
    if about["load"] > 0.5:
        tell(f"this machine is busy, load {about['load']:.1f}: threads will wait for each other, and figures mislead\n")
    print(head_of(about, chosen.looks), flush=True)
    with tempfile.TemporaryDirectory() as folder:  # what torch imports with its first optimiser belongs to nobody
        digits = load("digits")
        Ours(build(find("vae"), find("vae").Config(), digits, seed=0), digits, Path(folder, "first"), taped=True)
    results: list[Result] = []
    for result in contests(chosen, python):
        results.append(result)
        tell("")
        print(row_of(result, chosen.looks), flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


def about_this(chosen: argparse.Namespace, python: Path | None) -> dict[str, Any]:
    """Machine, versions and settings."""
    return {
        "torch": torch.__version__,
        "platform": platform.platform(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "pythae": versions(python) if python else "left out, as it is not installed (`make bench-pythae`)",
        "rounds": chosen.rounds,
        "slot": chosen.slot,
    }


def show(found: Mapping[str, Any]) -> None:
    """The table of an earlier time."""
    results: list[Result] = found["results"]
    looks = any(result["seconds_of_a_look"] is not None for result in results)
    print(head_of(found, looks), *(row_of(result, looks) for result in results), sep="\n")


if __name__ == "__main__":
    main()
