"""The run directory: what was asked for, what happened, and the state to go on from.

    config.json       the resolved configuration, enough to do the run again
    environment.json  versions, device, threads, commit, digest of the data
    metrics.jsonl     what was measured while training: reproducible bit for bit
    timing.jsonl      what depends on the clock
    samples/          fixed-noise samples at log-spaced points, named by the images seen
    reconstructions/  of fixed test images, where the family encodes
    state.safetensors the last checkpoint, whole and hashed
    state.previous.safetensors  the one before, while the run is trained: in case the last one is damaged
    drift.json        what was no longer as at first when the run went on by request (`allow_drift`)
    failed.json       why a comparison gave the run up, unfinished; gone when it goes on
    done              written last: how the run ended

A run knows no model: its state is named tensors and scalars.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from likelier.errors import InputError
from likelier.files import (
    is_held,
    locked,
    naming,
    opened,
    read_json,
    read_whole,
    sweep,
    sync_folder,
    write_atomically,
    write_json,
)
from likelier.showing import run_in_html

FORMAT = 1
MOST_LOOKS = 10_000
LONGEST = 1e12
"""Seconds, above which a log does not tell the time."""
LOGS = ("metrics.jsonl", "timing.jsonl")
FREE = ("data", "data_root", "checkpoint_seconds", "epochs", "minutes")
"""What of a configuration may be changed without changing the run: the budget is that in images."""
MAKING = ".making"
"""How the names of folders end that are being made."""
STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"
CONFIG = {
    "family": str, "data": str, "shape": list, "seed": int, "images": int, "settings": dict, "checkpoint_seconds": float
}  # fmt: skip
"""What every configuration has, and of which type."""


@dataclass(frozen=True)
class State:
    """Everything that the rest of a run depends on: named tensors, and scalars that JSON can hold."""

    tensors: Mapping[str, Tensor]
    scalars: Mapping[str, Any]

    def digest(self) -> str:
        """sha256 of names, types, shapes, contents and scalars."""
        sha = hashlib.sha256(json.dumps(self.scalars, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def digest_without_clock(self) -> str:
        """The digest of what a resume must bring back: all but the length of the log that holds seconds."""
        lengths = {name: n for name, n in self.scalars.get("log_lengths", {}).items() if name != "timing.jsonl"}
        return State(self.tensors, {**self.scalars, "log_lengths": lengths}).digest()

    def to_bytes(self) -> bytes:
        """One safetensors file, with the scalars and the digest in its metadata."""
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.tensors.items()}
        metadata = {"scalars": json.dumps(self.scalars, sort_keys=True), "sha256": self.digest()}
        return safetensors.torch.save(tensors, metadata)

    @staticmethod
    def read(path: Path) -> "State":
        """The state in a file that `to_bytes` made; InputError if it is not whole."""
        try:
            with naming(path), opened(path), safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            state = State(tensors, json.loads(metadata["scalars"]))
            found, wanted = state.digest(), metadata["sha256"]
        except FileNotFoundError:
            raise InputError(f"{path} is missing: the run has no checkpoint to go on from") from None
        except OSError as error:  # one that may pass says nothing of the content
            if error.errno != errno.EINVAL:
                raise
            raise InputError(f"{path} is no checkpoint ({error.strerror}); train the run anew") from None
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is no checkpoint, or a broken one ({error}); train the run anew") from None
        if found != wanted:
            raise InputError(
                f"{path} is damaged: its content has sha256 {found[:16]}…, wanted {wanted[:16]}…; train the run anew"
            )
        return state


class Run:
    """A run directory, open for reading, or for writing by the one process that trains it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return run_in_html(self.path)

    @staticmethod
    def create(
        path: Path, config: Mapping[str, Any], environment: Mapping[str, Any], state: State | None = None
    ) -> "Run":
        """A new run directory, with a state to begin from; InputError if something is there or it cannot be written."""
        files = {"config.json": {"format": FORMAT, **config}, "environment.json": environment}
        make_folder(path, files, lambda folder: None if state is None else Run(folder).save(state))
        return Run(path)

    @staticmethod
    def open(path: str | Path) -> "Run":
        """An existing run directory; InputError if it is none."""
        path = Path(path)
        if not (path / "config.json").is_file():
            found = "is not there" if not path.exists() else "has no config.json"
            raise InputError(f"{path} {found}: wanted the folder of a run, as `likelier train --out` makes it")
        run = Run(path)
        config = run.config
        if config.get("format") != FORMAT:
            raise InputError(f"{path} is a run of format {config.get('format')}: this version reads format {FORMAT}")
        require(path / "config.json", config, CONFIG)
        if config["images"] < 1 or config["seed"] < 0 or not config["checkpoint_seconds"] >= 0:
            raise InputError(f"{path / 'config.json'} has a budget, seed or interval below 0: train the run anew")
        if not isinstance(looks := config.get("looks", 2), int) or not 2 <= looks <= MOST_LOOKS:
            wanted = f"wanted a whole number from 2 to {MOST_LOOKS:,}"
            raise InputError(f"{path / 'config.json'} has looks = {looks!r}: {wanted}")
        if len(config["shape"]) != 3 or not all(isinstance(n, int) and n > 0 for n in config["shape"]):
            raise InputError(f"{path / 'config.json'} has shape = {config['shape']}: wanted [channels, height, width]")
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        config = read_json(self.path / "config.json")
        if not isinstance(config, dict):
            raise InputError(f"{self.path / 'config.json'} holds no configuration: wanted a JSON object")
        return config

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, threads, commit and digest of the data."""
        environment: dict[str, Any] = read_json(self.path / "environment.json")
        require(self.path / "environment.json", environment, {"data_digest": str, "device": str, "threads": int})
        return environment

    @cached_property
    def bound_to(self) -> dict[str, Any]:
        """What the rest of a run hangs on besides its state; where files lie, and how often it is saved, is no part."""
        environment = read_json(self.path / "environment.json")
        config = {name: value for name, value in self.config.items() if name not in FREE}
        return config | {name: environment.get(name) for name in ("data_digest", "device", "threads")}

    @property
    def drift(self) -> list[dict[str, Any]]:
        """Where the run went on by request although something had changed: {"images": int, "changed": [str]} each."""
        path = self.path / "drift.json"
        found: list[dict[str, Any]] = read_json(path) if path.exists() else []
        for each in found if isinstance(found, list) else [None]:
            require(path, each, {"images": int, "changed": list})
        return found

    def note_drift(self, images: int, changed: Sequence[str]) -> None:
        """Write down that the run goes on from here with something changed; once for each change."""
        if not self.drift or self.drift[-1].get("changed") != list(changed):
            write_json(self.path / "drift.json", [*self.drift, {"images": images, "changed": list(changed)}])

    @property
    def failed(self) -> str | None:
        """Why a comparison gave it up, or None if none did."""
        path = self.path / "failed.json"
        if not path.exists():
            return None
        failed: dict[str, str] = read_json(path)
        require(path, failed, {"message": str})
        return failed["message"]

    @property
    def done(self) -> dict[str, Any] | None:
        """How the run ended, or None while it has not."""
        path = self.path / "done"
        if not path.exists():
            return None
        done: dict[str, Any] = read_json(path)
        require(path, done, {"status": str, "images": int, "seconds": float, "message": str})
        return done

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl; a value that is not finite is null, as JSON has no NaN."""
        append(self.path / "metrics.jsonl", record)

    def log_timing(self, record: Mapping[str, Any]) -> None:
        """Append one line to timing.jsonl."""
        append(self.path / "timing.jsonl", record)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_lines(self.path / "metrics.jsonl")

    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl."""
        return read_lines(self.path / "timing.jsonl")

    def seconds(self) -> float:
        """Seconds of training so far; 0 where the log does not tell, since nothing but the clock hangs on it."""
        lines = self.timing()
        found = lines[-1].get("seconds") if lines else None
        return float(found) if isinstance(found, int | float) and abs(found) < LONGEST else 0.0

    def write_picture(self, kind: str, images: int, png: bytes) -> None:
        """One picture of a series, named by the images seen so far."""
        folder = self.path / kind
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{images:010d}.png", png)

    def save(self, state: State) -> None:
        """Replace the checkpoint; the lengths of the logs go with it, so that a resume can cut them back."""
        for name in LOGS:
            sync(self.path / name)  # or a power cut could leave a log shorter than its checkpoint says
        lengths = {name: size(self.path / name) for name in LOGS}
        whole = State(state.tensors, {**state.scalars, "log_lengths": lengths, "bound_to": self.bound_to})
        write_atomically(self.path / STATE, whole.to_bytes(), former=self.path / PREVIOUS)

    def state(self) -> State:
        """The last checkpoint."""
        return State.read(self.path / STATE)

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / STATE).exists() or (self.path / PREVIOUS).exists()

    def state_to_go_on_from(self) -> State:
        """The last checkpoint; where that is damaged or missing, the one before takes its place, with a warning."""
        try:
            return self.state()
        except InputError as error:
            if not (self.path / PREVIOUS).exists():
                raise
            state = State.read(self.path / PREVIOUS)
            (self.path / PREVIOUS).replace(self.path / STATE)  # or the next save would keep the damaged one
            reason = str(error).removesuffix("; train the run anew")
            at = state.scalars.get("images")
            warnings.warn(f"{reason}: the run goes on from the checkpoint before, at {at} images", stacklevel=2)
            return state

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes; InputError if there is another. What a killed one left half-made goes."""
        with locked(self.path / ".lock", f"{self.path} is being trained by another process: wait for it to end"):
            sweep(self.path.rglob(".*"))
            remove_half_made(self.path)
            yield

    def is_running(self) -> bool:
        """Whether a process trains it now; whoever asks stands in the way of one that begins for a moment only."""
        return is_held(self.path / ".lock")

    def forget_measures(self) -> None:
        """Remove what was measured of an earlier state, and that it had failed."""
        for name in (
            "measures.json",
            "figures.npz",
            "atlas.npz",
            "likelihood.json",
            "likelihood.partial.safetensors",
            "failed.json",
        ):
            (self.path / name).unlink(missing_ok=True)

    def rewind_to_start(self) -> None:
        """Empty the logs of a run that was stopped before its first checkpoint."""
        for name in LOGS:
            (self.path / name).unlink(missing_ok=True)

    def rewind(self, state: State) -> None:
        """Cut the logs back to where they were when `state` was saved."""
        for name in LOGS:  # not whatever names the file holds: it may come from a stranger
            path, length = self.path / name, state.scalars.get("log_lengths", {}).get(name)
            if path.is_symlink() or not isinstance(length, int) or length < 0:
                raise InputError(f"{path} does not belong to its checkpoint: train the run anew")
            if size(path) < length:
                raise InputError(
                    f"{path} has {size(path)} bytes, wanted at least {length}: it was changed since the checkpoint"
                )
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(length)

    def finish(self, **outcome: Any) -> None:
        """Write `done`: nothing is written to the run's record after it."""
        (self.path / PREVIOUS).unlink(missing_ok=True)  # first: nobody comes back to a run that is done
        write_json(self.path / "done", outcome)


