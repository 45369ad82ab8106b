"""A step that is not finite is left out, on the device and on the tape; too many of them in a row end the run."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import likelier
from broken_models.poisoned import NaNImages, Poisoned
from likelier.adam import Adam
from likelier.data import load as load_images
from likelier.divergence import CHECK, PATIENCE, Skips, not_finite
from likelier.experiment import going_on, images_of, load, resume, train
from likelier.families.dcgan import DCGAN
from likelier.family import Move, Step, build, find
from likelier.images import Images
from likelier.loop import Game, window_in
from likelier.run import Run, State
from likelier.tape import TapedTurn

FAMILY = "broken_models.poisoned"
BATCH = 64
VALUES = st.floats(-(2.0**100), 2.0**100, width=32)


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images("digits")


def game_of(images: Images, begins: float, ends: float, taped: bool = True, turns: int = 40) -> Game:
    config = Poisoned.Config(begins=begins / turns, ends=ends / turns, taped=taped)
    return Game(build(Poisoned, config, images, 0), images, 0, turns * BATCH, torch.device("cpu"))


def tensors_of(game: Game) -> dict[str, Tensor]:
    """All that an update may change; the noise goes on whatever becomes of the update."""
    return {name: t for name, t in game.state().tensors.items() if name != "noise"}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a if torch.equal(a[name], b[name])]


def begun(tmp_path: Path, name: str, turns: int, begins: float, ends: float, **more: Any) -> Run:
    settings = {"begins": begins / turns, "ends": ends / turns}
    return train(FAMILY, images=turns * BATCH, settings=settings, out=tmp_path / name, looks=2, **more)


@given(
    st.lists(st.lists(VALUES, min_size=1, max_size=5), min_size=1, max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.data(),
)
def test_one_number_that_is_not_finite_is_found_with_its_player(
    players: list[list[float]], broken: float, data: st.DataObject
):
    gradients = [[torch.tensor(values), torch.ones(2, 2)] for values in players]
    found, skip = not_finite(gradients, torch.device("cpu"))
    assert (found.tolist(), skip.item()) == ([0.0] * len(players), 0.0)
    assert [each[0].tolist() for each in gradients] == [torch.tensor(values).tolist() for values in players]
    who = data.draw(st.integers(0, len(players) - 1))
    gradients[who][0][data.draw(st.integers(0, len(players[who]) - 1))] = broken
    found, skip = not_finite(gradients, torch.device("cpu"))
    assert found.tolist() == [float(i == who) for i in range(len(players))]
    assert skip.item() == 1


@given(st.lists(st.booleans(), max_size=12))
def test_a_step_that_is_skipped_never_was(skipped: list[bool]):
    """Adam with some steps skipped is Adam with the others alone, bit for bit, its count of steps included."""
    one, other = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    a, b = Adam([one], 0.1), Adam([other], 0.1)
    for i, skip in enumerate(skipped):
        gradient = torch.tensor([math.sin(i), 1.0])
        one.grad = gradient * math.nan if skip else gradient
        a.step(torch.tensor(float(skip)))
        if not skip:
            other.grad = gradient
            b.step()
    assert torch.equal(one, other)
    assert all(torch.equal(t, b.state()[name]) for name, t in a.state().items())


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(1, 9), st.integers(0, 69))
def test_rows_are_counted_alike_however_the_turns_fall_into_windows(found: list[bool], length: int, stopped: int):
    turns = [
        {"loss.a": torch.tensor(math.nan if bad else 1.0), f"{CHECK}0/a": torch.tensor(float(bad))} for bad in found
    ]
    skips, logged = Skips(), 0.0
    for first in range(0, len(turns), length):
        window = turns[first : first + length]
        line = skips.count(window, first + len(window), 10 * (first + len(window)))
        logged += line.get("skipped.a", 0)
        if first <= stopped < first + length:
            over, skips = skips.over, Skips.of(json.loads(json.dumps(skips.state())))
            skips.over = over
    rows = "".join("x" if bad else " " for bad in found)
    assert logged == sum(skips.totals().values()) == rows.count("x")
    assert skips.open == rows.endswith("x")
    assert (skips.over is not None) == ("x" * PATIENCE in rows)
    if skips.over:
        first = rows.index("x" * PATIENCE) + 1
        assert f"loss.a, grad_norm.a not finite at turn {first} ({10 * first} images)" in skips.over


@pytest.mark.parametrize("taped", [True, False])
def test_a_turn_that_is_not_finite_changes_nothing_but_the_noise(digits: Images, taped: bool):
    """Turns 10 to 12 are poisoned: weights, batch statistics, optimisers and averages stay, and go on after it."""
    game = game_of(digits, 10, 13, taped)
    for turn in range(20):
        before = tensors_of(game)
        game.turn()
        after = tensors_of(game)
        kept = [name for name in same(before, after) if "optimiser" in name or name.startswith("family/")]
        poisoned = 10 <= turn < 13
        assert len(kept) == (len([n for n in before if "optimiser" in n or n.startswith("family/")]) if poisoned else 0)
        assert all(t.isfinite().all() for t in after.values())
    assert any("running_var" in name for name in before)
    assert isinstance(game.moves, TapedTurn) == taped
    assert not taped or game.moves.tape is not None


def test_tape_and_turns_as_written_leave_out_the_same(digits: Images):
    written, taped = game_of(digits, 6, 9, taped=False), game_of(digits, 6, 9)
    for _ in range(15):
        a, b = written.turn(), taped.turn()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) or (a[name].isnan() and b[name].isnan()) for name in a)
    assert same(tensors_of(written), tensors_of(taped)) == list(tensors_of(taped))


def test_a_poisoned_move_does_not_stop_the_others(digits: Images):
    """The discriminator of a DCGAN moves first and alone: what its skipped pass did to batch statistics is undone."""

    class Half(DCGAN):
        def turns(self, step: Step) -> Iterator[Move]:
            yield from super().turns(NaNImages(step, step.progress > 0))

    game = Game(build(Half, Half.Config(width=4), digits, 0), digits, 0, 10_000, torch.device("cpu"))
    game.turn()
    before, scalars, after = tensors_of(game), game.turn(), tensors_of(game)
    changed = before.keys() - same(before, after)
    assert any(name.startswith("family/generator") for name in changed)
    assert not any("discriminator" in name and "running" not in name and "num_b" not in name for name in changed)
    assert all(t.isfinite().all() for t in after.values())
    assert [scalars[f"{CHECK}{i}"].item() for i in ("0/discriminator", "1/generator")] == [1, 0]


def test_a_short_row_is_told_with_player_term_and_turn_and_the_run_finishes(tmp_path: Path):
    with pytest.warns(UserWarning, match=r"loss\.encoder, grad_norm\.encoder.* not finite at turn 11 \(704 images\)"):
        run = begun(tmp_path, "run", 40, 10, 13)
    assert (run.done["status"], run.done["images"]) == ("finished", 40 * BATCH)
    assert run.done["skipped"] == {"encoder": 3, "decoder": 3, "discriminator": 3}
    lines = [line for line in run.metrics() if "skipped.encoder" in line]
    assert [line["turns"] for line in lines] == [11, 12, 13]
    assert [line["not_finite.loss.decoder"] for line in lines] == [11, 12, 13]
    assert all(p.isfinite().all() for p in load(run, FAMILY).parameters())


def test_twenty_in_a_row_end_the_run_with_its_last_good_state(tmp_path: Path):
    run = begun(tmp_path, "run", 60, 30, 99, checkpoint_seconds=0)
    assert (run.done["status"], run.done["images"]) == ("diverged", 50 * BATCH)
    assert "loss.encoder" in run.done["message"]
    assert "at turn 31 (1,984 images), and 20 updates of encoder left out in a row" in run.done["message"]
    assert run.state().scalars["images"] == 30 * BATCH, "the last checkpoint before the row"
    good = begun(tmp_path, "good", 60, 99, 99)  # not poisoned at all
    assert (run.path / "samples" / f"{30 * BATCH:010d}.png").exists()
    log, undisturbed = ([x for x in r.metrics() if x.get("turns", 99) <= 30] for r in (run, good))
    assert log == undisturbed
    assert all(p.isfinite().all() for p in load(run, FAMILY).parameters())
    before = run.done
    resume(run, family=FAMILY)
    assert run.done == before, "a diverged run is a result"


def test_nineteen_in_a_row_do_not_end_it(tmp_path: Path):
    assert begun(tmp_path, "run", 60, 30, 49).done["status"] == "finished"


def test_a_run_that_does_nothing_but_skip_has_diverged(tmp_path: Path):
    """Its budget of five turns is spent before it could leave out 20 updates."""
    run = begun(tmp_path, "run", 5, 0, 9)
    assert run.done["status"] == "diverged"
    assert "5 updates of encoder left out in a row" in run.done["message"]


@pytest.mark.parametrize("taped", [True, False])
def test_a_state_from_the_middle_of_a_row_goes_on_exactly(digits: Images, taped: bool):
    def turns(game: Game, n: int) -> None:
        for _ in range(n):
            game.skips.count([game.turn()], game.turns, game.seen)

    whole, cut, other = (game_of(digits, 8, 28, taped) for _ in range(3))
    turns(whole, 28)
    turns(cut, 15)
    (state := cut.state()).to_bytes()
    assert state.scalars["skipped"]["encoder"]["length"] == 7
    other.restore(State(state.tensors, json.loads(json.dumps(state.scalars))))
    turns(other, 13)
    assert other.state().digest() == whole.state().digest()
    assert other.skips.over == whole.skips.over is not None


def test_a_run_killed_in_a_row_of_skips_ends_as_the_one_that_was_not(tmp_path: Path):
    """Once its log tells of the row it is killed, as a whole process; the row is 15 turns, then it recovers."""
    whole = begun(tmp_path, "whole", 60, 20, 35)
    options = ["--images", str(60 * BATCH), "--looks", "2", "--checkpoint-seconds", "0", "--device", "cpu", "-q"]
    options += ["--set", f"begins={20 / 60}", "--set", f"ends={35 / 60}", "--out", str(tmp_path / "killed")]
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment, log = (
        {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": places},
        tmp_path / "killed" / "metrics.jsonl",
    )
    command = [sys.executable, "-m", "likelier", "train", FAMILY, *options]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not (log.exists() and b"skip" in log.read_bytes()):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resume(tmp_path / "killed", family=FAMILY)
    killed = Run.open(tmp_path / "killed")
    assert killed.state().digest_without_clock() == whole.state().digest_without_clock()
    assert (killed.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


def test_weights_that_can_never_move_again_end_the_run(digits: Images):
    game = game_of(digits, 99, 99)
    game.turn()
    game.optimisers["decoder"].v[0].view(-1)[0] = math.inf  # the square of 2e19
    assert game.broken_weights() == ["squared gradients of decoder"]


def test_a_diverged_run_is_a_result_of_a_comparison(tmp_path: Path):
    comparison = likelier.compare([FAMILY, "vae"], images=60 * BATCH, settings={"begins": 0.5}, out=tmp_path / "c")
    assert [run.done["status"] for run in comparison.runs] == ["diverged", "finished"]
    (warning,) = comparison.results[0]["warnings"]
    assert warning.startswith("diverged: loss.encoder")
    assert "last checkpoint" in warning
    assert "left out in a row" in comparison.report.read_text()


def test_a_stop_in_a_row_of_skips_keeps_the_checkpoint_before_it(tmp_path: Path):
    settings = {"begins": 0.25, "ends": 2.0}
    run = train(FAMILY, images=20_000, settings=settings, out=tmp_path / "run", checkpoint_seconds=1e6, begin_only=True)
    images = images_of(run)
    playing = going_on(run, images, torch.device("cpu"), lambda *_: None, FAMILY)
    for _ in range(20_000 // 64 // 4 + 5):  # within the row, and within a window of the log
        next(playing)
    playing.close()
    assert run.state().scalars["images"] == 0
    assert resume(run, family=FAMILY).done["status"] == "diverged"
    assert run.state().scalars["images"] == 0


def test_players_without_gradients_or_parameters_are_in_nobodys_way():
    found, skip = not_finite([[], [torch.tensor([torch.nan])], []], torch.device("cpu"))
    assert found.tolist() == [0.0, 1.0, 0.0]
    assert skip.item() == 1.0
    found, skip = not_finite([[]], torch.device("cpu"))
    assert (found.tolist(), skip.item()) == ([0.0], 0.0)


def test_a_window_of_many_scalars_comes_back_in_its_order(digits: Images):
    game = Game(build(find("vae"), find("vae").Config(), digits, 0), digits, 0, 10_000, torch.device("cpu"))
    game.window = [{f"scalar{i}": torch.tensor(float(i)) for i in range(130)} for _ in range(12)]
    state = game.state()
    found = window_in(State(dict(sorted(state.tensors.items())), state.scalars), torch.device("cpu"))
    assert [list(each) for each in found] == [list(each) for each in game.window]


def test_a_sum_that_overflows_is_no_divergence(digits: Images):
    game = Game(build(find("vae"), find("vae").Config(), digits, 0), digits, 0, 10_000, torch.device("cpu"))
    for v in game.optimisers["vae"].v:
        v.fill_(3e38)
    assert game.broken_weights() == []
    game.optimisers["vae"].v[0].view(-1)[0] = torch.inf
    assert game.broken_weights() == ["squared gradients of vae"]
