"""The share of fakes that are nearer to the training set than fresh images hardly ever are."""

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import reference, rows, same_dimension
from likelier.metrics.neighbours import nearest_distances

QUANTILE = 0.01
"""Of the distances of held-out images: what one fresh image in a hundred falls below counts as near."""


def copied_share(train: Float[Tensor, "n d"], held_out: Float[Tensor, "h d"], fake: Float[Tensor, "m d"]) -> float:
    """The share of fakes at least as near to a training image as the nearest 1% of held-out images.

        1/m Σⱼ 1[L(yⱼ) ≤ q₁(L(held-out))],   L(y) = minᵢ ‖y − xᵢ‖

    Held-out images score about .01 by construction, a set with 10% exact copies about .11. Samples that keep closer
    to the middle of the data than images do, such as blurred ones, can score more without a copy among them. Where
    more than 1% of the held-out images are themselves in the training set, q₁ is 0, exact copies still count, and
    so do honest duplicates: compare with copied_share(train, held_out, held_out).

    Args:
        train: features or flattened pixels [n, d] of the training images.
        held_out: the same [h, d] of images of the data that no training saw, h ≥ 100 for a 1% quantile.
        fake: the same [m, d] of samples.

    Returns:
        The share, 0 to 1. It depends on n and on what the distances are taken in.

    Raises:
        InputError: too few rows, NaN or infinite features, different d, or training features that do not vary.

    >>> import torch
    >>> train, held_out = torch.arange(200.0)[:, None], torch.arange(100.0)[:, None] + 0.4
    >>> copied_share(train, held_out, torch.tensor([[3.0], [4.5], [8.5], [9.5]]))
    0.25
    """
    train, fake = reference("features of training images", train), rows("features of samples", fake, least=1)
    held_out = rows("features of held-out images", held_out, least=round(1 / QUANTILE))
    same_dimension(train, held_out, fake)
    threshold = torch.quantile(nearest_distances(held_out, train), QUANTILE)
    return float((nearest_distances(fake, train) <= threshold).double().mean())
