"""Authenticity: the share of fakes that are not close to a training image for that image's surroundings.

Ahmed M. Alaa, Boris van Breugel, Evgeny Saveliev, Mihaela van der Schaar: How Faithful is your Synthetic Data?
Sample-level Metrics for Evaluating and Auditing Generative Models, 2022, arXiv 2102.08921.
"""

from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import pair
from likelier.metrics.neighbours import nearest, nearest_other_distances


def authenticity(
    train: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], train_nearest: Float[Tensor, " n"] | None = None
) -> float:
    """The share of fakes whose nearest training image is further away than that image's own nearest other one.

        1/m Σⱼ 1[‖yⱼ − x_{i(j)}‖ > min_{k≠i(j)} ‖x_{i(j)} − x_k‖],   i(j) = argminᵢ ‖yⱼ − xᵢ‖

    Times 100 it is the AuthPct of later papers. Honest images do not score ½, since the nearest image of a set is
    more often one of a dense region; so compare with what held-out images score. Exact copies score 0; blur scores
    high. A training image that is there twice makes every fake beside it authentic, exact copies excepted.

    Args:
        train: features [n, d] of the training images, n ≥ 2.
        fake: features [m, d] of samples.
        train_nearest: nearest_other_distances(train) [n], where they are known already: they cost more than the rest.

    Returns:
        The share, 0 to 1. It depends on n: compare at one training set only.

    Raises:
        InputError: too few rows, NaN or infinite features, different d, training features that do not vary, or
            distances for another number of training images.

    Source:
        Alaa, van Breugel, Saveliev, van der Schaar: How Faithful is your Synthetic Data? Sample-level Metrics for
        Evaluating and Auditing Generative Models, 2022, arXiv 2102.08921, section 2.3.

    >>> import torch
    >>> authenticity(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [7.0], [10.0], [-3.0]]))
    0.5
    """
    pair(train, fake, least=1)
    if train_nearest is None:
        train_nearest = nearest_other_distances(train)
    elif train_nearest.shape != train.shape[:1]:
        raise InputError(f"{len(train_nearest)} distances of {len(train)} training images: wanted one for each")
    found = nearest(fake, train)
    return float((found.distances > train_nearest[found.indices]).double().mean())
