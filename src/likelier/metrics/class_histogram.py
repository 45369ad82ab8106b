"""Mode coverage: how the classes of the samples, told by a classifier, are spread in comparison with the data's.

Luke Metz, Ben Poole, David Pfau, Jascha Sohl-Dickstein: Unrolled Generative Adversarial Networks, 2016,
arXiv 1611.02163 (which counts modes and KL on stacked MNIST).
"""

import torch
from jaxtyping import Num
from torch import Tensor

from likelier.errors import InputError


def class_histogram_kl(fake_counts: Num[Tensor, " k"], real_counts: Num[Tensor, " k"]) -> float:
    """KL(fake‖real) of the class frequencies.

        KL = Σₖ pₖ log(pₖ / qₖ),   0 log 0 = 0

    A class that the samples lack costs what the others gain by it; so the divergence is finite whatever the samples
    are, as long as the data has every class. An empty class of the data is refused rather than smoothed: smoothing
    would make the figure depend on an arbitrary constant.

    Args:
        fake_counts: samples in each class [k].
        real_counts: real images in each class [k], none of them 0.

    Returns:
        The divergence in nats, at least 0.

    Raises:
        InputError: different k, negative counts, no samples, or a class without a real image.

    Source:
        Metz et al.: Unrolled Generative Adversarial Networks, 2016, arXiv 1611.02163, section 3.3.1.

    >>> import torch
    >>> round(class_histogram_kl(torch.tensor([30, 0]), torch.tensor([50, 50])), 4)
    0.6931
    """
    if fake_counts.shape != real_counts.shape:
        raise InputError(f"{len(fake_counts)} classes of samples, {len(real_counts)} of real images: wanted as many")
    p, q = frequencies("samples", fake_counts), frequencies("real images", real_counts)
    if empty := (q == 0).nonzero().flatten().tolist():
        raise InputError(f"classes {empty} have no real image, so KL(fake‖real) is undefined: leave these classes out")
    kl = torch.special.xlogy(p, p / q).sum()
    return float(kl.clamp(min=0))


def missing_classes(fake_counts: Num[Tensor, " k"]) -> int:
    """How many classes have no sample at all.

    Args:
        fake_counts: samples in each class [k].

    Raises:
        InputError: negative counts, or no samples.

    Source:
        Metz et al.: Unrolled Generative Adversarial Networks, 2016, arXiv 1611.02163, section 3.3.1.

    >>> import torch
    >>> missing_classes(torch.tensor([3, 0, 7, 0]))
    2
    """
    return int((frequencies("samples", fake_counts) == 0).sum())


def frequencies(name: str, counts: Num[Tensor, " k"]) -> Num[Tensor, " k"]:
    """The counts over their sum; InputError if they are not counts."""
    counts = counts.double()
    if counts.ndim != 1 or not bool((counts >= 0).all()) or not bool(counts.isfinite().all()):
        raise InputError(f"the classes of the {name} are counted as {counts.tolist()}: wanted one number ≥ 0 a class")
    if float(counts.sum()) == 0:
        raise InputError(f"no {name} in any class: wanted at least one")
    return counts / counts.sum()
