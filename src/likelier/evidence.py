"""What a model is judged by: its samples, their features, the images that its codes are made of; and one figure of it.

Everything is made when it is first asked for, and on streams of chance of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import UInt8
from torch import Tensor

from likelier import rng
from likelier.family import Family
from likelier.images import Split, as_uint8
from likelier.reference import MOST, REPEATS, Features, Reference
from likelier.threads import so_many

CHUNK = 1_000
PROBED = 5_000


@dataclass(frozen=True)
class Measure:
    """One figure: its value, the full name of its conditions, its direction, and what real images score."""

    key: str
    name: str
    label: str
    value: float | None
    unit: str = ""
    better: str = ""  # "lower", "higher", or "" for neither
    floor: Mapping[str, float] | None = None
    why_not: str | None = None  # the reason where there is no value
    noise: float | None = None  # the 95% range over fresh samples and disjoint real images
    elsewhere: Mapping[str, float] | None = None  # the same measure in the features of other extractors


class NoFigure(Exception):
    """A figure that this family, or these images, cannot have; the message says why, in words for the report."""


class Evidence:
    """One family and the reference it is held against; whatever is derived from them is made when first asked for."""

    def __init__(self, family: Family, untrained: Family, reference: Reference) -> None:
        self.family, self.untrained, self.reference = family, untrained, reference
        self.images = reference.images

    def drawn(self, *purpose: str | int) -> UInt8[Tensor, "n c h w"] | None:
        """N samples, rounded to bytes as a file would hold them; None if some are not finite."""
        generator = rng.generator(0, *purpose)
        found = []
        with so_many(1):  # the same bytes whether one set is drawn, or several at a time
            for chunk in torch.split(torch.arange(self.reference.n), CHUNK):
                samples = self.family.sample(len(chunk), generator)
                if not bool(samples.isfinite().all()):
                    return None
                found.append(as_uint8(samples))  # at once: as floats they are four times as many bytes
        return torch.cat(found)

    @cached_property
    def samples(self) -> UInt8[Tensor, "n c h w"] | None:
        """The samples that figures are quoted for."""
        return self.drawn("measured samples")

    def fresh_samples(self) -> list[UInt8[Tensor, "n c h w"]]:
        """Others, drawn like the samples; none if some of either are not finite."""
        if self.samples is None:
            return []
        with so_many(1):  # one after the other: a family may keep something while it samples
            sets = [self.drawn("fresh samples", i) for i in range(1, REPEATS)]
        return [found for found in sets if found is not None] if all(found is not None for found in sets) else []

    @cached_property
    def features(self) -> Features | None:
        """The samples as the extractor sees them."""
        return None if self.samples is None else self.reference.view(self.samples)

    @cached_property
    def tested(self) -> Split:
        """Test images that are encoded and rebuilt: all, or of more than `MOST` so many, drawn once for all models."""
        test = self.images.test
        if len(test) <= MOST:
            return test
        order = torch.randperm(len(test), generator=rng.generator(0, "tested"))[:MOST]
        return Split(test.images[order], test.labels[order])

    @cached_property
    def probe_train(self) -> Split:
        """Training images that the linear probe is fitted on."""
        index = self.reference.index[:PROBED]
        return Split(self.images.train.images[index], self.images.train.labels[index])

    @cached_property
    def probe_test(self) -> Split:
        """Test images whose codes are probed, clustered and drawn."""
        order = torch.randperm(len(self.images.test), generator=rng.generator(0, "probed"))[:PROBED]
        return Split(self.images.test.images[order], self.images.test.labels[order])
