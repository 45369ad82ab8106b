"""What a training may collapse into, told from its log: the criteria, why they are what they are, and what helps.

Each is a pure function of the lines of metrics.jsonl. The thresholds lie between what healthy and sick trainings on
digits and MNIST gave (decision 14).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from likelier.stability import LAST, MEMORISED, WON, finite_values

Line = Mapping[str, Any]

COLLAPSED_BELOW = 0.5
"""Nats per image: with less, codes hardly tell one image from another (to name one of ten classes takes 2.3)."""
SAME = 0.05
"""Of the data's variance: samples that vary less are one image. Sick trainings had up to .03, healthy ones from .09."""
MISSING = 0.7
"""Share of the classes without a sample: sick trainings lacked .8 or more, the worst healthy one .5."""
MODES_MISSING = "modes are missing"
SATURATED = 0.1
"""Nats: a discriminator's loss without doubt (guessing costs 1.39). Sick trainings had up to .05, healthy ones from .4.

That it tells every pair is not enough: a DCGAN's does so in its first epochs, with a loss from which G still learns."""
SOON = 300
"""Rounds of the game, before which networks have hardly left their initial weights, and nothing has collapsed that ever
stood. A turn can hold several (`r3gan`); logs of the first days count turns alone."""
LONG = 0.4
"""The share of training at whose end a loss must have been that low: an early lead is often lost again."""


def collapse_warnings(lines: Sequence[Line]) -> list[str]:
    """What a run has collapsed into, a sentence each with what helps; empty for a healthy one.

    >>> looks = [{"images": n, "evaluation": True, "kl": 9.0, "diversity": 0.4, "classes_missing": 0} for n in (0, 9)]
    >>> collapse_warnings(looks)
    []
    >>> collapse_warnings([*looks, looks[1] | {"kl": 0.1}])
    ['posterior collapse: KL(q(z|x) ‖ p(z)) is 0.10 nats per image (below 0.5), ...']
    """
    kl = finite_values(trained_looks(lines)[-1:], "kl")
    found = posterior_collapse(kl[0]) if kl else None
    # One blur for every code is what a posterior that collapsed looks like, and no second finding.
    if max(finite_values(lines, "rounds") or finite_values(lines, "turns"), default=SOON) < SOON:
        return [found] if found else []
    of_samples = found or mode_collapse(lines) or modes_missing(lines)
    return [said for said in (of_samples, discriminator_won(lines), critic_overfits(lines)) if said]


def trained_looks(lines: Sequence[Line]) -> list[Line]:
    """The evaluations but the first, which is of the untrained model."""
    return [line for line in lines if line.get("evaluation") and line.get("images")]


def posterior_collapse(kl: float) -> str | None:
    """The warning for codes that carry nothing, or None."""
    if kl >= COLLAPSED_BELOW:
        return None
    return (
        f"posterior collapse: KL(q(z|x) ‖ p(z)) is {kl:.2f} nats per image (below {COLLAPSED_BELOW}), so the codes say "
        "next to nothing about the images and the samples are nearly one blur; weigh the reconstruction more: "
        "reduction=sum, a smaller variance, or a smaller beta"
    )


def mode_collapse(lines: Sequence[Line]) -> str | None:
    """The warning for samples that are all alike, or of hardly any class; None for others."""
    looks = trained_looks(lines)[-LAST:]
    diversity, missing = finite_values(looks, "diversity"), finite_values(looks, "classes_missing")
    found = []
    if diversity and (usual := median(diversity)) < SAME:
        found.append(f"vary {usual:.1%} as much as the data (below {SAME:.0%})")
    if missing and (usual := median(missing)) >= MISSING:
        found.append(f"lack {usual:.0%} of the classes ({MISSING:.0%} or more)")
    if not found:
        return None
    game = any("loss.discriminator" in line for line in lines)
    helps = (
        "take a game that does not break (the family r3gan as it comes), or this one without momentum: beta1=0 and "
        "beta2=0.99; or a smaller lr"
        if game
        else "train on more images, with a smaller lr, or give the decoder more: a larger hidden or width, network=conv"
    )
    return f"mode collapse: the samples {' and '.join(found)}, in the median of the last {len(looks)} looks; {helps}"


def modes_missing(lines: Sequence[Line]) -> str | None:
    """The warning for samples that lack a class or more, though not most of them; None for others.

    A look counts classes that a sample of its size lacks once in 20,000 by chance, so that one is not chance.
    """
    missing = finite_values(trained_looks(lines)[-LAST:], "classes_missing")
    if not missing or not 0 < (usual := median(missing)) < MISSING:
        return None
    return (
        f"{MODES_MISSING}: the samples lack {usual:.0%} of the classes, in the median of the last {len(missing)} "
        "looks; train on more images, or take a family that pays for what it leaves out: r3gan, or another gamma of it"
        if any("loss.discriminator" in line for line in lines)
        else f"{MODES_MISSING}: the samples lack {usual:.0%} of the classes, in the median of the last "
        f"{len(missing)} looks; train on more images, or weigh the reconstruction more: a smaller variance"
    )


def critic_overfits(lines: Sequence[Line]) -> str | None:
    """The warning for a discriminator that tells training images from held-out ones; None for others."""
    gaps = finite_values(trained_looks(lines)[-LAST:], "d_gap")
    if not gaps or (usual := median(gaps)) <= MEMORISED:
        return None
    return (
        f"the discriminator overfits: it rates a training image above a held-out one in {0.5 + usual:.0%} of all pairs "
        f"(above {0.5 + MEMORISED:.0%}, in the median of the last {len(gaps)} looks), so the generator is pulled to "
        "single images; give it more images or augment=shift, a smaller hidden or width, a larger gamma (r3gan)"
    )


def discriminator_won(lines: Sequence[Line]) -> str | None:
    """The warning for a discriminator that has been certain for long, of which no generator learns; None for others."""
    pairwise = finite_values(trained_looks(lines)[-LAST:], "d_pairwise")
    training = [line for line in lines if not line.get("evaluation")]
    end = max(finite_values(training, "images"), default=0)
    late = [line for line in training if line.get("images", 0) > (1 - LONG) * end]
    losses = finite_values(late, "loss.discriminator")
    if not losses or min(losses) < 0 or median(losses) >= SATURATED or (pairwise and fmean(pairwise) < WON):
        return None
    return (
        f"the discriminator has won: its loss is {median(losses):.2g} (below {SATURATED}) over the last {LONG:.0%} of "
        "the training, so the generator learns little from it; flatten it with a penalty on its slope (the families "
        "r3gan, dragan, wgan_gp), take its momentum away (beta1=0), or make both steps smaller: lr"
    )
