"""The real side of every measure of samples: what they are held against, its floors, and the noise of a distance.

A floor is what real images score against other real images: about what a perfect model would at this N. It is a bias
and no noise, so it is shown beside a figure and not subtracted. The noise is how far a distance moves when only the
samples and the real images of the reference are drawn again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier import metrics, rng
from likelier.errors import InputError
from likelier.features import LEAST, SEEDS, Extractor, at_hand, extractor
from likelier.images import Images

MOST = 10_000
REPEATS = 5
"""How often a distance is taken with other samples and other real images, to see how far that alone moves it."""

Values = dict[str, float | None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Features:
    """Images as an extractor sees them."""

    vectors: Float[Tensor, "n d"]
    classes: Int64[Tensor, " n"] | None
    """The class that each is taken for; None where the extractor knows no classes."""

    def counts(self, classes: int) -> Int64[Tensor, " k"] | None:
        """How many images the extractor puts in each class."""
        return None if self.classes is None else torch.bincount(self.classes, minlength=classes)


class Reference:
    """What samples of one image set are held against; made once, used for every model of it.

    Args:
        images: the image set.
        judge: the extractor that figures are quoted for; by default the set's own, trained if it is not at hand.
        others: the extractors that the order of a verdict is checked on; by default the set's own of `SEEDS`, as far
            as they need not be trained first.
        n: how many samples are compared with as many real images; by default 10,000, or what the set has.
    """

    def __init__(
        self,
        images: Images,
        judge: Extractor | None = None,
        others: Sequence[Extractor] | None = None,
        n: int | None = None,
    ) -> None:
        self.images = images
        self.extractor = extractor(images) if judge is None else judge
        own = (at_hand(images, seed=seed) for seed in SEEDS)
        known = [found for found in own if found is not None] if others is None else others
        self.others = [other for other in known if other.name != self.extractor.name][:2]
        self.n = most_samples(images) if n is None else n
        if not LEAST <= self.n <= most_samples(images):
            raise InputError(
                f"{self.n} samples to be compared with {images.name}: wanted {LEAST} to {most_samples(images):,}, "
                "half the training split or the test split, whichever is smaller"
            )
        order = torch.randperm(len(images.train), generator=rng.generator(0, "reference"))
        disjoint = [part for part in torch.split(order, self.n) if len(part) == self.n]
        self.index = disjoint[0]
        self.disjoint = disjoint[:REPEATS]
        held_out = torch.randperm(len(images.test), generator=rng.generator(0, "held out"))[: self.n]
        self.held_out = images.test.images[held_out]
        self._known: dict[str, Any] = {}

    def view(self, images: UInt8[Tensor, "n c h w"], judge: Extractor | None = None) -> Features:
        """Features and predicted classes, of the quoted extractor if no other is named."""
        return Features(*(self.extractor if judge is None else judge).features_and_classes(images))

    def once(self, what: str, make: Callable[[], T]) -> T:
        """What `make` makes, made once for all models: figures that hang on the images alone."""
        if what not in self._known:
            self._known[what] = make()
        found: T = self._known[what]
        return found

    @cached_property
    def whole(self) -> Features:
        """The whole training split, among which copies are looked for."""
        return self.view(self.images.train.images)

    @property
    def whole_train(self) -> Float[Tensor, "n d"]:
        """Its features."""
        return self.whole.vectors

    def part(self, index: Int64[Tensor, " n"]) -> Features:
        """Some of the training images."""
        return Features(self.whole.vectors[index], None if self.whole.classes is None else self.whole.classes[index])

    @cached_property
    def train(self) -> Features:
        """The N training images that samples are compared with."""
        return self.part(self.index)

    @cached_property
    def train_nearest(self) -> Float[Tensor, " n"]:
        """The distance of each training image to its nearest other one."""
        return metrics.nearest_other_distances(self.whole_train)

    @cached_property
    def held_out_halves(self) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
        """Features of the held-out images: the half that copies are told by, and the half that shows what is normal."""
        vectors = self.view(self.held_out).vectors
        return vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]

    @cached_property
    def floors(self) -> dict[str, Values]:
        """What real images score in every measure, by kind."""
        held_out = self.view(self.held_out)
        return {
            "train–train": self.against(self.part(self.disjoint[1])),
            "train–test": self.against(held_out) | self.copying(self.held_out_halves[1]),
        }

    def against(self, fake: Features) -> Values:
        """Every measure that compares `fake` with as many training images, by key."""
        x, y = self.train.vectors, fake.vectors
        overlap = metrics.precision_recall_density_coverage(x, y)
        generator = rng.generator(0, "subsets for FD infinity")
        return {
            "frechet_distance": metrics.frechet_distance(x, y),
            "frechet_distance_infinity": unless_too_few(lambda: metrics.frechet_distance_infinity(x, y, generator)),
            "kernel_distance": metrics.kernel_distance(x, y),
            **overlap._asdict(),
            **self.classes_of(fake),
        }

    def classes_of(self, fake: Features) -> Values:
        """How the classes of the samples are spread, by key; None where it is undefined."""
        k = len(self.images.classes)
        counts, real = fake.counts(k), self.train.counts(k)
        if counts is None or real is None:
            return {"class_histogram_kl": None, "missing_classes": None}
        known = real > 0
        stray = bool(counts[~known].any())  # a class that the data lack: the divergence is infinite
        return {
            "class_histogram_kl": None if stray else metrics.class_histogram_kl(counts[known], real[known]),
            "missing_classes": float((counts[known] == 0).sum()),
        }

    def copying(self, fake: Float[Tensor, "n d"]) -> Values:
        """How near samples lie to the training images, by key: the first of these decides, the others are shown."""
        yardstick = self.held_out_halves[0]
        return {
            "copied_share": unless_too_few(lambda: metrics.copied_share(self.whole_train, yardstick, fake)),
            "authenticity": metrics.authenticity(self.whole_train, fake, self.train_nearest),
            "data_copying_ct": unless_too_few(lambda: metrics.data_copying_ct(self.whole_train, yardstick, fake)),
        }

    def distances(self, sets: Sequence[UInt8[Tensor, "n c h w"]]) -> list[float]:
        """The distance of each set of samples to real images of its own: disjoint as long as there are enough."""
        return [
            metrics.frechet_distance(
                self.part(self.disjoint[i % len(self.disjoint)]).vectors, self.extractor.features(fake)
            )
            for i, fake in enumerate(sets)
        ]

    @cached_property
    def elsewhere(self) -> dict[str, Float[Tensor, "n d"]]:
        """The reference in the features of the other extractors, by their names."""
        real = self.images.train.images[self.index]
        return {other.name: other.features(real) for other in self.others}

    def distances_elsewhere(self, fake: UInt8[Tensor, "n c h w"]) -> dict[str, float]:
        """The distance in the features of the other extractors, by their names."""
        return {
            other.name: metrics.frechet_distance(self.elsewhere[other.name], other.features(fake))
            for other in self.others
        }

    @property
    def suffix(self) -> str:
        """What the name of every figure ends with: extractor, reference split, N and quantisation."""
        return f"{self.extractor.name}_train_n{self.n}_u8"

    @property
    def conditions(self) -> dict[str, Any]:
        """What the figures hang on."""
        return {
            "data": self.images.name,
            "data_digest": self.images.digest,
            "extractor": self.extractor.name,
            "extractor_accuracy": self.extractor.accuracy,
            "other_extractors": [other.name for other in self.others],
            "n": self.n,
            "reference": "train",
            "quantisation": "u8",
            "neighbours": 5,
        }


def unless_too_few(metric: Callable[[], float]) -> float | None:
    """The figure, or None where the metric refuses sets as small as these: the others have theirs all the same."""
    try:
        return metric()
    except InputError:
        return None


def most_samples(images: Images) -> int:
    """N: as many as half the training split and the test split allow, and at most 10,000."""
    return min(MOST, len(images.train) // 2, len(images.test))


def noise_of(distances: Sequence[float]) -> float | None:
    """The width of the range that 95% of normal values with the scatter of these lie in: 2 · 1.96 · sd.

    >>> noise_of([1.0, 2.0, 3.0])
    3.92
    """
    if len(distances) < 3:
        return None
    return round(2 * 1.96 * float(torch.tensor(distances, dtype=torch.float64).std()), 6)


def class_names_missing(classes: Sequence[str], fake: Tensor | None, real: Tensor | None) -> list[str]:
    """The classes that the data have and the samples lack: a class that the data lack is nobody's fault."""
    if fake is None or real is None:
        return []
    absent = ((fake == 0) & (real > 0)).tolist()
    return [name for name, gone in zip(classes, absent, strict=True) if gone]
