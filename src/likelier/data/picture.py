"""One picture of a user's own, of any size and mode, as bytes [c, h, w].

What is done, in this order: the first frame is taken; the picture is turned as its EXIF data say; what is transparent
is laid over white; 16 bits a channel become 8; colours become grey or RGB; the picture is cut to its central square
(`crop`), or set whole into a black one (`pad`), and resampled by Pillow's LANCZOS filter, which averages over all the
pixels that a smaller picture has no room for. A picture that has the wanted size already keeps its pixels as they are.
"""

import io
import operator
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from likelier.errors import InputError
from likelier.files import opened
from likelier.images import Images, Split
from likelier.memory import check_memory
from likelier.threads import by_piece

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that Pillow reads without another program."""
ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"))
LEAST_SIDE, MOST_SIDE = 8, 128
LARGEST_FILE = 1 << 28
"""Bytes of one file."""
LARGEST = 1 << 26
"""Pixels of one picture, about 8,000 × 8,000: a small file may claim any number, to fill the memory."""
LARGE = 1 << 24
"""Pixels above which pictures are decoded one at a time, since each takes up to a hundred megabytes or more."""
ONE_AT_A_TIME = threading.Lock()

FITS = ("crop", "pad")
Size = tuple[int, int]
"""(width, height), as Pillow has it."""


@dataclass(frozen=True)
class Options:
    """How pictures become images of one shape."""

    size: int | None = None
    """The side in pixels; None leaves pictures as they are."""
    channels: int | None = None
    """Grey or RGB; None for what the pictures have."""
    fit: str = "crop"
    """Whether a picture that is not square is cut to its centre, or set whole into a black square."""

    def __post_init__(self) -> None:
        # They may come from NumPy, or from a file.
        size, channels = whole(self.size), whole(self.channels)
        if self.size is not None and (size is None or not LEAST_SIDE <= size <= MOST_SIDE):
            raise InputError(f"size = {self.size!r}: wanted a side of {LEAST_SIDE} to {MOST_SIDE} pixels")
        if self.channels is not None and channels not in (1, 3):
            raise InputError(f"channels = {self.channels!r}: wanted 1 for grey, or 3 for RGB")
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "channels", channels)
        if self.fit not in FITS:
            raise InputError(f"fit = {self.fit!r}: wanted {' or '.join(FITS)}")

    def given(self) -> dict[str, Any]:
        """Those that are not the defaults, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


def whole(value: Any) -> int | None:
    """A whole number as Python's own; None for anything else, a truth value among them."""
    try:
        return None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        return None


def fits(size: Size) -> bool:
    """Whether models take images of that size."""
    return all(LEAST_SIDE <= side <= MOST_SIDE for side in size)


def side_wanted(found: str) -> InputError:
    """The error for sizes that models do not take."""
    return InputError(
        f"{found} pixels: say with --size N which side they are to get, {LEAST_SIDE} to {MOST_SIDE} (size=N in Python; "
        "32 trains soonest)"
    )


def check_sides(what: str, size: Size, options: Options) -> None:
    """InputError for images of one size that models do not take, unless they are to get another."""
    if options.size is None and not fits(size):
        raise side_wanted(f"{what} is of {size[0]}×{size[1]}")


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded."""

    size: Size
    """As it is seen: turned as EXIF says."""
    grey: bool
    transparent: bool
    """Whether it may be, in part."""


def content_of(path: Path, most: int = LARGEST_FILE) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: it is none, has more bytes than `most`, or may not be read.
    """
    try:
        with opened(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise InputError(f"{path} is larger than {most:,} bytes, the most that a picture may have")
    return content


@contextmanager
def quietly() -> Iterator[None]:
    """Whatever Pillow minds in a picture, it can be used or not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def decoded(file: Path, options: Options) -> UInt8[np.ndarray, "c h w"]:
    """The picture in a file as `options` want it.

    Raises:
        InputError: it cannot be read, claims too many pixels, or holds values that are no intensities.
    """
    content = content_of(file)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            check_claim(picture)
            with ONE_AT_A_TIME if picture.width * picture.height > LARGE else nullcontext():
                if options.size is not None:
                    # A JPEG can be decoded at an eighth of its size; twice the size that is wanted loses nothing.
                    picture.draft(None, (2 * options.size, 2 * options.size))
                return fitted(ImageOps.exif_transpose(picture), options)
    except Exception as error:  # Pillow's readers raise whatever their parsing ran into
        raise unreadable(file, error) from None


def header_of(file: Path, content: bytes) -> Header:
    """The header of the picture that a file holds; errors as `decoded`."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            check_claim(picture)
            width, height = picture.size
            if turned_sideways(picture):
                width, height = height, width
            return Header((width, height), is_grey(picture), is_transparent(picture))
    except Exception as error:  # as above
        raise unreadable(file, error) from None


def unreadable(file: Path, error: Exception) -> InputError:
    """What is said of a file that Pillow does not take."""
    if isinstance(error, UnidentifiedImageError):
        return InputError(f"{file} is no picture, or is damaged")
    if isinstance(error, Image.DecompressionBombError):  # Pillow's own limit, which is higher, and names attacks
        return InputError(f"{file} claims more pixels than anybody needs here: wanted at most {LARGEST:,} in all")
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{file} cannot be decoded: {reason or type(error).__name__}")


def check_claim(picture: Image.Image) -> None:
    """InputError for more pixels than anybody needs here."""
    if picture.width * picture.height > LARGEST:
        raise InputError(f"it claims {picture.width:,}×{picture.height:,} pixels: wanted at most {LARGEST:,} in all")


def turned_sideways(picture: Image.Image) -> bool:
    """Whether EXIF swaps width and height; Pillow has done it already for TIFF."""
    if picture.format == "TIFF" or "exif" not in picture.info:
        return False
    return picture.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)


