"""Walks through a latent space: what changes in the image when a code is moved, one way or another.

All steps are counted in standard deviations of the prior, p(z) = N(μ, diag(σ²)): w = (z − μ)/σ, so that w ~ N(0, I).

**Traversal.** One code w is taken, its coordinate along a direction v (‖v‖ = 1) is replaced by t, and the rest is kept:

    w(t) = w + (t − v·w) v,   t = −3 … 3                                                                   (1)

For a family that encodes, w is the mean code of a test image, and v are the coordinates u with the largest variance of
the mean code over images, Var_x(E[z_u | x]): the criterion by which `active_units` counts (Burda, Grosse,
Salakhutdinov: Importance Weighted Autoencoders, 2016, arXiv 1509.00519, section 5.2), so that the units that are
walked along are those that are counted. (By the KL to the prior the order is nearly the same, but only normal
posteriors have it.) Where nothing is encoded, w is a draw from the prior, and v are the directions that move the output
of the first layer, y = A w + b, most:

    v₁, v₂, … = argmax ‖A v‖²   ⇔   AᵀA v = λ v, largest λ first                                            (2)

(SeFa: Yujun Shen, Bolei Zhou: Closed-Form Factorization of Latent Semantics in GANs, 2021, arXiv 2007.06600, eqs. (4)
to (7)). Since w ~ N(0, I), they are also the principal components of that layer's output, pulled back to w (GANSpace:
Erik Härkönen, Aaron Hertzmann, Jaakko Lehtinen, Sylvain Paris, 2020, arXiv 2004.02546).

**Manifold.** Two-dimensional codes are decoded on a grid that is even in probability: the coordinates are the quantiles

    w = Φ⁻¹((i + ½)/n),   i = 0 … n − 1                                                                    (3)

(Diederik P. Kingma, Max Welling: Auto-Encoding Variational Bayes, 2014, arXiv 1312.6114, figure 4).

**Interpolation** between codes a and b, straight and along the sphere:

    linear(t) = (1 − t) a + t b,   slerp(t) = sin((1 − t)θ)/sin θ · a + sin(tθ)/sin θ · b                  (4)

with θ the angle between a and b (Tom White: Sampling Generative Networks, 2016, arXiv 1609.04468). Nearly all draws of
N(0, I) in d dimensions have a length of about √d, and so have the codes on the arc; the straight line cuts through
where hardly any draw lies.

A family that is told of classes has the class for the last coordinate of its codes (see `adversarial`); it is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from likelier.codes import SCATTERED, codes_of
from likelier.distributions import Normal
from likelier.evidence import Evidence, NoFigure
from likelier.family import Decodes, Encodes, Family
from likelier.images import Shape, as_float, as_uint8

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
Noise = Callable[[int, int], Tensor]
"""(n, latent) → n draws from N(0, I) that models share."""

REACH = 3
STEPS = 7
UNITS = 8
"""Directions that are walked along, at most."""
STOPS = 9
"""Codes on a path between two, ends included; an odd number, so that one is halfway."""
PATHS = 3
SIDE = 20
"""Rows and columns of a manifold, at most."""
LARGEST = 64
"""Pixels: larger images are drawn smaller."""
BYTES = 180_000
"""What a figure may hold before it is compressed; of large images it has fewer."""


@dataclass(frozen=True)
class Ground:
    """Where one walks: a family, its prior, how many coordinates are free, and the shared noise."""

    family: Family
    prior: Normal
    free: int
    noise: Noise

    def draws(self, n: int) -> Float[Tensor, "n latent"]:
        """Draws of the shared noise, in standard deviations of the prior."""
        return self.noise(n, self.prior.mu.shape[-1]).to(self.prior.mu)

    def codes(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n latent"]:
        """The mean codes of images, in standard deviations of the prior."""
        w = (codes_of(self.family, images) - self.prior.mu) / torch.exp(0.5 * self.prior.log_var)
        if not bool(w.isfinite().all()):
            raise NoFigure("its codes are not finite")
        return w

    def pictures(self, w: Float[Tensor, "*n latent"]) -> UInt8[Tensor, "*n c h w"]:
        """What codes are decoded to, as bytes and not larger than `LARGEST`."""
        assert isinstance(self.family, Decodes)
        z = self.prior.reparameterise(w)
        x = torch.cat([self.family.decode(part) for part in torch.split(z.flatten(0, -2), 250)])
        if not bool(x.isfinite().all()):
            raise NoFigure("the images that it decodes are not finite")
        x = reduced(x)
        return as_uint8(x).view(*w.shape[:-1], *x.shape[1:])


def ground_of(family: Family, noise: Noise) -> Ground:
    """The ground of a family; NoFigure if nobody can walk there."""
    if not isinstance(family, Decodes):
        raise NoFigure("it makes no images of codes")
    prior = family.prior()
    if not isinstance(prior, Normal):
        raise NoFigure("its prior is not normal")
    return Ground(family, prior, prior.mu.shape[-1] - bool(family.classes), noise)


def traversals(evidence: Evidence, noise: Noise) -> Arrays:
    """What moves along each of the leading directions: eq. (1), `traversal_images` [rows, steps, c, h, w].

    Beside them `traversal_start` (the image and what its code is decoded to; or what a draw is), `traversal_steps` (t),
    `traversal_kind` ("units" or "directions"), `traversal_units` (which coordinates, or 0, 1, … for directions) and
    `traversal_weight` (the variance of the mean code; or ‖A v‖² as a share of the sum over all directions).
    """
    ground = ground_of(evidence.family, noise)
    rows = fitting(UNITS, STEPS, evidence.images.shape)
    t = torch.linspace(-REACH, REACH, STEPS)
    if isinstance(evidence.family, Encodes):
        kind, first = "units", evidence.probe_test.images[:1]
        weight, units = active_first(ground.codes(evidence.probe_test.images[:SCATTERED])[:, : ground.free])
        v = torch.eye(ground.free)[units[:rows]]
        w = ground.codes(first)[0]
        start = torch.cat([as_uint8(reduced(as_float(first))), ground.pictures(w[None])])
    else:
        kind, w = "directions", ground.draws(1)[0]
        weight, v = leading_directions(first_layer(ground, w))
        units, v = torch.arange(len(v)), v[:rows]
        start = ground.pictures(w[None])
    return {
        "traversal_images": ground.pictures(along(w, v.to(w), t.to(w))).numpy(),
        "traversal_start": start.numpy(),
        "traversal_steps": t.numpy(),
        "traversal_kind": np.array([kind]),
        "traversal_units": units[:rows].numpy(),
        "traversal_weight": weight[:rows].float().numpy(),
    }


def active_first(codes: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Tensor]:
    """Var_x(E[z_u | x]) of each unit u in descending order, and which units they are."""
    variance = codes.double().var(dim=0) if len(codes) > 1 else codes[0].double() * 0
    order = variance.argsort(descending=True, stable=True)
    return variance[order], order


def along(w: Float[Tensor, " latent"], v: Float[Tensor, "k free"], t: Float[Tensor, " s"]) -> Tensor:
    """Eq. (1): the code w with its coordinate along each direction v replaced by each t, [k, s, latent]."""
    v = F.pad(v, (0, len(w) - v.shape[1]))
    here = v @ w
    return w + (t[None, :, None] - here[:, None, None]) * v[:, None, :]


def first_layer(ground: Ground, w: Float[Tensor, " latent"]) -> Float[Tensor, "out free"]:
    """A of the first layer that a code meets, y = A w + b; NoFigure if it is not fully connected, or takes no w."""
    family, z = ground.family, ground.prior.reparameterise(w)[None]
    assert isinstance(family, Decodes)
    met: list[tuple[nn.Linear, Tensor]] = []

    def meet(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        met.append((layer, inputs[0]))

    hooks = [m.register_forward_pre_hook(meet) for m in family.modules() if isinstance(m, nn.Linear)]
    try:
        family.decode(z)
    finally:
        for hook in hooks:
            hook.remove()
    free = ground.free
    if not met or met[0][1].shape[-1] < free or not torch.equal(met[0][1].flatten()[:free], z[0, :free]):
        raise NoFigure("the first layer of its decoder is not a linear one that takes the code")
    scale = torch.exp(0.5 * ground.prior.log_var[:free])
    return met[0][0].weight[:, :free].detach() * scale  # y = (W σ) w + (W μ + b)


def leading_directions(a: Float[Tensor, "out d"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
    """Eq. (2): each direction's share of Σ λ, and the unit vectors, largest first.

    Their signs are arbitrary; here the coordinate that is largest in size is positive.
    """
    if not bool(a.isfinite().all()):
        raise NoFigure("its weights are not finite")
    _, s, v = torch.linalg.svd(a.double(), full_matrices=False)
    largest = v.gather(1, v.abs().argmax(dim=1, keepdim=True))
    shares = s.square() / s.square().sum().clamp(min=torch.finfo(s.dtype).tiny)
    return shares, v * torch.where(largest < 0, -1.0, 1.0)


def manifold(evidence: Evidence, noise: Noise) -> Arrays:
    """Eq. (3): `manifold` [n, n, c, h, w], the first coordinate growing to the right, the second upwards."""
    ground = ground_of(evidence.family, noise)
    if ground.free != 2:
        raise NoFigure(f"its codes have {ground.free:,} dimension{'s' * (ground.free > 1)}, not two")
    n = max(8, min(SIDE, int((2 * BYTES / size_of(evidence.images.shape)) ** 0.5)))
    q = quantiles(n).to(ground.prior.mu)
    w = torch.stack([q.expand(n, n), q.flip(0)[:, None].expand(n, n)], dim=-1)
    return {"manifold": ground.pictures(F.pad(w, (0, len(ground.prior.mu) - 2))).numpy()}


def quantiles(n: int) -> Float[Tensor, " n"]:
    """Φ⁻¹((i + ½)/n): the middles of n equally probable parts of N(0, 1).

    >>> quantiles(2)
    tensor([-0.6745,  0.6745], dtype=torch.float64)
    """
    q: Tensor = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)  # Eq. (3)
    return q


def interpolations(evidence: Evidence, noise: Noise) -> Arrays:
    """Eq. (4): between draws, `path_noise` [pairs, kinds, stops, c, h, w], and between codes of images, `path_codes`.

    Kinds are linear and, if codes have two dimensions or more, spherical; the images whose codes are the ends are
    `path_codes_ends` [pairs, 2, c, h, w]. How long the codes on each path are is `path_…_lengths` [pairs, kinds,
    stops], and `path_free` of how many coordinates.
    """
    ground = ground_of(evidence.family, noise)
    pairs = fitting(PATHS, 2 * STOPS, evidence.images.shape, least=1)
    found = paths(ground, "path_noise", ground.draws(2 * pairs))
    found["path_free"] = np.array([ground.free])
    if isinstance(evidence.family, Encodes):
        ends = evidence.probe_test.images[unlike_pairs(evidence.probe_test.labels.tolist(), pairs)]
        found |= paths(ground, "path_codes", ground.codes(ends))
        shown = as_uint8(reduced(as_float(ends)))
        found["path_codes_ends"] = shown.view(-1, 2, *shown.shape[1:]).numpy()
    return found


def unlike_pairs(labels: Sequence[int], pairs: int) -> list[int]:
    """The first images as they come, two and two, the second of each pair of another class if any is.

    >>> unlike_pairs([7, 7, 1, 7, 7], 2)
    [0, 2, 1, 3]
    """
    left, found = list(range(len(labels))), []
    for _ in range(pairs):
        first = left.pop(0)
        second = next((i for i in left if labels[i] != labels[first]), left[0])
        left.remove(second)
        found += [first, second]
    return found


def paths(ground: Ground, name: str, w: Float[Tensor, "n latent"]) -> Arrays:
    """What lies between the first and second code, the third and fourth, …; and the lengths of the codes."""
    t = torch.linspace(0, 1, STOPS).to(w)
    kinds = (linear, slerp) if ground.free > 1 else (linear,)
    codes = torch.stack(
        [
            torch.stack(
                [F.pad(kind(a[: ground.free], b[: ground.free], t), (0, len(a) - ground.free)) for kind in kinds]
            )
            for a, b in zip(w[::2], w[1::2], strict=True)
        ]
    )
    lengths = codes[..., : ground.free].norm(dim=-1)
    codes[..., ground.free :] = w[::2, None, None, ground.free :]  # of the first: a class does not lie between others
    return {name: ground.pictures(codes).numpy(), f"{name}_lengths": lengths.float().numpy()}


def linear(a: Float[Tensor, " d"], b: Float[Tensor, " d"], t: Float[Tensor, " s"]) -> Float[Tensor, "s d"]:
    """The straight line from a to b."""
    return torch.lerp(a, b, t[:, None])


def slerp(a: Float[Tensor, " d"], b: Float[Tensor, " d"], t: Float[Tensor, " s"]) -> Float[Tensor, "s d"]:
    """The arc from a to b; where they lie on one line through the origin there is none, and the line is taken.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5]))
    tensor([[0.7071, 0.7071]])
    """
    lengths = a.norm() * b.norm()
    cosine = (a @ b / lengths).clamp(-1, 1) if bool(lengths > 0) else torch.ones_like(lengths)
    if bool(cosine.abs() > 1 - 1e-6):
        return linear(a, b, t)
    theta = torch.arccos(cosine)
    weights = torch.stack([torch.sin((1 - t) * theta), torch.sin(t * theta)], dim=1) / torch.sin(theta)  # Eq. (4)
    return torch.matmul(weights, torch.stack([a, b]))


def reduced(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Images with sides of at most `LARGEST`: means of squares of pixels."""
    by = -(-max(x.shape[2:]) // LARGEST)
    return x if by == 1 else F.avg_pool2d(x, by, ceil_mode=True)


def size_of(shape: Shape) -> int:
    """The bytes of one image, as it is drawn."""
    c, h, w = shape
    by = -(-max(h, w) // LARGEST)
    return c * -(-h // by) * -(-w // by)


def fitting(most: int, columns: int, shape: Shape, least: int = 3) -> int:
    """How many rows of that many images a figure has.

    >>> [fitting(8, 7, shape) for shape in ((1, 28, 28), (3, 32, 32), (3, 128, 128))]
    [8, 8, 3]
    """
    return max(least, min(most, BYTES // (columns * size_of(shape))))
