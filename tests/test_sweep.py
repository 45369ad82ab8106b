"""Variants of a family side by side: their names, what is refused, real comparisons, and what may be said of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import likelier
from likelier import cli
from likelier.comparison import read_plan, resume_comparison
from likelier.errors import InputError
from likelier.models import Best, Model, best_of_each, described, models_asked_for, options_of
from likelier.progress import table
from likelier.report.grouping import Group
from likelier.report.page import _summary
from likelier.report.reading import read_run
from likelier.run import Run
from likelier.verdict import Contender, judge

SMALL = {"hidden": 16, "latent": 4}
ABLATION: dict[str, Any] = {"plain": {"family": "gan"}, "smaller steps": {"family": "gan", "settings": {"lr": 3e-4}}}


def names_of(*asked: Any) -> list[str]:
    return [model.name for model in models_asked_for(*asked)]


# Names, and the product


def test_every_value_is_a_model():
    models = models_asked_for(["vae"], {"variance": "0.05"}, {"beta": [".5", "1", "4e0"]})
    assert models == tuple(
        Model(f"vae(beta={told})", "vae", {"variance": 0.05, "beta": beta})
        for told, beta in (("0.5", 0.5), ("1", 1.0), ("4", 4.0))
    )


def test_several_sweeps_make_all_combinations():
    assert names_of(["gan"], {}, {"lr": ["1e-3", "3e-5"], "latent": [2, 8]}) == [
        "gan(lr=0.001, latent=2)",
        "gan(lr=0.001, latent=8)",
        "gan(lr=3e-05, latent=2)",
        "gan(lr=3e-05, latent=8)",
    ]


@pytest.mark.parametrize(
    ("families", "sweep", "wanted"),
    [
        (["vae", "gan"], {"beta": [1, 4]}, ["vae(beta=1)", "vae(beta=4)", "gan"]),
        (["gan", "vae"], {"gan.lr": [1, 4]}, ["gan(lr=1)", "gan(lr=4)", "vae"]),
        (["vae", "gan"], {"lr": [1, 4]}, ["vae(lr=1)", "vae(lr=4)", "gan(lr=1)", "gan(lr=4)"]),
        (["vae", "dcgan"], {"width": [4, 8]}, ["vae", "dcgan(width=4)", "dcgan(width=8)"]),  # as --set does
        (["vae", "gan"], {"vae.lr": [1, 4], "gan.lr": [2, 3]}, ["vae(lr=1)", "vae(lr=4)", "gan(lr=2)", "gan(lr=3)"]),
        (["dcgan"], {"network": ["conv", "resnet"]}, ["dcgan(network=conv)", "dcgan(network=resnet)"]),
    ],
)
def test_a_sweep_applies_to_the_families_that_have_the_setting(
    families: list[str], sweep: dict[str, Any], wanted: list[str]
):
    assert names_of(families, {}, sweep) == wanted


def test_without_a_sweep_a_family_is_a_model_of_its_name():
    assert models_asked_for(["vae", "gan"]) == (Model("vae", "vae"), Model("gan", "gan"))
    assert names_of() == ["vae", "gan", "dcgan", "vae_gan"]


def test_named_models_have_common_settings_and_their_own():
    models = models_asked_for(None, {"lr": 1e-2, "latent": 8}, None, ABLATION)
    assert [dict(model.settings) for model in models] == [{"lr": 1e-2, "latent": 8}, {"lr": 3e-4, "latent": 8}]


def test_a_common_size_goes_to_every_named_model_whose_network_has_it():
    """By the model's own network, and not by that which its family has by default."""
    kinds = {"deep": {"family": "gan", "settings": {"network": "conv"}}, "flat": {"family": "gan"}}
    models = models_asked_for(None, {"width": 8}, None, {**kinds, "dcgan": {"family": "dcgan"}})
    assert [model.settings.get("width") for model in models] == [8, None, 8]
    for common, own in (({"gan.width": 8}, {}), ({"width": 8}, {"width": 4})):
        flat = {"flat": {"family": "gan", "settings": own}, "dcgan": {"family": "dcgan"}}
        with pytest.raises(InputError, match="no width beside network=mlp"):
            models_asked_for(None, common, None, flat)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("vae(beta=0.5)", "vae-beta=0.5"),
        ("gan(lr=1e-05, latent=2)", "gan-lr=1e-05-latent=2"),
        ("../../etc/passwd", "etc-passwd"),
        ("<b>a & b</b>; rm -rf ~", "b-a-b-b-rm-rf"),
        ("$(date)", "date"),
        ("pkg.mod", "pkg.mod"),
        ("vae_gan", "vae_gan"),
        ("größer β", "größer-β"),
    ],
)
def test_a_folder_is_a_plain_word(name: str, folder: str):
    assert Model(name, "vae").folder == folder


