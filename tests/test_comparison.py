"""Comparisons: equal rules, an interrupted one gone on with, settings by family."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import likelier
from likelier.comparison import Comparison, command_of, resume_comparison
from likelier.errors import InputError
from likelier.features import extractor
from likelier.images import Split
from likelier.measuring import measure
from likelier.models import settings_by_family
from likelier.reference import Reference


def test_four_families_side_by_side(tmp_path: Path):
    comparison = likelier.compare(images=400, seeds=2, out=tmp_path / "c", settings={"width": 4})
    assert [run.path.name for run in comparison.runs] == [
        f"{family}-seed{seed}" for seed in (0, 1) for family in ("vae", "gan", "dcgan", "vae_gan")
    ]
    assert {run.config["images"] for run in comparison.runs} == {400}, "equal budgets"
    assert all(400 <= run.done["images"] < 400 + run.config["settings"]["batch"] for run in comparison.runs)
    assert all(result is not None for result in comparison.results)
    names = {tuple(m["name"] for m in result["measures"]) for result in comparison.results}
    assert len(names) == 1, "one set of conditions for all"
    page = comparison.report.read_text()
    assert "<html" in page
    assert "likelier compare vae gan dcgan vae_gan --data digits --images 400 --seeds 2" in page


def test_an_interrupted_comparison_ends_as_the_whole_one(tmp_path: Path):
    options = {"families": ["vae", "gan"], "images": 2_000}
    whole = likelier.compare(**options, out=tmp_path / "whole")
    cut = likelier.compare(**options, out=tmp_path / "cut")
    cut.report.unlink()
    shutil.rmtree(cut.runs[1].path)  # the second run was never begun
    (cut.runs[0].path / "measures.json").unlink()  # the first was trained, but not measured
    again = resume_comparison(tmp_path / "cut")
    assert again.report.exists()
    assert again.results == whole.results
    for one, other in zip(again.runs, whole.runs, strict=True):
        assert one.state().digest_without_clock() == other.state().digest_without_clock()


def test_measures_of_a_run_that_goes_on_are_taken_again(tmp_path: Path):
    first = likelier.compare(["vae"], images=400, out=tmp_path / "c")
    (first.runs[0].path / "done").unlink()  # somebody measured a run that had not ended
    assert resume_comparison(tmp_path / "c").results == first.results


@pytest.mark.slow
def test_other_images_than_at_first_are_refused_before_anything_is_trained(tmp_path: Path):
    digits = likelier.load_images("digits")
    few = replace(digits, train=Split(digits.train.images[:600], digits.train.labels[:600]))
    begun = likelier.compare(["vae"], few, images=400, out=tmp_path / "c")
    shutil.rmtree(begun.runs[0].path)
    with pytest.raises(InputError, match=r"was begun with.*data= if they were made in Python"):
        resume_comparison(tmp_path / "c")
    assert not begun.runs[0].path.exists()
    again = resume_comparison(tmp_path / "c", few)
    assert again.results == begun.results


def test_a_finished_comparison_is_quick_to_resume(tmp_path: Path):
    first = likelier.compare(["vae"], images=400, out=tmp_path / "c")
    before = (first.runs[0].path / "measures.json").stat().st_mtime_ns
    again = resume_comparison(tmp_path / "c")
    assert (again.runs[0].path / "measures.json").stat().st_mtime_ns == before
    assert again.results == first.results


def test_a_run_that_diverges_does_not_hide_the_others(tmp_path: Path):
    comparison = likelier.compare(["vae", "gan"], images=20_000, out=tmp_path / "c", settings={"vae.lr": 1e6})
    assert [run.done["status"] for run in comparison.runs] == ["diverged", "finished"]
    assert "diverged" in comparison.report.read_text()


def test_figures_that_are_not_finite_do_not_hide_the_others(tmp_path: Path):
    comparison = likelier.compare(["vae", "gan"], images=500, out=tmp_path / "c", settings={"vae.variance": 1e-12})
    assert all(result is not None for result in comparison.results)
    assert comparison.report.exists()


class Listener:
    """An audience that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str) -> None: ...

    def training(self, name: str, number: int, of: int) -> None: ...

    def progress(self, seen: int, total: int, record: dict[str, float]) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_five_seeds_have_a_preliminary_verdict_and_the_pairs_are_declared(tmp_path: Path):
    listener = Listener()
    comparison = likelier.compare(
        ["vae", "gan"], images=900, seeds=5, out=tmp_path / "c", settings={"vae.variance": 0.05}, audience=listener
    )
    plan = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert (plan["primary"], plan["pairs"]) == ("frechet_distance", [["vae", "gan"]])
    assert "preliminary" in listener.notes[0], "said before anything is trained"
    (verdict,) = comparison.verdicts
    assert {verdict.a, verdict.b} == {"vae", "gan"}
    assert verdict.preliminary or verdict.outcome == "no verdict"
    assert verdict.noise > 0
    again = resume_comparison(tmp_path / "c")
    assert again.verdicts == comparison.verdicts


