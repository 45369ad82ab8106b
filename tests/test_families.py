"""One contract over all families, found without a list."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

import likelier
from likelier import rng
from likelier.family import Bounds, Decodes, Encodes, Family, Scores, build, configure, find, names, settings_of
from likelier.images import Images, Split
from likelier.loop import Game

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 18, 13)]
CPU = torch.device("cpu")


CONDITIONAL = [name for name in names() if any(f.name == "classes" for f in fields(find(name).Config))]
TOLD = " with classes"


@pytest.fixture(params=[*names(), *(name + TOLD for name in CONDITIONAL)])
def name(request: pytest.FixtureRequest) -> str:
    """Every family, and those that can be told of classes once more, told of them."""
    return request.param


def family_of(name: str) -> type[Family]:
    return find(name.removesuffix(TOLD))


def made(name: str, shape=(1, 8, 8), seed: int = 0) -> Family:
    cls = family_of(name)
    classes = {"classes": 4} if name.endswith(TOLD) else {}
    return build(cls, configure(cls, {"batch": 16, **classes}), shape, seed)


def labels_for(family: Family, n: int) -> torch.Tensor | None:
    return torch.arange(n) % family.classes if family.classes else None


def image_set(shape: tuple[int, int, int]) -> Images:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (64, *shape), generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.arange(64) % 4)
    return Images("noise", split, split, ("a", "b", "c", "d"))


def in_play(name: str, shape=(1, 8, 8), seed: int = 0) -> Game:
    return Game(made(name, shape, seed), image_set(shape), seed, 640, CPU)


def global_states() -> tuple[object, ...]:
    """Of torch and numpy. Python's own `random` is drawn from by the checker of shapes; no module here imports it."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


def test_players_partition_the_parameters(name: str):
    family = made(name)
    owned = [id(p) for player in family.players().values() for p in player.parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in family.parameters()}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_gets_a_finite_gradient(name: str, shape: tuple[int, int, int], off_balance):
    game = in_play(name, shape)
    off_balance(game.family)
    for _ in range(3):  # a layer that begins at zero lets none pass in the first
        game.turn()
    for parameter_name, p in game.family.named_parameters():
        assert p.grad is not None, f"{parameter_name} gets no gradient"
        assert p.grad.isfinite().all()
    silent = [n for n, p in game.family.named_parameters() if not p.grad.any()]
    assert not silent, f"{silent} get a gradient of zero"


def test_every_player_moves_and_nothing_else_does(name: str, off_balance):
    game = in_play(name)
    off_balance(game.family)
    for move in game.family.turns(game.step):
        before = {n: p.detach().clone() for n, p in game.family.named_parameters()}
        game.update(move)
        moved = {id(p) for n, p in game.family.named_parameters() if not torch.equal(p, before[n])}
        wanted = {id(p) for player in move.losses for p in game.parameters[player]}
        assert moved == wanted


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_are_images_and_repeat_bit_for_bit(name: str, shape: tuple[int, int, int]):
    family = made(name, shape).eval()
    first, again = (family.sample(5, rng.generator(7, "test")) for _ in range(2))
    assert first.shape == (5, *shape)
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, family.sample(5, rng.generator(8, "test")))
    assert not first.requires_grad


def test_a_sample_does_not_depend_on_its_neighbours(name: str):
    """As batch statistics would make it: in evaluation mode an image is a function of its own noise."""
    family = made(name).eval()
    if not isinstance(family, Decodes):
        pytest.fail(f"{name} has no decode: say here how its samples are checked")
    z = family.prior().sample(rng.generator(0, "z"), 6)
    torch.testing.assert_close(family.decode(z)[:3], family.decode(z[:3]))


def test_nobody_touches_the_global_generators(name: str):
    torch.manual_seed(1234)
    before = global_states()
    game = in_play(name)
    game.turn()
    shown = game.shown()
    shown.sample(4, rng.generator(0, "x"))
    if isinstance(shown, Bounds):
        shown.log_prob_bound(torch.rand(2, 1, 8, 8, generator=rng.generator(0, "y")), 2, rng.generator(0, "z"))
    assert global_states() == before


