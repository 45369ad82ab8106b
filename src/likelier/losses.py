"""The terms that objectives are made of: pure functions, in nats, one value an image unless stated."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Batch = Float[Tensor, " b"]
Pixels = Float[Tensor, "b c h w"]


def gaussian_nll(x: Pixels, mean: Pixels, log_variance: Float[Tensor, ""]) -> Batch:
    """−log N(x; mean, σ²I) in nats per image, σ² = exp(log_variance):

        ‖x − mean‖² / 2σ² + d/2 · ln 2πσ²        (d values an image)

    With σ² = ½ this is the squared error summed over the pixels, plus the constant d/2 · ln π.

    >>> x = torch.zeros(1, 1, 2, 2)
    >>> gaussian_nll(x, x + 1, torch.tensor(0.5).log()) - 2 * math.log(math.pi)
    tensor([4.])
    """
    squared_error = F.mse_loss(mean, x, reduction="none").flatten(1).sum(1)  # one pass forward and one back
    d = x[0].numel()
    return 0.5 * (squared_error * torch.exp(-log_variance) + d * (log_variance + math.log(2 * math.pi)))


def bernoulli_nll(x: Pixels, logits: Pixels) -> Batch:
    """−Σ x ln p + (1 − x) ln(1 − p) in nats per image, p = sigmoid(logits).

    A likelihood of binary pixels; on grey values in (0, 1) it is a cross-entropy and no normalised density.
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def kl_to_standard_normal(mu: Float[Tensor, "b d"], log_var: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """KL(N(mu, σ²) ‖ N(0, 1)) = ½(mu² + σ² − 1 − ln σ²) of each dimension (Kingma & Welling 2014, appendix B).

    >>> kl_to_standard_normal(torch.ones(1, 1), torch.zeros(1, 1))
    tensor([[0.5000]])
    """
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def discriminator_loss(real: Batch, fake: Batch) -> Float[Tensor, ""]:
    """−E log D(x) − E log(1 − D(G(z))), D = sigmoid of these logits (Goodfellow et al. 2014, eq. 1), batch mean."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def relativistic_loss(winner: Batch, loser: Batch) -> Float[Tensor, ""]:
    """E log(1 + exp(−(winner − loser))): how far the winner's score is from standing above the loser's.

    D and G take turns in being the winner (Jolicoeur-Martineau 2019, arXiv 1807.00734, section 4.1: RpGAN); each score
    of one batch is held against one of the other.
    """
    return F.softplus(loser - winner).mean()


def least_squares(scores: Batch, wanted: float) -> Float[Tensor, ""]:
    """½ E (D − wanted)²: scores as a regression to a number (Mao et al. 2017, eq. 2), batch mean."""
    return 0.5 * (scores - wanted).square().mean()


def hinge_loss(real: Batch, fake: Batch) -> Float[Tensor, ""]:
    """E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))) (Miyato et al. 2018, eq. 16), batch mean."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def gradient_penalty(scores: Batch, x: Pixels) -> Batch:
    """(‖∇ₓ D(x)‖ − 1)² of each image, to be differentiated further; D sees each image alone (Gulrajani et al. 2017).

    Where D is flat the norm has no derivative; 0 is taken for it.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square()


def squared_gradient(scores: Batch, x: Pixels) -> Batch:
    """‖∇ₓ D(x)‖² of each image, to be differentiated further; D sees each image alone."""
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def non_saturating_generator_loss(fake: Batch) -> Float[Tensor, ""]:
    """−E log D(G(z)): what section 3 of Goodfellow et al. 2014 trains with instead; batch mean."""
    return F.softplus(-fake).mean()
