"""What each latent dimension tells of the image: the KL of a diagonal Gaussian posterior from N(0, I).

Diederik P. Kingma, Max Welling: Auto-Encoding Variational Bayes, 2013, arXiv 1312.6114, appendix B.
"""

from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import rows


def kl_per_dimension(mu: Float[Tensor, "n d"], log_var: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """KL(N(μ, σ²)‖N(0, 1)) of each latent dimension, averaged over the images.

        KL = ½ (μ² + σ² − 1 − ln σ²)

    Args:
        mu: the means of the posterior for n images [n, d].
        log_var: ln σ² of the posterior [n, d].

    Returns:
        The divergences [d] in nats, float64; their sum is the KL term of the ELBO.

    Raises:
        InputError: different shapes, no rows, NaN or infinity.

    Source:
        Kingma, Welling: Auto-Encoding Variational Bayes, 2013, arXiv 1312.6114, appendix B.

    >>> import torch
    >>> kl_per_dimension(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
    tensor([2., 0.], dtype=torch.float64)
    """
    if mu.shape != log_var.shape:
        raise InputError(f"means of shape {tuple(mu.shape)}, log variances of {tuple(log_var.shape)}: wanted one shape")
    mu, log_var = rows("means", mu, least=1), rows("log variances", log_var, least=1)
    # expm1 keeps the digits of a posterior that is nearly the prior.
    return (0.5 * (mu.square() + log_var.expm1() - log_var)).mean(dim=0)
