"""Mode coverage on stacked digits: three digits in the channels of one image make a thousand modes that can be lost.

Luke Metz, Ben Poole, David Pfau, Jascha Sohl-Dickstein: Unrolled Generative Adversarial Networks, 2016,
arXiv 1611.02163; Zinan Lin, Ashish Khetan, Giulia Fanti, Sewoong Oh: PacGAN: The power of two samples in generative
adversarial networks, 2017, arXiv 1712.04086.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64, Num
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics.class_histogram import class_histogram_kl, missing_classes


class StackedModes(NamedTuple):
    """Which of the combinations of classes the samples have."""

    modes: int
    """How many of them, at most classes³."""
    kl: float
    """KL(fake‖real) of their frequencies, in nats."""


def stacked_modes(
    digits: Int64[Tensor, "n 3"], classes: int = 10, real_counts: Num[Tensor, " k"] | None = None
) -> StackedModes:
    """How many of the classes³ modes the samples have, and how far their frequencies are from the data's.

        mode = (a·classes + b)·classes + c   for the classes a, b, c of the three channels;   KL = Σₖ pₖ log(pₖ/qₖ)

    A perfect model of uniform modes does not score 0: n samples in k modes have a KL of about (k − 1)/2n, and lack
    k(1 − 1/k)ⁿ modes; so compare at one n. The published figures hang on each paper's own classifier as well.

    Args:
        digits: the class that a classifier tells for each channel of n samples [n, 3].
        classes: of one channel.
        real_counts: real images in each mode [classes³], none of them 0; without them the modes are equally frequent,
            as in the data where the three digits are drawn uniformly.

    Raises:
        InputError: no samples, classes outside 0 to classes − 1, counts of another length, or a mode without a
            real image.

    Source:
        Metz et al.: Unrolled Generative Adversarial Networks, 2016, arXiv 1611.02163, section 3.3.1; Lin et al.:
        PacGAN: The power of two samples in generative adversarial networks, 2017, arXiv 1712.04086, section 4.

    >>> import torch
    >>> stacked_modes(torch.tensor([[0, 0, 0], [0, 0, 1], [1, 1, 1], [1, 1, 1]]), classes=2).modes
    3
    """
    if digits.ndim != 2 or digits.shape[1] != 3 or len(digits) == 0:
        raise InputError(f"classes of shape {tuple(digits.shape)}: wanted three for each sample, [n, 3]")
    low, high = (int(v) for v in digits.aminmax())
    if low < 0 or high >= classes:
        raise InputError(f"classes from {low} to {high}: wanted 0 to {classes - 1}")
    modes = (digits[:, 0] * classes + digits[:, 1]) * classes + digits[:, 2]
    counts = torch.bincount(modes, minlength=classes**3)
    real = torch.ones_like(counts) if real_counts is None else real_counts
    return StackedModes(len(counts) - missing_classes(counts), class_histogram_kl(counts, real))
