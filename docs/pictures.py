"""The pictures of docs/measures.md, computed by the library and by nothing else: `python docs/pictures.py [NAME …]`.

Everything is drawn on an opaque light card, so that it can be read on light and dark pages, and from streams of
chance of its own, so that the same versions of torch and matplotlib give the same files.
"""

import io
import math
import statistics
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import likelier
from likelier import metrics, rng
from likelier.distributions import Normal, standard_normal
from likelier.images import as_float, as_uint8
from likelier.likelihood import (
    Annealing,
    Gaussian,
    adapted_steps,
    first_steps,
    importance_bound,
    joint,
    log_mean_exp,
    log_weights,
    sigmoid_schedule,
)
from likelier.metrics.frechet import covariance
from likelier.metrics.frechet_infinity import SHARES, subset
from likelier.metrics.inputs import in_order
from likelier.metrics.manifold import ball_sizes
from likelier.metrics.stability import SPIKE, WINDOW, deviation, median
from likelier.reference import Reference
from likelier.verdict import ALPHA, COPIES_ALLOWED, Contender, judge, most_equal, smallest_p

FOLDER = Path(__file__).parent / "images" / "measures"
DPI, COLOURS = 100, 96
REAL, FAKE, INK, MUTED, RULE, GOOD = "#0072b2", "#d55e00", "#1a1d21", "#59616b", "#d9dde2", "#00805e"
CLASSES = ("#0072b2", "#e89400", "#a3457f")
N = 500
"""Of the fakes on digits: as many samples as real images."""


def chance(*purpose: str | int) -> torch.Generator:
    """A stream of chance for one picture."""
    return rng.generator(0, "pictures", *purpose)


def panels(n: int, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A row of n plots on a light card."""
    figure = Figure(figsize=(8, height), layout="constrained", facecolor="white")
    axes = figure.subplots(1, n, squeeze=False)[0]
    for ax in axes:
        tidy(ax)
    return figure, list(axes)


def tidy(ax: Axes) -> None:
    """Thin lines, small letters, no frame at the top and right."""
    ax.tick_params(labelsize=8, colors=MUTED)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)


def plane(ax: Axes) -> None:
    """Axes of points whose coordinates mean nothing."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def title(ax: Axes, text: str) -> None:
    """A title of at most a few short lines."""
    ax.set_title(text, fontsize=9, color=INK, loc="left")


def labels(ax: Axes, x: str, y: str) -> None:
    """Names of the axes."""
    ax.set_xlabel(x, fontsize=8, color=MUTED)
    ax.set_ylabel(y, fontsize=8, color=MUTED)


def legend(ax: Axes, **options: object) -> None:
    """A legend without a frame."""
    ax.legend(fontsize=8, frameon=False, labelcolor=INK, **options)


def short(value: float) -> str:
    """A figure of two decimals, of one from 10 on, without the nought before the point and without a minus zero."""
    rounded = round(value, 1 if abs(value) >= 10 else 2) + 0.0
    text = f"{rounded:.1f}" if abs(value) >= 10 else f"{rounded:.2f}"
    return (text.replace("0.", ".", 1) if abs(rounded) < 1 else text).replace("-", "−")


# Distances


def frechet() -> Figure:
    """Two Gaussians and their distance; two sets that differ in shape only."""
    figure, (left, right) = panels(2, 3.3)
    g = chance("frechet")
    x = torch.randn(2000, 2, generator=g) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    y = torch.randn(2000, 2, generator=g) @ torch.tensor([[0.5, -0.3], [0.0, 0.4]]) + torch.tensor([2.2, 0.4])
    distance, means = metrics.frechet_distance(x, y), float((x.double().mean(0) - y.double().mean(0)).square().sum())
    for points, colour, name in ((x, REAL, "real"), (y, FAKE, "samples")):
        left.scatter(*points[:300].T, s=4, color=colour, alpha=0.5, linewidths=0)
        left.add_patch(contour(points, colour))
        left.text(*(points.mean(0) + torch.tensor([-0.3, 2.2 if name == "real" else 1.5])), name, color=colour, size=9)
    plane(left)
    title(left, f"FD {distance:.2f} = {means:.2f} of the means\n+ {distance - means:.2f} of the covariances")
    centres = torch.tensor([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]])
    three = centres[torch.randint(3, (2000,), generator=g)] + 0.15 * torch.randn(2000, 2, generator=g)
    one, three = whitened(torch.randn(2000, 2, generator=g)), whitened(three)
    right.scatter(*one[:300].T, s=4, color=REAL, alpha=0.5, linewidths=0)
    right.scatter(*three[:300].T, s=4, color=FAKE, alpha=0.5, linewidths=0)
    right.add_patch(contour(one, REAL))
    plane(right)
    fd, kd = abs(metrics.frechet_distance(one, three)), metrics.kernel_distance(one, three)
    title(right, f"the same mean and covariance: FD {short(fd)},\nkernel distance {short(kd)}")
    return figure


