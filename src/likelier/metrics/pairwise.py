"""How well a score tells two sets apart: the chance that it ranks a pair of them rightly.

H. B. Mann, D. R. Whitney: On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other,
1947, Annals of Mathematical Statistics 18, 50-60.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError


def pairwise_accuracy(higher: Float[Tensor, " n"], lower: Float[Tensor, " m"]) -> float:
    """P[a > b] + ½ P[a = b] over all pairs of a score of the first set and one of the second (the area under the ROC).

    Of a discriminator's scores of real images and of samples it says how well it tells them apart: .5 is not at all,
    1 is without fail. Only the order counts, so critics whose level is arbitrary compare with discriminators that
    give probabilities.

    Args:
        higher: scores of the set that should have the higher ones [n].
        lower: scores of the other [m].

    Returns:
        The share of pairs ranked rightly, 0 to 1.

    Raises:
        InputError: no scores, or scores that are NaN or infinite.

    Source:
        Mann, Whitney: On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other, 1947,
        Annals of Mathematical Statistics 18: U / nm. Of a critic: Jolicoeur-Martineau: The relativistic discriminator,
        2018, arXiv 1807.00734.

    >>> import torch
    >>> pairwise_accuracy(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    for name, scores in (("first", higher), ("second", lower)):
        if scores.ndim != 1 or len(scores) == 0 or not bool(scores.isfinite().all()):
            raise InputError(f"the {name} scores of shape {tuple(scores.shape)} are none or not finite: wanted numbers")
    ordered = lower.contiguous().sort().values
    below = torch.searchsorted(ordered, higher.contiguous(), right=False)
    at_most = torch.searchsorted(ordered, higher.contiguous(), right=True)
    return float((below + at_most).double().sum() / (2 * len(higher) * len(lower)))
