"""The benchmarks run, their opponents see the same images, and the work that they count is what equations say."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from likelier.data import load
from likelier.family import build, configure, find, names
from likelier.images import Images, Split, as_float
from likelier.loop import Game

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    import contenders

    return contenders


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    import limit

    return limit


def run(script: str, folder: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """What a benchmark writes as JSON, and what it prints."""
    file = folder / "found.json"
    command = [sys.executable, FOLDER / script, "--json", file, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def colour() -> Images:
    noise = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(noise, torch.arange(20) % 2)
    return Images("noise", split, split, ("a", "b"))


@pytest.mark.parametrize("images", [load("digits"), colour()], ids=["grey", "colour"])
def test_the_student_sees_the_same_images(contenders: ModuleType, images: Images):
    for i in range(20):
        x, label = contenders.OneByOne(images)[i]
        torch.testing.assert_close(x, as_float(images.train.images[i : i + 1])[0], rtol=0, atol=0)
        assert label == images.train.labels[i]


@pytest.mark.parametrize("taped", [True, False])
def test_our_turns_are_all_made_and_logged(contenders: ModuleType, tmp_path: Path, taped: bool):
    images, vae = load("digits"), find("vae")
    ours = contenders.Ours(build(vae, configure(vae, {"batch": 100}), images, 0), images, tmp_path / "run", taped)
    assert ours(7) > 0
    assert ours.game.turns == 7
    assert ours.game.seen == ours.game.budget
    assert ours.run.metrics()[-1]["turns"] == 7
    assert ours.run.done is None


def test_the_work_of_a_vae_is_what_its_equations_say(limit: ModuleType):
    b, d, hidden, latent = 16, 64, 32, 4
    vae = find("vae")
    settings = {"batch": b, "hidden": hidden, "latent": latent}
    game = Game(build(vae, configure(vae, settings), (1, 8, 8), 0), load("digits"), 0, 10**6, torch.device("cpu"))
    work = limit.work_of(game)
    first, rest = d * hidden, hidden * 2 * latent + latent * hidden + hidden * d
    weights = sum(p.numel() for p in game.family.parameters())
    # Each layer forward, for its weights, and for its inputs, which the first layer's need no gradient.
    assert work.flops == 2 * b * (3 * (first + rest) - first)
    assert work.bytes == 7 * 4 * weights + 5 * b * d
    assert limit.best_bandwidth(work.working_set, seconds=0.01) > 1e8


def test_a_turn_of_several_batches_is_counted_with_all_of_them(limit: ModuleType):
    works = {}
    for every in (1, 4):
        r3gan = find("r3gan")
        family = build(r3gan, configure(r3gan, {"batch": 16, "every": every}), (1, 8, 8), 0)
        works[every] = limit.work_of(Game(family, load("digits"), 0, 10**6, torch.device("cpu")))
    assert [works[every].images for every in (1, 4)] == [16, 64]
    assert 2 * works[1].flops < works[4].flops < 4 * works[1].flops  # penalties are in one round of four


def test_training_is_timed_and_its_table_can_be_shown_again(tmp_path: Path):
    small = ["--data", "digits", "--batch", 64, "--threads", 1, "--rounds", 2, "--slot", 0.01]
    found, table = run("training.py", tmp_path, *small, "--families", "vae", "vae_gan", "r3gan")
    assert [result["family"] for result in found["results"]] == ["vae", "vae_gan", "r3gan"]
    for result in found["results"]:
        seconds = result["seconds_per_epoch"]
        assert {"likelier", "student", "tidy", "written", "mixed", "products", "limit", "+bytes"} <= seconds.keys()
        assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())
        assert all(less < more for less, more in zip(seconds["limit"], seconds["+bytes"], strict=True))
        assert all(least < most for least, most in zip(seconds["limit"], seconds["likelier"], strict=True))
    show = [sys.executable, str(FOLDER / "training.py"), "--show", str(tmp_path / "found.json")]
    assert subprocess.run(show, capture_output=True, text=True).stdout == table


def test_growth_is_timed_and_drawn(tmp_path: Path):
    few = [
        "--sizes",
        200,
        400,
        "--turns",
        2,
        "--rounds",
        1,
        "--seeds",
        "--threads",
        1,
        "--plot",
        tmp_path / "growth.png",
    ]
    found, table = run("growth.py", tmp_path, *few)
    assert found["seconds_per_image"].keys() == {"200", "400"}
    assert "an epoch of n images costs n^" in table
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_waiting_is_timed_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    import startup

    help_, first_turn = startup.whole_process(*startup.LIKELIER, "--help"), startup.to_the_first_turn("vae", "digits")
    assert 0 < help_ < first_turn


def test_packed_sets_are_timed_and_weighed(tmp_path: Path):
    sizes = ("--families", "--gigabytes", 0.02, "--side", 16, "--images", 500, "--limit", 2)
    found, printed = run("packed.py", tmp_path, *sizes)
    assert found["large set, VAE trained with 2 GB"]["images"] >= 500
    assert found["large set, load"]["anonymous_mib"] < 10
    assert "large set, drawn from a cold disk, images/s" in printed


def test_checkpoints_take_less_than_two_percent_of_training(tmp_path: Path):
    found, printed = run("checkpoints.py", tmp_path, "--data", "digits", "--rounds", 3, "--slot", 0.05)
    assert set(found) == set(names())
    assert all(0 < each["share"] < 0.02 for each in found.values())
    assert printed.count("% of 60 s") == len(names())