def is_grey(picture: Image.Image) -> bool:
    """Whether there are no colours to be lost, by the mode or by the palette."""
    if picture.mode in ("P", "PA"):
        palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;16")


def is_transparent(picture: Image.Image) -> bool:
    """Whether there is an alpha channel, or one transparent colour."""
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def fitted(picture: Image.Image, options: Options) -> UInt8[np.ndarray, "c h w"]:
    """A picture of any mode as bytes of the wanted shape; ValueError for values that are no intensities."""
    picture = flattened(picture)
    if options.channels is not None:
        picture = picture.convert("L" if options.channels == 1 else "RGB")
    if options.size is not None:
        picture = resized(picture, options.size, options.fit)
    pixels = np.asarray(picture)
    return np.array(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1), order="C")  # a copy that can be written


def flattened(picture: Image.Image) -> Image.Image:
    """The picture as opaque grey or RGB of 8 bits."""
    if picture.mode == "F":
        raise ValueError("its values are floats: wanted 8 or 16 bits a channel; floats go into an .npz")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return from_16_bits(picture)
    mode = "L" if is_grey(picture) else "RGB"
    if not is_transparent(picture):
        return picture.convert(mode)
    opaque = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, opaque).convert(mode)


def from_16_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8: 65,535 becomes 255."""
    pixels = np.asarray(picture).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its values lie in {pixels.min()} to {pixels.max()}: wanted 8 or 16 bits a channel")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))


def resized(picture: Image.Image, side: int, fit: str) -> Image.Image:
    """A square picture; one that is square and of that size keeps its pixels."""
    width, height = picture.size
    if picture.size == (side, side):
        return picture
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        return picture.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + short, top + short))
    scale = side / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    square = Image.new(picture.mode, (side, side))
    square.paste(picture.resize(inner, Image.Resampling.LANCZOS), ((side - inner[0]) // 2, (side - inner[1]) // 2))
    return square


def adapted(images: UInt8[np.ndarray, "n h w c"], options: Options) -> UInt8[np.ndarray, "n c2 h2 w2"]:
    """Arrays with channels last as bytes of the wanted shape; those that have it already keep their pixels."""
    _, h, w, c = images.shape
    if c in (1, 3) and options.channels in (None, c) and (options.size is None or h == w == options.size):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    pixels = images[..., 0] if c == 1 else images
    first = fitted(Image.fromarray(pixels[0]), options)
    check_memory(len(images) * first.nbytes, f"{len(images):,} images of {'×'.join(map(str, first.shape))}")
    out = np.empty((len(images), *first.shape), dtype=np.uint8)

    def place(index: int) -> None:
        out[index] = fitted(Image.fromarray(pixels[index]), options)

    by_piece(place, range(len(images)))
    return out


def reshaped(images: Images, options: Options) -> Images:
    """A set whose images have a shape of their own in the wanted one, with a name that tells."""

    def part(split: Split) -> Split:
        pixels = adapted(split.images.permute(0, 2, 3, 1).numpy(), options)
        return Split(torch.from_numpy(pixels), split.labels)

    if not options.given():
        return images
    if (below := images.stacked_from) is not None:
        if options.channels == 1:
            raise InputError(
                f"each channel of {images.name} is an image of {below.name}, and as one grey channel they would be "
                f"none: wanted no channels=1; {below.name} has one an image"
            )
        below = reshaped(below, replace(options, channels=None))
    found = replace(images, train=part(images.train), test=part(images.test), stacked_from=below)
    return (
        found
        if found.shape == images.shape
        else replace(found, name=f"{images.name}-{'x'.join(map(str, found.shape))}")
    )
