"""The tape: what is played from it is bit for bit what would have been carried out, or is not played from it at all."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likelier.data import load
from likelier.family import Family, Move, Player, Step, build, configure, find, names
from likelier.images import Images
from likelier.loop import Game, play
from likelier.nn import Network
from likelier.run import Run
from likelier.tape import (
    Call,
    Recorder,
    Tape,
    TapedTurn,
    captured,
    in_memory_used_again,
    memory,
    own_memory,
    tensors_in,
)

TURNS = 8


@pytest.fixture(scope="module")
def digits() -> Images:
    return load("digits")


def game_of(family: type[Family], images: Images, replays: bool, mixed_precision: bool = False) -> Game:
    model = build(family, family.Config(), images, seed=1)
    model.replays = replays
    return Game(model, images, 1, 10_000, torch.device("cpu"), mixed_precision=mixed_precision)


def assert_same_course(family: type[Family], images: Images, mixed_precision: bool = False) -> TapedTurn:
    written, taped = (game_of(family, images, replays, mixed_precision) for replays in (False, True))
    for turn in range(TURNS):
        a, b = written.turn() | written.gradient_norms(), taped.turn() | taped.gradient_norms()
        assert a.keys() == b.keys()
        assert [k for k in a if not torch.equal(a[k], b[k])] == [], turn
    a, b = written.state(), taped.state()
    assert a.scalars == b.scalars
    assert [k for k in a.tensors if not torch.equal(a.tensors[k], b.tensors[k])] == []
    assert isinstance(taped.moves, TapedTurn)
    return taped.moves


@pytest.mark.parametrize("mixed_precision", [False, True])
@pytest.mark.parametrize("name", names())
def test_a_family_on_tape_takes_the_course_it_takes_as_written(name: str, mixed_precision: bool, digits: Images):
    moves = assert_same_course(find(name), digits, mixed_precision)
    assert moves.tape is not None, moves.why_not


def test_scalars_of_a_turn_stay_as_they_were_when_the_tape_plays_on(digits: Images):
    game = game_of(find("vae"), digits, True)
    kept = [game.turn()["loss.vae"] for _ in range(TURNS)]
    assert len({loss.item() for loss in kept}) == TURNS


class Odd(Family):
    """A linear model with labels, dropout of its own and a parameter whose gradient is one number repeated."""

    class Config:
        batch = 32

    def __init__(self, config: object, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.net = Network(nn.Flatten(), nn.Linear(64, 10))
        self.lift = nn.Parameter(torch.zeros(3, 5))
        self.norm = nn.BatchNorm1d(10)
        self.count = 0

    def players(self) -> dict[str, Player]:
        return {"odd": Player((self,), 1e-2, ema=100.0)}

    def turns(self, step: Step) -> Iterator[Move]:
        x = step.images()
        kept = (step.randn(*x.shape) > 0).float()
        loss = F.cross_entropy(self.norm(self.net(x * kept)), step.labels()) + self.lift.sum() * step.progress
        yield Move({"odd": loss + self.extra(loss)}, {"progress": step.progress + 0.0})

    def extra(self, loss: Tensor) -> Tensor:
        return 0 * loss

    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        return torch.zeros(n, *self.shape)


def test_labels_buffers_and_gradients_without_memory_of_their_own(digits: Images):
    assert assert_same_course(Odd, digits).tape is not None


class Looks(Odd):
    def extra(self, loss: Tensor) -> Tensor:
        return loss if loss.item() > 1 else 2 * loss


def through_numpy(x: Tensor) -> float:
    return float(x.numpy())


def through_an_array(x: Tensor) -> float:
    return float(np.asarray(x))


def through_a_list(x: Tensor) -> float:
    return x.expand(1).tolist()[0]


def through_words(x: Tensor) -> float:
    return float(f"{x.expand(1)}"[8:-2])


def through_repr(x: Tensor) -> float:
    return float(repr(x)[7:-1])


def through_storage(x: Tensor) -> float:
    return x.untyped_storage().nbytes() and 2.0


def through_dlpack(x: Tensor) -> float:
    return float(np.from_dlpack(x))


def through_an_address(x: Tensor) -> float:
    return ctypes.c_float.from_address(x.data_ptr()).value


class LooksPast(Odd):
    """Looks at a value by a way that no operator shows."""

    def extra(self, loss: Tensor) -> Tensor:
        return loss if type(self).way(loss.detach()) > 1 else 2 * loss


def looks(through: Callable[[Tensor], float]) -> type[Family]:
    return type("Looks", (LooksPast,), {"way": staticmethod(through)})


class Counts(Odd):
    def extra(self, loss: Tensor) -> Tensor:
        self.count += 1
        return loss / self.count


class Remembers(Odd):
    """A statistic that each turn binds anew: the next turn reads other memory than this one."""

    mean = torch.ones(())

    def extra(self, loss: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        return loss / self.mean


class Makes(Odd):
    """A number that enters as a tensor: no operator shows it."""

    def extra(self, loss: Tensor) -> Tensor:
        self.count += 1
        return loss * torch.tensor(1.0 / self.count)


class Penalty(Odd):
    """A penalty on the gradient by the images, R1 (Mescheder et al. 2018)."""

    def turns(self, step: Step) -> Iterator[Move]:
        x = step.images().requires_grad_()
        y = self.net(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        loss = F.cross_entropy(self.norm(y), step.labels()) + slope.square().sum() + self.lift.sum()
        yield Move({"odd": loss})


class FreshStatistics(Odd):
    """Batch normalisation changes arguments that its schema does not say it changes."""

    def extra(self, loss: Tensor) -> Tensor:
        mean, var = torch.zeros(10), torch.ones(10)
        F.batch_norm(self.net.get_submodule("1").weight[:, :10], mean, var, training=True)
        return loss * (mean.square().sum() + var.mean())


class NormOfAll(Odd):
    """Operators on lists of tensors return lists, of one tensor too."""

    def extra(self, loss: Tensor) -> Tensor:
        return loss + torch.nn.utils.get_total_norm([2 * self.net.get_submodule("1").weight])


@pytest.mark.parametrize("family", [Penalty, FreshStatistics, NormOfAll])
def test_what_is_easily_played_wrong_is_played_right(family: type[Family], digits: Images):
    assert assert_same_course(family, digits).tape is not None


class AnotherView(Odd):
    """Another part of the same memory in each turn."""

    def extra(self, loss: Tensor) -> Tensor:
        self.count += 1
        return loss * self.lift.detach().flatten()[self.count : self.count + 1].cos().sum()


class Swaps(Odd):
    """The same operators on the same shapes, but not on the same batches."""

    def turns(self, step: Step) -> Iterator[Move]:
        x, y = step.images(), step.images()
        self.count += 1
        a, b = (x, y) if self.count % 2 else (y, x)
        yield Move({"odd": self.norm(self.net(a)).square().mean() - self.net(b).mean() + self.lift.sum()})


class Complex(Odd):
    def extra(self, loss: Tensor) -> Tensor:
        return loss + torch.fft.fft(self.net.get_submodule("1").weight).conj().imag.square().mean()


class Recurrent(Odd):
    """torch's fused kernel returns less when gradients are off."""

    def __init__(self, config: object, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.lstm = nn.LSTM(8, 4, batch_first=True)

    def extra(self, loss: Tensor) -> Tensor:
        return loss + self.lstm(loss.expand(2, 8, 8))[0].square().mean()


class Keeps(Odd):
    """What a turn has found out is kept for later, and looked at outside of turns."""

    def extra(self, loss: Tensor) -> Tensor:
        self.seen = 2 * loss.detach()
        return 0 * (loss + self.seen)


def test_what_a_family_keeps_is_of_the_last_turn(digits: Images):
    written, taped = game_of(Keeps, digits, False), game_of(Keeps, digits, True)
    for _ in range(TURNS):
        written.turn()
        taped.turn()
        assert torch.equal(written.family.seen, taped.family.seen)
    assert taped.moves.tape is not None


def test_results_that_are_no_longer_needed_leave_their_memory_to_later_ones(monkeypatch: pytest.MonkeyPatch):
    def bytes_of(calls: list[Call]) -> int:
        return sum(
            {
                memory(t): t.untyped_storage().nbytes()
                for call in calls
                for t in (*call.reads(), *tensors_in(call.out))
            }.values()
        )

    x = torch.ones(1000)
    with Recorder() as recorder:
        y = x
        for _ in range(20):
            y = y * 2
    own = own_memory(recorder.calls)
    assert len(own) == 19  # the last is ours
    assert bytes_of(in_memory_used_again(recorder.calls, own)) == 4000 * 4  # x, y, and two that take turns
    tape = Tape(recorder.calls)
    x.fill_(3)
    tape.play()
    assert torch.equal(y, torch.full((1000,), 3 * 2.0**20))


def test_memory_is_used_again_on_its_own_device_only():
    def chain(x: Tensor) -> Tensor:
        for _ in range(4):
            x = x * 2
        return x

    with Recorder() as recorder:
        chain(torch.ones(1000))
        chain(torch.ones(1000, device="meta"))
    for call in in_memory_used_again(recorder.calls, own_memory(recorder.calls)):
        assert len({t.device.type for t in (*call.reads(), *tensors_in(call.out))}) == 1


class Draws(Odd):
    def extra(self, loss: Tensor) -> Tensor:
        return loss * torch.rand((), generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:turns are carried out as written")
@pytest.mark.parametrize(
    ("family", "why"),
    [
        (Looks, "reads a value back"),
        (looks(through_numpy), "Tensor.numpy reads values back"),
        (looks(through_an_array), "Tensor.__array__ reads values back"),
        (looks(through_a_list), "Tensor.tolist reads values back"),
        (looks(through_dlpack), "Tensor.__dlpack__ reads values back"),
        (looks(through_an_address), "Tensor.data_ptr reads values back"),
        (looks(through_words), "Tensor.__format__ reads values back"),
        (looks(through_repr), "Tensor.__repr__ reads values back"),
        (looks(through_storage), "Tensor.untyped_storage reads values back"),
        (AnotherView, "two turns in a row"),
        (Swaps, "two turns in a row"),
        (Complex, "complex numbers"),
        (Recurrent, "something else when gradients are off"),
        (Counts, "two turns in a row"),
        (Remembers, "other memory"),
        (Makes, "other memory"),
        (Draws, "draws from a generator"),
    ],
)
def test_a_turn_that_will_not_serve_again_is_carried_out_as_written(family: type[Family], why: str, digits: Images):
    moves = assert_same_course(family, digits)
    assert moves.tape is None
    assert moves.why_not is not None
    assert why in moves.why_not


def test_a_run_says_that_it_is_not_taped(digits: Images, tmp_path: Path):
    run = Run.create(tmp_path / "run", {}, {})
    with pytest.warns(UserWarning, match="as written each time.*reads a value back"):
        play(game_of(Looks, digits, True), run, lambda family, seen: {}, lambda *_: None, 60)


def test_a_game_that_is_set_back_does_not_play_an_old_tape(digits: Images):
    game = game_of(find("gan"), digits, True)
    for _ in range(TURNS):
        game.turn()
    start = game.state()
    first = [game.turn()["loss.generator"] for _ in range(TURNS)]
    game.restore(start)
    assert [game.turn()["loss.generator"] for _ in range(TURNS)] == first


def views(x: Tensor, state: Tensor) -> Tensor:
    return torch.cat([x.t().reshape(-1)[:6], x[1:, :2].flatten() * 2]).view(2, -1).chunk(2, dim=1)[0] + state[0, 0]


def in_place(x: Tensor, state: Tensor) -> Tensor:
    state.mul_(0.5).add_(x)
    y = torch.zeros_like(x)
    y[0] = x[1]
    y += 1
    torch._foreach_mul_([y, state], 3.0)
    return y + state


def reductions(x: Tensor, state: Tensor) -> Tensor:
    values, index = x.max(dim=1)
    return values + index + x.softmax(1).sum(0).mean() + F.layer_norm(x, (4,)).var()


def derivatives(x: Tensor, state: Tensor) -> Tensor:
    w = state.detach().requires_grad_()
    (slope,) = torch.autograd.grad((w * x).square().sum(), w, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), w)[0]  # a gradient of a gradient, as penalties have it


@pytest.mark.parametrize("function", [views, in_place, reductions, derivatives])
def test_a_tape_is_the_function_on_new_values(function: Callable[[Tensor, Tensor], Tensor]):
    generator = torch.Generator().manual_seed(0)
    x, state, new = (torch.randn(3, 4, generator=generator) for _ in range(3))
    twin = state.clone()
    with Recorder() as recorder:
        out = function(x, state)
    torch.testing.assert_close(out, function(x, twin), rtol=0, atol=0)
    tape = Tape(recorder.calls)
    for _ in range(3):
        new = new * 1.5
        x.copy_(new)
        tape.play()
        assert torch.equal(out, function(new, twin))
        assert torch.equal(state, twin)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU captures it")
def test_what_cannot_be_captured_is_played_call_by_call_and_says_so():
    x = torch.ones(2)
    with Recorder() as recorder:
        y = 2 * x
    with pytest.warns(UserWarning, match="played call by call, not as one CUDA graph"):
        play = captured(Tape(recorder.calls))
    x.fill_(5)
    play()
    assert y.tolist() == [10, 10]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", names())
def test_a_captured_turn_is_the_turn_as_written_within_rounding(name: str, digits: Images):
    device = torch.device("cuda")
    games = []
    for taped in (True, False):
        family = build(find(name), configure(find(name), {}), digits, seed=0)
        family.replays = taped
        games.append(Game(family, digits, 0, TURNS * family.config.batch, device))
    for _ in range(10):
        scalars = [game.turn() for game in games]
        for key, value in scalars[0].items():
            assert torch.allclose(value, scalars[1][key], rtol=1e-3, atol=1e-4), key
    assert games[0].moves.replay is not games[0].moves.tape.play
