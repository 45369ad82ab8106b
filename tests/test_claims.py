"""The lab's claims: known outcomes on runs made up here, laws of the intervals, and the recipe on real digits."""

import csv
import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from likelier.claims import CLAIMS, Figure, Finding, Lab, Look, Model, Record, as_json, judge_claims
from likelier.errors import InputError
from likelier.intervals import deviations, median_interval, ratio_interval
from likelier.pictures import grid
from likelier.report import claims_on
from likelier.texture import cut, edge_steepness, neighbour_correlation
from likelier.verdict import Trial, contender, judge, permutation_p

ROOT = Path(__file__).parents[1]
FLOORS = {"raw pixels": 0.05, "untrained encoder": 0.01}
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 12, 12, 1), dtype=np.uint8)
SMOOTH = np.clip(128 + np.cumsum(RNG.normal(0, 25, (64, 12, 12, 1)), axis=2), 0, 255).astype(np.uint8)
SQUARES = np.zeros((10, 12, 12, 1), np.uint8)
SQUARES[:, 3:9, 3:9] = 255
GREY = np.full_like(SQUARES, 120)


def blurred(pictures: np.ndarray) -> np.ndarray:
    """A mean over 3 × 3 pixels."""
    padded = np.pad(pictures.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = [padded[:, i : i + pictures.shape[1], j : j + pictures.shape[2]] for i, j in product(range(3), repeat=2)]
    return np.mean(shifts, axis=0).astype(np.uint8)


def log(losses: dict[str, np.ndarray], **looks: Sequence[float]) -> list[dict[str, Any]]:
    """A log with these losses, and scalars of looks."""
    n = len(next(iter(losses.values())))
    lines = [{"images": 128 * (t + 1), **{f"loss.{p}": float(x[t]) for p, x in losses.items()}} for t in range(n)]
    m = max(map(len, looks.values()), default=0)
    at = [{"images": 1000 * i, "evaluation": True, **{k: v[i] for k, v in looks.items()}} for i in range(m)]
    return [*lines, *at]


def falling(seed: int) -> np.ndarray:
    """A loss that falls under the noise of batches."""
    return 5 * np.exp(-np.arange(400) / 100) + np.random.default_rng(seed).normal(0, 0.05, 400)


def swinging(seed: int) -> np.ndarray:
    """A loss that goes up and down, with a peak now and then."""
    x = np.sin(np.arange(400) / 15 + seed) + np.random.default_rng(seed).normal(0, 0.02, 400)
    x[30::40] += 9
    return x


def vae(seed: int, fd: float = 20.0, **changes: Any) -> Record:
    """A VAE of which every claim about it holds."""
    figures = {
        "frechet_distance": Figure(fd + 0.1 * seed),
        "silhouette": Figure(0.1 + 0.001 * seed, FLOORS),
        "silhouette_pca": Figure(0.07 + 0.001 * seed, FLOORS),
        "reconstruction_mse": Figure(0.02),
        "recall": Figure(0.5),
    }
    lines = log({"vae": falling(seed)}, mse=[0.2, 0.05, 0.02], fd=[90.0, 40.0, fd])
    looks = [Look(0, SQUARES, GREY), Look(2000, SQUARES, blurred(SQUARES))]
    return replace(Record(seed, "finished", figures, lines, SMOOTH, SMOOTH, looks), **changes)


def gan(seed: int, fd: float = 60.0, **changes: Any) -> Record:
    """A GAN that begins as noise, is restless, and has another quality with every seed."""
    figures = {"frechet_distance": Figure(fd * 1.2 ** (seed + 1)), "recall": Figure(0.1), "silhouette": Figure(None)}
    lines = log({"discriminator": swinging(seed), "generator": falling(seed)}, fd=[500.0, fd])
    return replace(Record(seed, "finished", figures, lines, NOISE, SMOOTH), **changes)


def lab(make_vae: Callable[[int], Record] = vae, make_gan: Callable[[int], Record] = gan, seeds: int = 5) -> Lab:
    """The lab's VAE, its GAN and a better GAN, with the verdicts on them."""
    better = [gan(seed, fd=8) for seed in range(seeds)]
    models = [
        Model("vae", "vae", tuple(map(make_vae, range(seeds)))),
        Model("gan", "gan", tuple(map(make_gan, range(seeds)))),
        Model("dcgan", "dcgan", tuple(better)),
    ]
    return Lab(models, judge([contender(model.name, list(map(trial, model.records))) for model in models]))


def trial(record: Record) -> Trial:
    values = {key: figure.value for key, figure in record.figures.items() if figure.value is not None}
    return Trial(record.status == "finished", values, 0.5)


def found(lab: Lab, key: str, *models: str) -> Finding:
    """What came of one claim for these models."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    return next(finding for finding in claim.judge(lab) if finding.models == models)


def test_the_claims_of_the_lab_hold_of_runs_that_are_as_it_says() -> None:
    outcomes = {(each.claim.key, f.models): f.outcome for each in judge_claims(lab()) for f in each.findings}
    assert [each.key for each in CLAIMS] == list(dict.fromkeys(key for key, _ in outcomes))
    refused = {models for models, outcome in outcomes.items() if outcome != "holds"}
    assert refused == {("below", ("vae", "dcgan"))}  # which is better than this VAE
    assert outcomes["below", ("vae", "dcgan")] == "does not hold"


def measured_as(**figures: Figure) -> Callable[[int], Record]:
    return lambda seed: vae(seed, figures={**vae(seed).figures, **figures})


CLEAR = Figure(0.2, {**FLOORS, "untrained encoder": 0.3})
SHAKY = [falling(seed) + 0.5 * np.sin(np.arange(400) / 10) for seed in range(5)]
REFUSED = {  # claim: runs of which it does not hold, each for another reason
    "clusters": [
        measured_as(silhouette=Figure(0.04, FLOORS)),
        measured_as(silhouette=CLEAR),
        measured_as(silhouette=Figure(-0.02, {"raw pixels": -0.3, "untrained encoder": -0.2})),
        lambda seed: vae(seed, status="diverged"),
    ],
    "clusters_pca": [measured_as(silhouette_pca=Figure(-0.05, {"raw pixels": 0.03, "untrained encoder": -0.1}))],
    "steady": [
        lambda seed: vae(seed, log=log({"vae": SHAKY[seed]})),
        lambda seed: vae(seed, log=log({"vae": falling(seed)[::-1]})),
        lambda seed: vae(seed, log=log({"vae": 3 - 1e-9 * np.arange(400.0)[::-1]})),  # steady, and does not fall
        lambda seed: vae(seed, status="diverged"),
    ],
    "sharpen": [
        lambda seed: vae(seed, looks=[Look(0, SQUARES, SQUARES), Look(9, SQUARES, blurred(SQUARES))]),
        lambda seed: vae(seed, log=log({"vae": falling(seed)}, mse=[0.02, 0.03])),  # sharper, and further away
    ],
    "noise": [lambda seed: gan(seed, beginning=SMOOTH), lambda seed: gan(seed, beginning=chequered(64))],
    "restless": [
        lambda seed: gan(seed, log=log({"discriminator": falling(seed), "generator": falling(seed + 9)})),
        lambda seed: gan(seed, log=log({"discriminator": np.sin(np.arange(400) / 15), "generator": falling(seed)})),
    ],
    "modified": [lambda seed: gan(seed, fd=2)],
    "below": [lambda seed: gan(seed, fd=2)],
    "robust": [lambda seed: gan(seed, figures={"frechet_distance": Figure(60 + 0.001 * seed)})],
}
SUBJECTS = {"noise": ("gan",), "restless": ("gan",), "modified": ("dcgan", "gan")}
SUBJECTS |= dict.fromkeys(("below", "robust"), ("vae", "gan"))


def chequered(n: int) -> np.ndarray:
    """Pixels that are the opposite of their neighbours: no noise, though they are not alike."""
    rows, columns = np.indices((12, 12))
    return np.broadcast_to((255 * ((rows + columns) % 2))[None, :, :, None], (n, 12, 12, 1)).astype(np.uint8)


def with_(key: str, make: Callable[[int], Record], seeds: int = 5) -> Lab:
    """The lab with other runs of the model that the claim is about."""
    return lab(make_gan=make, seeds=seeds) if key in SUBJECTS else lab(make_vae=make, seeds=seeds)


@pytest.mark.parametrize(("key", "case"), [(key, i) for key, cases in REFUSED.items() for i in range(len(cases))])
def test_a_claim_is_refused_by_runs_that_speak_against_it(key: str, case: int) -> None:
    assert found(with_(key, REFUSED[key][case]), key, *SUBJECTS.get(key, ("vae",))).outcome == "does not hold"


@pytest.mark.parametrize("key", REFUSED)
def test_nothing_is_said_of_four_seeds_or_of_seeds_that_disagree(key: str) -> None:
    subject = SUBJECTS.get(key, ("vae",))
    few = found(lab(seeds=4), key, *subject)
    assert (few.outcome, few.reason) == ("cannot be said", "4 seeds, and 5 or more are wanted")
    usual, refused = (gan if key in SUBJECTS else vae), REFUSED[key][0]
    split = found(with_(key, lambda seed: (usual if seed % 2 else refused)(seed)), key, *subject)
    assert split.outcome != "holds"
    if key not in ("robust", "modified", "below"):  # where a mixture is a spread, and a better GAN
        assert split.outcome == "cannot be said"


MISSING: list[tuple[str, Callable[[int], Record], str]] = [
    ("clusters", measured_as(silhouette=Figure(None, {}, "the images have no classes")), "the images have no classes"),
    ("clusters", measured_as(silhouette=Figure(0.2)), "the raw pixels and the untrained encoder were not measured"),
    ("clusters", lambda seed: vae(seed, figures={}) if seed == 3 else vae(seed), "seed 3: not measured"),
    ("steady", lambda seed: vae(seed, status="unfinished") if seed > 2 else vae(seed), "seeds 3, 4: not finished"),
    ("steady", lambda seed: vae(seed, log=[]), "no losses were logged"),
    ("steady", lambda seed: vae(seed, log=log({"vae": np.full(400, np.nan)})), "0 losses: wanted at least 40"),
    ("sharpen", lambda seed: vae(seed, looks=vae(seed).looks[1:]), "no pictures of reconstructions, before training"),
    ("sharpen", lambda seed: vae(seed, looks=[Look(0, GREY, GREY)] * 2), "the original images have no edges"),
    ("noise", lambda seed: gan(seed, beginning=GREY), "its samples before training are of one grey"),
    ("noise", lambda seed: gan(seed, beginning=None), "no picture of its samples before training"),
    ("restless", lambda seed: gan(seed, log=gan(seed).log[:30]), "30 losses: wanted at least 60"),
    ("robust", lambda seed: gan(seed, figures={}), "not every run of the two has ended and is measured"),
]


@pytest.mark.parametrize(("key", "make", "reason"), MISSING, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_missing_is_said(key: str, make: Callable[[int], Record], reason: str) -> None:
    finding = found(with_(key, make), key, *SUBJECTS.get(key, ("vae",)))
    assert finding.outcome == "cannot be said"
    assert reason in finding.reason


def test_halves_that_differ_are_both_said() -> None:
    swings = lambda seed: gan(seed, log=log({"discriminator": np.sin(np.arange(400) / 15), "generator": falling(seed)}))  # noqa: E731
    finding = found(lab(make_gan=swings), "restless", "gan")
    assert [each.outcome for each in finding.halves] == ["holds", "does not hold"]
    assert finding.reason == "fluctuates: rising steps, holds; spikes: share of points, does not hold"


def test_a_claim_without_a_run_is_not_tried_and_not_dropped() -> None:
    alone = Lab([Model("mine", "my.module", tuple(map(vae, range(5))))])
    tried = {each.claim.key: len(each.findings) for each in judge_claims(alone)}
    assert tried == dict.fromkeys((claim.key for claim in CLAIMS), 0) | {"clusters": 1, "clusters_pca": 1, "sharpen": 1}


def test_the_order_and_the_names_of_seeds_change_nothing() -> None:
    one = lab(lambda seed: replace(vae(seed), seed=100 - seed), lambda seed: replace(gan(seed), seed=7 * seed))
    models = [replace(model, records=model.records[::-1]) for model in one.models]
    other = Lab(models, judge([contender(model.name, list(map(trial, model.records))) for model in models]))
    for a, b in zip(as_json(judge_claims(lab())), as_json(judge_claims(other)), strict=True):
        for of_a, of_b in zip(a["findings"], b["findings"], strict=True):
            assert of_a["outcome"] == of_b["outcome"]
            for x, y in zip(of_a["halves"], of_b["halves"], strict=True):
                assert x["interval"] == y["interval"]
                assert sorted(x["values"]) == sorted(y["values"])


@pytest.mark.parametrize(("size", "outcome"), [(0.0, "holds"), (0.002, "holds"), (0.5, "does not hold")])
def test_a_swing_turns_steadily_over_and_noise_of_batches_does_not(size: float, outcome: str) -> None:
    def make(seed: int) -> Record:
        wander = np.cumsum(np.random.default_rng(seed).normal(0, 1, 400))
        return vae(seed, log=log({"vae": falling(seed) + size * wander}))

    assert found(lab(make_vae=make), "steady", "vae").outcome == outcome
    noisy = lambda seed: vae(seed, log=log({"vae": falling(seed) + RNG.normal(0, 1, 400)}))  # noqa: E731
    assert found(lab(make_vae=noisy), "steady", "vae").outcome == "holds"


def test_a_diverged_gan_is_the_less_robust_one_and_json_holds_it() -> None:
    broken = lab(make_gan=lambda seed: gan(seed, status="diverged" if seed > 1 else "finished"))
    assert found(broken, "robust", "vae", "gan").outcome == "holds"
    text = json.dumps(as_json(judge_claims(broken)), allow_nan=False)
    assert "does not hold" in text
    assert len(json.loads(text)) == len(CLAIMS)


@pytest.mark.parametrize("n", [5, 6, 8, 10, 17])
def test_the_interval_of_a_median_covers_what_it_says(n: int) -> None:
    """Each end misses the median of any distribution at most once in twenty."""
    draws = np.random.default_rng(n).exponential(size=(2000, n))
    intervals = [median_interval(draw.tolist()) for draw in draws]
    low, high = (np.mean([getattr(each, end) > math.log(2) for each in intervals]) for end in ("low", "high"))
    assert abs((high - low) - intervals[0].coverage) < 0.025
    assert low < 0.065
    assert 1 - high < 0.065
    assert median_interval(draws[0, :4].tolist()) is None


def test_the_interval_of_a_ratio_is_the_test_of_ranks_turned_round() -> None:
    rng = np.random.default_rng(4)
    for n, m in [(4, 4), (5, 5), (5, 7), (10, 10), (3, 9), (40, 60)]:
        for shift in rng.uniform(0, 4 / math.sqrt(n / 4), 25):
            x, y = np.exp(rng.normal(shift, 1, n)).tolist(), np.exp(rng.normal(0, 1, m)).tolist()
            interval = ratio_interval(x, y)
            assert interval is not None
            assert (interval.low > 1 or interval.high < 1) == (permutation_p(x, y) <= 0.05)
            scaled = ratio_interval([3 * a for a in x], y)
            assert scaled is not None
            assert scaled.centre == pytest.approx(3 * interval.centre)
    assert ratio_interval([1, 2, 3], [1, 2, 3]) is None
    assert ratio_interval([], [1.0]) is None


def test_deviations_know_no_scale_and_no_number_is_too_odd() -> None:
    assert deviations([5, 7, 9]) == pytest.approx(deviations([50, 70, 90]))
    assert deviations([1.0, math.inf, math.inf]) == [math.inf, math.inf]
    assert deviations([1.0, 1.0, math.inf]) == [0.0, math.inf]
    assert not any(map(math.isnan, deviations([0.0, 0.0, 1.0, math.inf])))


def test_noise_blur_and_edges() -> None:
    assert abs(neighbour_correlation(NOISE) or 1) < 0.03
    assert (neighbour_correlation(SMOOTH) or 0) > 0.4
    assert neighbour_correlation(chequered(2)) == pytest.approx(-1)
    assert edge_steepness(blurred(SQUARES)) < 0.6 * edge_steepness(SQUARES)
    faint = (120 + RNG.integers(-12, 13, SQUARES.shape)).astype(np.uint8)
    assert edge_steepness(faint) < 0.2 * edge_steepness(SQUARES)
    assert edge_steepness(np.rot90(SQUARES, axes=(1, 2))) == edge_steepness(SQUARES)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 9, 7)])
def test_pictures_of_a_run_are_cut_into_the_images_they_were_made_of(channels: int, height: int, width: int) -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (12, channels, height, width), dtype=np.uint8))
    with Image.open(BytesIO(grid(images, 4))) as picture:
        pixels = np.asarray(picture)
    tiles = cut(pixels, height, width)
    assert tiles is not None
    assert (tiles.transpose(0, 3, 1, 2) == images.numpy()).all()
    assert cut(pixels, height + 1, width) is None
    assert cut(pixels[:0], height, width) is None


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_recipe", ROOT / "recipes/lab/lab.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_recipe_draws_the_lab_s_figures_and_goes_on_with_what_is_there(recipe: ModuleType, tmp_path: Path) -> None:
    asked = ["--data", "digits", "--images", "512", "--seeds", "1", "--also", "--out", str(tmp_path)]
    recipe.main(asked)
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("comparison/runs/*/measures.json")}
    assert [path.parent.name for path in sorted(done)] == ["dcgan-seed0", "gan-seed0", "vae-seed0"]
    for name in ("1a", "1b", "1c", "2", "3"):
        with Image.open(tmp_path / f"figure-{name}.png") as picture:
            assert np.ptp(np.asarray(picture)) > 0
        with (tmp_path / f"figure-{name}.csv").open() as file:
            rows = list(csv.reader(file))
        assert len(rows) > 5
        assert {len(row) for row in rows} == {len(rows[0])}
    claims = json.loads((tmp_path / "comparison/claims.json").read_text())["claims"]
    assert [each["key"] for each in claims] == [claim.key for claim in CLAIMS]
    assert {f["outcome"] for each in claims for f in each["findings"]} == {"cannot be said"}
    values = {each["key"]: each["findings"][0]["halves"][0]["values"] for each in claims}
    assert values["sharpen"][0] > 0  # of a real VAE, after eight steps
    assert 0 <= values["noise"][0] < 0.3
    assert (tmp_path / "claims.md").read_text().count("cannot be said") == sum(len(c["findings"]) for c in claims)
    runs = sorted(tmp_path.glob("comparison/runs/*"), reverse=True)  # as claims are of models, so is their order
    assert {each["key"]: each for each in as_json(claims_on(runs))}["steady"] == claims[2]
    recipe.trained(recipe.options_of(asked))
    assert done == {path: path.stat().st_mtime_ns for path in done}
    with pytest.raises(InputError, match="name another folder"):
        recipe.trained(recipe.options_of([*asked, "--seeds", "2"]))


@pytest.mark.slow
def test_five_real_seeds_let_claims_be_said(recipe: ModuleType, tmp_path: Path) -> None:
    recipe.main(["--data", "digits", "--epochs", "20", "--also", "--out", str(tmp_path)])
    claims = json.loads((tmp_path / "comparison/claims.json").read_text())["claims"]
    outcomes = {(each["key"], *f["models"]): f["outcome"] for each in claims for f in each["findings"]}
    assert outcomes["sharpen", "vae"] == "holds"
    assert outcomes["steady", "vae"] == "holds"
    assert outcomes["noise", "gan"] == "holds"


def test_the_interval_of_spreads_is_near_to_what_it_says_and_is_not_called_exact() -> None:
    rng = np.random.default_rng(5)
    for draw in (rng.normal, rng.exponential):
        x, y = np.exp(draw(size=(2, 1_000, 5)))
        intervals = [ratio_interval(deviations(a), deviations(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert np.mean([found is not None and found.low > 1 for found in intervals]) < 0.04
    robust = next(claim for claim in CLAIMS if claim.key == "robust")
    assert "exact" not in robust.criterion
    assert "not exact" in robust.why


def test_the_recipe_goes_on_with_images_of_one_s_own(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = RNG.integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez("own.npz", train_images=images[:200], test_images=images[200:])
    asked = recipe.options_of(["--data", "own.npz", "--images", "256", "--seeds", "1", "--also", "--out", "lab"])
    gone_on: list[Path] = []
    monkeypatch.setattr(recipe, "resume_comparison", lambda path, audience: gone_on.append(path))
    plan = {"data": str(tmp_path / "own.npz"), "models": ["vae", "gan", "dcgan"], "seeds": [0], "images": 256}
    (tmp_path / "lab" / "comparison").mkdir(parents=True)
    (tmp_path / "lab" / "comparison" / "compare.json").write_text("{}")
    monkeypatch.setattr(recipe, "read_plan", lambda path: plan)
    recipe.trained(asked)
    assert gone_on == [Path("lab/comparison")]
    plan["data"] = str(tmp_path / "other.npz")
    with pytest.raises(InputError, match="name another folder"):
        recipe.trained(asked)
