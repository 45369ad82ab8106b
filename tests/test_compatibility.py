"""Runs that an earlier version made are read, measured and gone on with; a format that is not known is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import likelier
from likelier import cli
from likelier.comparison import resume_comparison
from likelier.errors import InputError
from likelier.housekeeping import listed_in
from likelier.run import FORMAT, Run

FIXTURE = Path(__file__).parent / "fixtures" / "format-1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())
pytestmark = pytest.mark.filterwarnings("ignore:.*not bit for bit", "ignore:.*begun with")  # by other versions


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """What the earlier version wrote, to be changed at will."""
    return shutil.copytree(FIXTURE, tmp_path / "earlier")


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_the_model_is_the_one_that_was_trained(family: str):
    run = FIXTURE / "comparison" / "runs" / f"{family}-seed0"
    samples = likelier.load(run).sample(2, torch.Generator().manual_seed(0))
    assert torch.allclose(samples.flatten(), torch.tensor(EXPECTED["samples"][family]), atol=1e-3)


def test_everything_that_opens_a_run_opens_it(earlier: Path, capsys: pytest.CaptureFixture[str]):
    found = {run.path.name: run for run in listed_in(earlier)}
    assert {name: run.standing for name, run in found.items()} == {
        "gan-seed0": "finished",
        "stopped": "unfinished",
        "unfinished": "unfinished",
        "vae-seed0": "finished",
    }
    assert all(run.measured for run in found.values() if run.ended)
    vae, out = str(found["vae-seed0"].path), earlier
    assert cli.main(["runs", "show", vae]) == 0
    assert cli.main(["sample", vae, "--out", f"{out}/samples.png"]) == 0
    assert cli.main(["reconstruct", vae, "--out", f"{out}/reconstructions.png"]) == 0
    assert cli.main(["report", vae, "--out", f"{out}/report.html"]) == 0
    before = json.loads((Path(vae) / "measures.json").read_text())
    after = likelier.measure(vae)
    for old, new in zip(before["measures"], after["measures"], strict=True):
        assert old["key"] == new["key"]
        assert old["name"] == new["name"], "a figure that is taken in another way has another name"
        if old["value"] is not None:
            assert new["value"] == pytest.approx(old["value"], rel=0.02, abs=0.02)


def test_a_comparison_is_gone_on_with(earlier: Path):
    shutil.rmtree(earlier / "comparison" / "runs" / "gan-seed0")
    comparison = resume_comparison(earlier / "comparison", allow_drift=True)
    assert [run.done["status"] for run in comparison.runs if run.done] == ["finished", "finished"]
    assert all(comparison.results)
    assert comparison.report.exists()


def test_settings_that_a_family_did_not_have_yet_are_no_other_plan(earlier: Path):
    """A comparison that had ended has its report written again, without --allow-drift."""
    before = {run: (run / "done").read_text() for run in (earlier / "comparison" / "runs").iterdir()}
    comparison = resume_comparison(earlier / "comparison")
    assert {run.path: (run.path / "done").read_text() for run in comparison.runs} == before
    path = earlier / "comparison" / "runs" / "gan-seed0" / "config.json"
    path.write_text(path.read_text().replace('"latent": 4', '"latent": 5'))
    with pytest.raises(InputError, match=r"settings.latent is 4 and was 5; wanted"):
        resume_comparison(earlier / "comparison")


@pytest.mark.parametrize("name", ["unfinished", "stopped"])
def test_an_unfinished_training_ends_as_it_would_have(name: str, earlier: Path):
    # Other versions and processors are refused otherwise.
    assert cli.main(["train", "--resume", str(earlier / name), "--allow-drift", "-q"]) == 0
    run = Run.open(earlier / name)
    images = [line["images"] for line in run.metrics() if not line.get("evaluation")]
    assert images == sorted(set(images))
    for old, new in zip(EXPECTED["last_of_log"], run.metrics()[-2:], strict=True):
        assert old.keys() <= new.keys()
        assert [new[key] for key in old] == pytest.approx(list(old.values()), rel=0.02)


@pytest.mark.parametrize("found", [0, FORMAT + 1, None, "1", 1.5])
def test_a_format_that_is_not_known_is_refused(found: object, earlier: Path):
    path = earlier / "unfinished" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": found}))
    with pytest.raises(InputError, match=rf"is a run of format .*: this version reads format {FORMAT}"):
        Run.open(earlier / "unfinished")
