"""Image sets in memory: uint8 as they were stored, and the batches that a training draws from them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier import rng
from likelier.errors import InputError

Shape = tuple[int, int, int]
"""(channels, height, width)"""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of an image set: images as uint8 [n, c, h, w] and the class of each, int64 [n]."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or len(self.images) == 0:
            raise InputError(
                f"images are {self.images.dtype} of shape {tuple(self.images.shape)}: "
                "wanted uint8 of shape [n, channels, height, width] with n > 0"
            )
        if self.labels.shape != self.images.shape[:1]:
            raise InputError(
                f"{tuple(self.labels.shape)} labels for {len(self.images)} images: wanted one label an image"
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Images:
    """One image set: a name, a training and a test split, and the names of the classes.

    >>> import likelier
    >>> digits = likelier.load_images("digits")
    >>> digits
    Images(digits: 1198 + 599 of 1×8×8, 10 classes, digest a15c…)
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    source: str | None = None
    """What `likelier.load_images` finds it by again: a name, or a full path; None for images made in Python."""
    root: str | None = None
    """The folder of the named sets that it was found in, where it needs one."""
    found: str | None = None
    """The digest of what was found there: images that were changed in Python since then are others."""

    def __post_init__(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise InputError(
                f"training images of {self.name} are {tuple(self.train.images.shape[1:])}, "
                f"test images {tuple(self.test.images.shape[1:])}: wanted one shape for both"
            )
        for split in (self.train, self.test):
            if int(split.labels.min()) < 0 or int(split.labels.max()) >= len(self.classes):
                raise InputError(
                    f"{self.name} has labels from {int(split.labels.min())} to {int(split.labels.max())}: "
                    f"wanted 0 to {len(self.classes) - 1}"
                )

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of every image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @property
    def can_be_found(self) -> bool:
        """Whether `source` gives these same images again, to another process or another day."""
        return self.source is not None and self.found == self.digest

    @property
    def known_as(self) -> str:
        """What a plan or a run calls them: what they are found by, or else their name."""
        return self.source if self.source is not None and self.can_be_found else self.name

    @cached_property
    def digest(self) -> str:
        """sha256 of the decoded content (shapes, images and labels of both splits), whatever file it came from."""
        sha = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                sha.update(repr(tuple(tensor.shape)).encode())
                sha.update(tensor.contiguous().numpy().tobytes())
        return sha.hexdigest()

    def __repr__(self) -> str:
        size = "×".join(map(str, self.shape))
        return (
            f"Images({self.name}: {len(self.train)} + {len(self.test)} of {size}, "
            f"{len(self.classes)} classes, digest {self.digest[:4]}…)"
        )


def as_float(images: UInt8[Tensor, "n c h w"], out: Float[Tensor, "n c h w"] | None = None) -> Float[Tensor, "n c h w"]:
    """Stored bytes as intensities in [0, 1], in new memory or in that of `out`."""
    return torch.div(images, 255, out=out)


def as_uint8(images: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Intensities in [0, 1] rounded to the bytes a file would hold."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


class Batches:
    """An endless stream of shuffled training images, resident on one device; its whole state is `position`.

    Epoch e is the permutation that (seed, e) fixes, and the stream is the epochs laid end to end: every image comes
    once an epoch, batches keep their size across the seam, and any position can be returned to without replaying.

    >>> import likelier
    >>> batches = Batches(likelier.load_images("digits").train, seed=0, device="cpu")
    >>> images, labels = batches.draw(128)
    >>> images.shape, batches.position
    (torch.Size([128, 1, 8, 8]), 128)
    """

    def __init__(self, split: Split, seed: int, device: torch.device | str) -> None:
        self.images = split.images.to(device)
        self.labels = split.labels.to(device)
        self.seed = seed
        self.position = 0
        self._order: tuple[int, Tensor] | None = None

    def draw(self, n: int) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        """The next n images and labels of the stream."""
        index = self.next_indices(n)
        return self.images.index_select(0, index), self.labels.index_select(0, index)

    def next_indices(self, n: int) -> Int64[Tensor, " n"]:
        """Which images are the next n of the stream."""
        pieces = []
        while n > 0:
            epoch, start = divmod(self.position, len(self.images))
            piece = self._permutation(epoch)[start : start + n]
            pieces.append(piece)
            self.position += len(piece)
            n -= len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _permutation(self, epoch: int) -> Int64[Tensor, " n"]:
        if self._order is None or self._order[0] != epoch:
            # Drawn on the CPU, so that the order of the images is the same whatever device trains.
            order = torch.randperm(len(self.images), generator=rng.generator(self.seed, "order", epoch))
            self._order = (epoch, order.to(self.images.device))
        return self._order[1]
