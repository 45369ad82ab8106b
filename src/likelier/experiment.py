"""One experiment, from what is asked to a run directory: `train`, `resume`, `load`."""

import operator
import platform
import subprocess
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from likelier import data as sources
from likelier.arithmetic import check_mixed_precision, has_bfloat16
from likelier.augmentation import check_augmentations
from likelier.errors import InputError
from likelier.family import Family, build, configure, find, settings_of
from likelier.features import Extractor, at_hand, check_usable, extractor
from likelier.images import Images
from likelier.loop import LOOKS, Game, OnProgress, images_per_second, load_weights, resolve_device, turns_of
from likelier.parent import Parent, images_before
from likelier.rehearsal import rehearse
from likelier.run import MOST_LOOKS, Run, State
from likelier.stopping import check, patiently, saying
from likelier.threads import so_many
from likelier.watch import Watch
from likelier.weights import built_again, read_weights

CHECKPOINT_SECONDS = 60.0
LEAST_IMAGES = 300_000
EPOCHS = 5
MOST = {"epochs": 1e6, "images": 1e12, "minutes": 1e6}
"""More is a slip of the finger, and less than what an int64 counts."""


@dataclass(frozen=True)
class Budget:
    """How long to train: in images, said in one of three ways, or left to the default.

    Minutes are turned into images by a short discarded warm-up, so that a run can be replayed exactly.
    """

    epochs: float | None = None
    images: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} are given: wanted one of epochs, images and minutes")
        for name, value in given.items():
            if not 0 < value <= MOST[name]:
                raise InputError(f"{name} = {value:g}: wanted a number greater than 0, and at most {MOST[name]:,.0f}")

    def in_images(self, images: Images, game: Game) -> int:
        """The budget in images; minutes are measured with a game that is thrown away."""
        if self.minutes is None:
            return self.without_a_clock(images)
        seconds = 60 * self.minutes
        warm_up = min(0.1 * seconds, max(3.0, seconds / 30), 10.0)
        return max(1, round(seconds * images_per_second(game, warm_up)))

    def without_a_clock(self, images: Images) -> int:
        """The budget in images, unless it was said in minutes."""
        if self.images is not None:
            return self.images
        n = len(images.train)
        return max(EPOCHS * n, LEAST_IMAGES) if self.epochs is None else max(1, round(self.epochs * n))


def whole(name: str, value: Any) -> int | None:
    """A whole number as Python's own int, whatever kind of integer it came as; None stays."""
    try:
        return None if value is None else operator.index(value)
    except TypeError:
        raise InputError(f"{name} = {value!r}: wanted a whole number") from None


