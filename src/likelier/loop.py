"""The only training loop: it plays any family's game, and knows the name of none.

The loop owns the optimisers, the moving averages, the log and the checkpoints; families own their equations.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from likelier import rng
from likelier.adam import Adam
from likelier.arithmetic import arithmetic
from likelier.augmentation import Augmentation
from likelier.divergence import CHECK, PATIENCE, Skips, not_finite
from likelier.errors import InputError
from likelier.family import Family, Move, Player, Step
from likelier.images import Batches, Images, as_float
from likelier.nn import Average
from likelier.run import Run, State
from likelier.tape import TapedTurn

Record = dict[str, float]
Evaluate = Callable[[Family, int], Mapping[str, float]]
"""What is measured while training: the family as it would be sampled from, and the images seen so far → scalars."""
OnProgress = Callable[[int, int, Mapping[str, float]], None]
"""Images seen, images in all, and the last line of the log."""

LOOKS = 16
"""How often a training is looked at: once before it begins, then at log-spaced points, the last at its end."""
WINDOWS = 400
"""Lines on the log of a training, or fewer; a long one has one every hundred turns."""
LATE = (0.6, 0.7, 0.8, 0.9)
"""Shares of the budget that are among them: whether a model stays good shows where it is good already."""


class TrainingStep:
    """The `Step` of a real run: batches on the device, noise from the run's own generator."""

    def __init__(self, batches: Batches, batch: int, noise: torch.Generator, augment: Augmentation) -> None:
        self.batches, self.batch, self.noise, self.augment = batches, batch, noise, augment
        self.progress = torch.zeros((), device=noise.device)
        self._drawn: Tensor | None = None

    @property
    def seen(self) -> int:
        """Images drawn so far: what budgets are counted in."""
        return self.batches.position

    def images(self) -> Float[Tensor, "b c h w"]:
        """A fresh batch in [0, 1]."""
        return as_float(self._stored())

    def images_into(self, out: Float[Tensor, "b c h w"]) -> None:
        """The same, in the memory of an earlier batch."""
        as_float(self._stored(), out)

    def _stored(self) -> UInt8[Tensor, "b c h w"]:
        position = self.batches.position
        self._drawn = self.batches.next_indices(self.batch)
        return self.augment(self.batches.source.images(self._drawn), position)

    def labels(self) -> Int64[Tensor, " b"]:
        """The classes of the images last drawn."""
        if self._drawn is None:
            raise RuntimeError("labels() belongs to the last images(), and none were drawn")
        return self.batches.source.labels(self._drawn)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise on the training device."""
        return torch.randn(shape, generator=self.noise, device=self.noise.device)

    def randn_into(self, out: Tensor) -> None:
        """The same, in the memory of earlier noise."""
        out.normal_(generator=self.noise)


class Game:
    """A family in play: everything that the rest of a run depends on, and one method to move it forward."""

    def __init__(
        self,
        family: Family,
        images: Images,
        seed: int,
        budget: int,
        device: torch.device,
        augment: Sequence[str] = (),
        mixed_precision: bool = False,
    ) -> None:
        self.family = family.to(device).train()
        self.mixed_precision = mixed_precision
        self.budget = budget
        self.turns = 0
        self.rounds = 1
        """How often each player moves in a turn, at least."""
        self.window: list[dict[str, Tensor]] = []
        """What the turns since the last line of the log gave."""
        self.earlier = 0
        """Images that the weights had seen before, where they are those of another run."""
        self.players = family.players()
        self.parameters = {name: player.parameters() for name, player in self.players.items()}
        self.optimisers = {
            name: Adam(self.parameters[name], player.lr, player.beta1, player.beta2, player.factors_of_lr())
            for name, player in self.players.items()
        }
        batches = Batches(images.train, rng.derived_seed(seed, "data"), device)
        noise = rng.generator(seed, "noise", device=device)
        augmentation = Augmentation(augment, rng.derived_seed(seed, "augment"))
        self.step = TrainingStep(batches, family.config.batch, noise, augmentation)
        self._shown = deepcopy(self.family).eval().requires_grad_(False)
        self.averages = list(averages(self._shown, self.players))
        self.skips = Skips()
        self.buffers = [buffer.clone() for buffer in self.family.buffers()]  # as they were before the move
        self.moves = self.taped()

    @property
    def seen(self) -> int:
        """Images seen so far."""
        return self.step.seen

    def turn(self) -> dict[str, Tensor]:
        """One pass through the family's moves; its losses and logged scalars."""
        before = self.seen
        spent = min(1.0, before / self.budget)
        self.step.progress.fill_(spent)
        for name, player in self.players.items():
            self.optimisers[name].set_lr(player.lr * player.schedule(spent))
        scalars = self.moves()
        for average in self.averages:
            average.update(self.seen - before, self.earlier + self.seen)
        self.turns += 1
        return scalars

    def taped(self) -> Callable[[], dict[str, Tensor]]:
        """`carry_out`, from a tape once there is one."""
        if self.step.noise.device.type in ("cpu", "cuda") and self.family.replays:
            return TapedTurn(self.carry_out, self.step)
        return partial(self.carry_out, self.step)

    def carry_out(self, step: Step) -> dict[str, Tensor]:
        """The family's moves, one after the other; their losses and logged scalars."""
        scalars: dict[str, Tensor] = {}
        moved: Counter[str] = Counter()
        with arithmetic(self.step.noise.device, self.mixed_precision):
            for i, move in enumerate(self.moves_of(step)):
                moved.update(move.losses.keys())
                scalars |= {f"{CHECK}{i}/{name}": found for name, found in self.update(move).items()}
                scalars |= {f"loss.{name}": loss.detach() for name, loss in move.losses.items()}
                scalars |= {name: value.detach() for name, value in move.log.items()}
        self.rounds = min(moved.values(), default=1)
        return scalars

    def moves_of(self, step: Step) -> Iterator[Move]:
        """The family's moves; before it makes the next, its buffers are remembered."""
        self.keep_buffers()
        for move in self.family.turns(step):
            yield move
            self.keep_buffers()

    def update(self, move: Move) -> dict[str, Tensor]:
        """One simultaneous update: every moving player descends its own loss and no other.

        Returns for each 1 if its gradient is not finite, else 0. If any is not, nobody moves: an update is whole.
        """
        gradients(move, self.parameters)
        moving = {name: [p.grad for p in self.parameters[name] if p.grad is not None] for name in move.losses}
        found, skip = not_finite(list(moving.values()), self.step.noise.device)
        for name in move.losses:
            self.optimisers[name].step(skip)
        for buffer, before in zip(self.family.buffers(), self.buffers, strict=True):
            buffer.copy_(torch.where(skip.bool(), before, buffer))
        return dict(zip(moving, found, strict=True))

    def keep_buffers(self) -> None:
        """Remember the family's buffers: a pass that is not finite would leave its mark on batch statistics."""
        for buffer, before in zip(self.family.buffers(), self.buffers, strict=True):
            before.copy_(buffer)

    def broken_weights(self) -> list[str]:
        """The players with a weight that is NaN or infinite, or one that will never move again.

        A step can do that which was finite itself, if it is long, or if the square of its gradient is not.
        """
        kept: dict[str, Sequence[Tensor]] = {f"weights of {name}": ps for name, ps in self.parameters.items()}
        kept |= {f"squared gradients of {name}": optimiser.v for name, optimiser in self.optimisers.items()}
        kept = {name: tensors for name, tensors in kept.items() if tensors}
        if not kept:
            return []
        sums = torch.stack([torch.stack([t.detach().sum() for t in tensors]).sum() for tensors in kept.values()])
        found = sums.isfinite().tolist()  # a sum is not if one of its terms is not, and is the quickest to come by
        doubtful = [name for name, whole in zip(kept, found, strict=True) if not whole]  # a sum can overflow as well
        return [name for name in doubtful if not all(bool(t.isfinite().all()) for t in kept[name])]

    def in_doubt(self) -> bool:
        """Whether the last updates were left out, so that what the weights are may be why."""
        return self.skips.open or any(
            bool(flag) for scalars in self.window for name, flag in scalars.items() if name.startswith(CHECK)
        )

    def gradient_norms(self) -> dict[str, Tensor]:
        """The norm of each player's gradient in its last move."""
        norm = torch.nn.utils.get_total_norm
        return {
            f"grad_norm.{name}": norm([p.grad for p in parameters if p.grad is not None])
            for name, parameters in self.parameters.items()
        }

    @torch.no_grad()
    def shown(self) -> Family:
        """The family as it is sampled from: averaged weights where a player asks for them, live ones elsewhere."""
        averaged = {id(tensor) for average in self.averages for tensor in average.averaged}
        for shown, live in zip(tensors_of(self._shown), tensors_of(self.family), strict=True):
            if id(shown) not in averaged:
                shown.copy_(live)
        return self._shown

    def state(self) -> State:
        """The whole state, as a run keeps it: copies, which the game's further course leaves alone."""
        tensors = {f"family/{name}": t for name, t in self.family.state_dict().items()}
        if self.averages:
            tensors |= {f"shown/{name}": t for name, t in self.shown().state_dict().items()}
        for player, optimiser in self.optimisers.items():
            tensors |= {f"optimiser/{player}/{name}": t for name, t in optimiser.state().items()}
        tensors["noise"] = self.step.noise.get_state()
        for n, scalars in enumerate(self.window):  # numbered, as the order of the log would be lost
            tensors |= {f"window/{n}/{k}/{name}": t for k, (name, t) in enumerate(scalars.items())}
        copies = {name: t.detach().clone() for name, t in tensors.items()}
        skipped = {"skipped": kept} if (kept := self.skips.state()) else {}
        return State(copies, {"turns": self.turns, "images": self.seen, **skipped})

    def begin_from(self, state: State, images: Images) -> None:
        """Take the weights and their moving averages from another run; optimisers, noise and images start anew.

        What the family had learned of that run's images it learns of these.
        """
        load_weights(self.family, state, "family/")
        averaged = any(name.startswith("shown/") for name in state.tensors)
        load_weights(self._shown, state, "shown/" if averaged else "family/")
        self.family.meet(images)
        self._shown.meet(images)

    def restore(self, state: State) -> None:
        """Go back to `state`."""
        load_weights(self.family, state, "family/")
        if self.averages:
            load_weights(self._shown, state, "shown/")
        for player, optimiser in self.optimisers.items():
            load_optimiser(optimiser, state, f"optimiser/{player}/")
        self.step.noise.set_state(state.tensors["noise"])
        self.step.batches.position = state.scalars["images"]
        self.turns = state.scalars["turns"]
        self.window = window_in(state, self.step.noise.device)
        self.skips = Skips.of(state.scalars.get("skipped", {}))
        self.moves = self.taped()  # an earlier tape plays on the optimisers' earlier memory


