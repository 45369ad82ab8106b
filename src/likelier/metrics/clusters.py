"""Clusters of a set of features by k-means, which are the same for the same set."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.metrics.inputs import in_order


def clusters(x: Float[Tensor, "n d"], k: int) -> Callable[[Tensor], Tensor]:
    """The map from rows [m, d] to their clusters [m], among k clusters of `x`, or as many as it has different rows.

    scikit-learn's k-means with its own generator, started once from a fixed seed; x is sorted first, so that neither
    the order of its rows nor the global generators matter.
    """
    from sklearn.cluster import KMeans

    x = in_order(x)
    different = 1 + int((x[1:] != x[:-1]).any(dim=1).sum())
    fitted = KMeans(min(k, different), n_init=1, random_state=0).fit(x.numpy(force=True))
    return lambda y: torch.from_numpy(fitted.predict(y.double().numpy(force=True))).long().to(y.device)
