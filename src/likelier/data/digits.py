"""`digits`: 1,797 real handwritten digits of 8×8 pixels, embedded in scikit-learn (UCI optical recognition test set).

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
doi:10.24432/C50P49. Small enough for a first run in minutes, real enough to show what each model does.
"""

import numpy as np
import torch

from likelier.images import Images, Split

NAMES = ("digits",)
NEEDS_ROOT = False
TEST = 599
"""A third. Figures are taken at N = min(half the training split, the test split): with 1,198 + 599 both are 599."""


def load(name: str) -> Images:
    """The embedded digits, split once and for all."""
    from sklearn.datasets import load_digits  # imported late: it costs a second that other sets need not pay

    raw = load_digits()
    images = torch.from_numpy(np.rint(raw.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)  # stored as 0 … 16
    labels = torch.from_numpy(raw.target.astype(np.int64))
    # The legacy generator is the one whose stream numpy promises never to change.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(images)))
    train, test = order[TEST:], order[:TEST]
    return Images(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=tuple(map(str, range(10))),
    )
