"""Training images that come a little different each time, so that a small set lasts longer: shifted, or mirrored.

Only what a family is trained on is changed, never what it is measured against. A GAN takes the changes for part of the
data, and makes shifted and mirrored images itself: augmentations "leak" into samples unless D sees these, too, through
them (Karras et al.: Training Generative Adversarial Networks with Limited Data, 2020, arXiv 2006.06676).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from likelier import rng
from likelier.errors import InputError, unknown
from likelier.images import Images

KINDS = {
    "shift": "by up to an eighth of each side, the pixels of the edge repeated",
    "flip": "left and right exchanged, every other time",
}
ONE_WAY_ROUND = {"digits", "mnist", "kmnist", "emnist-letters"}
"""Sets of characters: a mirrored one is another, or none."""


def check_augmentations(kinds: object, images: Images) -> list[str]:
    """The kinds of augmentation, each once.

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
    return list(dict.fromkeys(kinds))


class Augmentation:
    """Changes batches by a chance that hangs on nothing but the seed and where in the stream of images they begin.

    >>> mirror = Augmentation(["flip"], seed=0)
    >>> mirror(torch.arange(3, dtype=torch.uint8).expand(4, 1, 1, 3), 0).flatten(1).tolist()
    [[2, 1, 0], [0, 1, 2], [2, 1, 0], [2, 1, 0]]
    """

    def __init__(self, kinds: Sequence[str], seed: int) -> None:
        self.kinds, self.seed = kinds, seed

    def __call__(self, images: UInt8[Tensor, "n c h w"], position: int) -> UInt8[Tensor, "n c h w"]:
        """The batch that begins at `position`, changed; itself if nothing is to be."""
        if not self.kinds:
            return images
        n, _, h, w = images.shape
        chance = rng.generator(self.seed, position)  # on the CPU, so that it is the same whatever device trains
        rows, columns = torch.arange(h).expand(n, h), torch.arange(w).expand(n, w)
        if "shift" in self.kinds:
            rows, columns = shifted(rows, chance), shifted(columns, chance)
        if "flip" in self.kinds:
            mirrored = torch.randint(2, (n, 1), generator=chance).bool()
            columns = torch.where(mirrored, columns.flip(1), columns)
        rows, columns = rows.to(images.device), columns.to(images.device)
        found = images.gather(2, rows[:, None, :, None].expand_as(images))
        return found.gather(3, columns[:, None, None, :].expand_as(images))


def shifted(places: Int64[Tensor, "n side"], chance: torch.Generator) -> Int64[Tensor, "n side"]:
    """Where each pixel comes from after a shift of each image; the edge stands for what is beyond it."""
    n, side = places.shape
    most = -(-side // 8)  # 4 of CIFAR-10's 32 pixels, as is common since He et al. 2016, arXiv 1512.03385
    return (places + torch.randint(-most, most + 1, (n, 1), generator=chance)).clamp(0, side - 1)
