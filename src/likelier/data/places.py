"""Where a named set may be: the data root, the cache, and what other libraries have left on the disk."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from likelier.data import keras, source, stored_as
from likelier.files import cache_folder
from likelier.images import Images

TORCHVISION = {
    "mnist": "MNIST/raw",
    "fashion-mnist": "FashionMNIST/raw",
    "kmnist": "KMNIST/raw",
    "emnist-letters": "EMNIST/raw",
}
"""Its folders for the IDX files, under the `root` that it is given: the data root, or ./data as in its examples."""

Reader = Callable[[str, Path], tuple[Images, bool]]
"""(name of a set, folder or file) → the set, and whether its content is known to be the published one."""


@dataclass(frozen=True)
class Place:
    """A copy of a named set on the disk."""

    path: Path
    whose: str
    read: Reader
    root: Path | None = None
    """The data root that it is found in again."""


def copies(name: str, root: Path | None) -> Iterator[Place]:
    """The copies of a set that are here, the one that is used first.

    Args:
        name: of a set that is not embedded.
        root: the data root, if there is one.
    """
    module = source(name)
    if (stored := stored_as(name)) != name:
        yield from (replace(place, read=partial(made, place.read)) for place in copies(stored, root))
        return
    places = [Place(root / name, "the data root", module.load, root)] if root else []
    places.append(Place(cached(name), "the cache", module.load))
    roots = list(dict.fromkeys([*([root] if root else []), Path("data").resolve()]))
    if name in TORCHVISION:
        places += [Place(each / TORCHVISION[name], "torchvision", module.load, each) for each in roots]
    places.append(Place(keras_folder() / name, "Keras", module.load))
    yield from (place for place in places if module.is_here(name, place.path))
    if name in keras.KEPT and (file := keras_folder() / keras.KEPT[name]).is_file():
        yield Place(file, "Keras", keras.load)
    for folder in (*(each / name for each in roots), *roots, keras_folder()):
        for pattern in getattr(module, "PICKLED", ()):
            yield from (Place(path, "pickled", module.refuse_pickled) for path in sorted(folder.glob(pattern)))


def made(read: Reader, name: str, path: Path) -> tuple[Images, bool]:
    """A set that is made from another one, of a copy of that."""
    images, verified = read(stored_as(name), path)
    return source(name).make(images), verified


def cached(name: str) -> Path:
    """Where a set is put that is fetched."""
    return cache_folder() / "data" / name


def keras_folder() -> Path:
    """$KERAS_HOME/datasets, else ~/.keras/datasets."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