def contour(x: Tensor, colour: str) -> Ellipse:
    """The ellipse of two standard deviations."""
    values, vectors = torch.linalg.eigh(covariance(x.double()))
    width, height = (4 * values.sqrt()).tolist()
    angle = math.degrees(math.atan2(vectors[1, 0], vectors[0, 0]))
    return Ellipse(x.mean(0).tolist(), width, height, angle=angle, fill=False, color=colour, linewidth=1.5)


def whitened(x: Tensor) -> Tensor:
    """Moved and turned to mean 0 and covariance I, exactly."""
    centred = (x - x.mean(0)).double()
    return torch.linalg.solve_triangular(torch.linalg.cholesky(covariance(centred)), centred.mT, upper=False).mT


def bias() -> Figure:
    """The bias of FD in N, and the line whose intercept is FD∞."""
    figure, (left, right) = panels(2)
    d, sizes = 64, [128, 256, 512, 1024, 2048, 4096]
    for n in sizes:
        found = [
            metrics.frechet_distance(*torch.randn(2, n, d, generator=chance("bias", n, i)))
            for i in range(3 if n < 2048 else 1)
        ]
        left.plot([n] * len(found), found, "o", color=REAL, markersize=4)
    left.plot(sizes, [2 * d / n + d * (d + 1) / (2 * n) for n in sizes], color=INK, linewidth=1)
    left.plot([], [], "o", color=REAL, markersize=4, label="two samples of one $\\mathcal{N}(0, I_{64})$")
    left.plot([], [], color=INK, linewidth=1, label="2d/N + d(d + 1)/2N")
    left.set(xscale="log", yscale="log", xticks=sizes, xticklabels=sizes)
    left.minorticks_off()
    labels(left, "N", "FD; the truth is 0")
    title(left, "a perfect model does not score 0")
    legend(left)
    n, d = 4000, 64
    x, y = torch.randn(2, n, d, generator=chance("line"))
    y = y + 1 / math.sqrt(d)
    g, sorted_x, sorted_y = chance("subsets"), in_order(x.double()), in_order(y.double())
    subsets = [(sorted_x[subset(sorted_x, s, g)], sorted_y[subset(sorted_y, s, g)]) for s in SHARES.tolist()]
    distances = [metrics.frechet_distance(*pair) for pair in subsets]
    intercept = metrics.frechet_distance_infinity(x, y, chance("subsets"))
    inverse = 1 / (n * SHARES)
    slope = (sum(distances) / len(distances) - intercept) / float(inverse.mean())
    right.plot(inverse, distances, "o", color=REAL, markersize=4, label="FD of shares of both sets")
    right.plot([0, 2 / n], [intercept, intercept + slope * 2 / n], color=REAL, linewidth=1)
    right.plot(0, intercept, "*", color=FAKE, markersize=12, label=f"FD∞ {intercept:.2f}", clip_on=False, zorder=5)
    right.axhline(1, color=INK, linewidth=1, linestyle=":", label="the true distance, 1")
    right.set(xlim=(0, 2.1 / n), ylim=(0, None), xticks=[0, 1 / n, 2 / n], xticklabels=["0", "1/4000", "1/2000"])
    labels(right, "1/N", "FD")
    title(right, "a line through several N, read off at 1/N = 0")
    legend(right, loc="lower right")
    return figure


