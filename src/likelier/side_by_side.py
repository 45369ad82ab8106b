"""Runs that are trained at the same time, each in a process with its share of the cores.

The networks here are small: two threads train one of them little faster than one thread does, since a turn is seventy
short operators and the threads meet after each. Two processes of one thread meet never, and get almost twice as much
done. A run is the same file by file as one that is trained alone with as many threads.

Each worker is `python -m likelier.side_by_side` (see `workers`). When there is no more to do, or whoever gave the jobs
is gone, it ends in the middle of a turn; if it is told to stop, it saves its run first.

A worker may die: of a lack of memory, or by somebody's hand. Its run is gone on with once, in another process and from
its checkpoint, and the others never wait for it.
"""

import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
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
from likelier.stopping import REQUEST, WORDS, Stopped, ask, check, listening, patiently
from likelier.workers import Process, end, give, heard, own_descriptors, say, start

Job = Mapping[str, Any]
"""The arguments of `likelier.train`, as JSON holds them; a run that was begun in `out` is gone on with.

For the images there are the arguments of `likelier.data.load_again`.
"""
News = dict[str, Any]
OnNews = Callable[[Job, News], None]


def train_side_by_side(jobs: Sequence[Job], workers: int, threads: int, on_news: OnNews) -> dict[str, str]:
    """Train all of `jobs`, so many at a time; returns when the last has ended.

    A job whose process is killed is tried once more; whatever ended one by an error of its own would do so again.

    Args:
        jobs: what is to be trained, in the order in which it is begun.
        workers, threads: how many processes, and how many threads each of them computes with.
        on_news: called with a job and {"seen", "total", "record"}, as `OnProgress`, or {"warning"}, a line to be read.

    Returns:
        Why, for each job that failed, by its `out`. What it has written can be gone on with.

    Raises:
        InputError: a job was refused; the others have been stopped by then, and can be gone on with.
    """
    waiting, news = list(reversed(jobs)), queue.Queue[tuple[int, News]]()
    doing: dict[int, Job] = {}
    died: set[str] = set()
    failed: dict[str, str] = {}
    with processes(threads, news) as begin:
        for _ in range(min(workers, len(jobs))):
            job = waiting.pop()
            doing[begin(job)] = job
        while doing:
            number, found = news.get()
            if "refused" in found:
                raise InputError(found["refused"])
            if number not in doing:
                continue  # it had nothing left to do
            if "seen" in found or "warning" in found:
                on_news(doing[number], found)
                continue
            job = doing.pop(number)
            if "exit code" in found:
                again = found["exit code"] in KILLED and job["out"] not in died
                died.add(job["out"])
                told = f"its process ended with exit code {found['exit code']}"
                if again:
                    waiting.append(job)
                    on_news(job, {"warning": f"{told}: the run goes on from its checkpoint in another one"})
                else:
                    failed[job["out"]] = told + (" twice" if found["exit code"] in KILLED else "")
            if waiting:
                job = waiting.pop()
                doing[begin(job, number)] = job
    return failed


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
    playing: list[tuple[Generator[None, None, None], Any]] = []
    with patiently(), ExitStack() as begun:
        while waiting or playing:
            while waiting and len(playing) < at_once:
                stream = torch.cuda.Stream() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
                turns = begun.enter_context(closing(turn_by_turn(waiting.pop(), images, on_news)))
                playing.append((turns, stream))
            for each in list(playing):
                turns, stream = each
                with torch.cuda.stream(stream):  # does nothing for None
                    if next(turns, DONE) is DONE:
                        playing.remove(each)
                check()


DONE = object()
STOP: dict[str, Any] = {"stop": True}
"""In place of a job: the worker saves its run, and ends."""
KILLED = {*range(-64, 0), *(128 + number for number in WORDS)}
"""Exit codes of processes that a signal ended; what ends by itself is an error that would come again."""


