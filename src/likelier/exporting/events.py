"""The log and the pictures of a run as events that TensorBoard shows; steps are images seen.

All of them follow from the files of the run, so they are the same whenever they are written, and a longer log gives the
same events and then more: `follow` adds what is new, and a run that was resumed has no event twice. TensorBoard's own
library writes them; TensorFlow is not wanted.
"""

import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from PIL import Image

from likelier.errors import InputError
from likelier.files import read_whole, write_atomically
from likelier.loop import OnProgress
from likelier.run import Run

EVENTS = "events.out.tfevents.0.likelier"
"""The name of the file; TensorBoard looks for its second and third word."""
LEAST, SHARE = 5.0, 0.05
"""Seconds between two writings while a run is trained, and the share of the time that they take at most."""
MOST = 3e38
"""The largest number of 32 bits, about."""
PICTURES = ("samples", "reconstructions")
GROUPED = ("loss", "grad_norm", "skipped", "not_finite")
"""What of a turn has a player behind a point, and a group of its own in TensorBoard."""


def check_installed() -> None:
    """InputError unless the library of the extra `log` is there."""
    try:
        import_module("tensorboard.summary.writer.record_writer")
    except ImportError:
        raise InputError("tensorboard is not installed: pip install 'likelier[log]'") from None


def events_of(run: Run) -> bytes:
    """All events of a run so far, as the content of one file.

    Raises:
        InputError: the library of the extra `log` is missing, or the log of the run cannot be read.
    """
    check_installed()
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    began = (run.path / "config.json").stat().st_mtime
    writer.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
    writer.write(event(began, 0, [settings_in_words(run)]).SerializeToString())
    seconds = Seconds(run.timing())
    for line in run.metrics():
        if isinstance(step := line.get("images"), int) and 0 <= step < 1 << 62:
            values = [*scalars(line), *(pictures(run, step) if line.get("evaluation") else ())]
            writer.write(event(began + seconds.at(step), step, values).SerializeToString())
    return file.getvalue()


def follow(run: Run) -> None:
    """Bring the events in the folder of a run up to its log: what is new is added to what is there."""
    path, content = run.path / EVENTS, events_of(run)
    there = read_whole(path) if path.exists() else b""
    if there and content.startswith(there):
        with path.open("ab") as file:  # TensorBoard holds the file open
            file.write(content[len(there) :])
    else:
        write_atomically(path, content)


@contextmanager
def following(run: Run, on_progress: OnProgress) -> Iterator[OnProgress]:
    """Keep the events of a run up to its log while it is trained, to the end, however that comes.

    All events are made anew each time, which takes at most a twentieth of the time: it waits longer when they are many.

    Args:
        run: the run, which has been begun.
        on_progress: the word is passed on to it.

    Raises:
        InputError: the library of the extra `log` is missing; at once, and not after hours.
    """
    follow(run)
    due = time.monotonic() + LEAST

    def told(seen: int, total: int, record: Mapping[str, float]) -> None:
        nonlocal due
        on_progress(seen, total, record)
        if (began := time.monotonic()) >= due:
            follow(run)
            due = began + max(LEAST, (time.monotonic() - began) / SHARE)

    try:
        yield told
    finally:
        follow(run)


class Seconds:
    """The seconds of training after which a number of images had been seen, asked for in rising order."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        pairs = ((line.get("images"), line.get("seconds")) for line in lines)
        self.lines = [(i, s) for i, s in pairs if isinstance(i, int) and isinstance(s, int | float)]
        self.place, self.now = 0, 0.0

    def at(self, images: int) -> float:
        """Those of the last line that does not come after."""
        while self.place < len(self.lines) and self.lines[self.place][0] <= images:
            self.now = float(self.lines[self.place][1])
            self.place += 1
        return self.now


def event(when: float, step: int, values: list[Any]) -> Any:
    """One event with some values."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=when, step=step, summary=Summary(value=values))


def scalars(line: Mapping[str, Any]) -> Iterator[Any]:
    """The figures of a line of the log; what was not finite is shown as no number."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    for name, value in line.items():
        if name in ("images", "turns", "rounds", "evaluation") or not isinstance(value, int | float | None):
            continue
        yield Summary.Value(
            tag=tag_of(name.encode(errors="replace").decode(), bool(line.get("evaluation"))),
            simple_value=math.nan if value is None or abs(value) > MOST else value,
        )


def tag_of(name: str, evaluation: bool) -> str:
    """Where TensorBoard shows a figure.

    >>> tag_of("loss.vae", False), tag_of("kl", False), tag_of("kl", True)
    ('loss/vae', 'training/kl', 'held out/kl')
    """
    group, dot, player = name.partition(".")
    if dot and group in GROUPED:
        return f"{group}/{player}"
    return f"{'held out' if evaluation else 'training'}/{name}"


def pictures(run: Run, step: int) -> Iterator[Any]:
    """The pictures that were taken at this step; one that cannot be read is left out."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    for kind in PICTURES:
        path = run.path / kind / f"{step:010d}.png"
        try:
            png = read_whole(path)
            with Image.open(io.BytesIO(png)) as picture:
                (width, height), colours = picture.size, len(picture.getbands())
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=png)
        yield Summary.Value(tag=kind, image=image)


def settings_in_words(run: Run) -> Any:
    """The configuration of the run as a text, for the tab of texts."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    told = "".join(f"    {line}\n" for line in json.dumps(run.config, indent=2, ensure_ascii=False).splitlines())
    return Summary.Value(
        tag="configuration",
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(dtype=DT_STRING, string_val=[told.encode(errors="replace")]),
    )