def manifold() -> Figure:
    """Balls up to the second neighbour in the plane, and what is counted."""
    figure, (left, right) = panels(2, 3.7)
    g, k = chance("manifold"), 2
    real = (torch.rand(14, 2, generator=g) - 0.5) * torch.tensor([5.6, 3.6])
    fake = torch.cat([0.35 * torch.randn(9, 2, generator=g) + torch.tensor([-1.0, 0.1]), torch.tensor([[3.0, 2.2]])])
    found = metrics.precision_recall_density_coverage(real, fake, k=k)
    balls(left, real, k, REAL)
    balls(right, fake, k, FAKE)
    for ax in (left, right):
        ax.plot(*real.T, "o", color=REAL, markersize=6, label="real")
        ax.plot(*fake.T, "^", color=FAKE, markersize=6, label="samples")
        plane(ax)
        ax.set(xlim=(-4.2, 6.4), ylim=(-3.2, 4.4))
    m, n = len(fake), len(real)
    title(
        left,
        f"balls of the real images (k = {k})\nprecision {round(found.precision * m)}/{m}: samples in a ball\n"
        f"coverage {round(found.coverage * n)}/{n}: balls with a sample",
    )
    recall = f"recall {round(found.recall * n)}/{n}: real images in a ball"
    title(right, f"balls of the samples\n{recall}\nthe far sample has the large one")
    legend(left, loc="lower left", ncols=2)
    return figure


def balls(ax: Axes, x: Tensor, k: int, colour: str) -> None:
    """The balls that reach to the k-th neighbour."""
    for centre, square in zip(x.tolist(), ball_sizes(x.double(), k).tolist(), strict=True):
        ax.add_patch(Circle(centre, math.sqrt(square), facecolor=colour, edgecolor=colour, alpha=0.12))
        ax.add_patch(Circle(centre, math.sqrt(square), fill=False, edgecolor=colour, linewidth=0.7))


# Fakes on digits


@cache
def reference() -> Reference:
    """Digits, in the features of the frozen extractor."""
    return Reference(likelier.load_images("digits"), others=(), n=N)


