"""A run folder as one frozen value; whatever is missing or broken in it becomes a note instead of an exception."""

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from likelier.errors import InputError
from likelier.files import opened, read_json, read_whole
from likelier.report.atlas_file import Atlas, read_atlas

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
Status = Literal["finished", "diverged", "unfinished"]
Line = Mapping[str, float]
T = TypeVar("T")

_BROKEN = (
    InputError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    EOFError,
    SyntaxError,  # Pillow's word for a broken PNG
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
"""What numpy, Pillow and json raise on files that are not what their name says."""


_COLLAPSES = ("posterior collapse", "mode collapse")
"""How the warnings begin that say that there is nothing to be had from a model."""


@dataclass(frozen=True)
class Measure:
    """One number of `measures.json`; `value` is None where the measure does not apply, and `why_not` says why."""

    key: str
    name: str
    label: str
    value: float | None
    unit: str
    better: str
    floor: Mapping[str, float]
    why_not: str
    noise: float | None = None
    elsewhere: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A picture taken during training, when `images` images had been seen."""

    images: int
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Run:
    """What one training left behind."""

    path: Path
    family: str
    data: str
    seed: int
    budget: int
    minutes: float | None
    settings: Mapping[str, Any]
    shape: tuple[int, int, int] | None
    """Channels, height and width of an image, where the run says so."""
    environment: Mapping[str, Any]
    training: tuple[Line, ...]
    evaluations: tuple[Line, ...]
    timing: tuple[Line, ...]
    samples: tuple[Frame, ...]
    reconstructions: tuple[Frame, ...]
    status: Status
    message: str
    images: int | None
    seconds: float | None
    parameters: int | None
    conditions: Mapping[str, Any]
    measures: Mapping[str, Measure]
    measured: bool
    warnings: tuple[str, ...]
    looks: Mapping[str, float]
    figures: Mapping[str, Array]
    atlas: Atlas | None
    notes: tuple[str, ...]

    @property
    def trouble(self) -> str:
        """What became of a training that went wrong, in a word; nothing of any other."""
        if self.status == "diverged":
            return "diverged"
        collapsed = any(text.lower().startswith(_COLLAPSES) for text in self.warnings)
        return "collapsed" if collapsed else "failed" if self.status == "unfinished" and self.message else ""

    @property
    def players(self) -> list[str]:
        """The players whose losses were logged, in the order of the log."""
        names = dict.fromkeys(key for line in self.training for key in line if key.startswith("loss."))
        return [name.removeprefix("loss.") for name in names]


def clean(value: Any) -> Any:
    """Replace what cannot be printed in every string of a JSON value.

    A control character would make an SVG unreadable, a lone surrogate the page unwritable.

    >>> clean({"name": "a\\x00b"})
    {'name': 'a�b'}
    """
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def read_run(path: Path) -> Run:
    """Read a run folder; InputError if it is none, a note in the run for every other file that cannot be used."""
    config = _config(path)
    notes: list[str] = []
    begun = _has_just_begun(path)
    lines: tuple[Line, ...] = _optional(path / "metrics.jsonl", _lines, (), notes, absent_is_fine=begun)
    timing: tuple[Line, ...] = _optional(path / "timing.jsonl", _lines, (), notes, absent_is_fine=begun)
    done: dict[str, Any] = _optional(path / "done", _object, {}, notes, absent_is_fine=True)
    failed: dict[str, Any] = _optional(path / "failed.json", _object, {}, notes, absent_is_fine=True)
    measured = _optional(path / "measures.json", _measures, None, notes, absent_is_fine=True)
    notes += _optional(path / "drift.json", _drift, [], notes, absent_is_fine=True)
    training = tuple(line for line in lines if not line.get("evaluation"))
    return Run(
        path=path,
        family=config["family"],
        data=config["data"],
        seed=config["seed"],
        budget=config["images"],
        minutes=_number(config.get("minutes")),
        settings=config["settings"] | _beside_settings(config),
        shape=_shape(config.get("shape")),
        environment=_optional(path / "environment.json", _object, {}, notes),
        training=training,
        evaluations=tuple(line for line in lines if line.get("evaluation")),
        timing=timing,
        samples=_optional(path / "samples", _frames, (), notes, absent_is_fine=begun),
        reconstructions=_optional(path / "reconstructions", _frames, (), notes, absent_is_fine=True),
        status=_status(done),
        message=str(done.get("message") or failed.get("message") or ""),
        images=_whole(done.get("images", lines[-1]["images"] if lines else None)),
        seconds=_number(done.get("seconds", timing[-1].get("seconds") if timing else None)),
        parameters=_whole(done.get("parameters")),
        conditions=measured.conditions if measured else {},
        measures=measured.measures if measured else {},
        measured=measured is not None,
        warnings=measured.warnings if measured else (),
        looks=measured.looks if measured else {},
        figures=_optional(path / "figures.npz", _arrays, {}, notes, absent_is_fine=measured is None),
        atlas=_optional(path / "atlas.npz", read_atlas, None, notes, absent_is_fine=True),
        notes=tuple(notes),
    )


def _config(path: Path) -> dict[str, Any]:
    """The configuration, checked: without it a folder is no run."""
    if not (path / "config.json").is_file():
        raise InputError(_no_run(path))
    config = clean(read_json(path / "config.json"))
    wanted = {"family": str, "data": str, "seed": int, "images": int, "settings": dict}
    if not isinstance(config, dict):
        raise InputError(f"{path / 'config.json'} holds a {type(config).__name__}: wanted an object; train it again")
    if config.get("format") != 1:
        raise InputError(
            f"{path} is a run of format {config.get('format')!r}: this version reads format 1; "
            "report on it with the version that trained it"
        )
    for key, kind in wanted.items():
        if not isinstance(config.get(key), kind):
            raise InputError(
                f"{path / 'config.json'} has {key} = {config.get(key)!r}: wanted a value of type {kind.__name__}; "
                "train it again"
            )
    return config


def _has_just_begun(path: Path) -> bool:
    """Whether the training may be so young that it has nothing to show, of which nothing can be missing."""
    return (path / "environment.json").exists() and not any(
        (path / name).exists() for name in ("done", "measures.json", "failed.json")
    )


def _beside_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """What tells runs apart as settings of the family do: augmentation, arithmetic, and the weights begun with."""
    kinds, parent = config.get("augment"), config.get("parent")
    augment = {"augment": ", ".join(map(str, kinds))} if isinstance(kinds, list) and kinds else {}
    mixed = {"mixed precision": "on"} if config.get("mixed_precision") is True else {}
    return augment | mixed | ({"init": Path(str(parent.get("path"))).name} if isinstance(parent, dict) else {})


def _shape(value: Any) -> tuple[int, int, int] | None:
    """Three counts above 0, or None."""
    counts = [_whole(each) for each in value] if isinstance(value, list) and len(value) == 3 else []
    channels, height, width = counts if all(counts) and counts else (None, None, None)
    return (channels, height, width) if channels and height and width else None


def _no_run(path: Path) -> str:
    """Why `path` is no run, and what to pass instead."""
    if not path.exists():
        return f"{path} does not exist: wanted a run folder; `likelier train` writes one"
    if not path.is_dir():
        return f"{path} is a file: wanted a run folder, which holds a config.json; `likelier train` writes one"
    if any(path.glob("*/config.json")):
        return f"{path} is a folder of runs, no run itself: wanted run folders; pass {path}/*"
    return f"{path} is no run, it holds no config.json: wanted a folder that `likelier train` wrote"


def _optional(
    path: Path, read: Callable[[Path, list[str]], T], default: T, notes: list[str], *, absent_is_fine: bool = False
) -> T:
    """`read(path)`, or `default` and a note; a file's absence may be normal and then needs no note."""
    if not path.exists():
        if not absent_is_fine:
            notes.append(f"{path.name} is missing")
        return default
    try:
        return read(path, notes)
    except _BROKEN as error:
        reason = str(clean(str(error))).replace(str(path), path.name)
        notes.append(f"{path.name} cannot be used ({reason or type(error).__name__})")
        return default


def _object(path: Path, notes: list[str]) -> dict[str, Any]:
    """A file that holds one JSON object."""
    value = clean(read_json(path))
    if not isinstance(value, dict):
        raise InputError(f"it holds a {type(value).__name__}, not an object")
    return value


def _drift(path: Path, notes: list[str]) -> list[str]:
    """A note for each time that the run went on by request though something had changed."""
    return [
        f"not bit for bit what its command gives: from {int(each['images']):,} images on, "
        f"{', '.join(str(change) for change in each['changed'])}"
        for each in clean(read_json(path))
    ]


def _lines(path: Path, notes: list[str]) -> tuple[dict[str, float], ...]:
    """The lines of a log as numbers; a last line that training is still writing is left out without a word."""
    found: list[dict[str, float]] = []
    bad = 0
    text = read_whole(path).decode(errors="replace")
    complete = text[: text.rfind("\n") + 1]
    for line in complete.splitlines():
        values = _log_line(line)
        if values is None:
            bad += 1
        else:
            found.append(values)
    if bad:
        notes.append(f"{path.name}: {bad} of {bad + len(found)} lines cannot be read and are left out")
    return tuple(found)


def _log_line(line: str) -> dict[str, float] | None:
    """One line of a log; null stands for a number that was not finite."""
    try:
        values = clean(json.loads(line))
        if not isinstance(values, dict) or _whole(values.get("images")) is None:
            return None
        return {key: math.nan if value is None else float(value) for key, value in values.items()}
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _status(done: Mapping[str, Any]) -> Status:
    """How the training ended; without a `done` file it has not."""
    status = done.get("status")
    return status if status in ("finished", "diverged") else "unfinished"


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    """A count, or None."""
    number = _number(value)
    return int(number) if number is not None and number >= 0 else None


OLDER = "measured by an older version: `likelier measure` takes them again"
"""The note on measures whose names mean something else by now."""


@dataclass(frozen=True)
class _Measured:
    """The content of `measures.json`."""

    conditions: Mapping[str, Any]
    measures: Mapping[str, Measure]
    looks: Mapping[str, float]
    warnings: tuple[str, ...]


def _measures(path: Path, notes: list[str]) -> _Measured | None:
    """The measures by key, in the order of the file."""
    content = _object(path, notes)
    if content.get("format") == 1 and "measures" in content:
        notes.append(OLDER)
        return None
    if content.get("format") != 2:
        raise InputError(f"its format is {content.get('format')!r}, wanted 2; `likelier measure` takes them again")
    if "only" in content:
        raise InputError("it holds some of the measures only; `likelier measure`, without --only, takes all")
    measures = [_measure(item) for item in content["measures"]]
    return _Measured(
        conditions=dict(content.get("conditions") or {}),
        measures={measure.key: measure for measure in measures},
        looks=_numbers(content.get("looks")),
        warnings=tuple(str(warning) for warning in content.get("warnings") or ()),
    )


def _measure(item: Mapping[str, Any]) -> Measure:
    """One measure; a value that is not finite is none."""
    value, key = item.get("value"), str(item["key"])
    number = _number(value)
    return Measure(
        key=key,
        name=str(item.get("name") or key),
        label=str(item.get("label") or key),
        value=number,
        unit=str(item.get("unit") or ""),
        better=str(item.get("better") or ""),
        floor=_numbers(item.get("floor")),
        why_not=str(item.get("why_not") or ("no reason was recorded" if value is None else f"it came out as {value}")),
        noise=_number(item.get("noise")),
        elsewhere=_numbers(item.get("elsewhere")),
    )


def _numbers(value: Any) -> dict[str, float]:
    """The finite numbers of a JSON object, by name."""
    return {str(k): n for k, v in (value or {}).items() if (n := _number(v)) is not None}


def _frames(path: Path, notes: list[str]) -> tuple[Frame, ...]:
    """The pictures of a folder, ordered by the images seen that their names give."""
    frames = []
    for file in sorted(path.glob("*.png")):
        try:
            with opened(file) as content, Image.open(content) as picture:
                mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
                frames.append(Frame(int(file.stem), np.asarray(picture.convert(mode))))
        except _BROKEN:
            notes.append(f"{path.name}/{file.name} cannot be used and is left out")
    return tuple(sorted(frames, key=lambda frame: frame.images))


_ARRAYS = {
    "real": ("u", 4),
    "shared_noise_samples": ("u", 4),
    "nearest_samples": ("u", 4),
    "nearest_training": ("u", 4),
    "codes": ("f", 2),
    "code_labels": ("iu", 1),
    "codes_pca": ("f", 2),
    "codes_pca_explained": ("f", 1),
    "untrained_pca": ("f", 2),
    "untrained_pca_explained": ("f", 1),
    "pixels_pca": ("f", 2),
    "pixels_pca_explained": ("f", 1),
    "class_names": ("U", 1),
    "class_counts_fake": ("iu", 1),
    "class_counts_real": ("iu", 1),
    "neighbour_samples": ("u", 4),
    "neighbour_features": ("u", 5),
    "neighbour_pixels": ("u", 5),
    "neighbour_features_index": ("iu", 2),
    "neighbour_pixels_index": ("iu", 2),
    "traversal_images": ("u", 5),
    "traversal_start": ("u", 4),
    "traversal_steps": ("f", 1),
    "traversal_kind": ("U", 1),
    "traversal_units": ("iu", 1),
    "traversal_weight": ("f", 1),
    "manifold": ("u", 5),
    "path_noise": ("u", 6),
    "path_noise_lengths": ("f", 3),
    "path_codes": ("u", 6),
    "path_codes_lengths": ("f", 3),
    "path_codes_ends": ("u", 5),
    "path_free": ("iu", 1),
    "confusion": ("iu", 2),
    "confusion_real": ("iu", 2),
    "confusion_kind": ("U", 1),
    "figures_missing": ("U", 2),
}
"""The arrays of `figures.npz`: kinds of dtype, and dimensions."""


def _arrays(path: Path, notes: list[str]) -> dict[str, Array]:
    """The arrays of `figures.npz` that are what they should be."""
    arrays: dict[str, Array] = {}
    with opened(path) as content, np.load(content, allow_pickle=False) as archive:
        for name in archive.files:
            if name not in _ARRAYS:
                continue
            array, (kinds, dimensions) = archive[name], _ARRAYS[name]
            if array.dtype.kind in kinds and array.ndim == dimensions and array.size > 0:
                arrays[name] = array
            else:
                notes.append(f"{path.name}: {name} is {array.dtype} of shape {array.shape} and is left out")
    for name in (name for name in ("class_names", "figures_missing") if name in arrays):
        arrays[name] = np.array(clean(arrays[name].tolist()))
    return arrays
