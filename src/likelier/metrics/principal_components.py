"""Principal components: the plane in which codes spread most.

Harold Hotelling: Analysis of a complex of statistical variables into principal components, 1933, Journal of
Educational Psychology 24, 417-441.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.inputs import rows


class PrincipalComponents(NamedTuple):
    """Codes seen along the directions in which they vary most."""

    projected: Float[Tensor, "n k"]
    """The coordinates of the centred codes along the first k directions, float64."""
    explained: Float[Tensor, " k"]
    """The share of the total variance along each direction, falling; all 0 if the codes do not vary."""
    directions: Float[Tensor, "d k"]
    """The directions themselves, of length 1, float64; 0 for one that few codes of many dimensions do not have."""


def principal_components(codes: Float[Tensor, "n d"], k: int = 2) -> PrincipalComponents:
    """The codes projected on the k directions of most variance.

        z̃ = (z − z̄) V_k,   Cov(z) = V Λ Vᵀ,   explained = λ_k / Σ λ

    A direction and its opposite are equally principal: the one whose largest coefficient is positive is taken.

    Args:
        codes: codes [n, d], n ≥ 2.
        k: the number of directions, 1 to d.

    Raises:
        InputError: fewer than two rows, k outside 1 to d, NaN or infinite codes.

    Source:
        Hotelling: Analysis of a complex of statistical variables into principal components, 1933, Journal of
        Educational Psychology 24, 417-441.

    >>> import torch
    >>> plane = principal_components(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    >>> plane.projected[:, 0].tolist(), [round(share, 6) for share in plane.explained.tolist()]
    ([-5.0, 0.0, 5.0], [1.0, 0.0])
    """
    codes = rows("codes", codes)
    if not 1 <= k <= codes.shape[1]:
        raise InputError(f"{k} principal components of codes of {codes.shape[1]} dimensions: wanted 1 to that many")
    centred = codes - codes.mean(dim=0)
    few = k <= len(centred) < centred.shape[1]  # rows, as of images of 12,288 pixels: a smaller matrix has the same λ
    values, vectors = torch.linalg.eigh(centred @ centred.mT if few else centred.mT @ centred)
    values, v = values.flip(0)[:k].clamp(min=0), vectors.flip(1)[:, :k]
    if few:  # Zᵀu is a direction of length √λ; where λ is rounding it is none
        v = torch.where(values > 1e-12 * values[0], centred.mT @ v / values.sqrt(), 0)
    v = v * v.gather(0, v.abs().argmax(dim=0, keepdim=True)).sign()
    total = centred.square().sum()
    return PrincipalComponents(centred @ v, values / total if total > 0 else torch.zeros_like(values), v)
