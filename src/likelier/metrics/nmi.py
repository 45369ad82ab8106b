"""Normalised mutual information: how much clusters of the codes, found without the classes, tell of them.

Alexander Strehl, Joydeep Ghosh: Cluster ensembles: a knowledge reuse framework for combining multiple partitions,
2002, Journal of Machine Learning Research 3, 583-617.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.clusters import clusters
from likelier.metrics.inputs import one_label_a_row, rows


def nmi(codes: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> float:
    """The mutual information of the classes and of as many k-means clusters, over the mean of their entropies.

        NMI = 2 I(class; cluster) / (H(class) + H(cluster))

    Strehl and Ghosh divide by the geometric mean; the arithmetic one is scikit-learn's and most papers' today. k-means
    is started once, from a fixed seed. Codes that are all equal make one cluster, which tells nothing: 0.

    Args:
        codes: codes [n, d], or points of a plot, n ≥ 2.
        labels: their classes [n], at least two of them.

    Returns:
        0 for clusters that are independent of the classes (a little more by chance), 1 for those that are the classes.

    Raises:
        InputError: fewer than two classes, a number of labels that is not that of the codes, NaN or infinite codes.

    Source:
        Strehl, Ghosh: Cluster ensembles: a knowledge reuse framework for combining multiple partitions, 2002, Journal
        of Machine Learning Research 3, 583-617, section 2.

    >>> import torch
    >>> nmi(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([3, 3, 4, 4]))
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score

    codes = rows("codes", codes)
    one_label_a_row("codes", codes, labels)
    classes = len(torch.unique(labels))
    if classes < 2:
        raise InputError("the codes are all of one class: mutual information wants at least two")
    found = clusters(codes, classes)(codes)
    return float(normalized_mutual_info_score(labels.numpy(force=True), found.numpy(force=True)))
