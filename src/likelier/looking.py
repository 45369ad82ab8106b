"""What an image set looks like: counts, intensities and duplicates, and a contact sheet with a row for each class."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from likelier import rng
from likelier.images import Images, Split

CHUNK = 1024
WIDTH, MARGIN, LABEL, GAP = 1200, 28, 190, 3
"""Pixels of the sheet, of its margins, of the column of names, and between images."""
SIDE = 64
"""Small images are enlarged up to this, by a whole number; large ones are shown as they are."""
ROWS = 8
"""Rows that the classes share, one for each at least."""
MOST_CLASSES = 40
"""Classes that are shown; the sheet says how many are not."""
SURFACE, INK, MUTED, RULE = "#ffffff", "#1a1d21", "#59616b", "#d9dde2"


def statistics(images: Images) -> dict[str, Any]:
    """The figures of an image set, as JSON holds them.

    Mean and standard deviation are those of the training intensities in [0, 1], for each channel. A duplicate has the
    same bytes as another image: `within_train` counts training images that others came before, `test_in_train` test
    images that were trained on.

    >>> import likelier
    >>> found = statistics(likelier.load_images("digits"))
    >>> found["mean"], found["duplicates"]
    ([0.3051], {'within_train': 0, 'test_in_train': 0})
    """
    mean, deviation = intensities(images.train)
    seen = set(hashes(images.train))
    counts = [torch.bincount(s.labels, minlength=len(images.classes)).tolist() for s in (images.train, images.test)]
    return {
        "name": images.name,
        "shape": list(images.shape),
        "train": len(images.train),
        "test": len(images.test),
        "classes": [
            {"name": name, "train": train, "test": test}
            for name, train, test in zip(images.classes, *counts, strict=True)
        ],
        "mean": mean,
        "std": deviation,
        "duplicates": {
            "within_train": len(images.train) - len(seen),
            "test_in_train": sum(each in seen for each in hashes(images.test)),
        },
        "notes": list(images.notes),
        "digest": images.digest,
    }


def intensities(split: Split) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, from exact counts of the 256 values."""
    channels = split.images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for part in parts(split):
        for channel in range(channels):
            counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(dim=1, keepdim=True, dtype=torch.float64)
    mean = share @ values
    variance = (share @ values.square() - mean.square()).clamp(min=0)
    return rounded(mean), rounded(variance.sqrt())


def rounded(values: Tensor) -> list[float]:
    """Four digits after the point."""
    return [round(value, 4) for value in values.tolist()]


def hashes(split: Split) -> Iterator[bytes]:
    """The hash of each image."""
    for part in parts(split):
        for image in part:
            yield hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def parts(split: Split) -> Iterator[UInt8[Tensor, "n c h w"]]:
    """The images in pieces: a set may be larger than the memory."""
    for start in range(0, len(split), CHUNK):
        yield split.images[start : start + CHUNK]


def contact_sheet(images: Images, seed: int = 0) -> bytes:
    """Training images of each class, drawn by `seed`, with names and counts, as a PNG.

    >>> import likelier
    >>> Image.open(io.BytesIO(contact_sheet(likelier.load_images("digits")))).size
    (1200, 842)
    """
    _, h, w = images.shape
    scale = max(1, SIDE // max(h, w))
    height, width = h * scale + GAP, w * scale + GAP
    columns = (WIDTH - 2 * MARGIN - LABEL + GAP) // width
    shown = min(len(images.classes), MOST_CLASSES)
    rows = max(1, ROWS // shown)
    counts = Counter(images.train.labels.tolist()), Counter(images.test.labels.tolist())
    top, step = MARGIN + 62, max(rows * height, 40) + 2 * GAP
    hidden = len(images.classes) - shown
    sheet = Image.new("RGB", (WIDTH, top + shown * step + (26 if hidden else 0) + MARGIN - 2 * GAP), SURFACE)
    pen = ImageDraw.Draw(sheet)
    title(pen, images)
    for label in range(shown):
        y = top + label * step
        pen.line([(MARGIN, y - GAP - 1), (WIDTH - MARGIN, y - GAP - 1)], fill=RULE)
        text(pen, (MARGIN, y + 2), images.classes[label], 15, INK, LABEL - 16)
        numbers = f"{counts[0][label]:,} train, {counts[1][label]:,} test"
        text(pen, (MARGIN, y + 23), numbers, 11, MUTED, LABEL - 16)
        for place, pixels in enumerate(examples(images.train, label, rows * columns, seed)):
            row, column = divmod(place, columns)
            picture = Image.fromarray(pixels).resize((w * scale, h * scale), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + LABEL + column * width, y + row * height))
    if hidden:
        text(pen, (MARGIN, top + shown * step), f"and {hidden:,} more classes", 13, MUTED, WIDTH)
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()


def title(pen: ImageDraw.ImageDraw, images: Images) -> None:
    """What the set is, above the rows."""
    c, h, w = images.shape
    n = len(images.classes)
    words = f"{len(images.train):,} training and {len(images.test):,} test images of {h}×{w}"
    words += f", {'grey' if c == 1 else 'RGB'}, {n:,} class{'es' * (n != 1)}"
    text(pen, (MARGIN, MARGIN - 8), images.name, 22, INK, WIDTH - 2 * MARGIN, bold=True)
    text(pen, (MARGIN, MARGIN + 24), words, 13, MUTED, WIDTH - 2 * MARGIN)


def examples(split: Split, label: int, n: int, seed: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Up to `n` images of a class as RGB, drawn by the seed."""
    members: Int64[Tensor, " m"] = torch.nonzero(split.labels == label).flatten()
    order = torch.randperm(len(members), generator=rng.generator(seed, "contact sheet", label))[:n]
    for index in members[order].tolist():
        yield split.images[index : index + 1][0].expand(3, -1, -1).permute(1, 2, 0).numpy()


def text(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], words: str, size: int, ink: str, room: int, bold: bool = False
) -> None:
    """One line, cut short where it would not fit."""
    # The font that comes with matplotlib knows more scripts than Pillow's own.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)
    shown = words
    while shown and pen.textlength(shown, font) > room:
        shown = shown.removesuffix("…")[:-1] + "…"
    pen.text(at, shown, fill=ink, font=font)
