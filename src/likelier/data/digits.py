"""`digits`: 1,797 real handwritten digits of 8×8 pixels, embedded in scikit-learn (UCI optical recognition test set).

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49. Small enough for a first run in minutes, real enough to show what each model does.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from likelier.images import Images, Split

NAMES = ("digits",)
ON_DISK = False
TEST = 599
"""A third. Figures are taken at N = min(half the training split, the test split): with 1,198 + 599 both are 599."""


def load(name: str) -> Images:
    """The embedded digits, split once and for all."""
    raw = rows()
    pixels = raw[:, :64].reshape(-1, 1, 8, 8) * (255 / 16)  # stored as 0 … 16
    images, labels = torch.from_numpy(np.rint(pixels).astype(np.uint8)), torch.from_numpy(raw[:, 64].astype(np.int64))
    # The legacy generator is the one whose stream numpy promises never to change.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(images)))
    train, test = order[TEST:], order[:TEST]
    return Images(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=tuple(map(str, range(10))),
    )


def rows() -> Float64[np.ndarray, "1797 65"]:
    """64 pixels and the label of each digit, from the file that scikit-learn reads, without importing it (0.8 s)."""
    spec = importlib.util.find_spec("sklearn")
    file = Path(spec.origin if spec and spec.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # they have moved

    raw = load_digits()
    return np.column_stack([raw.data, raw.target])
