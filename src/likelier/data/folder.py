"""A folder of pictures: one class a subfolder, or no classes at all.

    photos/cat/….jpg, photos/dog/….jpg               a fifth of the pictures is the test split
    photos/train/cat/….jpg, photos/test/cat/….jpg    the test split is your own (`val` is taken if there is no `test`)
    photos/train/cat/….jpg                           as in the first line, if there is nothing beside `train`
    photos/….jpg                                     one class

The folders of the splits may be called `training`, `testing`, `valid` or `validation` too, in capitals or not.

What is held out is chosen by the content of each file (see `likelier.data.splitting`), so pictures may be
added, renamed and moved.

Pictures deeper down belong to the class of the first folder. What is hidden (`.name`, `__MACOSX`), other files, and
all links are passed over, and counted. The order is the same on every machine: classes by the bytes of their names, and
in each folder its pictures, then its folders, likewise.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from likelier.data.picture import (
    ENDINGS,
    Header,
    Options,
    content_of,
    decoded,
    fits,
    header_of,
    quietly,
    side_wanted,
)
from likelier.data.splitting import UNLABELLED, OnProgress, check_both, class_from, is_for_test
from likelier.errors import InputError, printable
from likelier.images import Images, Split, name_from
from likelier.memory import check_memory
from likelier.threads import by_piece

HIDDEN = (".", "__MACOSX")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
"""What the folders of the splits may be called."""
CHUNK = 512
"""Files between two words on how far it is."""
SHOWN = 3
"""Names in a message."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Item:
    """One picture of a listing."""

    path: Path
    label: int
    header: Header


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder, in the order in which they are read."""

    folder: Path
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    """What was passed over, one line each."""

    @property
    def name(self) -> str:
        """What the set is called."""
        return name_from(self.folder.resolve().name)

    @property
    def items(self) -> tuple[Item, ...]:
        """Those of both splits."""
        return self.train + self.test


def recognises(path: Path) -> bool:
    """Whether this is for a folder of pictures: any folder is, that is nothing else."""
    return path.is_dir()


def load_path(path: Path, options: Options, progress: OnProgress | None = None) -> Images:
    """The pictures of a folder as an image set.

    Args:
        path: the folder.
        options: the shape that is wanted.
        progress: called with the files read, in either of two passes, and the files in all.

    Raises:
        InputError: no pictures, pictures that cannot be read, or no shape that fits all.
    """
    listing = listed(path, progress)
    options = settled(listing, options)
    pictures = decoded_all([item.path for item in listing.items], options, listing.name, progress)
    labels = torch.tensor([item.label for item in listing.items])
    n = len(listing.train)
    train, test = Split(pictures[:n], labels[:n]), Split(pictures[n:], labels[n:])
    notes = (*listing.notes, *notes_on(listing, options))
    return Images(listing.name, train, test, listing.classes, notes=notes)


def decoded_all(paths: Sequence[Path], options: Options, name: str, progress: OnProgress | None) -> Tensor:
    """Pictures as one tensor, which is there before the second of them is read."""
    first = decoded(paths[0], options)
    check_memory(len(paths) * first.nbytes, f"{name}, {len(paths):,} images of {'×'.join(map(str, first.shape))},")
    images = torch.empty((len(paths), *first.shape), dtype=torch.uint8)

    def place(index: int) -> None:
        pixels = decoded(paths[index], options)
        if pixels.shape != first.shape:
            raise InputError(f"{paths[index]} has the shape {pixels.shape}, others {first.shape}")
        images[index] = torch.from_numpy(pixels)

    each(place, range(len(paths)), name, progress)
    return images


def settled(listing: Listing, options: Options) -> Options:
    """The options with those filled in that follow from the pictures.

    Raises:
        InputError: no side was given, and the pictures have several sizes, or one that is out of range.
    """
    if options.channels is None:
        options = replace(options, channels=1 if all(item.header.grey for item in listing.items) else 3)
    sizes = Counter(item.header.size for item in listing.items)
    if options.size is None and (len(sizes) > 1 or not fits(next(iter(sizes)))):
        raise side_wanted(f"{listing.name} has pictures of {sizes_in_words(sizes)}")
    return options


def sizes_in_words(sizes: Counter[tuple[int, int]]) -> str:
    """One size, or how many from which to which."""
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    if len(ordered) == 1:
        return f"{ordered[0][0]}×{ordered[0][1]}"
    (w, h), (wide, high) = ordered[0], ordered[-1]
    return f"{len(ordered):,} sizes, from {w}×{h} to {wide}×{high}"


def notes_on(listing: Listing, options: Options) -> Iterator[str]:
    """What happens to the pictures, where it is not what everybody expects."""
    headers = [item.header for item in listing.items]
    if options.size is not None and (small := sum(min(h.size) < options.size for h in headers)):
        yield f"{small:,} of {len(headers):,} pictures are smaller than {options.size} pixels, and are enlarged"
    if options.channels == 3 and 0 < (grey := sum(h.grey for h in headers)) < len(headers):
        yield f"{grey:,} of {len(headers):,} pictures are grey among coloured ones: --channels 1 makes all of them grey"
    if transparent := sum(h.transparent for h in headers):
        yield f"{transparent:,} of {len(headers):,} pictures may be transparent: they are laid over white"


def listed(folder: str | Path, progress: OnProgress | None = None) -> Listing:
    """Every picture of a folder with its class, in a fixed order, split into training and test.

    Each file is read once, for its hash and its header; none is decoded.

    Raises:
        InputError: no such folder, no pictures in it, or pictures whose headers cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: wanted one with pictures, in a subfolder for each class or in none")
    passed_over: Counter[str] = Counter()
    parts = parts_of(folder, passed_over)
    found = [classes_in(part, passed_over) for part in parts]
    raw = sorted({name for part in found for name in part}, key=os.fsencode)
    paths = [(path, raw.index(name)) for part in found for name in sorted(part, key=os.fsencode) for path in part[name]]
    notes = tuple(f"{what}: {count:,}" for what, count in passed_over.items() if count)
    if len(parts) == 1 and parts[0] != folder:
        notes += (f"there are no pictures to test on beside {parts[0].name}/: a fifth of those in it is held out",)
    if not paths:
        aside = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(
            f"{folder} holds no pictures{aside}: wanted {', '.join(sorted(ENDINGS))}, in a subfolder for each class "
            "or in none; or the four IDX files of the MNIST family"
        )
    if len(parts) > 1 and (odd := one_sided(found, parts)):
        raise InputError(f"{folder}: {odd}")
    inspected = each(lambda item: inspect(item[0]), paths, folder.name, progress)
    items = [Item(path, label, header) for (path, label), (header, _) in zip(paths, inspected, strict=True)]
    if len(parts) > 1:
        n = sum(len(files) for files in found[0].values())
        train, test = items[:n], items[n:]
    else:
        train = [item for item, (_, held_out) in zip(items, inspected, strict=True) if not held_out]
        test = [item for item, (_, held_out) in zip(items, inspected, strict=True) if held_out]
    check_both(str(folder), len(train), len(test))
    return Listing(folder, tuple(train), tuple(test), tuple(map(class_from, raw)), notes)


