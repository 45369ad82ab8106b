"""The real side of every measure of samples: what they are held against, its floors, and the noise of a distance.

A floor is what real images score against other real images: about what a perfect model would at this N. It is a bias
and no noise, so it is shown beside a figure and not subtracted. The noise is how far a distance moves when only the
samples and the real images of the reference are drawn again.

Everything is computed when it is first asked for, and what hangs on the real images alone is kept in the cache.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier import metrics, rng
from likelier.errors import InputError
from likelier.features import LEAST, SEEDS, Extractor, at_hand, extractor
from likelier.features.kept import kept
from likelier.images import Images
from likelier.metrics.manifold import balls

MOST = 10_000
K = 5
"""Precision, recall, density and coverage look up to this neighbour."""
REPEATS = 5
"""How often a distance is taken with other samples and other real images, to see how far that alone moves it."""

OVERLAP = ("precision", "recall", "density", "coverage")
OF_CLASSES = ("class_histogram_kl", "missing_classes")
COPYING = ("copied_share", "authenticity", "data_copying_ct")
ALONE = ("frechet_distance", "frechet_distance_infinity", "kernel_distance")
TOGETHER = (*((key,) for key in ALONE), OVERLAP, OF_CLASSES, *((key,) for key in COPYING))
"""Which measures of samples are computed in one go, by key; any of these groups without the others."""
MEASURES = (*ALONE, *OVERLAP, *OF_CLASSES, *COPYING)

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

    def real(self, what: str, images: UInt8[Tensor, "n c h w"], judge: Extractor | None = None) -> Features:
        """As `view`, of real images that are called `what`: out of the cache if they are there."""
        judge = self.extractor if judge is None else judge

        def make() -> dict[str, Tensor]:
            seen = self.view(images, judge)
            found = {"vectors": seen.vectors, "classes": seen.classes}
            return {name: tensor for name, tensor in found.items() if tensor is not None}

        found = kept(what, make, self.images, judge)
        return Features(found["vectors"], found.get("classes"))

    @cached_property
    def whole(self) -> Features:
        """The whole training split, among which copies are looked for."""
        return self.real("train", self.images.train.images)

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
    def train_balls(self) -> Float[Tensor, " n"]:
        """How far the fifth neighbour of each of the N training images is, squared."""

        def make() -> dict[str, Tensor]:
            return {"squares": balls(self.train.vectors, K)}

        return kept(f"balls-{K}-{self.n}", make, self.images, self.extractor)["squares"]

    @cached_property
    def train_nearest(self) -> Float[Tensor, " n"]:
        """The distance of each training image to its nearest other one."""

        def make() -> dict[str, Tensor]:
            return {"distances": metrics.nearest_other_distances(self.whole_train)}

        return kept("nearest", make, self.images, self.extractor)["distances"]

    @cached_property
    def held_out_seen(self) -> Features:
        """N test images, which no training saw."""
        return self.real(f"held-out-{self.n}", self.held_out)

    @property
    def held_out_halves(self) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
        """Features of the held-out images: the half that copies are told by, and the half that shows what is normal."""
        vectors = self.held_out_seen.vectors
        return vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]

    @property
    def floors(self) -> dict[str, Values]:
        """What real images score in every measure, by kind."""
        return self.floors_of(MEASURES)

    def floors_of(self, keys: Collection[str]) -> dict[str, Values]:
        """What real images score in these measures, by kind; in those of copying, training images score nothing."""
        found: dict[str, Values] = {"train–train": {}, "train–test": {}}
        for group in (group for group in TOGETHER if not set(keys).isdisjoint(group)):
            for name, value in self.once(f"floor of {group[0]}", partial(self.floor, group)).items():
                kind, _, key = name.partition("/")
                found[kind][key] = None if bool(value.isnan()) else float(value)
        return found

    def floor(self, group: Collection[str]) -> Mapping[str, Float[Tensor, ""]]:
        """What real images score in measures that are taken together, by kind and key; NaN where there is no value."""

        def make() -> dict[str, Tensor]:
            floors = {
                "train–train": self.against(self.part(self.disjoint[1]), group),
                "train–test": self.against(self.held_out_seen, group) | self.copying(self.held_out_halves[1], group),
            }
            return {
                f"{kind}/{key}": torch.tensor(math.nan if value is None else value, dtype=torch.float64)
                for kind, values in floors.items()
                for key, value in values.items()
            }

        return kept(f"floor-{next(iter(group))}-{self.n}", make, self.images, self.extractor)

    def against(self, fake: Features, keys: Collection[str] = MEASURES) -> Values:
        """The measures that compare `fake` with as many training images, by key; of all, those that are asked for."""
        x, y = self.train.vectors, fake.vectors
        found: Values = {}
        if "frechet_distance" in keys:
            found["frechet_distance"] = metrics.frechet_distance(x, y)
        if "frechet_distance_infinity" in keys:
            chance = rng.generator(0, "subsets for FD infinity")
            found["frechet_distance_infinity"] = unless_too_few(lambda: metrics.frechet_distance_infinity(x, y, chance))
        if "kernel_distance" in keys:
            found["kernel_distance"] = metrics.kernel_distance(x, y)
        if not set(keys).isdisjoint(OVERLAP):
            found |= metrics.precision_recall_density_coverage(x, y, K, self.train_balls)._asdict()
        if not set(keys).isdisjoint(OF_CLASSES):
            found |= self.classes_of(fake)
        return found

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

    def copying(self, fake: Float[Tensor, "n d"], keys: Collection[str] = COPYING) -> Values:
        """How near samples lie to the training images, by key: the first of these decides, the others are shown."""
        train, yardstick = self.whole_train, self.held_out_halves[0]
        makers: dict[str, Callable[[], float | None]] = {
            "copied_share": lambda: unless_too_few(lambda: metrics.copied_share(train, yardstick, fake)),
            "authenticity": lambda: metrics.authenticity(train, fake, self.train_nearest),
            "data_copying_ct": lambda: unless_too_few(lambda: metrics.data_copying_ct(train, yardstick, fake)),
        }
        return {key: make() for key, make in makers.items() if key in keys}

    def distances(self, sets: Iterable[Float[Tensor, "n d"]]) -> list[float]:
        """The distance of each set of samples to real images of its own: disjoint as long as there are enough."""
        return [
            metrics.frechet_distance(self.part(self.disjoint[i % len(self.disjoint)]).vectors, fake)
            for i, fake in enumerate(sets)
        ]

    @cached_property
    def elsewhere(self) -> dict[str, Float[Tensor, "n d"]]:
        """The reference in the features of the other extractors, by their names."""
        real = self.images.train.images[self.index]
        return {other.name: self.real(f"reference-{self.n}", real, other).vectors for other in self.others}

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
            "neighbours": K,
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
