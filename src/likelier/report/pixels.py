"""Pixel images: tiled with numpy, written as PNG with Pillow, shown as data URIs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from likelier.report.data import Data
from likelier.report.reading import Array, Frame, Pixels

GAP = 64


@dataclass(frozen=True)
class Bitmap:
    """A pixel image as the page shows it: enlarged to `width` × `height` by whole or half steps.

    `name` is what its file is called among those of its section and model, `alt` what it shows, `data` the numbers
    that go with it, and `files` are the names of its files, once they have some. `whole` is the file where the page
    shows less of it.
    """

    src: str
    width: int
    height: int
    name: str = ""
    alt: str = ""
    data: Data | None = None
    files: tuple[str, ...] = ()
    whole: bytes = b""


def bitmap(
    pixels: Pixels, *, fit: int, name: str = "", alt: str = "", data: Data | None = None, fleeting: bool = False
) -> Bitmap:
    """A PNG as a data URI, shown as large as fits `fit` CSS pixels in width.

    Steps of a half keep the enlarged pixels equal on screens of two device pixels to a CSS pixel. What is seen for a
    moment only is compressed with some loss on the page, to a third of the bytes and less; its file is whole.
    """
    height, width = pixels.shape[:2]
    scale = max(1.0, (2 * fit // width) / 2)
    size = round(width * scale), round(height * scale)
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.save(file, format="PNG", optimize=not fleeting)
    if fleeting:
        return Bitmap(webp(picture, 80), *size, name, alt, data, whole=file.getvalue())
    return Bitmap(data_uri(file.getvalue(), "image/png"), *size, name, alt, data)


def webp(picture: Image.Image, quality: int) -> str:
    """A picture compressed with some loss, as a data URI."""
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=quality, method=4)
    return data_uri(file.getvalue(), "image/webp")


def data_uri(content: bytes, kind: str) -> str:
    """`content` as an address that needs no network.

    >>> data_uri(b"hi", "text/plain")
    'data:text/plain;base64,aGk='
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def tiled(images: Array, *, rows: int, columns: int) -> Pixels:
    """The first rows × columns of images [n, c, h, w] as one picture; missing ones are black.

    A grey line to the right of each and below it parts them, as in the pictures of a run.
    """
    grid = np.zeros((rows * columns, *images.shape[1:]), np.uint8)
    shown = images[: rows * columns]
    grid[: len(shown)] = shown
    grid = np.pad(grid, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=GAP)
    c, h, w = grid.shape[1:]
    picture = grid.reshape(rows, columns, c, h, w).transpose(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    # A picture of neither 1 nor 3 channels has no colours that a screen knows: its first channel stands for it.
    return np.ascontiguousarray(picture if c == 3 else picture[..., 0])


def halves(frame: Frame) -> tuple[Pixels, Pixels]:
    """The upper and lower row of a picture of two rows: originals and their reconstructions."""
    middle = frame.pixels.shape[0] // 2
    return frame.pixels[:middle], frame.pixels[middle:]


def thinned(frames: Sequence[Frame], most: int) -> list[Frame]:
    """At most `most` of the frames, first and last among them, evenly by position (they are log-spaced already)."""
    if len(frames) <= most:
        return list(frames)
    return [frames[round(i)] for i in np.linspace(0, len(frames) - 1, most)]
