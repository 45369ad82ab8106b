"""One picture of a user's own, of any size and mode, as bytes [c, h, w].

What is done, in this order: the first frame is taken; the picture is turned as its EXIF data say; what is transparent
is laid over white; 16 bits a channel become 8; colours become grey or RGB; the picture is cut to its central square
(`crop`), or set whole into a black one (`pad`), and resampled by Pillow's LANCZOS filter, which averages over all the
pixels that a smaller picture has no room for. A picture that has the wanted size already keeps its pixels as they are.
"""

import io
import os
import stat
import threading
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from likelier.errors import InputError

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

Fit = Literal["crop", "pad"]
Size = tuple[int, int]
"""(width, height), as Pillow has it."""


@dataclass(frozen=True)
class Options:
    """How pictures become images of one shape."""

    size: int | None = None
    """The side in pixels; None leaves pictures as they are."""
    channels: Literal[1, 3] | None = None
    """Grey or RGB; None for what the pictures have."""
    fit: Fit = "crop"
    """Whether a picture that is not square is cut to its centre, or set whole into a black square."""

    def __post_init__(self) -> None:
        if self.size is not None and (
            not isinstance(self.size, int) or not LEAST_SIDE <= self.size <= MOST_SIDE  # may come from a file
        ):
            raise InputError(f"size = {self.size}: wanted a side of {LEAST_SIDE} to {MOST_SIDE} pixels")
        if self.channels not in (None, 1, 3):
            raise InputError(f"channels = {self.channels}: wanted 1 for grey, or 3 for RGB")
        if self.fit not in get_args(Fit):
            raise InputError(f"fit = {self.fit!r}: wanted {' or '.join(get_args(Fit))}")

    def given(self) -> dict[str, Any]:
        """Those that are not the defaults, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded."""

    size: Size
    """As it is seen: turned as EXIF says."""
    grey: bool
    transparent: bool
    """Whether it may be, in part."""


def content_of(path: Path, most: int = LARGEST_FILE) -> bytes:
    """The bytes of a file, if it is one: to open a pipe would wait for whoever writes into it.

    Raises:
        InputError: it is none, has more bytes than `most`, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{path} is no file")
            if status.st_size > most:
                raise InputError(f"{path} has {status.st_size:,} bytes: wanted at most {most:,}")
            return file.read(most)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


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
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


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


def resized(picture: Image.Image, side: int, fit: Fit) -> Image.Image:
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
