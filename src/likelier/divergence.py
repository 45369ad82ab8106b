"""A step that is not finite: found on the device, left out there, and told at the end of a window (decision 14).

A loss or a gradient that is NaN or infinite would make every weight so. The check is therefore part of each update: its
terms, the losses and the norms of the gradients, stay on the device, and so does what they decide, so that no turn waits
for an answer. Python looks at the terms when it looks at the losses, counts what was left out, and ends a training that
makes no more steps.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from likelier.errors import InputError

PATIENCE = 20
"""Updates of a player in a row that may be left out: a rare batch explains one or two, only broken weights explain 20."""
CHECK = "check/"
"""How the names of a move's terms begin among the scalars of a turn."""


def terms_of(losses: Mapping[str, Tensor], gradients: Mapping[str, Sequence[Tensor]]) -> tuple[Tensor, Tensor, str]:
    """What has to be finite for a move to be carried out; 1 if some of it is not, else 0; and the name of the former.

    The norms are those of Adam's own arithmetic: a gradient whose square is infinite would never move its weight again.

    >>> losses = {"vae": torch.tensor(1.0)}
    >>> terms_of(losses, {"vae": [torch.ones(4)]})[:2]
    (tensor([1., 2.]), tensor(0.))
    >>> terms_of(losses, {"vae": [torch.tensor([math.inf])]})[1]
    tensor(1.)
    """
    names = [f"loss.{name}" for name in losses]
    names += [f"grad_norm.{name}" for name, found in gradients.items() for _ in found]
    norms = [torch.linalg.vector_norm(g) for found in gradients.values() for g in found]
    terms = torch.stack([*(loss.detach().float() for loss in losses.values()), *norms])
    return terms, (terms * 0).sum().ne(0).float(), "\n".join(names)  # 0 times what is not finite is NaN, which is not 0


def checks_in(scalars: Mapping[str, Tensor]) -> Iterator[tuple[list[str], Tensor]]:
    """The checks of a turn, in the order of its moves: the names of the terms, and the terms."""
    for key, terms in scalars.items():
        if key.startswith(CHECK):
            yield key.split("\n")[1:], terms


@dataclass
class Row:
    """Updates of one player that were left out: in all, and in the row that is open now, with how that began."""

    total: int = 0
    length: int = 0
    turn: int = 0
    images: int = 0
    terms: list[str] = field(default_factory=list)

class Skips:
    """The updates that a run left out, by player; a part of its state."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.over: str | None = None
        """Why the run has diverged, once a row was too long."""

    def count(self, window: Sequence[Mapping[str, Tensor]], turns: int, seen: Sequence[int]) -> dict[str, float]:
        """Take note of the turns of a window, of which `turns` is the last; what its line of the log should say.

        That is `skipped.PLAYER`, how many updates, and `not_finite.TERM`, the first turn in which it was not.
        """
        checks = [(turn, *check) for turn, scalars in enumerate(window) for check in checks_in(scalars)]
        values = iter(torch.cat([terms for *_, terms in checks]).tolist() if checks else [])
        line: dict[str, float] = {}
        for turn, names, _ in checks:
            broken = list(dict.fromkeys(name for name in names if not math.isfinite(next(values))))
            number = turns - len(window) + turn + 1
            for player in (name.removeprefix("loss.") for name in names if name.startswith("loss.")):
                self.note(player, broken, number, seen[turn])
                if broken:
                    line[f"skipped.{player}"] = line.get(f"skipped.{player}", 0) + 1
            line = {f"not_finite.{name}": number for name in broken} | line
        return line

    def note(self, player: str, broken: list[str], turn: int, images: int) -> None:
        """One update of one player: left out if something was not finite."""
        row = self.rows.get(player, Row())
        if not broken:
            row.length = 0
            return
        if row.length == 0:
            row.turn, row.images, row.terms = turn, images, broken
        row.total, row.length = row.total + 1, row.length + 1
        self.rows[player] = row
        if row.length >= PATIENCE and self.over is None:
            self.over = self.words(player)

    def words(self, player: str) -> str:
        """How the last row of a player began, and how long it is."""
        row = self.rows[player]
        first = f"{', '.join(row.terms)} not finite at turn {row.turn:,} ({row.images:,} images)"
        return f"{first}, and {row.length} updates of {player} left out in a row"

    @property
    def open(self) -> bool:
        """Whether some player's last update was left out."""
        return any(row.length for row in self.rows.values())

    def totals(self) -> dict[str, int]:
        """How many updates were left out, by player; no player with none."""
        return {name: row.total for name, row in self.rows.items()}

    def state(self) -> dict[str, Any]:
        """As JSON holds it; empty if nothing was ever left out."""
        return {name: asdict(row) for name, row in self.rows.items()}

    @staticmethod
    def of(state: Mapping[str, Any]) -> "Skips":
        """What `state` gave."""
        found = Skips()
        try:
            found.rows = {name: Row(**row) for name, row in state.items()}
        except (TypeError, AttributeError):
            raise InputError("the checkpoint does not fit this version: its skipped updates; train the run anew") from None
        return found
