"""Runs that are killed again and again, and end bit for bit as those that never were: `make torture`.

Each trial kills one run of a family, or one comparison, at several steps of its life, resuming it after each, and holds
what it ends as against what was never killed. Trials are seeded by TORTURE_SEED (0), and say where they killed.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from likelier.family import names
from likelier.run import Run

pytestmark = pytest.mark.torture
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LAUNCHER = Path(__file__).with_name("launcher.py")
SEED = os.environ.get("TORTURE_SEED", "0")
BUDGET = {"vae": 12_000, "gan": 12_000, "dcgan": 2_500, "vae_gan": 3_000}
TRIALS, KILLS = 3, 6
"""Of each family: runs, and kills of each."""
CLOCK = ("seconds", "clock", "created")


def training(family: str, out: Path) -> list[str]:
    budget = str(BUDGET.get(family, 2_500))
    return ["train", family, "--images", budget, "--checkpoint-seconds", "0", "--seed", "3", "-q", "--out", str(out)]


def comparing(out: Path, jobs: int) -> list[str]:
    return ["compare", "vae", "gan", "--images", "25000", "--jobs", str(jobs), "-q", "--out", str(out)]


def launched(die_at: int, arguments: list[str]) -> tuple[int, str]:
    """How a likelier with a kill in it ends, and what it says."""
    words = [sys.executable, str(LAUNCHER), str(die_at), *arguments]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stderr


def contents(run: Path) -> dict[str, bytes | str]:
    """All of a run that must not depend on interruptions; what should not be left over is in it, too."""
    kept: dict[str, bytes | str] = {"state": Run.open(run).state().digest_without_clock()}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        if path.suffix == ".png" or path.name in ("metrics.jsonl", "config.json", "figures.npz", "atlas.npz"):
            kept[str(path.relative_to(run))] = path.read_bytes()
        elif path.name == "measures.json":
            kept["measures"] = json.dumps([m["value"] for m in json.loads(path.read_text())["measures"]])
        else:
            kept[str(path.relative_to(run))] = "there"
    turns = [line["turns"] for line in Run.open(run).metrics() if "turns" in line]
    assert turns == sorted(set(turns)), "a line of the log is there twice"
    return kept


@cache
def undisturbed(folder: Path, family: str) -> tuple[dict[str, bytes | str], int]:
    """The run that is never killed, and how many steps its life has."""
    _, said = launched(0, training(family, folder / family))
    return contents(folder / family), int(re.findall(r"steps (\d+)", said)[0])


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


def moments(chance: random.Random, steps: int, kills: int, near_the_end: bool) -> list[int]:
    """The steps at which a life of so many is ended: all over it, or in its last moments."""
    if near_the_end:
        return [steps - chance.randrange(30), *(chance.randint(1, 20) for _ in range(kills - 1))]
    return [1 + chance.randrange(steps // kills) for _ in range(kills)]


@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("family", names())
def test_a_run_survives_kills_at_any_step(family: str, trial: int, reference: Path, tmp_path: Path):
    wanted, steps = undisturbed(reference, family)
    chance = random.Random(f"{SEED} {family} {trial}")
    out, kills = tmp_path / family, 0
    for moment in moments(chance, steps, KILLS, near_the_end=trial == 0):
        go_on = ["train", "--resume", str(out), "-q"] if (out / "config.json").exists() else training(family, out)
        code, said = launched(moment, go_on)
        kills += code == -signal.SIGKILL
        print(f"torture: {family}, trial {trial}: {said.strip().splitlines()[-1] if code else 'reached its end'}")
    if not (out / "done").exists():
        assert launched(0, ["train", "--resume", str(out), "-q"])[0] == 0
    assert kills >= (1 if trial == 0 else 2)  # what is left after the last moments may be too short to be hit
    assert contents(out) == wanted
    assert not list(tmp_path.glob(".*.making")), "a half-made folder was left"


def whole_of(comparison: Path) -> dict[str, dict[str, bytes | str]]:
    return {run.name: contents(run) for run in sorted((comparison / "runs").iterdir()) if not run.name.startswith(".")}


@pytest.fixture(scope="session")
def compared(reference: Path) -> tuple[dict[str, dict[str, bytes | str]], int]:
    _, said = launched(0, comparing(reference / "compare", 1))
    return whole_of(reference / "compare"), int(re.findall(r"steps (\d+)", said)[0])


def test_a_comparison_survives_kills_at_any_step(
    compared: tuple[dict[str, dict[str, bytes | str]], int], tmp_path: Path
):
    wanted, steps = compared
    chance = random.Random(f"{SEED} compare")
    out, kills = tmp_path / "c", 0
    for trial, moment in enumerate(moments(chance, steps, 12, near_the_end=False)):
        go_on = ["compare", "--resume", str(out), "-q"] if (out / "compare.json").exists() else comparing(out, 1)
        code, said = launched(moment, go_on)
        kills += code == -signal.SIGKILL
        print(f"torture: compare, {trial}: {said.strip().splitlines()[-1] if code else 'reached its end'}")
    assert launched(0, ["compare", "--resume", str(out), "-q"])[0] == 0
    assert kills >= 2
    assert whole_of(out) == wanted
    assert (out / "report.html").stat().st_size > 10_000
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize("victim", ["comparison", "worker"])
def test_a_comparison_side_by_side_survives_kills_at_any_moment(
    victim: str, compared: tuple[dict[str, dict[str, bytes | str]], int], tmp_path: Path
):
    wanted, _ = compared
    chance = random.Random(f"{SEED} {victim}")
    out, kills = tmp_path / "c", 0
    for trial in range(6):
        go_on = ["compare", "--resume", str(out), "-q"] if (out / "compare.json").exists() else comparing(out, 2)
        process = subprocess.Popen([sys.executable, "-m", "likelier", *go_on], env=ENVIRONMENT, stderr=subprocess.PIPE)
        delay = chance.uniform(2, 7) if victim == "comparison" else chance.uniform(0, 1)
        while victim == "worker" and process.poll() is None and not any(out.glob("runs/*/metrics.jsonl")):
            time.sleep(0.02)
        time.sleep(delay)
        found = [process.pid] if victim == "comparison" else workers_of(process.pid)[:1]
        if process.poll() is None and found:
            os.kill(found[0], signal.SIGKILL)
            kills += 1
            print(f"torture: {victim}, {trial}: killed after {delay:.1f} s")
        if victim == "worker":  # which is made good without anybody's help
            assert process.wait(timeout=300) == 0, process.stderr.read()
            assert whole_of(out) == wanted
            shutil.rmtree(out)
        process.wait()
        process.stderr.close()
    assert kills >= 2
    if victim == "comparison":
        resume = [sys.executable, "-m", "likelier", "compare", "--resume", str(out), "-q"]
        assert subprocess.run(resume, env=ENVIRONMENT, timeout=300).returncode == 0
        assert whole_of(out) == wanted


def workers_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, ppid, args in rows if int(ppid) == parent and "likelier.side_by_side" in args]
