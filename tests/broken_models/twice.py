"""One parameter under two names, as tied weights are."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.family import Family, Move, Player, Step, unconditional


class Twice(Family):
    """The mean of all images, and no codes."""

    @dataclass(frozen=True)
    class Config:
        """The batch alone."""

        batch: Annotated[int, Field(ge=1)] = 128

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.mean = nn.Parameter(torch.zeros(shape))
        self.again = nn.ParameterList([self.mean])

    def players(self) -> dict[str, Player]:
        """One."""
        return {"mean": Player((self,), 1e-2)}

    def turns(self, step: Step) -> Iterator[Move]:
        """The squared error."""
        yield Move({"mean": (step.images() - self.mean).square().mean()}, {})

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """The same image n times."""
        unconditional(labels)
        return self.mean.clamp(0, 1).repeat(n, 1, 1, 1)
