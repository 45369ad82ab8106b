"""Spectral normalisation: each layer of D stretches nothing, by construction, and the hinge loss asks for no more.

Takeru Miyato, Toshiki Kataoka, Masanori Koyama, Yuichi Yoshida: Spectral Normalization for Generative Adversarial
Networks, 2018, arXiv 1802.05957.

Every weight of D is divided by its largest singular value, so that D's slope is bounded wherever one looks, and not
only where a penalty does:

    W ← W / σ(W)                                                                                          (8)

σ is followed by one step of the power method for each pass through D; the vectors are kept with the weights. A kernel
is taken as the matrix [channels out, all others]. The game has a margin: D need not move what it tells apart by 1,

    V_D = E [min(0, −1 + D(x))] + E [min(0, −1 − D(G(z)))]                                                (16)
    V_G = −E [D(G(z))]                                                                                    (17)

D climbs the first, G descends the second. (Numbers as in the version of ICLR 2018, arXiv v1.)

Deviations: small networks for small images, without batch normalisation in D; LeakyReLU of slope .2 in place of .1;
samples from a moving average of G's weights (`ema = 0` is without). With classes, D's vectors of the classes are
normalised like its other weights, as Miyato and Koyama did (arXiv 1802.05637).
"""

from collections.abc import Iterator
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from likelier.adversarial import Adversarial, Beta, HalfLife, Labels, Moves, Rate, Settings
from likelier.family import Move, Step
from likelier.images import Shape
from likelier.losses import hinge_loss
from likelier.nn import NetworkName


class SNGAN(Adversarial):
    """A generator against a discriminator whose layers have norm 1, both convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(SNGAN, SNGAN.Config(), (1, 8, 8), seed=0).eval()
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """`critic` is the paper's n_dis."""

        network: NetworkName = "conv"
        batch: Annotated[int, Field(ge=2)] = 128
        lr: Rate = 1e-3
        beta1: Beta = 0
        beta2: Beta = 0.9
        ema: HalfLife = 10_000
        critic: Moves = 1

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape, normalised=(True, False))
        judges = [self.discriminator, self.projection] if config.classes else [self.discriminator]
        for layer in [layer for judge in judges for layer in judge.modules()]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_norm(layer)  # Eq. (8)

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves `critic` times on fresh images, then G once."""
        y: Labels = None
        for _ in range(self.config.critic):
            x, y = step.images(), self.labels(step)
            yield self.discriminators_move(step, x, y)
        yield Move({"generator": -self.answer(step, y).mean()})  # Eq. (17)

    def discriminators_move(self, step: Step, x: Float[Tensor, "b c h w"], y: Labels) -> Move:
        """Images above 1, samples below −1."""
        d_real, d_fake = self.score(x, y), self.score(self.fakes(step, y), y)
        return Move(
            {"discriminator": hinge_loss(d_real, d_fake)},  # −Eq. (16)
            {"d_real": d_real.mean(), "d_fake": d_fake.mean()},
        )