@pytest.mark.parametrize(
    "asked",
    [
        (["vae", "gan"],),
        (["vae"], {"variance": 0.05, "latent": 4}, {"beta": [0.5, 1, 4], "lr": [1e-3, 3e-5]}),
        (["vae", "gan", "dcgan"], {"vae.latent": 4}, {"lr": [1e-3, 3e-3], "vae.beta": [1, 2]}),
        (["dcgan", "vae"], {}, {"network": ["conv", "resnet"]}),
    ],
)
def test_the_options_of_models_ask_for_them_again(asked: Any):
    models = models_asked_for(*asked)
    found = options_of(models)
    assert found is not None
    assert models_asked_for(**asked_by(*found[0], *found[1])) == models


def test_no_options_ask_for_names():
    assert options_of(models_asked_for(models=ABLATION)) is None


# What is refused, in one line, before anything is read, trained or written


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["vae", "--sweep", "bata=1,2"], "did you mean 'beta'?"),
        (["gan", "--sweep", "beta=1,2"], "there is no setting 'beta'"),
        (["vae", "--sweep", "gan.lr=1,2"], "gan, which is not compared"),
        (["vae", "--sweep", "vae.bata=1,2"], "did you mean 'beta'?"),
        (["vae", "--sweep", "beta=1,x"], "beta = 'x': wanted"),
        (["vae", "--sweep", "beta=1,-1"], "beta = '-1': wanted a number greater than or equal to 0"),
        (["vae", "--sweep", "latent=2,2.5"], "latent = '2.5': wanted"),
        (["vae", "--sweep", "beta=1,1.0"], "vae(beta=1) is there twice"),
        (["vae", "--sweep", "beta=1"], "wanted two or more; --set gives a single one"),
        (["vae", "--sweep", "beta="], "'beta=': wanted name=value,value"),
        (["vae", "--sweep", "beta=,"], "'beta=,': wanted name=value,value"),
        (["vae", "--sweep", "=1,2"], "'=1,2': wanted name=value,value"),
        (["vae", "--sweep", "beta"], "'beta': wanted name=value,value"),
        (["vae", "--sweep", "beta=1,2", "--sweep", "beta=3,4"], "--sweep beta is given twice"),
        (["vae", "--sweep", "beta=1,2", "--sweep", "vae.beta=3,4"], "beta of vae is swept twice"),
        (["vae", "--sweep", "beta=1,2", "--set", "beta=3"], "beta of vae is both set and swept"),
        (["vae", "gan", "--sweep", "lr=1,2", "--set", "gan.lr=3"], "lr of gan is both set and swept"),
        (["vae", "--sweep", f"latent={','.join(map(str, range(1, 102)))}"], "101 models, hence 5,050 pairs"),
        (["vae", *(f"--sweep={name}=1,2,3" for name in ("beta", "lr", "latent", "batch", "hidden"))], "243 models"),
        (["vae", "gan", "--sweep", f"lr={','.join(map(str, range(1, 52)))}"], "102 models"),
        (
            ["vae", *(f"--sweep={n}={','.join(map(str, range(1, 999)))}" for n in ("beta", "lr", "latent", "batch"))],
            "wanted at most 100",
        ),
        (["vae", "--sweep", "network=mlp,conv", "--sweep", "width=4,8"], "no width beside network=mlp"),
        (["vae", "--sweep", f"likelihood={'x' * 5000},gaussian"], "likelihood = 'xxx"),
    ],
)
def test_a_sweep_that_cannot_be_used(
    words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *words, "--data", "nowhere"]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
    assert len(err) < 500
    assert not list(tmp_path.iterdir())


