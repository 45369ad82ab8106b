"""The modes of stacked images: how many of the 1,000 the samples have, and how evenly; beside what real images score.

The protocol of the papers (PacGAN, arXiv 1712.04086, section 4): 26,000 samples are classified channel by channel, and
the frequencies of their modes are held against those of the training images.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from likelier import metrics, rng
from likelier.evidence import Measure
from likelier.reference import Features, Reference

SAMPLED = 26_000
"""Samples whose modes are counted, where there are so many."""

MODE_MEASURES = {  # key: (short name, label, unit, better)
    "modes": ("modes", "modes", "", "higher"),
    "modes_kl": ("modes_kl", "reverse KL of modes", "nats", "lower"),
}


def mode_measures(reference: Reference, seen: Sequence[Features], keys: Collection[str]) -> list[Measure]:
    """The measures of modes that are asked for, of the first 26,000 samples, or of all.

    Args:
        reference: what the samples are held against.
        seen: sets of samples, all drawn from one model; none where they are not finite.
        keys: of MODE_MEASURES.
    """
    wanted = [key for key in MODE_MEASURES if key in keys]
    if not wanted:
        return []
    why_not, n = why_no_modes(reference, seen), min(SAMPLED, sum(len(part.vectors) for part in seen))
    values: Mapping[str, float] = {}
    floor: Mapping[str, float] = {}
    if why_not is None:
        told = [part.classes for part in seen if part.classes is not None]
        values, floor = modes_of(reference, torch.cat(told)[:n]), modes_of(reference, held_out(reference, n))
    return [
        Measure(
            key,
            f"{short}_{reference.extractor.name}_train_n{n}_u8",
            f"{label} in {n:,} samples",
            values.get(key),
            unit,
            better,
            {"train–test": floor[key]} if key in floor else None,
            why_not,
        )
        for key, (short, label, unit, better) in MODE_MEASURES.items()
        if key in wanted
    ]


def mode_warnings(found: Sequence[Measure]) -> list[str]:
    """That the samples lack modes which real images have."""
    for measure in found:
        real = (measure.floor or {}).get("train–test")
        if measure.key == "modes" and measure.value is not None and real is not None and measure.value < real:
            return [
                f"of the {real:,.0f} modes that as many real images have, the samples have {measure.value:,.0f}: too "
                "short a training, or modes that were dropped"
            ]
    return []


def why_no_modes(reference: Reference, seen: Sequence[Features]) -> str | None:
    """Why modes cannot be counted, or None if they can."""
    if reference.images.stacked_from is None:
        return f"the channels of {reference.images.name} are no images of their own, as those of stacked-mnist are"
    if not seen:
        return "its samples are not finite"
    if seen[0].classes is None:
        return f"{reference.extractor.name} knows no classes"
    return None


def modes_of(reference: Reference, classes: Int64[Tensor, " n"]) -> Mapping[str, float]:
    """Each measure of modes by key, of the modes that samples are taken for."""
    below = reference.images.stacked_from
    assert below is not None
    k = len(below.classes)
    digits = torch.stack([classes // k**2, classes // k % k, classes % k], dim=1)
    real = torch.bincount(reference.images.train.labels, minlength=k**3)
    found = metrics.stacked_modes(digits, k, real)
    return {"modes": float(found.modes), "modes_kl": found.kl}


def held_out(reference: Reference, n: int) -> Int64[Tensor, " n"]:
    """The modes that n test images are taken for, or all of them if they are fewer."""
    test = reference.images.test.images
    order = torch.randperm(len(test), generator=rng.generator(0, "held out"))[:n]
    classes = reference.real(f"modes-{n}", test[order]).classes
    assert classes is not None
    return classes
