"""A VAE-GAN whose images are not finite while a stated share of the budget is being spent: to be broken at will."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.families.vae_gan import VAEGAN
from likelier.family import Move, Step


class NaNImages:
    """A step whose images are not finite where `when` says so."""

    def __init__(self, step: Step, when: Tensor) -> None:
        self.step, self.factor = step, torch.where(when, math.inf, 1.0)  # black is 0 · ∞, which is NaN

    def images(self) -> Tensor:
        return self.step.images() * self.factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)


class Poisoned(VAEGAN):
    @dataclass(frozen=True)
    class Config(VAEGAN.Config):
        begins: float = 2.0
        ends: float = 2.0
        width: int = 2
        taped: bool = True

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.replays = config.taped

    def turns(self, step: Step) -> Iterator[Move]:
        when = (step.progress >= self.config.begins) & (step.progress < self.config.ends)
        yield from super().turns(NaNImages(step, when))