def test_figures_of_another_extractor_do_not_slip_into_a_declared_comparison(tmp_path: Path):
    first = likelier.compare(["vae", "gan"], images=400, out=tmp_path / "c")
    digits = likelier.load_images("digits")
    other = Reference(digits, extractor(digits, seed=1))
    for run in first.runs:
        measure(run, reference=other)
    again = resume_comparison(tmp_path / "c")
    assert again.results == first.results


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison that its tests leave as it was."""
    return likelier.compare(["vae"], images=400, out=tmp_path_factory.mktemp("finished") / "c")


@pytest.mark.parametrize(
    ("key", "value"),
    [("value", 10**400), ("value", [1]), ("value", "12"), ("floor", [1]), ("key", []), ("noise", True)],
)
def test_harmed_measures_are_taken_again(key: str, value: object, finished: Comparison):
    path = finished.runs[0].path / "measures.json"
    found = json.loads(path.read_text())
    found["measures"][0][key] = value
    path.write_text(json.dumps(found))
    assert resume_comparison(finished.path).results == finished.results


def test_measures_without_an_end_are_taken_again(finished: Comparison):
    (finished.runs[0].path / "measures.json").write_text("[" * 100_000)
    assert resume_comparison(finished.path).results == finished.results


def test_fewer_seeds_have_figures_and_no_verdict(tmp_path: Path):
    listener = Listener()
    comparison = likelier.compare(["vae", "gan"], images=400, seeds=2, out=tmp_path / "c", audience=listener)
    assert "no verdict" in listener.notes[0]
    assert [verdict.outcome for verdict in comparison.verdicts] == ["no verdict"]


def test_settings_find_their_family():
    given = {"lr": 1e-3, "gan.latent": 8, "variance": 0.1}
    assert settings_by_family(["vae", "gan"], given) == {
        "vae": {"lr": 1e-3, "variance": 0.1},
        "gan": {"lr": 1e-3, "latent": 8},
    }


@pytest.mark.parametrize(
    ("families", "settings", "message"),
    [
        (["vae"], {"latnet": 3}, "did you mean 'latent'"),
        (["vae"], {"gan.latent": 3}, "not compared"),
        (["vae", "vae"], {}, "named twice"),
        ([], {}, "no family"),
        (["vea"], {}, "did you mean 'vae'"),
    ],
)
def test_settings_that_fit_nowhere_are_refused(families: list[str], settings: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        settings_by_family(families, settings)


@pytest.mark.parametrize(
    "options", [{"settings": {"vae.latent": 0}}, {"seeds": 0}, {"epochs": -1}, {"device": "abacus"}]
)
def test_nothing_is_written_when_something_is_wrong(options: dict[str, object], tmp_path: Path):
    with pytest.raises(InputError, match="wanted"):
        likelier.compare(["vae"], out=tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_the_command_does_it_again(tmp_path: Path):
    comparison = likelier.compare(["vae"], images=400, seed=3, out=tmp_path / "c", settings={"latent": 2})
    plan = json.loads((comparison.path / "compare.json").read_text())
    assert command_of(plan) == "likelier compare vae --data digits --images 400 --seed 3 --set vae.latent=2"
    assert plan["pairs"] == []
    plan |= {"data": "mnist", "data_root": "/somewhere", "images": None, "epochs": 0.1234567, "seeds": [0, 1]}
    plan |= {"jobs": 1}
    wanted = (
        "likelier compare vae --data mnist --data-root DATA --epochs 0.1234567 --seeds 2 --jobs 1 --set vae.latent=2"
    )
    assert command_of(plan) == wanted
