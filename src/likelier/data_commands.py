"""What `likelier data` does: one function for each action, and the list where none is given."""

from collections.abc import Callable
from pathlib import Path

from likelier import data as sources
from likelier.commands import Given, print_json
from likelier.errors import InputError
from likelier.images import Images


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
    found = description(sources.load(given["data"], given.get("data_root")))
    if given.get("json"):
        print_json(found)
        return
    classes = found["classes"]
    shown = classes if len(classes) <= 20 else [*classes[:3], "…", classes[-1]]
    found |= {"shape": "×".join(map(str, found["shape"])), "classes": f"{len(classes)}: {', '.join(shown)}"}
    print("\n".join(f"{key:8} {value}" for key, value in found.items()))


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
    "fetch": fetch,
    "check": check,
}
