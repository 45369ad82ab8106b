"""What a run survives: signals, full disks, damaged checkpoints, dead processes; and what it does not go on with."""

import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import EACH_FAMILY
from likelier import cli, load_images
from likelier.comparison import compare, resume_comparison
from likelier.errors import InputError
from likelier.experiment import going_on, images_of, resume, train
from likelier.family import build, configure, find
from likelier.files import keep_as, locked, write_json
from likelier.loop import Game
from likelier.report.reading import read_run
from likelier.run import Run, make_folder
from likelier.side_by_side import collect

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
LONG = 50_000_000
"""Images: a run that does not end while a test waits."""


def contents(run: Path) -> dict[str, bytes | str]:
    """All of a run that must not depend on interruptions: everything but the clock."""
    kept: dict[str, bytes | str] = {"state": Run.open(run).state().digest_without_clock()}
    for path in sorted([run / "metrics.jsonl", *run.glob("samples/*"), *run.glob("reconstructions/*")]):
        kept[str(path.relative_to(run))] = path.read_bytes()
    return kept


def waited_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def cut_after(out: Path, turns: int, family: str = "vae", **options: Any) -> Run:
    """A run that was asked to stop after so many turns."""
    run = train(family, "digits", out=out, begin_only=True, **options)
    playing = going_on(run, images_of(run), torch.device("cpu"), lambda seen, total, record: None)
    for _ in range(turns):
        next(playing)
    playing.close()
    return run


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_a_run_that_is_stopped_within_a_window_of_its_log_ends_bit_for_bit(family: str, tmp_path: Path):
    options: dict[str, Any] = {"settings": {"batch": 4}, "looks": 2, "device": "cpu"}
    options["images"] = 402 * images_a_turn(family, **options)
    whole = train(family, "digits", out=tmp_path / "whole", **options)
    cut = cut_after(tmp_path / "cut", 201, family, **options)
    assert cut.state().scalars["turns"] == 201
    assert any(name.startswith("window/") for name in cut.state().tensors)
    resume(cut)
    assert contents(cut.path) == contents(whole.path)


def test_a_second_name_that_a_file_has_already_leaves_nothing_beside_it(tmp_path: Path):
    """As after a kill between the second name and the new content; rename(2) does nothing then, and says nothing."""
    (tmp_path / "state").write_text("x")
    for _ in range(2):
        keep_as(tmp_path / "state", tmp_path / "former")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["former", "state"]


def images_a_turn(family: str, settings: dict[str, Any], **_: Any) -> int:
    """Some games take several batches."""
    digits = load_images("digits")
    game = Game(build(find(family), configure(find(family), settings), digits, 0), digits, 0, 1000, torch.device("cpu"))
    game.turn()
    return game.seen


def started(*words: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "likelier", *map(str, words)]
    # Whoever runs the tests in the background of a shell, or under nohup, has signals ignored, and so would we.
    heard = {"preexec_fn": lambda: [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP)]}
    STARTED.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **{"env": ALONE, **heard, **options}))
    return STARTED[-1]


STARTED: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Whatever a test that failed has started would slow down all others."""
    yield
    while STARTED:
        STARTED.pop().kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_saves_the_run_and_says_how_it_goes_on(number: int, code: int, tmp_path: Path):
    options = ("--images", LONG, "--seed", 3, "-q")  # one checkpoint a minute
    run = tmp_path / "run"
    process = started("train", "gan", *options, "--out", run)
    waited_for(lambda: (run / "timing.jsonl").exists() and (run / "timing.jsonl").stat().st_size)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said.endswith(f"; go on with --resume {run}\n")
    assert said.count("\n") == 1
    state = Run.open(run).state()
    assert state.scalars["images"] >= Run.open(run).metrics()[-1]["images"] > 0
    playing = going_on(Run.open(run), images_of(Run.open(run)), torch.device("cpu"), lambda *_: None)
    next(playing)
    playing.close()
    assert Run.open(run).state().scalars["turns"] == state.scalars["turns"] + 1


SLEEPER = """
import pathlib, time
from likelier.families.vae import VAE


class Sleeps(VAE):
    '''A VAE that never wakes up.'''

    def turns(self, step):
        if pathlib.Path('run/state.safetensors').exists():  # and this is no rehearsal
            pathlib.Path('asleep').touch()
            time.sleep(600)
        yield from super().turns(step)
