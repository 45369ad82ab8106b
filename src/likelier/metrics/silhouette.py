"""The silhouette: whether codes lie nearer to their own class than to the next.

Peter J. Rousseeuw: Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, 1987,
Journal of Computational and Applied Mathematics 20, 53-65.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import chunk_rows, one_label_a_row, rows


def silhouette(codes: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> float:
    """The mean silhouette of the codes, with the classes as clusters.

        s = (b − a) / max(a, b)

    a is the mean distance of a code to the others of its class, b to those of the nearest other class; s is 0 for
    the only code of a class, and where a = b = 0.

    Args:
        codes: codes, or points of a plot [n, d].
        labels: their classes [n], at least two of them.

    Returns:
        The mean over the codes: 1 for classes far apart, about 0 for mixed ones, −1 at worst.

    Raises:
        InputError: fewer than two classes, a number of labels that is not that of the codes, NaN or infinite codes.

    Source:
        Rousseeuw: Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, 1987,
        Journal of Computational and Applied Mathematics 20, 53-65.

    >>> import torch
    >>> round(silhouette(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([0, 0, 1, 1])), 4)
    0.8997
    """
    codes = rows("codes", codes)
    one_label_a_row("codes", codes, labels)
    classes, own = torch.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError("the codes are all of one class: a silhouette wants at least two")
    members = torch.nn.functional.one_hot(own).double()
    size = chunk_rows(len(codes))
    parts = zip(torch.split(codes, size), torch.split(own, size), strict=True)
    return float(torch.cat([widths(part, mine, codes, members) for part, mine in parts]).mean())


def widths(
    part: Float[Tensor, "p d"], own: Int64[Tensor, " p"], codes: Float[Tensor, "n d"], members: Float[Tensor, "n k"]
) -> Float[Tensor, " p"]:
    """s of some codes, whose classes are `own`; `members` has a 1 where a code (row) is of a class (column)."""
    # By differences: the shortcut through x·y would give a code a distance to itself.
    distances = torch.cdist(part, codes, compute_mode="donot_use_mm_for_euclid_dist")
    sums, sizes = distances @ members, members.sum(dim=0)
    own = own[:, None]
    others = sizes[own] - 1
    a = sums.gather(1, own) / others.clamp(min=1)
    b = (sums / sizes).scatter(1, own, torch.inf).amin(dim=1, keepdim=True)
    s = (b - a) / torch.maximum(a, b)
    return torch.where((others > 0) & s.isfinite(), s, 0).squeeze(1)
