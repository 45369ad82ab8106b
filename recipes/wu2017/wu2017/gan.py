"""GAN-10 and GAN-50: a GAN with the decoders of the comparison by annealed importance sampling.

Yuhuai Wu, Yuri Burda, Ruslan Salakhutdinov, Roger Grosse: On the Quantitative Analysis of Decoder-Based Generative
Models, 2017, arXiv 1611.04273.

The game is that of Goodfellow et al. 2014 (arXiv 1406.2661):

    min_G max_D  E_x [log D(x)] + E_z [log(1 − D(G(z)))]                                                  (1)

with the non-saturating loss for G. What the discriminator sees carries Gaussian noise of standard deviation `noise`:
without it D wins within an epoch, and G falls onto a few images. The discriminator (leaky ReLU, widths `hidden`) and
the noise are this recipe's reading (README.md).
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.distributions import Normal, standard_normal
from likelier.family import Family, Move, Player, Step, unconditional
from likelier.losses import discriminator_loss, non_saturating_generator_loss
from likelier.nn import image_to_vector

from .decoders import HIDDEN, decoder


class GAN(Family):
    """The decoder as generator, against an MLP discriminator."""

    @dataclass(frozen=True)
    class Config:
        """latent = 10 or 50 chooses the generator."""

        latent: int = 10
        hidden: Annotated[int, Field(ge=1)] = 512
        noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.3
        batch: Annotated[int, Field(ge=1)] = 100
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4

        def __post_init__(self) -> None:
            if self.latent not in HIDDEN:
                raise ValueError(f"latent to be one of {', '.join(map(str, HIDDEN))}")

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.generator = decoder(config.latent, shape)
        self.discriminator = image_to_vector(
            shape, config.hidden, config.hidden // 2, 1, activation=lambda: nn.LeakyReLU(0.2)
        )

    def players(self) -> dict[str, Player]:
        """The two of eq. (1)."""
        lr = self.config.lr
        return {
            "discriminator": Player((self.discriminator,), lr, beta1=0.5),
            "generator": Player((self.generator,), lr, beta1=0.5),
        }

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise."""
        x = step.images()
        with torch.no_grad():
            fake = self.decode(step.randn(step.batch, self.config.latent))
        real, fake = self.seen(x, step), self.seen(fake, step)
        yield Move({"discriminator": discriminator_loss(real, fake)})  # −Eq. (1)
        fake = self.decode(step.randn(step.batch, self.config.latent))
        yield Move({"generator": non_saturating_generator_loss(self.seen(fake, step))})

    def seen(self, x: Tensor, step: Step) -> Tensor:
        """The logit of D for noisy images."""
        return self.discriminator(x + self.config.noise * step.randn(*x.shape)).squeeze(1)

    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.config.latent, like=next(self.parameters()))

    def decode(self, z: Tensor) -> Tensor:
        """G(z), [b, c, h, w] in [0, 1]."""
        return self.generator(z).sigmoid()

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """G(z) for z from the prior."""
        unconditional(labels)
        return self.decode(self.prior().sample(generator, n))