"""


def test_the_second_interrupt_ends_at_once(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sleeps.py").write_text(SLEEPER)
    env = {**ALONE, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    process = started("train", "mine.sleeps", "--images", 512, "--out", "run", "-q", cwd=tmp_path, env=env)
    waited_for((tmp_path / "asleep").exists)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.strip() == "likelier: interrupted; go on with --resume run"


def test_what_nohup_started_does_not_hear_the_terminal_hang_up(tmp_path: Path):
    words = ("train", "vae", "--images", 40_000, "-q", "--out", tmp_path / "run")
    process = started(*words, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    waited_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def small_files() -> None:
    """A disk on which no file can grow beyond 20 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


FAULTY = """
import errno, os, sys
from likelier import cli
name, number, die_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
real, calls = getattr(os, name), 0
def fails(*arguments, **options):
    global calls
    calls += 1
    if calls >= die_at and (name != 'open' or arguments[1] & os.O_CREAT):
        raise OSError(number, os.strerror(number), arguments[0] if name == 'open' else None)
    return real(*arguments, **options)
setattr(os, name, fails)
sys.exit(cli.main(sys.argv[4:]))
"""


def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on(tmp_path: Path):
    whole = train("vae", images=4_096, out=tmp_path / "whole", seed=3, device="cpu")
    words = ("train", "vae", "--images", 4_096, "--seed", 3, "-q", "--out", tmp_path / "run")
    process = started(*words, preexec_fn=small_files)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "File too large; when that is mended, go on with --resume" in said
    assert said.count("\n") == 1
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole.path)


