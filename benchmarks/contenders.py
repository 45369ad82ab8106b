"""The loops that are timed: what others write around a family's networks, pythae's trainer, and likelier's own.

Each is a function that trains for so many turns and returns the seconds they took.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from likelier.errors import InputError
from likelier.family import Family, Move
from likelier.images import Batches, Images
from likelier.loop import Game, play
from likelier.run import Run

Contender = Callable[[int], float]

EPOCHS = 20
"""Of the run that likelier's turns are taken from: what happens once a run is shared out among so many."""
CHECKPOINT_SECONDS = 60.0
WORKER = Path(__file__).with_name("pythae_worker.py")


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST and CIFAR10 with ToTensor give them, work for work.

    torchvision is not a dependency, so what it does for an image is written out here: the stored image becomes a PIL
    image, since transforms are written for these, and that a tensor: copied, laid out as [c, h, w], made float and
    divided. There MNIST is stored as a tensor and CIFAR-10 as an array, their labels as a tensor and as a list.
    """

    def __init__(self, images: Images) -> None:
        split = images.train
        self.grey = images.shape[0] == 1
        self.images = split.images.squeeze(1) if self.grey else split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels if self.grey else split.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        stored, label = self.images[i], int(self.labels[i])
        picture = Image.fromarray(stored.numpy(), mode="L") if self.grey else Image.fromarray(stored)
        pixels = torch.from_numpy(np.array(picture, dtype=np.uint8, copy=True))
        pixels = pixels.view(picture.height, picture.width, len(picture.getbands())).permute(2, 0, 1).contiguous()
        return pixels.to(torch.get_default_dtype()).div(255), label


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
    """Batches of single images; without the last, shorter one of an epoch, which some families' turns do not take."""
    loader = DataLoader(OneByOne(images), batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def resident(images: Images, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches indexed from floats in memory."""
    x, labels = images.train.images.float() / 255, images.train.labels
    while True:
        for index in torch.randperm(len(x)).split(batch):
            if len(index) == batch:
                yield x[index], labels[index]


def student(family: Family, images: Images) -> Contender:
    """Single images, plain Adam, `backward()` into everything, every scalar read in every step."""

    def backward(move: Move, _: Mapping[str, list[Tensor]]) -> None:
        for loss in move.losses.values():
            loss.backward()  # a generator's also into the discriminator, whose zero_grad() throws it away

    def read(move: Move) -> None:
        for value in (*move.losses.values(), *move.log.values()):
            value.item()

    return loop(family, one_by_one(images, family.config.batch), backward, read, fused=None)


def tidy(family: Family, images: Images) -> Contender:
    """Images in memory, fused Adam, no needless gradient, nothing read back."""
    return loop(family, resident(images, family.config.batch), backward_each, lambda move: None, fused=True)


def backward_each(move: Move, parameters: Mapping[str, list[Tensor]]) -> None:
    """The gradient of each player's own loss alone."""
    last = list(move.losses)[-1]
    for name, loss in move.losses.items():
        torch.autograd.backward(loss, inputs=parameters[name], retain_graph=name != last)


def loop(
    family: Family,
    stream: Iterator[tuple[Tensor, Tensor]],
    backward: Callable[[Move, Mapping[str, list[Tensor]]], None],
    read: Callable[[Move], None],
    fused: bool | None,
) -> Contender:
    """zero_grad, backward, step; players that move at once need gradients of their own, whoever writes the loop."""
    step, players = LoopStep(family.config.batch, stream), family.players()
    parameters = {name: player.parameters() for name, player in players.items()}
    optimisers = {
        name: torch.optim.Adam(parameters[name], player.lr, (float(player.beta1), player.beta2), fused=fused)
        for name, player in players.items()
    }

    def train(turns: int) -> None:
        for _ in range(turns):
            for move in family.turns(step):
                for name in move.losses:
                    optimisers[name].zero_grad()
                (backward if len(move.losses) == 1 else backward_each)(move, parameters)
                for name in move.losses:
                    optimisers[name].step()
                read(move)

    return lambda turns: timed(lambda: train(turns))


class Ended(Exception):
    """The timed stretch of a run is over, before its last checkpoint, which is timed apart."""


class Ours:
    """The last turns of a run, by `loop.play` with its log, and their share of what is not done in every turn.

    Once a run the game is made, the first turns are recorded, the first and the last checkpoint are written; once a
    minute there is another checkpoint.
    """

    def __init__(
        self, family: Family, images: Images, folder: Path, taped: bool, mixed_precision: bool = False
    ) -> None:
        family.replays = taped and family.replays
        self.images, self.run = images, Run.create(folder, {}, {})
        start = time.perf_counter()
        device, budget = torch.device("cpu"), EPOCHS * len(images.train)
        self.game = Game(family, images, 0, budget, device, mixed_precision=mixed_precision)
        for _ in range(3 if taped else 1):  # what a tape is made from
            self.game.turn()
        self.once = time.perf_counter() - start
        self.images_of_a_turn = self.game.seen // self.game.turns
        self.save = timed(lambda: self.run.save(self.game.state()))

    def __call__(self, turns: int) -> float:
        """Train."""
        seconds = timed(lambda: self.play(turns))
        share = turns * self.images_of_a_turn / self.game.budget
        return seconds + share * (self.once + 2 * self.save) + seconds / CHECKPOINT_SECONDS * self.save

    def play(self, turns: int) -> None:
        """The last turns of the budget, without the last checkpoint."""
        game = self.game
        game.step.batches = Batches(self.images.train, 0, "cpu")  # anew: its permutation belongs to the time
        game.step.batches.position, game.turns = game.budget - turns * self.images_of_a_turn, 0
        with suppress(Ended):
            play(game, self.run, lambda *_: {}, end, float("inf"))
            raise InputError("the training has diverged, so its turns were not all made: choose other seeds or data")


def end(seen: int, total: int, _: Mapping[str, float]) -> None:
    """Raise `Ended` with the last line of the log."""
    if seen >= total:
        raise Ended


def versions(python: Path) -> str:
    """Those of pythae and its torch; InputError if that Python has none."""
    ask = "from importlib.metadata import version as v; print('pythae', v('pythae') + ', its torch', v('torch'))"
    try:
        return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise InputError(f"{python} does not run, or has no pythae: `make bench-pythae` makes one that has") from None


class Pythae:
    """pythae's VAE and trainer, in a process with an environment of its own that waits between its turns."""

    def __init__(self, python: Path, images: Images, folder: Path) -> None:
        np.save(folder / "images.npy", images.train.images.numpy())
        self.errors = folder / "pythae.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [python, WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.answer()  # it is ready

    def contender(self, family: Family) -> Contender:
        """So many turns of the same networks, by its own clock, which its start is not on."""
        config = family.config
        asked = {"hidden": config.hidden, "latent": config.latent, "lr": config.lr, "batch": config.batch}

        def train(turns: int) -> float:
            self.process.stdin.write(json.dumps({**asked, "turns": turns, "threads": torch.get_num_threads()}) + "\n")
            self.process.stdin.flush()
            return float(self.answer())

        return train

    def answer(self) -> str:
        """The next line it says; InputError if it has ended."""
        line = self.process.stdout.readline().strip()
        if not line:
            self.process.wait()
            last = (self.errors.read_text().strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"pythae's process has ended: {last}; `make bench-pythae` makes its environment")
        return line

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
