"""VAE-GAN: an autoencoder whose reconstructions are compared in the eyes of a discriminator.

Anders Boesen Lindbo Larsen, Søren Kaae Sønderby, Hugo Larochelle, Ole Winther: Autoencoding beyond pixels using a
learned similarity metric, 2016, arXiv 1512.09300.

Three players move at once, each on its own share of

    L_prior = KL(q(z|x) ‖ p(z))                                                                           (4)
    L_llike = −E_q(z|x) [log N(Dis_l(x); Dis_l(Dec(z)), I)]                                               (7)
    L_GAN   = −log Dis(x) − log(1 − Dis(Dec(z_p))) − log(1 − Dis(Dec(Enc(x))))       (5), with section 3.2's third term

    θ_Enc ← −∇ (L_prior + L_llike),    θ_Dec ← −∇ (γ L_llike − L_GAN),    θ_Dis ← −∇ L_GAN         (algorithm 1)

with Dis_l the features of the discriminator's last hidden layer and z_p from the prior. (Eq. (5) prints L_GAN with the
opposite sign, as a value to be maximised; algorithm 1 descends it, so here it is the discriminator's loss.) The
reconstruction error never reaches the discriminator, nor the adversarial loss the encoder.

Deviations: Adam with β₁ = ½ in place of RMSProp, small networks for small images, a sigmoid in place of tanh, and
samples from a moving average of the weights; `ema = 0` is without.
"""

from collections.abc import Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.distributions import Normal, standard_normal
from likelier.family import Family, Move, Player, Step, unconditional
from likelier.images import Shape
from likelier.losses import kl_to_standard_normal
from likelier.nn import Network, NetworkName, Networks, leaky_relu


class VAEGAN(Family):
    """Encoder, decoder and discriminator, all convolutional by default.

    >>> import torch
    >>> from likelier.family import build
    >>> hybrid = build(VAEGAN, VAEGAN.Config(), (1, 28, 28), seed=0).eval()
    >>> hybrid.encode(hybrid.sample(4, torch.Generator().manual_seed(0))).mean.shape
    torch.Size([4, 20])
    """

    @dataclass(frozen=True)
    class Config(Networks):
        """`gamma` weighs reconstruction against fooling the discriminator; `ema` is a half-life in images."""

        network: NetworkName = "conv"
        latent: Annotated[int, Field(ge=1)] = 20
        gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
        batch: Annotated[int, Field(ge=2)] = 64
        lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
        ema: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10_000

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.encoder = config.image_to_vector(shape, 2 * config.latent, leaky_relu)
        self.decoder = config.vector_to_image(config.latent, shape)
        self.dis_l, features = config.image_to_features(shape, leaky_relu)
        self.dis_head = Network(nn.Linear(features, 1))

    def players(self) -> dict[str, Player]:
        """The three of algorithm 1."""
        lr, beta1, ema = self.config.lr, self.config.beta1, self.config.ema or None
        return {
            "encoder": Player((self.encoder,), lr, beta1, ema=ema),
            "decoder": Player((self.decoder,), lr, beta1, ema=ema),
            "discriminator": Player((self.dis_l, self.dis_head), lr, beta1),
        }

    def turns(self, step: Step) -> Iterator[Move]:
        """One move of all three, from one pass through the networks."""
        x = step.images()
        q = self.encode(x)
        reconstruction = self.decode(q.reparameterise(step.randn(*q.mu.shape)))
        sample = self.decode(step.randn(*q.mu.shape))
        features, seen = self.dis_l(x), self.dis_l(reconstruction)
        d_x, d_reconstruction = self.dis_head(features), self.dis_head(seen)
        d_sample = self.dis_head(self.dis_l(sample))

        prior = kl_to_standard_normal(q.mu, q.log_var).sum(1).mean()  # Eq. (4)
        llike = 0.5 * (features - seen).square().sum(1).mean()  # Eq. (7), without its constant
        # Eq. (5) from logits: −log D = softplus(−logit), −log(1 − D) = softplus(logit)
        gan = (F.softplus(-d_x) + F.softplus(d_sample) + F.softplus(d_reconstruction)).mean()
        yield Move(  # algorithm 1
            {"encoder": prior + llike, "decoder": self.config.gamma * llike - gan, "discriminator": gan},
            {
                "kl": prior,
                "feature_error": llike,
                "d_real": d_x.sigmoid().mean(),
                "d_reconstruction": d_reconstruction.sigmoid().mean(),
                "d_fake": d_sample.sigmoid().mean(),
            },
        )

    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.config.latent, like=next(self.parameters()))

    def encode(self, x: Float[Tensor, "b c h w"]) -> Normal:
        """q(z|x)."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return Normal(mu, log_var)

    def decode(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c h w"]:
        """Dec(z)."""
        return self.decoder(z).sigmoid()

    def score(self, x: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        """The logit of Dis(x)."""
        unconditional(labels)
        return self.dis_head(self.dis_l(x)).squeeze(1)

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, labels: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Dec(z) for z from the prior."""
        unconditional(labels)
        return self.decode(self.prior().sample(generator, n))
