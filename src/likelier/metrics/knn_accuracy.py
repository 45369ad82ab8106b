"""Nearest neighbours of the codes: whether codes of a class lie together, whatever the shape of the class.

Thomas Cover, Peter Hart: Nearest neighbor pattern classification, 1967, IEEE Transactions on Information Theory 13(1),
21-27.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import chunk_rows, one_label_a_row, rows, same_dimension
from likelier.metrics.manifold import squared_distances


def knn_accuracy(
    train_codes: Float[Tensor, "n d"],
    train_labels: Int64[Tensor, " n"],
    test_codes: Float[Tensor, "m d"],
    test_labels: Int64[Tensor, " m"],
    k: int = 5,
) -> float:
    """The share of test codes whose class is the most frequent among the k nearest training codes.

    Nothing is left to the order of the codes: those that are as far away as the k-th vote too, and of classes with
    equally many votes the smallest label wins, as in scikit-learn.

    Args:
        train_codes: codes that vote [n, d], n ≥ k.
        train_labels: their classes [n].
        test_codes: codes to judge on [m, d].
        test_labels: their classes [m].
        k: how many vote.

    Returns:
        The accuracy, 0 to 1. It depends on the scale of each dimension: the codes are not standardised.

    Raises:
        InputError: k < 1, fewer training codes than k, numbers of labels or dimensions that do not match, NaN or
            infinite codes.

    Source:
        Cover, Hart: Nearest neighbor pattern classification, 1967, IEEE Transactions on Information Theory 13(1),
        21-27.

    >>> import torch
    >>> codes, labels = torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([3, 3, 4, 4])
    >>> knn_accuracy(codes, labels, torch.tensor([[2.0], [9.0]]), torch.tensor([3, 3]), k=2)
    0.5
    """
    if k < 1:
        raise InputError(f"k is {k}: wanted a number of neighbours, 1 or more")
    train, test = rows("training codes", train_codes, least=k), rows("test codes", test_codes, least=1)
    one_label_a_row("training codes", train, train_labels)
    one_label_a_row("test codes", test, test_labels)
    same_dimension(train, test)
    classes, own = torch.unique(train_labels, return_inverse=True)
    members = torch.nn.functional.one_hot(own).float()
    centre = train.mean(dim=0)  # near the origin rounding is least
    train, test = train - centre, test - centre
    told = [classes[votes(part, train, members, k).argmax(dim=1)] for part in torch.split(test, chunk_rows(len(train)))]
    return float((torch.cat(told) == test_labels).double().mean())


def votes(
    x: Float[Tensor, "p d"], train: Float[Tensor, "n d"], members: Float[Tensor, "n c"], k: int
) -> Float[Tensor, "p c"]:
    """How many of the nearest are of each class: those up to the k-th distance, and to the error of its rounding."""
    distances = squared_distances(x, train)
    radius = distances.kthvalue(k, dim=1).values
    eps = torch.finfo(x.dtype).eps
    reach = radius + 4 * x.shape[1] * eps * (x.square().sum(dim=1) + radius.clamp(min=0))
    return (distances <= reach[:, None]).float() @ members