@cache
def fakes() -> dict[str, Tensor]:
    """Sets of N images that are wrong in one known way each."""
    digits = reference().images
    train, test, classes = digits.train.images, digits.test.images, digits.test.labels
    honest = drawn(test, N, "honest")
    x = as_float(honest)
    noise = 0.2 * torch.randn(x.shape, generator=chance("noise"))
    without = test[classes != 3]
    return {
        "held-out images": honest,
        "the same, blurred": as_uint8(F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)),
        "the same, with noise": as_uint8(x + noise),
        "the same, black or white": as_uint8((x > 0.5).float()),
        "no 3 among them": drawn(without, N, "without"),
        "50 images, ten times each": drawn(test, N // 10, "repeated").repeat(10, 1, 1, 1),
        "one in ten is a training image": torch.cat([drawn(train, N // 10, "few"), drawn(test, N - N // 10, "rest")]),
        "training images": drawn(train, N, "copies"),
    }


def drawn(images: Tensor, n: int, purpose: str) -> Tensor:
    """n of the images, at random."""
    return images[torch.randperm(len(images), generator=chance(purpose))[:n]]


COLUMNS = {  # key: (heading, worse than held-out images by so much is marked)
    "frechet_distance": ("FD\n↓", lambda v, honest: v > 2 * honest),
    "kernel_distance": ("KD\n↓", lambda v, honest: v > abs(honest) + 0.05),
    "precision": ("precision\n↑", lambda v, honest: v < honest - 0.1),
    "recall": ("recall\n↑", lambda v, honest: v < honest - 0.1),
    "coverage": ("coverage\n↑", lambda v, honest: v < honest - 0.1),
    "missing_classes": ("missing\n↓", lambda v, honest: v > 0),
    "copied_share": ("copied\n↓", lambda v, honest: v > COPIES_ALLOWED),
}


def table_of_fakes() -> Figure:
    """What each fault does to each figure."""
    figure = Figure(figsize=(8, 3.9), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 100), ylim=(len(fakes()) + 0.1, -0.9))
    ax.axis("off")
    x_of = {key: 52 + 7.3 * i for i, key in enumerate(COLUMNS)}
    for key, (heading, _) in COLUMNS.items():
        ax.text(x_of[key], -0.4, heading, ha="center", va="center", fontsize=8, color=MUTED)
    honest: dict[str, float] = {}
    for row, (name, images) in enumerate(fakes().items()):
        ax.axhline(row, color=RULE, linewidth=0.6)
        ax.text(1, row + 0.5, name, va="center", fontsize=8.5, color=INK)
        strip = torch.cat([F.pad(image, (0, 1, 0, 0), value=1.0) for image in as_float(images[3:10])], dim=2)[0]
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1, extent=(25, 47, row + 0.93, row + 0.07), aspect="auto")
        values = figures_of(images)
        honest = honest or values
        for key, (_, worse) in COLUMNS.items():
            marked = worse(values[key], honest[key])
            text = f"{values[key]:.0f}" if key == "missing_classes" else short(values[key])
            weight, colour = ("bold", FAKE) if marked else ("normal", INK)
            ax.text(x_of[key], row + 0.5, text, ha="center", va="center", fontsize=9, color=colour, weight=weight)
    ax.set(xlim=(0, 100), ylim=(len(fakes()) + 0.1, -0.9))
    return figure


@cache
def features_of(name: str) -> Tensor:
    """One set of fakes as the extractor sees it."""
    return reference().extractor.features(fakes()[name])


def figures_of(images: Tensor) -> dict[str, float]:
    """The measures of a set of images."""
    seen = reference().view(images)
    x, y = reference().train.vectors, seen.vectors
    return {
        "frechet_distance": metrics.frechet_distance(x, y),
        "kernel_distance": metrics.kernel_distance(x, y),
        **metrics.precision_recall_density_coverage(x, y)._asdict(),
        "missing_classes": reference().classes_of(seen)["missing_classes"] or 0.0,
        "copied_share": metrics.copied_share(reference().whole_train, yardstick(), y),
    }


def yardstick() -> Tensor:
    """Features of the held-out images that copies are told by."""
    return reference().held_out_halves[0]


def copies() -> Figure:
    """How far samples are from the nearest training image, and where the nearest 1% of held-out images lie."""
    figure, axes = panels(3, 2.8)
    train = reference().whole_train
    limit = float(metrics.nearest_distances(yardstick(), train).quantile(0.01))
    cases = {
        "held-out images": reference().held_out_halves[1],
        "one in ten is a copy": features_of("one in ten is a training image"),
        "blurred, no copy": features_of("the same, blurred"),
    }
    for ax, (name, vectors) in zip(axes, cases.items(), strict=True):
        distances = metrics.nearest_distances(vectors, train)
        ax.hist(distances, bins=torch.linspace(0, 8, 41), color=REAL, weights=[1 / len(distances)] * len(distances))
        ax.axvline(limit, color=FAKE, linewidth=1.5)
        ax.text(limit + 0.15, 0.188, "nearest 1% of\nheld-out images", color=FAKE, fontsize=8, va="top")
        ax.set(xlim=(0, 8), ylim=(0, 0.19))
        title(ax, f"{name}\ncopied share {short(metrics.copied_share(train, yardstick(), vectors))}")
        labels(ax, "distance to the nearest training image", "")
    labels(axes[0], "distance to the nearest training image", "share of images")
    return figure


def modes() -> Figure:
    """A class that is missing; and what perfect samples score on stacked digits."""
    figure, (left, right) = panels(2, 2.8)
    real = reference().train.counts(10)
    fake = reference().view(fakes()["no 3 among them"]).counts(10)
    assert real is not None and fake is not None
    place = torch.arange(10)
    left.bar(place - 0.2, real / real.sum(), 0.4, color=REAL, label="real")
    left.bar(place + 0.2, fake / fake.sum(), 0.4, color=FAKE, label="samples")
    left.set(xticks=place.tolist(), ylim=(0, 0.16))
    labels(left, "class, as the extractor tells it", "share")
    kl, missing = metrics.class_histogram_kl(fake, real), metrics.missing_classes(fake)
    title(left, f"KL {short(kl)} nats, {missing} class missing")
    legend(left, ncols=2, loc="upper right")
    sizes = [2_000, 5_000, 10_000, 25_000, 50_000]
    found = [metrics.stacked_modes(torch.randint(10, (n, 3), generator=chance("stacked", n))) for n in sizes]
    right.plot(sizes, [one.kl for one in found], "o", color=REAL, markersize=5, label="perfect samples")
    right.plot(sizes, [999 / (2 * n) for n in sizes], color=INK, linewidth=1, label="(k − 1)/2n, k = 1000")
    for n, one in zip(sizes, found, strict=True):
        right.annotate(f"{one.modes} modes", (n, one.kl), (4, 6), textcoords="offset points", fontsize=8, color=MUTED)
    right.set(
        xscale="log",
        yscale="log",
        xlim=(1_700, 130_000),
        ylim=(0.006, 0.8),
        xticks=sizes,
        xticklabels=[f"{n:,}" for n in sizes],
    )
    right.minorticks_off()
    labels(right, "samples n", "KL, nats")
    title(right, "stacked digits: the floor of the KL")
    legend(right)
    return figure


# Reconstruction and likelihood


def structure() -> Figure:
    """Three changes of one mean squared error, which the structural similarity tells apart."""
    figure, axes = panels(4, 2.4)
    digit = as_float(reference().images.test.images[4:5])
    x = F.interpolate(digit, (32, 32), mode="bicubic", align_corners=False).clamp(0, 1).double() * 0.6 + 0.2
    blurred = of_equal_error(x, 0.01)
    noise = torch.randn(x.shape, generator=chance("structure"), dtype=torch.float64)
    noisy = x + 0.1 * noise / noise.square().mean().sqrt()
    for ax, (name, y) in zip(
        axes, {"the image": x, "lighter": x + 0.1, "blurred": blurred, "noise": noisy.clamp(0, 1)}.items(), strict=True
    ):
        ax.imshow(y[0, 0], cmap="gray", vmin=0, vmax=1)
        plane(ax)
        told = f"MSE {metrics.mse(x, y):.3f}, SSIM {short(metrics.ssim(x, y))}" if y is not x else "MSE 0, SSIM 1"
        title(ax, f"{name}\n{told}")
    return figure


def of_equal_error(x: Tensor, error: float) -> Tensor:
    """x under the Gaussian blur whose mean squared error it is, found by bisection."""

    def blur(sigma: float) -> Tensor:
        offsets = torch.arange(-12, 13, dtype=torch.float64)
        weights = torch.exp(-(offsets**2) / (2 * sigma**2))
        weights = weights / weights.sum()
        across = F.conv2d(F.pad(x, (12, 12, 12, 12), mode="replicate"), weights[None, None, None])
        return F.conv2d(across, weights[None, None, :, None])

    low, high = 0.1, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if metrics.mse(x, blur(middle)) < error else (low, middle)
    return blur(low)


def likelihood() -> Figure:
    """Bounds on log p(x) of a linear Gaussian decoder, whose log p(x) is known."""
    figure, (left, right) = panels(2)
    latent, d, variance, m = 4, 16, 0.05, 64
    g = chance("decoder")
    weights, prior = torch.randn(latent, d, generator=g), standard_normal(latent, torch.zeros(1))
    z = prior.sample(g, m)
    x = z @ weights + math.sqrt(variance) * torch.randn(m, d, generator=g)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(d), weights.mT @ weights + variance * torch.eye(d))
    truth = float(marginal.log_prob(x).mean())
    log_densities = joint(prior, lambda codes: codes @ weights, Gaussian(variance), x)
    precision = torch.eye(latent) + weights @ weights.mT / variance
    exact = torch.linalg.solve(precision, weights @ x.mT / variance).mT
    spread = (1 / precision.diagonal()).log().expand(m, latent)  # a mean-field q: no correlations
    q = Normal(exact, spread)
    ks = [1, 3, 10, 30, 100, 300, 1000]
    bounds = [iwae(log_densities, q, k) for k in ks]
    left.plot(ks, bounds, "o-", color=REAL, markersize=4, linewidth=1, label="IWAE-K; the ELBO is K = 1")
    left.axhline(truth, color=INK, linewidth=1, linestyle=":", label="log p(x), exact")
    left.set(xscale="log")
    labels(left, "K, draws from q(z|x)", "nats per image")
    title(left, "more draws, a tighter bound")
    legend(left, loc="lower right")
    sizes = [10, 30, 100, 300, 1000]
    start = prior.sample(chance("ais"), m * 4).reshape(m, 4, -1)
    pilot = Annealing(log_densities, start, sigmoid_schedule(100), first_steps(100, m), 3, chance("pilot"), adapt=True)
    steps = pilot.finish().steps
    sandwich = [annealed(log_densities, start, z, adapted_steps(steps, n)) for n in sizes]
    for name, colour, side in (("backwards", FAKE, 1), ("forwards", REAL, 0)):
        off = [pair[side] - truth for pair in sandwich]
        right.plot(sizes, off, "o-", color=colour, markersize=4, linewidth=1, label=f"AIS {name}")
    right.axhline(0, color=INK, linewidth=1, linestyle=":", label="log p(x), exact")
    right.set(xscale="log")
    right.set_yscale("symlog", linthresh=0.1)
    labels(right, "distributions from prior to posterior", "nats per image from the exact value")
    title(right, f"a sandwich: the gap at 1,000 is {short(sandwich[-1][1] - sandwich[-1][0])}")
    legend(right, loc="lower right")
    return figure


