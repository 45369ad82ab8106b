"""Time a training loop against what users run today, and against what the arithmetic alone takes.

    LIKELIER_DATA=DATA python benchmarks/training.py --data mnist --families vae gan --batch 128 --threads 2

All contenders train the same networks with the same equations (the family's own `turns`) on the same images; what
differs is the loop around them:

    student   DataLoader over single images, each converted by itself; plain Adam; `.item()` on every scalar, every step
    tidy      images in memory as floats, a shuffled index, fused Adam, nothing read back
    likelier  `loop.play` on the last turns of a run of 20 epochs, with its log and its last checkpoint, into a run
              directory; without looks, whose number is fixed and which are timed apart
    written   the same with every turn carried out as written, in place of from tape
    products  the turn's matrix products and convolutions alone, forward and backward, on the memory they have there
    limit     the turn's floating-point operations at the rate of the best of a few large matrix products

Each round times every contender once, in turn, so that a busy machine is busy for all; ratios are taken within a round
and their median is printed with the smallest and the largest. Start-up is in no figure.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from likelier.data import load
from likelier.errors import InputError
from likelier.family import Family, build, configure, find
from likelier.images import Images
from likelier.loop import Game, play
from likelier.run import Run
from likelier.tape import FixedStep, Recorder, again
from likelier.watch import Watch

ARITHMETIC = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}
OTHERS = "student", "tidy", "written", "products", "limit"


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images as a student's data set gives them: one at a time, converted when asked for."""

    def __init__(self, images: Images) -> None:
        self.images = images.train.images.numpy().transpose(0, 2, 3, 1)
        self.labels = images.train.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.images[i].transpose(2, 0, 1).copy()).float().div(255), self.labels[i]


class LoopStep:
    """The `Step` of a loop that somebody wrote around the networks."""

    def __init__(self, batch: int, stream: Iterator[tuple[Tensor, Tensor]]) -> None:
        self.batch, self.stream, self.progress = batch, stream, torch.zeros(())
        self.last: Tensor | None = None

    def images(self) -> Tensor:
        images, self.last = next(self.stream)
        return images

    def labels(self) -> Tensor:
        assert self.last is not None
        return self.last

    def randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape)