def train(
    family: str | None = None,
    data: Any = None,
    *,
    data_root: str | Path | None = None,
    epochs: float | None = None,
    images: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    augment: Sequence[str] = (),
    mixed_precision: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    looks: int = LOOKS,
    init: str | Path | Run | None = None,
    begin_only: bool = False,
    on_progress: OnProgress = lambda seen, total, record: None,
) -> Run:
    """Train one family on one image set, in a run directory of its own.

    Args:
        family: a name that `likelier families` lists ("vae"), or the dotted path of a module that defines one.
        data: what `likelier.load_images` takes (a name, a path, a sequence), or the images themselves ("digits").
        data_root: the folder that holds the named sets.
        epochs, images, minutes: the budget, in one of the three; by default 5 epochs and at least 300,000 images.
        seed: fixes the initial weights, the order of the images and all noise.
        out: the folder to make; by default `runs/DATA-FAMILY-seedN`.
        device: auto, cpu, cuda or mps.
        settings: of the family, by name.
        augment: what is done to training images each time they come: "shift", "flip" (see `likelier.augmentation`).
        mixed_precision: large products in bfloat16, which saves time with perceptrons (see `likelier.arithmetic`).
        checkpoint_seconds: how often, at most, the state is saved on the way.
        looks: how often the model is looked at (pictures, held-out scalars), the beginning and the end included.
        init: a run whose last good state this one begins from: weights and moving averages are taken, optimisers start
            anew. Family, settings and data are those of that run where they are not given; the weights have to fit.
        begin_only: check, rehearse and write everything down, and leave the training to `likelier.resume`.
        on_progress: called with images seen, images in all, and the last line of the log.

    Raises:
        InputError: something in the above cannot be used; nothing has been written then.

    >>> import likelier, tempfile, torch
    >>> folder = tempfile.mkdtemp()
    >>> run = likelier.train("vae", "digits", images=1024, out=f"{folder}/vae", settings={"latent": 2})
    >>> vae = likelier.load(run)
    >>> vae.sample(16, torch.Generator().manual_seed(0)).shape
    torch.Size([16, 1, 8, 8])
    """
    parent = None if init is None else Parent(init, family)
    family = parent.family if parent else family or "vae"
    cls = find(family)
    config = configure(cls, parent.settings(settings or {}) if parent else settings or {})
    budget = Budget(epochs, whole("images", images), minutes)
    seed = whole("seed", seed) or 0
    pace = checked_pace(checkpoint_seconds, looks)
    chosen = resolve_device(device)
    image_set = images_wanted(data, data_root, parent)
    if parent:
        parent.check(config, image_set.shape)
    path = Path(out) if out is not None else Path("runs") / f"{image_set.name}-{family}-seed{seed}"
    if path.exists():
        raise InputError(f"{path} is there already: choose another --out, or go on with --resume {path}")
    augmentations = check_augmentations(augment, image_set)
    if check_mixed_precision(mixed_precision) and not has_bfloat16(chosen):
        warnings.warn(f"{device_name(chosen)} has no bfloat16: mixed precision will be slower here", stacklevel=2)
    judge = extractor_at_hand(image_set)
    rehearsal = rehearse(build(cls, config, image_set, seed), image_set, seed, chosen, augmentations, mixed_precision)
    total = budget.in_images(image_set, rehearsal)
    told = {"classes": list(image_set.classes)} if rehearsal.family.classes else {}
    del rehearsal  # before the run asks for the same memory
    resolved = {
        "family": family,
        **record_of(image_set),
        "seed": seed,
        "images": total,
        "epochs": epochs,
        "minutes": minutes,
        **pace,
        "watched_in": judge.name if judge else None,
        "settings": settings_of(config),
        "augment": augmentations,
        "mixed_precision": mixed_precision,
        **told,
        **({"parent": parent.record()} if parent else {}),
    }
    state = None
    if parent:  # at once, so that the run needs its parent no more
        game = Game(build(cls, config, image_set.shape, seed), image_set, seed, total, chosen, augmentations)
        game.begin_from(parent.state, image_set)
        state = game.state()
    run = Run.create(path, resolved, environment(chosen, image_set), state)
    if not begin_only:
        go_on(run, image_set, chosen, on_progress, family)
    return run


def checked_pace(checkpoint_seconds: float, looks: int) -> dict[str, Any]:
    """How often a run is saved and looked at, for its configuration; InputError where that makes no sense."""
    if not 0 <= checkpoint_seconds < float("inf"):
        raise InputError(f"checkpoint_seconds = {checkpoint_seconds}: wanted a number of at least 0")
    if not 2 <= (count := whole("looks", looks) or 0) <= MOST_LOOKS:
        raise InputError(f"looks = {looks}: wanted 2 (the beginning and the end) to {MOST_LOOKS:,}")
    return {"checkpoint_seconds": float(checkpoint_seconds), "looks": count}


def images_wanted(data: Any, data_root: str | Path | None, parent: Parent | None) -> Images:
    """The images that are asked for; those of the parent, or the digits, if none are."""
    if parent and data is None:
        return images_of(parent.run, data_root=data_root)
    return data if isinstance(data, Images) else sources.load("digits" if data is None else data, data_root)


def record_of(images: Images) -> dict[str, Any]:
    """What a run writes down of its images, to find the same ones again."""
    return {
        "data": images.known_as,
        "data_root": images.root,
        "data_options": dict(images.options),
        "data_name": images.name,
        "shape": list(images.shape),
    }


