"""The run directory: what was asked for, what happened, and the state to go on from.

    config.json       the resolved configuration, enough to do the run again
    environment.json  versions, device, threads, commit, digest of the data
    metrics.jsonl     what was measured while training: reproducible bit for bit
    timing.jsonl      what depends on the clock
    samples/          fixed-noise samples at log-spaced points, named by the images seen
    reconstructions/  of fixed test images, where the family encodes
    state.safetensors the last checkpoint, whole and hashed
    done              written last: how the run ended

A run knows no model: its state is named tensors and scalars.
"""

import fcntl
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from likelier.errors import InputError
from likelier.files import naming, opened, opened_for_change, read_json, sync_folder, write_atomically, write_json

FORMAT = 1
MOST_LOOKS = 10_000
LOOK_SECONDS = 0.2
"""How long a process that lists runs may hold the lock of one; it takes a thousandth of that."""
LOGS = ("metrics.jsonl", "timing.jsonl")
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
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            state = State(tensors, json.loads(metadata["scalars"]))
            found, wanted = state.digest(), metadata["sha256"]
        except FileNotFoundError:
            raise InputError(f"{path} is missing: the run has no checkpoint to go on from") from None
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError, OSError) as error:
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

    @staticmethod
    def create(path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> "Run":
        """A new run directory; InputError if something is there or it cannot be written."""
        make_folder(path, {"config.json": {"format": FORMAT, **config}, "environment.json": environment})
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
        return float(found) if isinstance(found, int | float) else 0.0

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
        whole = State(state.tensors, {**state.scalars, "log_lengths": lengths})
        write_atomically(self.path / "state.safetensors", whole.to_bytes())

    def state(self) -> State:
        """The last checkpoint."""
        return State.read(self.path / "state.safetensors")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes; InputError if there is another. What a killed one left half-made goes."""
        with opened_for_change(self.path / ".lock") as lock:
            if not locked(lock, fcntl.LOCK_EX, LOOK_SECONDS):
                raise InputError(f"{self.path} is being trained by another process: wait for it to end")
            for left_over in (p for p in self.path.rglob(".*") if not p.name.endswith(".lock") and p.is_file()):
                left_over.unlink()
            yield

    def is_running(self) -> bool:
        """Whether a process trains it now; whoever asks stands in the way of one that begins for a moment only."""
        return is_held(self.path / ".lock")

    def forget_measures(self) -> None:
        """Remove what was measured of an earlier state."""
        for name in ("measures.json", "figures.npz", "likelihood.json", "likelihood.partial.safetensors"):
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
        write_json(self.path / "done", outcome)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock in this file."""
    try:
        with opened(path) as lock:
            return not locked(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def locked(lock: BinaryIO, kind: int, patience: float = 0.0) -> bool:
    """Whether the lock could be had, within so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def require(path: Path, value: Any, kinds: Mapping[str, type]) -> None:
    """InputError unless `value`, read from `path`, is an object with these keys and types."""
    for key, kind in kinds.items():
        found = value.get(key) if isinstance(value, dict) else None
        if not isinstance(found, (float, int) if kind is float else kind):
            raise InputError(
                f"{path} has {key} = {found!r}: wanted a value of type {kind.__name__}; train the run anew"
            )


def make_folder(path: Path, files: Mapping[str, Any]) -> None:
    """A new folder with these JSON files in it, whole or not there at all; its parents are made.

    InputError if something is there already, or it cannot be written.
    """
    path = Path(os.path.normpath(path))  # a/../b is b, and makes no a
    if path.exists():
        raise InputError(f"{path} is there already: choose another --out, or go on with --resume {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as made:
            folder = Path(made) / path.name
            folder.mkdir()
            for name, content in files.items():
                write_json(folder / name, content)
            folder.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; choose another --out") from None


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One JSON object, one line, one write."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    with naming(path), path.open("ab") as file:
        file.write(json.dumps(finite, allow_nan=False).encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last line without its end is still being written, and left out."""
    if not path.exists():
        return []
    text = path.read_bytes()
    try:
        lines = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise InputError(f"{path} has a line that is no JSON: {error}") from None
    if not all(isinstance(line, dict) for line in lines):
        raise InputError(f"{path} has a line that is no JSON object: it was not written by likelier")
    return lines


def sync(path: Path) -> None:
    """Make what was appended to a file durable, if it is there."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def size(path: Path) -> int:
    """Bytes in a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
