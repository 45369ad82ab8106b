"""Variational autoencoder.

Diederik P. Kingma, Max Welling: Auto-Encoding Variational Bayes, 2014, arXiv 1312.6114.

One player maximises the evidence lower bound (ELBO) on log p(x), in nats per image:

    L(θ, φ; x) = E_q(z|x) [log p(x|z)] − β · KL(q(z|x) ‖ p(z))                                            (3)

with q(z|x) = N(mu, diag σ²) from the encoder, p(z) = N(0, I), and one of three observation models p(x|z):

- `gaussian`: N(decoder(z), σ²I) of stated variance σ². The squared error summed over pixels + KL, as many lab scripts
  have it, is σ² = ½ (and the constant d/2 · ln π, which moves no gradient). `reduction = mean` reads the script's
  formula as the squared error *averaged* over the d pixels + KL: that is σ² = d/2, a model which takes every pixel for
  noise, and its posterior collapses onto the prior. It is here to be seen, not to be used.
- `gaussian-learned`: the same with one σ² for all pixels, learned with the rest (Rybkin et al. 2021, arXiv 2006.13202).
- `bernoulli`: the pixels as probabilities; a cross-entropy for grey images.

Three settings are for speed (docs/performance.md): `schedule = linear` takes lr up and down to 0, `decoder_lr` lets the
decoder take longer steps than the encoder, and `start = mean` begins with the mean image decoded, and taken from what
is encoded, in place of grey: the first biases are Wx̄ lower and the last are logit x̄.

β = 1 is the paper's bound, any other value the β-VAE (Higgins et al., 2017). The networks are the lab's, unless
`network` says otherwise: 784-256-(mu, log σ²) with ReLU, latent-256-784 with a sigmoid.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.distributions import Normal, standard_normal
from likelier.family import Family, Move, Player, Step, unconditional
from likelier.images import Shape
from likelier.losses import bernoulli_nll, gaussian_nll, kl_to_standard_normal
from likelier.nn import Networks, linear_layers
from likelier.schedules import constant, linear

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Observation(nn.Module):
    """p(x|z): what the pixels are, given the decoder's output."""

    def __init__(self, likelihood: str, variance: float) -> None:
        super().__init__()
        self.bernoulli = likelihood == "bernoulli"
        self.stated = math.log(variance)
        if likelihood == "gaussian-learned":
            self.learned = nn.Parameter(torch.tensor(self.stated))

    def nll(self, x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """−log p(x|z) in nats per image, from the decoder's output before the sigmoid."""
        return bernoulli_nll(x, logits) if self.bernoulli else gaussian_nll(x, logits.sigmoid(), self.log_variance(x))

    def log_variance(self, like: Tensor) -> Float[Tensor, ""]:
        """ln σ², learned or stated, of the type and on the device of `like`."""
        return self.learned if hasattr(self, "learned") else like.new_full((), self.stated)


class VAE(Family):
    """Encoder, decoder and observation model, trained together as one player.

    >>> import torch
    >>> from likelier.family import build
    >>> vae = build(VAE, VAE.Config(latent=2), (1, 28, 28), seed=0)
    >>> vae.sample(4, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    @dataclass(frozen=True)
    class Config(Networks):
        """The lab's network and loss."""

        latent: Annotated[int, Field(ge=1)] = 20
        likelihood: Literal["gaussian", "gaussian-learned", "bernoulli"] = "gaussian"
        variance: Annotated[float, Field(ge=1e-12, le=1e12)] = 0.5
        reduction: Literal["sum", "mean"] = "sum"
        beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
        batch: Annotated[int, Field(ge=1)] = 128
        lr: Positive = 1e-3
        decoder_lr: Positive = 1.0  # as a multiple of lr
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
        schedule: Literal["constant", "linear"] = "constant"
        start: Literal["random", "mean"] = "random"

        def __post_init__(self) -> None:
            if self.likelihood == "bernoulli" and (self.variance, self.reduction) != (0.5, "sum"):
                raise ValueError("no variance or reduction beside likelihood=bernoulli, which has neither")
            if self.likelihood == "gaussian-learned" and self.reduction != "sum":
                raise ValueError("no reduction=mean beside likelihood=gaussian-learned, which learns that factor")
            if self.start == "mean" and self.network != "mlp":
                raise ValueError(f"no start=mean beside network={self.network}: only mlp has a bias for each pixel")

    config: Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.encoder = config.image_to_vector(shape, 2 * config.latent)
        self.decoder = config.vector_to_image(config.latent, shape)
        variance = config.variance * (math.prod(shape) if config.reduction == "mean" else 1)
        self.observation = Observation(config.likelihood, variance)

    def players(self) -> dict[str, Player]:
        """One: all the weights descend one loss."""
        c = self.config
        modules = (self.encoder, self.decoder, self.observation)
        schedule = linear if c.schedule == "linear" else constant
        factors = (1.0, c.decoder_lr, 1.0)
        return {"vae": Player(modules, c.lr, beta2=c.beta2, schedule=schedule, lr_factors=factors)}

    @torch.no_grad()
    def start_from(self, batches: Iterator[Float[Tensor, "b c h w"]]) -> None:
        """With `start = mean`: codes of what differs from the mean image, and the mean image from any code."""
        if self.config.start == "mean":
            sums = [(x.sum(0), len(x)) for x in batches]
            mean = torch.stack([total for total, _ in sums]).sum(0).flatten() / sum(n for _, n in sums)
            first, last = linear_layers(self.encoder)[0], linear_layers(self.decoder)[-1]
            first.bias.sub_(first.weight @ mean)
            last.bias.copy_(torch.logit(mean, eps=1e-3))

    def turns(self, step: Step) -> Iterator[Move]:
        """One move: a step up the bound, estimated with one sample of z an image."""
        x = step.images()
        q = self.encode(x)
        z = q.reparameterise(step.randn(*q.mu.shape))
        nll = self.observation.nll(x, self.decoder(z)).mean()
        kl = kl_to_standard_normal(q.mu, q.log_var).sum(1).mean()  # Eq. (10), the closed form of the second term
        loss = nll + self.config.beta * kl  # −Eq. (3)
        log = {"elbo": -(nll + kl), "nll": nll, "kl": kl}
        if self.config.likelihood == "gaussian-learned":
            log["sigma"] = torch.exp(0.5 * self.observation.log_variance(x))
        yield Move({"vae": loss}, log)

    def prior(self) -> Normal:
        """p(z) = N(0, I)."""
        return standard_normal(self.config.latent, like=next(self.parameters()))

    def encode(self, x: Float[Tensor, "b c h w"]) -> Normal:
        """q(z|x)."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        return Normal(mu, log_var)

    def decode(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c h w"]:
        """The mean of p(x|z)."""
        return self.decoder(z).sigmoid()

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, labels: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Means of p(x|z) for z from the prior, without pixel noise."""
        unconditional(labels)
        return self.decode(self.prior().sample(generator, n))

    @torch.no_grad()
    def log_prob_bound(self, x: Float[Tensor, "b c h w"], k: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """log 1/k Σ p(x|z) p(z) / q(z|x) with k draws from q: the ELBO for k = 1, IWAE-k beyond.

        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519, eq. (8).
        """
        q, p = self.encode(x), self.prior()
        total = torch.full((len(x),), -math.inf, device=x.device, dtype=x.dtype)
        for _ in range(k):
            z = q.sample(generator)
            log_weight = p.log_prob(z) - q.log_prob(z) - self.observation.nll(x, self.decoder(z))
            total = torch.logaddexp(total, log_weight)
        return total - math.log(k)
