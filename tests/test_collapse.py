"""What counts as a collapse: never a healthy training, always a sick one; both are real runs here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from likelier import load_images
from likelier.collapse import (
    MISSING,
    MODES_MISSING,
    SAME,
    SATURATED,
    collapse_warnings,
    critic_overfits,
    discriminator_won,
    mode_collapse,
    modes_missing,
)
from likelier.experiment import load, train
from likelier.features import extractor
from likelier.images import Images, Split, as_float
from likelier.report import write_report
from likelier.stability import MEMORISED
from likelier.watch import Watch

LOPSIDED = "broken_models.lopsided"
HEALTHY = {
    "vae": {"settings": {"variance": 0.05}, "images": 60_000},
    "dcgan": {"images": 60_000, "settings": {"width": 8}},
    "vae_gan": {"images": 20_000},
}
SICK: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a huge weight of the KL": ("vae", {"beta": 1000}, ["posterior collapse"]),
    "a discriminator of absurd steps": (LOPSIDED, {"discriminator_lr": 0.03}, ["mode collapse"]),
    "a generator of one unit": (LOPSIDED, {"generator_hidden": 1}, ["mode collapse", "the discriminator has won"]),
    "both players of absurd steps": ("gan", {"lr": 0.1}, ["mode collapse", "the discriminator has won"]),
}


@pytest.mark.parametrize("family", HEALTHY)
def test_a_healthy_training_is_told_nothing(family: str, tmp_path: Path):
    run = train(family, out=tmp_path / "run", **HEALTHY[family])
    assert collapse_warnings(run.metrics()) == []


@pytest.mark.slow
def test_a_plain_gan_with_its_whole_budget_is_told_of_the_modes_that_it_lacks(tmp_path: Path):
    found = collapse_warnings(train("gan", out=tmp_path / "run").metrics())
    assert [said.partition(":")[0] for said in found] == [MODES_MISSING]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vae", "dcgan", "vae_gan"])
def test_a_healthy_training_on_mnist_is_told_nothing(family: str, tmp_path: Path, data_root: Path):
    """Not `gan`, which collapses there: nine of ten classes are missing after two epochs."""
    run = train(family, "mnist", data_root=data_root, images=40_000, out=tmp_path / "run")
    assert collapse_warnings(run.metrics()) == []


@pytest.mark.parametrize("why", SICK)
def test_a_sick_training_is_told_what_it_has_and_what_helps(why: str, tmp_path: Path):
    family, settings, expected = SICK[why]
    run = train(family, images=50_000, settings=settings, out=tmp_path / "run")
    found = collapse_warnings(run.metrics())
    assert [sentence.partition(":")[0] for sentence in found] == expected
    assert all(";" in sentence for sentence in found)


def test_it_is_said_at_the_end_and_in_reports_of_what_is_measured_and_what_is_not(likelier, tmp_path: Path):
    outcome = likelier("train", "gan", "--set", "lr=0.1", "--images", 60_000, "--out", "sick", "-q")
    kinds = ["mode collapse", "the discriminator has won"]
    on_the_way, at_the_end = (lines := outcome.err.splitlines())[:-2], lines[-2:]
    assert [line.partition(":")[0] for line in at_the_end] == kinds
    assert [line.split(": ")[3] for line in on_the_way] == kinds, "each once, and while there is something to be saved"
    assert all(" of 60,000 images: " in line for line in on_the_way)
    write_report([Path("sick")], Path("unmeasured.html"), title="", command="")
    page = Path("unmeasured.html").read_text()
    assert "mode collapse: the samples" in page
    assert "the discriminator has won: its loss is" in page
    likelier("measure", "sick")
    assert sum("mode collapse" in said for said in json.loads(Path("sick/measures.json").read_text())["warnings"]) == 1
    write_report([Path("sick")], Path("measured.html"), title="", command="")
    assert "mode collapse: the samples" in Path("measured.html").read_text()


def test_a_healthy_training_is_not_interrupted(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    train("vae", out=tmp_path / "run", **HEALTHY["vae"])
    assert not [warning for warning in recwarn if " images: " in str(warning.message)]


def test_a_discriminator_that_has_learned_its_images_by_heart(tmp_path: Path):
    """Sixty-four of them, and no penalty on its slope."""
    digits = load_images("digits")
    few = Images("few", Split(digits.train.images[:64], digits.train.labels[:64]), digits.test, digits.classes)
    settings = {"beta1": 0, "beta2": 0.99, "hidden": 512, "lr": 1e-3}
    run = train("gan", few, images=60_000, settings=settings, out=tmp_path / "run")
    assert any(said.startswith("the discriminator overfits") for said in collapse_warnings(run.metrics()))


def test_samples_without_four_of_ten_classes(tmp_path: Path):
    """As good as real ones: they are."""
    digits = load_images("digits")
    known = digits.train.images[digits.train.labels < 6]
    run = train("vae", images=1_000, looks=2, out=tmp_path / "run")
    model = load(run)
    model.sample = lambda n, generator, labels=None: as_float(known[torch.arange(n) % len(known)])
    look = Watch(run, digits, extractor(digits))(model, 1_000)
    assert "lack 40% of the classes" in (modes_missing([{"images": 1_000, "evaluation": True, **look}]) or "")


def test_the_criteria_of_missing_modes_and_of_an_overfitting_critic():
    assert modes_missing(looks(classes_missing=[0.9, 0.0, 0.1, 0.1, 0.0, 0.1])) is not None
    assert modes_missing(looks(classes_missing=[0.9, 0.0, 0.1, 0.0, 0.0, 0.1])) is None
    assert modes_missing(looks(classes_missing=[MISSING] * 5)) is None, "that is mode collapse"
    assert critic_overfits(looks(d_gap=[MEMORISED + 0.01] * 3)) is not None
    assert critic_overfits(looks(d_gap=[MEMORISED] * 3)) is None


def looks(**values: list[float | None]) -> list[dict[str, Any]]:
    count = len(next(iter(values.values())))
    untrained = {"images": 0, "evaluation": True, **dict.fromkeys(values, 0.0)}
    return [untrained] + [
        {"images": 100 * (i + 1), "evaluation": True, **{name: found[i] for name, found in values.items()}}
        for i in range(count)
    ]


def test_the_criteria_are_medians_of_the_last_five_looks():
    assert mode_collapse(looks(diversity=[0.0, 0.0, *[SAME] * 3, 0.0, 0.0])) is None
    assert "vary 0.0% as much" in (mode_collapse(looks(diversity=[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0])) or "")
    assert mode_collapse(looks(classes_missing=[1.0, MISSING - 0.01, 0.0, None])) is None
    assert "lack 70% of the classes" in (mode_collapse(looks(classes_missing=[0.0, MISSING, MISSING])) or "")


def test_a_discriminator_has_won_when_its_loss_has_long_been_nothing():
    def training(losses: list[float]) -> list[dict[str, Any]]:
        return [{"images": 10 * (i + 1), "loss.discriminator": loss} for i, loss in enumerate(losses)]

    assert discriminator_won(training([1.0] * 6 + [SATURATED / 2] * 4))
    assert discriminator_won(training([0.0] * 6 + [1.0] * 4)) is None
    assert discriminator_won(training([1.0] * 9 + [0.0])) is None
    assert discriminator_won(training([-5.0] * 10)) is None, "a critic's loss has no least value"
    certain = training([0.0] * 10)
    assert discriminator_won([*certain, *looks(d_pairwise=[0.5] + [0.995] * 5)])
    assert discriminator_won([*certain, *looks(d_pairwise=[0.995] * 4 + [0.5])]) is None
    assert discriminator_won(looks(d_pairwise=[1.0] * 5)) is None, "a DCGAN begins like that"


def test_a_training_of_a_few_turns_is_too_short_to_have_collapsed():
    alike = looks(diversity=[0.0] * 5)
    assert collapse_warnings([*alike, {"images": 600, "turns": 100}]) == []
    assert len(collapse_warnings([*alike, {"images": 600, "turns": 300}])) == 1
    assert collapse_warnings([*alike, {"images": 600, "turns": 300, "rounds": 100}]) == []
    assert len(collapse_warnings([*alike, {"images": 600, "turns": 100, "rounds": 400}])) == 1


@pytest.mark.parametrize(("family", "rounds"), [("gan", 1), ("r3gan", 4), ("wgan_gp", 1)])
def test_rounds_are_counted_by_whoever_moves_least(family: str, rounds: int, tmp_path: Path):
    """Otherwise a game whose turns hold several would be held to be too short to have collapsed."""
    settings = {"batch": 16, "network": "mlp", "hidden": 8}
    run = train(family, images=1_000, settings=settings, looks=2, out=tmp_path / "run")
    line = [line for line in run.metrics() if not line.get("evaluation")][-1]
    assert line["rounds"] == rounds * line["turns"]


def test_a_log_without_looks_or_numbers_says_nothing():
    assert collapse_warnings([]) == []
    assert collapse_warnings([{"images": 1, "evaluation": True, "kl": None, "diversity": float("nan")}]) == []
