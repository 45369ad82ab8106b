"""How steadily a training went, for every player and for the whole, from the lines of its log.

It knows what the lines are called and nothing else: no model, no folder. What cannot be said comes as None, with the
reason under the same name in `why_not`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likelier.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Line = Mapping[str, Any]

LAST = 5
"""Evaluations that tell where a training ended."""
WARM_UP = 0.1
"""The share of training in which every gradient comes down from its untrained height."""

# The criteria of `stability_in_words`.
UNSTEADY = 0.05
SPIKY = 0.01
PEAKED = 5.0
WON = 0.99
UNDECIDED = 0.55
MEMORISED = 0.1
BETTER_BEFORE = 0.1


def training_stability(lines: Sequence[Line]) -> dict[str, Any]:
    """Measure how steadily a training went.

    Args:
        lines: the lines of metrics.jsonl, as `Run.metrics()` gives them, in the order of the log. Training lines hold
            `loss.PLAYER` and `grad_norm.PLAYER`, evaluations are marked `evaluation` and may hold `fd`, `d_pairwise`
            and `d_gap`. Values that are not finite (None or NaN) are left out and counted.

    Returns:
        A dictionary for JSON; None where something does not apply, and then `why_not` of the same level has the reason:

        - `players`, by name: `points` (finite losses), `rising_fraction` and `spikes` (see `metrics.stability`),
          `grad_norm_median`, and `grad_norm_peak`, the greatest gradient norm over that median; both without the first
          tenth of training.
        - `d_pairwise`: P[D(x) > D(G(z))], mean of the last 5 evaluations; `d_gap`: P[D(x_train) > D(x_held_out)] − ½ at
          the last.
        - `fd_mean`, `fd_sd`, `fd_count`: the Fréchet distance over the last 5 evaluations, and how many there were.
          They lie at 60 to 100% of the budget, so the sd holds what training still gained over that time.
        - `fd_best_minus_last` in units of the distance, `fd_best_minus_last_relative` as a share of the last one.
        - `not_finite_lines`: lines with a value that is not finite.

    >>> lines = [{"images": 128 * t, "loss.vae": 1 / t, "grad_norm.vae": 2.0} for t in range(1, 101)]
    >>> stability = training_stability(lines)
    >>> stability["players"]["vae"]["rising_fraction"], stability["d_gap"], stability["why_not"]["d_gap"]
    (0.0, None, 'no evaluation has d_gap: it takes a discriminator, and images held out from it')
    """
    training = [line for line in lines if not line.get("evaluation")]
    # The look at the untrained model says nothing of its training.
    evaluations = [line for line in lines if line.get("evaluation") and line.get("images") != 0]
    names = dict.fromkeys(key.removeprefix("loss.") for line in training for key in line if key.startswith("loss."))
    return {
        "players": {name: of_player(training, name) for name in names},
        **of_the_whole(evaluations),
        "not_finite_lines": sum(any(not finite(value) for value in line.values()) for line in lines),
    }


def of_player(training: Sequence[Line], name: str) -> dict[str, Any]:
    """The figures of one player."""
    from likelier.metrics.stability import (
        rising_fraction,
        spikes,
    )  # torch with it: whoever imports the report need not wait for that

    losses = finite_values(training, f"loss.{name}")
    begun = WARM_UP * max((line["images"] for line in training if finite(line.get("images"))), default=0)
    warm = [line for line in training if finite(line.get("images")) and line["images"] > begun]
    norms = finite_values(warm, f"grad_norm.{name}")
    found, why_not = taken({"rising_fraction": rising_fraction, "spikes": spikes}, losses)
    middle = as_tensor(norms).quantile(0.5).item() if norms else None
    peak = max(norms) / middle if middle else None
    if middle is None:
        why_not["grad_norm_median"] = f"no finite grad_norm.{name} was logged after the first tenth of training"
    if peak is None:
        why_not["grad_norm_peak"] = why_not.get("grad_norm_median", "half of the gradients are 0")
    figures = {"points": len(losses), **found, "grad_norm_median": middle, "grad_norm_peak": peak}
    return {**figures, "why_not": why_not}


def of_the_whole(evaluations: Sequence[Line]) -> dict[str, Any]:
    """The figures of the samples and of the discriminator."""
    from likelier.metrics.stability import best_minus_last, last_mean_and_sd

    fd = finite_values(evaluations, "fd")
    pairwise, gap = finite_values(evaluations, "d_pairwise")[-LAST:], finite_values(evaluations, "d_gap")
    why_not: dict[str, str] = {}
    mean, sd = (None, None) if len(fd) < 2 else last_mean_and_sd(as_tensor(fd), min(LAST, len(fd)))
    worse = best_minus_last(as_tensor(fd)) if fd else None
    relative = worse / fd[-1] if worse is not None and fd[-1] > 0 else None
    if len(fd) < 2:
        reason = f"{len(fd)} evaluations of the trained model have fd: wanted at least 2"
        why_not |= dict.fromkeys(("fd_mean", "fd_sd"), reason)
    if worse is None:
        why_not["fd_best_minus_last"] = "no evaluation of the trained model has fd"
    if relative is None:
        why_not["fd_best_minus_last_relative"] = why_not.get("fd_best_minus_last", "the last fd is 0")
    if not pairwise:
        why_not["d_pairwise"] = "no evaluation has d_pairwise: it takes a discriminator"
    if not gap:
        why_not["d_gap"] = "no evaluation has d_gap: it takes a discriminator, and images held out from it"
    return {
        "d_pairwise": math.fsum(pairwise) / len(pairwise) if pairwise else None,
        "d_gap": gap[-1] if gap else None,
        "fd_mean": mean,
        "fd_sd": sd,
        "fd_count": min(LAST, len(fd)),
        "fd_best_minus_last": worse,
        "fd_best_minus_last_relative": relative,
        "why_not": why_not,
    }


def taken(measures: Mapping[str, Callable[["Tensor"], float]], x: list[float]) -> tuple[dict[str, Any], dict[str, str]]:
    """Each measure of the series, and the reasons of those that refused it."""
    found: dict[str, Any] = {}
    why_not: dict[str, str] = {}
    for name, measure in measures.items():
        try:
            found[name] = measure(as_tensor(x))
        except InputError as error:
            found[name], why_not[name] = None, str(error)
    return found, why_not


def finite(value: Any) -> bool:
    """Whether a logged value is a number, and finite."""
    return isinstance(value, int | float) and math.isfinite(value)


def finite_values(lines: Sequence[Line], key: str) -> list[float]:
    """The finite values of one name, in the order of the lines."""
    return [float(line[key]) for line in lines if finite(line.get(key))]


def as_tensor(values: list[float]) -> "Tensor":
    """The values in float64."""
    import torch

    return torch.tensor(values, dtype=torch.float64)


def stability_in_words(stability: Mapping[str, Any]) -> list[str]:
    """Say what `training_stability` found, a sentence for each criterion that is met.

    The sentences hold the criteria and not the figures, so that seeds which met the same ones say the same.

    >>> lines = [{"images": 128 * t, "loss.vae": 1 / t, "grad_norm.vae": 2.0} for t in range(1, 101)]
    >>> stability_in_words(training_stability(lines))
    ['vae is steady: its loss rose beyond its noise in at most 5% of the steps, at most 1% of the points were
    spikes, and no gradient after the first tenth reached 5 times the median.']
    """
    of_players = [s for name, player in stability["players"].items() for s in player_in_words(name, player)]
    return [*of_players, *stability_warnings(stability)]


def stability_warnings(stability: Mapping[str, Any]) -> list[str]:
    """What `training_stability` found of the whole training that a reader of its figures should know.

    >>> lines = [{"images": 1000 * t, "evaluation": True, "fd": 9.0 + abs(t - 3)} for t in range(1, 9)]
    >>> stability_warnings(training_stability(lines))
    ['The training was better before: the best fd lies more than 10% below the last.']
    """
    said: list[str] = []
    pairwise, gap, worse = (stability[key] for key in ("d_pairwise", "d_gap", "fd_best_minus_last_relative"))
    if pairwise is not None and pairwise >= WON:
        said.append(
            f"The discriminator has won: it rates an image above a sample in at least {WON:.0%} of all pairs (mean of "
            f"the last {LAST} evaluations at most), so the generator learns little from it."
        )
    if pairwise is not None and abs(pairwise - 0.5) <= UNDECIDED - 0.5:
        said.append(
            "The discriminator cannot tell: it rates an image above a sample in "
            f"{1 - UNDECIDED:.0%} to {UNDECIDED:.0%} of all pairs (mean of the last {LAST} evaluations at most). The "
            "samples are that good, or it is that weak."
        )
    if gap is not None and gap > MEMORISED:
        said.append(
            "The discriminator memorises: it rates training images above held-out ones in more than "
            f"{0.5 + MEMORISED:.0%} of all pairs."
        )
    if worse is not None and worse > BETTER_BEFORE:
        said.append(f"The training was better before: the best fd lies more than {BETTER_BEFORE:.0%} below the last.")
    if stability["not_finite_lines"]:
        said.append("The log has lines with values that are not finite.")
    return said


def player_in_words(name: str, player: Mapping[str, Any]) -> list[str]:
    """The sentences on one player; none about what is not known."""
    rising, spikes, peak = player["rising_fraction"], player["spikes"], player["grad_norm_peak"]
    said = []
    if rising is not None and rising > UNSTEADY:
        said.append(f"{name} is unsteady: its loss rose beyond its noise in more than {UNSTEADY:.0%} of the steps.")
    if spikes is not None and spikes > SPIKY * player["points"]:
        said.append(f"{name} has spikes: more than {SPIKY:.0%} of the points of its loss stand out.")
    if peak is not None and peak >= PEAKED:
        said.append(f"{name} was jolted: after the first tenth a gradient reached {PEAKED:.0f} times the median.")
    if said or None in (rising, spikes, peak):
        return said
    return [
        f"{name} is steady: its loss rose beyond its noise in at most {UNSTEADY:.0%} of the steps, at most "
        f"{SPIKY:.0%} of the points were spikes, and no gradient after the first tenth reached {PEAKED:.0f} times the "
        "median."
    ]