def gradients(move: Move, parameters: Mapping[str, list[nn.Parameter]]) -> None:
    """Put in every moving player's `.grad` the gradient of its own loss, and of nothing else."""
    last = list(move.losses)[-1]
    for name, loss in move.losses.items():
        mine = parameters[name]
        found = torch.autograd.grad(loss, mine, retain_graph=name != last, allow_unused=True)
        for p, gradient in zip(mine, found, strict=True):
            p.grad = gradient if gradient is None or gradient.stride() == p.stride() else laid_out_as(p, gradient)


def laid_out_as(p: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its parameter, which fused kernels take for granted."""
    return torch.empty_like(p).copy_(gradient)


def averages(shown: Family, players: Mapping[str, Player]) -> list[Average]:
    """The moving averages that the players ask for, kept in the weights of `shown`."""
    found = []
    for name, copied in shown.players().items():
        half_life = players[name].ema
        if half_life is not None:
            pairs = [
                (average, live)
                for mine, yours in zip(copied.modules, players[name].modules, strict=True)
                for average, live in zip(tensors_of(mine), tensors_of(yours), strict=True)
                if average.is_floating_point()
            ]
            found.append(Average(pairs, half_life))
    return found


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


def load_weights(module: nn.Module, state: State, prefix: str) -> None:
    """Load the tensors of `state` under `prefix`; InputError if they are another network's."""
    weights = {name.removeprefix(prefix): t for name, t in state.tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"the checkpoint does not fit the configuration of the run: {reason}") from None


def load_optimiser(optimiser: Adam, state: State, prefix: str) -> None:
    """Load what the optimiser kept from the tensors of `state` under `prefix`; InputError if they are another's."""
    kept = {name.removeprefix(prefix): t for name, t in state.tensors.items() if name.startswith(prefix)}
    try:
        optimiser.restore(kept)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"the checkpoint does not fit the configuration of the run: {prefix}{error}") from None


