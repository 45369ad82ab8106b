"""The loop: budgets, seeds, what is logged, and what ends a run."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from likelier import rng
from likelier.collapse import posterior_collapse
from likelier.data import load as load_images
from likelier.errors import InputError
from likelier.experiment import Budget, load, train
from likelier.families.vae import VAE
from likelier.family import build, configure, find
from likelier.images import Batches, Images, Split, as_float, as_uint8
from likelier.loop import Game, looks, resolve_device
from likelier.nn import Average, linear_layers
from likelier.run import Run, State
from likelier.schedules import linear


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images("digits")


def few(n: int = 10) -> Split:
    return Split(torch.arange(n * 64, dtype=torch.int64).reshape(n, 1, 8, 8).to(torch.uint8), torch.arange(n) % 3)


def test_every_image_comes_once_an_epoch_across_the_seams():
    batches = Batches(Split(few().images, torch.arange(10)), seed=0, device="cpu")
    drawn = torch.cat([batches.draw(4)[1] for _ in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_a_batch_may_be_larger_than_the_set():
    images, labels = Batches(few(), seed=0, device="cpu").draw(25)
    assert images.shape == (25, 1, 8, 8)
    counts = torch.bincount(labels)  # classes of 4, 3 and 3 images: twice all of them, then five more
    assert (counts >= torch.tensor([8, 6, 6])).all()
    assert counts.sum() == 25


def test_any_position_can_be_returned_to():
    ahead, back = (Batches(few(), seed=0, device="cpu") for _ in range(2))
    for _ in range(4):
        ahead.draw(7)
    back.position = 28
    assert torch.equal(ahead.draw(7)[0], back.draw(7)[0])


def test_bytes_survive_the_round_trip():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(as_uint8(as_float(every)), every)


@pytest.mark.parametrize("given", [{"epochs": 2, "images": 5}, {"epochs": 0}, {"minutes": math.nan}, {"images": -1}])
def test_budgets_that_make_no_sense_are_refused(given: dict[str, float]):
    with pytest.raises(InputError, match="wanted"):
        Budget(**given)


def test_the_budget_is_spent_and_counted(tmp_path: Path):
    run = train("gan", epochs=0.5, out=tmp_path / "run")
    assert run.config["images"] == 599
    assert run.done["images"] == 640  # five batches of 128: the first count at or above the budget
    lines = [line for line in run.metrics() if "turns" in line]
    assert [line["turns"] for line in lines] == [1, 2, 3, 4, 5]
    assert {"loss.discriminator", "loss.generator", "grad_norm.generator"} <= lines[-1].keys()


def test_minutes_become_images_that_can_be_replayed(tmp_path: Path):
    timed = train("vae", minutes=0.01, out=tmp_path / "timed")
    assert timed.config["minutes"] == 0.01
    again = train("vae", images=timed.config["images"], out=tmp_path / "again")
    assert timed.state().digest_without_clock() == again.state().digest_without_clock()
    assert (timed.path / "metrics.jsonl").read_bytes() == (again.path / "metrics.jsonl").read_bytes()


def test_a_seed_fixes_the_run_and_another_changes_it(tmp_path: Path):
    digests = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        torch.manual_seed(len(name))
        digests[name] = train("vae_gan", images=512, seed=seed, out=tmp_path / name).state().digest_without_clock()
    assert digests["first"] == digests["again"] != digests["other"]


def test_looks_are_log_spaced_and_end_with_the_budget(tmp_path: Path):
    run = train("vae", images=20_000, out=tmp_path / "run")
    evaluated = [line["images"] for line in run.metrics() if line.get("evaluation")]
    assert evaluated[0] == 0
    assert evaluated[-1] == run.done["images"]
    assert len(evaluated) == len(looks(20_000, 128))
    for folder in ("samples", "reconstructions"):
        assert [int(p.stem) for p in sorted((run.path / folder).iterdir())] == evaluated
    first, last = ([line for line in run.metrics() if line.get("evaluation")][i] for i in (0, -1))
    assert last["elbo"] > first["elbo"]


@pytest.mark.parametrize("count", [2, 3, 7, 16, 40])
def test_a_training_is_looked_at_as_often_as_was_asked(count: int):
    points = looks(1_000_000, 128, count)
    assert len(points) == count
    assert (points[0], points[-1]) == (0, 1_000_000)
    assert points == sorted(set(points))
    assert looks(500, 128, count) == [0, 500]


def test_looks_that_were_asked_for_are_had_and_kept_over_a_resume(tmp_path: Path):
    run = train("vae", images=20_000, looks=3, out=tmp_path / "run")
    assert sum(bool(line.get("evaluation")) for line in run.metrics()) == 3
    assert run.config["looks"] == 3
    with pytest.raises(InputError, match="looks = 1: wanted 2"):
        train("vae", images=20_000, looks=1, out=tmp_path / "other")
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | {"looks": "all"}))
    with pytest.raises(InputError, match="looks = 'all': wanted a whole number"):
        Run.open(run.path)


def test_step_sizes_follow_the_schedule_and_the_factors(digits: Images):
    config = configure(find("vae"), {"lr": 0.1, "schedule": "linear", "decoder_lr": 3.0})
    game = Game(build(find("vae"), config, digits, seed=0), digits, 0, 20 * 128, torch.device("cpu"))
    rates = []
    for _ in range(20):
        game.turn()
        rates.append({factor: lr.item() for factor, lr in game.optimisers["vae"].lr.items()})
    assert all(each[3.0] == pytest.approx(3 * each[1.0]) for each in rates)
    assert [each[1.0] for each in rates] == pytest.approx([0.1 * linear(turn / 20) for turn in range(20)])
    assert max(each[1.0] for each in rates) == pytest.approx(0.1)


def test_a_run_without_an_encoder_has_no_reconstructions(tmp_path: Path):
    assert not (train("gan", images=256, out=tmp_path / "run").path / "reconstructions").exists()


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(tmp_path: Path):
    run = train("vae", images=20_000, out=tmp_path / "run", settings={"lr": 1e6})
    assert run.done["status"] == "diverged"
    assert "loss.vae" in run.done["message"]
    assert all(p.isfinite().all() for p in load(run).parameters()), "the last good state is kept"
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def test_weights_that_break_in_the_last_step_are_not_a_finish(tmp_path: Path):
    """The loss and the gradient of the only turn are finite; the step is what breaks the weights."""
    run = train("vae", images=100, out=tmp_path / "run", settings={"lr": 1e38, "variance": 1e-6}, checkpoint_seconds=0)
    assert run.done["status"] == "diverged"
    assert all(p.isfinite().all() for p in load(run).parameters()), "the last good state is kept"


def test_the_labs_formula_with_a_mean_over_pixels_collapses_and_says_so(tmp_path: Path):
    run = train("vae", images=60_000, out=tmp_path / "run", settings={"reduction": "mean"})
    kl = [line for line in run.metrics() if line.get("evaluation")][-1]["kl"]
    assert "posterior collapse" in (posterior_collapse(kl) or "")
    assert posterior_collapse(12.0) is None


def test_the_average_is_the_exponential_one():
    live, averaged = torch.ones(3), torch.zeros(3)
    average = Average([(averaged, live)], half_life=100)
    average.update(100, images_seen=1_000_000)  # one half-life
    torch.testing.assert_close(averaged, torch.full((3,), 0.5))
    average.update(200, images_seen=1_000_000)  # two more
    torch.testing.assert_close(averaged, torch.full((3,), 0.875))
    early = torch.zeros(3)
    Average([(early, live)], half_life=1e9).update(128, images_seen=128)  # the ramp-up: a half-life of 6.4 images
    assert early.min() > 0.99


def test_progress_is_the_share_of_the_budget():
    cls = find("vae")
    from likelier.data import load as load_images

    game = Game(build(cls, configure(cls, {"batch": 32}), (1, 8, 8), 0), load_images(), 0, 128, torch.device("cpu"))
    seen = []
    for _ in range(4):
        game.turn()
        seen.append(game.step.progress.item())
    assert seen == [0, 0.25, 0.5, 0.75]


def test_streams_of_chance_are_independent():
    draws = {p: torch.randn(3, generator=rng.generator(0, *p)).tolist() for p in [("a",), ("b",), ("a", 1), ("a", 2)]}
    assert len({tuple(v) for v in draws.values()}) == 4


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path):
    tensors = {"a": torch.randn(3, 4, generator=rng.generator(0, "a")).T, "b": torch.tensor(7), "c": torch.zeros(0)}
    state = State(tensors, {"images": 5})
    (tmp_path / "s").write_bytes(state.to_bytes())
    back = State.read(tmp_path / "s")
    assert back.digest() == state.digest()
    assert all(torch.equal(back.tensors[k], tensors[k]) for k in tensors)


@pytest.mark.parametrize("device", ["tpu", "cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str):
    if device in ("cuda", "mps") and resolve_device("auto").type == device:
        assert resolve_device(device).type == device
        return
    with pytest.raises(InputError, match="wanted"):
        resolve_device(device)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="wanted the folder of a run"):
            Run.open(path)
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99"):
        Run.open(tmp_path)


def test_a_vae_that_starts_from_the_mean_decodes_it_and_encodes_what_differs_from_it(digits: Images):
    seeded = build(find("vae"), configure(find("vae"), {"start": "random"}), digits, seed=3)
    vae = build(find("vae"), configure(find("vae"), {"start": "mean"}), digits, seed=3)
    mean = as_float(digits.train.images).mean(0, keepdim=True)
    first, last = linear_layers(vae.encoder)[0], linear_layers(vae.decoder)[-1]
    with torch.no_grad():
        assert torch.allclose(last.bias.sigmoid(), mean.flatten().clamp(1e-3, 1 - 1e-3), atol=1e-5)
        assert torch.allclose(first(mean.flatten(1)), linear_layers(seeded.encoder)[0].bias, atol=1e-5)
    assert all(
        torch.equal(a, b)
        for a, b in zip(vae.encoder.parameters(), seeded.encoder.parameters(), strict=True)
        if a.ndim > 1
    )
    bare = build(find("vae"), configure(find("vae"), {"start": "mean"}), digits.shape, seed=3)
    assert torch.equal(linear_layers(bare.decoder)[-1].bias, linear_layers(seeded.decoder)[-1].bias)


def test_what_a_start_draws_is_fixed_by_the_seed_and_unseen_elsewhere(digits: Images):
    class Draws(VAE):
        def start_from(self, batches: Iterator[Tensor]) -> None:
            self.drawn = torch.randn(3)

    before = torch.get_rng_state()
    one, again, other = (build(Draws, Draws.Config(), digits, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.drawn, again.drawn)
    assert not torch.equal(one.drawn, other.drawn)


def test_a_start_from_images_is_part_of_the_run(tmp_path: Path):
    run = train("vae", images=256, settings={"start": "mean"}, out=tmp_path / "run")
    again = train("vae", images=256, settings={"start": "mean"}, out=tmp_path / "again")
    assert run.state().digest_without_clock() == again.state().digest_without_clock()
    first = next(line for line in run.metrics() if line.get("evaluation"))
    grey = next(line for line in train("vae", images=256, out=tmp_path / "grey").metrics() if line.get("evaluation"))
    assert first["elbo"] > grey["elbo"] + 1
