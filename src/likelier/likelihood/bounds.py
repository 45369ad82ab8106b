"""Lower bounds on log p(x) by importance sampling from an encoder: the ELBO and IWAE-K.

    IWAE-K = E log 1/K Σ p(x|z_k) p(z_k) / q(z_k|x),   z_k ~ q(z|x);   the ELBO is K = 1                     (8)

Yuri Burda, Roger Grosse, Ruslan Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.distributions import Distribution
from likelier.likelihood.ais import Joint


def log_weights(
    log_densities: Joint, q: Distribution, k: int, generator: torch.Generator
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """log p(x|z) p(z) / q(z|x) and log p(x|z), in nats, for k draws of z from q for each of b images.

    Args:
        log_densities: z [b, k, latent] → (log p(z), log p(x|z)), as `joint` makes it.
        q: q(z|x) for the b images, [b, latent].
        k: draws an image.
        generator: where the draws come from.
    """
    z = q.sample(generator, k)  # [k, b, latent]
    log_prior, log_likelihood = log_densities(z.transpose(0, 1))
    return log_prior + log_likelihood - q.log_prob(z).double().mT, log_likelihood


def importance_bound(draw: Callable[[int], Float[Tensor, "b n"]], k: int, chunk: int) -> Float[Tensor, " b"]:
    """log 1/k Σ exp(log weight) in nats per image, `chunk` weights at a time: the bound for k = 5,000 fits any memory.

    Args:
        draw: n → n fresh log-weights for each of b images.
        k: weights in all.
        chunk: how many are held at a time; the result does not hang on it.

    Source:
        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519, Eq. (8).

    >>> bound = importance_bound(lambda n: torch.zeros(1, n, dtype=torch.float64), k=5, chunk=2)
    >>> abs(bound.item()) < 1e-12
    True
    """
    parts = [torch.logsumexp(draw(min(chunk, k - start)).double(), dim=1) for start in range(0, k, chunk)]
    return torch.logsumexp(torch.stack(parts), dim=0) - math.log(k)  # Eq. (8)