def test_train_knows_no_sweep(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["train", "vae", "--sweep", "beta=1,2"]) == 2
    assert "'--sweep' is not known here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("models: [vae]\n", "models is a list: wanted names"),
        ("models: {}\n", "no model is named"),
        ("models: {a: vae}\n", "the model a is a text: wanted a family"),
        ("models: {a: {settings: {lr: 1}}}\n", "the model 'a' has no family"),
        ("models: {a: {family: vea}}\n", "did you mean 'vae'?"),
        ("models: {a: {family: os.path}}\n", "names the code os.path: a file may not"),
        ("models: {a: {family: vae, setings: {lr: 1}}}\n", "did you mean 'settings'?"),
        ("models: {a: {family: vae, settings: [1]}}\n", "the settings of 'a' are no names with values"),
        ("models: {a: {family: vae, settings: ''}}\n", "the settings of 'a' are no names with values"),
        ("models: {a: {family: vae, settings: {1: 2}}}\n", "the settings of 'a' are no names with values"),
        ("models: {a: {family: vae, settings: {lr: x}}}\n", "a: lr = 'x': wanted"),
        ("models: {a: {family: vae, settings: {latnt: 1}}}\n", "a: there is no setting of vae 'latnt'"),
        ("models: {a: {family: vae}, b: {family: vae, settings: {beta: 1}}}\n", "a and b are one model, vae with"),
        ("models: {a b: {family: vae}, a-b: {family: gan}}\n", "a b and a-b would share a folder"),
        ("models: {A: {family: vae}, a: {family: gan}}\n", "A and a would share a folder"),
        ("models: {é: {family: vae}, e\u0301: {family: gan}}\n", "would share a folder"),
        ("models: {1: {family: vae}}\n", "the name of a model is a number: wanted a text; a number goes in quotes"),
        ('models: {"": {family: vae}}\n', "the name '' of a model: wanted a text"),
        ("models: {..: {family: vae}}\n", "the name '..' of a model: wanted a text"),
        ('models: {" a": {family: vae}}\n', "the name ' a' of a model: wanted a text"),
        ('models: {"a\\eb": {family: vae}}\n', r"the name 'a\x1bb' of a model: wanted a text of printable"),
        ('models: {"a\\nb": {family: vae}}\n', r"the name 'a\nb' of a model: wanted a text of printable"),
        (f"models: {{{'x' * 101}: {{family: vae}}}}\n", "has 101 bytes: wanted at most 100"),
        (json.dumps({"models": {f"m{i}": {"family": "vae"} for i in range(101)}}), "101 models"),
        ("models: {a: {family: vae}}\nfamilies: [gan]\n", "models beside families"),
        ("models: {a: {family: vae}}\nsweep: {lr: [1, 2]}\n", "models beside a sweep"),
        ("sweep: [lr]\n", "sweep is a list: wanted settings with values, as in `beta: [0.5, 1]`"),
        ("sweep: {lr: 1}\n", "the sweep of lr is a number: wanted a list"),
        ("sweep: {lr: []}\n", "the sweep of lr has the values []: wanted two or more"),
        ("sweep: {lr: [[1], 2]}\n", "lr = '[1]': wanted"),
        ("model: {}\n", "did you mean 'models'?"),
    ],
)
def test_a_file_of_models_that_cannot_be_used(
    content: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "c.yml").write_text(content)
    assert cli.main(["compare", "--config", str(tmp_path / "c.yml"), "--data", "nowhere"]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1


def test_a_file_of_models_is_for_comparisons_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "c.yml").write_text("models: {a: {family: vae}}\n")
    assert cli.main(["train", "--config", str(tmp_path / "c.yml")]) == 2
    assert "there is no option 'models'" in capsys.readouterr().err


