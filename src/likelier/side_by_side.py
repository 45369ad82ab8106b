"""Runs that are trained at the same time, each in a process with its share of the cores.

The networks here are small: two threads train one of them little faster than one thread does, since a turn is seventy
short operators and the threads meet after each. Two processes of one thread meet never, and get almost twice as much
done. A run is the same file by file as one that is trained alone with as many threads.

Each worker is `python -m likelier.side_by_side`: jobs come as lines of JSON on its standard input, news goes out on its
standard output. When the input ends, because there is no more to do or because whoever gave the jobs is gone, so does
the worker.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import torch

from likelier import data as sources
from likelier import experiment
from likelier.errors import InputError, in_one_line
from likelier.experiment import going_on, resume, train
from likelier.images import Images
from likelier.loop import resolve_device
from likelier.run import Run

Job = Mapping[str, Any]
"""The arguments of `likelier.train`, as JSON holds them; a run that was begun in `out` is gone on with.

For the images there are the arguments of `likelier.data.load_again`.
"""
News = dict[str, Any]
OnNews = Callable[[Job, News], None]


def train_side_by_side(jobs: Sequence[Job], workers: int, threads: int, on_news: OnNews) -> None:
    """Train all of `jobs`, so many at a time; returns when the last has ended.

    Args:
        jobs: what is to be trained, in the order in which it is begun.
        workers, threads: how many processes, and how many threads each of them computes with.
        on_news: called with a job and {"seen", "total", "record"}, as `OnProgress`, or {"warning"}, a line to be read.

    Raises:
        InputError: a job was refused, or its process was ended from outside; the others have been stopped by then, and
            can be gone on with.
    """
    waiting, news = list(reversed(jobs)), queue.Queue[tuple[int, News]]()
    doing: dict[int, Job] = {}
    with started(min(workers, len(jobs)), threads, news) as processes:
        for number in range(len(processes)):
            doing[number] = given(processes[number], waiting.pop())
        while doing:
            number, found = news.get()
            if "refused" in found:
                raise InputError(found["refused"])
            if number not in doing:
                continue  # it had nothing left to do
            if "exit code" in found:
                killed = found["exit code"] < 0
                next_step = (
                    "the same with --resume goes on, with --jobs 1 if memory was short"
                    if killed
                    else "what went wrong stands above; it is no matter of memory, and would happen again"
                )
                raise InputError(
                    f"the process that trained {doing[number]['out']} ended with exit code {found['exit code']}: "
                    f"{next_step}"
                )
            if "done" in found:
                del doing[number]
                if waiting:
                    doing[number] = given(processes[number], waiting.pop())
            else:
                on_news(doing[number], found)


def train_on_streams(jobs: Sequence[Job], images: Images, at_once: int, on_news: OnNews) -> None:
    """The same in this process, a turn of each run after the other: on a GPU, each on a CUDA stream of its own.

    A small network fills a fraction of a GPU, and its turns are launched sooner than they are done, so those of several
    runs are carried out at the same time. Families know nothing of it, and each run is the one that it would be alone.

    Args:
        jobs, on_news: as in `train_side_by_side`.
        images: what all of them are trained on.
        at_once: how many runs are begun before one has ended.

    Raises:
        InputError: a job was refused; the others can be gone on with.
    """
    waiting = list(reversed(jobs))
    playing: list[tuple[Iterator[None], Any]] = []
    while waiting or playing:
        while waiting and len(playing) < at_once:
            stream = torch.cuda.Stream() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
            playing.append((turn_by_turn(waiting.pop(), images, on_news), stream))
        for each in list(playing):
            turns, stream = each
            with torch.cuda.stream(stream):  # does nothing for None
                if next(turns, DONE) is DONE:
                    playing.remove(each)


DONE = object()


def turn_by_turn(job: Job, images: Images, on_news: OnNews) -> Iterator[None]:
    """One job from wherever it stands, with a pause at every turn."""

    def on_progress(seen: int, total: int, record: Mapping[str, float]) -> None:
        on_news(job, {"seen": seen, "total": total, "record": record})

    begun = (Path(job["out"]) / "config.json").exists()
    run = Run.open(job["out"]) if begun else train(**{**job, "data": images}, begin_only=True)
    device = resolve_device(run.environment["device"])
    yield from going_on(run, experiment.images_of(run, images), device, on_progress, job["family"])


def given(process: "subprocess.Popen[str]", job: Job) -> Job:
    """Hand a job to a worker."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # then it has ended, which its output will tell
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
    return job


@contextmanager
def started(n: int, threads: int, news: "queue.Queue[tuple[int, News]]") -> Iterator[list["subprocess.Popen[str]"]]:
    """So many workers, whose news is collected; they have ended when this has."""
    # The workers find whatever was found here: likelier, and the modules of a user's families.
    places = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-m", "likelier.side_by_side", str(threads)]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # an interrupt from the terminal reaches whoever started them, and he ends them
        )
        for _ in range(n)
    ]
    for number, process in enumerate(processes):
        threading.Thread(target=collect, args=(number, process, news), daemon=True).start()
    try:
        yield processes
    finally:
        for process in processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # one that has ended may have left a job unread
                process.stdin.close()
        for process in processes:
            process.wait()


def collect(number: int, process: "subprocess.Popen[str]", news: "queue.Queue[tuple[int, News]]") -> None:
    """What a worker says, for as long as it says something, then how it ended."""
    assert process.stdout is not None
    for line in process.stdout:
        news.put((number, json.loads(line)))
    news.put((number, {"exit code": process.wait()}))


@cache
def images_of(data: str) -> Images:
    """An image set, read once by each worker."""
    return sources.load_again(**json.loads(data))


def carry_out(job: dict[str, Any], tell: Callable[[News], None]) -> None:
    """One job, from wherever it stands."""

    def on_progress(seen: int, total: int, record: Mapping[str, float]) -> None:
        tell({"seen": seen, "total": total, "record": dict(record)})

    images = images_of(json.dumps(job.pop("data")))
    if (Path(job["out"]) / "config.json").exists():
        resume(job["out"], images, family=job["family"], on_progress=on_progress)
    else:
        train(**job, data=images, on_progress=on_progress)


def work(jobs: TextIO, out: TextIO, threads: int) -> None:
    """Carry out whatever comes, until no more does."""
    torch.set_num_threads(threads)
    lines = queue.Queue[str]()

    def tell(news: News) -> None:
        print(json.dumps(news), file=out, flush=True)

    def listen() -> None:
        for line in jobs:
            lines.put(line)
        os._exit(0)  # in the middle of a turn, if need be: a run can be gone on with from any moment

    warnings.showwarning = lambda message, *_, **__: tell({"warning": str(message)})
    threading.Thread(target=listen, daemon=True).start()
    while True:
        job = json.loads(lines.get())
        try:
            carry_out(job, tell)
            tell({"done": True})
        except (InputError, OSError, MemoryError, RuntimeError) as error:
            if (told := in_one_line(error)) is None:
                raise
            tell({"refused": told})


def descriptors_of_its_own() -> tuple[TextIO, TextIO]:
    """Where jobs come from and news goes to, out of reach of a user's module that reads its input or prints."""
    jobs, out = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return jobs, out


if __name__ == "__main__":
    work(*descriptors_of_its_own(), int(sys.argv[1]))
