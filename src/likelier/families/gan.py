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

from pydantic.dataclasses import dataclass

from likelier.adversarial import Adversarial, Settings
from likelier.family import Move, Step
from likelier.losses import discriminator_loss, non_saturating_generator_loss


class GAN(Adversarial):
    """A generator against a discriminator, MLPs by default.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(GAN, GAN.Config(), (1, 8, 8), seed=0)
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """The lab's baseline."""

    config: Config

    def turns(self, step: Step) -> Iterator[Move]:
        """D moves on fresh images, then G answers on fresh noise (algorithm 1 of the paper with k = 1)."""
        x, y = step.images(), self.labels(step)
        d_real, d_fake = self.score(x, y), self.score(self.fakes(step, y), y)
        yield Move(
            {"discriminator": discriminator_loss(d_real, d_fake)},  # −Eq. (1)
            {"d_real": d_real.sigmoid().mean(), "d_fake": d_fake.sigmoid().mean()},
        )
        yield Move({"generator": non_saturating_generator_loss(self.answer(step, y))})
