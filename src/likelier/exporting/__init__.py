"""A trained run in the formats of others: a model card, ONNX networks, safetensors weights, TensorBoard events.

Whatever an export consists of is made and checked first, and then put in its place, whole or not at all.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from likelier.errors import InputError, unknown
from likelier.experiment import load
from likelier.exporting.card import MODEL_FILE, card_of
from likelier.exporting.events import EVENTS, events_of
from likelier.exporting.networks import NETWORKS, networks_of
from likelier.files import write_atomically
from likelier.run import Run, make_folder
from likelier.weights import weights_in_a_file

OnStage = Callable[[str], None]
FORMATS = {
    "card": ("README.md", "samples.png", MODEL_FILE),
    "onnx": tuple(f"{name}.onnx" for name in NETWORKS),
    "safetensors": (),
    "tensorboard": (EVENTS,),
}
"""By format, the files of the folder that it may consist of; none for a single file."""
EXTRAS = {"onnx": "export", "tensorboard": "log"}


@dataclass(frozen=True)
class Exported:
    """What was written: a folder with some files, or one file, and what there is to say of it."""

    path: Path
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export(
    run: str | Path | Run,
    format: str,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    family: str | None = None,
    on_stage: OnStage = lambda stage: None,
) -> Exported:
    """Write a trained run in a format that other programs read.

    Args:
        run: the run directory, finished or not; what is taken is its last checkpoint.
        format: `card`, a folder with a model card for Hugging Face, samples and weights; `onnx`, a folder with a
            network for each thing that the family can do, checked against PyTorch; `safetensors`, one file with the
            weights, for `likelier.load`; `tensorboard`, a folder with the log and the pictures as events.
        out: the folder, or the file, to make; by default the name of the run with the format, in this folder.
        overwrite: whether a former export may be replaced.
        family: the dotted path of a family that is not likelier's own, as in `likelier.load`.
        on_stage: called with a word on what is being done.

    Raises:
        InputError: something in the above cannot be used, or a library is missing; nothing has been written then.

    >>> import likelier, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> run = likelier.train("gan", "digits", images=256, out=f"{folder}/gan")
    >>> likelier.export(run, "safetensors", f"{folder}/gan.safetensors").path.name
    'gan.safetensors'
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "`likelier export --help` tells what each is")
    run = run if isinstance(run, Run) else Run.open(run)
    own_name = run.path.resolve().name
    usual = f"{own_name}.safetensors" if format == "safetensors" else f"{own_name}-{format}"
    place = Path(usual if out is None else out)
    check_place(place, FORMATS[format], overwrite)
    files, notes = contents(run, format, family, on_stage)
    if FORMATS[format]:
        put_folder(place, files)
    else:
        (content,) = files.values()
        write_atomically(place, content)
    return Exported(place, tuple(files), tuple(notes))


def contents(run: Run, format: str, family: str | None, on_stage: OnStage) -> tuple[Mapping[str, bytes], list[str]]:
    """The files of an export by name, and what there is to say of it."""
    if format == "tensorboard":
        return {EVENTS: events_of(run)}, []
    model = load(run, family)
    if format == "onnx":
        found = networks_of(model, run, on_stage)
        return {f"{each.name}.onnx": each.content for each in found}, [each.words for each in found]
    weights = weights_in_a_file(model, run.config, run.environment["data_digest"])
    return {**(card_of(run, model) if format == "card" else {}), MODEL_FILE: weights}, []


def check_place(place: Path, names: tuple[str, ...], overwrite: bool) -> None:
    """InputError, before anything is computed, unless the export can be put there."""
    if not names and place.suffix != ".safetensors":
        raise InputError(f"--out {place}: wanted the name of a file that ends in .safetensors")
    if place.exists() or place.is_symlink():
        if not names and not place.is_file():
            raise InputError(f"{place} is no file: wanted the name of one that ends in .safetensors")
        if names and (strange := strange_in(place, names)):
            raise InputError(f"{place} holds {strange}, which is no part of such an export: choose another --out")
        if not overwrite:
            raise InputError(f"{place} is there already: choose another --out, or replace it with --overwrite")
    parent = next(folder for folder in place.absolute().parents if folder.exists())
    if not names and not place.parent.is_dir():
        raise InputError(f"--out {place}: there is no folder {place.parent}; make it first")
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise InputError(f"--out {place} cannot be written: {error.strerror}; choose another place") from None


def strange_in(place: Path, names: tuple[str, ...]) -> str | None:
    """What is at this place that no export wrote; None if only such files are."""
    if place.is_symlink() or not place.is_dir():
        return "no folder, but something else"
    return next((each.name for each in place.iterdir() if each.name not in names or not each.is_file()), None)


def put_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """A folder with these files, whole or not there; a former one gives way when the new one is whole."""

    def fill(folder: Path) -> None:
        for name, content in files.items():
            write_atomically(folder / name, content)

    if not place.exists():
        make_folder(place, {}, fill)
        return
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as beside:
        new, former = Path(beside) / "new", Path(beside) / "former"
        make_folder(new, {}, fill)
        place.rename(former)
        try:
            new.rename(place)
        except BaseException:
            former.rename(place)
            raise