def test_models_of_python_that_are_none(tmp_path: Path):
    for asked in ({"models": {"a": {"family": 3}}}, {"models": {"a": {}}}, {"models": {}}, {"sweep": {"beta": []}}):
        with pytest.raises(InputError, match="wanted"):
            likelier.compare(**asked, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("name", "given"), [(3, {"family": "vae"}), ("a", "vae"), ("a", None), ("a", ["vae"])])
def test_a_model_that_is_no_mapping(name: Any, given: Any):
    with pytest.raises(InputError, match="wanted models as in"):
        described(name, given)


# Real comparisons


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two settings beside a family that has neither, two seeds each."""
    out = tmp_path_factory.mktemp("swept") / "c"
    words = ["vae", "gan", "--sweep", "beta=.5,2", "--set", "hidden=16", "--set", "vae.latent=4"]
    assert cli.main(["compare", *words, "--images", "400", "--seeds", "2", "--out", str(out), "-q"]) == 0
    return out


def test_a_variant_is_the_run_that_train_makes_of_it(swept: Path, tmp_path: Path):
    words = ["vae", "--set", "hidden=16", "--set", "latent=4", "--set", "beta=.5", "--seed", "1", "--images", "400"]
    assert cli.main(["train", *words, "--out", str(tmp_path / "alone"), "-q"]) == 0
    alone, variant = Run.open(tmp_path / "alone"), Run.open(swept / "runs" / "vae-beta=0.5-seed1")
    assert variant.config == alone.config
    assert variant.state().digest_without_clock() == alone.state().digest_without_clock()
    assert (variant.path / "metrics.jsonl").read_bytes() == (alone.path / "metrics.jsonl").read_bytes()


def test_the_pairs_of_a_sweep_are_declared(swept: Path):
    plan = read_plan(swept / "compare.json")
    assert list(plan["models"]) == ["vae(beta=0.5)", "vae(beta=2)", "gan"]
    assert plan["pairs"] == [("vae(beta=0.5)", "vae(beta=2)"), ("vae(beta=0.5)", "gan"), ("vae(beta=2)", "gan")]
    assert sorted(path.name for path in (swept / "runs").iterdir()) == sorted(
        f"{name}-seed{seed}" for name in ("vae-beta=0.5", "vae-beta=2", "gan") for seed in (0, 1)
    )


def test_the_report_names_the_models_and_the_command(swept: Path):
    page = (swept / "report.html").read_text()
    assert "<h1>vae(beta=0.5), vae(beta=2), gan on digits</h1>" in page
    headings = re.findall(r'<th scope="col"><span class="family">.*?</span>([^<]+)</span>', page)[:3]
    assert headings == ["vae(beta=0.5)", "vae(beta=2)", "gan"]
    assert "no verdict on vae(beta=0.5) and vae(beta=2): 2 seeds" in page
    wanted = "likelier compare vae gan --data digits --images 400 --seeds 2 --set vae.hidden=16 --set vae.latent=4 "
    assert f"{wanted}--set gan.hidden=16 --sweep vae.beta=0.5,2" in page


def test_many_models_are_counted_and_not_listed(swept: Path):
    run = read_run(swept / "runs" / "gan-seed0")
    groups = [Group(f"model {i}", i, (run,)) for i in range(13)]
    assert _summary(groups).startswith("13 models trained on digits, each with a budget of 400 images")
    assert _summary(groups[:3]).startswith("model 0, model 1 and model 2 trained on digits")


def test_the_last_lines_name_the_best_value_and_how_to_use_it(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    resumed = ["compare", "--resume", str(swept), "-q", "--table"]
    assert cli.main([*resumed, str(tmp_path / "t.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(run["model"], run["family"], run["seed"]) for run in found["runs"]] == [
        (name, family, seed)
        for seed in (0, 1)
        for name, family in (("vae(beta=0.5)", "vae"), ("vae(beta=2)", "vae"), ("gan", "gan"))
    ]
    assert found["runs"][1]["settings"] == {"hidden": 16, "latent": 4, "beta": 2.0}
    distances: dict[str, list[float]] = {}
    for run in found["runs"]:
        values = {measure["key"]: measure["value"] for measure in run["measures"]["measures"]}
        distances.setdefault(run["model"], []).append(values["frechet_distance"])
    (best,) = found["best"]
    assert best["model"] == min(("vae(beta=0.5)", "vae(beta=2)"), key=lambda name: sum(distances[name]))
    assert best["distance"] == pytest.approx(sum(distances[best["model"]]) / 2)
    assert cli.main([*resumed, str(tmp_path / "t.tex")]) == 0
    out = capsys.readouterr().out
    *_, last, path = out.splitlines()
    value = best["model"][len("vae(beta=") : -1]
    assert last.startswith(f"least FD of 2 models of vae: vae(beta={value}), ")
    assert last.endswith(
        f" (an observation: it beats no other); use it with --set hidden=16 --set latent=4 --set beta={value}"
    )
    assert path.startswith("report: ")
    assert re.search(r"vae\(beta=0\.5\) +vae\(beta=2\) +gan +real", out)
    models = dict.fromkeys(re.findall(r"^([^,]+),\d", (tmp_path / "t.csv").read_text(), re.MULTILINE))
    assert list(models) == ["vae(beta=0.5)", "vae(beta=2)", "gan"]
    assert " & vae(beta=0.5) & vae(beta=2) & gan & " in (tmp_path / "t.tex").read_text()


def test_an_ablation_with_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any):
    name = "<script>alert('1')</script> & \"2\""
    models = {name: {"family": "gan"}, "smaller steps": {"family": "gan", "settings": {"lr": 3e-4}}}
    comparison = likelier.compare(models=models, images=300, settings=SMALL, jobs=2, out=tmp_path / "c")
    assert [run.path.name for run in comparison.runs] == ["script-alert-1-script-2-seed0", "smaller-steps-seed0"]
    assert [run.config["settings"]["lr"] for run in comparison.runs] == [1e-3, 3e-4]
    page = comparison.report.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;2&#34;" in page
    assert "smaller steps" in page
    # The command on the page does it again, names and all.
    (command,) = re.findall(r"<code>(echo [^<]*)</code>", page)
    for written, meant in (("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", '"'), ("&amp;", "&")):
        command = command.replace(written, meant)
    assert "| likelier compare --config /dev/stdin --data digits --images 300 --jobs 2" in command
    tool = f"{sys.executable} -m likelier"
    again = command.replace("| likelier", f"| {tool}") + f" --out {tmp_path / 'again'} --jobs 1 -q"
    subprocess.run(again, shell=True, check=True, capture_output=True, timeout=120)
    assert {**read_plan(tmp_path / "again" / "compare.json"), "jobs": 2} == read_plan(comparison.path / "compare.json")


def asked_by(*words: str) -> dict[str, Any]:
    """The arguments that a command line gives `compare`."""
    parser = cli.build_parser()
    options = parser.parse_args(["compare", *words])
    given = cli.merged(parser.active(options)[-1], options)
    return {key: given[key] for key in ("families", "settings", "sweep", "models") if key in given}


def test_a_family_of_the_command_line_wins_over_the_models_of_a_file(tmp_path: Path):
    (tmp_path / "c.json").write_text(json.dumps({"models": ABLATION, "set": {"hidden": 16}}))
    config = ["--config", str(tmp_path / "c.json")]
    plain, smaller = models_asked_for(**asked_by(*config))
    assert plain == Model("plain", "gan", {"hidden": 16})
    assert smaller == Model("smaller steps", "gan", {"hidden": 16, "lr": 3e-4})
    found = models_asked_for(**asked_by(*config, "vae", "--sweep", "beta=1,2"))
    assert [model.name for model in found] == ["vae(beta=1)", "vae(beta=2)"]


def test_a_sweep_of_a_file_is_added_to_by_the_command_line(tmp_path: Path):
    (tmp_path / "c.yml").write_text("sweep: {beta: [.5, 2], vae: {lr: [0.001, 0.003]}}\nfamilies: vae\n")
    found = models_asked_for(**asked_by("--config", str(tmp_path / "c.yml"), "--sweep", "beta=1,4"))
    assert [model.name for model in found] == [f"vae(lr={lr}, beta={b})" for lr in ("0.001", "0.003") for b in (1, 4)]


# Going on


@pytest.mark.slow
def test_a_sweep_that_is_killed_in_the_middle_ends_as_the_whole_one(tmp_path: Path):
    words = ["vae", "--sweep", "beta=.5,1,4", "--images", "25600", "--jobs", "1"]
    command = [sys.executable, "-m", "likelier", "compare", *words, "-q", "--out"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = subprocess.run([*command, str(tmp_path / "whole")], env=alone, capture_output=True, timeout=300)
    assert whole.returncode == 0
    process = subprocess.Popen([*command, str(tmp_path / "cut")], env=alone, stderr=subprocess.DEVNULL)
    runs = tmp_path / "cut" / "runs"
    end = time.monotonic() + 120
    while not (runs / "vae-beta=1-seed0" / "metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (runs / "vae-beta=0.5-seed0" / "done").exists()
    assert not (runs / "vae-beta=1-seed0" / "done").exists()
    assert not (runs / "vae-beta=4-seed0").exists()
    gone_on = ["compare", "--resume", str(tmp_path / "cut"), "-q"]
    subprocess.run(
        [sys.executable, "-m", "likelier", *gone_on], env=alone, capture_output=True, check=True, timeout=300
    )
    for run in sorted(runs.iterdir()):
        twin = Run.open(tmp_path / "whole" / "runs" / run.name)
        assert Run.open(run).state().digest_without_clock() == twin.state().digest_without_clock()
        for name in ("metrics.jsonl", "measures.json"):
            assert (run / name).read_bytes() == (twin.path / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of one model."""
    return likelier.compare(["vae"], images=200, settings=SMALL, out=tmp_path_factory.mktemp("whole") / "c").path


