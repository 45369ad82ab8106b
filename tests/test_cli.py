"""The command line: what it promises, and that bad input is answered in one line and leaves nothing behind."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likelier import cli
from likelier.family import find, names
from likelier.progress import Terminal

Likelier = Callable[..., Any]
MakeFolder = Callable[..., Path]
COMMANDS = ["compare", "data", "families", "measure", "reconstruct", "report", "sample", "train"]
SHORT = ("--images", "256", "-q")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of a family that encodes, and one of a family that does not."""
    folder = tmp_path_factory.mktemp("runs")
    for family in ("vae", "gan"):
        assert cli.main(["train", family, *SHORT, "--out", str(folder / family)]) == 0
    return {family: folder / family for family in ("vae", "gan")}


@pytest.fixture
def vae(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a run, to be harmed."""
    return Path(shutil.copytree(runs["vae"], tmp_path / "vae"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def refused(likelier: Likelier, *arguments: object) -> str:
    """The one line that answers a command that cannot be done; nothing is written then."""
    before = files(Path.cwd())
    outcome = likelier(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("likelier: ")
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    assert files(Path.cwd()) == before
    return str(outcome.err)


# Help, version, and what is not imported


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys; from likelier import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: print('heavy:', sorted({'torch', 'numpy', 'yaml', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")
    assert all(command in done.stdout for command in COMMANDS)


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "likelier", "trian"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("likelier: there is no command 'trian': did you mean 'train'?")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_common_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--config", "--json", "--quiet", "--version"))


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("likelier ")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m likelier families vae | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# What the commands do


def test_train_sample_reconstruct_report(likelier: Likelier, runs: dict[str, Path], tmp_path: Path) -> None:
    assert likelier("sample", runs["vae"], "-n", "9", "--out", "nine.png").code == 0
    assert Image.open(tmp_path / "nine.png").size == (3 * 63, 3 * 63)
    assert likelier("sample", runs["gan"], "-n", "1001", "--out", "many.npz").code == 0
    with np.load(tmp_path / "many.npz") as arrays:
        assert (arrays["images"].shape, arrays["images"].dtype) == ((1001, 1, 8, 8), np.uint8)
    assert likelier("reconstruct", runs["vae"], "-n", "5").code == 0
    assert Image.open(tmp_path / "reconstructions.png").size == (5 * 63, 2 * 63)
    assert likelier("report", runs["vae"], runs["gan"]).code == 0
    assert "<html" in (tmp_path / "report.html").read_text()


def test_samples_hang_on_the_seed_alone(likelier: Likelier, runs: dict[str, Path], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert likelier("sample", runs["vae"], "-n", 4, "--seed", seed, "--out", f"{name}.npz").code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz")["images"] for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_thousands_of_samples_still_make_a_picture_that_opens(likelier: Likelier, runs: dict[str, Path]) -> None:
    assert likelier("sample", runs["vae"], "-n", "1e5", "--out", "all.png").code == 0
    assert max(Image.open("all.png").size) <= 8192


def test_json_on_standard_output_is_nothing_but_json(likelier: Likelier, runs: dict[str, Path]) -> None:
    commands: list[list[object]] = [
        ["train", "vae", "--images", "256", "--out", "run"],
        ["sample", runs["vae"]],
        ["reconstruct", runs["vae"]],
        ["report", runs["vae"]],
        ["data"],
        ["data", "digits"],
        ["families"],
        ["families", "vae_gan"],
        ["compare", "vae", "gan", "--images", "256", "--out", "comparison"],
        ["measure", "run"],
    ]
    for command in commands:
        outcome = likelier(*command, "--json")
        assert outcome.code == 0, (command, outcome.err)
        assert isinstance(json.loads(outcome.out), dict)
    assert {path.name for path in Path("comparison/runs").iterdir()} == {"vae-seed0", "gan-seed0"}


def test_a_comparison_ends_in_a_table_and_a_report(likelier: Likelier) -> None:
    outcome = likelier("compare", "vae", "gan", *SHORT, "--out", "both")
    assert outcome.code == 0
    assert "posterior collapse" in outcome.err, "a warning is no progress: it is told to the quiet, too"
    assert "…" not in outcome.err, "no line of progress"
    for word in ("vae", "gan", "no verdict on any pair: 5 seeds", "real (train)", "real (test)", "FD", "report.html"):
        assert word in outcome.out
    again = likelier("compare", "--resume", "both", "-q")
    assert (again.code, again.out) == (0, outcome.out)


def test_common_options_may_stand_before_the_command(likelier: Likelier) -> None:
    assert json.loads(likelier("--json", "families").out).keys() == set(names())
    outcome = likelier("-q", "train", "--images", "128", "--out", "run")
    assert outcome.code == 0
    assert "…" not in outcome.err, "-q leaves no progress, warnings only"


def test_the_default_folder_says_what_is_in_it(likelier: Likelier) -> None:
    assert likelier("train", "gan", *SHORT, "--seed", "3").code == 0
    assert Path("runs/digits-gan-seed3/done").exists()


def test_spaces_and_unicode_in_paths(likelier: Likelier, idx_folder: MakeFolder) -> None:
    data = idx_folder(name="meine Bilder, ünïcödé")
    assert likelier("train", "vae", "--data", data, *SHORT, "--out", "Läufe/erster Lauf").code == 0
    assert likelier("sample", "Läufe/erster Lauf", "--out", "Läufe/zwei drei.png").code == 0
    assert likelier("reconstruct", "Läufe/erster Lauf").code == 0


def test_a_whole_number_may_be_written_as_a_power_of_ten(likelier: Likelier) -> None:
    assert likelier("train", "--images", "1e3", "-q", "--out", "run").code == 0
    assert json.loads(Path("run/config.json").read_text())["images"] == 1000


def test_a_family_by_its_dotted_path(likelier: Likelier) -> None:
    assert likelier("train", "likelier.families.gan", *SHORT, "--out", "run").code == 0
    assert "pass --family likelier.families.gan" in refused(likelier, "sample", "run")
    assert likelier("sample", "run", "--family", "likelier.families.gan").code == 0


def test_data_lists_what_is_here_and_what_is_not(likelier: Likelier, idx_folder: MakeFolder) -> None:
    listed = likelier("data").out
    assert "1,198 + 599 images of 1×8×8, 10 classes" in listed
    assert listed.count("not here: ") == 6
    described = likelier("data", idx_folder({"README": b"other things"})).out
    assert "1×8×8" in described
    assert "4: 0, 1, 2, 3" in described


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_data_finds_the_published_sets(likelier: Likelier, data_root: Path, name: str) -> None:
    found = json.loads(likelier("data", name, "--data-root", data_root, "--json").out)
    assert (found["train"], found["test"], found["shape"]) == (60_000, 10_000, [1, 28, 28])


@pytest.mark.parametrize("name", names())
def test_every_family_is_described_in_words(likelier: Likelier, name: str) -> None:
    outcome = likelier("families", name)
    assert outcome.code == 0
    assert "Players: " in outcome.out
    for wrong in ("Annotated", "typing.", "FieldInfo", "class '"):
        assert wrong not in outcome.out
    assert "a whole number ≥ " in outcome.out
    for setting in json.loads(likelier("families", name, "--json").out)["settings"]:
        assert setting["default"] == getattr(find(name).Config(), setting["name"])


# What is unknown


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["trian"], "did you mean 'train'?"),
        (["TRAIN"], "did you mean 'train'?"),
        ([""], "there is no command ''"),
        ([], "COMMAND"),
        (["train", "--epoch", "3"], "did you mean --epochs?"),
        (["train", "--epochs=3", "--quite"], "did you mean --quiet?"),
        (["train", "vea"], "did you mean 'vae'?"),
        (["train", "vae", "gan"], "'gan' is not known here"),
        (["compare", "vae", "vea-gan"], "did you mean 'vae_gan'?"),
        (["families", "dcgn"], "did you mean 'dcgan'?"),
        (["train", "--data", "minst"], "did you mean 'mnist'?"),
        (["data", "fashion"], "there is no image set 'fashion'"),
        (["train", "--set", "latnt=2"], "did you mean 'latent'?"),
        (["compare", "vae", "--set", "vae.latnt=2"], "did you mean 'latent'?"),
        (["train", "--device", "gpu"], "wanted auto, cpu, cuda or mps"),
        (["train", "nowhere.model"], "there is no module nowhere"),
        (["train", "os.path"], "wanted one concrete subclass of likelier.Family"),
        (["train", ".vae"], "there is no family '.vae'"),
        (["train", ".."], "there is no family '..'"),
    ],
)
def test_unknown_names(likelier: Likelier, arguments: list[str], answer: str) -> None:
    assert answer in refused(likelier, *arguments)


def test_a_module_that_cannot_be_imported_is_told_in_one_line(likelier: Likelier, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.py").write_text("1 / 0")
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        assert "mine.broken cannot be imported: ZeroDivisionError" in refused(likelier, "train", "mine.broken")
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(tmp_path))


# Values of the wrong type or range


@pytest.mark.parametrize(
    "arguments",
    [
        *(["train", "--epochs", value] for value in ("0", "-1", "nan", "inf", "1e300", "many", "")),
        *(["train", "--images", value] for value in ("0", "-5", "1.5", "1e300", "nan", "9" * 30, "9" * 9999, "")),
        *(["train", "--minutes", value] for value in ("0", "nan", "1e300")),
        *(["train", "--seed", value] for value in ("-1", "x", "0.5")),
        *(["compare", "--seeds", value] for value in ("0", "-1", "1e9")),
        *(["sample", "run", "-n", value] for value in ("0", "-3", "x", "1e300")),
        ["train", "--epochs", "1", "--images", "100"],
        ["train", "--images", "1", "--minutes", "1"],
        ["train", "--checkpoint-seconds", "nan"],
        ["train", "--json=3"],
        ["train", "--out"],
        *(["train", "--set", value] for value in ("latent", "=3", "", "latent=0", "latent=", "latent=2.5", "lr=nan")),
        *(["train", "--set", value] for value in ("lr=-1", "lr=inf", "latent=1e300", f"latent={10**13}", "a.b=1")),
        *(
            ["train", "--set", value]
            for value in (f"batch={10**20}", f"hidden={'9' * 99}", f"hidden={'9' * 9999}", "likelihood=normal")
        ),
        *([command, "--augment", kinds] for command in ("train", "compare") for kinds in ("flip", "shift,mirror")),
        ["train", "--set", "latent=1000000", "--set", "hidden=1000000"],
        *(["train", "--set", value] for value in ("network=cnn", "width=32")),
        ["compare", "vae", "--set", "vae.latent=0"],
        ["compare", "vae", "gan", "--set", "gan.hidden=x"],
        ["compare", "vae", "--set", "gan.hidden=3"],
        ["compare", "vae", "vae"],
    ],
)
def test_values_of_the_wrong_type_or_range(likelier: Likelier, arguments: list[str]) -> None:
    message = refused(likelier, *arguments)
    assert "wanted" in message or "not" in message or "twice" in message
    assert len(message) < 500


@pytest.mark.parametrize("option", ["--data", "--data-root", "--out", "--device", "--config", "--resume"])
def test_nothing_may_be_empty(likelier: Likelier, option: str) -> None:
    assert f"{option}: ''" in refused(likelier, "train", option, "")


# Where the output goes


@pytest.mark.parametrize("command", [["train"], ["compare", "vae"]])
@pytest.mark.parametrize("out", ["there", "file", "file/below", "/proc/below/it", "."])
def test_an_output_folder_that_cannot_be_made(likelier: Likelier, command: list[str], out: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("untouched")
    message = refused(likelier, *command, *SHORT, "--out", out)
    assert "is there already" in message or "cannot be written" in message
    assert "choose another --out" in message


@pytest.mark.parametrize("out", ["x", "x.jpg", ".png", "nowhere/x.png", "file/x.png", "folder.png", "/proc/x.png"])
def test_an_output_file_that_cannot_be_made(
    likelier: Likelier, runs: dict[str, Path], out: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("untouched")
    assert f"--out {out}" in refused(likelier, "sample", runs["vae"], "--out", out)


# Data


@pytest.mark.parametrize("command", [["train"], ["compare", "vae"]])
def test_data_that_cannot_be_used(likelier: Likelier, idx_folder: MakeFolder, command: list[str]) -> None:
    cut = idx_folder({"train-images-idx3-ubyte": b"\0\0\x08\x03"}, name="cut")
    idx_folder(name="mnist")
    Path("file").write_text("x")
    for data, root, reason in (
        (cut, ".", "ends inside its header"),
        ("file", ".", "is a file"),
        ("no/where", ".", "there is no folder or file no/where"),
        ("mnist", ".", "not the published file of mnist"),
        ("mnist", "nowhere", "there is no folder nowhere"),
        ("mnist", "file", "there is no folder file"),
    ):
        assert reason in refused(likelier, *command, *SHORT, "--data", data, "--data-root", root, "--out", "run")
    assert "LIKELIER_DATA" in refused(likelier, *command, *SHORT, "--data", "mnist")


def test_images_that_cannot_be_judged_are_refused_before_training(likelier: Likelier, idx_folder: MakeFolder) -> None:
    data = idx_folder(n=1)
    assert "has 1 + 1 images" in refused(likelier, "compare", "vae", *SHORT, "--data", data, "--out", "run")


def test_a_data_root_that_is_not_there(likelier: Likelier) -> None:
    assert "wanted the folder that holds mnist/" in refused(likelier, "data", "--data-root", "nowhere")


# Runs that are none, or harmed


@pytest.mark.parametrize("command", [["sample"], ["reconstruct"], ["measure"], ["report"], ["train", "--resume"]])
def test_a_run_that_is_none(likelier: Likelier, command: list[str], runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in ("nowhere", "file", "folder"):
        assert "wanted the folder of a run" in refused(likelier, *command, path)
    if command[0] in ("measure", "report"):  # the first would do: nothing is done for it
        assert "wanted the folder of a run" in refused(likelier, *command, runs["vae"], "nowhere")


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


HARM: dict[str, Callable[[bytes], bytes]] = {
    "a bit of a weight": lambda content: flipped(content, len(content) - 5000),
    "a bit of the length": lambda content: flipped(content, 3),
    "a bit of the header": lambda content: flipped(content, 60),
    "cut in half": lambda content: content[: len(content) // 2],
    "cut in its length": lambda content: content[:4],
    "empty": lambda content: b"",
    "a huge header": lambda content: b"\xff" * 7 + b"\x7f" + content[8:],
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("command", ["sample", "reconstruct", "measure"])
def test_a_checkpoint_that_is_harmed(likelier: Likelier, vae: Path, command: str, harm: str) -> None:
    state = vae / "state.safetensors"
    state.write_bytes(HARM[harm](state.read_bytes()))
    assert "train the run anew" in refused(likelier, command, "vae")


def test_a_checkpoint_that_is_missing_or_a_folder(likelier: Likelier, vae: Path) -> None:
    (vae / "state.safetensors").unlink()
    assert "state.safetensors is missing" in refused(likelier, "sample", "vae")
    (vae / "state.safetensors").mkdir()
    assert "is no checkpoint" in refused(likelier, "sample", "vae")


CONFIGS = ["", "{", "[1]", "null", "\0\1", "{}", '{"format": 9}', '{"format": 1}']
CHANGES: list[dict[str, Any]] = [
    {"family": 3},
    {"family": "gan"},
    {"family": "os.path"},
    {"settings": []},
    {"settings": {"latent": 0}},
    {"settings": {"latent": 3}},
    {"settings": {"latent": 10**12}},
    {"shape": [1, 8]},
    {"shape": "x"},
    {"shape": [1, 8, 0]},
    {"seed": "x"},
    {"images": None},
]


@pytest.mark.parametrize("content", [*CONFIGS, *CHANGES], ids=str)
def test_a_configuration_that_is_harmed(likelier: Likelier, vae: Path, content: str | dict[str, Any]) -> None:
    path = vae / "config.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_text(content)
    refused(likelier, "sample", "vae")


@pytest.mark.parametrize(("file", "content"), [("done", "[]"), ("done", "{}"), ("environment.json", "{}")])
def test_a_record_that_is_harmed(likelier: Likelier, vae: Path, file: str, content: str) -> None:
    (vae / "done").unlink()
    (vae / file).write_text(content)
    assert file in refused(likelier, "train", "--resume", "vae")


def test_a_run_may_not_name_code(likelier: Likelier, vae: Path, tmp_path: Path) -> None:
    path = vae / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "family": "evil.code"}))
    assert "if you trust that code" in refused(likelier, "sample", "vae")
    assert likelier("compare", "vae", *SHORT, "--out", "both").code == 0
    plan = tmp_path / "both" / "compare.json"
    models = {"vae": {"family": "evil.code", "settings": {}}}
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "models": models}))
    assert "names the code evil.code" in refused(likelier, "compare", "--resume", "both")


def test_another_family_than_the_runs(likelier: Likelier, runs: dict[str, Path]) -> None:
    assert "was trained with vae: leave it out" in refused(likelier, "sample", runs["vae"], "--family", "gan")


def test_a_family_without_an_encoder_does_not_reconstruct(likelier: Likelier, runs: dict[str, Path]) -> None:
    assert "gan has no encoder, so it cannot reconstruct: vae" in refused(likelier, "reconstruct", runs["gan"])


# Going on


@pytest.mark.parametrize(
    "option",
    [
        ["--seed", "0"],
        ["--epochs", "3"],
        ["--set", "latent=2"],
        ["--out", "x"],
        ["--device", "cpu"],
    ],
)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_resume_takes_no_other_options(likelier: Likelier, vae: Path, command: str, option: list[str]) -> None:
    (vae / "done").unlink()
    assert f"{option[0]} beside --resume" in refused(likelier, command, "--resume", "vae", *option)


def test_resume_of_a_finished_run_says_so_and_changes_nothing(likelier: Likelier, vae: Path) -> None:
    before = files(vae)
    outcome = likelier("train", "--resume", "vae")
    assert outcome.code == 0
    assert "had finished already" in outcome.err
    assert files(vae) == before


def test_resume_ends_what_was_interrupted(likelier: Likelier, vae: Path) -> None:
    done = json.loads((vae / "done").read_text())
    (vae / "done").unlink()
    assert likelier("train", "--resume", "vae", "-q").code == 0
    assert json.loads((vae / "done").read_text())["images"] == done["images"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 9}'])
def test_resume_of_a_comparison_without_a_plan(likelier: Likelier, content: str) -> None:
    Path("both").mkdir()
    assert "wanted the folder of a comparison" in refused(likelier, "compare", "--resume", "both")
    Path("both/compare.json").write_text(content)
    refused(likelier, "compare", "--resume", "both")


# Configuration files


def test_a_configuration_file_is_overridden_by_the_command_line(likelier: Likelier) -> None:
    Path("c.yml").write_text(
        "family: gan\nimages: 1e9\nseed: 5\nquiet: true\nout: run\n"
        "set:\n  lr: 1e-3\n  latent: 4\n  gan: {hidden: 16, latent: 6}\n"
    )
    assert likelier("train", "--config", "c.yml", "--images", "200", "--set", "latent=3").code == 0
    config = json.loads(Path("run/config.json").read_text())
    assert (config["family"], config["images"], config["seed"]) == ("gan", 200, 5)
    assert {name: config["settings"][name] for name in ("lr", "hidden")} == {"lr": 1e-3, "hidden": 16}


def test_a_setting_of_the_command_line_wins_over_a_nested_one(likelier: Likelier) -> None:
    Path("c.json").write_text(json.dumps({"set": {"latent": 4, "vae": {"latent": 6}}}))
    command = ("train", "vae", "--config", "c.json", *SHORT)
    assert likelier(*command, "--out", "a", "--set", "latent=3").code == 0
    assert likelier(*command, "--out", "b").code == 0
    latent = [json.loads(Path(run, "config.json").read_text())["settings"]["latent"] for run in ("a", "b")]
    assert latent == [3, 6]


def test_another_kind_of_budget_replaces_the_one_in_the_file(likelier: Likelier) -> None:
    Path("c.yml").write_text("epochs: 1000000\nfamilies: [vae]\n")
    assert likelier("compare", "--config", "c.yml", *SHORT, "--out", "both").code == 0
    assert json.loads(Path("both/compare.json").read_text())["images"] == 256


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds nothing"),
        (b"- a\n- b\n", "holds a list"),
        (b"hello", "holds a text"),
        (b"a: [", "is not YAML"),
        (b"\x00\x01\xff\xfe", "is not YAML"),
        (b"[" * 5000, "is not YAML"),
        (b"epochs: 3\nseed: 1\nepochs: 4\n", "epochs is given twice"),
        (b"!!python/object/apply:os.system ['touch evil']\n", "is not YAML"),
        (b"epoch: 3\n", "did you mean 'epochs'?"),
        (b"settings: {latent: 2}\n", "there is no option 'settings'"),
        (b"3: 4\n", "there is no option '3'"),
        (b"config: other.yml\n", "there is no option 'config'"),
        (b"epochs: many\n", "epochs = 'many': wanted"),
        (b"epochs: -1\n", "wanted"),
        (b"epochs: .nan\n", "wanted"),
        (b"epochs:\n", "wanted"),
        (b"images: true\n", "wanted a whole number"),
        (b"seed: 1.5\n", "wanted a whole number"),
        (b"epochs: 1\nimages: 3\n", "wanted one of epochs, images and minutes"),
        (b"out: 3\n", "out is a number: wanted a text"),
        (b"out: [a]\n", "out is a list: wanted a text"),
        (b"out:\n", "out is nothing: wanted a text"),
        (b'out: "a\\0b"\n', "wanted a name or a path"),
        (b"data: 2020-01-01\n", "data is a date: wanted a text"),
        (b"json: maybe\n", "wanted true or false"),
        (b"family: [vae]\n", "family is a list"),
        (b"family: os.path\n", "names the code os.path: a file may not"),
        (b"set: [1]\n", "set is a list"),
        (b"set: {latnt: 3}\n", "did you mean 'latent'?"),
        (b"set: {latent: [1]}\n", "latent = '[1]': wanted"),
        (b"set: {vae: {latent: 0}}\n", "latent = '0': wanted"),
        (b"set: {vae: {latent: {a: 1}}}\n", "latent = \"{'a': 1}\": wanted"),
    ],
)
def test_a_configuration_file_that_cannot_be_used(likelier: Likelier, content: bytes, reason: str) -> None:
    Path("c.yml").write_bytes(content)
    assert reason in refused(likelier, "train", "--config", "c.yml")


def test_a_configuration_file_may_not_name_code_among_families(likelier: Likelier) -> None:
    Path("c.yml").write_text("families: [vae, os.path]\n")
    assert "names the code os.path" in refused(likelier, "compare", "--config", "c.yml")


@pytest.mark.parametrize("path", ["nowhere.yml", "."])
def test_a_configuration_file_that_is_none(likelier: Likelier, path: str) -> None:
    assert f"--config {path} cannot be read" in refused(likelier, "train", "--config", path)


# The terminal


def test_a_pipe_gets_a_few_plain_lines(likelier: Likelier) -> None:
    outcome = likelier("train", "gan", "--images", "12800", "--out", "run")
    lines = outcome.err.splitlines()
    assert lines[0] == "training gan: 12,800 images …"
    assert [line.split()[0] for line in lines[1:]] == ["25%", "50%", "75%", "100%"]
    assert all("discriminator" in line and "generator" in line for line in lines[1:])
    assert "\x1b" not in outcome.err + outcome.out
    assert outcome.out.splitlines() == [outcome.out.splitlines()[0], f"run: {Path('run').resolve()}"]


def test_quiet_is_quiet(likelier: Likelier) -> None:
    assert likelier("train", "gan", "--images", "12800", "-q", "--out", "run").err == ""


def test_the_bar_shows_every_player_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    audience = Terminal()
    audience.training("vae_gan, seed 0", 1, 4)
    record = {"loss.encoder": 54.881, "loss.decoder": -1.2051, "loss.discriminator": 1.5949, "kl": 3.0}
    audience.progress(128, 1000, record)
    with audience.console.capture() as captured:
        audience.console.print(*audience.bar.get_renderables())
    shown = captured.get()
    assert all(word in shown for word in ("13%", "images/s", "left", "encoder 54.88", "discriminator 1.595"))
    assert "kl" not in shown
