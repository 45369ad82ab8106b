"""Deep convolutional GAN: the classic modification that steadied the first one.

Alec Radford, Luke Metz, Soumith Chintala: Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks, 2016, arXiv 1511.06434.

The game is the GAN's, D on E log D(x) + E log(1 − D(G(z))) and G on −E log D(G(z)) [Goodfellow et al. 2014, arXiv
1406.2661, eq. (1) and section 3]. What changes is how it is played: strided convolutions in place of fully connected
layers, batch normalisation in both networks except at D's input and G's output, LeakyReLU in D, Adam with β₁ = ½,
weights from N(0, 0.02²).

Deviations: narrow strided layers, only as many as bring images down to 8×8 or less (two for 28×28), in place of four
wide ones, and with them a learning rate of 1e-3 in place of 2e-4, which wants many more epochs; a sigmoid in place of
tanh, as pixels are in [0, 1]; and samples come from a moving average of G's weights, which evens out the last turns of
the game (Yazıcı et al. 2019, arXiv 1806.04498); `ema = 0` is without. `network` plays the same game with others.
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
from likelier.nn import NetworkName, Networks, dcgan_initialise, leaky_relu


class DCGAN(Family):
    """A generator against a discriminator, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> dcgan = build(DCGAN, DCGAN.Config(), (3, 30, 30), seed=0).eval()
    >>> dcgan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 30, 30])
    """

    @dataclass(frozen=True)
    class Config(Networks):
        """`width` is fitted to two CPU cores (the paper has 128), `ema` is a half-life in images."""

        network: NetworkName = "conv"
        latent: Annotated[int, Field(ge=1)] = 64
        batch: Annotated[int, Field(ge=2)] = 128
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
        ema: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10_000

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.generator = config.vector_to_image(config.latent, shape)
        self.discriminator = config.image_to_vector(shape, 1, leaky_relu)
        if config.network == "conv":  # weights of another scale would not suit the other networks
            dcgan_initialise(self)

    def players(self) -> dict[str, Player]:
        """Generator and discriminator."""
        lr, beta1 = self.config.lr, self.config.beta1
        return {
            "discriminator": Player((self.discriminator,), lr, beta1),
            "generator": Player((self.generator,), lr, beta1, ema=self.config.ema or None),
        }

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise; each batch is normalised by itself."""
        x = step.images()
        with torch.no_grad():
            fake = self.decode(step.randn(step.batch, self.config.latent))
        d_real, d_fake = self.score(x), self.score(fake)
        yield Move(
            {"discriminator": discriminator_loss(d_real, d_fake)},  # −Eq. (1) of Goodfellow et al.
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