def window_in(state: State, device: torch.device) -> list[dict[str, Tensor]]:
    """What the turns since the last line of the log gave, in the order in which they gave it."""
    window: dict[str, dict[str, Tensor]] = {}
    keys = [key.split("/", 3) for key in state.tensors if key.startswith("window/")]
    for _, turn, place, name in sorted(keys, key=lambda key: (int(key[1]), int(key[2]))):
        window.setdefault(turn, {})[name] = state.tensors[f"window/{turn}/{place}/{name}"].to(device)
    return list(window.values())


def looks(budget: int, batch: int, count: int = LOOKS) -> list[int]:
    """The image counts at which a training is looked at: log-spaced from a few batches to the end, and `LATE`.

    With fewer than `LOOKS` they are log-spaced alone; two are the beginning and the end.

    >>> looks(300_000, 128)[:3], looks(300_000, 128)[-1]
    ([0, 1000, 1769], 300000)
    """
    first = min(budget, max(batch, 1000))
    late = [share * budget for share in LATE if share * budget >= first] if count >= LOOKS else []
    spaced = np.geomspace(first, budget, count - 1 - (len(LATE) if count >= LOOKS else 0))
    return [0, *sorted({round(p) for p in [*(spaced if count > 2 else [budget]), *late]})]


@dataclass
class Clock:
    """Seconds of training, without what is only looked at or saved."""

    seconds: float = 0.0
    started: float | None = None

    def start(self) -> None:
        """Count from now, or go on counting."""
        if self.started is None:
            self.started = time.perf_counter()

    def stop(self) -> None:
        """Count no further."""
        if self.started is not None:
            self.seconds += time.perf_counter() - self.started
            self.started = None