def require(path: Path, value: Any, kinds: Mapping[str, type]) -> None:
    """InputError unless `value`, read from `path`, is an object with these keys and types."""
    for key, kind in kinds.items():
        found = value.get(key) if isinstance(value, dict) else None
        if not isinstance(found, (float, int) if kind is float else kind):
            raise InputError(
                f"{path} has {key} = {found!r}: wanted a value of type {kind.__name__}; train the run anew"
            )


def make_folder(path: Path, files: Mapping[str, Any], fill: Callable[[Path], None] = lambda folder: None) -> None:
    """A new folder with these JSON files in it, and what `fill` adds, whole or not there at all; its parents are made.

    InputError if something is there already, or it cannot be written.
    """
    path = Path(os.path.normpath(path))  # a/../b is b, and makes no a
    if path.exists():
        raise InputError(f"{path} is there already: choose another --out, or go on with --resume {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_half_made(path)
        with (
            tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=MAKING) as made,
            locked(Path(made) / ".lock", f"{made} is in use: choose another --out"),  # tells that we are alive
        ):
            folder = Path(made) / path.name
            folder.mkdir()
            for name, content in files.items():
                write_json(folder / name, content)
            fill(folder)
            folder.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another --out") from None


def remove_half_made(path: Path) -> None:
    """Remove what a process left that was killed while it made `path`; that of a living one is locked."""
    path = path.absolute()
    for made in path.parent.glob(f".{escape(path.name)}.*{MAKING}"):
        with suppress(InputError):
            if (made / ".lock").exists() and not made.is_symlink():
                with locked(made / ".lock", ""):
                    shutil.rmtree(made)


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One JSON object, one line, one write."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    with naming(path), path.open("ab") as file:
        file.write(json.dumps(finite, allow_nan=False).encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last line without its end is still being written, and left out."""
    if not path.exists():
        return []
    text = read_whole(path)
    try:
        lines = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} has a line that is no JSON: {error}") from None
    if not all(isinstance(line, dict) for line in lines):
        raise InputError(f"{path} has a line that is no JSON object: it was not written by likelier")
    return lines


def sync(path: Path) -> None:
    """Make what was appended to a file durable, if it is there."""
    if path.exists():
        with naming(path), path.open("rb") as file:
            os.fsync(file.fileno())


def size(path: Path) -> int:
    """Bytes in a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
