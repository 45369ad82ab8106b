"""Processes that are given jobs and answer, both as lines of JSON: `python -m MODULE`, started here and ended here.

A job comes on the standard input of a worker, and what it says goes to its standard output. When the input ends,
because there is no more to do or because whoever gave the jobs is gone, the worker has to end, too; one that finds
nobody who listens ends without a word.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

Message = dict[str, Any]
Process = subprocess.Popen[str]


def start(module: str, *arguments: str, threads: int = 1) -> Process:
    """A worker that computes on so many threads, and waits for a job."""
    # It finds whatever was found here: likelier, and the modules of a user's families.
    places = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(places)},
        start_new_session=True,  # an interrupt from the terminal reaches whoever started it, and he ends it
    )


def end(processes: Iterable[Process]) -> None:
    """Say to all that there is no more to do, and wait; whoever will not wait for that has them killed."""
    for process in processes:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # one that has ended may have left a job unread
            process.stdin.close()
    try:
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.kill()
        raise


@contextmanager
def started(n: int, module: str, *arguments: str, threads: int = 1) -> Iterator[list[Process]]:
    """So many workers; they have ended when this has."""
    processes = [start(module, *arguments, threads=threads) for _ in range(n)]
    try:
        yield processes
    finally:
        end(processes)


def give(process: Process, job: Message) -> None:
    """Hand a job to a worker; if it has ended, `heard` will tell."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()


def heard(process: Process) -> Message | None:
    """The next thing that a worker says; None when it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.endswith("\n"):  # not what one that was killed had begun to say
        found: Message = json.loads(line)
        return found
    process.stdout.close()
    process.wait()
    return None


def own_descriptors() -> tuple[TextIO, TextIO]:
    """In a worker: where jobs come from and answers go to, out of reach of other code that reads input or prints."""
    jobs, out = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return jobs, out


def say(message: Message, out: TextIO) -> None:
    """In a worker: one answer; if nobody listens any more, whoever started this is gone, and so is this process."""
    try:
        print(json.dumps(message), file=out, flush=True)
    except BrokenPipeError:
        os._exit(0)  # without a second attempt to write what is still in the buffer