def iwae(log_densities: Callable[[Tensor], tuple[Tensor, Tensor]], q: Normal, k: int) -> float:
    """The bound with k draws, averaged over images and over 1,000/k repetitions."""
    g = chance("iwae", k)
    once = lambda: importance_bound(lambda n: log_weights(log_densities, q, n, g)[0], k, k)  # noqa: E731
    return float(torch.stack([once() for _ in range(max(1, 1000 // k))]).mean())


def annealed(
    log_densities: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, exact: Tensor, steps: Tensor
) -> tuple[float, float]:
    """The lower bound of chains from the prior, and the upper bound of chains from exact posterior samples."""
    n = len(steps)
    schedule, there = sigmoid_schedule(n), exact[:, None].expand(start.shape)
    forward = Annealing(log_densities, start, schedule, steps, 3, chance("forward", n)).finish()
    backward = Annealing(log_densities, there, schedule[::-1], steps.flip(0), 3, chance("backward", n)).finish()
    return float(log_mean_exp(forward.log_weight).mean()), -float(log_mean_exp(backward.log_weight).mean())


# Codes


def units() -> Figure:
    """The KL of each dimension of the best linear VAE of digits, under two variances of the pixels."""
    figure, axes = panels(2, 2.6)
    x = as_float(reference().images.train.images).flatten(1).double()
    found = metrics.principal_components(x, k=20)
    eigenvalues = found.explained * (x - x.mean(0)).square().sum() / len(x)
    for ax, variance in zip(axes, (0.05, 0.5), strict=True):
        used = eigenvalues > variance
        gain = torch.where(used, (eigenvalues - variance).clamp(min=0).sqrt() / eigenvalues, 0)
        mu = found.projected * gain
        log_var = torch.where(used, variance / eigenvalues, 1).log().expand_as(mu)
        kl = metrics.kl_per_dimension(mu, log_var)
        ax.bar(range(1, 21), kl, color=[REAL if u else FAKE for u in used.tolist()])
        ax.plot(range(1, 21), [0] * 20, "_", color=MUTED, markersize=8)
        ax.set(xticks=[1, 5, 10, 15, 20], ylim=(0, 1.5))
        units_used = metrics.active_units(mu)
        title(ax, f"σ² = {variance:g}: {units_used} active units of 20, KL {float(kl.sum()):.1f} nats")
        labels(ax, "latent dimension", "")
    labels(axes[0], "latent dimension", "KL, nats")
    return figure


def prior() -> Figure:
    """Codes of all images together, held against draws from the prior."""
    figure, axes = panels(4, 2.5)
    g = chance("prior")
    draws, codes = torch.randn(2, 1000, 2, generator=g)
    cases = {
        "as the prior": codes,
        "too narrow": 0.5 * codes,
        "with a hole": codes * (1 + 1.2 / codes.norm(dim=1, keepdim=True)) / 1.6,
        "far away": 0.5 * codes + torch.tensor([3.0, 2.0]),
    }
    for ax, (name, z) in zip(axes, cases.items(), strict=True):
        ax.scatter(*draws[:300].T, s=4, color=MUTED, alpha=0.5, linewidths=0, label="prior")
        ax.scatter(*z[:300].T, s=4, color=FAKE, alpha=0.7, linewidths=0, label="codes")
        plane(ax)
        ax.set(xlim=(-4, 5), ylim=(-4, 5))
        title(ax, f"{name}\nMMD² {short(metrics.mmd_to_prior(z, draws))}")
    legend(axes[0], markerscale=2, loc="upper right", borderpad=0)
    return figure


def classes() -> Figure:
    """Four ways in which classes can lie, and what four measures make of them."""
    figure, axes = panels(4, 3.0)
    g = chance("classes")
    label = torch.arange(300) % 3
    noise = torch.randn(300, 2, generator=g)
    angle = 2 * math.pi * torch.rand(300, generator=g)
    ring = (1 + label)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    corners = torch.tensor([[0.0, 2.0], [1.7, -1.0], [-1.7, -1.0]])
    cases = {
        "apart": corners[label] + 0.4 * noise,
        "stripes": torch.stack([3.2 * noise[:, 0], 2.2 * (label - 1) + 0.25 * noise[:, 1]], dim=1),
        "rings": ring + 0.12 * noise,
        "mixed": 0.3 * corners[label] + noise,
    }
    for ax, (name, z) in zip(axes, cases.items(), strict=True):
        for c in range(3):
            ax.scatter(*z[label == c].T, s=6, color=CLASSES[c], linewidths=0)
        plane(ax)
        ax.set(aspect="auto")
        half = slice(0, 150), label[:150], slice(150, 300), label[150:]
        probe = metrics.linear_probe(z[half[0]], half[1], z[half[2]], half[3])
        knn = metrics.knn_accuracy(z[half[0]], half[1], z[half[2]], half[3])
        title(
            ax,
            f"{name}\nlinear probe {short(probe)}\nk-NN {short(knn)}\n"
            f"silhouette {short(metrics.silhouette(z, label))}\nNMI {short(metrics.nmi(z, label))}",
        )
    return figure


# Training and verdict


def steadiness() -> Figure:
    """A steady loss with spikes, one that swings, and the scores of a discriminator."""
    figure, axes = panels(3, 2.9)
    t = torch.arange(400, dtype=torch.float64)
    noise = torch.randn(400, generator=chance("loss"), dtype=torch.float64)
    steady = 1 + 2 * torch.exp(-t / 60) + 0.05 * noise
    steady[[150, 290]] += torch.tensor([0.9, -0.6], dtype=torch.float64)
    swinging = 1.6 + 0.5 * (t / 22).sin() + 0.05 * noise
    for ax, (name, loss) in zip(axes[:2], {"falls": steady, "swings": swinging}.items(), strict=True):
        ax.plot(loss, color=REAL, linewidth=0.7, alpha=0.6)
        ax.plot(range(WINDOW - 1, 400), median(loss.unfold(0, WINDOW, 1)), color=INK, linewidth=1.2)
        found = spiked(loss)
        assert int(found.sum()) == metrics.spikes(loss), "what is marked is what is counted"
        ax.plot(t[found], loss[found], "o", color=FAKE, markersize=7, fillstyle="none", markeredgewidth=1.5)
        ax.set(ylim=(0, 3.2))
        title(ax, f"{name}: rising fraction {short(metrics.rising_fraction(loss))},\n{metrics.spikes(loss)} spikes")
        labels(ax, "line of the log", "loss")
    real, fake = torch.randn(2, 1000, generator=chance("scores"))
    real = real + 2
    bins = torch.linspace(-4, 6, 41)
    axes[2].hist(real, bins, color=REAL, alpha=0.6, label="real")
    axes[2].hist(fake, bins, color=FAKE, alpha=0.6, label="samples")
    axes[2].set(yticks=[], ylim=(0, 135))
    title(axes[2], f"a discriminator's scores:\nd_pairwise {short(metrics.pairwise_accuracy(real, fake))}")
    labels(axes[2], "score", "")
    legend(axes[2], loc="upper right", ncols=2)
    return figure


def spiked(loss: Tensor) -> Tensor:
    """Which points `metrics.spikes` counts."""
    windows = loss.unfold(0, 2 * WINDOW + 1, 1)
    before, point, after = windows[:, :WINDOW], windows[:, WINDOW], windows[:, WINDOW + 1 :]
    bar = SPIKE * deviation(torch.cat([before, after], dim=1))
    low, high = torch.stack([median(before), median(after)]).aminmax(dim=0)
    return F.pad((point > high + bar) | (point < low - bar), (WINDOW, WINDOW))


EXAMPLE = (
    Contender("vae", (61.0, 63.5, 62.2, 64.8, 60.1, 66.0, 63.0, 62.7, 61.9, 65.2), noise=3.0),
    Contender("dcgan", (21.0, 19.5, 24.0, 20.2, 55.0, 22.3, 19.9, 23.1, 20.8, float("inf")), noise=2.0),
)
"""The worked example of the document: invented figures."""


def verdict() -> Figure:
    """What so many seeds can say at the best; and ten seeds of two models."""
    figure, (left, right) = panels(2, 3.0)
    seeds = range(2, 11)
    left.plot(seeds, [smallest_p(n, n) for n in seeds], "o-", color=REAL, markersize=4, linewidth=1, label="one pair")
    six = [min(1.0, most_equal(4, 1) * smallest_p(n, n)) for n in seeds]
    left.plot(seeds, six, "o-", color=GOOD, markersize=4, linewidth=1, label="six pairs (four models)")
    left.axhline(ALPHA, color=FAKE, linewidth=1.2)
    left.text(10, ALPHA * 1.15, "p = .05", color=FAKE, fontsize=8, ha="right")
    left.set(yscale="log", xticks=list(seeds))
    labels(left, "seeds of each model", "smallest p that can be had")
    title(left, "no overlap at all, and still:")
    legend(left, loc="lower left")
    (found,) = judge(EXAMPLE)
    for row, side in enumerate(EXAMPLE):
        values = torch.tensor(side.distances)
        finite = values[values.isfinite()]
        right.plot(finite, [row] * len(finite), "o", color=REAL, markersize=5, alpha=0.6)
        right.plot([statistics.median(side.distances)] * 2, [row - 0.2, row + 0.2], color=INK, linewidth=1.5)
        if len(finite) < len(values):
            right.text(76, row, "1 diverged", color=FAKE, fontsize=8, va="center", ha="center")
    right.plot([30, 30 + found.noise], [0.5, 0.5], color=FAKE, linewidth=3, solid_capstyle="butt")
    right.text(31 + found.noise, 0.5, f"noise of the measure, {found.noise:g}", color=FAKE, fontsize=8, va="center")
    right.set(yticks=[0, 1], yticklabels=[side.name for side in EXAMPLE], ylim=(-0.6, 1.6), xlim=(10, 85))
    right.tick_params(axis="y", labelsize=9, colors=INK)
    labels(right, "FD, a dot a seed, and the median", "")
    title(right, f"a gap of {found.gap:.1f}, p = {found.p_adjusted:.2g}")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "frechet": frechet,
    "bias": bias,
    "manifold": manifold,
    "modes": modes,
    "fakes": table_of_fakes,
    "copies": copies,
    "structure": structure,
    "likelihood": likelihood,
    "units": units,
    "prior": prior,
    "classes": classes,
    "steadiness": steadiness,
    "verdict": verdict,
}


def write(name: str, folder: Path) -> Path:
    """One picture as a small PNG."""
    raw = io.BytesIO()
    PICTURES[name]().savefig(raw, format="png", dpi=DPI, metadata={"Software": None})
    picture = Image.open(raw).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    path = folder / f"{name}.png"
    picture.save(path, optimize=True)
    return path


def main(names: list[str]) -> None:
    """Write all pictures, or those named."""
    if unknown := [name for name in names if name not in PICTURES]:
        sys.exit(f"there is no picture {unknown[0]!r}: wanted some of {', '.join(PICTURES)}")
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        print(write(name, FOLDER))


if __name__ == "__main__":
    main(sys.argv[1:])
