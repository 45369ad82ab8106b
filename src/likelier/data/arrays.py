"""A user's own images in an array file: `FILE.npy`, or `FILE.npz` with labels.

- Images: uint8, or floats in [0, 1]; grey as [n, h, w], or with 1, 3 (RGB) or 4 (RGBA, laid over white) channels, last
  (NHWC) or first (NCHW). Which of them was taken is noted.
- Arrays of an .npz: `x_train`, `y_train`, `x_test`, `y_test` as Keras names them, or `train_images`, `train_labels`, …;
  or `images` (also `x`, `data`) with `labels` (also `y`, `label`, `targets`), out of which a part is held out.

Nothing is unpickled. A header is checked against what the file holds before any memory is asked for.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from likelier.data.picture import Options, adapted, check_sides
from likelier.data.splitting import OnProgress, Pixels, assembled
from likelier.errors import InputError, printable
from likelier.files import opened, read_at_most
from likelier.images import Images, name_from
from likelier.memory import check_memory

ENDINGS = (".npy", ".npz")
IMAGES, LABELS = ("images", "x", "data", "arr_0"), ("labels", "y", "label", "targets", "arr_1")
CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}
HEAD = 1 << 16
"""Bytes that hold the header of any array of numbers."""
OVER = 0.1
"""How far floats that were meant for [0, 1] may lie beyond."""
CHUNK = 1024
PIECE = 1 << 20
"""Bytes that are read at once."""
LAST = 0x10FFFF
"""Of all characters."""
DEPTHS = (1023, 4095, 65535)
"""The largest values of 10, 12 and 16 bits."""

Array = npt.NDArray[np.generic]


def recognises(path: Path) -> bool:
    """Whether this is for a file of that name."""
    return path.suffix.lower() in ENDINGS and not path.is_dir()


def load_path(path: Path, options: Options, progress: OnProgress | None = None) -> Images:
    """The images of an array file.

    Args:
        path: the file.
        options: the shape that is wanted.
        progress: is not called; reading an array has no steps.

    Raises:
        InputError: no images, images of no known layout, or values that are no intensities.
    """
    names = names_in(path)
    chosen = roles(path, names)
    left_out = [name for name in names if name not in chosen.values()]
    notes = [f"arrays left out: {printable(', '.join(left_out))}"] if left_out else []

    def part(of: str) -> tuple[Pixels, Array | None]:
        what = f"{path}: {chosen[f'{of} images']}".removesuffix(": ")
        pixels, note = as_images(read_array(path, chosen[f"{of} images"]), what, options)
        notes.append(note)
        labels = chosen.get(f"{of} labels")
        return pixels, None if labels is None else read_array(path, labels)

    train = part("train")
    test = part("test") if "test images" in chosen else None
    return assembled(name_from(path.stem), train, test, notes=tuple(dict.fromkeys(notes)))


def roles(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Which array is what: `train images`, `train labels`, `test images`, `test labels`, as far as they are there."""
    if not names:
        raise InputError(f"{path} holds no arrays: wanted images and labels, or x_train, y_train, x_test and y_test")
    by_lower = {name.lower(): name for name in reversed(names)}
    found: dict[str, str] = {}
    for split in ("train", "test"):
        for kind, words in (("images", IMAGES), ("labels", LABELS)):
            spellings = [spelling for word in words for spelling in (f"{word}_{split}", f"{split}_{word}")]
            if name := next(filter(None, map(by_lower.get, spellings)), None):
                found[f"{split} {kind}"] = name
    if "train images" in found:
        return found
    images, labels = (next(filter(None, map(by_lower.get, words)), None) for words in (IMAGES, LABELS))
    if images is None and len(names) == 1:
        images = names[0]
    if images is None:
        raise InputError(
            f"{path} holds the arrays {', '.join(names)}: wanted images and labels, or "
            "x_train, y_train, x_test and y_test"
        )
    return {"train images": images} | ({"train labels": labels} if labels else {})


