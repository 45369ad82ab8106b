"""A plane through a model's latent space, decoded on a grid: what the report's atlas shows, kept as `atlas.npz`.

The point (u, v) of the plane stands for the code

    z = origin + u · axes[0] + v · axes[1]

with orthonormal axes, and the prior is N(0, I): u and v are in standard deviations of the prior, so that planes of
different models can be looked at side by side. `decode(z)` is the image there. The file holds, as format 1,

- `format`: 1. A change that would break a reader raises it; new arrays do not.
- `how`: `plane` (two latent dimensions are one already), `line` (one dimension; the second axis is 0), `pca` (the two
  principal components of the codes of test images, through their mean), `first layer` (below) or `random` (seeded).
- `origin` [d], `axes` [2, d]: float32; d is as many numbers as `decode` wants.
- `given`: the class that is held fixed, −1 for a model that knows of none. It is part of the origin.
- `extent` [2, 2]: the least and the greatest u, and the least and the greatest v.
- `images` [rows, columns, c, h, w]: uint8; the image in row j and column i is of the i-th of `columns` even steps of u
  and the j-th of `rows` even steps of v, the least first, both ends included.
- `codes` [m, 2], `labels` [m]: the mean codes of test images as (u, v), and their classes; none without an encoder.
- `explained` [2]: the share of the codes' variance along each axis, or of the first layer's effect; [0] if unknown.

Whoever decodes elsewhere, in a browser say, needs `origin`, `axes` and the decoder, and can check himself by `images`.

A generator without an encoder has no codes to fit a plane to. Where its code goes into a fully connected layer Az + b,
the two directions that move the layer's output most are taken, the eigenvectors of AᵀA with the largest eigenvalues:

    n* = argmax ‖An‖²,  nᵀn = 1                                                                            (4)

Yujun Shen, Bolei Zhou: Closed-Form Factorization of Latent Semantics in GANs, 2021, arXiv 2007.06600 (SeFa).

Such a plane goes through the code of one sample, not through 0. Codes of d dimensions lie about √d from 0, so 0 is a
place where no sample is from, and what a generator has there (black, of `dcgan` on MNIST) says nothing of its samples.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from likelier import metrics, rng
from likelier.adversarial import Adversarial
from likelier.codes import SCATTERED, codes_of
from likelier.distributions import Normal
from likelier.evidence import NoFigure
from likelier.family import Decodes, Encodes, Family
from likelier.images import Split, as_uint8
from likelier.threads import so_many
from likelier.walks import Ground, first_layer, leading_directions
from likelier.watch import has_standard_prior

FORMAT = 1
REACH = 3
"""Standard deviations of the prior to each side: 997 of 1,000 samples lie within, along each axis."""
SIDES = (25, 13, 7, 5, 3)
"""Images along each axis: the most that together have no more than MOST pixels. Their steps are multiples of 1/4."""
MOST = 820_000
HOW = ("plane", "line", "pca", "first layer", "random")


class Plane(NamedTuple):
    """Where a plane lies: its point (0, 0), two orthonormal directions, how they were found, and what they explain."""

    origin: Float[Tensor, " d"]
    axes: Float[Tensor, "2 d"]
    how: str
    explained: tuple[float, ...]


def atlas_of(family: Family, seen: Split) -> dict[str, np.ndarray[Any, np.dtype[Any]]] | None:
    """What `atlas.npz` holds of a model that is shown these test images.

    None if it has no codes, or no standard normal prior, or makes images or codes that are not finite.
    """
    if not isinstance(family, Decodes) or not has_standard_prior(family):
        return None
    with torch.no_grad(), so_many(1):  # the same bytes however many threads there are
        codes = codes_of(family, seen.images[:SCATTERED]) if isinstance(family, Encodes) else None
        if codes is not None and not bool(codes.isfinite().all()):
            return None
        given = class_to_hold(family)
        plane = plane_through(family, codes, given)
        on_plane = torch.zeros(0, 2) if codes is None else ((codes - plane.origin) @ plane.axes.T).float()
        extent = extent_of(on_plane, flat=plane.how == "line")
        images = decoded(family, plane, *grid(extent, family.shape))
    if images is None:
        return None
    return {
        "format": np.array(FORMAT),
        "how": np.array(plane.how),
        "given": np.array(-1 if given is None else given),
        "origin": plane.origin.float().numpy(),
        "axes": plane.axes.float().numpy(),
        "extent": np.array(extent, np.float32),
        "images": images.numpy(),
        "codes": on_plane.numpy(),
        "labels": seen.labels[: len(on_plane)].numpy(),
        "explained": np.array(plane.explained, np.float32),
    }


def class_to_hold(family: Family) -> int | None:
    """The class that all images of the atlas are of: the first that there were training images of; or of none."""
    if not isinstance(family, Adversarial) or not family.classes:
        return None
    return int((family.last_of_class > 0).nonzero()[0])


def plane_through(family: Family, codes: Float[Tensor, "n d"] | None, given: int | None = None) -> Plane:
    """The plane to look at, of the numbers that `decode` takes.

    Args:
        family: what decodes.
        codes: codes of images, if it encodes.
        given: the class that is held fixed, if it knows of classes. The number that stands for it, the last of a code,
            is then no direction to go along.
    """
    assert isinstance(family, Decodes)
    prior = family.prior().mean
    free = len(prior) - (given is not None)
    plane = plane_of_free(family, codes, free)
    rest = prior.new_zeros(0)
    if given is not None:
        assert isinstance(family, Adversarial)
        rest = family.quantile_of(given)[None]
    axes = F.pad(plane.axes.to(prior), (0, len(rest)))
    return plane._replace(origin=torch.cat([plane.origin.to(prior), rest]), axes=axes)


def plane_of_free(family: Family, codes: Float[Tensor, "n d"] | None, free: int) -> Plane:
    """The plane of the first `free` numbers of a code, which nothing holds fixed."""
    origin = torch.zeros(free, dtype=torch.float64)
    if free <= 2:
        axes = F.pad(torch.eye(free, dtype=torch.float64), (0, 0, 0, 2 - free))
        return Plane(origin, axes, "plane" if free == 2 else "line", shares(codes))
    if codes is not None:
        pca = metrics.principal_components(codes)
        if bool(torch.isclose(pca.directions.norm(dim=0), torch.ones(2).double()).all()):  # or codes do not vary
            return Plane(codes.double().mean(0), pca.directions.T, "pca", tuple(pca.explained.tolist()))
    elif (found := directions_of_most_effect(family, free)) is not None:
        axes, explained = found
        return Plane(beside(axes), axes, "first layer", explained)
    chance = torch.randn(free, 2, generator=rng.generator(0, "atlas"), dtype=torch.float64)
    axes = torch.linalg.qr(chance).Q.T
    return Plane(beside(axes), axes, "random", ())


def beside(axes: Float[Tensor, "2 d"]) -> Float[Tensor, " d"]:
    """The origin of a plane through the code of one sample: that code, less what of it lies along the axes."""
    code = torch.randn(axes.shape[1], generator=rng.generator(0, "atlas sample"), dtype=torch.float64)
    return code - axes.T @ (axes @ code)


def shares(codes: Float[Tensor, "n d"] | None) -> tuple[float, ...]:
    """The share of the variance along each of the one or two dimensions of codes; of none if they do not vary."""
    if codes is None:
        return ()
    variance = codes.double().var(0)
    total = float(variance.sum())
    return tuple(F.pad(variance / total, (0, 2 - len(variance))).tolist()) if total > 0 else ()


def directions_of_most_effect(family: Family, free: int) -> tuple[Float[Tensor, "2 d"], tuple[float, ...]] | None:
    """The two directions that move the first layer's output most, Eq. (4), and their shares; None if there are none."""
    assert isinstance(family, Decodes)
    prior = family.prior()
    assert isinstance(prior, Normal)
    try:
        shares, directions = leading_directions(
            first_layer(Ground(family, prior, free, torch.zeros), prior.sample(rng.generator(0, "atlas")))
        )
    except NoFigure:
        return None
    return (directions[:2], tuple(shares[:2].tolist())) if len(directions) > 1 else None