def parts_of(folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The folders of the splits: the folder itself, its own training and test folders, or the first of them alone."""
    found = entries(folder, Counter())
    names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    train, test, validation = ([n for n in names if n.lower() in words] for words in (TRAIN, TEST, VALIDATION))
    if train and (tests := test or validation):
        for several in (train, tests):
            if len(several) > 1:
                raise InputError(f"{folder} has {some(several)}: wanted one of them; move the others away")
        passed_over[f"files or folders beside {train[0]}/ and {tests[0]}/ left out"] = len(found) - 2
        return [folder / train[0], folder / tests[0]]
    if train == names and len(names) == 1 and not any(is_picture(entry, Counter()) for entry in found):
        return [folder / train[0]]
    return [folder]


def classes_in(folder: Path, passed_over: Counter[str]) -> dict[str, list[Path]]:
    """The pictures of each class, by the raw name of its folder; of none, under one name."""
    loose: list[Path] = []
    classes: dict[str, list[Path]] = {}
    nested: dict[str, list[str]] = {}
    for entry in entries(folder, passed_over):
        if entry.is_dir(follow_symlinks=False):
            if files := list(pictures_under(Path(entry.path), passed_over)):
                classes[entry.name] = files
                nested |= {entry.name: inner} if len(inner := folders_in(Path(entry.path), files)) > 1 else {}
        elif is_picture(entry, passed_over):
            loose.append(Path(entry.path))
    if nested and len(classes) == 1 and not loose:
        ((name, inner),) = nested.items()
        raise InputError(
            f"{folder} has one folder, {printable(name)}, and its pictures are in folders of it ({some(inner)}): if "
            f"those are the classes, give {folder / printable(name)}, or move them up one folder"
        )
    if nested:
        passed_over[f"classes whose pictures are in folders of theirs ({some(nested)}), taken together"] += len(nested)
    if loose and classes:
        raise InputError(
            f"{folder} has {len(loose):,} picture{'s' * (len(loose) > 1)} ({some(path.name for path in loose)}) beside "
            f"folders with pictures ({some(classes)}): wanted all in the folders of their classes, or all in one folder"
        )
    return {UNLABELLED: loose} if loose else classes


def folders_in(folder: Path, files: Iterable[Path]) -> list[str]:
    """The folders right below this one that hold these pictures; nothing if some of them are in none."""
    found = dict.fromkeys(file.relative_to(folder).parts[0] for file in files)
    return [] if any(file.parent == folder for file in files) else list(found)


def one_sided(found: Sequence[dict[str, list[Path]]], parts: Sequence[Path]) -> str | None:
    """What is wrong with training and test folders of one's own, if something is."""
    train, test = (set(part) for part in found)
    names = [printable(part.name) for part in parts]
    if not train or not test:
        return f"{names[0 if not train else 1]}/ holds no pictures: wanted some in both"
    if stray := sorted(test - train):
        return (
            f"there is no training picture of {some(stray)}: wanted the same classes in {names[0]}/ as in {names[1]}/"
        )
    return None


def pictures_under(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """Every picture in a folder and below it, in order."""
    waiting = [folder]
    while waiting:
        inner = []
        for entry in entries(waiting.pop(), passed_over):
            if entry.is_dir(follow_symlinks=False):
                inner.append(Path(entry.path))
            elif is_picture(entry, passed_over):
                yield Path(entry.path)
        waiting += reversed(inner)


def entries(folder: Path, passed_over: Counter[str]) -> list[os.DirEntry[str]]:
    """What a folder holds, in order, but for what is hidden and for links."""
    try:
        with os.scandir(folder) as found:
            ordered = sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read: {error.strerror}; change its permissions, or move it away"
        ) from None
    kept = []
    for entry in ordered:
        if entry.name.startswith(HIDDEN):
            passed_over["hidden files or folders passed over"] += 1
        elif entry.is_symlink():
            passed_over["links not followed"] += 1
        else:
            kept.append(entry)
    return kept


def is_picture(entry: os.DirEntry[str], passed_over: Counter[str]) -> bool:
    """Whether the name says so, and it is a file: what it holds is seen when it is read."""
    if entry.is_file(follow_symlinks=False) and Path(entry.name).suffix.lower() in ENDINGS:
        return True
    passed_over["files of other kinds passed over"] += 1
    return False


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(printable, names[:SHOWN])) + more