@pytest.mark.parametrize(("name", "error", "at"), [("fsync", 28, 20), ("link", 28, 3), ("fsync", 30, 40)])
def test_a_disk_that_fails_on_the_way_costs_nothing(name: str, error: int, at: int, tmp_path: Path):
    """ENOSPC while a checkpoint is written, or given its second name; EROFS, as disks turn read-only that break."""
    whole = train("vae", images=8_192, out=tmp_path / "whole", seed=3, device="cpu")
    words = ["train", "vae", "--images", "8192", "--seed", "3", "-q", "--checkpoint-seconds", "0"]
    script = [sys.executable, "-c", FAULTY, name, str(error), str(at), *words, "--out", str(tmp_path / "run")]
    done = subprocess.run(script, env=ALONE, capture_output=True, text=True, timeout=60)
    if name == "link":  # of file systems that have none
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert f"{os.strerror(error)}; when that is mended, go on with --resume {tmp_path / 'run'}\n" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not list((tmp_path / "run").glob(".state*"))
        resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole.path)


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path):
    cut = cut_after(tmp_path / "run", 5, images=4_096)
    before = {path: path.read_bytes() for path in cut.path.rglob("*") if path.is_file()}
    script = [sys.executable, "-c", FAULTY, "open", "30", "1", "train", "--resume", str(cut.path), "-q"]
    done = subprocess.run(script, env=ALONE, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert ".lock cannot be used: Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in cut.path.rglob("*") if path.is_file()} == before


def test_a_full_disk_under_the_messages_does_not_end_training(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        words = ["train", "vae", "--images", "4096", "--out", str(tmp_path / "run")]
        command = [sys.executable, "-m", "likelier", *words]
        done = subprocess.run(command, env=ALONE, stderr=full, stdout=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0
    assert Run.open(tmp_path / "run").done


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: str, tmp_path: Path):
    options: dict[str, Any] = {"images": 8_192, "seed": 3, "device": "cpu", "checkpoint_seconds": 0}
    whole = train("gan", out=tmp_path / "whole", **options)
    cut = cut_after(tmp_path / "cut", 40, "gan", **options)
    state = cut.path / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 4
    damaged = {"cut": content[:-1000], "flipped": content, "empty": b"", "missing": None}[damage]
    state.unlink()
    if damaged is not None:
        state.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"state\.safetensors is .*goes on from the checkpoint before, at \d+ images"):
        resume(cut)
    assert contents(cut.path) == contents(whole.path)
    assert not (cut.path / "state.previous.safetensors").exists()


def test_two_damaged_checkpoints_are_refused(tmp_path: Path):
    cut = cut_after(tmp_path / "cut", 40, "gan", images=8_192, checkpoint_seconds=0)
    for name in ("state.safetensors", "state.previous.safetensors"):
        (cut.path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"previous\.safetensors is no checkpoint"):
        resume(cut)


def edit(file: Path, **changed: Any) -> None:
    write_json(file, json.loads(file.read_text()) | changed)


@pytest.mark.parametrize(
    ("file", "changed", "told"),
    [
        ("config.json", {"images": 4_000}, "images is 4000 and was 2048"),
        ("config.json", {"settings": {"lr": 0.5}}, r"settings\.\w+ is None and was"),
        ("environment.json", {"threads": 7}, "threads is 7 and was"),
        ("environment.json", {"torch": "1.0"}, r"torch is 2\.\S+ and was 1\.0"),
        ("environment.json", {"likelier": "0.0.1"}, r"likelier is \S+ and was 0\.0\.1"),
        ("environment.json", {"device_name": "abacus"}, "and was abacus"),
    ],
)
def test_a_resume_of_something_else_is_refused_in_one_line(
    file: str, changed: dict[str, Any], told: str, tmp_path: Path
):
    cut = cut_after(tmp_path / "run", 5, images=2_048)
    edit(cut.path / file, **changed)
    with pytest.raises(InputError, match=f"would not go on bit for bit: .*{told}.*--allow-drift"):
        resume(cut.path)
    assert cut.done is None
    assert cut.state().scalars["turns"] == 5


def test_what_goes_on_by_request_says_so_in_the_run_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cut = cut_after(tmp_path / "run", 5, images=2_048)
    edit(cut.path / "environment.json", torch="1.0")
    assert cli.main(["train", "--resume", str(cut.path), "-q"]) == 2
    assert cli.main(["train", "--resume", str(cut.path), "-q", "--allow-drift"]) == 0
    assert "goes on, but not bit for bit: torch is" in capsys.readouterr().err
    (drift,) = cut.drift
    assert drift["images"] == cut.state().scalars["images"] - 11 * 128
    said = f"not bit for bit what its command gives: from {drift['images']} images on, torch is"
    assert [note.startswith(said) for note in read_run(cut.path).notes if "torch" in note] == [True]
    assert cli.main(["train", "vae", "--allow-drift", "--out", str(tmp_path / "other")]) == 2


def test_another_commit_is_noted_and_goes_on(tmp_path: Path):
    cut = cut_after(tmp_path / "run", 5, images=2_048)
    edit(cut.path / "environment.json", commit="0" * 40)
    with pytest.warns(UserWarning, match="was begun at commit 0000"):
        resume(cut.path)
    assert cut.done
    assert not cut.drift


def test_data_that_moved_and_another_interval_are_no_drift(tmp_path: Path):
    cut = cut_after(tmp_path / "run", 5, images=2_048)
    edit(cut.path / "config.json", checkpoint_seconds=1.0, data_root=str(tmp_path))
    resume(cut.path)
    assert cut.done


def test_a_comparison_whose_plan_was_changed_is_refused(tmp_path: Path):
    whole = compare(["vae"], images=1_024, out=tmp_path / "c")
    edit(whole.path / "compare.json", images=2_048)
    with pytest.raises(InputError, match="was begun under another plan: images is 2048 and was 1024"):
        resume_comparison(whole.path)


def test_two_processes_do_not_go_on_with_one_comparison(tmp_path: Path):
    whole = compare(["vae"], images=1_024, out=tmp_path / "c")
    refused = pytest.raises(InputError, match="is being gone on with by another process")
    with locked(whole.path / ".lock", ""), refused:
        resume_comparison(whole.path)


def test_what_was_half_made_goes_at_the_next_start_unless_somebody_is_at_it(tmp_path: Path):
    dead, alive, mine = (tmp_path / name for name in (".run.a1.making", ".run.b2.making", ".run.old"))
    for folder in (dead, alive, mine):
        (folder / "run").mkdir(parents=True)
        (folder / ".lock").touch()
    with locked(alive / ".lock", ""):
        make_folder(tmp_path / "run", {"config.json": {}})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.b2.making", ".run.old", "run"]


def test_the_half_line_of_a_dead_process_is_no_hindrance():
    news = queue.Queue[tuple[int, dict[str, Any]]]()
    words = [sys.executable, "-c", "print('{\"seen\": 1}\\n{\"se', end='')"]
    collect(4, subprocess.Popen(words, stdout=subprocess.PIPE, text=True), news)
    assert [news.get_nowait(), news.get_nowait()] == [(4, {"seen": 1}), (4, {"exit code": 0})]


KILLER = """
import os, pathlib, signal
from likelier.families.vae import VAE


class Dies(VAE):
    '''A VAE whose process is killed TIMES times.'''

    replays = False

    def turns(self, step):
        died = pathlib.Path(os.environ['DIED'])
        times = len(died.read_text()) if died.exists() else 0
        if float(step.progress) > 0.3 * (times + 1) and times < TIMES:
            died.write_text('x' * (times + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().turns(step)
"""


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], str]]:
    def made(times: int) -> str:
        (tmp_path / f"dies{times}").mkdir()
        text = KILLER.replace("TIMES times", "often").replace("TIMES", str(times))
        (tmp_path / f"dies{times}" / "model.py").write_text(text)
        return f"dies{times}.model"

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    yield made
    for name in [name for name in sys.modules if name.startswith("dies")]:
        del sys.modules[name]


