"""The linear probe: how much of the classes a linear classifier reads from the codes.

Guillaume Alain, Yoshua Bengio: Understanding intermediate layers using linear classifier probes, 2016,
arXiv 1610.01644.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import one_label_a_row, rows


def linear_probe(
    train_codes: Float[Tensor, "n d"],
    train_labels: Int64[Tensor, " n"],
    test_codes: Float[Tensor, "m d"],
    test_labels: Int64[Tensor, " m"],
) -> float:
    """The test accuracy of a multinomial logistic regression on the codes, each standardised by the training codes.

    The regression is scikit-learn's, with its penalty of C = 1; it is convex and solved without chance.

    Args:
        train_codes: codes to fit on [n, d].
        train_labels: their classes [n], at least two of them.
        test_codes: codes to judge on [m, d].
        test_labels: their classes [m].

    Returns:
        The share of test codes whose class is told, 0 to 1.

    Raises:
        InputError: one class only, numbers of labels or dimensions that do not match, NaN or infinite codes.

    Source:
        Alain, Bengio: Understanding intermediate layers using linear classifier probes, 2016, arXiv 1610.01644.

    >>> import torch
    >>> codes, labels = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    >>> linear_probe(codes, labels, codes, labels)
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = rows("training codes", train_codes), rows("test codes", test_codes, least=1)
    one_label_a_row("training codes", train, train_labels)
    one_label_a_row("test codes", test, test_labels)
    if train.shape[1] != test.shape[1]:
        raise InputError(f"codes of {train.shape[1]} and {test.shape[1]} dimensions: wanted both from one encoder")
    if int(train_labels.min()) == int(train_labels.max()):
        raise InputError("the training codes are all of one class: a linear probe wants at least two")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train.numpy(force=True), train_labels.numpy(force=True))
    return float(probe.score(test.numpy(force=True), test_labels.numpy(force=True)))