def turn_by_turn(job: Job, images: Images, on_news: OnNews) -> Generator[None, None, None]:
    """One job from wherever it stands, with a pause at every turn."""

    def on_progress(seen: int, total: int, record: Mapping[str, float]) -> None:
        on_news(job, {"seen": seen, "total": total, "record": record})

    allow_drift, job = drift_of(job)
    begun = (Path(job["out"]) / "config.json").exists()
    run = Run.open(job["out"]) if begun else train(**{**job, "data": images}, begin_only=True)
    device = resolve_device(run.environment["device"])
    yield from going_on(run, experiment.images_of(run, images), device, on_progress, job["family"], allow_drift)


def drift_of(job: Job) -> tuple[bool, Job]:
    """Whether the job goes on though something has changed, and the arguments of `train`, which has no say in that."""
    return job.get("allow_drift", False), {name: value for name, value in job.items() if name != "allow_drift"}


@contextmanager
def processes(threads: int, news: "queue.Queue[tuple[int, News]]") -> Iterator[Callable[..., int]]:
    """Gives a function that has a job done, by the worker of a number or by a new one, and says by which.

    Their news is collected; they have ended when this has. If it ends early they save their runs first, and a second
    interrupt does not wait for that.
    """
    found: dict[int, Process] = {}

    def begin(job: Job, number: int | None = None) -> int:
        if number is None or found[number].poll() is not None:
            number = len(found)
            found[number] = start("likelier.side_by_side", str(threads), threads=threads)
            threading.Thread(target=collect, args=(number, found[number], news), daemon=True).start()
        give(found[number], dict(job))
        return number

    try:
        yield begin
    except BaseException:
        for process in found.values():
            give(process, STOP)
        raise
    finally:
        end(found.values())


def collect(number: int, process: Process, news: "queue.Queue[tuple[int, News]]") -> None:
    """What a worker says, for as long as it says something, then how it ended."""
    while (found := heard(process)) is not None:
        news.put((number, found))
    news.put((number, {"exit code": process.returncode}))


@cache
def images_of(data: str) -> Images:
    """An image set, read once by each worker."""
    return sources.load_again(**json.loads(data))


def carry_out(job: dict[str, Any], tell: Callable[[News], None]) -> None:
    """One job, from wherever it stands."""

    def on_progress(seen: int, total: int, record: Mapping[str, float]) -> None:
        tell({"seen": seen, "total": total, "record": dict(record)})

    allow_drift, asked = drift_of(job)
    images = images_of(json.dumps(job["data"]))
    if (Path(job["out"]) / "config.json").exists():
        resume(job["out"], images, family=job["family"], on_progress=on_progress, allow_drift=allow_drift)
    else:
        train(**{**asked, "data": images}, on_progress=on_progress)


def work(jobs: TextIO, out: TextIO, threads: int) -> None:
    """Carry out whatever comes, until no more does."""
    torch.set_num_threads(threads)
    given = queue.Queue[dict[str, Any]]()

    def tell(news: News) -> None:
        say(news, out)

    def listen() -> None:
        for line in jobs:
            if (job := json.loads(line)) == STOP:
                if not REQUEST.patient:
                    break
                ask(signal.SIGTERM)  # the training saves itself at its next pause, and ends the process
                given.put(job)  # or it was at its end, and there is no next pause
                return
            given.put(job)
        os._exit(0)  # in the middle of a turn, if need be: a run can be gone on with from any moment

    warnings.showwarning = lambda message, *_, **__: tell({"warning": str(message)})
    threading.Thread(target=listen, daemon=True).start()
    while True:
        if (job := given.get()) == STOP:
            os._exit(128 + signal.SIGTERM)
        try:
            carry_out(job, tell)
            tell({"done": True})
        except Stopped as stopped:
            os._exit(128 + stopped.number)
        except (InputError, OSError, MemoryError, RuntimeError) as error:
            if (told := in_one_line(error)) is None:
                raise
            tell({"refused": told})


if __name__ == "__main__":
    with listening():
        work(*own_descriptors(), int(sys.argv[1]))
