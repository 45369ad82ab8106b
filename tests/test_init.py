"""A run that begins with the weights of another: what it takes, what it refuses, and that it stands on its own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from likelier.data import load as load_images
from likelier.errors import InputError
from likelier.experiment import load, resume, train
from likelier.images import Images
from likelier.run import Run, State

FAMILY = "broken_models.poisoned"
SMALL = {"width": 2, "latent": 3}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("vae_gan", images=2_000, settings=SMALL, out=tmp_path_factory.mktemp("runs") / "parent", seed=1)


def first_state(parent: Run, out: Path, **options: Any) -> State:
    return train(init=parent, images=640, out=out, begin_only=True, **options).state()


def under(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {name: t for name, t in state.tensors.items() if name.startswith(prefix)}


def test_weights_and_averages_are_taken_and_optimisers_start_anew(parent: Run, tmp_path: Path):
    state, before = first_state(parent, tmp_path / "child"), parent.state()
    for prefix in ("family/", "shown/"):
        assert all(torch.equal(t, before.tensors[name]) for name, t in under(state, prefix).items())
    assert not torch.equal(state.tensors["family/encoder.1.weight"], state.tensors["shown/encoder.1.weight"])
    assert all(not t.any() for t in under(state, "optimiser/").values())
    assert state.scalars["images"] == 0
    config = Run.open(tmp_path / "child").config
    assert config["parent"] == {"path": str(parent.path), "state": before.digest(), "images": 2_048}
    assert (config["family"], config["data"]) == ("vae_gan", "digits")
    assert config["settings"] == parent.config["settings"]


def test_the_average_goes_on_with_the_half_life_that_it_had(parent: Run, tmp_path: Path):
    """One step: an average that knew of 64 images alone would have forgotten the parent's at once."""
    child = train(init=parent, images=64, out=tmp_path / "child", settings={"lr": 1e-2})
    name = "encoder.1.weight"
    old, live, new = (
        tensors[key]
        for tensors, key in (
            (parent.state().tensors, f"shown/{name}"),
            (child.state().tensors, f"family/{name}"),
            (child.state().tensors, f"shown/{name}"),
        )
    )
    half_life = 0.05 * (2_048 + 64)
    torch.testing.assert_close(new, torch.lerp(old, live, 1 - 0.5 ** (64 / half_life)))


def test_it_ends_the_same_whether_its_parent_is_still_there_or_it_was_stopped(parent: Run, tmp_path: Path):
    copied = shutil.copytree(parent.path, tmp_path / "copied")
    whole = train(init=copied, images=1_280, out=tmp_path / "whole", checkpoint_seconds=0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(init=copied, images=1_280, out=tmp_path / "cut", checkpoint_seconds=0, on_progress=interrupt)
    shutil.rmtree(copied)
    cut = resume(tmp_path / "cut")
    assert cut.state().digest_without_clock() == whole.state().digest_without_clock()
    assert (cut.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


def test_images_seen_add_up_over_generations(parent: Run, tmp_path: Path):
    child = train(init=parent, images=640, out=tmp_path / "child")
    grandchild = train(init=child.path, images=64, out=tmp_path / "grandchild", begin_only=True)
    assert grandchild.config["parent"]["images"] == 2_048 + 640


def test_other_data_and_settings_of_the_same_architecture_are_taken(parent: Run, tmp_path: Path):
    digits = load_images("digits")
    upside_down = Images("upside", digits.train, digits.test, digits.classes)
    child = train(data=upside_down, init=parent, images=640, out=tmp_path / "c", settings={"gamma": 0.1, "ema": 0})
    assert child.config["settings"] == {**parent.config["settings"], "gamma": 0.1, "ema": 0}
    assert not under(child.state(), "shown/")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": {"latent": 4}}, r"are for latent = 3 and not 4: wanted the same"),
        ({"settings": {"latent": 4, "gamma": 0.1}}, r"are for latent = 3 and not 4: wanted the same"),
        ({"settings": {"width": 4, "lr": 1.0}}, r"are for width = 2 and not 4: wanted the same"),
        ({"settings": {"network": "mlp", "width": 16}}, r"are for network = conv and not mlp"),
        ({"family": "dcgan"}, "was trained with the family vae_gan, not dcgan"),
        ({"data": "large"}, r"are for images of 1×8×8 and not 1×16×16: wanted the same"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_before_anything_is_written(
    parent: Run, tmp_path: Path, options: dict[str, Any], said: str
):
    if options.get("data") == "large":
        options = {"data": [(torch.zeros(16, 16, 1).numpy() + i / 60, i % 2) for i in range(60)]}
    with pytest.raises(InputError, match=said):
        train(init=parent, images=640, out=tmp_path / "child", **options)
    assert not (tmp_path / "child").exists()


def test_weights_that_the_new_settings_have_no_place_for_are_refused(tmp_path: Path):
    learned = train("vae", images=256, settings={"likelihood": "gaussian-learned"}, out=tmp_path / "learned")
    with pytest.raises(InputError, match="are for likelihood = gaussian-learned and not gaussian: wanted the same"):
        train(init=learned, images=256, settings={"likelihood": "gaussian"}, out=tmp_path / "child")


def test_a_family_from_a_stranger_has_to_be_named(tmp_path: Path):
    strange = train(FAMILY, images=640, out=tmp_path / "strange")
    with pytest.raises(InputError, match=r"likelier train broken_models\.poisoned --init"):
        train(init=strange, images=640, out=tmp_path / "child")
    assert train(FAMILY, init=strange, images=640, out=tmp_path / "child").done["status"] == "finished"


def test_a_diverged_run_goes_on_from_its_last_good_state(likelier, tmp_path: Path):
    settings = ["--set", "begins=0.5", "--set", "ends=9"]
    options = ["--images", 60 * 64, "--looks", 2, "--checkpoint-seconds", 0, "--out", "sick"]
    outcome = likelier("train", FAMILY, *options, *settings)
    assert "the run diverged: loss.encoder" in outcome.err
    assert "`likelier train --init sick --set lr=…` begins with its last good state" in outcome.err
    before = {path: path.read_bytes() for path in Path("sick").rglob("*") if path.is_file()}
    again = likelier("train", FAMILY, "--resume", "sick")
    assert "had diverged already: there was nothing to go on with; `likelier train --init sick`" in again.err
    assert {path: path.read_bytes() for path in Path("sick").rglob("*") if path.is_file()} == before
    further = likelier("train", FAMILY, "--init", "sick", "--set", "ends=0", "--images", 640, "--out", "well")
    assert further.code == 0, further.err
    child = Run.open("well")
    assert child.done["status"] == "finished"
    assert child.config["parent"]["images"] == 30 * 64
    assert all(p.isfinite().all() for p in load(child, FAMILY).parameters())


def test_what_makes_no_sense_beside_it_is_refused(likelier, parent: Run):
    assert "--size beside --init" in likelier("train", "--init", parent.path, "--size", 16).err
    assert "--init beside --resume" in likelier("train", "--init", parent.path, "--resume", parent.path).err
    assert "wanted the folder of a run" in likelier("train", "--init", "nowhere").err
