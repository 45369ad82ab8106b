"""VAE-10 and VAE-50: a variational autoencoder with the decoders of the comparison by annealed importance sampling.

Yuhuai Wu, Yuri Burda, Ruslan Salakhutdinov, Roger Grosse: On the Quantitative Analysis of Decoder-Based Generative
Models, 2017, arXiv 1611.04273.

The objective is the bound of Kingma & Welling 2014 (arXiv 1312.6114), in nats per image:

    L(θ, φ; x) = E_q(z|x) [log p(x|z)] − KL(q(z|x) ‖ p(z))                                                (3)

with p(z) = N(0, I) and p(x|z) = N(decoder(z), σ²I), σ² learned with the weights. The encoder is the decoder turned
round; learned σ² and this encoder are this recipe's reading (README.md).
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.distributions import Normal, standard_normal
from likelier.family import Family, Move, Player, Step, unconditional
from likelier.losses import gaussian_nll, kl_to_standard_normal

from .decoders import HIDDEN, decoder, encoder


class VAE(Family):
    """Encoder, decoder and ln σ² as one player."""

    @dataclass(frozen=True)
    class Config:
        """latent = 10 or 50 chooses the networks."""

        latent: int = 10
        batch: Annotated[int, Field(ge=1)] = 100
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5e-4

        def __post_init__(self) -> None:
            if self.latent not in HIDDEN:
                raise ValueError(f"latent to be one of {', '.join(map(str, HIDDEN))}")

    def __init__(self, config: Config, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.encoder = encoder(config.latent, shape, 2 * config.latent)
        self.decoder = decoder(config.latent, shape)
        self.log_variance = nn.ParameterList([torch.tensor(-3.0)])

    def players(self) -> dict[str, Player]:
        """One: all the weights descend one loss."""
        return {"vae": Player((self.encoder, self.decoder, self.log_variance), self.config.lr)}

    def turns(self, step: Step) -> Iterator[Move]:
        """One move: a step up the bound."""
        x = step.images()
        q = self.encode(x)
        z = q.reparameterise(step.randn(*q.mu.shape))
        nll = gaussian_nll(x, self.decode(z), self.log_variance[0]).mean()
        kl = kl_to_standard_normal(q.mu, q.log_var).sum(1).mean()
        variance = self.log_variance[0].exp()
        yield Move({"vae": nll + kl}, {"elbo": -(nll + kl), "kl": kl, "variance": variance})  # −Eq. (3)

    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.config.latent, like=next(self.parameters()))

    def encode(self, x: Tensor) -> Normal:
        """q(z|x)."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return Normal(mu, log_var)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), [b, c, h, w] in [0, 1]."""
        return self.decoder(z).sigmoid()

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Means of p(x|z) for z from the prior."""
        unconditional(labels)
        return self.decode(self.prior().sample(generator, n))