def extent_of(on_plane: Float[Tensor, "m 2"], flat: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """How far the grid goes: 3 standard deviations of the prior, or so many times 3 that 99% of the codes are within.

    >>> extent_of(torch.zeros(0, 2), flat=False)
    ((-3.0, 3.0), (-3.0, 3.0))
    """
    far = float(torch.quantile(on_plane.abs().flatten(), 0.99)) if len(on_plane) else 0.0
    reach = float(REACH * max(1, math.ceil(far / REACH)))
    return (-reach, reach), (0.0, 0.0) if flat else (-reach, reach)


def grid(
    extent: tuple[tuple[float, float], tuple[float, float]], shape: tuple[int, int, int]
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " rows"]]:
    """The steps of u and of v.

    >>> [len(steps) for steps in grid(((-3, 3), (0, 0)), (3, 64, 64))]
    [13, 1]
    """
    pixels = shape[1] * shape[2]
    side = next((side for side in SIDES if side**2 * pixels <= MOST), SIDES[-1])
    u, v = (torch.linspace(low, high, side if low < high else 1) for low, high in extent)
    return u, v


def decoded(family: Family, plane: Plane, u: Float[Tensor, " columns"], v: Float[Tensor, " rows"]) -> Tensor | None:
    """The images at every v and u, uint8 [rows, columns, c, h, w]; None if one is not finite."""
    assert isinstance(family, Decodes)
    rows = []
    for height in v.to(plane.axes):  # a row at a time: all at once may be too much for the memory
        z = plane.origin + u.to(plane.axes)[:, None] * plane.axes[0] + height * plane.axes[1]
        images = family.decode(z)
        if not bool(images.isfinite().all()):
            return None
        rows.append(as_uint8(images))
    return torch.stack(rows)
