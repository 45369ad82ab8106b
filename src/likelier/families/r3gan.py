"""R3GAN: a relativistic game, regularised twice. The GAN that does not break.

Yiwen Huang, Aaron Gokaslan, Volodymyr Kuleshov, James Tompkin: The GAN is dead; long live the GAN! A Modern GAN
Baseline, 2024, arXiv 2501.05441.

D scores pairs: an image has to stand above a sample, and G wants it the other way round (RpGAN, Jolicoeur-Martineau
2019, arXiv 1807.00734). With f(t) = −log(1 + e^(−t))

    L(θ, ψ) = E [f(D(x) − D(G(z)))]         D climbs it, G climbs E [f(D(G(z)) − D(x))]                    (2)

where a generator that drops modes is no place to rest at. That the game comes to rest where p_G = p_x is owed to two
penalties on D's slope, at images and at samples (Mescheder et al. 2018, arXiv 1801.04406; Roth et al. 2017):

    R1 = γ/2 E_x ‖∇D‖²         R2 = γ/2 E_G(z) ‖∇D‖²                                                      (3)

With them nothing else is wanted: no normalisation in either network, weights that begin as He et al. and Fixup have
them, Adam without momentum (β₁ = 0, β₂ = .99), and samples from a moving average of G's weights.

Each part can be taken out (`pairing`, `r1`, `r2`, `beta1`, `ema`, `normalise`, `network`), down to the plain GAN: that
is how docs/why-gans-break.md finds out what each is for.

Deviations: small networks for small images (perceptrons by default: in five minutes on two CPU cores they get further
than convolutions); residual blocks of two 3×3 convolutions in place of grouped bottlenecks; constant γ and β₂; a step
size that goes down to 0 in a straight line over the last part of the training, in place of a cosine over its first;
penalties in one of `every` turns and as many times as heavy (Karras et al. 2020, arXiv 1912.04958, appendix B), in
place of each.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from likelier.adversarial import Adversarial, Beta, HalfLife, Labels, Rate, Settings
from likelier.family import Move, Player, Step
from likelier.images import Shape
from likelier.losses import discriminator_loss, non_saturating_generator_loss, relativistic_loss, squared_gradient
from likelier.nn import Depth, Hidden, he_initialise, leaky_relu, without_level
from likelier.schedules import cooling


class R3GAN(Adversarial):
    """A generator against a relativistic, twice regularised discriminator.

    >>> import torch
    >>> from likelier.family import build
    >>> gan = build(R3GAN, R3GAN.Config(), (1, 8, 8), seed=0)
    >>> gan.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 8, 8])
    """

    @dataclass(frozen=True)
    class Config(Settings):
        """`gamma` does not carry over from one data set to the next: search it first."""

        hidden: Hidden = 512
        depth: Depth = 2
        lr: Rate = 2e-3
        beta1: Beta = 0
        beta2: Beta = 0.99
        ema: HalfLife = 64_000
        gamma: Annotated[float, Field(ge=0, allow_inf_nan=False, description="weight of the penalties")] = 1
        r1: Annotated[bool, Field(description="the penalty at images")] = True
        r2: Annotated[bool, Field(description="the penalty at samples")] = True
        every: Annotated[int, Field(ge=1, le=64, description="turns of the game for one with penalties")] = 4
        cooling: Annotated[float, Field(ge=0, le=1, description="last share of the budget, in which lr goes to 0")] = (
            0.5
        )
        pairing: Annotated[bool, Field(description="scores in pairs; else each by itself, as a GAN's")] = True
        normalise: Annotated[bool, Field(description="batch normalisation in conv and resnet")] = False

        @model_validator(mode="after")
        def check_parts(self) -> "R3GAN.Config":
            """ValueError for a part that does nothing beside what was taken out."""
            default = {f.name: f.default for f in fields(self)}
            out = {
                "r1=false and r2=false, with which there is no penalty": ("gamma", "every"),
                "gamma=0, with which there is no penalty": ("r1", "r2", "every"),
                "network=mlp, which is never normalised by the batch": ("normalise",),
            }
            holds = (not self.r1 and not self.r2, self.gamma == 0, self.network == "mlp")
            for (reason, idle), there in zip(out.items(), holds, strict=True):
                for name in idle if there else ():
                    if getattr(self, name) != default[name]:
                        raise ValueError(f"no {name} beside {reason}")
            return self

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape, leaky_relu, normalised=(config.normalise, config.normalise))
        if not config.normalise:
            for network in self.children():  # each by itself, as its blocks are counted
                he_initialise(network)
        if config.pairing:
            without_level(self.discriminator)

    def players(self) -> dict[str, Player]:
        """D and G, with step sizes that cool down."""
        schedule = partial(cooling, share=self.config.cooling)
        return {name: replace(player, schedule=schedule) for name, player in super().players().items()}

    def turns(self, step: Step) -> Iterator[Move]:
        """D and G in turns, on the same images; with `every` = k that k times, and penalties the first time."""
        for k in range(self.config.every):
            x, y = step.images(), self.labels(step)
            yield self.discriminators_move(step, x, y, self.config.gamma * self.config.every if k == 0 else 0)
            d_fake = self.answer(step, y)
            if self.config.pairing:
                with torch.no_grad():
                    d_real = self.score(x, y)
                yield Move({"generator": relativistic_loss(d_fake, d_real)})  # Eq. (2), for G
            else:
                yield Move({"generator": non_saturating_generator_loss(d_fake)})

    def discriminators_move(self, step: Step, x: Float[Tensor, "b c h w"], y: Labels, gamma: float) -> Move:
        """Images against samples, with penalties of weight gamma."""
        fake = self.fakes(step, y)
        r1, r2 = self.config.r1 and gamma > 0, self.config.r2 and gamma > 0
        x, fake = x.detach().requires_grad_(r1), fake.requires_grad_(r2)
        d_real, d_fake = self.scores(x, fake, y, apart=r1 or r2)
        game = relativistic_loss if self.config.pairing else discriminator_loss
        loss = game(d_real, d_fake)  # −Eq. (2)
        log = {"d_real": d_real.mean(), "d_fake": d_fake.mean()}
        for name, wanted, scores, images in (("r1", r1, d_real, x), ("r2", r2, d_fake, fake)):
            if wanted:
                log[name] = squared_gradient(scores, images).mean()
                loss = loss + gamma / 2 * log[name]  # Eq. (3)
        return Move({"discriminator": loss}, log)

    def scores(
        self, x: Float[Tensor, "b c h w"], fake: Float[Tensor, "b c h w"], y: Labels, *, apart: bool
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """D(x) and D(G(z)): of perceptrons in one pass, the quicker way, unless the slopes of each are wanted.

        Convolutions gain nothing by it, and the two must not share the statistics of a batch.
        """
        if apart or self.config.network != "mlp":
            return self.score(x, y), self.score(fake, y)
        d_real, d_fake = self.score(torch.cat([x, fake]), y if y is None else y.repeat(2)).chunk(2)
        return d_real, d_fake