def as_images(array: Array, what: str, options: Options) -> tuple[Pixels, str]:
    """Any array of images as bytes of the wanted shape, and a line on how it was understood."""
    layout = layout_of(array.shape, what)
    array = channels_last(array, what, layout)
    n, h, w, c = array.shape
    note = f"{what}: {n:,} images of {h}×{w}, {CHANNELS[c]}, taken as {layout}"
    pixels = in_bytes(array, what, options)
    if pixels.max() <= 1:
        note += "; no byte in it is above 1: if they stand for black and white, multiply them by 255"
    return pixels, note


def as_image(array: Array, what: str, options: Options) -> UInt8[np.ndarray, "c h w"]:
    """The same of a single one."""
    one = channels_last(array, what, layout_of(array.shape, what, ""))
    found: UInt8[np.ndarray, "c h w"] = in_bytes(one[None], what, options)[0]
    return found


def in_bytes(array: Array, what: str, options: Options) -> Pixels:
    """Images with channels last as bytes of the wanted shape."""
    check_sides(what, (array.shape[2], array.shape[1]), options)
    return adapted(as_bytes(array, what), options)


def channels_last(array: Array, what: str, layout: str) -> Array:
    """Images, or one, of a known layout with channels last; InputError if there are none."""
    if array.size == 0:
        raise InputError(f"{what} holds no images: it has the shape {list(array.shape)}")
    if "C" not in layout:
        return array[..., None]
    return np.moveaxis(array, -3, -1) if layout.endswith("CHW") else array


def layout_of(shape: tuple[int, ...], what: str, many: str = "N") -> str:
    """How images of such an array are laid out: HW, HWC or CHW, after `many` dimensions, N or none.

    Raises:
        InputError: it may be both of the latter, or none of them.
    """
    before = "n, " * len(many)
    image = shape[len(many) :]
    if len(shape) == len(many) + 2:
        return f"{many}HW"
    if len(shape) != len(many) + 3:
        hint = "; rows of pixels are to be given their height and width by reshape" if len(image) == 1 else ""
        raise InputError(
            f"{what} is an array of shape {list(shape)}: wanted [{before}h, w], [{before}h, w, channels] or "
            f"[{before}channels, h, w]{hint}"
        )
    first, last = image[0] in CHANNELS, image[2] in CHANNELS
    if first == last:
        places = "first and the last", "second and the last"
        found = f"both the {places[len(many)]}" if first else f"neither the {places[len(many)].replace('and', 'nor')}"
        raise InputError(
            f"{what} is an array of shape {list(shape)}, of which {found} may be the channels: wanted [{before}h, w, "
            "1 or 3], with sides of 8 pixels or more"
        )
    return f"{many}CHW" if first else f"{many}HWC"


