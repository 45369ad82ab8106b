"""What is looked at while a model trains: samples on fixed noise, fixed reconstructions, the held-out bound."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from likelier import rng
from likelier.distributions import Normal
from likelier.family import Bounds, Decodes, Encodes, Family
from likelier.images import Images, Split, as_float, as_uint8
from likelier.losses import kl_to_standard_normal
from likelier.pictures import grid
from likelier.run import Run

GRID = 8
HELD_OUT = 2_000
COLLAPSED_BELOW = 0.5
"""Nats per image: with less, codes hardly tell one image from another (to name one of ten classes takes 2.3)."""


class Watch:
    """The `evaluate` callback of a run: pictures into the run, scalars onto its log.

    It draws from streams of its own, started afresh each time: every look uses the same noise and the same images, and
    the training does not notice.
    """

    def __init__(self, run: Run, images: Images) -> None:
        self.run = run
        self.fixed = one_of_each_class(images.test)
        order = torch.randperm(len(images.test), generator=rng.generator(0, "watched images"))
        self.held_out = images.test.images[order[:HELD_OUT]]  # shuffled: a file may be sorted by class

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
            scalars |= encoding_scalars(family, as_float(self.held_out.to(device)))
        if isinstance(family, Bounds):
            x = as_float(self.held_out.to(device))
            bound = family.log_prob_bound(x, 1, rng.generator(0, "watched bound"))
            scalars["elbo"] = bound.mean().item()
        return scalars


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
    return scalars


def has_standard_prior(family: Family) -> bool:
    """Whether p(z) is N(0, I), which the closed form of the KL and shared noise take for granted."""
    prior = family.prior() if isinstance(family, Decodes) else None
    return isinstance(prior, Normal) and not bool(prior.mu.any()) and not bool(prior.log_var.any())


def posterior_collapse(kl: float) -> str | None:
    """The warning for codes that carry nothing, or None."""
    if kl >= COLLAPSED_BELOW:
        return None
    return (
        f"posterior collapse: KL(q(z|x) ‖ p(z)) is {kl:.2f} nats per image (below {COLLAPSED_BELOW}), so the codes say "
        "next to nothing about the images and the samples are nearly one blur; weigh the reconstruction more: "
        "reduction=sum, a smaller variance, or a smaller beta"
    )


def one_of_each_class(split: Split, most: int = 10) -> Tensor:
    """The first image of each of the first classes, [≤ most, c, h, w]."""
    firsts = [int((split.labels == label).nonzero()[0]) for label in torch.unique(split.labels)[:most]]
    return split.images[firsts]
