"""Images made in Python: any sequence, or PyTorch data set, of (image, label) pairs or of images."""

import os
import warnings
from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import Image

from likelier.data.arrays import CHANNELS, as_image
from likelier.data.picture import Options, check_sides, fitted
from likelier.data.splitting import Labels, OnProgress, Pixels, assembled
from likelier.errors import InputError, printable
from likelier.images import Images, check_name
from likelier.memory import check_memory

TWICE = 8
"""Items that are read again, to see whether they stay as they are."""
NESTED = 10
"""Parts of parts of a data set that its classes are looked for through."""
PAIR = "wanted an image (a PIL image, an array or a tensor), or a pair (image, label)"


def images_from(
    train: Any,
    test: Any = None,
    *,
    name: str = "own",
    size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    progress: OnProgress | None = None,
) -> Images:
    """An image set of what is at hand in Python.

    Args:
        train: has a length and is indexed from 0, as lists and PyTorch's map-style data sets are; each item is a pair
            (image, label) or an image: a PIL image, or an array or tensor [h, w], [h, w, c] or [c, h, w], uint8 or
            floats in [0, 1]. Labels are whole numbers or texts. The first items are read twice, and you are warned if
            they differ: images are kept as they came first.
        test: as `train`; without it, a fifth of `train` is held out, chosen by content.
        name: what the set is called.
        size, channels, fit: as in `likelier.load_images`.
        progress: called with the items read, and the items in all.

    Raises:
        InputError: an item that is no image, images of several shapes without a `size`, or a split without images.

    >>> import numpy as np
    >>> noise = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    >>> images_from([(image, "left" if i % 2 else "right") for i, image in enumerate(noise)], name="noise")
    Images(noise: 41 + 9 of 3×16×16, 2 classes, digest ...)
    """
    check_name(name)
    options = Options(size, channels, fit)
    whole = items_of(train, "train", options, progress)
    held_out = None if test is None else items_of(test, "test", options, progress)
    return assembled(name, whole, held_out, classes_of(train))


def classes_of(data: Any) -> tuple[str, ...] | None:
    """The names of the classes, if the data set has them, or the one that it is a part of."""
    for _ in range(NESTED):
        if isinstance(classes := getattr(data, "classes", None), list | tuple):
            return tuple(map(str, classes))
        data = getattr(data, "dataset", None)
    return None


