"""Least squares GAN: D regresses to 1 and 0, and G is drawn to 1, however well D knows a sample.

Xudong Mao, Qing Li, Haoran Xie, Raymond Y.K. Lau, Zhen Wang, Stephen Paul Smolley: Least Squares Generative Adversarial
Networks, 2017, arXiv 1611.04076.

    min_D  ½ E_x [(D(x) − b)²] + ½ E_z [(D(G(z)) − a)²]          min_G  ½ E_z [(D(G(z)) − c)²]            (2)

D's last layer is its score; no sigmoid. With a logistic loss, samples on the right side of the boundary teach G
nothing, however far they are from the images; here they are pulled towards it. The labels are those of

    a = 0,  b = c = 1                                                                                     (9)

Deviations: the small DCGAN of `dcgan` in place of the paper's larger one; samples from a moving average of G's weights
(`ema = 0` is without). `network` plays the same game with others.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from likelier.adversarial import Adversarial, Beta, HalfLife, Settings
from likelier.family import Move, Step
from likelier.images import Shape
from likelier.losses import least_squares
from likelier.nn import NetworkName, dcgan_initialise

A, B, C = 0.0, 1.0, 1.0  # Eq. (9)


class LSGAN(Adversarial):
    """A generator against a discriminator by regression, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(LSGAN, LSGAN.Config(), (1, 8, 8), seed=0).eval()
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """As `dcgan` has them."""

        network: NetworkName = "conv"
        batch: Annotated[int, Field(ge=2)] = 128
        beta1: Beta = 0.5
        ema: HalfLife = 10_000

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.network == "conv":  # weights of another scale would not suit the other networks
            dcgan_initialise(self)

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise."""
        x, y = step.images(), self.labels(step)
        d_real, d_fake = self.score(x, y), self.score(self.fakes(step, y), y)
        yield Move(
            {"discriminator": least_squares(d_real, B) + least_squares(d_fake, A)},  # Eq. (2), for D
            {"d_real": d_real.mean(), "d_fake": d_fake.mean()},
        )
        d_fake = self.answer(step, y)
        yield Move({"generator": least_squares(d_fake, C)})  # Eq. (2), for G
