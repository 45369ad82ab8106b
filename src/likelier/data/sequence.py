"""Images made in Python: any sequence, or PyTorch data set, of (image, label) pairs or of images."""

from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from likelier.data.arrays import as_images
from likelier.data.picture import Options, check_sides, fitted
from likelier.data.splitting import Labels, OnProgress, Pixels, assembled
from likelier.errors import InputError
from likelier.images import Images
from likelier.memory import check_memory


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
            floats in [0, 1]. Labels are whole numbers or texts.
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
    options = Options(size, channels, fit)
    classes = getattr(train, "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, list | tuple) else None
    whole = items_of(train, "train", options, progress)
    held_out = None if test is None else items_of(test, "test", options, progress)
    return assembled(name, whole, held_out, names)


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
    return images, np.asarray(labels) if labels else None


def length_of(data: Any, what: str) -> int:
    """How many items there are; InputError if it is no sequence."""
    if isinstance(data, str | bytes) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise InputError(
            f"the {what} images are a {type(data).__name__}: wanted a sequence or map-style data set, with a length; "
            "list(…) makes one of what can only be gone through"
        )
    if (n := len(data)) == 0:
        raise InputError(f"the {what} images are an empty {type(data).__name__}: wanted one image or more")
    return n


def parts_of(data: Any, index: int, where: str) -> tuple[Any, ...]:
    """The image of an item and, if it has one, its label."""
    try:
        item = data[index]
    except (IndexError, KeyError):
        raise InputError(f"{where} is not there: wanted items from 0 to {len(data) - 1}") from None
    if not isinstance(item, tuple | list):
        return (item,)
    if len(item) != 2:
        raise InputError(f"{where} has {len(item)} parts: wanted a pair (image, label), or an image")
    return tuple(item) if item[1] is not None else (item[0],)


def plain(label: Any, where: str) -> Any:
    """A label as Python has it, whatever kind of number it is."""
    if getattr(label, "size", None) == 1 or (isinstance(label, torch.Tensor) and label.numel() == 1):
        label = label.item()
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
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    pixels, _ = as_images(np.asarray(image)[None], where, options)
    found: UInt8[np.ndarray, "c h w"] = pixels[0]
    return found
