"""Images that any other program made, to be judged by our measures: a folder of pictures, or an array in a file.

- A folder: every picture in it and in its subfolders, PNG, BMP, WebP, TIFF or JPEG, in the order of their names. JPEG
  changes pixels, so a warning says that it is judged with them.
- `FILE.npz` or `FILE.npy`: uint8 [n, h, w], [n, h, w, c] or [n, c, h, w]; in an .npz the array is called `images`, or
  is the only one. Floats are taken if they lie in [0, 1], and rounded to bytes as everybody's are.

Nothing is unpickled, and a picture of more pixels than the reference has is never decoded.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from likelier import rng
from likelier.data.arrays import as_bytes, names_in, read_array
from likelier.errors import InputError
from likelier.images import Shape

PICTURES = {".png", ".bmp", ".webp", ".tif", ".tiff", ".jpg", ".jpeg"}
LOSSY = {".jpg", ".jpeg"}
MOST = 1_000_000
"""Images; more is a slip of the finger and would fill the memory."""


def read_samples(path: Path, shape: Shape) -> UInt8[Tensor, "n c h w"]:
    """The images in a folder or an array file, as bytes of `shape` (channels, height, width).

    Raises:
        InputError: nothing to read, another shape, values that are no intensities, or a file that is not what its name
            says.
    """
    if path.is_dir():
        return read_pictures(path, shape)
    if not path.exists():
        raise InputError(f"{path} is not there: wanted a run, a folder of pictures, or an .npz or .npy of images")
    if path.suffix.lower() not in (".npz", ".npy"):
        raise InputError(f"{path} is a file, but no .npz or .npy: wanted a folder of pictures or an array of images")
    return as_stored(path, read_images(path), shape)


def read_pictures(folder: Path, shape: Shape) -> UInt8[Tensor, "n c h w"]:
    """Every picture under `folder`, by name."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    if not paths:
        raise InputError(f"{folder} holds no pictures, and is no run: wanted {', '.join(sorted(PICTURES))}")
    if len(paths) > MOST:
        raise InputError(f"{folder} holds {len(paths):,} pictures: wanted at most {MOST:,}")
    if lossy := sum(path.suffix.lower() in LOSSY for path in paths):
        warnings.warn(
            f"{lossy:,} of {len(paths):,} pictures are JPEG, which changes pixels: they are judged with that; save PNG",
            stacklevel=3,
        )
    return torch.stack([read_picture(path, shape) for path in paths])


def read_picture(path: Path, shape: Shape) -> UInt8[Tensor, "c h w"]:
    """One picture, if it has the size of the reference; grey ones are read as grey, others as RGB."""
    c, h, w = shape
    try:
        with Image.open(path) as picture:
            if picture.size != (w, h):
                raise InputError(
                    f"{path} is {picture.size[0]}×{picture.size[1]}: wanted {w}×{h}, as the images it is held against"
                )
            check_mode(path, picture)
            pixels = np.array(picture.convert("L" if c == 1 else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no picture that can be read: {' '.join(str(error).split())}") from None
    return torch.from_numpy(pixels.reshape(h, w, c)).permute(2, 0, 1)


def check_mode(path: Path, picture: Image.Image) -> None:
    """InputError for pictures that would lose something as bytes: more bits, frames, or what is transparent."""
    modes = ("1", "L", "P", "RGB", "LA", "RGBA")
    frames = getattr(picture, "n_frames", 1)
    if picture.mode not in modes or frames != 1:
        raise InputError(
            f"{path} is of mode {picture.mode} with {frames} frame{'s' * (frames != 1)}: wanted one picture of 8 bits "
            "a channel; save it as an 8-bit PNG"
        )
    if "A" in picture.getbands() and picture.getchannel("A").getextrema()[0] != 255:
        raise InputError(f"{path} is transparent in part: wanted opaque pixels; flatten it onto its background")


def read_images(path: Path) -> npt.NDArray[np.generic]:
    """The array of images in a file."""
    names = names_in(path)
    chosen = "images" if "images" in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise InputError(f"{path} holds the arrays {', '.join(names) or 'none'}: wanted one called images")
    return read_array(path, chosen)


def as_stored(path: Path, array: npt.NDArray[np.generic], shape: Shape) -> UInt8[Tensor, "n c h w"]:
    """The array as bytes [n, c, h, w]."""
    c, h, w = shape
    layouts: dict[tuple[int, ...], tuple[int, ...]] = {(c, h, w): (0, 1, 2, 3), (h, w, c): (0, 3, 1, 2)}
    if c == 1 and array.shape[1:] == (h, w):
        array = array[:, None]
    if array.ndim != 4 or len(array) == 0 or array.shape[1:] not in layouts:
        raise InputError(
            f"{path} holds an array of shape {array.shape}: wanted [n, {h}, {w}{f', {c}' if c > 1 else ''}] or "
            f"[n, {c}, {h}, {w}], as the images it is held against"
        )
    return torch.from_numpy(np.ascontiguousarray(as_bytes(array.transpose(layouts[array.shape[1:]]), str(path))))


def chosen(images: UInt8[Tensor, "m c h w"], n: int) -> UInt8[Tensor, "n c h w"]:
    """`n` of the images, drawn once and for all: a folder may be sorted by class."""
    order = torch.randperm(len(images), generator=rng.generator(0, "samples of another program"))
    return images[order[:n]]


def fresh_sets(images: UInt8[Tensor, "m c h w"], n: int, most: int) -> Sequence[UInt8[Tensor, "_ c h w"]]:
    """Further disjoint sets of `n` images, if there are so many, and what is left of them as a last one.

    From those of `n` the noise of a distance is told, from all of them how many modes there are.
    """
    order = torch.randperm(len(images), generator=rng.generator(0, "samples of another program"))
    return [images[part] for part in torch.split(order, n)[1:most]]
