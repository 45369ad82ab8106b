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

from pydantic import Field
from pydantic.dataclasses import dataclass

from likelier.adversarial import Adversarial, Beta, HalfLife, Settings
from likelier.family import Move, Step
from likelier.images import Shape
from likelier.losses import discriminator_loss, non_saturating_generator_loss
from likelier.nn import NetworkName, dcgan_initialise


class DCGAN(Adversarial):
    """A generator against a discriminator, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> dcgan = build(DCGAN, DCGAN.Config(), (3, 30, 30), seed=0).eval()
    >>> dcgan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 30, 30])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """`width` is fitted to two CPU cores (the paper has 128), `ema` is a half-life in images."""

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
        """D moves on fresh images, then G answers on fresh noise; each batch is normalised by itself."""
        x, y = step.images(), self.labels(step)
        d_real, d_fake = self.score(x, y), self.score(self.fakes(step, y), y)
        yield Move(
            {"discriminator": discriminator_loss(d_real, d_fake)},  # −Eq. (1) of Goodfellow et al.
            {"d_real": d_real.sigmoid().mean(), "d_fake": d_fake.sigmoid().mean()},
        )
        yield Move({"generator": non_saturating_generator_loss(self.answer(step, y))})
