"""A run that is killed and resumed ends bit for bit as the run that was never interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import EACH_FAMILY
from likelier.errors import InputError
from likelier.experiment import load, resume, train
from likelier.family import find
from likelier.run import Run, State

THREADS = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(family: str, out: Path, images: int) -> list[str]:
    options = ["--images", str(images), "--seed", "3", "--checkpoint-seconds", "0.05", "--device", "cpu", "-q"]
    if family in ("vae", "dcgan"):
        options += ["--augment", "shift"]
    if family in ("gan", "dcgan", "r3gan"):
        options += ["--mixed-precision"]
    return [sys.executable, "-m", "likelier", "train", family, *options, "--out", str(out)]


def contents(run: Path) -> dict[str, bytes | str]:
    """All of a run that must not depend on interruptions: everything but the clock."""
    kept: dict[str, bytes | str] = {"state": Run.open(run).state().digest_without_clock()}
    for path in sorted([run / "metrics.jsonl", *run.glob("samples/*"), *run.glob("reconstructions/*")]):
        kept[str(path.relative_to(run))] = path.read_bytes()
    return kept


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_killed_at_random_and_resumed_is_bit_identical(family: str, tmp_path: Path):
    images = 60_000 if family in ("vae", "gan") else 20_000 if find(family).Config().network == "mlp" else 8_000
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    undisturbed = subprocess.Popen(command(family, whole, images), env=THREADS)  # on the other core, meanwhile
    chance = random.Random(family)
    arguments, kills = command(family, killed, images), 0
    for _ in range(50):
        process = subprocess.Popen(arguments, env=THREADS, stderr=subprocess.PIPE, text=True)
        wait_for_progress(killed, process, chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), process.stderr.read()
        if kills >= 2 or process.returncode == 0:
            break
        arguments = [sys.executable, "-m", "likelier", "train", "--resume", str(killed), "-q"]
    assert kills >= 1, "the run ended before it could be killed once"
    done = subprocess.run(
        [sys.executable, "-m", "likelier", "train", "--resume", str(killed), "-q"], env=THREADS, timeout=120
    )
    assert done.returncode == 0
    assert undisturbed.wait(timeout=120) == 0
    assert contents(killed) == contents(whole)
    records = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    turns = [record["turns"] for record in records if "turns" in record]
    assert turns == sorted(set(turns)), "a line of the log is there twice"
    assert (killed / "done").exists()


def wait_for_progress(run: Path, process: subprocess.Popen[str], more: float) -> None:
    """Until this process has written to the run's log, then a random moment more."""
    log = run / "timing.jsonl"
    before = log.stat().st_mtime_ns if log.exists() else 0
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.stat().st_mtime_ns > before and log.stat().st_size:
            time.sleep(more)
            return
        time.sleep(0.005)


def test_resuming_what_is_done_changes_nothing(tmp_path: Path):
    run = train("vae", images=512, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    resume(run)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_stopped_before_its_first_checkpoint_starts_again(tmp_path: Path):
    whole = train("gan", images=512, out=tmp_path / "whole")
    run = train("gan", images=512, out=tmp_path / "run")
    (run.path / "state.safetensors").unlink()
    (run.path / "done").unlink()
    resume(run)
    assert contents(run.path) == contents(whole.path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no safetensors"])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, damage: str):
    run = train("vae", images=256, out=tmp_path / "run")
    path = run.path / "state.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 1
    broken = {"cut": content[:-1000], "flipped": content, "empty": b"", "no safetensors": b"PK\x03\x04" * 99}[damage]
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"state\.safetensors"):
        load(run)


def test_a_resume_with_other_data_is_refused(tmp_path: Path):
    run = train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    environment = json.loads((run.path / "environment.json").read_text())
    (run.path / "environment.json").write_text(json.dumps({**environment, "data_digest": "0" * 64}))
    with pytest.raises(InputError, match="was begun with 000000000000"):
        resume(run)


def test_a_log_shorter_than_its_checkpoint_is_refused(tmp_path: Path):
    run = train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    (run.path / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="it was changed since the checkpoint"):
        resume(run)


def test_a_run_stopped_before_its_second_checkpoint_is_bit_identical(tmp_path: Path):
    """The checkpoint at 0 images is there then, and the first look must not be logged twice."""
    whole = train("vae", images=4_096, out=tmp_path / "whole")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="cut"):
        train("vae", images=4_096, out=tmp_path / "cut", checkpoint_seconds=1e9, on_progress=interrupt)
    resume(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(whole.path)


def test_a_harmed_clock_costs_the_seconds_alone(tmp_path: Path):
    run = train("vae", images=512, out=tmp_path / "run")
    (run.path / "done").unlink()
    size = (run.path / "timing.jsonl").stat().st_size
    (run.path / "timing.jsonl").write_text('{"seconds": null}\n' * size)
    resume(run)
    assert run.done["status"] == "finished"


def test_a_checkpoint_from_a_stranger_cannot_touch_other_files(tmp_path: Path):
    run = train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    state = run.state()
    forged = State(state.tensors, {**state.scalars, "log_lengths": {str(thesis): 0, "metrics.jsonl": 0}})
    (run.path / "state.safetensors").write_bytes(forged.to_bytes())
    with pytest.raises(InputError, match="does not belong to its checkpoint"):
        resume(run)
    assert thesis.read_text() == "years of work"


def test_two_processes_do_not_write_one_run(tmp_path: Path):
    run = train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    with run.writing(), pytest.raises(InputError, match="by another process"):
        resume(run)
    resume(run)  # a lock that nobody holds is not in the way
    assert run.done


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path):
    run, thesis = Run.create(tmp_path / "run", {}, {}), tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    (run.path / ".lock").symlink_to(thesis)
    with pytest.raises(InputError, match=r"\.lock is no regular file"), run.writing():
        pass
    assert thesis.read_text() == "years of work"


def test_what_was_measured_of_an_earlier_state_is_forgotten(tmp_path: Path):
    run = train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    for name in ("measures.json", "figures.npz", "atlas.npz"):
        (run.path / name).write_text("{}")
    (run.path / "samples" / ".0000000000.png.a1b2c3d4").write_bytes(b"cut")
    resume(run)
    assert not [path for name in ("measures.json", "*.npz") for path in run.path.glob(name)]
    assert not list(run.path.glob("samples/.*"))
