"""What an image set looks like: counts, intensities and duplicates, and a contact sheet with a row for each class."""

import hashlib
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Int64, UInt8
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont, features
from torch import Tensor

from likelier import rng
from likelier.images import Images, Split

CHUNK = 1024
WIDTH, MARGIN, LABEL, GAP = 1200, 28, 190, 3
"""Pixels of the sheet, of its margins, of the column of names, and between images."""
SIDE = 64
"""Small images are enlarged up to this, by a whole number; large ones are shown as they are."""
TITLE, ROW = 84, 58
"""Pixels of the lines above the rows, and the least of a row: two lines of a name, and one of counts."""
ROWS = 8
"""Rows that the classes share, one for each at least."""
MOST_CLASSES = 40
"""Classes that are shown; the sheet says how many are not."""
MOST_LETTERS = 300
"""Of any text, more than a line has room for."""
SURFACE, INK, MUTED, RULE = "#ffffff", "#1a1d21", "#59616b", "#d9dde2"


def statistics(images: Images) -> dict[str, Any]:
    """The figures of an image set, as JSON holds them.

    Mean and standard deviation are those of the training intensities in [0, 1], for each channel. A duplicate has the
    same bytes as another image, and images are counted, not pairs: `within_train` are the training images that an equal
    one came before, so that as many could be left out, `test_in_train` the test images that are training images, too.

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


def contact_sheet(images: Images, figures: Mapping[str, Any], seed: int = 0) -> bytes:
    """Training images of each class, drawn by `seed`, with names, counts and the `statistics`, as a PNG.

    >>> import likelier
    >>> digits = likelier.load_images("digits")
    >>> Image.open(io.BytesIO(contact_sheet(digits, statistics(digits)))).size
    (1200, 864)
    """
    _, h, w = images.shape
    scale = max(1, SIDE // max(h, w))
    height, width = h * scale + GAP, w * scale + GAP
    columns = (WIDTH - 2 * MARGIN - LABEL + GAP) // width
    classes = {label: figures["classes"][label] for label in shown_of(len(images.classes))}
    needed = -(-max(each["train"] for each in classes.values()) // columns)
    rows = max(1, min(ROWS // len(classes), needed))
    top, step = MARGIN + TITLE, max(rows * height, ROW) + 2 * GAP
    hidden = len(images.classes) - len(classes)
    sheet = Image.new("RGB", (WIDTH, top + len(classes) * step + (26 if hidden else 0) + MARGIN - 2 * GAP), SURFACE)
    pen = ImageDraw.Draw(sheet)
    fonts = fonts_for([images.name, *(each["name"] for each in classes.values())])
    title(pen, figures, fonts[images.name])
    for number, (label, found) in enumerate(classes.items()):
        y = top + number * step
        pen.line([(MARGIN, y - GAP - 1), (WIDTH - MARGIN, y - GAP - 1)], fill=RULE)
        font = fonts[found["name"]]
        name = found["name"] if font else f"class {label}"
        below = y + 2 + 19 * text(pen, (MARGIN, y), name, 15, INK, LABEL - 16, font, lines=2)
        text(pen, (MARGIN, below), f"{found['train']:,} train, {found['test']:,} test", 11, MUTED, LABEL - 16)
        for place, pixels in enumerate(examples(images.train, label, rows * columns, seed)):
            row, column = divmod(place, columns)
            picture = Image.fromarray(pixels).resize((w * scale, h * scale), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + LABEL + column * width, y + row * height))
    if hidden:
        text(pen, (MARGIN, top + len(classes) * step), f"and {hidden:,} more classes", 13, MUTED, WIDTH)
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()


def shown_of(classes: int) -> list[int]:
    """The classes that there is room for, taken evenly from all: neighbours are often alike, as 000 and 001.

    >>> shown_of(3), shown_of(1000)[:3]
    ([0, 1, 2], [0, 25, 50])
    """
    n = min(classes, MOST_CLASSES)
    return [number * classes // n for number in range(n)]


def title(pen: ImageDraw.ImageDraw, figures: Mapping[str, Any], font: Path | None) -> None:
    """What the set is, above the rows."""
    c, h, w = figures["shape"]
    n = len(figures["classes"])
    words = f"{figures['train']:,} training and {figures['test']:,} test images of {h}×{w}"
    words += f", {'grey' if c == 1 else 'RGB'}, {n:,} class{'es' * (n != 1)}"
    mean, deviation = ("/".join(f"{value:.3f}" for value in figures[key]) for key in ("mean", "std"))
    twice = figures["duplicates"]
    copies = (
        f"{twice['within_train']:,} among the training images, {twice['test_in_train']:,} between training and test"
    )
    room = WIDTH - 2 * MARGIN
    if font == OWN:
        font = BOLD
    text(pen, (MARGIN, MARGIN - 8), figures["name"] if font else "a set of images", 22, INK, room, font or BOLD)
    text(pen, (MARGIN, MARGIN + 24), words, 13, MUTED, room)
    words = f"mean {mean}, standard deviation {deviation}; exact copies: {copies}"
    text(pen, (MARGIN, MARGIN + 44), words, 13, MUTED, room)


def examples(split: Split, label: int, n: int, seed: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Up to `n` images of a class as RGB, drawn by the seed."""
    members: Int64[Tensor, " m"] = torch.nonzero(split.labels == label).flatten()
    order = torch.randperm(len(members), generator=rng.generator(seed, "contact sheet", label))[:n]
    for index in members[order].tolist():
        yield split.images[index : index + 1][0].expand(3, -1, -1).permute(1, 2, 0).numpy()


