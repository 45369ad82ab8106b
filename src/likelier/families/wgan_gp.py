"""Wasserstein GAN with a gradient penalty: a critic that measures how far samples must be moved to be images.

Ishaan Gulrajani, Faruk Ahmed, Martin Arjovsky, Vincent Dumoulin, Aaron Courville: Improved Training of Wasserstein
GANs, 2017, arXiv 1704.00028.

The critic D may rise by at most 1 for a step of length 1; then the largest gap between its mean scores of images and
of samples is the Wasserstein distance of the two, which G brings down (algorithm 1 of the paper; eq. (2) without the
constraint). The slope is held near 1 at points x̂ drawn on lines between an image x and a sample x̃:

    L = E [D(x̃)] − E [D(x)] + λ E [(‖∇D(x̂)‖₂ − 1)²]          x̂ = εx + (1 − ε)x̃,  ε ~ U[0, 1]            (3)

D moves `critic` times for each move of G, on fresh images each time: they count towards the budget, so that an epoch
has a fifth of the moves of G that other games have with the same batch. No batch normalisation in D, whose slope is
that of each image by itself; Adam with β₁ = 0, β₂ = .9.

Deviations: small networks for small images, weights of D from He et al. 2015, and a larger step than the paper's 1e-4;
samples from a moving average of G's weights (`ema = 0` is without). D has no constant: nothing here would move it.
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.adversarial import Adversarial, Beta, HalfLife, Labels, Moves, Rate, Settings, Weight
from likelier.family import Move, Step
from likelier.images import Shape
from likelier.losses import gradient_penalty
from likelier.nn import NetworkName, he_initialise, without_level


class WGANGP(Adversarial):
    """A generator against a critic of bounded slope, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(WGANGP, WGANGP.Config(), (1, 8, 8), seed=0).eval()
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """`lam` is the paper's λ, `critic` its n_critic."""

        network: NetworkName = "conv"
        batch: Annotated[int, Field(ge=2)] = 64
        lr: Rate = 1e-3
        beta1: Beta = 0
        beta2: Beta = 0.9
        ema: HalfLife = 10_000
        lam: Weight = 10
        critic: Moves = 5

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape, normalised=(True, False))
        he_initialise(self.discriminator)
        without_level(self.discriminator)

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves `critic` times on fresh images, then G once."""
        y: Labels = None
        for _ in range(self.config.critic):
            x, y = step.images(), self.labels(step)
            yield self.critics_move(step, x, y)
        yield Move({"generator": -self.answer(step, y).mean()})  # Eq. (2), for G

    def critics_move(self, step: Step, x: Float[Tensor, "b c h w"], y: Labels) -> Move:
        """Images against samples, and the slope between them."""
        fake = self.fakes(step, y)
        with torch.no_grad():
            epsilon = torch.special.ndtr(step.randn(step.batch, 1, 1, 1))  # uniform, as ndtr is the normal's own CDF
            between = epsilon * x + (1 - epsilon) * fake
        d_real, d_fake = self.score(x, y), self.score(fake, y)
        penalty = gradient_penalty(self.score(between.requires_grad_(), y), between).mean()
        return Move(
            {"discriminator": d_fake.mean() - d_real.mean() + self.config.lam * penalty},  # Eq. (3)
            {"d_real": d_real.mean(), "d_fake": d_fake.mean(), "penalty": penalty},
        )