def mean_of(window: list[dict[str, Tensor]]) -> Record:
    """The mean of each scalar over the turns that logged it, in one transfer from the device."""
    collected: dict[str, list[Tensor]] = {}
    for scalars in window:
        for name, value in scalars.items():
            if not name.startswith(CHECK):
                collected.setdefault(name, []).append(value)
    means = torch.stack([torch.stack(values).mean() for values in collected.values()]).tolist()
    return dict(zip(collected, means, strict=True))


def play(game: Game, run: Run, evaluate: Evaluate, on_progress: OnProgress, checkpoint_seconds: float) -> None:
    """Play until the budget is spent: all of `turns_of`."""
    for _ in turns_of(game, run, evaluate, on_progress, checkpoint_seconds):
        pass


def turns_of(
    game: Game,
    run: Run,
    evaluate: Evaluate,
    on_progress: OnProgress,
    checkpoint_seconds: float,
    look_count: int = LOOKS,
) -> Iterator[None]:
    """Play until the budget is spent, from wherever `game` stands, and record everything in `run`; pause at every turn.

    Logs are means over a window of turns, and nothing that depends on the clock reaches metrics.jsonl. Whoever closes
    this at a pause leaves a checkpoint of that very turn, unless updates are just being left out.
    """
    batch = game.step.batch
    window_length = min(100, -(-game.budget // (WINDOWS * batch)))
    points = looks(game.budget, batch, look_count)
    clock = Clock(run.seconds())
    if game.seen == 0:
        run.save(game.state())  # first: its log is empty, so that a resume from it looks again
        look(game, run, evaluate)
    saved = time.monotonic()
    clock.start()
    while game.seen < game.budget:
        before = game.seen
        game.window.append(game.turn())
        window_ends = game.turns % window_length == 0 or game.seen >= game.budget
        if window_ends:
            record = mean_of([*game.window, game.gradient_norms()]) | left_out(game, game.window)
            clock.stop()
            game.window.clear()
            run.log({"images": game.seen, "turns": game.turns, "rounds": game.turns * game.rounds, **record})
            run.log_timing({"images": game.seen, "seconds": round(clock.seconds, 3)})
            on_progress(game.seen, game.budget, record)
            if reason := diverged(game):
                outcome = ending(game, clock, "diverged", reason)
                game.restore(run.state())
                evaluate(game.shown(), game.seen)  # pictures of the last good state, which is what the run keeps
                run.finish(**outcome)
                return
        if any(before < point <= game.seen for point in points):
            clock.stop()
            look(game, run, evaluate)
        due = time.monotonic() - saved > checkpoint_seconds and not game.skips.open  # what it holds may be at fault
        if window_ends and (due or game.seen >= game.budget):
            run.save(game.state())
            saved = time.monotonic()
        clock.stop()  # while others may be played
        try:
            yield
        except GeneratorExit:
            if not game.in_doubt():  # or the last checkpoint is the better one, and nothing has been learned since
                run.save(game.state())
            raise
        clock.start()
    run.finish(**ending(game, clock, "finished", ""))


def look(game: Game, run: Run, evaluate: Evaluate) -> None:
    """One evaluation, on the log."""
    run.log({"images": game.seen, "evaluation": True, **evaluate(game.shown(), game.seen)})


def left_out(game: Game, window: Sequence[Mapping[str, Tensor]]) -> Record:
    """What the log should say of updates that were left out; the first of a run is told as well."""
    first = not game.skips.rows
    line = game.skips.count(window, game.turns, game.seen)
    if first and game.skips.rows:
        row = next(iter(game.skips.rows.values()))
        told = f"{row}: nobody moved then, and the training goes on; {PATIENCE} in a row end it"
        warnings.warn(told, stacklevel=2)
    return line


def diverged(game: Game) -> str | None:
    """Why a run ends here, if it does.

    One whose budget is spent before it could leave out so many has diverged if it did nothing else.
    """
    if broken := game.broken_weights():
        return f"{', '.join(broken)} not finite after {game.seen:,} images"
    idle = [player for player, row in game.skips.rows.items() if row.length >= game.turns and game.seen >= game.budget]
    return game.skips.over or (game.skips.words(idle[0]) if idle else None)


def ending(game: Game, clock: Clock, status: str, message: str) -> dict[str, Any]:
    """How the run ended."""
    clock.stop()
    return {
        "status": status,
        "images": game.seen,
        "seconds": round(clock.seconds, 3),
        "parameters": sum(p.numel() for p in game.family.parameters()),
        "message": message,
        **({"skipped": skipped} if (skipped := game.skips.totals()) else {}),
    }


def images_per_second(game: Game, seconds: float) -> float:
    """How fast this game is played here, from a warm-up of about `seconds` that is thrown away."""
    for _ in range(3):
        game.turn()
    before, start = game.seen, time.perf_counter()
    while time.perf_counter() - start < seconds:
        mean_of([game.turn() for _ in range(10)])  # waits for the device, as the end of a window does
    return (game.seen - before) / (time.perf_counter() - start)


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda, else mps, else cpu; InputError for a device that is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if name not in available:
        raise InputError(f"there is no device '{name}': wanted auto, cpu, cuda or mps")
    if not available[name]:
        raise InputError(f"this machine has no {name} device that torch can use: wanted --device auto or cpu")
    if name == "cuda":  # a seed fixes everything
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return torch.device(name)
