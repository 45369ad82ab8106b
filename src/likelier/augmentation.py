"""Training images that come a little different each time, so that a small set lasts longer: shifted, or mirrored.

Only what a family is trained on is changed, never what it is measured against. A GAN takes the changes for part of the
data, and makes shifted and mirrored images itself: augmentations "leak" into samples unless D sees these, too, through
them (Karras et al.: Training Generative Adversarial Networks with Limited Data, 2020, arXiv 2006.06676).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from likelier import rng
from likelier.errors import InputError, unknown
from likelier.images import Images

ONE_WAY_ROUND = {"digits", "mnist", "kmnist", "emnist-letters"}
"""Sets of characters: a mirrored one is another, or none."""


def shifted(x: Tensor, most: int, chance: torch.Generator) -> Tensor:
    """Each image of [n, c, h, w] moved by up to `most` pixels in either direction, its border repeated."""
    n, c, h, w = x.shape
    down, right = torch.randint(-most, most + 1, (2, n, 1), generator=chance).to(x.device)
    rows = (down + torch.arange(h, device=x.device)).clamp(0, h - 1)  # [n, h]
    columns = (right + torch.arange(w, device=x.device)).clamp(0, w - 1)  # [n, w]
    pixels = (w * rows[:, :, None] + columns[:, None, :]).view(n, 1, h * w)
    return x.flatten(2).gather(2, pixels.expand(n, c, h * w)).view(n, c, h, w)


def shift(x: Tensor, chance: torch.Generator) -> Tensor:
    """By up to an eighth of the shorter side: 4 of CIFAR-10's 32 pixels, as since He et al. 2016, arXiv 1512.03385."""
    return shifted(x, max(1, min(x.shape[-2:]) // 8), chance)


def flip(x: Tensor, chance: torch.Generator) -> Tensor:
    """Left and right exchanged in every other image of [n, c, h, w]."""
    chosen = torch.randint(2, (len(x), 1, 1, 1), generator=chance).bool().to(x.device)
    return torch.where(chosen, x.flip(-1), x)


KINDS = {"shift": shift, "flip": flip}


def check_augmentations(kinds: object, images: Images) -> list[str]:
    """The kinds of augmentation, each once and in the order in which they are applied.

    Raises:
        InputError: no list, a kind that there is none of, or mirrored characters.

    >>> import likelier
    >>> check_augmentations(["shift"], likelier.load_images("digits"))
    ['shift']
    """
    if not isinstance(kinds, list | tuple):
        raise InputError(f"augment = {str(kinds)[:60]!r}: wanted a list, as in [shift, flip]")
    for kind in map(str, kinds):
        if kind not in KINDS:
            raise unknown("augmentation", kind[:60], KINDS, "wanted names with commas between them, as in shift,flip")
    if "flip" in kinds and images.name in ONE_WAY_ROUND:
        raise InputError(
            f"augment = flip with {images.name}: a mirrored character is another one, or none; shift is what these "
            "images can take"
        )
    return [kind for kind in KINDS if kind in kinds]


class Augmentation:
    """Changes batches by a chance that hangs on nothing but the seed and where in the stream of images they begin.

    >>> mirror = Augmentation(["flip"], seed=0)
    >>> mirror(torch.arange(3, dtype=torch.uint8).expand(4, 1, 1, 3), 0).flatten(1).tolist()
    [[2, 1, 0], [0, 1, 2], [2, 1, 0], [2, 1, 0]]
    """

    def __init__(self, kinds: Sequence[str], seed: int) -> None:
        self.kinds, self.seed = kinds, seed

    def __call__(self, images: Tensor, position: int) -> Tensor:
        """The batch [n, c, h, w] that begins at `position`, changed; itself if nothing is to be."""
        if not self.kinds:
            return images
        chance = rng.generator(self.seed, position)  # of the CPU, so that it is the same whatever device trains
        for kind in self.kinds:
            images = KINDS[kind](images, chance)
        return images
