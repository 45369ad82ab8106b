"""Generative adversarial network: the baseline, plain on purpose.

Ian J. Goodfellow, Jean Pouget-Abadie, Mehdi Mirza, Bing Xu, David Warde-Farley, Sherjil Ozair, Aaron Courville, Yoshua
Bengio: Generative Adversarial Nets, 2014, arXiv 1406.2661.

Two players. The discriminator D learns to tell data from samples, the generator G to be taken for data:

    min_G max_D  E_x [log D(x)] + E_z [log(1 − D(G(z)))]                                                  (1)

G descends −E_z [log D(G(z))] in its place ("non-saturating", section 3 of the paper): the same fixed point, with a
gradient that does not vanish while D is winning. Both are two-layer perceptrons as wide as the lab's VAE, unless
`network` says otherwise, trained with Adam as it comes. No normalisation, no penalty, no average: what breaks here is
what the other families mend.
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.distributions import Normal, standard_normal
from likelier.family import Family, Move, Player, Step, unconditional
from likelier.images import Shape
from likelier.losses import discriminator_loss, non_saturating_generator_loss
from likelier.nn import Networks, leaky_relu


class GAN(Family):
    """A generator against a discriminator, MLPs by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(GAN, GAN.Config(), (1, 8, 8), seed=0)
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Networks):
        """The lab's baseline."""

        latent: Annotated[int, Field(ge=1)] = 64
        batch: Annotated[int, Field(ge=1)] = 128
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.generator = config.vector_to_image(config.latent, shape)
        self.discriminator = config.image_to_vector(shape, 1, leaky_relu)

    def players(self) -> dict[str, Player]:
        """The two of eq. (1)."""
        return {
            "discriminator": Player((self.discriminator,), self.config.lr),
            "generator": Player((self.generator,), self.config.lr),
        }

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise (algorithm 1 of the paper with k = 1)."""
        x = step.images()
        with torch.no_grad():
            fake = self.decode(step.randn(step.batch, self.config.latent))
        d_real, d_fake = self.score(x), self.score(fake)
        yield Move(
            {"discriminator": discriminator_loss(d_real, d_fake)},  # −Eq. (1)
            {"d_real": d_real.sigmoid().mean(), "d_fake": d_fake.sigmoid().mean()},
        )
        fake = self.decode(step.randn(step.batch, self.config.latent))
        yield Move({"generator": non_saturating_generator_loss(self.score(fake))})

    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.config.latent, like=next(self.parameters()))

    def decode(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c h w"]:
        """G(z)."""
        return self.generator(z).sigmoid()

    def score(self, x: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        """The logit of D(x)."""
        unconditional(labels)
        return self.discriminator(x).squeeze(1)

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, labels: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """G(z) for z from the prior."""
        unconditional(labels)
        return self.decode(self.prior().sample(generator, n))
