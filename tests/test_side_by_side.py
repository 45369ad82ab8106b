"""Runs trained at the same time: the same runs, real processes, and nobody left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import likelier
from likelier.comparison import Silence, Together, compare, resume_comparison, workers_for
from likelier.errors import InputError
from likelier.images import Split
from likelier.run import Run
from likelier.side_by_side import train_on_streams, train_side_by_side

TWO = {name: {"family": name, "settings": {}} for name in ("vae", "gan")}
WHOLE, LONG = 2_560, 50_000_000
"""Images: a run that ends in a second, and one that does not end while a test waits."""


def job(out: Path, family: str = "vae", images: int = WHOLE, **more: Any) -> dict[str, Any]:
    return {
        "family": family,
        "data": {"source": "digits", "root": None, "options": {}},
        "images": images,
        "out": str(out),
        **more,
    }


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_runs_are_those_that_are_trained_alone(tmp_path: Path, one_thread: None):
    jobs = [job(tmp_path / f"{family}{seed}", family, seed=seed) for family in ("vae", "gan") for seed in (0, 1)]
    heard: list[tuple[str, Mapping[str, Any]]] = []
    train_side_by_side(jobs, 2, 1, lambda job, news: heard.append((Path(job["out"]).name, news)))
    for each in jobs:
        alone = likelier.train(each["family"], "digits", images=WHOLE, seed=each["seed"], out=each["out"] + "-alone")
        run = Run.open(each["out"])
        assert run.state().digest_without_clock() == alone.state().digest_without_clock()
        assert (run.path / "metrics.jsonl").read_bytes() == (alone.path / "metrics.jsonl").read_bytes()
        own = [news for name, news in heard if name == run.path.name]
        assert own[-1]["seen"] >= own[-1]["total"] == WHOLE
        logged = [line for line in run.metrics() if any(key.startswith("loss.") for key in line)][-1]
        assert own[-1]["record"].items() <= logged.items()
        assert any(key.startswith("loss.") for key in own[-1]["record"])


def test_runs_whose_turns_alternate_are_those_that_are_trained_alone(tmp_path: Path):
    digits = likelier.load_images("digits")
    names = [("vae", 0), ("dcgan", 1), ("vae_gan", 0), ("vae", 1)]
    jobs = [job(tmp_path / f"{family}{seed}", family, seed=seed) for family, seed in names]
    (begun,) = [likelier.train("vae", digits, images=WHOLE, seed=1, out=jobs[3]["out"])]
    (begun.path / "done").unlink()
    order: list[str] = []
    train_on_streams(jobs, digits, 3, lambda job, news: order.append(Path(job["out"]).name))
    for each in jobs:
        alone = likelier.train(each["family"], digits, images=WHOLE, seed=each["seed"], out=each["out"] + "-alone")
        assert Run.open(each["out"]).state().digest_without_clock() == alone.state().digest_without_clock()
        assert (Path(each["out"]) / "metrics.jsonl").read_bytes() == (alone.path / "metrics.jsonl").read_bytes()
    assert order[:3] == ["vae0", "dcgan1", "vae_gan0"]  # and not one run whole, then the next


def test_a_comparison_trains_at_the_same_time_and_tells_of_all(tmp_path: Path):
    told: list[tuple[int, int]] = []

    class Listens(Silence):
        def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
            told.append((seen, total))

    comparison = compare(["vae", "gan"], images=WHOLE, seeds=2, jobs=2, out=tmp_path / "c", audience=Listens())
    assert [run.done["status"] for run in comparison.runs if run.done] == ["finished"] * 4
    assert all(comparison.results)
    assert [seen for seen, _ in told] == sorted(seen for seen, _ in told)
    assert told[-1][0] >= told[-1][1] == 4 * WHOLE


def test_what_is_told_of_several_runs():
    told: list[tuple[int, int, dict[str, float]]] = []

    class Listens(Silence):
        def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
            told.append((seen, total, dict(record)))

    together = Together(4, Listens())

    def news(out: str, seen: int, **record: float) -> None:
        together.on_news({"out": f"runs/{out}"}, {"seen": seen, "total": 100, "record": record})

    news("vae", 40, **{"loss.vae": 3.0, "grad_norm.vae": 1.0})
    news("gan", 60, **{"loss.discriminator": 2.0, "loss.generator": 1.0})
    news("vae", 100, **{"loss.vae": 2.5})
    assert told == [
        (40, 400, {"loss.vae": 3.0}),  # one has begun, of four as long
        (100, 400, {"loss.vae": 3.0, "loss.gan": 2.0}),
        (160, 400, {"loss.gan": 2.0}),  # one has ended
    ]


def threads_of(run: Run) -> int:
    return run.environment["threads"]


@pytest.mark.slow
def test_runs_keep_their_threads_however_the_comparison_goes_on(tmp_path: Path):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        whole = compare(["vae", "gan"], images=WHOLE, jobs=2, out=tmp_path / "c")
        assert [threads_of(run) for run in whole.runs] == [2, 2]
        shutil.rmtree(whole.runs[1].path)
        torch.set_num_threads(3)
        resumed = resume_comparison(whole.path, jobs=1)
        assert threads_of(resumed.runs[1]) == 2
        assert torch.get_num_threads() == 3
        shutil.rmtree(whole.runs[1].path)
        assert threads_of(resume_comparison(whole.path).runs[1]) == 2
    finally:
        torch.set_num_threads(before)


def test_a_worker_computes_with_its_share_of_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "counts.py").write_text(
        "import os\nimport torch\nfrom likelier.families.vae import VAE\n\n\n"
        "class Counts(VAE):\n    '''Writes down what it computes with.'''\n\n"
        "    def turns(self, step):\n        where = os.environ['COUNTED']\n"
        "        open(where, 'w').write(f\"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}\")\n"
        "        yield from super().turns(step)\n"
    )
    (tmp_path / "pkg2").mkdir()
    (tmp_path / "counts.py").rename(tmp_path / "pkg2" / "counts.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train_side_by_side([job(tmp_path / "run", "pkg2.counts")], 1, 3, lambda job, news: None)
    assert (tmp_path / "counted").read_text() == "3 3"


@pytest.mark.slow
def test_images_that_were_changed_in_python_are_trained_here(tmp_path: Path):
    digits = likelier.load_images("digits")
    few = replace(digits, train=Split(digits.train.images[:500], digits.train.labels[:500]))
    assert digits.can_be_found
    assert not few.can_be_found
    plan = {"device": "cpu", "models": TWO, "seeds": [0], "images": None, "epochs": None, "minutes": None}
    assert workers_for(plan | {"jobs": 2}, digits) == 2
    with pytest.raises(InputError, match="wanted jobs=1"):
        workers_for(plan | {"jobs": 2}, few)
    assert workers_for(plan, few) == 1
    comparison = compare(["vae", "gan"], few, images=WHOLE, out=tmp_path / "c")
    assert [run.environment["data_digest"] for run in comparison.runs] == [few.digest] * 2
    assert all(comparison.results)


def test_short_runs_are_not_worth_a_process():
    plan = {"device": "cpu", "models": TWO, "seeds": [0], "images": None, "epochs": None, "minutes": None}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        digits = likelier.load_images("digits")
        asked = [{}, {"epochs": 1.0}, {"epochs": 100.0}, {"images": 5_000}, {"images": 200_000}, {"minutes": 1.0}]
        assert [workers_for(plan | each, digits) for each in asked] == [2, 1, 2, 1, 2, 2]
    finally:
        torch.set_num_threads(before)


def test_images_that_other_processes_do_not_have_are_refused_before_anything_is_written(tmp_path: Path):
    digits = likelier.load_images("digits")
    mine = likelier.Images("mine", digits.train, digits.test, digits.classes)
    with pytest.raises(InputError, match="wanted jobs=1"):
        compare(["vae", "gan"], mine, images=WHOLE, jobs=2, out=tmp_path / "c")
    with pytest.raises(InputError, match="jobs = 0: wanted at least 1"):
        compare(["vae", "gan"], images=WHOLE, jobs=0, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def waited_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


def workers_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, ppid, args in rows if int(ppid) == parent and "likelier.side_by_side" in args]


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A comparison in c/ that would take hours, when both of its runs have begun."""
    words = ["compare", "vae", "gan", "--images", str(LONG), "--jobs", "2", "--out", str(tmp_path / "c")]
    command = [sys.executable, "-m", "likelier", *words]
    # Whoever runs the tests in the background of a shell has it ignore Ctrl-C, and so would we.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    try:
        waited_for(lambda: begun(tmp_path / "c"))
        yield process
    finally:
        process.kill()
        process.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def begun(out: Path) -> bool:
    return all((out / "runs" / name / "metrics.jsonl").exists() for name in ("vae-seed0", "gan-seed0"))


