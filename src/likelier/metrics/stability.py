"""Whether a training went steadily, read off its losses and evaluations alone.

The question is one about movement, and never about height: a loss may have any scale and any zero. That of a
relativistic critic, for one, stays the same when its scores are shifted by a constant. So everything here is of
differences and of ratios, and nothing reads the sign or the level of a loss.

Running medians and the median absolute deviation (MAD) are used where means and variances would be usual, because one
spike moves those: John W. Tukey: Exploratory Data Analysis, 1977; Frank R. Hampel: The Influence Curve and its Role in
Robust Estimation, 1974, Journal of the American Statistical Association 69, 383-393.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from likelier.errors import InputError

WINDOW = 20
"""Points of a running median: a twentieth of a log of 400 lines."""
BEYOND_NOISE = 3.0
"""Standard errors that a running median has to climb before it counts as risen."""
SPIKE = 6.0
"""Standard deviations of the local noise by which a spike stands out."""
SIGMA_PER_MAD = 1.4826
"""1/Φ⁻¹(¾): σ of a Gaussian over its MAD."""


def rising_fraction(losses: Float[Tensor, " n"], window: int = WINDOW) -> float:
    """The share of steps at which the smoothed loss rises by more than its noise explains.

        m_t = median(x_{t−w+1} … x_t)
        R = share of the t with  m_{t+w} − m_t > 3 σ_t √(π/w),     σ_t = 1.4826 MAD(x_{s+1} − x_s) / √2

    σ_t is the noise of the 2w points that the two medians are of, from the differences of neighbours, which hardly feel
    a slow movement. √(π/w) σ_t is the standard error of the difference of two medians of w Gaussians. Without that bar,
    smoothing alone would not do: however smooth white noise is made, by symmetry half of its steps rise, so a loss that
    has arrived would look as unsteady as one that swings. Medians, since a mean would count a spike as a rise.

    Values: 0 for a loss that falls or stays, 1 for one that only rises, a little less than ½ for one that swings over
    more than 2w points. White noise has .004 in expectation for w = 20. With w = 1 there is no smoothing and no noise,
    and R is the plain share of rising steps: ½ for white noise.

    Args:
        losses: one loss in the order of training [n], n ≥ 3w.
        window: w.

    Raises:
        InputError: fewer than 3w losses, or NaN or infinity among them.

    Source:
        The running median is Tukey's (Exploratory Data Analysis, 1977); its bar is of this project.

    >>> import torch
    >>> swinging = torch.linspace(0, 4 * torch.pi, 400).sin()
    >>> rising_fraction(torch.linspace(3, 1, 400)), round(rising_fraction(swinging), 2)
    (0.0, 0.44)
    """
    x = series("losses", losses, least=3 * window)
    medians = median(x.unfold(0, window, 1))
    sigma = deviation(x.diff().unfold(0, 2 * window - 1, 1)) / math.sqrt(2)
    climbs = medians[window:] - medians[:-window]
    return float((climbs > BEYOND_NOISE * sigma * math.sqrt(math.pi / window)).double().mean())


def spikes(losses: Float[Tensor, " n"], window: int = WINDOW) -> int:
    """How many points stand out of their neighbourhood, upwards or downwards.

    x_t is a spike if it lies beyond the medians of the w points before it and of the w points after it, on the same
    side of both, by more than

        6 · 1.4826 MAD(the 2w neighbours)

    Beyond both, so that neither a steep descent nor a jump to another level is one. The first and last w points cannot
    be judged so, and in a steep descent only a large one is seen. Of Gaussian noise next to nothing stands out: 1 point
    in 40,000 for w = 20.

    Args:
        losses: one loss in the order of training [n], n ≥ 3w.
        window: w, the neighbours on either side.

    Returns:
        The number of points; the same if the losses are scaled or shifted.

    Raises:
        InputError: fewer than 3w losses, or NaN or infinity among them.

    Source:
        Hampel: The Influence Curve and its Role in Robust Estimation, 1974, Journal of the American Statistical
        Association 69, 383-393 (the MAD as a scale), here with two medians in the place of one.

    >>> import torch
    >>> losses = torch.ones(100)
    >>> losses[50] = 9
    >>> spikes(losses)
    1
    """
    x = series("losses", losses, least=3 * window)
    windows = x.unfold(0, 2 * window + 1, 1)
    before, point, after = windows[:, :window], windows[:, window], windows[:, window + 1 :]
    bar = SPIKE * deviation(torch.cat([before, after], dim=1))
    low, high = torch.stack([median(before), median(after)]).aminmax(dim=0)
    return int(((point > high + bar) | (point < low - bar)).sum())


def last_mean_and_sd(values: Float[Tensor, " n"], k: int) -> tuple[float, float]:
    """Mean and standard deviation (over k − 1) of the last `k` values: where a training ended, and how firmly.

    Args:
        values: one measure in the order of training [n], n ≥ k.
        k: how many of them, at least 2.

    Raises:
        InputError: k below 2, fewer than k values, NaN or infinity.

    >>> import torch
    >>> last_mean_and_sd(torch.tensor([50.0, 3.0, 4.0, 5.0]), k=3)
    (4.0, 1.0)
    """
    if k < 2:
        raise InputError(f"k = {k}: wanted at least 2, since one value has no standard deviation")
    last = series("values", values, least=k)[-k:]
    return float(last.mean()), float(last.std())


def best_minus_last(values: Float[Tensor, " n"], better: Literal["lower", "higher"] = "lower") -> float:
    """How much better the best value was than the last: 0 if training ended at its best.

        |x_n − best_t x_t|

    The best of n noisy values flatters, so a small gap means nothing.

    Args:
        values: one measure in the order of training [n], n ≥ 1.
        better: which way it is better, "lower" or "higher".

    Returns:
        The gap in the units of the values, at least 0.

    Raises:
        InputError: no values, NaN or infinity, or another word for `better`.

    >>> import torch
    >>> best_minus_last(torch.tensor([9.0, 2.0, 3.5]))
    1.5
    """
    if better not in ("lower", "higher"):
        raise InputError(f"better = {better!r}: wanted 'lower' or 'higher'")
    x = series("values", values, least=1)
    best = x.min() if better == "lower" else x.max()
    return float((x[-1] - best).abs())


def series(name: str, x: Float[Tensor, " n"], least: int) -> Float[Tensor, " n"]:
    """`x` in float64, if it is a row of at least `least` finite numbers; InputError otherwise."""
    if x.ndim != 1 or not x.is_floating_point():
        raise InputError(f"{name} are {x.dtype} of shape {tuple(x.shape)}: wanted floats of shape [n]")
    if len(x) < least:
        raise InputError(f"{len(x)} {name}: wanted at least {least}; train longer")
    if bad := int((~x.isfinite()).sum()):
        raise InputError(f"{bad} of {len(x)} {name} are NaN or infinite: leave them out, and count them apart")
    return x.detach().double()


def median(x: Float[Tensor, "t w"]) -> Float[Tensor, " t"]:
    """The median of each row; of an even number the mean of the middle two, where torch.median takes the lower."""
    return x.quantile(0.5, dim=1)


def deviation(x: Float[Tensor, "t w"]) -> Float[Tensor, " t"]:
    """σ of each row by its MAD about its median, which up to half of the row cannot spoil."""
    return SIGMA_PER_MAD * median((x - median(x)[:, None]).abs())