def one_by_one(images: Images, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(OneByOne(images), batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def resident(images: Images, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    x, labels = images.train.images.float() / 255, images.train.labels
    while True:
        for index in torch.randperm(len(x)).split(batch):
            if len(index) == batch:
                yield x[index], labels[index]


def somebodys(
    family: Family, stream: Iterator[tuple[Tensor, Tensor]], turns: int, fused: bool, read: bool
) -> Callable[[], None]:
    """A loop that ends after so many turns."""
    step, players = LoopStep(family.config.batch, stream), family.players()
    parameters = {name: player.parameters() for name, player in players.items()}
    optimisers = {
        name: torch.optim.Adam(parameters[name], player.lr, (player.beta1, player.beta2), fused=fused)
        for name, player in players.items()
    }

    def train() -> None:
        for _ in range(turns):
            for move in family.turns(step):
                last = list(move.losses)[-1]
                for name in move.losses:
                    optimisers[name].zero_grad()
                for name, loss in move.losses.items():
                    torch.autograd.backward(loss, inputs=parameters[name], retain_graph=name != last)
                for name in move.losses:
                    optimisers[name].step()
                if read:
                    [value.item() for value in (*move.losses.values(), *move.log.values())]

    return train


def ours(make: Callable[[], Family], images: Images, turns: int, folder: Path, taped: bool) -> Callable[[], None]:
    """The last turns of a run of 20 epochs, with its log and its last checkpoint."""
    runs = iter(range(10**9))

    def train() -> None:
        family = make()
        family.replays = taped
        run = Run.create(folder / f"{'taped' if taped else 'written'}-{next(runs)}", {}, {})
        budget = 20 * len(images.train)
        game = Game(family, images, 0, budget, torch.device("cpu"))
        game.step.batches.position = budget - turns * family.config.batch
        play(game, run, lambda *_: {}, lambda *_: None, 60.0)

    return train


def arithmetic_of(game: Game, turns: int) -> tuple[Callable[[], None], int]:
    """The products of a turn by themselves, so many times, and the floating-point operations of one turn."""
    game.turn()
    with Recorder() as recorder:
        game.carry_out(FixedStep(game.step, recorder))
    with FlopCounterMode(display=False) as counter:
        game.carry_out(game.step)
    calls = [again(call) for call in recorder.calls if call.name in ARITHMETIC]

    @torch.no_grad()
    def products() -> None:
        for _ in range(turns):
            for call in calls:
                call()

    return products, counter.get_total_flops()


def best_rate(seconds: float = 0.2) -> float:
    """Floating-point operations a second of the fastest large product, in single precision."""
    best = 0.0
    for n in (512, 1024, 2048):
        a, b, out = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
        until = time.perf_counter() + seconds
        while (start := time.perf_counter()) < until:
            torch.mm(a, b, out=out)
            best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def contest(name: str, images: Images, settings: Mapping[str, object], turns: int, rounds: int) -> dict[str, object]:
    """Seconds an epoch of every contender in every round."""
    cls = find(name)
    config = configure(cls, settings)

    def make() -> Family:
        return build(cls, config, images, seed=0).train()

    epoch = len(images.train) / (turns * config.batch)
    with tempfile.TemporaryDirectory() as folder:
        products, flops = arithmetic_of(Game(make(), images, 0, 10**9, torch.device("cpu")), turns)
        contenders = {
            "student": somebodys(make(), one_by_one(images, config.batch), turns, fused=False, read=True),
            "tidy": somebodys(make(), resident(images, config.batch), turns, fused=True, read=False),
            "likelier": ours(make, images, turns, Path(folder), taped=True),
            "written": ours(make, images, turns, Path(folder), taped=False),
            "products": products,
        }
        found: dict[str, list[float]] = {who: [] for who in ("likelier", *OTHERS)}
        for who in ("student", "tidy", "products"):  # the others begin anew in each round
            contenders[who]()
        for _ in range(rounds):
            for who, train in contenders.items():
                found[who].append(epoch * timed(train))
            found["limit"].append(epoch * turns * flops / best_rate())
        look = looks_of(make(), images, Path(folder))
    return {"family": name, "batch": config.batch, "seconds_per_epoch": found, "seconds_of_a_look": look}


def looks_of(family: Family, images: Images, folder: Path) -> float:
    """Seconds of one look, of which a run of any length has sixteen at most."""
    from likelier.features import extractor

    watch = Watch(Run.create(folder / "looked at", {}, {}), images, extractor(images))
    family.eval()
    return statistics.median(timed(partial(watch, family, seen)) for seen in range(3))


def row_of(result: Mapping[str, object]) -> str:
    seconds = result["seconds_per_epoch"]
    assert isinstance(seconds, dict)
    medians = "".join(f"{statistics.median(values):10.2f}" for values in seconds.values())
    ratios = []
    for who in OTHERS:
        values = [a / b for a, b in zip(seconds[who], seconds["likelier"], strict=True)]
        ratios.append(f"{f'{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})':18}")
    return f"{result['family']:9}{result['batch']:6}{medians}  {''.join(ratios)}{result['seconds_of_a_look']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--families", nargs="*", default=["vae", "gan", "dcgan", "vae_gan"])
    parser.add_argument("--batch", type=int, nargs="*", default=[128])
    parser.add_argument("--threads", type=int, nargs="*", default=[2])
    parser.add_argument("--turns", type=int, help="of one round (a tenth of an epoch)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if min(*chosen.batch, *chosen.threads, chosen.rounds, chosen.turns or 1) < 1:
        parser.error("batch, threads, turns and rounds are whole numbers of at least 1")
    try:
        compare(chosen, load(chosen.data))
    except InputError as error:
        parser.error(str(error))


def compare(chosen: argparse.Namespace, images: Images) -> None:
    """All the contests that were asked for, a line each."""
    results = []
    print("medians, seconds an epoch; then how many times as long as likelier, median (least–most); seconds of a look")
    head = "".join(f"{who:>10}" for who in ("likelier", *OTHERS))
    print(f"{'family':9}{'batch':>6}{head}  {''.join(f'{who:18}' for who in OTHERS)}look")
    for threads in chosen.threads:
        torch.set_num_threads(threads)
        print(f"{threads} thread{'s' * (threads > 1)}")
        for name in chosen.families:
            for batch in chosen.batch:
                turns = chosen.turns or max(5, len(images.train) // (10 * batch))
                result = {"threads": threads, **contest(name, images, {"batch": batch}, turns, chosen.rounds)}
                results.append(result)
                print(row_of(result), flush=True)
    if chosen.json:
        about = {"torch": torch.__version__, "platform": platform.platform(), "data": chosen.data}
        chosen.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
