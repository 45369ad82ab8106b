"""Image sets, in memory or mapped from files: uint8 as they were stored, and the batches that a training draws."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from likelier import rng
from likelier.errors import InputError, printable
from likelier.pictures import grid
from likelier.showing import block, listing, paragraph, picture

Shape = tuple[int, int, int]
"""(channels, height, width)"""
LONGEST = 120
"""Bytes of the name of a set: that of a run has a family and a seed behind it, and a file system takes 255."""
LONGEST_CLASS = 1_000
"""Characters of the name of a class."""


def check_name(name: object) -> str:
    """The name of a set, which becomes part of the names of folders wherever it comes from.

    Raises:
        InputError: it could lead out of a folder, would not be seen, or is too long to be part of a file's name.
    """
    if not isinstance(name, str) or not name.isprintable() or name.strip() in ("", ".", "..") or set(name) & set("/\\"):
        raise InputError(f"{name!r:.200} cannot be the name of a set: wanted readable characters, without / or \\")
    if len(name.encode()) > LONGEST:
        raise InputError(f"the name {name[:20]}… has {len(name.encode()):,} bytes: wanted at most {LONGEST}")
    return name


def name_from(text: str) -> str:
    r"""A name for the set that was found in a file or folder of that name.

    >>> print(name_from("holidays\x1b[2J"), name_from(""))
    holidays_x1b[2J images
    """
    readable = re.sub(r"[/\\]", "_", printable(text)).encode()[: LONGEST - 20].decode(errors="ignore").strip()
    return "images" if readable in ("", ".", "..") else readable  # the root of all folders has no name


def check_class(name: object) -> str:
    """The name of a class; InputError for one that would not be seen, would steer a terminal, or fill the page."""
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= LONGEST_CLASS:
        raise InputError(
            f"{name!r:.100} cannot be the name of a class: wanted a text of readable characters in one line"
        )
    return name


@runtime_checkable
class OnDisk(Protocol):
    """Images in a file, of which there may be more than memory."""

    def scattered(self) -> UInt8[Tensor, "n c h w"]:
        """All of them, mapped so as to be read one here and one there."""

    def expect(self, index: Int64[Tensor, " n"]) -> None:
        """Begin to read these images from the disk, and return."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of an image set: images as uint8 [n, c, h, w] and the class of each, int64 [n]."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    on_disk: OnDisk | None = None
    """Where `images` are mapped from: there may be more of them than memory, and nobody may write to them."""

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


class Recorded(NamedTuple):
    """A digest, and the splits whose digest it is: with others in their place it says nothing."""

    digest: str
    train: Split
    test: Split


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
    recorded: Recorded | None = None
    """The digest, where the files that the splits were read from say it: to compute it is to read all images."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What `likelier.load_images` is to be given beside the source, to make the same images of it again."""
    notes: tuple[str, ...] = ()
    """What was decided or passed over when it was read, for the user to know."""
    found: str | None = None
    """The digest of what was found there: images that were changed in Python since then are others."""
    stacked_from: "Images | None" = None
    """The set of which each channel of these images is one; a class is then a combination of classes of that set."""

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in self.classes:
            check_class(name)
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
        if self.recorded is not None and self.recorded.train is self.train and self.recorded.test is self.test:
            return self.recorded.digest
        return content_digest(self.train, self.test)

    def __repr__(self) -> str:
        size = "×".join(map(str, self.shape))
        return (
            f"Images({self.name}: {len(self.train)} + {len(self.test)} of {size}, "
            f"{len(self.classes)} classes, digest {self.digest[:4]}…)"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: what there is in figures, and training images of some classes, a column for each."""
        n = min(len(self.classes), SHOWN_CLASSES)
        shown = [column * len(self.classes) // n for column in range(n)]
        columns = [first_of_class(self.train, label) for label in shown]
        sheet = torch.cat([images[row : row + 1] for row in range(SHOWN_OF_EACH) for images in columns])
        png = grid(coloured(sheet), n, max(1, 40 // self.shape[2]))
        alt = f"training images of {self.name}, in columns by class: {', '.join(self.classes[c] for c in shown)}"
        return block(f"Images: {self.name}", [listing(figures_of(self)), picture(png, alt), paragraph(alt)])


SHOWN_CLASSES, SHOWN_OF_EACH = 10, 4
"""What a notebook shows of an image set."""


LOOKED_AT = 2_000
"""Training images that a notebook's mean is taken over: there may be more of them than memory."""


def figures_of(images: Images) -> dict[str, object]:
    """What there is, in words."""
    c, h, w = images.shape
    some = images.train.images[:: max(1, len(images.train) // LOOKED_AT)].float() / 255
    mean, deviation = (
        "/".join(f"{value:.3f}" for value in found.tolist()) for found in (some.mean((0, 2, 3)), some.std((0, 2, 3)))
    )
    counts = images.train.labels.bincount(minlength=len(images.classes))
    each = f"{int(counts.min()):,} to {int(counts.max()):,} training images each"
    return {
        "training images": f"{len(images.train):,}",
        "test images": f"{len(images.test):,}",
        "size": f"{h}×{w}, {'grey' if c == 1 else 'RGB' if c == 3 else f'{c} channels'}",
        "classes": f"{len(images.classes):,}, {each}",
        "intensity": f"mean {mean}, standard deviation {deviation} (of {len(some):,} images, in [0, 1])",
        "digest": f"{images.digest[:16]}…",
        "notes": "; ".join(images.notes),
    }


def first_of_class(split: Split, label: int) -> UInt8[Tensor, "n c h w"]:
    """The first images of a class, black where there are not so many."""
    found = split.images[(split.labels == label).nonzero().flatten()[:SHOWN_OF_EACH]]
    return torch.cat([found, found.new_zeros(SHOWN_OF_EACH - len(found), *split.images.shape[1:])])


def coloured(images: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c2 h w"]:
    """The images as a screen can show them: their first channel, if there are neither one nor three."""
    return images if images.shape[1] in (1, 3) else images[:, :1]


def content_digest(*splits: Split, progress: Callable[[int, int], None] | None = None) -> str:
    """sha256 of the shapes, images and labels of splits, a piece at a time; told are the images done, and all."""
    sha, done, total = hashlib.sha256(), 0, sum(map(len, splits))
    for split in splits:
        for tensor in (split.images, split.labels):
            sha.update(repr(tuple(tensor.shape)).encode())
            for piece in torch.split(tensor, 1000):
                sha.update(piece.contiguous().numpy().data)
                if progress is not None and tensor is split.images:
                    done += len(piece)
                    progress(done, total)
    return sha.hexdigest()


def as_float(images: UInt8[Tensor, "n c h w"], out: Float[Tensor, "n c h w"] | None = None) -> Float[Tensor, "n c h w"]:
    """Stored bytes as intensities in [0, 1], in new memory or in that of `out`."""
    return torch.div(images, 255, out=out)


def as_uint8(images: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Intensities in [0, 1] rounded to the bytes a file would hold."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


class Batches:
    """An endless stream of shuffled training images, put on one device; its whole state is `position`.

    Epoch e is the permutation that (seed, e) fixes, and the stream is the epochs laid end to end: every image comes
    once an epoch, batches keep their size across the seam, and any position can be returned to without replaying.
    Each image may come at any place of an epoch, whether the set is in memory or mapped from a file, and the order is
    the same: a packed set is not shuffled in blocks, which would be read faster from a slow disk but leave neighbours
    together. The price is the permutation, 4 bytes an image.

    >>> import likelier
    >>> batches = Batches(likelier.load_images("digits").train, seed=0, device="cpu")
    >>> images, labels = batches.draw(128)
    >>> images.shape, batches.position
    (torch.Size([128, 1, 8, 8]), 128)
    """

    def __init__(self, split: Split, seed: int, device: torch.device | str) -> None:
        device = torch.device(device)
        self.source = Resident(split, device) if split.on_disk is None else Mapped(split, split.on_disk, device)
        self.size = len(split)
        self.seed = seed
        self.position = 0
        self._order: tuple[int, Tensor] | None = None

    def draw(self, n: int) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        """The next n images and labels of the stream."""
        index = self.next_indices(n)
        return self.source.images(index), self.source.labels(index)

    def next_indices(self, n: int) -> Int64[Tensor, " n"]:
        """Which images are the next n of the stream, where the source wants to be told."""
        pieces = []
        while n > 0:
            epoch, start = divmod(self.position, self.size)
            order = self._permutation(epoch)
            self.source.foresee(order, start)
            piece = order[start : start + n]
            pieces.append(piece)
            self.position += len(piece)
            n -= len(piece)
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).long()

    def _permutation(self, epoch: int) -> Int[Tensor, " n"]:
        if self._order is None or self._order[0] != epoch:
            # Drawn on the CPU, so that the order of the images is the same whatever device trains; that of int32 is
            # that of int64 in half the memory.
            kind = torch.int32 if self.size <= 2**31 else torch.int64
            order = torch.randperm(self.size, generator=rng.generator(self.seed, "order", epoch), dtype=kind)
            self._order = (epoch, order.to(self.source.place))
        return self._order[1]


class Resident:
    """Training images that are all on the device."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._images, self._labels = split.images.to(device), split.labels.to(device)
        self.place = device
        """Where it wants indices."""

    def images(self, index: Int64[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        """These images, on the device."""
        return self._images.index_select(0, index)

    def labels(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Their classes, on the device."""
        return self._labels.index_select(0, index)

    def foresee(self, order: Int[Tensor, " m"], start: int) -> None:
        """Images are drawn in this order, from `start` on: no news here."""


class Mapped:
    """Training images that stay in their file: those of a batch are copied to the device when they are drawn.

    The disk is told a window ahead which images will be drawn, in the order of the file. It reads them into the
    system's own cache of files, many at a time, while the batches before are trained on; and the system takes that
    memory back when it is short. It is a hint, and changes nothing else: without it a batch waits for its images.
    """

    WINDOW = 1 << 24
    """Bytes of images that are read ahead together."""

    def __init__(self, split: Split, file: OnDisk, device: torch.device) -> None:
        self._file, self._images, self._labels = file, file.scattered(), split.labels
        self.device, self.place = device, torch.device("cpu")
        self._window = max(1, self.WINDOW // split.images[0].numel())
        self._expected: tuple[Tensor, int] | None = None

    def images(self, index: Int64[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
        """These images, on the device."""
        return self._delivered(self._images, index)

    def labels(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Their classes, on the device."""
        return self._delivered(self._labels, index)

    def _delivered(self, rows: Tensor, index: Int64[Tensor, " n"]) -> Tensor:
        """Some rows, copied to the device: to CUDA from pinned memory, while the host goes on."""
        if self.device.type == "cpu":
            return rows.index_select(0, index)
        staged = rows.new_empty((len(index), *rows.shape[1:]), pin_memory=self.device.type == "cuda")
        return torch.index_select(rows, 0, index, out=staged).to(self.device, non_blocking=True)

    def foresee(self, order: Int[Tensor, " m"], start: int) -> None:
        """Images are drawn in this order, from `start` on: the disk is told of those to the end of the next window."""
        known = start
        if self._expected is not None and self._expected[0] is order and self._expected[1] > start:
            known = self._expected[1]
        end = min(len(order), (start // self._window + 2) * self._window)
        if known < end:
            self._file.expect(order[known:end].long())
            self._expected = (order, end)
