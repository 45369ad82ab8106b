"""Models that are told of classes: they make what they are asked for, and everything else takes them as any other."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Likelier, MakeFolder
from likelier import rng
from likelier.data import load as load_images
from likelier.experiment import load, train
from likelier.images import Images, Split, as_float
from likelier.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training on ten classes."""
    settings = {"classes": 10, "hidden": 256, "batch": 64, "lr": 1e-3, "ema": 2_000, "every": 1, "cooling": 0}
    out = tmp_path_factory.mktemp("runs") / "run"
    return train("r3gan", "digits", images=20_000, settings=settings, out=out, looks=3)


def test_samples_are_of_the_class_that_is_asked_for(run: Run):
    """As the nearest mean of the training images of a class has it; by chance it would be one in ten."""
    train_split, wanted = load_images("digits").train, torch.arange(500) % 10
    x = as_float(train_split.images).flatten(1)
    means = torch.stack([x[train_split.labels == label].mean(0) for label in range(10)])
    nearest = torch.cdist(load(run).sample(500, rng.generator(0, "x"), wanted).flatten(1), means).argmin(1)
    assert (nearest == wanted).float().mean() > 0.6


def test_a_look_scores_images_and_samples_as_what_they_are(run: Run):
    """The classes of the images, and those that the samples were asked for: with others D would be misled."""
    looks = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    last = [look for look in looks if "evaluation" in look][-1]
    assert 0.5 < last["d_pairwise"] < 1
    assert abs(last["d_gap"]) < 0.3


def test_labels_on_the_command_line(run: Run, likelier: Likelier, tmp_path: Path):
    for label, numbers in (("3", [3]), ("7,1", [7, 1])):
        assert likelier("sample", run.path, "-n", 5, "--out", "x.npz", "--label", label).code == 0
        wanted = torch.tensor((numbers * 5)[:5])
        images = load(run).sample(5, rng.generator(0, "sample"), wanted)
        found = np.load(tmp_path / "x.npz")["images"]
        assert np.abs(found / 255 - images.numpy()).max() < 0.003
    for none in ("ten", "9" * 5_000):  # more digits than Python takes for a number
        refused = likelier("sample", run.path, "--label", none)
        assert refused.code == 2
        assert refused.err.strip().endswith(f"knows no class '{none}': wanted 0 to 9 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)")


def test_a_class_goes_by_its_name_before_its_number(likelier: Likelier, idx_folder: MakeFolder, tmp_path: Path):
    assert (
        likelier("train", "gan", "--data", "digits", "--images", 128, "--set", "classes=10", "--out", "run").code == 0
    )
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["classes"] == list("0123456789")
    config["classes"] = ["boot", "3", *"abcdefgh"]
    (tmp_path / "run/config.json").write_text(json.dumps(config))
    arrays = {}
    for name in ("boot", "3", "0", "1"):
        assert likelier("sample", "run", "-n", 2, "--out", "x.npz", "--label", name).code == 0
        arrays[name] = np.load(tmp_path / "x.npz")["images"]
    assert (arrays["boot"] == arrays["0"]).all()
    assert (arrays["3"] == arrays["1"]).all()


def test_labels_for_a_model_without_are_refused(likelier: Likelier):
    assert likelier("train", "gan", "--images", 128, "--out", "run").code == 0
    refused = likelier("sample", "run", "--label", "3")
    assert (refused.code, refused.out) == (2, "")
    assert "run was not trained on labels: train it with --set classes=N" in refused.err


def test_the_wrong_number_of_classes_is_refused_before_anything_is_written(likelier: Likelier, tmp_path: Path):
    refused = likelier("train", "gan", "--images", 128, "--set", "classes=7", "--out", "run")
    assert refused.code == 2
    assert "classes = 7: wanted 10, which digits has, or 0" in refused.err
    assert not (tmp_path / "run").exists()


def test_it_is_measured_and_compared_like_any_other(likelier: Likelier, tmp_path: Path):
    done = likelier("compare", "gan", "vae", "--images", 1_000, "--set", "gan.classes=10", "--out", "all", "-q")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "all/runs/gan-seed0/measures.json").read_text())["measures"]
    assert all(isinstance(m["value"], float) or m["why_not"] for m in found)
    assert next(m["value"] for m in found if m["key"] == "frechet_distance") > 0
    refused = likelier("reconstruct", "all/runs/gan-seed0")
    assert refused.code == 2
    assert "has no encoder" in refused.err


def test_who_begins_with_anothers_weights_counts_the_classes_of_its_own_images(tmp_path: Path):
    digits = load_images("digits")
    settings = {"classes": 10, "hidden": 8, "ema": 1_000}
    parent = train("gan", digits, images=128, settings=settings, out=tmp_path / "parent")
    few = Split(digits.train.images[:100], torch.zeros(100, dtype=torch.int64))  # all of class 0
    zeros = Images("zeros", few, digits.test, digits.classes)
    child = train(init=parent, data=zeros, images=128, out=tmp_path / "child").state()
    for weights in ("family", "shown"):
        assert (child.tensors[f"{weights}/last_of_class"] == 1).all()
    assert not (parent.state().tensors["family/last_of_class"] == 1).all()