def resume(
    run: str | Path | Run,
    data: Any = None,
    data_root: str | Path | None = None,
    family: str | None = None,
    on_progress: OnProgress = lambda seen, total, record: None,
    allow_drift: bool = False,
) -> Run:
    """Go on with an interrupted run, and end bit for bit as if it had never been interrupted.

    That holds on the same kind of machine with the same versions; threads and device are the run's own. A checkpoint
    that is damaged gives way to the one before it, with a warning.

    Args:
        run: the run directory.
        data: the images, or what `likelier.load_images` takes, if they are no longer found by the name or path that
            the run was begun with; others than those it was begun with are refused.
        data_root: the folder that holds the named sets, if it has moved.
        family: the dotted path of the run's family, if it is not likelier's own; see `load`.
        on_progress: as in `train`.
        allow_drift: go on even if settings, versions or the processor have changed since. The rest is not the same bit
            for bit then, which is said and written into the run (drift.json).

    Raises:
        InputError: no run, no whole checkpoint, data that are not those the run began with, or anything else that has
            changed.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if run.done is None:
        recorded = run.environment
        image_set = images_of(run, data, data_root)
        with so_many(max(1, recorded["threads"])):
            go_on(run, image_set, resolve_device(recorded["device"]), on_progress, family, allow_drift)
    return run


def settle_drift(run: Run, state: State | None, judge: Extractor | None, allowed: bool) -> None:
    """InputError if the rest of the run would not be what it would have been; by request it is only said and recorded.

    Whoever edits config.json, or goes on elsewhere, would otherwise have a run that no command gives again.
    """
    then, images = run.environment, state.scalars["images"] if state else 0
    bound = state.scalars.get("bound_to") if state else None
    bound = bound if isinstance(bound, dict) else run.bound_to
    here = {name: version(name) for name in ("likelier", "torch", "numpy")}
    here["device_name"] = device_name(torch.device(then["device"]))
    changed = [*changes(bound, run.bound_to), *changes({name: then.get(name) for name in here}, here)]
    if judge and judge.name != run.config.get("watched_in"):
        changed += changes({"watched_in": run.config.get("watched_in")}, {"watched_in": judge.name})
    if changed and not allowed:
        raise InputError(
            f"{run.path} would not go on bit for bit: {', '.join(changed)}; wanted all as it was when the run was "
            "begun, or --allow-drift, which is recorded in the run"
        )
    if changed:
        run.note_drift(images, changed)
        warnings.warn(f"{run.path} goes on, but not bit for bit: {', '.join(changed)}", stacklevel=2)
    if state and then.get("commit") != (now := commit()):
        warnings.warn(f"{run.path} was begun at commit {then.get('commit')}, and goes on at {now}", stacklevel=2)


def changes(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs, in words; the settings of a family one by one.

    >>> changes({"seed": 0, "settings": {"lr": 0.1}}, {"seed": 0, "settings": {"lr": 0.2}})
    ['settings.lr is 0.2 and was 0.1']
    """
    found = []
    for name in {**then, **now}:
        old, new = then.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += changes(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} is {new} and was {old}")
    return found


def go_on(
    run: Run,
    images: Images,
    device: torch.device,
    on_progress: OnProgress,
    family: str | None = None,
    allow_drift: bool = False,
) -> None:
    """Play the run's game to its end, from its checkpoint if it has one; whoever is asked to stop saves it first."""
    playing = going_on(run, images, device, on_progress, family, allow_drift)
    with saying(f"go on with --resume {run.path}"), patiently(), closing(playing) as turns:
        for _ in turns:
            check()


def going_on(
    run: Run,
    images: Images,
    device: torch.device,
    on_progress: OnProgress,
    family: str | None = None,
    allow_drift: bool = False,
) -> Generator[None, None, None]:
    """The same with a pause at every turn, in which other runs may be played, or this one closed and thereby saved."""
    try:
        with run.writing():
            yield from playing_on(run, images, device, on_progress, family, allow_drift)
    except OSError as error:
        if error.filename is None:  # of a callback: all that is written here is named
            raise
        found = f"{error.filename} cannot be used: {error.strerror}"
        raise InputError(f"{found}; when that is mended, go on with --resume {run.path}") from None