def test_nobody_goes_on_when_the_comparison_is_killed(tmp_path: Path, process: "subprocess.Popen[str]"):
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.wait()
    waited_for(lambda: not any(map(alive, workers)), 10)


def test_an_interrupt_stops_all_and_names_what_goes_on(tmp_path: Path, process: "subprocess.Popen[str]"):
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"interrupted; go on with --resume {tmp_path / 'c'}" in said
    assert "Traceback" not in said
    assert not any(map(alive, workers))


def test_a_worker_that_is_killed_is_told_of_and_its_run_goes_on(tmp_path: Path, process: "subprocess.Popen[str]"):
    (dead, other) = workers_of(process.pid)
    os.kill(dead, signal.SIGKILL)
    waited_for(lambda: len(set(workers_of(process.pid)) - {dead}) == 2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "its process ended with exit code -9: the run goes on from its checkpoint in another one" in said
    assert not alive(other)
    saved = [Run.open(run).state().scalars["turns"] for run in (tmp_path / "c" / "runs").iterdir()]
    assert max(saved) > 0  # that of the other; the new one may just have started


def test_the_run_of_a_killed_worker_goes_on_as_if_nothing_had_happened(tmp_path: Path, one_thread: None):
    jobs = [job(tmp_path / name, images=400_000, checkpoint_seconds=0) for name in ("killed", "other")]
    killed: list[int] = []

    def kill(job: Mapping[str, Any], news: Mapping[str, Any]) -> None:
        if job["out"].endswith("killed") and news.get("seen", 0) > 100_000 and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    assert train_side_by_side(jobs, 2, 1, kill) == {}
    assert killed
    a, b = (Run.open(each["out"]) for each in jobs)
    assert a.state().digest_without_clock() == b.state().digest_without_clock()
    assert (a.path / "metrics.jsonl").read_bytes() == (b.path / "metrics.jsonl").read_bytes()


def test_a_job_that_is_refused_stops_the_others_in_one_line(tmp_path: Path):
    begun_run = likelier.train("vae", "digits", images=WHOLE, out=tmp_path / "broken")
    (begun_run.path / "done").unlink()
    (begun_run.path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no checkpoint, or a broken one"):
        train_side_by_side([job(tmp_path / "long", images=LONG), job(begun_run.path)], 2, 1, lambda job, news: None)


@pytest.mark.slow
def test_what_was_begun_is_gone_on_with(tmp_path: Path, one_thread: None):
    whole = compare(["vae", "gan"], images=WHOLE, jobs=2, out=tmp_path / "whole")
    again = compare(["vae", "gan"], images=WHOLE, jobs=2, out=tmp_path / "again")
    for name in ("vae-seed0", "gan-seed0"):
        (again.path / "runs" / name / "done").unlink()
    resumed = resume_comparison(again.path, jobs=2)
    for a, b in zip(whole.runs, resumed.runs, strict=True):
        assert a.state().digest_without_clock() == b.state().digest_without_clock()


def test_what_a_module_reads_and_prints_does_not_disturb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "chatty.py").write_text(
        "import os\nimport sys\nfrom likelier.families.vae import VAE\n\nprint('hello')\n"
        "os.write(1, b'and past Python')\nassert sys.stdin.read() + os.read(0, 9).decode() == ''\n\n\n"
        "class Chatty(VAE):\n    '''A VAE that talks.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))  # and nowhere else
    jobs = [job(tmp_path / f"run{seed}", "pkg.chatty", seed=seed) for seed in (0, 1)]
    (tmp_path / "pkg").mkdir()
    (tmp_path / "chatty.py").rename(tmp_path / "pkg" / "chatty.py")
    train_side_by_side(jobs, 2, 1, lambda job, news: None)
    assert [Run.open(each["out"]).done is not None for each in jobs] == [True, True]


def test_a_worker_that_is_told_to_stop_when_its_job_is_just_refused_ends(tmp_path: Path):
    """Nobody would ever give it another job, and whoever told it to stop waits for its end."""
    (tmp_path / "late.py").write_text(
        """import time
from likelier import side_by_side
from likelier.errors import InputError
from likelier.stopping import REQUEST, listening, patiently

def refused_late(job, tell):
    with patiently():
        tell({"warning": "under way"})
        while REQUEST.number is None:
            time.sleep(0.01)
        raise InputError("too late to stop")

side_by_side.carry_out = refused_late
with listening():
    side_by_side.work(*side_by_side.own_descriptors(), 1)
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "late.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("{}\n")
        process.stdin.flush()
        assert "under way" in process.stdout.readline()
        said, _ = process.communicate('{"stop": true}\n', timeout=20)
    finally:
        process.kill()
    assert "too late to stop" in said
    assert process.returncode == 143
