"""DRAGAN: the GAN's game with D's slope held near 1 around the images, where sharp peaks would drive G off.

Naveen Kodali, Jacob Abernethy, James Hays, Zsolt Kira: On Convergence and Stability of GANs, 2017, arXiv 1705.07215.

    min_G max_D  E_x [log D(x)] + E_z [log(1 − D(G(z)))]                                                  (1)

with a penalty on D alone, at images perturbed by noise (section 2.4 and algorithm 1; the numbers are of this file):

    λ E_{x, δ ~ N(0, cI)} [(‖∇D(x + δ)‖ − k)²]          k = 1                                             (2)

G descends −E_z [log D(G(z))], as in `gan`. √c is half the standard deviation of all pixels of the batch, which is what
the authors' program scales its noise by; D is the logit there, as it is here.

Deviations: normal noise, as in (2), where that program has uniform noise of one sign; no batch normalisation in D,
whose slope is that of each image by itself; the small networks of `dcgan`, weights of D from He et al. 2015; samples
from a moving average of G's weights (`ema = 0` is without).
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.adversarial import Adversarial, Beta, HalfLife, Labels, Settings, Weight
from likelier.family import Move, Step
from likelier.images import Shape
from likelier.losses import discriminator_loss, gradient_penalty, non_saturating_generator_loss
from likelier.nn import NetworkName, he_initialise


class DRAGAN(Adversarial):
    """A generator against a discriminator that is smooth around the images, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(DRAGAN, DRAGAN.Config(), (1, 8, 8), seed=0).eval()
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """`lam` is the paper's λ."""

        network: NetworkName = "conv"
        batch: Annotated[int, Field(ge=2)] = 128
        beta1: Beta = 0.5
        ema: HalfLife = 10_000
        lam: Weight = 10

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape, normalised=(True, False))
        he_initialise(self.discriminator)

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise."""
        x, y = step.images(), self.labels(step)
        yield self.discriminators_move(step, x, y)
        d_fake = self.answer(step, y)
        yield Move({"generator": non_saturating_generator_loss(d_fake)})

    def discriminators_move(self, step: Step, x: Float[Tensor, "b c h w"], y: Labels) -> Move:
        """Images against samples, and the slope around the images."""
        fake = self.fakes(step, y)
        with torch.no_grad():
            near = x + 0.5 * x.std() * step.randn(*x.shape)
        d_real, d_fake = self.score(x, y), self.score(fake, y)
        penalty = gradient_penalty(self.score(near.requires_grad_(), y), near).mean()
        return Move(
            {"discriminator": discriminator_loss(d_real, d_fake) + self.config.lam * penalty},  # −Eq. (1) + Eq. (2)
            {"d_real": d_real.sigmoid().mean(), "d_fake": d_fake.sigmoid().mean(), "penalty": penalty},
        )