def test_a_seed_fixes_the_initial_weights(name: str):
    torch.manual_seed(1)
    first = made(name, seed=3).state_dict()
    torch.manual_seed(2)
    again, other = made(name, seed=3).state_dict(), made(name, seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_a_checkpoint_brings_everything_back(name: str):
    game = in_play(name)
    for _ in range(3):
        game.turn()
    state = game.state()
    ahead = [game.turn() for _ in range(3)][-1]
    other = in_play(name, seed=9)  # other weights, noise and order: all must come from the state but the data order
    other.step.batches.seed = game.step.batches.seed
    other.restore(state)
    there = [other.turn() for _ in range(3)][-1]
    assert {k: v.item() for k, v in ahead.items()} == {k: v.item() for k, v in there.items()}
    assert game.state().digest() == other.state().digest()


def test_capabilities_are_what_they_say(name: str):
    family = made(name).eval()
    x = torch.rand(3, 1, 8, 8, generator=rng.generator(0, "x"))
    if isinstance(family, Encodes):
        q = family.encode(x)
        assert q.mean.shape == (3, *family.prior().mean.shape)
        assert q.sample(rng.generator(0, "q")).shape == q.mean.shape
    if isinstance(family, Scores):
        assert family.score(x, labels_for(family, 3)).shape == (3,)
    if isinstance(family, Bounds):
        bound = family.log_prob_bound(x, 4, rng.generator(0, "b"))
        assert bound.shape == (3,)
        assert bound.isfinite().all()


def test_labels_are_used_or_refused(name: str):
    family = made(name).eval()
    draws = []
    try:
        draws = [family.sample(2, rng.generator(0, "x"), torch.full((2,), label)) for label in (0, 1)]
    except likelier.InputError as error:
        assert "labels" in str(error)
        assert not family.classes
    else:
        assert family.classes
        assert not torch.equal(*draws), "labels that change nothing are to be refused"


@pytest.mark.parametrize("name", [name + TOLD for name in CONDITIONAL])
def test_classes_that_do_not_exist_are_refused(name: str):
    family = made(name).eval()
    for label in (-1, 4):
        with pytest.raises(likelier.InputError, match="not among the classes 0 to 3"):
            family.sample(2, rng.generator(0, "x"), torch.full((2,), label))
    for n in (0, 1, 3):
        with pytest.raises(likelier.InputError, match=f" labels for {n} samples: wanted one for each"):
            family.sample(n, rng.generator(0, "x"), torch.zeros(2 * (n > 0), dtype=torch.int64))
    with pytest.raises(likelier.InputError, match="wanted the class of each image"):
        family.score(torch.zeros(2, 1, 8, 8))
    cls = family_of(name)
    with pytest.raises(likelier.InputError, match="classes = 3: wanted 4, which noise has, or 0"):
        build(cls, configure(cls, {"classes": 3}), image_set((1, 8, 8)), seed=0)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_class_takes_its_share_of_the_last_coordinate_of_the_code(name: str):
    """Codes from the prior have the classes of the training images, in their proportions, and decode as asked for."""
    cls, images = find(name), image_set((1, 8, 8))
    split = Split(images.train.images, (torch.arange(64) > 48).long())  # 49 of class 0, 15 of class 1
    family = build(cls, configure(cls, {"classes": 2, "batch": 16}), Images("few", split, split, ("a", "b")), 0).eval()
    z = family.prior().sample(rng.generator(0, "z"), 2_000)
    noise = z[:, :-1].contiguous()
    as_asked = [family.sample(2_000, rng.generator(0, "z"), torch.full((2_000,), label)) for label in (0, 1)]
    of_first = (family.decode(z) == family.generate(noise, torch.zeros(2_000, dtype=torch.int64))).flatten(1).all(1)
    assert of_first.float().mean().item() == pytest.approx(49 / 64, abs=0.04)  # four standard errors
    wanted = torch.where(of_first[:, None, None, None], *as_asked)
    assert torch.equal(family.decode(z), wanted)


def test_settings_survive_json(name: str):
    cls, config = family_of(name), made(name).config
    assert configure(cls, settings_of(config)) == config
    assert configure(cls, {k: str(v) for k, v in settings_of(config).items()}) == config  # as --set has them


def test_a_family_says_what_it_is(name: str):
    assert family_of(name).__doc__
    assert family_of(name).Config.__doc__


def test_averaged_weights_are_what_is_shown(name: str):
    game = in_play(name)
    for _ in range(4):
        game.turn()
    asked = {p: player.ema is not None for p, player in game.players.items()}
    shown, live = game.shown().players(), game.family.players()
    for player, averages in asked.items():
        pairs = zip(shown[player].parameters(), live[player].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) != averages
    assert not any(module.training for module in game.shown().modules())


def test_loss_goes_down_for_a_single_player():
    game = Game(made("vae"), likelier.load_images("digits"), 0, 16 * 300, CPU)
    losses = [game.turn()["loss.vae"].item() for _ in range(300)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 1


def test_batch_normalisation_has_its_statistics_from_training(name: str):
    game = in_play(name)
    layers = [m for m in game.family.modules() if isinstance(m, nn.BatchNorm2d)]
    game.turn()
    assert all(layer.running_mean.any() for layer in layers)
