"""`stacked-mnist`: three digits of MNIST, one in each channel, and so 1,000 modes of which a model can lose some.

From the papers (L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein: Unrolled Generative Adversarial Networks, 2016,
arXiv 1611.02163, section 3.3.1; Z. Lin, A. Khetan, G. Fanti, S. Oh: PacGAN: The power of two samples in generative
adversarial networks, 2017, arXiv 1712.04086, section 4): each channel is a digit drawn at random, independently of the
others; there are 128,000 training images of 3×28×28, made from the training images of MNIST; and 26,000 samples are
judged.

Ours: the draws, which the papers do not publish, from a generator with a fixed seed, so that the set is the same
everywhere; and 26,000 test images, as many as samples are judged, made in the same way from the test images of MNIST.
Class 374 has a 3 in the first channel, a 7 in the second and a 4 in the third. MNIST has more of some digits than of
others, so the modes are about, and not exactly, equally frequent.
"""

from itertools import product

import numpy as np
import torch

from likelier.images import Images, Recorded, Split, content_digest

NAMES = ("stacked-mnist",)
ON_DISK = True
MADE_FROM = "mnist"
CHANNELS = 3
TRAIN, TEST = 128_000, 26_000


def make(mnist: Images) -> Images:
    """The stacked set: 360 MB, drawn once and for all.

    >>> import likelier
    >>> make(likelier.load_images("digits"))
    Images(stacked-mnist: 128000 + 26000 of 3×8×8, 1000 classes, digest ...)
    """
    # The legacy generator is the one whose stream numpy promises never to change.
    chance = np.random.RandomState(0)
    train, test = stacked(mnist, mnist.train, TRAIN, chance), stacked(mnist, mnist.test, TEST, chance)
    return Images(
        name=NAMES[0],
        train=train,
        test=test,
        classes=tuple(map("".join, product(mnist.classes, repeat=CHANNELS))),
        recorded=Recorded(content_digest(train, test), train, test),  # now, and not for each copy of the description
        stacked_from=mnist,
    )


def stacked(mnist: Images, split: Split, n: int, chance: np.random.RandomState) -> Split:
    """Images of three channels, each of them an image of `split` that is drawn at random."""
    drawn = torch.from_numpy(chance.randint(len(split), size=(n, CHANNELS), dtype=np.int64))
    digits = split.labels[drawn]
    labels = digits[:, 0]
    for channel in range(1, CHANNELS):
        labels = labels * len(mnist.classes) + digits[:, channel]
    return Split(split.images[:, 0][drawn], labels)
