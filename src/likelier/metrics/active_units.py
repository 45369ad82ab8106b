"""Active units: the latent dimensions that an encoder uses.

Yuri Burda, Roger Grosse, Ruslan Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519.
"""

from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import rows


def active_units(means: Float[Tensor, "n d"], threshold: float = 0.01) -> int:
    """How many latent dimensions vary with the image.

        A_u = Var_x(E[z_u | x]) > .01

    Args:
        means: the mean codes E[z|x] of n ≥ 2 images [n, d], in units of the prior's standard deviation.
        threshold: the variance above which a dimension counts.

    Raises:
        InputError: fewer than two rows, NaN or infinity.

    Source:
        Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519, section 5.2.

    >>> import torch
    >>> active_units(torch.tensor([[1.0, 0.01], [-1.0, 0.02]]))
    1
    """
    return int((rows("codes", means).var(dim=0) > threshold).sum())
