"""Measures of whole runs: against known fakes, and what a run is left with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

import likelier
from likelier import rng
from likelier.evidence import Evidence
from likelier.experiment import load, train
from likelier.features import extractor, network
from likelier.images import Images, Split, as_float
from likelier.measuring import SAMPLE_MEASURES, measure, measure_images, shared_noise, value_of
from likelier.modes import MODE_MEASURES
from likelier.reference import Reference, noise_of


@pytest.fixture(scope="module")
def digits() -> Images:
    return likelier.load_images("digits")


@pytest.fixture(scope="module")
def reference(digits: Images) -> Reference:
    return Reference(digits, extractor(digits))


def judged(reference: Reference, images: torch.Tensor) -> dict[str, float]:
    return reference.against(reference.view(images))


def test_floors_are_what_real_images_score(reference: Reference):
    for kind in ("train–train", "train–test"):
        floor = reference.floors[kind]
        assert floor["precision"] > 0.9
        assert floor["recall"] > 0.9
        assert floor["coverage"] > 0.9
        assert floor["missing_classes"] == 0
        assert 0 < floor["frechet_distance"] < 2


def test_n_is_half_the_training_split_or_the_test_split(reference: Reference):
    assert reference.n == 599
    assert len(set(reference.index.tolist())) == 599


def test_noise_is_far_from_everything(reference: Reference, digits: Images):
    noise = torch.randint(0, 256, (599, 1, 8, 8), generator=rng.generator(0, "noise"), dtype=torch.uint8)
    found = judged(reference, noise)
    assert found["frechet_distance"] > 20 * reference.floors["train–test"]["frechet_distance"]
    assert found["coverage"] < 0.1


def test_a_missing_class_is_seen(reference: Reference, digits: Images):
    kept = digits.train.images[digits.train.labels != 3]
    found = judged(reference, kept[:599])
    whole = reference.floors["train–train"]
    assert found["class_histogram_kl"] > 5 * whole["class_histogram_kl"]
    assert found["frechet_distance"] > 2 * whole["frechet_distance"]
    assert found["recall"] < whole["recall"]


def test_few_images_repeated_are_seen_by_recall(reference: Reference, digits: Images):
    found = judged(reference, digits.test.images[:20].repeat(30, 1, 1, 1)[:599])
    assert found["recall"] < 0.5 * reference.floors["train–test"]["recall"]
    assert found["coverage"] < 0.5 * reference.floors["train–test"]["coverage"]


def test_blur_costs_recall(reference: Reference, digits: Images):
    x = as_float(digits.test.images)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    found = judged(reference, (blurred * 255).round().to(torch.uint8))
    assert found["recall"] < reference.floors["train–test"]["recall"] - 0.1
    assert found["frechet_distance"] > 3 * reference.floors["train–test"]["frechet_distance"]


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_measured_run_holds_its_measures(family: str, tmp_path: Path, reference: Reference):
    run = train(family, images=2_000, out=tmp_path / family)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    result = measure(run, reference=reference)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002
    assert json.loads((run.path / "measures.json").read_text()) == result
    by_key = {m["key"]: m for m in result["measures"]}
    assert by_key["frechet_distance"]["name"] == f"fd_{reference.extractor.name}_train_n599_u8"
    assert set(by_key["precision"]["floor"]) == {"train–train", "train–test"}
    distance = by_key["frechet_distance"]
    assert len(distance["elsewhere"]) == 2
    assert reference.extractor.name not in distance["elsewhere"]
    assert 0 < distance["noise"] < distance["value"]
    assert result["stability"]["fd_count"] > 0
    assert (result["stability"]["d_pairwise"] is not None) == (family == "gan")
    assert result["conditions"]["data_digest"] == reference.images.digest
    encodes = family == "vae"
    for key in ("reconstruction_mse", "linear_probe", "silhouette", "active_units", "kl", "elbo"):
        assert (by_key[key]["value"] is not None) == encodes
        assert bool(by_key[key]["why_not"]) != encodes
    if encodes:
        assert set(by_key["linear_probe"]["floor"]) == {"raw pixels", "untrained encoder"}
    assert measure(run, reference=reference) == result, "the same run measures the same"


def test_figures_hold_what_the_report_draws(tmp_path: Path, reference: Reference):
    run = train("vae", images=2_000, out=tmp_path / "vae", settings={"latent": 1})
    measure(run, reference=reference)
    with np.load(run.path / "figures.npz", allow_pickle=False) as arrays:
        assert arrays["real"].shape == arrays["shared_noise_samples"].shape == (64, 1, 8, 8)
        assert arrays["codes"].shape == (599, 1)
        assert arrays["codes_pca"].shape == (599, 2)
        for below in ("untrained", "pixels"):
            assert arrays[f"{below}_pca"].shape == (599, 2)
        shown = Evidence(load(run), load(run), reference).probe_test
        pca = PCA(2).fit(pixels := shown.images.flatten(1).numpy() / 255)
        assert arrays["code_labels"].tolist() == shown.labels.tolist()
        assert np.abs(arrays["pixels_pca"]) == pytest.approx(np.abs(pca.transform(pixels)), abs=1e-3)
        assert arrays["pixels_pca_explained"] == pytest.approx(pca.explained_variance_ratio_, rel=1e-4)
        assert arrays["class_counts_fake"].sum() == 599
        assert arrays["class_names"].tolist() == list("0123456789")
    with np.load(run.path / "atlas.npz", allow_pickle=False) as arrays:
        assert arrays["how"] == "line"
        assert arrays["images"].shape == (1, 25, 1, 8, 8)
        assert arrays["codes"].shape == (599, 2)


def test_the_mean_formula_is_reported_as_posterior_collapse(tmp_path: Path, reference: Reference):
    run = train("vae", images=60_000, out=tmp_path / "vae", settings={"reduction": "mean"})
    result = measure(run, reference=reference)
    assert any("posterior collapse" in warning for warning in result["warnings"])
    assert value_of(result, "kl") < 0.1
    assert value_of(result, "active_units") == 0
    assert value_of(result, "recall") < 0.05


def test_a_better_model_scores_better(tmp_path: Path, reference: Reference):
    settings = {"variance": 0.05}
    short = measure(train("vae", images=2_000, out=tmp_path / "a", settings=settings), reference=reference)
    long = measure(train("vae", images=150_000, out=tmp_path / "b", settings=settings), reference=reference)
    for key, better in (("frechet_distance", -1), ("coverage", 1), ("elbo", 1), ("reconstruction_mse", -1)):
        assert better * value_of(long, key) > better * value_of(short, key), key


def test_shared_noise_is_shared_by_every_latent_size():
    assert torch.equal(shared_noise(8, 20), shared_noise(8, 64)[:, :20])


def test_load_gives_the_shown_weights(tmp_path: Path):
    run = train("dcgan", images=512, out=tmp_path / "run", settings={"width": 4})
    family = load(run)
    state = run.state()
    for name, tensor in family.state_dict().items():
        assert torch.equal(tensor, state.tensors[f"shown/{name}"])
    first, again = (family.sample(4, rng.generator(0, "s")) for _ in range(2))
    assert torch.equal(first, again)


def test_images_of_ones_own_need_no_folder(tmp_path: Path, digits: Images):
    own = Images("mine", digits.train, digits.test, digits.classes)
    run = train("vae", own, images=512, out=tmp_path / "run")
    assert value_of(measure(run, data=own), "recall") is not None
    with pytest.raises(likelier.InputError, match="no image set 'mine'"):
        measure(run)


def test_labels_outside_the_classes_are_refused(digits: Images):
    split = Split(digits.test.images, digits.test.labels + 5)
    with pytest.raises(likelier.InputError, match="labels from 5 to 14"):
        Images("bad", split, split, digits.classes)


def test_the_names_carry_every_condition(reference: Reference, digits: Images):
    other = Reference(digits, extractor(digits, seed=1), n=300)
    for judge, name in ((reference, extractor(digits).name), (other, extractor(digits, seed=1).name)):
        found = measure_images(digits.test.images[: judge.n], judge)
        assert {m["name"] for m in found["measures"]} == {
            f"{short}_{name}_train_n{judge.n}_u8"
            for key, (short, *_) in SAMPLE_MEASURES.items()
            if key not in MODE_MEASURES
        }


def test_a_distance_has_the_noise_of_its_samples_and_of_the_real_images(reference: Reference, digits: Images):
    order = torch.randperm(599, generator=rng.generator(0, "halves"))
    small = Reference(digits, extractor(digits), n=100)
    sets = [digits.test.images[part] for part in torch.split(order, 100)][:5]
    found = measure_images(sets[0], small, sets[1:])["measures"][0]
    again = [
        likelier.metrics.frechet_distance(
            small.extractor.features(digits.train.images[index]), small.extractor.features(s)
        )
        for index, s in zip(small.disjoint, sets, strict=True)
    ]
    assert found["noise"] == pytest.approx(noise_of(again))
    assert len(set(torch.cat(small.disjoint).tolist())) == 500, "the real images are disjoint"
    assert measure_images(sets[0], small)["measures"][0]["noise"] is None


def test_copies_score_as_copies_and_held_out_images_as_themselves(reference: Reference, digits: Images):
    copies = measure_images(digits.train.images[:599], reference)
    honest = measure_images(digits.test.images, reference)
    assert value_of(copies, "copied_share") == 1
    assert value_of(copies, "authenticity") == 0
    assert value_of(copies, "data_copying_ct") < -3
    assert any("wins no verdict" in warning for warning in copies["warnings"])
    assert value_of(honest, "copied_share") <= 0.02
    assert abs(value_of(honest, "data_copying_ct")) < 3
    assert not honest["warnings"]


def test_another_number_or_shape_of_images_is_refused(reference: Reference, digits: Images):
    with pytest.raises(likelier.InputError, match="wanted as many"):
        measure_images(digits.test.images[:100], reference)
    with pytest.raises(likelier.InputError, match="wants uint8 of shape"):
        measure_images(digits.test.images[..., :7], reference)
    with pytest.raises(likelier.InputError, match="wanted 6 to 599"):
        Reference(digits, extractor(digits), n=600)


def test_a_run_on_images_without_classes_is_measured_without_them(
    tmp_path: Path, digits: Images, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network, "BUDGET", 4 * network.BATCH)
    train_split, test_split = (Split(s.images, s.labels * 0) for s in (digits.train, digits.test))
    own = Images("plain", train_split, test_split, ("all",))
    run = train("vae", own, images=2_000, out=tmp_path / "run", settings={"variance": 0.05})
    result = measure(run, data=own)
    by_key = {m["key"]: m for m in result["measures"]}
    assert result["conditions"]["extractor"].startswith("plain-rotation-v2-")
    assert by_key["frechet_distance"]["value"] > 0
    for key in ("class_histogram_kl", "missing_classes", "linear_probe", "knn_accuracy", "silhouette", "nmi_pca"):
        assert by_key[key]["value"] is None
        assert "classes" in by_key[key]["why_not"]
    for key in ("reconstruction_mse", "active_units", "kl", "mmd_to_prior"):
        assert by_key[key]["value"] is not None
    with np.load(run.path / "figures.npz") as arrays:
        assert {"codes_pca", "untrained_pca", "pixels_pca"} & set(arrays) == {"codes_pca"}


def test_samples_of_one_colour_are_measured_and_diverged_ones_are_told(reference: Reference):
    grey = torch.full((599, 1, 8, 8), 128, dtype=torch.uint8)
    found = measure_images(grey, reference)
    assert value_of(found, "frechet_distance") > 10
    assert value_of(found, "recall") == value_of(found, "coverage") == 0
    assert value_of(found, "missing_classes") == 9


def test_what_is_watched_is_what_is_measured(tmp_path: Path, reference: Reference):
    """The distance on the log is taken in the features that the run's figures are quoted in."""
    run = train("vae", images=60_000, out=tmp_path / "run", settings={"variance": 0.05})
    assert run.config["watched_in"] == reference.extractor.name
    looks = [line["fd"] for line in run.metrics() if line.get("evaluation")]
    assert looks[0] > 5 * looks[-1]
    assert looks[-1] == pytest.approx(value_of(measure(run, reference=reference), "frechet_distance"), rel=0.3)