OWN, BOLD = (Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{kind}.ttf") for kind in ("", "-Bold"))
"""The fonts that come with matplotlib, which know more scripts than Pillow's own."""


def written_as_numbers(images: Images) -> list[int]:
    """The classes of a contact sheet whose names no font here can write: it calls them `class 3`."""
    names = {label: images.classes[label] for label in shown_of(len(images.classes))}
    fonts = fonts_for(names.values())
    return [label for label, name in names.items() if fonts[name] is None]


def fonts_for(texts: Iterable[str]) -> dict[str, Path | None]:
    """A font for each text that has all its characters: matplotlib's, or the first of the system's; or None."""
    found: dict[str, Path | None] = dict.fromkeys(texts)
    missing = {each for each in found if can_be_laid_out(each)}
    for path in (OWN, *system_fonts()):
        for each in writable(path, missing):
            found[each] = path
            missing.remove(each)
        if not missing:
            break
    return found


def system_fonts() -> Iterator[Path]:
    """Those that are installed, of the usual weight first; not one that draws a box for every character."""
    paths = {Path(path) for path in font_manager.findSystemFonts() if "lastresort" not in path.lower()}
    yield from sorted(paths, key=lambda path: ("regular" not in path.name.lower(), path))


def writable(path: Path, texts: set[str]) -> list[str]:
    """Those of the texts that a font has all characters of; none for one that cannot be used at any size."""
    try:
        font = FT2Font(str(path))
        ImageFont.truetype(str(path), 15)
    except (OSError, RuntimeError):  # as pictures of emojis in one size
        return []
    return [each for each in texts if all(font.get_char_index(ord(c)) for c in each)]


def can_be_laid_out(words: str) -> bool:
    """Whether letters stand side by side from left to right, or there is a library here that can do otherwise."""
    return features.check("raqm") or not any(unicodedata.bidirectional(c) in ("R", "AL") for c in words)


def text(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    words: str,
    size: int,
    ink: str,
    room: int,
    font: Path | None = None,
    lines: int = 1,
) -> int:
    """Some lines, the last one cut short where it would not fit; how many they are."""
    face = ImageFont.truetype(str(font or OWN), size)
    written = list(in_lines(words[:MOST_LETTERS], lambda each: pen.textlength(each, face) <= room, lines))
    for number, line in enumerate(written):
        pen.text((at[0], at[1] + number * (size + 4)), line, fill=ink, font=face)
    return len(written)


def in_lines(words: str, fits: Callable[[str], bool], most: int) -> Iterator[str]:
    """A text broken where it has spaces, or anywhere if a word alone is too long.

    >>> list(in_lines("a tail of whales", lambda line: len(line) <= 7, 2))
    ['a tail', 'of wha…']
    """
    for _ in range(most - 1):
        if fits(words):
            break
        length = next(n for n in range(len(words), 0, -1) if fits(words[:n]) or n == 1)
        space = words.rfind(" ", 0, length + 1)
        length = space if space > 0 else length
        yield words[:length]
        words = words[length:].lstrip()
    while words and not fits(words):
        words = words.removesuffix("…")[:-1] + "…"
    yield words