def inspect(path: Path) -> tuple[Header, bool]:
    """The header of a picture, and whether it is held out."""
    content = content_of(path)
    return header_of(path, content), is_for_test(content)


def each(work: Callable[[T], R], pieces: Sequence[T], name: str, progress: OnProgress | None) -> list[R]:
    """What `work` makes of each, on as many threads as torch may use.

    Raises:
        InputError: some were refused; the first ones are named.
    """

    def attempt(piece: T) -> R | Refused:
        try:
            return work(piece)
        except InputError as error:
            return Refused(str(error))

    found: list[R] = []
    refused: list[Refused] = []
    with quietly():
        for start in range(0, len(pieces), CHUNK):
            for result in by_piece(attempt, pieces[start : start + CHUNK]):
                if isinstance(result, Refused):
                    refused.append(result)
                else:
                    found.append(result)
            if progress is not None:
                progress(min(start + CHUNK, len(pieces)), len(pieces))
    if refused:
        raise InputError(f"{cannot_be_used(refused, len(pieces), name)}; mend them, or move them away")
    return found


class Refused(str):
    """Why a file cannot be used."""


def cannot_be_used(refused: Sequence[str], total: int, name: str) -> str:
    """How many of the files of a set are refused, and why the first of them are."""
    more = f"; and {len(refused) - SHOWN:,} more" if len(refused) > SHOWN else ""
    return f"{len(refused):,} of {total:,} files of {name} cannot be used: {'; '.join(refused[:SHOWN])}{more}"
