"""Chance, by name: every use of randomness has a stream of its own, fixed by the run's seed.

The global generators of torch and numpy are never drawn from, so that a metric or a plot cannot change a training,
nor a training a metric.
"""

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: distinct purposes give independent streams.

    >>> derived_seed(0, "noise") != derived_seed(0, "data", 1)
    True
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of the stream that `purpose` has under `seed`.

    >>> a, b = generator(3, "noise"), generator(3, "noise")
    >>> torch.equal(torch.randn(4, generator=a), torch.randn(4, generator=b))
    True
    """
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))
