"""The leagues: every line in records/ is a run that its recipe asks for, every table what the lines give."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes" / "adversarial"
RECORDS = ROOT / "records" / "adversarial"
STUDIES = sorted(path.stem for path in RECORDS.glob("*.jsonl"))
SMALL = """
data: digits
seeds: 1
looks: 2
images: 256
yardstick: yard
models:
  yard: {family: vae}
  three: {family: vae, images: 128, seeds: 3, settings: {latent: 2}}
"""


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    """The program, which finds `table` beside itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPES)
        import study

        yield study
    for name in ("study", "table"):
        sys.modules.pop(name)


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECORDS / f"{name}.jsonl").read_text().splitlines()]


def recipe_of(name: str) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    return recipe


@pytest.mark.parametrize("name", STUDIES)
def test_the_record_holds_the_runs_of_its_recipe_and_no_others(name: str, study: ModuleType) -> None:
    def key(job: dict[str, Any]) -> tuple[str, str, int]:
        return job["data"], job["model"], job["seed"]

    asked = {key(job): job for job in study.jobs_of(recipe_of(name))}
    there = {key(line): line for line in lines_of(name)}
    assert len(there) == len(lines_of(name))
    assert there.keys() == asked.keys()
    for which, job in asked.items():
        same = {k: v for k, v in job.items() if k != "images"}
        assert {k: there[which].get(k) for k in same} == same
        if "images" in job:  # the last batch is a whole one
            assert job["images"] <= there[which]["images"] < 1.01 * job["images"]


@pytest.mark.parametrize("name", STUDIES)
def test_the_table_is_what_the_lines_give(name: str, study: ModuleType) -> None:
    printed = study.table(lines_of(name), recipe_of(name).get("yardstick"))
    assert printed in (RECORDS / "README.md").read_text()


def test_a_model_may_have_more_seeds_than_the_rest(study: ModuleType) -> None:
    jobs = [(job["model"], job["seed"], job["images"]) for job in study.jobs_of(yaml.safe_load(SMALL))]
    assert jobs == [("yard", 0, 256), ("three", 0, 128), ("three", 1, 128), ("three", 2, 128)]


def test_a_study_goes_on_with_what_is_there(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    results = tmp_path / "results.jsonl"
    asked = ["study.py", str(tmp_path / "small.yaml"), str(results), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*asked, "--part", "0/2", "--pictures", str(tmp_path / "pictures")])
    study.main()
    first = results.read_text()
    assert [json.loads(line)["seed"] for line in first.splitlines()] == [0, 1]
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["digits-yard.png"]
    monkeypatch.setattr(sys, "argv", asked)
    study.main()
    assert results.read_text().startswith(first)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted((line["model"], line["seed"]) for line in lines) == [("three", s) for s in range(3)] + [("yard", 0)]
    assert len({line["frechet_distance"] for line in lines}) == 4
    assert "| yard | 1 | 256 |" in capsys.readouterr().out


def test_a_model_that_the_study_does_not_have_is_refused(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    asked = ["study.py", str(tmp_path / "small.yaml"), str(tmp_path / "results.jsonl"), "--only", "yrad"]
    monkeypatch.setattr(sys, "argv", asked)
    with pytest.raises(SystemExit, match="2"):
        study.main()
    assert "there is no model 'yrad': wanted one of yard; three" in capsys.readouterr().err
