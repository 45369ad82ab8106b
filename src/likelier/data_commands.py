"""What `likelier data` does: one function for each action, and the list where none is given."""

from collections.abc import Callable
from pathlib import Path

from likelier import data as sources
from likelier.commands import SHAPE, Given, chosen, images_asked_for, output_file, print_json, print_path
from likelier.errors import InputError
from likelier.files import write_atomically
from likelier.images import Images
from likelier.looking import contact_sheet, statistics
from likelier.packing import pack as pack_images
from likelier.progress import Terminal, table


def list_sets(given: Given) -> None:
    """`likelier data`: what is here, and why what is not is not."""
    root = given.get("data_root")
    if root is not None and not Path(root).is_dir():
        raise InputError(f"--data-root {root} is no folder: wanted the one that holds mnist/ or fashion-mnist/")
    listed = {name: whether_here(name, root) for name in sorted(sources.sources())}
    if given.get("json"):
        print_json(listed)
    else:
        print("\n".join(f"{name:14} {in_words(state)}" for name, state in listed.items()))
        print("\nA folder with the four IDX files of the MNIST family is given by its path.")


def describe(given: Given) -> None:
    """`likelier data NAME|PATH`."""
    with Terminal(given.get("quiet", False)) as audience:
        found = description(images_asked_for(given, audience))
    if given.get("json"):
        print_json(found)
        return
    classes = found["classes"]
    shown = classes if len(classes) <= 20 else [*classes[:3], "…", classes[-1]]
    found |= {"shape": "×".join(map(str, found["shape"])), "classes": f"{len(classes)}: {', '.join(shown)}"}
    print("\n".join(f"{key:8} {value}" for key, value in found.items()))


def show(given: Given) -> None:
    """`likelier data show NAME|PATH`: the figures, and a contact sheet."""
    out = output_file(given.get("out", "contact-sheet.png"), (".png",))
    with Terminal(given.get("quiet", False)) as audience:
        images = images_asked_for(given, audience)
    write_atomically(out, contact_sheet(images, given.get("seed", 0)))
    found = statistics(images)
    if given.get("json"):
        print_json(found | {"file": str(out)})
        return
    print_statistics(found)
    print_path("written", out, given)


def print_statistics(found: Given) -> None:
    """A row for each class, then what holds of all."""
    rows = [[c["name"], f"{c['train']:,}", f"{c['test']:,}"] for c in found["classes"]]
    table(found["name"], ["class", "train", "test"], rows)
    print(f"shape        {'×'.join(map(str, found['shape']))}")
    channels = ("grey",) if len(found["mean"]) == 1 else ("red", "green", "blue")
    for name, mean, deviation in zip(channels, found["mean"], found["std"], strict=True):
        print(f"{name:12} mean {mean:.4f}, standard deviation {deviation:.4f}")
    twice = found["duplicates"]
    print(f"duplicates   {twice['within_train']:,} of {found['train']:,} training images have the bytes of another one")
    print(f"             {twice['test_in_train']:,} of {found['test']:,} test images are training images, too")


def pack(given: Given) -> None:
    """`likelier data pack NAME|PATH`."""
    with Terminal(given.get("quiet", False)) as audience:
        audience.counting(f"packing {Path(given['data']).name}", "images")
        folder = pack_images(
            given["data"],
            **chosen(given, ("out", "data_root", "jobs", *SHAPE)),
            progress=lambda done, total: audience.progress(done, total, {}),
        )
    found = description(sources.load(folder))
    if given.get("json"):
        print_json(found | {"folder": str(folder)})
    else:
        print(in_words(found))
        print_path("packed", folder, given)


def fetch(given: Given) -> None:
    """`likelier data fetch NAME`."""
    raise NotImplementedError


def check(given: Given) -> None:
    """`likelier data check [NAME]`."""
    raise NotImplementedError


def whether_here(name: str, root: str | None) -> Given:
    """What a named set is, or why it is not here."""
    try:
        return description(sources.load(name, root))
    except InputError as error:
        return {"name": name, "not_here": str(error)}


def in_words(found: Given) -> str:
    """One line on a set of the list."""
    if "not_here" in found:
        return f"not here: {found['not_here']}"
    size, classes = "×".join(map(str, found["shape"])), len(found["classes"])
    return f"{found['train']:,} + {found['test']:,} images of {size}, {classes} classes, digest {found['digest'][:12]}…"


def description(images: Images) -> Given:
    """An image set in figures."""
    return {
        "name": images.name,
        "shape": list(images.shape),
        "train": len(images.train),
        "test": len(images.test),
        "classes": list(images.classes),
        "digest": images.digest,
    }


ACTIONS: dict[str | None, Callable[[Given], None]] = {
    None: list_sets,
    "describe": describe,
    "show": show,
    "pack": pack,
    "fetch": fetch,
    "check": check,
}