def items_of(data: Any, what: str, options: Options, progress: OnProgress | None) -> tuple[Pixels, Labels | None]:
    """Every image as bytes of the wanted shape, and their labels, if they have any."""
    n = length_of(data, what)
    images: Pixels | None = None
    labels: list[Any] = []
    for index in range(n):
        where = f"item {index} of the {what} images"
        image, *label = parts_of(data, index, where)
        pixels = pixels_of(image, where, options)
        if images is None:
            check_memory(n * pixels.nbytes, f"{n:,} images of {'×'.join(map(str, pixels.shape))}")
            images = np.empty((n, *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise InputError(
                f"{where} has the shape {list(pixels.shape)}, those before {list(images.shape[1:])}: wanted one shape; "
                "say with size=N, and channels=1 or 3, which they are to get"
            )
        images[index] = pixels
        labels += [plain(each, where) for each in label]
        if progress is not None and (index + 1 == n or index % 1000 == 999):
            progress(index + 1, n)
    assert images is not None
    if len(labels) not in (0, n):
        raise InputError(f"{len(labels):,} of {n:,} {what} images have labels: wanted labels for all, or for none")
    warn_of_chance(data, what, options, images)
    return images, np.asarray(labels) if labels else None


def warn_of_chance(data: Any, what: str, options: Options, images: Pixels) -> None:
    """Say so if some images are others when they are read again: then each is kept as it was the first time."""
    for index, pixels in enumerate(images[:TWICE]):
        where = f"item {index} of the {what} images"
        if not np.array_equal(pixels_of(parts_of(data, index, where)[0], where, options), pixels):
            warnings.warn(
                f"{where} is another image when it is read again, as of random transforms: each is taken as it came "
                "first, and stays so; wanted a data set without them",
                stacklevel=4,
            )
            return


def length_of(data: Any, what: str) -> int:
    """How many items there are; InputError if it is no sequence."""
    kind = type(data).__name__
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise InputError(
            f"the {what} images are a {kind}: wanted a sequence or map-style data set, with a length; "
            "list(…) makes one of what can only be gone through"
        )
    try:
        n = len(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the {what} images are a {kind} without a length ({error}): wanted a sequence") from None
    if n == 0:
        raise InputError(f"the {what} images are an empty {kind}: wanted one image or more")
    if n == 2 and isinstance(data, tuple | list) and is_whole_set(*data):
        raise InputError(
            f"the {what} images are a pair of arrays, of shapes {list(data[0].shape)} and {list(np.shape(data[1]))}: "
            "wanted a sequence of pairs; list(zip(x, y)) makes one"
        )
    return n


def is_whole_set(images: Any, labels: Any) -> bool:
    """Whether these are all images and all labels of a set, as Keras has them: arrays, as long as each other."""
    x, y = (tuple(getattr(part, "shape", ())) for part in (images, labels))
    return len(x) in (3, 4) and len(y) in (1, 2) and x[0] == y[0] > max(CHANNELS) and x[:2] != y


def parts_of(data: Any, index: int, where: str) -> tuple[Any, ...]:
    """The image of an item and, if it has one, its label."""
    try:
        item = data[index]
    except (IndexError, KeyError):
        raise InputError(f"{where} is not there: wanted items from 0 to {len(data) - 1}") from None
    if isinstance(item, Mapping):
        keys = ", ".join(map(repr, item))
        raise InputError(f"{where} is a {type(item).__name__} with {printable(keys):.100}: {PAIR}")
    if not isinstance(item, tuple | list):
        return (item,)
    if len(item) == 2 and is_whole_set(*item):
        raise InputError(
            f"{where} is a pair of arrays, all images and all labels: wanted images_from(list(zip(x_train, y_train)), "
            "list(zip(x_test, y_test)))"
        )
    if len(item) not in (1, 2):
        raise InputError(f"{where} has {len(item)} parts: wanted a pair (image, label), or an image")
    return tuple(item[:1]) if item[-1] is None and len(item) == 2 else tuple(item)


def plain(label: Any, where: str) -> Any:
    """A label as Python has it, whatever kind of number it is."""
    if isinstance(label, torch.Tensor):
        label = dense(label, where)
    if getattr(label, "size", None) == 1:
        label = label.item()
    if isinstance(label, np.ndarray):
        raise InputError(
            f"{where} has a label of shape {list(label.shape)}: wanted a whole number or a text; int(y.argmax()) makes "
            "one of a one-hot label"
        )
    if not isinstance(label, int | float | str):
        raise InputError(f"{where} has a {type(label).__name__} as its label: wanted a whole number or a text")
    return label


def pixels_of(image: Any, where: str, options: Options) -> UInt8[np.ndarray, "c h w"]:
    """One image of any kind as bytes."""
    if isinstance(image, Image.Image):
        check_sides(where, image.size, options)
        try:
            return fitted(image, options)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
    if isinstance(image, str | bytes | os.PathLike):
        raise InputError(
            f"{where} is {printable(str(image)):.60}, a {type(image).__name__}: wanted an image; PIL.Image.open reads "
            "one, and load_images a whole folder"
        )
    if isinstance(image, torch.Tensor):
        image = dense(image, where)
    if not hasattr(image, "__array__") and not isinstance(image, list | tuple):
        raise InputError(f"{where} is a {type(image).__name__}: {PAIR}")
    try:
        array = np.asarray(image)
    except ValueError:
        raise InputError(f"{where} is a list of rows of several lengths: {PAIR}") from None
    return as_image(array, where, options)


def dense(tensor: torch.Tensor, where: str) -> npt.NDArray[np.generic]:
    """The values of a tensor, wherever they are; InputError for one that has none, or has them in another form."""
    if tensor.is_meta:
        raise InputError(f"{where} has a tensor on the device meta, which has no values: wanted one on another device")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        kind, cure = (str(tensor.layout), "to_dense")
        kind, cure = ("quantised", "dequantize") if tensor.is_quantized else (kind, cure)
        raise InputError(f"{where} has a tensor that is {kind}: wanted a dense one; x.{cure}() makes it one")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
