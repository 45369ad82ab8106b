"""What is looked at while a model trains: samples, reconstructions, the held-out bound, the distance, D's judgement."""

import math
import warnings
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from likelier import metrics, rng
from likelier.collapse import MODES_MISSING, collapse_warnings, trained_looks
from likelier.distributions import Normal
from likelier.family import Bounds, Decodes, Encodes, Family, Scores
from likelier.features import Extractor
from likelier.images import Images, Split, as_float, as_uint8
from likelier.losses import kl_to_standard_normal
from likelier.pictures import grid
from likelier.run import Run

GRID = 8
HELD_OUT = 2_000
"""Images, and samples, that the scalars of a look are taken over."""
CHUNK = 500
EARLIEST = 0.5
"""The share of the budget before which nothing is said: many a training begins like one that has collapsed."""
ENOUGH = 3
"""Looks since then, without which nothing is said either."""
COMMON = 10
"""Images, of those that are looked at, that a class must have to be missed: of so many, none comes once in 20,000."""


class Watch:
    """The `evaluate` callback of a run: pictures into the run, scalars onto its log.

    It draws from streams of its own, started afresh each time: every look uses the same noise and the same images, and
    the training does not notice. Without an extractor (`judge`) the log has no distances.
    """

    def __init__(self, run: Run, images: Images, judge: Extractor | None = None) -> None:
        self.run, self.judge, self.stacked = run, judge, images.stacked_from is not None
        self.fixed = one_of_each_class(images.test)
        self.held_out, self.seen = looked_at(images)
        drawn = torch.randint(len(images.train), (len(self.held_out),), generator=rng.generator(0, "watched labels"))
        self.wanted = images.train.labels[drawn]
        """The classes that samples are asked for, of a family that is told of them: as often as training images are."""
        self.real: Tensor | None = None
        self.common: set[int] = set()
        if judge is not None:
            self.real, classes = judge.features_and_classes(self.seen.images)
            counts = [] if classes is None else classes.bincount().tolist()
            self.common = {c for c, n in enumerate(counts) if n >= COMMON}
        self.spread = spread(as_float(self.seen.images))
        self.told: set[str] = set()

    @torch.no_grad()
    def __call__(self, family: Family, seen: int) -> Mapping[str, float]:
        """Write the pictures; the scalars of whatever the family can do."""
        samples = family.sample(GRID * GRID, rng.generator(0, "watched samples"))
        self.run.write_picture("samples", seen, grid(as_uint8(samples), GRID))
        scalars: dict[str, float] = {}
        device = samples.device
        if isinstance(family, Encodes) and isinstance(family, Decodes):
            x = as_float(self.fixed.to(device))
            rows = torch.cat([x, reconstruct(family, x)])
            self.run.write_picture("reconstructions", seen, grid(as_uint8(rows), len(x)))
            scalars |= encoding_scalars(family, as_float(self.held_out.images.to(device)))
        if isinstance(family, Bounds):
            x = as_float(self.held_out.images.to(device))
            bound = family.log_prob_bound(x, 1, rng.generator(0, "watched bound"))
            scalars["elbo"] = bound.mean().item()
        if self.judge is not None or isinstance(family, Scores):
            drawn = samples_of(family, self.wanted)
            scalars |= self.distance(drawn) | self.judgement(family, drawn)
            if self.spread:
                scalars["diversity"] = spread(drawn) / self.spread
        self.warn_of_collapse(seen, scalars)
        return scalars

    def warn_of_collapse(self, seen: int, scalars: Mapping[str, float]) -> None:
        """Say what the training seems to have collapsed into, once each, while there is something left to be saved."""
        budget = self.run.config["images"]
        if not EARLIEST * budget <= seen < budget:
            return
        lines = [*self.run.metrics(), {"images": seen, "evaluation": True, **scalars}]
        late = [line for line in lines if not line.get("evaluation") or line["images"] >= EARLIEST * budget]
        if len(trained_looks(late)) < ENOUGH:
            return
        for said in collapse_warnings(late):
            kind = said.partition(":")[0]
            if kind not in {*self.told, MODES_MISSING}:  # modes may still be found
                self.told.add(kind)
                warnings.warn(f"after {seen:,} of {budget:,} images: {said}", stacklevel=2)

    def distance(self, drawn: Float[Tensor, "n c h w"]) -> dict[str, float]:
        """The Fréchet distance of samples from as many training images, and the share of classes that no sample has.

        Of stacked images, of which no class is common, it is the number of classes that the samples have: of 1,000, as
        many real images have about 860. Not a number if the samples are none.
        """
        if self.judge is None or self.real is None:
            return {}
        if not bool(drawn.isfinite().all()):
            return {"fd": math.nan}
        features, classes = self.judge.features_and_classes(as_uint8(drawn).cpu())
        found = {"fd": metrics.frechet_distance(self.real, features)}
        if classes is not None and self.common:
            found["classes_missing"] = len(self.common - set(classes.tolist())) / len(self.common)
        if classes is not None and self.stacked:
            found["modes"] = float(len(set(classes.tolist())))
        return found

    def judgement(self, family: Family, drawn: Float[Tensor, "n c h w"]) -> dict[str, float]:
        """How well the discriminator tells held-out images from samples, and training images from held-out ones.

        Of all pairs of scores, since a critic's level is arbitrary: P[D(x) > D(G(z))], .5 if it cannot tell, and
        P[D(x_train) > D(x_held-out)] − ½, 0 if it has not learned its images by heart.
        """
        if not isinstance(family, Scores):
            return {}
        real = ((as_float(split.images.to(drawn.device)), split.labels) for split in (self.held_out, self.seen))
        held_out, seen, fake = (scores_of(family, x, labels) for x, labels in (*real, (drawn, self.wanted)))
        if not all(bool(s.isfinite().all()) for s in (held_out, seen, fake)):
            return {"d_pairwise": math.nan, "d_gap": math.nan}
        return {
            "d_pairwise": metrics.pairwise_accuracy(held_out, fake),
            "d_gap": metrics.pairwise_accuracy(seen, held_out) - 0.5,
        }


