"""One turn played for nobody, before anything is written: what is wrong with a family is found, and said, here."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from likelier import rng
from likelier.arithmetic import arithmetic
from likelier.errors import InputError, out_of_memory
from likelier.family import Family, Move
from likelier.images import Images
from likelier.loop import Game


def rehearse(
    family: Family,
    images: Images,
    seed: int,
    device: torch.device,
    augment: Sequence[str] = (),
    mixed_precision: bool = False,
) -> Game:
    """Play one turn of a new family and draw two samples; the game can be thrown away, or timed.

    Raises:
        InputError: the players do not share out the parameters or have no proper step sizes, a turn makes no proper
            moves or draws no images, the samples are no images, or chance comes from somewhere else than the step.
    """
    who = f"the family {type(family).__module__}"
    check_players(family, who)
    check_step_sizes(family, who)
    game = Game(family, images, seed, 1, device, augment, mixed_precision)
    before = torch.get_rng_state()
    moves = family.turns(game.step)
    if not isinstance(moves, Iterator):
        raise InputError(f"{who}: turns returned {type(moves).__name__}, wanted moves from `yield Move(...)`")
    moved = False
    try:
        with arithmetic(device, mixed_precision):
            for move in moves:
                check_move(game, move, who)
                game.update(move)
                moved = True
    except RuntimeError as error:  # of a family that mixes types itself
        if not mixed_precision or out_of_memory(error):
            raise
        raise InputError(f"{who} cannot be played in mixed precision, leave that out: {first_line(error)}") from None
    if not moved or game.seen == 0:
        lacking = "drew no images with step.images()" if moved else "made no move"
        raise InputError(f"{who}: a turn {lacking}, so nothing would be learned, or the budget never spent")
    check_samples(game, images, who)
    if not torch.equal(before, torch.get_rng_state()):
        raise InputError(
            f"{who} draws from torch's global generator (torch.randn, nn.Dropout …), so no run could be repeated: "
            "wanted all chance from step.randn"
        )
    return game


def check_players(family: Family, who: str) -> None:
    """Every parameter belongs to exactly one player."""
    owned = [id(p) for player in family.players().values() for p in player.parameters()]
    twice = [name for name, p in family.named_parameters() if owned.count(id(p)) > 1]
    none = [name for name, p in family.named_parameters() if id(p) not in owned]
    if twice or none:
        found = f"{twice[0]} belongs to two" if twice else f"{none[0]} belongs to none"
        raise InputError(f"{who}: of its players, {found}; wanted every parameter in exactly one")


def check_step_sizes(family: Family, who: str) -> None:
    """A factor for each module, and a number for every share of the budget that is spent."""
    for name, player in family.players().items():
        if player.lr_factors is not None and len(player.lr_factors) != len(player.modules):
            raise InputError(
                f"{who}: {name} has {len(player.lr_factors)} lr_factors for {len(player.modules)} modules, "
                "wanted one for each"
            )
        for spent in (0.0, 0.5, 1.0):
            found = player.schedule(spent)
            if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < float("inf"):
                raise InputError(
                    f"{who}: the schedule of {name} gives {found!r} when {spent:g} of the budget is spent, "
                    "wanted a number of at least 0"
                )


def check_move(game: Game, move: object, who: str) -> None:
    """A move names players, and gives each a loss that can be differentiated."""
    if not isinstance(move, Move) or not move.losses:
        raise InputError(f"{who}: turns yielded {type(move).__name__}, wanted a Move with a loss for some player")
    for name, loss in move.losses.items():
        if name not in game.players:
            raise InputError(f"{who}: a move has a loss for {name!r}, but the players are {', '.join(game.players)}")
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise InputError(f"{who}: the loss of {name} is {described(loss)}, wanted a 0-d tensor with a gradient")
    for name, value in move.log.items():
        if not isinstance(value, Tensor) or value.ndim:
            raise InputError(f"{who}: it logs {name} as {described(value)}, wanted a 0-d tensor")
    for name, value in {**move.losses, **move.log}.items():
        if value.dtype == torch.bfloat16:
            raise InputError(
                f"{who}: {name} is a bfloat16, too short for a loss; wanted its networks made of likelier.nn.Network, "
                "or what they give as float32 with .float(), or no mixed precision"
            )


def check_samples(game: Game, images: Images, who: str) -> None:
    """Samples have the shape of the data and intensities in [0, 1]."""
    drawn = game.shown().sample(2, rng.generator(0, "rehearsal"))
    if drawn.shape != (2, *images.shape):
        raise InputError(f"{who}: two samples have shape {tuple(drawn.shape)}, wanted {(2, *images.shape)}")
    if drawn.min() < 0 or drawn.max() > 1:  # NaN passes: that is divergence, and said as such
        raise InputError(f"{who}: samples reach from {drawn.min():.3g} to {drawn.max():.3g}, wanted [0, 1]")


def first_line(error: Exception) -> str:
    """What is wrong, without torch's advice."""
    return str(error).partition("\n")[0]


def described(value: object) -> str:
    """What was found in place of a 0-d tensor."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
