"""A step that is not finite: found on the device, left out there, and told at the end of a window (decision 14).

A gradient that is NaN or infinite would make every weight so. The check is therefore part of each update: what it finds
stays on the device, and so does what follows from it, so that no turn waits for an answer. Python looks at it when it
looks at the losses, counts what was left out, and ends a training that makes no more steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from likelier.errors import InputError

PATIENCE = 20
"""Updates of a player in a row that are left out before a run ends: a rare batch explains one, broken weights all."""
CHECK = "check/"
"""How the names of a move's findings begin among the scalars of a turn: the place of the move and the player follow."""


def not_finite(gradients: Sequence[list[Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    """For each player 1 if its gradient is not finite, else 0; and whether that is so for any of them, 0-d.

    The kernel is that of mixed precision, which reads every gradient once, and multiplies it by 1.

    >>> not_finite([[torch.ones(4)], [torch.ones(4), torch.tensor([1, torch.nan])]], torch.device("cpu"))
    (tensor([0., 1.]), tensor(1.))
    """
    found, one = torch.zeros(len(gradients), device=device), torch.ones((), device=device)
    for mine, each in ((mine, each) for mine, each in zip(gradients, found, strict=True) if mine):
        torch._amp_foreach_non_finite_check_and_unscale_(mine, each, one)
    return found, found[0] if len(gradients) == 1 else found.amax()


@dataclass
class Row:
    """Updates of one player that were left out: in all, and in the row that is open now, with how that began."""

    total: int = 0
    length: int = 0
    turn: int = 0
    images: int = 0
    terms: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{', '.join(self.terms)} not finite at turn {self.turn:,} ({self.images:,} images)"


class Skips:
    """The updates that a run left out, by player; a part of its state."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.over: str | None = None
        """Why the run has diverged, once a row was too long."""

    def count(self, window: Sequence[Mapping[str, Tensor]], turns: int, seen: int) -> dict[str, float]:
        """Take note of the turns of a window, of which `turns` is the last, at `seen` images; what the log says.

        That is `skipped.PLAYER`, how many updates, and `not_finite.TERM`, the first turn in which it was not.
        """
        moves = [(i, players, scalars) for i, scalars in enumerate(window) for players in moves_in(scalars)]
        found = [flag for _, players, _ in moves for flag in players.values()]
        values = iter(torch.stack(found).tolist() if found else [])
        line: dict[str, float] = {}
        for i, players, scalars in moves:
            broken = [player for player in players if next(values)]
            terms = [term for player in broken for term in terms_of(player, scalars)]
            turn = turns - len(window) + i + 1
            for player in players:
                self.note(player, terms, turn, turn * seen // turns)
                if terms:
                    line[f"skipped.{player}"] = line.get(f"skipped.{player}", 0) + 1
            line = {f"not_finite.{term}": turn for term in terms} | line
        return line

    def note(self, player: str, terms: list[str], turn: int, images: int) -> None:
        """One update of one player: left out if something was not finite."""
        row = self.rows.get(player, Row())
        if not terms:
            row.length = 0
            return
        if row.length == 0:
            row.turn, row.images, row.terms = turn, images, terms
        row.total, row.length = row.total + 1, row.length + 1
        self.rows[player] = row
        if row.length >= PATIENCE and self.over is None:
            self.over = self.words(player)

    def words(self, player: str) -> str:
        """How the last row of a player began, and how long it is."""
        n = self.rows[player].length
        return f"{self.rows[player]}, and {n} update{'s' * (n > 1)} of {player} left out in a row"

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
            raise InputError(
                "the checkpoint does not fit this version: its skipped updates; train the run anew"
            ) from None
        return found


def moves_in(scalars: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """What was found of the players in each move of a turn."""
    moves: dict[str, dict[str, Tensor]] = {}
    for key, found in scalars.items():
        if key.startswith(CHECK):
            move, _, player = key.removeprefix(CHECK).partition("/")
            moves.setdefault(move, {})[player] = found
    return list(moves.values())


def terms_of(player: str, scalars: Mapping[str, Tensor]) -> list[str]:
    """What was not finite of a player whose gradient was not: its loss as well, or the gradient alone."""
    loss, gradient = f"loss.{player}", f"grad_norm.{player}"
    return [gradient] if bool(scalars[loss].isfinite()) else [loss, gradient]