def as_format_2(path: Path) -> None:
    """The plan of a comparison as earlier versions wrote it."""
    plan = json.loads(path.read_text())
    models = plan.pop("models")
    settings = {name: each["settings"] for name, each in models.items()}
    path.write_text(json.dumps({**plan, "format": 2, "families": list(models), "settings": settings}))


def test_a_plan_of_the_former_format_is_gone_on_with(tmp_path: Path):
    first = likelier.compare(["vae", "gan"], images=300, settings=SMALL, out=tmp_path / "c")
    now = read_plan(first.path / "compare.json")
    as_format_2(first.path / "compare.json")
    assert read_plan(first.path / "compare.json") == now
    shutil.rmtree(first.runs[1].path)
    again = resume_comparison(first.path)
    assert again.results == first.results
    assert [model.name for model in again.models] == ["vae", "gan"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"families": ["vae", "gan"]}, "plans families without settings"),
        ({"families": []}, "plans families without settings"),
        ({"families": [], "settings": {}}, "plans no models"),
        ({"families": "vae"}, "is no plan of format 2 or 3"),
        ({"families": ["evil.code"], "settings": {"evil.code": {}}}, "names the code evil.code"),
        ({"families": ["../../vae"], "settings": {"../../vae": {}}}, "names the code ../../vae"),
    ],
)
def test_a_former_plan_that_is_harmed(changed: dict[str, Any], reason: str, whole: Path, tmp_path: Path):
    as_format_2(plan := shutil.copytree(whole, tmp_path / "c") / "compare.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), **changed}))
    with pytest.raises(InputError, match=re.escape(reason)):
        resume_comparison(plan.parent)


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ({}, "plans no models"),
        ({"..": {"family": "vae", "settings": {}}}, "wanted a text"),
        ({"a\x1b": {"family": "vae", "settings": {}}}, "wanted a text of printable"),
        ({"a": {"family": "vae", "settings": {}}, "A": {"family": "vae", "settings": {}}}, "would share a folder"),
        ({"a": {"family": "evil.code", "settings": {}}}, "names the code evil.code"),
        ({"a": {"family": "vae"}}, "is no plan of format 2 or 3 (models.a.settings)"),
        ({"vae": {"family": "vae", "settings": {"beta": 3}}}, "was begun under another plan: settings"),
    ],
)
def test_a_plan_of_models_that_is_harmed(models: dict[str, Any], reason: str, whole: Path, tmp_path: Path):
    plan = shutil.copytree(whole, tmp_path / "c") / "compare.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "models": models}))
    with pytest.raises(InputError, match=re.escape(reason)):
        resume_comparison(plan.parent)