def as_bytes(array: Array, what: str) -> UInt8[np.ndarray, "..."]:
    """Intensities as the bytes that stand for them.

    Raises:
        InputError: neither uint8 nor floats in [0, 1], with the next step.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise InputError(f"{what} holds {array.dtype}: wanted uint8, or floats in [0, 1]{cure_of(array)}")
    if bad := int(np.isnan(array).sum()):
        raise InputError(f"{what} has {bad:,} values of {array.size:,} that are NaN: wanted floats in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"{what} has values from {low:.9g} to {high:.9g}: wanted uint8, or floats in [0, 1]{cure_of(array)}"
        )
    out = np.empty(array.shape, dtype=np.uint8)
    for start in range(0, len(array), CHUNK):
        out[start : start + CHUNK] = np.rint(array[start : start + CHUNK].astype(np.float64) * 255)
    return out


def cure_of(array: Array) -> str:
    """How to make intensities of them, where it can be guessed."""
    if array.dtype.kind == "b":
        return "; x.astype('uint8') * 255"
    if array.dtype.kind not in "iuf":
        return ""
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind != "f":
        if low >= 0 and high <= 255:
            return "; x.astype('uint8')"
    elif low > -OVER and high < 1 + 5 * OVER:
        return "; x.clip(0, 1)"  # what filters and rounding leave over
    elif -1 - OVER < low < 0 and high < 1 + OVER:
        return "; ((x + 1) / 2).clip(0, 1)"
    elif low > -255 * OVER and 128 <= high < 255 * (1 + OVER):
        return "; x / 255" if low >= 0 and high <= 255 else "; (x / 255).clip(0, 1)"
    elif low >= 0 and high <= 128:
        return "; x / x.max()"
    depth = next((depth for depth in DEPTHS if high <= depth), None) if low >= 0 else None
    return f"; x / {depth}" if depth else ""


def names_in(path: Path) -> list[str]:
    """The arrays of a file by name; the one of an .npy has none."""
    with reading(path), opened(path) as file:
        if path.suffix.lower() == ".npy":
            return [""]
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_array(path: Path, name: str = "") -> Array:
    """One array of a file.

    Raises:
        InputError: it is damaged, holds less or more than its header says, or objects, which are not unpickled.
    """
    what = f"{path}: {name}".removesuffix(": ")
    with reading(path), opened(path) as file:
        if not name:
            file.seek(0, io.SEEK_END)
            size = file.tell()
            file.seek(0)
            return parse(what, file, size)
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
            return parse(what, cast(io.BufferedIOBase, member), archive.getinfo(f"{name}.npy").file_size)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors inside are one line for the user."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile, zlib, tokenize and numpy each raise kinds of their own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds no array that can be read: {reason}; write it again") from None


def parse(what: str, file: io.BufferedIOBase, size: int) -> Array:
    """The array in a stream of `size` bytes: its header, then exactly the bytes that it promises."""
    head = io.BytesIO(read_at_most(file, HEAD))
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"{what} is of version {version[0]}.{version[1]}: wanted an array of numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, column_major, dtype = read(head)
    if dtype.hasobject:
        raise InputError(f"{what} holds pickled objects, which are not read, as that would run code: wanted numbers")
    if dtype.kind not in "biufUS":
        raise InputError(f"{what} holds {dtype}: wanted numbers")
    count = int(np.prod(shape, dtype=object))
    start, claimed = head.tell(), count * dtype.itemsize
    if claimed != size - start or any(length < 0 for length in shape):
        raise InputError(
            f"{what} claims {claimed:,} bytes of {'×'.join(map(str, shape))} {dtype}, and there are "
            f"{max(0, size - start):,}: it is damaged or cut short; write it again"
        )
    check_memory(claimed, what)
    if claimed == 0:
        return np.empty(shape, dtype)
    content = filled(np.empty(claimed, dtype=np.uint8), head.read(), file, what)
    check_texts(content, dtype, what)
    return content.view(dtype).reshape(shape, order="F" if column_major else "C")


def filled(
    content: UInt8[np.ndarray, " n"], begun: bytes, file: io.BufferedIOBase, what: str
) -> UInt8[np.ndarray, " n"]:
    """The bytes that have been read already, then those of the file; memory is taken as they come."""
    done = len(begun)
    content[:done] = np.frombuffer(begun, dtype=np.uint8)
    while done < len(content):
        piece = file.read(min(PIECE, len(content) - done))
        if not piece:
            raise InputError(f"{what} ends after {done:,} bytes of {len(content):,}: it is damaged; write it again")
        content[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        done += len(piece)
    return content


def check_texts(content: UInt8[np.ndarray, " n"], dtype: np.dtype[Any], what: str) -> None:
    """InputError for texts of characters that there are not, which NumPy keeps and Python cannot."""
    if dtype.kind == "U" and (last := int(content.view(np.dtype("u4").newbyteorder(dtype.byteorder)).max())) > LAST:
        raise InputError(f"{what} holds texts with a character {last:#x}, which is none: it is damaged; write it again")