def looked_at(images: Images) -> tuple[Split, Split]:
    """The held-out images of a look, and as many training images; shuffled, since a file may be sorted by class."""
    order = torch.randperm(len(images.test), generator=rng.generator(0, "watched images"))
    held_out = part_of(images.test, order[:HELD_OUT])
    order = torch.randperm(len(images.train), generator=rng.generator(0, "watched training images"))
    return held_out, part_of(images.train, order[: len(held_out)])


def spread(x: Float[Tensor, "n c h w"]) -> float:
    """The variance of a pixel over images, the mean of all pixels: images that are all the same have none."""
    return x.flatten(1).var(0).mean().item() if len(x) > 1 else 0.0


def part_of(split: Split, index: Int64[Tensor, " n"]) -> Split:
    """These images of a split, with their classes."""
    return Split(split.images[index], split.labels[index])


def samples_of(family: Family, labels: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Samples on the noise that every look uses; of these classes, if the family is told of them."""
    generator = rng.generator(0, "watched distance")
    parts = torch.split(labels, CHUNK)
    return torch.cat([family.sample(len(part), generator, part if family.classes else None) for part in parts])


def scores_of(family: Family, x: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The discriminator's score of each image, some at a time; as one of its class, if the family is told of it."""
    assert isinstance(family, Scores)
    parts = zip(torch.split(x, CHUNK), torch.split(labels.to(x.device), CHUNK), strict=True)
    return torch.cat([family.score(part, y if family.classes else None) for part, y in parts])


def reconstruct(family: Family, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """decode(E[z|x]): the image that the mean code stands for."""
    assert isinstance(family, Encodes)
    assert isinstance(family, Decodes)
    return family.decode(family.encode(x).mean)


def encoding_scalars(family: Family, x: Float[Tensor, "b c h w"]) -> dict[str, float]:
    """Held-out reconstruction error per pixel and, for Gaussian codes, KL(q(z|x) ‖ p(z)) in nats per image."""
    assert isinstance(family, Encodes)
    scalars = {"mse": (reconstruct(family, x) - x).square().mean().item()}
    q = family.encode(x)
    if isinstance(q, Normal) and has_standard_prior(family):
        scalars["kl"] = kl_to_standard_normal(q.mu, q.log_var).sum(1).mean().item()
        if len(x) > 1 and bool(q.mu.isfinite().all()):
            scalars["active_units"] = metrics.active_units(q.mu)
    return scalars


def has_standard_prior(family: Family) -> bool:
    """Whether p(z) is N(0, I), which the closed form of the KL and shared noise take for granted."""
    prior = family.prior() if isinstance(family, Decodes) else None
    return isinstance(prior, Normal) and not bool(prior.mu.any()) and not bool(prior.log_var.any())


def one_of_each_class(split: Split, most: int = 10) -> Tensor:
    """The first image of each of the first classes, [≤ most, c, h, w]."""
    firsts = [int((split.labels == label).nonzero()[0]) for label in torch.unique(split.labels)[:most]]
    return split.images[firsts]