# What may be said


def said(*distances: tuple[str, tuple[float, ...]]) -> Best:
    sides = [Contender(name, values, {"b": values, "c": values}, copied=(0.0,)) for name, values in distances]
    models = [Model(name, "vae", {"beta": i}) for i, (name, _) in enumerate(distances)]
    (best,) = best_of_each(models, sides, judge(sides))
    return best


def test_the_best_is_called_so_if_the_verdicts_say_it():
    ten = tuple(range(10))
    shifted = tuple(value + 20 for value in ten)
    best = said(("a", shifted), ("b", ten), ("c", shifted))
    assert best.no_win_over == ()
    assert best.words == "least FD of 3 models of vae: b, 4.5 (it beats the others); use it with --set beta=1"
    near = tuple(value + 0.5 for value in ten)
    assert "(but it does not beat c); use" in said(("a", shifted), ("b", ten), ("c", near)).words
    assert "(an observation: it beats no other); use" in said(("b", ten), ("c", near)).words
    assert "(it beats the other); use" in said(("b", ten), ("c", shifted)).words


def test_whoever_copied_or_diverged_is_not_the_best():
    models = [Model(name, "vae", {"beta": i}) for i, name in enumerate("abc")]
    sides = [
        Contender("a", (1.0,) * 5, copied=(0.9,) * 5),
        Contender("b", (float("inf"),) * 5),
        Contender("c", (9.0,) * 5),
    ]
    assert [best.model for best in best_of_each(models, sides, judge(sides))] == ["c"]
    assert list(best_of_each(models[:2], sides[:2], judge(sides[:2]))) == []
    assert list(best_of_each(models, [], [])) == []


def test_the_defaults_are_used_without_a_word():
    best = Best("plain", "gan", 2, {}, 3.0, ())
    assert best.words.endswith("(it beats the other); it is the family as it comes, without any --set")


def test_a_narrow_terminal_shows_every_figure_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    monkeypatch.setenv("COLUMNS", "50")
    names = [f"vae(beta={i})" for i in range(9)]
    rows = [[f"measure {k}", *(f"{i}.{k}25\n{i}–{i + 1}" for i in range(9))] for k in range(3)]
    table("nine models", ["", *names], rows)
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 50
    assert all(name in out for name in names)
    assert all(f" {i}.{k}25 " in out for i in range(9) for k in range(3))
    assert out.count("nine models") == 1