def playing_on(
    run: Run, images: Images, device: torch.device, on_progress: OnProgress, family: str | None, allow_drift: bool
) -> Iterator[None]:
    """The same, while nobody else writes."""
    config = run.config
    mixed_precision = check_mixed_precision(config.get("mixed_precision", False))
    if list(images.shape) != config["shape"]:
        raise InputError(f"{run.path} was trained on images of {config['shape']}, {images.name} has {images.shape}")
    state, judge = run.state_to_go_on_from() if run.begun else None, judge_of(run, images)
    if "parent" in config and state is None:
        raise InputError(f"{run.path} has lost the weights that it began with: remove it and train it anew")
    settle_drift(run, state, judge, allow_drift)
    model = built_again(config, run.path, images.shape if state else images, family)
    augment = check_augmentations(config.get("augment", []), images)
    game = Game(model, images, config["seed"], config["images"], device, augment, mixed_precision)
    game.earlier = images_before(config)
    if state:
        game.restore(state)
        run.rewind(state)
    else:
        run.rewind_to_start()
    run.forget_measures()  # now that nothing can be refused any more
    watch, looks = Watch(run, images, judge), config.get("looks", LOOKS)
    yield from turns_of(game, run, watch, on_progress, config["checkpoint_seconds"], looks)


def extractor_at_hand(images: Images) -> Extractor | None:
    """The extractor whose distances are logged while a run trains; None where it would have to be trained first."""
    try:
        check_usable(images)
    except InputError:
        return None
    return at_hand(images)


def judge_of(run: Run, images: Images) -> Extractor | None:
    """The extractor that the run was begun with: whether it logs distances must not depend on a cache."""
    return None if run.config.get("watched_in") is None else extractor(images)


def load(run: str | Path | Run, family: str | None = None) -> Family:
    """The family that a run trained, as it is sampled from: on the CPU, in evaluation mode, with averaged weights.

    Args:
        run: the run directory, finished or not, or a file that `likelier export --format safetensors` wrote.
        family: the dotted path of a family that is not likelier's own. It must be said here: a run directory from
            somebody else may not name code to be run.

    Raises:
        InputError: no run or such file, no or a damaged checkpoint, or a family that needs to be named.

    >>> import likelier, tempfile, torch
    >>> run = likelier.train("gan", "digits", images=256, out=tempfile.mkdtemp() + "/gan")
    >>> likelier.load(run.path).sample(9, torch.Generator().manual_seed(0)).shape
    torch.Size([9, 1, 8, 8])
    """
    if not isinstance(run, Run) and Path(run).is_file():
        return read_weights(Path(run), family).eval().requires_grad_(False)
    run = run if isinstance(run, Run) else Run.open(run)
    state, config = run.state(), run.config
    c, h, w = config["shape"]
    model = built_again(config, run.path, (c, h, w), family)
    averaged = any(name.startswith("shown/") for name in state.tensors)
    load_weights(model, state, "shown/" if averaged else "family/")
    return model.eval().requires_grad_(False)


def images_of(run: Run, data: Any = None, data_root: str | Path | None = None) -> Images:
    """The images that a run was trained on; InputError if they are not found, or are others."""
    images = images_again(run.config, data, data_root)
    check_digest(images, run.environment["data_digest"], run.path)
    return images


def images_again(begun_with: Mapping[str, Any], data: Any, data_root: str | Path | None) -> Images:
    """The images that a configuration or a plan names, or those of `data`, in the same shape; not yet checked."""
    if isinstance(data, Images):
        return data
    root, options = data_root or begun_with.get("data_root"), begun_with.get("data_options", {})
    try:
        source = begun_with["data"] if data is None else data
        return sources.load_again(source, root, options, begun_with.get("data_name"))
    except InputError as error:
        if data is not None or Path(str(begun_with["data"])).exists():
            raise
        raise InputError(f"{error}; if the images have moved, name them with --data, or data= in Python") from None


def check_digest(images: Images, wanted: str, path: Path) -> None:
    """InputError unless these are the images that what is in `path` was begun with."""
    if images.digest != wanted:
        raise InputError(
            f"{images.source or images.name} has the digest {images.digest[:12]}…, but {path} was begun with "
            f"{wanted[:12]}…: "
            "give the same data: with --data or --data-root if they have moved, with data= if they were made in Python"
        )


def environment(device: torch.device, images: Images) -> dict[str, Any]:
    """Versions, device, threads, commit and digest of the data: what the figures of a run hang on."""
    return {
        **{package: version(package) for package in ("likelier", "torch", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "data_digest": images.digest,
    }


def device_name(device: torch.device) -> str:
    """What computes, as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def processor() -> str:
    """The name of the CPU, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of likelier's own checkout, "-dirty" if it was changed since; None when installed from a wheel."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
