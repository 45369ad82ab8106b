"""Augmentation: what is done to a batch, that it hangs on the seed alone, and that nothing measured is touched."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import likelier
from likelier import rng
from likelier.augmentation import KINDS, Augmentation, check_augmentations
from likelier.comparison import command_of, job_of, read_plan
from likelier.errors import InputError
from likelier.family import build, find
from likelier.images import Images, as_float
from likelier.loop import Game
from likelier.models import Model
from likelier.run import Run
from likelier.side_by_side import train_side_by_side
from likelier.tape import TapedTurn


@pytest.fixture(scope="module")
def digits() -> Images:
    return likelier.load_images("digits")


def noise(n: int = 64, c: int = 3, h: int = 16, w: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (n, c, h, w), generator=rng.generator(0, "noise"), dtype=torch.uint8)


def game_of(images: Images, *augment: str, name: str = "vae", replays: bool = True) -> Game:
    model = build(find(name), find(name).Config(batch=32), images, seed=0)
    model.replays = replays
    return Game(model, images, 0, 10_000, torch.device("cpu"), augment)


def test_a_flip_exchanges_left_and_right_of_every_other_image():
    x = noise(n=400)
    y = Augmentation(["flip"], seed=0)(x, 0)
    mirrored = [not torch.equal(a, b) for a, b in zip(x, y, strict=True)]
    assert all(torch.equal(b, a.flip(-1) if m else a) for a, b, m in zip(x, y, mirrored, strict=True))
    assert 160 < sum(mirrored) < 240  # 200 ± 4 standard deviations of 10


@pytest.mark.parametrize(("h", "w"), [(16, 24), (24, 16)])
def test_a_shift_moves_whole_images_by_up_to_an_eighth_and_repeats_the_edge(h: int, w: int):
    """An eighth of the shorter side."""
    x = noise(n=400, h=h, w=w)
    y = Augmentation(["shift"], seed=0)(x, 0)
    around = torch.nn.functional.pad(x.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    found = []
    for a, b in zip(around, y, strict=True):
        where = [(i, j) for i in range(5) for j in range(5) if torch.equal(a[:, i : i + h, j : j + w], b)]
        assert len(where) == 1
        found += where
    assert set(found) == {(i, j) for i in range(5) for j in range(5)}, "every shift comes"


def test_channels_stay_together():
    x = noise(c=1).expand(-1, 3, -1, -1)
    y = Augmentation(["shift", "flip"], seed=0)(x, 0)
    assert torch.equal(y[:, 0], y[:, 1])
    assert torch.equal(y[:, 0], y[:, 2])


def test_the_chance_is_fixed_by_seed_and_position():
    x, state = noise(), torch.get_rng_state()
    first, again = (Augmentation(["shift", "flip"], seed=0)(x, 64) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, Augmentation(["shift", "flip"], seed=0)(x, 128))
    assert not torch.equal(first, Augmentation(["shift", "flip"], seed=1)(x, 64))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_the_chance_of_each_position_is_its_own(kind: str):
    """Whatever the size of a batch, even of one image."""
    x = noise(n=1)
    changed = [Augmentation([kind], seed=0)(x, position).numpy().tobytes() for position in range(64)]
    assert len(set(changed)) >= {"shift": 15, "flip": 2}[kind]
    assert max(changed.count(each) for each in set(changed)) < 45  # of a flip 32 ± 3 standard deviations of 4


def test_off_is_the_batch_itself(digits: Images):
    x = noise()
    assert Augmentation([], seed=0)(x, 0) is x
    assert game_of(digits).turn() == game_of(digits, name="vae").turn() != game_of(digits, "shift").turn()


def test_only_what_is_trained_on_changes(digits: Images):
    before = digits.digest
    game = game_of(digits, "shift")
    batch = game.step.images()
    stored = {image.numpy().tobytes() for image in as_float(digits.train.images)}
    assert any(image.numpy().tobytes() not in stored for image in batch)
    assert replace(digits).digest == before


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_a_tape_plays_augmented_batches(digits: Images, name: str):
    taped, written = (game_of(digits, "shift", name=name, replays=replays) for replays in (True, False))
    for _ in range(8):
        assert taped.turn() == written.turn()
    assert isinstance(taped.moves, TapedTurn)
    assert taped.moves.tape is not None, taped.moves.why_not


def test_a_restored_game_sees_the_same_batches(digits: Images):
    game = game_of(digits, "shift")
    for _ in range(5):
        game.turn()
    state = game.state()
    ahead = [game.turn() for _ in range(5)][-1]
    other = game_of(digits, "shift")
    other.restore(state)
    assert [other.turn() for _ in range(5)][-1] == ahead
    assert other.state().digest() == game.state().digest()


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["flip"], "augment = flip with digits: a mirrored character"),
        (["shift", "mirror"], "there is no augmentation 'mirror'"),
        (["shfit"], "did you mean 'shift'"),
        ("shift", r"augment = 'shift': wanted a list"),
        (5, "augment = '5': wanted a list"),
        ([["shift"]], "there is no augmentation"),
    ],
)
def test_what_cannot_be_done_is_said(digits: Images, kinds: object, said: str):
    with pytest.raises(InputError, match=said):
        check_augmentations(kinds, digits)


@pytest.mark.parametrize("name", ["digits", "mnist", "kmnist", "emnist-letters"])
def test_characters_are_never_mirrored(digits: Images, name: str):
    with pytest.raises(InputError, match=f"flip with {name}"):
        check_augmentations(["flip"], replace(digits, name=name))
    assert check_augmentations(["shift", "shift"], replace(digits, name=name)) == ["shift"]
    assert check_augmentations(list(KINDS), replace(digits, name="cifar10")) == ["shift", "flip"]


def test_a_comparison_keeps_its_augmentation_and_its_workers_honour_it(tmp_path: Path):
    comparison = likelier.compare(["gan"], "digits", images=256, augment=["shift"], out=tmp_path / "compared")
    plan = read_plan(comparison.path / "compare.json")
    assert plan["augment"] == comparison.runs[0].config["augment"] == ["shift"]
    assert "--augment shift" in command_of(plan)
    job = job_of(tmp_path, plan, likelier.load_images("digits"), Model("gan", "gan"), 0)
    train_side_by_side([job], 1, torch.get_num_threads(), lambda job, news: None)
    digests = [run.state().digest_without_clock() for run in (Run.open(job["out"]), *comparison.runs)]
    assert digests[0] == digests[1]


def test_a_strangers_run_with_no_list_is_refused_in_one_line(tmp_path: Path):
    run = likelier.train("vae", images=256, out=tmp_path / "run")
    (run.path / "done").unlink()
    for found in (5, "flip", ["flip"], ["nothing"], None):
        config = json.loads((run.path / "config.json").read_text())
        (run.path / "config.json").write_text(json.dumps({**config, "augment": found}))
        with pytest.raises(InputError, match="aug"):
            likelier.resume(run.path)
