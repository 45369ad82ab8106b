"""A family's mistakes are said in one line before anything is written: every way to go wrong, with what is said."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import likelier
from likelier.experiment import train
from likelier.families.gan import GAN
from likelier.family import Move, Player
from likelier.rehearsal import rehearse

CPU = torch.device("cpu")


def broken(**methods: Callable[..., object]) -> GAN:
    """The plain GAN with some of its methods replaced."""
    family = type("Broken", (GAN,), methods)
    return likelier.family.build(family, GAN.Config(batch=8), (1, 8, 8), seed=0)


def unchecked(losses: object, log: object) -> Move:
    """A Move as users make it: without the checker of shapes that these tests run under."""
    move = object.__new__(Move)
    object.__setattr__(move, "losses", losses)
    object.__setattr__(move, "log", log)
    return move


def no_images(self, step) -> Iterator[Move]:
    loss = self.score(self.decode(step.randn(8, 64))).mean()
    yield Move({"generator": loss})


def no_moves(self, step) -> Iterator[Move]:
    step.images()
    yield from ()


def nobody(self, step) -> Iterator[Move]:
    yield Move({"nobody": self.score(step.images()).mean()})


def empty(self, step) -> Iterator[Move]:
    step.images()
    yield Move({})


def vector(self, step) -> Iterator[Move]:
    yield unchecked({"discriminator": self.score(step.images())}, {})


def no_gradient(self, step) -> Iterator[Move]:
    yield Move({"discriminator": self.score(step.images()).mean().detach()})


def a_float_on_the_log(self, step) -> Iterator[Move]:
    yield unchecked({"discriminator": self.score(step.images()).mean()}, {"d": 0.5})


def dropout(self, step) -> Iterator[Move]:
    yield Move({"discriminator": nn.functional.dropout(self.score(step.images())).mean()})


def half_of_the_players(self) -> dict[str, Player]:
    return {"generator": Player((self.generator,), 1e-3)}


def one_twice(self) -> dict[str, Player]:
    return {"discriminator": Player((self.discriminator,), 1e-3), "generator": Player((self,), 1e-3)}


def steps(**settings: object) -> Callable[..., dict[str, Player]]:
    def players(self) -> dict[str, Player]:
        own = Player((self.discriminator,), 1e-3)
        object.__setattr__(own, *next(iter(settings.items())))  # past the checker of types, as users do
        return {"discriminator": own, "generator": Player((self.generator,), 1e-3)}

    return players


def too_bright(self, z: Tensor) -> Tensor:
    return 100 * self.generator(z).sigmoid()


def flat(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
    return torch.zeros(n, 64)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"turns": no_images}, "drew no images"),
        ({"turns": no_moves}, "made no move"),
        ({"turns": nobody}, "'nobody', but the players are discriminator, generator"),
        ({"turns": empty}, "wanted a Move with a loss"),
        ({"turns": lambda self, step: None}, "turns returned NoneType"),
        ({"turns": lambda self, step: iter([torch.zeros(())])}, "turns yielded Tensor"),
        ({"turns": vector}, r"a tensor of shape \(8,\), wanted a 0-d tensor"),
        ({"turns": no_gradient}, "wanted a 0-d tensor with a gradient"),
        ({"turns": a_float_on_the_log}, "logs d as of type float"),
        ({"turns": dropout}, "global generator"),
        ({"players": half_of_the_players}, "belongs to none"),
        ({"players": one_twice}, "belongs to two"),
        ({"players": steps(lr_factors=(1.0, 2.0))}, "2 lr_factors for 1 modules"),
        ({"players": steps(lr_factors=())}, "0 lr_factors for 1 modules"),
        ({"players": steps(schedule=lambda spent: "fast")}, "gives 'fast' when 0 of the budget is spent"),
        ({"players": steps(schedule=lambda spent: 1 - 2 * spent)}, "gives -1.0 when 1 of the budget is spent"),
        ({"players": steps(schedule=lambda spent: float("nan"))}, "gives nan when 0 of the budget is spent"),
        ({"decode": too_bright}, r"wanted \[0, 1\]"),
        ({"sample": flat}, r"wanted \(2, 1, 8, 8\)"),
    ],
    ids=lambda value: "-".join(f"{k}={v.__name__}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_mistake_is_said(methods: dict[str, Callable[..., object]], said: str):
    with pytest.raises(likelier.InputError, match=said):
        rehearse(broken(**methods), likelier.load_images("digits"), 0, CPU)


def test_a_family_without_a_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = "from dataclasses import dataclass\nfrom likelier.families.gan import GAN\n"
    code += "class Mine(GAN):\n    @dataclass(frozen=True)\n    class Config:\n        latent: int = 3\n"
    (tmp_path / "mine_models").mkdir()
    (tmp_path / "mine_models" / "nobatch.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(likelier.InputError, match="have no batch"):
        train("mine_models.nobatch", images=64, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_leaves_no_trace(tmp_path: Path):
    """The run after it starts from its own first bit: the same as one whose rehearsal took longer."""
    state = torch.get_rng_state()
    short = train("vae_gan", images=256, out=tmp_path / "short")
    rehearse(broken(), likelier.load_images("digits"), 0, CPU)
    again = train("vae_gan", images=256, out=tmp_path / "again")
    assert (short.path / "metrics.jsonl").read_bytes() == (again.path / "metrics.jsonl").read_bytes()
    assert torch.equal(state, torch.get_rng_state())