def test_a_comparison_goes_on_when_a_process_dies_once(tmp_path: Path, dying: Callable[[int], str]):
    once = compare([dying(1), "gan"], images=20_000, jobs=2, out=tmp_path / "c")
    assert (tmp_path / "died").read_text() == "x"
    assert not once.failed
    assert all(once.results)
    alone = train("vae", images=20_000, out=tmp_path / "alone", device="cpu")
    run = once.runs[0]
    assert (run.path / "metrics.jsonl").read_bytes() == (alone.path / "metrics.jsonl").read_bytes()


def test_a_run_whose_process_dies_twice_is_reported_as_failed(
    tmp_path: Path, dying: Callable[[int], str], capsys: pytest.CaptureFixture[str]
):
    model = dying(2)
    words = ["compare", model, "gan", "--images", "20000", "--jobs", "2", "--out", str(tmp_path / "c")]
    assert cli.main(words) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert f"1 of 2 runs failed ({model}-seed0: its process ended with exit code -9 twice): --resume" in err
    failed = read_run(tmp_path / "c" / "runs" / f"{model}-seed0")
    assert (failed.status, failed.message) == ("unfinished", "its process ended with exit code -9 twice")
    assert "failed: its process ended with exit code -9 twice" in (tmp_path / "c" / "report.html").read_text()
    assert Run.open(tmp_path / "c" / "runs" / "gan-seed0").done
    assert cli.main(["compare", model, "--resume", str(tmp_path / "c"), "-q"]) == 0
    assert not (failed.path / "failed.json").exists()
    shutil.rmtree(tmp_path / "c")


def test_a_refused_resume_costs_nothing(tmp_path: Path):
    run = cut_after(tmp_path / "run", 100)
    own = [tmp_path / "run" / name for name in (".gitignore", "samples/.mine", "measures.json", "failed.json")]
    for path in own:
        path.write_text('{"message": "hours of work"}')
    half_written = tmp_path / "run" / "samples" / ".0000000128.png.a1b2c3d4"
    half_written.write_text("")
    config = run.config
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "seed": 1}))
    with pytest.raises(InputError, match="seed is 1 and was 0"):
        resume(tmp_path / "run")
    assert all(path.exists() for path in own)
    assert not half_written.exists()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    resume(tmp_path / "run")
    assert [path.name for path in own if path.exists()] == [".gitignore", ".mine"]


def test_a_run_of_another_seed_is_no_part_of_a_comparison(tmp_path: Path):
    compare(["vae"], images=256, out=tmp_path / "c")
    path = tmp_path / "c" / "runs" / "vae-seed0" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 7}))
    with pytest.raises(InputError, match="seed is 0 and was 7"):
        resume_comparison(tmp_path / "c")


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path: Path, monkeypatch):
    cut_after(tmp_path / "run", 100)
    before = (tmp_path / "run" / "state.safetensors").read_bytes()

    def too_many_open(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("likelier.run.safetensors.safe_open", too_many_open)
        with pytest.raises((OSError, InputError), match="Too many open files"):
            resume(tmp_path / "run")
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path: Path):
    def full(folder: Path) -> None:
        assert (folder / "config.json").exists()
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        make_folder(tmp_path / "run", {"config.json": {}}, full)
    assert list(tmp_path.iterdir()) == []
