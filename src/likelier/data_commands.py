"""What `likelier data` does: one function for each action, and the list where none is given."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from likelier import data as sources
from likelier.commands import SHAPE, Given, chosen, images_asked_for, output_file, print_json, print_path
from likelier.data import Found, packed
from likelier.data.catalogue import REMOTES
from likelier.data.places import Place, cached, copies
from likelier.errors import InputError
from likelier.fetching import Listener, OnProgress, Remote
from likelier.fetching import fetch as fetch_file
from likelier.files import write_atomically
from likelier.images import Images
from likelier.looking import contact_sheet, shown_of, statistics, written_as_numbers
from likelier.packing import pack as pack_images
from likelier.progress import Terminal, table
from likelier.stopping import saying

GOES_ON = "the same command goes on where it stopped"

OWN_IMAGES = """Your own images work everywhere, given by their path (--data PATH): a folder of pictures, an .npz or
.npy, a folder with the four IDX files of the MNIST family, or a pack, which `likelier data pack PATH` makes."""


def list_sets(given: Given) -> None:
    """`likelier data`: what is here, and why what is not is not."""
    root = given.get("data_root")
    sources.existing(root, "mnist")
    listed = {name: whether_here(name, root) for name in sorted(sources.sources())}
    if given.get("json"):
        print_json(listed)
    else:
        print("\n".join(f"{name:14} {in_words(state)}" for name, state in listed.items()))
        print(f"\n{OWN_IMAGES}")


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
    found = statistics(images)
    write_atomically(out, contact_sheet(images, found, given.get("seed", 0)))
    numbers = written_as_numbers(images)
    if given.get("json"):
        print_json(found | {"file": str(out), "written_as_numbers": numbers})
        return
    print_statistics(found)
    if numbers:
        print("on the sheet, names that no font here can write are numbers:")
        print("\n".join(f"  class {label} is {images.classes[label]}" for label in numbers))
    print_path("written", out, given)


def print_statistics(found: Given) -> None:
    """A row for each class, then what holds of all."""
    classes = found["classes"]
    shown = [classes[label] for label in shown_of(len(classes))]
    table(found["name"], ["class", "train", "test"], [[c["name"], f"{c['train']:,}", f"{c['test']:,}"] for c in shown])
    if len(shown) < len(classes):
        counts = [(min(each), max(each)) for each in ([c[part] for c in classes] for part in ("train", "test"))]
        of_each = " and ".join(f"{low:,} to {high:,}" for low, high in counts)
        print(f"classes      {len(classes):,} with {of_each} images; above are some of them, --json has all")
    print(f"shape        {'×'.join(map(str, found['shape']))}")
    channels = ("grey",) if len(found["mean"]) == 1 else ("red", "green", "blue")
    for name, mean, deviation in zip(channels, found["mean"], found["std"], strict=True):
        print(f"{name:12} mean {mean:.4f}, standard deviation {deviation:.4f}")
    twice = found["duplicates"]
    print(f"exact copies {twice['within_train']:,} of {found['train']:,} training images equal one that came before")
    print(f"             {twice['test_in_train']:,} of {found['test']:,} test images equal a training image")


def pack(given: Given) -> None:
    """`likelier data pack NAME|PATH`."""
    name = Path(given["data"]).name
    with Terminal(given.get("quiet", False)) as audience, saying(GOES_ON):
        folder = pack_images(
            given["data"],
            **chosen(given, ("out", "data_root", "jobs", *SHAPE)),
            reading=counted(audience, f"reading {name}", "files"),
            progress=counted(audience, f"packing {name}", "images"),
        )
    found = description(sources.load(folder)) | {"path": str(folder.resolve()), "whose": "a pack", "verified": True}
    if given.get("json"):
        print_json(found)
    else:
        print(in_words(found))


def counted(audience: Terminal, what: str, unit: str) -> OnProgress:
    """The progress of something that is announced when it begins: at the first word on it."""

    def tell(done: int, total: int) -> None:
        if tell not in announced:
            announced.append(tell)
            audience.counting(what, unit)
        audience.progress(done, total, {})

    announced: list[OnProgress] = []
    return tell


def fetch(given: Given) -> None:
    """`likelier data fetch NAME`: what is here already is left as it is."""
    asked, root = given["data"], given.get("data_root")
    name = sources.stored_as(asked)
    sources.existing(root, name)
    if not sources.source(name).ON_DISK:
        raise InputError(f"{name} comes with the package: there is nothing to fetch")
    if name not in REMOTES:
        raise InputError(f"no address of {name} is known: put its files into a folder {name}/ of the data root by hand")
    folder = Path(root).resolve() / name if root else cached(name)
    with Terminal(given.get("quiet", False)) as audience:
        if is_published(name, folder) if root else whether_here(name, None).get("verified"):
            audience.note(f"{name} is here already: nothing was fetched")
            found = sources.find(name, root)
        else:
            fetch_files(REMOTES[name], folder, audience)
            found = found_after_fetching(name, root, folder, audience)
        if asked != name:
            audience.note(f"{asked} is made from {name}, and has no files of its own")
            found = sources.find(asked, root)
    if given.get("json"):
        print_json(description(found.images) | place_of(found))
    else:
        print(in_words(description(found.images) | place_of(found)))


def is_published(name: str, folder: Path) -> bool:
    """Whether the copy of a set in a folder is known to be the published one."""
    module = sources.source(name)
    try:
        verified: bool = module.is_here(name, folder) and module.load(name, folder)[1]
    except InputError:
        return False
    return verified


def found_after_fetching(name: str, root: str | None, folder: Path, audience: Terminal) -> Found:
    """What every command takes now; told if that is an older copy, and InputError if it is one that is broken."""
    first = next(copies(name, sources.existing(root, name))).path
    older = f"{name} is fetched into {folder}, but {'an older copy in it' if first == folder else first} comes first"
    try:
        found = sources.find(name, root)
    except InputError:
        command = f"likelier data check {name}" + (f" --data-root {root}" if root else "")
        raise InputError(f"{older} and is broken: move it away; `{command}` says what is wrong with it") from None
    if not found.verified:
        audience.note(f"{older}: move it away, or name what you want by its path")
    return found


def fetch_files(remotes: Sequence[Remote], folder: Path, audience: Terminal) -> None:
    """The files of a set, one after the other, their bytes counted on the terminal."""
    for remote in remotes:
        listener = Listener(
            on_ask=partial(announce, remote, audience),
            on_retry=audience.note,
            on_progress=in_kilobytes(audience),
            on_wait=partial(audience.note, f"another process is fetching {remote.name}: waiting for it"),
        )
        with saying(GOES_ON):
            fetch_file(remote, folder, listener=listener)


def announce(remote: Remote, audience: Terminal, host: str) -> None:
    """Say who is asked, as the answer may take its time, and count what comes."""
    audience.stage(f"fetching {remote.name} from {host}")
    audience.counting(f"fetching {remote.name}", "kB")


def in_kilobytes(audience: Terminal) -> OnProgress:
    """Progress in bytes, told in thousands of them."""
    return lambda seen, total: audience.progress(seen // 1000, -(-total // 1000), {})


def check(given: Given) -> None:
    """`likelier data check [NAME|PACK]`: every copy that is here, used or not; exit code 2 if one is bad."""
    names = [given["data"]] if "data" in given else sorted(sources.sources())
    root = sources.existing(given.get("data_root"), "mnist")
    checked = [checked_copy(name, place) for name in names for place in present(name, root)]
    if "data" in given and not checked:
        raise nothing_to_check(given["data"], root)
    if given.get("json"):
        print_json(checked)
    else:
        lines = [f"{copy['name']:14} {copy['path']}: {copy['state']}" for copy in checked]
        print("\n".join(lines or ["none of the sets is here: `likelier data fetch NAME` fetches one"]))
    if bad := [copy for copy in checked if not copy["usable"]]:
        raise InputError(f"{len(bad)} of {len(checked)} copies cannot be used: {bad[0]['state']}")


def present(name: str, root: Path | None) -> Iterator[Place]:
    """The copies of a set that is looked for on the disk; of the path of a pack, that pack."""
    if name not in sources.sources() and packed.recognises(Path(name)):
        return iter([Place(Path(name), "a pack", lambda _, path: (packed.check(path), True))])
    return copies(name, root) if name in sources.sources() and sources.source(name).ON_DISK else iter(())


def nothing_to_check(name: str, root: Path | None) -> InputError:
    """Why there is no copy of what was named, and what to do."""
    if name not in sources.sources() and Path(name).exists():
        return InputError(
            f"{name} has no sum to be checked against: wanted a named set, or a pack, which has one of its own; "
            f"`likelier data {name}` reads all of it, `likelier data pack {name}` makes a pack of it"
        )
    try:
        sources.find(name, root)
    except InputError as error:
        return error
    return InputError(f"{name} comes with the package: there is nothing to check")


def checked_copy(name: str, place: Place) -> Given:
    """One copy, read to its end."""
    try:
        _, verified = place.read(name, place.path)
        usable, state = True, "verified" if verified else sources.UNVERIFIED
    except InputError as error:
        usable, state = False, str(error)
    return {"name": name, "path": str(place.path), "whose": place.whose, "usable": usable, "state": state}


def whether_here(name: str, root: str | None) -> Given:
    """What a named set is, and where, or why it is not here."""
    try:
        found = sources.find(name, root)
    except InputError as error:
        return {"name": name, "not_here": str(error)}
    return description(found.images) | place_of(found)


def place_of(found: Found) -> Given:
    """Where a set is."""
    path = None if found.path is None else str(found.path)
    return {"path": path, "whose": found.whose, "verified": found.verified}


def in_words(found: Given) -> str:
    """One line on a set of the list."""
    if "not_here" in found:
        return f"not here: {found['not_here']}"
    size, classes = "×".join(map(str, found["shape"])), len(found["classes"])
    words = (
        f"{found['train']:,} + {found['test']:,} images of {size}, {classes:,} classes, digest {found['digest'][:12]}…"
    )
    where = f"{found['whose']} ({found['path']})" if found["path"] else found["whose"]
    return f"{words}, in {where}{'' if found['verified'] else '; ' + sources.UNVERIFIED}"


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
