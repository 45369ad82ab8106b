"""What a user's own images have in common, wherever they come from: labels become classes, and a part is held out.

Which images are the test split is decided by the content of each: those whose SHA-256 lies in the lowest fifth. So
images can be added and their order changed without any other changing sides, and the copy of an image is always on the
side of the image: no model is tested on what it was trained on.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8

from likelier.errors import InputError, printable
from likelier.images import LONGEST_CLASS, Images, Split

TEST = 0.2
"""The share of the test split, where the user has none of his own."""
UNLABELLED = "image"
"""The one class of images that have none."""

OnProgress = Callable[[int, int], None]
Pixels = UInt8[np.ndarray, "_n _c _h _w"]
Labels = npt.NDArray[np.generic]


def is_for_test(content: bytes) -> bool:
    """Whether an image of this content is held out.

    >>> sum(is_for_test(bytes([i])) for i in range(256))
    50
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") < TEST * 2**48


def class_from(label: object) -> str:
    """What a class is called whose label is this."""
    return printable(str(label))[:LONGEST_CLASS] or "without a name"


def check_both(name: str, train: int, test: int) -> None:
    """InputError if one of the splits is empty."""
    if not train or not test:
        n = train + test
        raise InputError(
            f"{name} has {n:,} image{'s' * (n != 1)}, {train:,} to train on and {test:,} to test on: wanted some in "
            "both; add images, or split them yourself"
        )


def assembled(
    name: str,
    train: tuple[Pixels, Labels | None],
    test: tuple[Pixels, Labels | None] | None,
    classes: tuple[str, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Images:
    """An image set of arrays: uint8 [n, c, h, w], and a label for each image, or None.

    Args:
        name: of the set.
        train, test: the splits; without the second one, images are held out of the first.
        classes: their names, if the labels are the numbers of them.
        notes: for the user to read.

    Raises:
        InputError: labels that are none, or a split without images.
    """
    if test is not None and (train[1] is None) != (test[1] is None):
        raise InputError(f"{name} has labels for one of training and test images: wanted them for both, or for none")
    parts = [train] if test is None else [train, test]
    numbers, names = numbered(name, [labels for _, labels in parts if labels is not None], classes)
    if not numbers:
        numbers, notes = [np.zeros(len(x), dtype=np.int64) for x, _ in parts], (*notes, "no labels: all are one class")
    for (x, _), y in zip(parts, numbers, strict=True):
        if len(x) != len(y):
            raise InputError(f"{name} has {len(y):,} labels for {len(x):,} images: wanted one each")
    if len(parts) == 1:
        ((x, _),), (y,) = parts, numbers
        held_out = np.fromiter((is_for_test(image.tobytes()) for image in x), dtype=bool, count=len(x))
        pairs = [(x[~held_out], y[~held_out]), (x[held_out], y[held_out])]
    else:
        pairs = [(x, y) for (x, _), y in zip(parts, numbers, strict=True)]
    check_both(name, *(len(x) for x, _ in pairs))
    of_training, of_test = (Split(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y)) for x, y in pairs)
    return Images(name, of_training, of_test, names, notes=notes)


def numbered(
    name: str, parts: list[Labels], classes: tuple[str, ...] | None
) -> tuple[list[npt.NDArray[np.int64]], tuple[str, ...]]:
    """Labels of any kind as numbers from 0, and the names of the classes; nothing and one class if there are none."""
    if not parts:
        return [], (UNLABELLED,)
    checked = [simple(name, labels) for labels in parts]
    values, index = np.unique(np.concatenate(checked), return_inverse=True)
    bounds = np.cumsum([len(labels) for labels in checked])[:-1]
    if classes and values.dtype.kind in "iu" and values[0] >= 0 and values[-1] < len(classes):
        return [labels.astype(np.int64) for labels in checked], tuple(map(class_from, classes))
    if len(values) > max(1, len(index) // 2):
        raise InputError(
            f"{name} has {len(values):,} different labels for {len(index):,} images: wanted classes; leave the labels "
            "out to train without"
        )
    return np.split(index.astype(np.int64), bounds), tuple(map(class_from, values))


def simple(name: str, labels: Labels) -> Labels:
    """Labels as one whole number, or one text, an image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as Keras has them for CIFAR
    if labels.ndim != 1:
        raise InputError(
            f"{name} has labels of shape {list(labels.shape)}: wanted [n], one class an image; y.argmax(1) makes them "
            "of one-hot labels"
        )
    if labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()):
        exact = labels.astype(np.float64)  # 2**53 is more than half precision holds
        labels = exact.astype(np.int64) if bool((abs(exact) < 2**53).all()) else labels
    if labels.dtype.kind in "iu" and labels.size and int(labels.max()) < 2**63:
        labels = labels.astype(np.int64)  # unsigned beside signed ones would become floats
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels.astype(np.bytes_), "utf-8", "backslashreplace")
    if labels.dtype.kind not in "iubU":
        raise InputError(f"{name} has labels of {labels.dtype}: wanted whole numbers or texts")
    return labels
