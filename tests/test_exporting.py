"""A run in the formats of others: the same answers from them, nothing invented, nothing half-written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from conftest import Likelier
from likelier import cli
from likelier.errors import InputError
from likelier.experiment import load, resume, train
from likelier.exporting import export
from likelier.exporting.events import EVENTS, events_of, follow
from likelier.exporting.networks import TOLERANCE, networks_of
from likelier.family import Decodes, Encodes, Scores, build, configure, find, names
from likelier.measuring import measure
from likelier.run import Run, State

NETWORKS = ("mlp", "conv", "resnet")
UNTOLD = {"vae", "vae_gan"}
"""Families that are not told of classes."""
FAST = {("vae_gan", "conv", 0)}
"""It has all three; labels are looked at by another test, and all others are slow."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hybrid, whose samples come from an average of its weights."""
    found = train("vae_gan", images=1_500, settings={"width": 2, "latent": 3}, out=tmp_path_factory.mktemp("r") / "vg")
    measure(found)
    return found


@pytest.fixture(scope="module")
def by_class(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A GAN that is told of classes."""
    return train("gan", images=512, settings={"classes": 10}, out=tmp_path_factory.mktemp("r") / "by-class")


def each_pair() -> list[Any]:
    """Every family with every network and, where it can be, told of classes."""
    found = []
    for name in names():
        for network in NETWORKS:
            for classes in (0,) if name in UNTOLD else (0, 3):
                fast = (name, network, classes) in FAST
                found.append(pytest.param(name, network, classes, marks=() if fast else pytest.mark.slow))
    return found


@pytest.mark.parametrize(("name", "network", "classes"), each_pair())
def test_every_network_answers_in_onnx_as_it_does_in_pytorch(name: str, network: str, classes: int, run: Run):
    onnxruntime = pytest.importorskip("onnxruntime")
    cls = find(name)
    settings = {"network": network, **({"classes": classes} if classes else {})}
    family = build(cls, configure(cls, settings), (3, 9, 13), seed=1).eval().requires_grad_(False)
    found = {each.name: each for each in networks_of(family, run)}
    capabilities = {"decoder": Decodes, "encoder": Encodes, "score": Scores}
    assert found.keys() == {each for each, capability in capabilities.items() if isinstance(family, capability)}
    chance = torch.Generator().manual_seed(9)
    for each in found.values():
        session = onnxruntime.InferenceSession(each.content, providers=["CPUExecutionProvider"])
        assert each.difference <= TOLERANCE
        for n in (1, 5, 64):  # sizes that the export did not look at, too
            x, y = torch.rand(n, 3, 9, 13, generator=chance), torch.randint(max(classes, 1), (n,), generator=chance)
            told = {"labels": y.numpy()} if classes and each.name != "encoder" else {}
            if each.name == "decoder":
                z = torch.randn(n, family.config.latent, generator=chance)
                feed, wanted = {"z": z.numpy()}, family.generate(z, y) if classes else family.decode(z)
            elif each.name == "encoder":
                feed, wanted = {"images": x.numpy()}, family.encode(x).mu
            else:
                feed, wanted = {"images": x.numpy()}, family.score(x, y if classes else None)
            answer, *more = session.run(None, {**feed, **told})
            assert answer.shape == wanted.shape
            assert np.abs(answer - wanted.numpy()).max() <= TOLERANCE * max(1, wanted.abs().max().item())
            if each.name == "encoder":
                assert np.abs(more[0] - family.encode(x).log_var.numpy()).max() <= TOLERANCE
            if each.name == "decoder":
                assert answer.min() >= 0
                assert answer.max() <= 1


def test_a_network_that_disagrees_is_not_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    from likelier.exporting import networks

    honest = networks.difference
    monkeypatch.setattr(networks, "difference", lambda found, wanted: honest(found + 2e-4, wanted))
    with pytest.raises(InputError, match=r"decoder in ONNX differs from PyTorch by 0\.0002: wanted 0\.0001"):
        export(run, "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_onnx_files_tell_their_origin_and_no_place_on_this_machine(by_class: Run, tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    found = export(by_class, "onnx", tmp_path / "out")
    assert found.files == ("decoder.onnx", "score.onnx")
    assert re.match(
        r"decoder.onnx: z \[n, 64\], labels \[n\] → images \[n, 1, 8, 8\]; largest difference", found.notes[0]
    )
    content = (tmp_path / "out" / "decoder.onnx").read_bytes()
    assert str(Path(cli.__file__).parent).encode() not in content
    z, y = torch.randn(9, 64, generator=torch.Generator().manual_seed(5)), torch.arange(9)
    session = pytest.importorskip("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"z": z.numpy(), "labels": y.numpy()})
    assert np.abs(answer - load(by_class).generate(z, y).numpy()).max() <= TOLERANCE
    metadata = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    assert (metadata["family"], metadata["data"]) == ("gan", "digits")
    assert metadata["data_digest"] == by_class.environment["data_digest"]


@pytest.mark.parametrize("which", ["run", "by_class"])
def test_weights_alone_draw_the_same_samples_bit_for_bit(which: str, tmp_path: Path, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(which)
    export(run, "safetensors", tmp_path / "w.safetensors")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "w.safetensors").rename(tmp_path / "elsewhere" / "x.safetensors")
    of_run, of_file = load(run), load(tmp_path / "elsewhere" / "x.safetensors")
    for labels in (None, *([torch.arange(10)] if which == "by_class" else [])):
        one, other = (m.sample(10, torch.Generator().manual_seed(3), labels) for m in (of_run, of_file))
        assert torch.equal(one, other)
    live = run.state().tensors["family/decoder.0.weight" if which == "run" else "family/generator.0.weight"]
    name = "decoder.0.weight" if which == "run" else "generator.0.weight"
    assert torch.equal(live, of_file.state_dict()[name]) == (which == "by_class")  # the average, where there is one
    assert not of_file.training


def test_a_file_of_weights_that_is_none_is_refused(run: Run, tmp_path: Path):
    good = tmp_path / "w.safetensors"
    export(run, "safetensors", good)
    whole = good.read_bytes()
    for content, reason in (
        (whole[:-1], "is no file of weights, or a broken one"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged"),
        (b"", "is no file of weights"),
        ((run.path / "state.safetensors").read_bytes(), "a checkpoint is loaded by the folder of its run"),
        (whole.replace(b"vae_gan", b"os.path"), "damaged|not likelier's own"),
    ):
        good.write_bytes(content)
        with pytest.raises(InputError, match=reason):
            load(good)


def test_a_file_that_tells_of_a_model_that_cannot_be_is_refused(by_class: Run, tmp_path: Path):
    export(by_class, "safetensors", tmp_path / "w.safetensors")
    state = State.read(tmp_path / "w.safetensors")
    for shape, reason in (([1, 10**7, 10**7], "cannot be built"), ([True, 8, 8], "wanted .channels, height, width")):
        told = {"model": {**state.scalars["model"], "shape": shape}}
        (tmp_path / "lie.safetensors").write_bytes(State(state.tensors, told).to_bytes())
        with pytest.raises(InputError, match=reason):
            load(tmp_path / "lie.safetensors")


def test_a_parameter_that_has_two_names_is_exported(tmp_path: Path):
    run = train("broken_models.twice", images=256, out=tmp_path / "twice")
    export(run, "card", tmp_path / "card", family="broken_models.twice")
    again = load(tmp_path / "card" / "model.safetensors", "broken_models.twice")
    mean, other = again.state_dict().values()
    assert torch.equal(mean, other)
    assert bool((mean != 0).any())
    with pytest.raises(InputError, match="has no decoder, encoder or score"):
        export(run, "onnx", tmp_path / "onnx", family="broken_models.twice")


def test_a_card_says_what_the_run_says_and_no_licence(run: Run, tmp_path: Path):
    found = export(run, "card", tmp_path / "card")
    assert {path.name for path in found.path.iterdir()} == {"README.md", "samples.png", "model.safetensors"}
    text = (found.path / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    header = yaml.safe_load(head)
    assert "license" not in header
    assert "# license: state here" in head
    (result,) = header["model-index"][0]["results"]
    assert result["dataset"]["args"]["digest"] == run.environment["data_digest"]
    kept = {m["name"]: m for m in json.loads((run.path / "measures.json").read_text())["measures"]}
    assert {m["name"]: m["value"] for m in result["metrics"]} == {
        name: m["value"] for name, m in kept.items() if m["value"] is not None
    }
    fd = next(m for m in result["metrics"] if m["type"] == "frechet_distance")
    assert fd["args"]["floors"] == kept[fd["name"]]["floor"]
    assert f"`{fd['name']}`" in body
    assert "arXiv 1512.09300" in body
    assert "eprint = {1512.09300}" in body
    assert "1,536 of 1,500" in body
    assert run.environment["torch"] in body
    for warning in json.loads((run.path / "measures.json").read_text())["warnings"]:
        assert warning.partition(":")[0] in body
    with Image.open(found.path / "samples.png") as picture:
        assert picture.width == picture.height > 500


@pytest.mark.slow
def test_the_command_and_the_lines_on_a_card_do_what_they_say(run: Run, tmp_path: Path, likelier: Likelier):
    export(run, "card", "card")
    text = Path("card/README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    assert "--set width=2 --set latent=3" in command
    assert likelier(*command.split()[1:], "--out", "again", "-q").code == 0
    assert Run.open("again").state().digest_without_clock() == run.state().digest_without_clock()
    (python,) = re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    os.chdir("card")
    known: dict[str, Any] = {}
    exec(python, known)
    assert torch.equal(known["images"], load(run).sample(16, torch.Generator().manual_seed(0)))


def test_names_on_a_card_are_text_and_no_place_is_told(tmp_path: Path):
    folder = tmp_path / "secret place" / "<b>_|cats"
    for i in range(12):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    run = train("vae", str(folder), images=256, out=tmp_path / "r")
    text = (export(run, "card", tmp_path / "card").path / "README.md").read_text(encoding="utf-8")
    assert "secret place" not in text
    assert "# vae on \\<b\\>\\_\\|cats" in text
    assert "It was not measured" in text
    assert "model-index" not in yaml.safe_load(text.split("---\n", 2)[1])


def test_no_name_on_a_card_is_markup_or_another_command(tmp_path: Path):
    name = "`touch x`; <b>bold"
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / f"{name}.npz", train_images=images[:200], test_images=images[200:])
    run = train("vae", str(tmp_path / f"{name}.npz"), images=256, out=tmp_path / "r")
    environment = json.loads((run.path / "environment.json").read_text())
    (run.path / "environment.json").write_text(json.dumps({**environment, "device_name": "a ` <i>chip</i>"}))
    text = (export(run, "card", tmp_path / "card").path / "README.md").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("likelier train"))
    assert shlex.split(command)[4] == name
    assert "<" not in text.replace(command, "").replace("\\<", "")


def test_a_card_of_a_run_that_did_not_finish_opens_with_that(tmp_path: Path):
    broken = train("vae", images=30_000, settings={"lr": 1e6}, out=tmp_path / "broken")
    text = (export(broken, "card", tmp_path / "a").path / "README.md").read_text(encoding="utf-8")
    assert "diverged: " in text
    assert "weights of its last good checkpoint" in text
    (broken.path / "done").unlink()
    text = (export(broken, "card", tmp_path / "b").path / "README.md").read_text(encoding="utf-8")
    assert "unfinished: this is the checkpoint at" in text


def test_what_cannot_be_exported_is_said_in_one_line(run: Run, tmp_path: Path, likelier: Likelier):
    begun = train("vae", images=256, out=tmp_path / "begun", begin_only=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    for arguments, reason in (
        ((begun.path,), "has no checkpoint"),
        ((run.path, "--format", "onxx"), "did you mean 'onnx'"),
        ((run.path, "--out", "file/card"), "cannot be written: Not a directory"),
        ((run.path, "--out", "file"), "is no part of such an export"),
        ((run.path, "--out", "mine", "--overwrite"), "holds thesis.tex"),
        ((run.path, "--out", "/proc/card"), "cannot be written"),
        ((run.path, "--format", "safetensors", "--out", "mine"), "ends in .safetensors"),
        ((run.path, "--format", "safetensors", "--out", "none/w.safetensors"), "there is no folder none"),
        ((tmp_path / "mine",), "has no config.json"),
        ((run.path, "--family", "gan"), "was trained with vae_gan: leave it out"),
    ):
        outcome = likelier("export", *arguments)
        assert outcome.code == 2, arguments
        assert reason in outcome.err
        assert outcome.err.count("\n") <= 2
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"
    assert {path.name for path in tmp_path.iterdir()} == {"begun", "file", "mine"}


def test_a_former_export_is_replaced_on_request_only(run: Run, likelier: Likelier):
    for name, options in (("vg-card", ()), ("w.safetensors", ("--format", "safetensors", "--out", "w.safetensors"))):
        assert likelier("export", run.path, *options).code == 0
        told = likelier("export", run.path, *options)
        assert (told.code, "--overwrite" in told.err) == (2, True)
        before = Path(name).stat().st_ino
        assert likelier("export", run.path, *options, "--overwrite").code == 0
        assert Path(name).stat().st_ino != before
    assert {path.name for path in Path.cwd().iterdir()} == {"vg-card", "w.safetensors"}


def test_a_former_export_comes_back_if_the_new_one_cannot_take_its_place(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    export(run, "card", tmp_path / "card")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new" and target == tmp_path / "card":
            raise OSError("the disk went away")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="went away"):
        export(run, "card", tmp_path / "card", overwrite=True)
    assert {path.name for path in (tmp_path / "card").iterdir()} == {"README.md", "samples.png", "model.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["card"]


@pytest.mark.parametrize(
    ("format", "missing", "extra"), [("onnx", "onnxscript", "export"), ("tensorboard", "tensorboard", "log")]
)
def test_a_missing_library_is_named_with_its_extra(
    format: str, missing: str, extra: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(sys.modules, f"{missing}.compat", None)
    monkeypatch.setitem(sys.modules, f"{missing}.compat.proto.event_pb2", None)
    with pytest.raises(InputError, match=rf"{missing} is not installed: pip install 'likelier\[{extra}\]'"):
        export(run, format, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of a folder by tag, and the steps of its pictures, as TensorBoard reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    tags = found.Tags()
    scalars = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags["scalars"]}
    return scalars | {tag: [(e.step, float(e.width)) for e in found.Images(tag)] for tag in tags["images"]}


def test_tensorboard_reads_back_what_the_log_says(run: Run, tmp_path: Path):
    found = read_events(export(run, "tensorboard", tmp_path / "events").path)
    lines = run.metrics()
    turns, looks = ([line for line in lines if bool(line.get("evaluation")) is e] for e in (False, True))
    for tag, of, key in (
        ("loss/encoder", turns, "loss.encoder"),
        ("training/kl", turns, "kl"),
        ("held out/fd", looks, "fd"),
    ):
        wanted = [(line["images"], pytest.approx(line[key], rel=1e-6)) for line in of]
        assert found[tag] == wanted
    assert [step for step, _ in found["samples"]] == [line["images"] for line in looks]
    assert [step for step, _ in found["reconstructions"]] == [line["images"] for line in looks]


def test_events_written_while_training_are_those_of_the_whole_log_and_come_once(tmp_path: Path, likelier: Likelier):
    pytest.importorskip("tensorboard")
    told = likelier("train", "gan", "--images", 1_500, "--tensorboard", "--out", "r", "-q")
    assert told.code == 0
    run = Run.open("r")
    assert (run.path / EVENTS).read_bytes() == events_of(run)
    plain = train("gan", images=1_500, out=tmp_path / "plain")  # the events change nothing
    assert plain.state().digest_without_clock() == run.state().digest_without_clock()


def test_without_the_library_no_run_is_begun(likelier: Likelier, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    told = likelier("train", "gan", "--images", 256, "--tensorboard", "--out", "r", "-q")
    assert (told.code, "likelier[log]" in told.err) == (2, True)
    assert not Path("r").exists()


def test_numbers_and_names_that_no_event_holds_are_no_end_of_the_export(run: Run, tmp_path: Path):
    pytest.importorskip("tensorboard")
    shutil.copytree(run.path, tmp_path / "r")
    with (tmp_path / "r" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"images": 9_999, "loss.vast": 10**400, "odd\ud800": 1.0}) + "\n")
    export(tmp_path / "r", "tensorboard", tmp_path / "events")
    found = read_events(tmp_path / "events")
    assert [(step, np.isnan(value)) for step, value in found["loss/vast"]] == [(9_999, True)]
    assert found["training/odd?"] == [(9_999, 1.0)]


def test_a_resume_has_no_event_twice(tmp_path: Path, likelier: Likelier):
    pytest.importorskip("tensorboard")

    class Stop(Exception):
        pass

    def stop(seen: int, total: int, record: object) -> None:
        if seen > 700:
            raise Stop

    run = train("gan", images=1_500, out=tmp_path / "r", checkpoint_seconds=0, begin_only=True)
    with pytest.raises(Stop):
        resume(run, on_progress=stop)
    follow(run)
    with (run.path / EVENTS).open("ab") as file:
        file.write(b"half an event")  # the machine went down
    assert likelier("train", "--resume", run.path, "--tensorboard", "-q").code == 0
    steps = [step for step, _ in read_events(run.path)["loss/generator"]]
    assert steps == [line["images"] for line in run.metrics() if not line.get("evaluation")]
    assert len(steps) == len(set(steps))


def test_events_are_added_in_place_while_the_log_grows(run: Run, tmp_path: Path):
    pytest.importorskip("tensorboard")
    (tmp_path / "r").mkdir()
    copy = Run(tmp_path / "r")
    for name in ("config.json", "timing.jsonl"):
        (copy.path / name).write_bytes((run.path / name).read_bytes())
    lines = (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    nodes = set()
    for line in lines:
        with (copy.path / "metrics.jsonl").open("ab") as file:
            file.write(line)
        follow(copy)
        nodes.add((copy.path / EVENTS).stat().st_ino)
    assert len(nodes) == 1
    assert (copy.path / EVENTS).read_bytes() == events_of(copy)


def test_libraries_are_imported_when_they_are_wanted_and_no_more_than_that(run: Run):
    pytest.importorskip("tensorboard")
    code = (
        "import sys, likelier.commands\nfrom likelier.exporting.events import events_of\n"
        "heavy = {'onnx', 'onnxscript', 'onnxruntime', 'tensorboard', 'tensorflow', 'IPython'} & sys.modules.keys()\n"
        f"assert events_of(likelier.Run.open({str(run.path)!r}))\n"
        "heavy |= {'tensorflow', 'werkzeug', 'grpc', 'torch.utils.tensorboard'} & sys.modules.keys()\n"
        "sys.exit(str(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
