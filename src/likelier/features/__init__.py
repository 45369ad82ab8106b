"""The features that distances are taken in: extractors that are frozen, and named by the hash of their weights.

Distances in the features of different extractors do not compare, not even at equal accuracy: three seeds of one LeNet
put the same binarised digits at Fréchet distances of 5.3, 5.9 and 7.7. So an extractor is trained once, by a fixed
recipe; those of the named sets come with the package, those of other sets are kept in the cache, by digest; its name
holds the hash of its weights; and a verdict is checked on three seeds of it.

- `network`: the recipe, a small classifier of the classes or, without labels, of rotations.
- `by_channel`: the extractor of stacked images, which is that of the set that they are stacked from.
- `store`: where trained ones are kept: in the package (frozen) or in the cache.
- `onnx`: any other network, brought by the user with its preprocessing declared beside it.
"""

from collections.abc import Callable
from pathlib import Path

from likelier.errors import InputError
from likelier.features.by_channel import ByChannel
from likelier.features.network import Extractor, Trained, train
from likelier.features.store import find_frozen, load_cached, save
from likelier.files import cache_folder
from likelier.images import Images

__all__ = ["LEAST", "SEEDS", "Extractor", "Trained", "at_hand", "cache_folder", "check_usable", "extractor"]

SEEDS = (0, 1, 2)
"""Figures are quoted in the features of the first; a verdict is checked on all."""
LEAST = 6
"""Images: the balls of precision and recall reach to the fifth neighbour."""

OnProgress = Callable[[int, int], None]


def extractor(
    images: Images, cache: Path | None = None, progress: OnProgress | None = None, seed: int = 0
) -> Extractor:
    """The extractor of an image set: frozen in the package, else out of the cache, else trained and kept there.

    Args:
        images: the image set, with sides of 8 pixels or more; of one class, it gets an extractor that needs no labels;
            stacked from another set, it gets the extractor of that one, for each channel.
        cache: the folder of the cache; otherwise $LIKELIER_CACHE, $XDG_CACHE_HOME/likelier or ~/.cache/likelier.
        progress: called during training with the images seen and the images in all.
        seed: of the initial weights and the order of the images, as in `SEEDS`.

    Raises:
        InputError: smaller images, or too few.

    >>> import likelier
    >>> extractor(likelier.load_images("digits")).name
    'digits-cnn-v2-...'
    """
    check_usable(images)
    if (below := images.stacked_from) is not None:
        return ByChannel(extractor(below, cache, progress, seed), images.shape[0], len(below.classes))
    found = at_hand(images, cache, seed)
    if found is None:
        found = train(images, seed, progress)
        save(found, images, seed, cache)
    return found


def at_hand(images: Images, cache: Path | None = None, seed: int = 0) -> Extractor | None:
    """The extractor, if it need not be trained first: frozen or in the cache; arguments as `extractor`."""
    if (below := images.stacked_from) is not None:
        found = at_hand(below, cache, seed)
        return None if found is None else ByChannel(found, images.shape[0], len(below.classes))
    return find_frozen(images, seed) or load_cached(images, seed, cache)


def check_usable(images: Images) -> None:
    """InputError for images that no extractor can be trained on, or no measure be taken with."""
    if min(images.shape[1:]) < 8:
        raise InputError(
            f"{images.name} has images of {images.shape[1]}×{images.shape[2]}: "
            "an extractor of features wants sides of 8 pixels, at least"
        )
    if min(len(images.train) // 2, len(images.test)) < LEAST:
        raise InputError(
            f"{images.name} has {len(images.train)} + {len(images.test)} images: measures want {LEAST} in half the "
            "training split and in the test split, at least"
        )
