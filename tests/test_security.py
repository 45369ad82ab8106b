"""Files from strangers: nothing in them is run, whatever they are called and wherever they are put.

`SECURITY.md` is what these tests keep.
"""

import ast
import io
import json
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import likelier as package
from likelier import cli
from likelier.run import Run

ROOT = Path(package.__file__).parent
RUNS_CODE = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop", "pty"
}  # fmt: skip
"""Modules that run what they read."""
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.hub.load",
    "np.fromfile",
}
"""Functions that do."""


# Nothing that could run a file is written down anywhere


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, with the name of what is called as it is written there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> Any:
    """What a keyword is given, as it is written; None if it is not."""
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles_or_runs_what_it_reads(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & RUNS_CODE
    for name, call in calls(path):
        assert name not in CALLS
        assert given(call, "shell") in (None, "False"), "a shell runs what is in a name"
        if name in ("np.load", "numpy.load"):
            assert given(call, "allow_pickle") == "False"
        if name.endswith(("extractall", "unpack_archive")):
            raise AssertionError(f"{name}: an archive may climb out of its folder")
        if name.startswith("yaml.") and "load" in name:
            assert name == "yaml.load" and path.name == "files.py"  # with a loader derived from SafeLoader
        if name == "importlib.import_module":
            assert path.name in ("family.py", "__init__.py")  # of families and of sources of images, see below


# What is handed in is not run


class Evil:
    """What would leave its mark if it were unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Evil(mark))


def saved_by_torch(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"family/weight": Evil(mark)}, buffer)
    return buffer.getvalue()


def object_array(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def object_archive(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([Evil(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def tagged(mark: Path) -> bytes:
    return f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]\n".encode()


def tensors(header: bytes, length: int | None = None, content: bytes = b"") -> Callable[[Path], bytes]:
    """A safetensors file with this header, which claims to be so long."""
    return lambda mark: struct.pack("<Q", len(header) if length is None else length) + header + content


def described(**tensor: Any) -> bytes:
    return json.dumps({"family/weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **tensor}}).encode()


EVIL: dict[str, Callable[[Path], bytes]] = {
    "a pickle": pickled,
    "torch.save": saved_by_torch,
    "an array of objects": object_array,
    "an archive of objects": object_archive,
    "a YAML tag": tagged,
    "nothing": lambda mark: b"",
    "zeros": lambda mark: bytes(4096),
    "a header of 2⁶³ bytes": tensors(b"{}", 1 << 63),
    "a header longer than the file": tensors(b"{}", 1000),
    "a header that is no JSON": tensors(b"{" * 64),
    "a header of a million brackets": tensors(b"[" * 1_000_000),
    "a tensor of 2⁶² numbers": tensors(described(shape=[1 << 62]), content=bytes(8)),
    "a tensor beyond the end": tensors(described(data_offsets=[0, 1 << 40]), content=bytes(8)),
    "a tensor that ends before it begins": tensors(described(data_offsets=[8, 0]), content=bytes(8)),
    "a tensor of an unknown type": tensors(described(dtype="OBJECT"), content=bytes(8)),
    "scalars that are no JSON": lambda mark: safetensors.torch.save({}, {"scalars": "{", "sha256": ""}),
    "scalars of a million brackets": lambda mark: safetensors.torch.save(
        {}, {"scalars": "[" * 1_000_000, "sha256": ""}
    ),
    "a JSON of a million brackets": lambda mark: b"[" * 1_000_000,
    "a list": lambda mark: b"[]",
    "null": lambda mark: b"null",
    "a number of 10,000 digits": lambda mark: b"9" * 10_000,
    "no UTF-8": lambda mark: b'{"format": "\xff\xfe"}',
}


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = package.train("vae", images=256, out=tmp_path_factory.mktemp("good") / "run", settings={"hidden": 8})
    package.measure(run)
    return run.path


OPENS: dict[str, list[list[str]]] = {
    "sample": [["sample", "RUN", "--out", "samples.png"]],
    "reconstruct": [["reconstruct", "RUN", "--out", "reconstructions.png"]],
    "measure": [["measure", "RUN", "--only", "class_histogram_kl", "-q"]],
    "report": [["report", "RUN", "--out", "report.html"]],
    "runs": [["runs", "show", "RUN"], ["runs", "list", "RUN"]],
    "train": [["train", "--resume", "RUN", "-q"]],
}
"""Everything that opens a run."""


def commands_on(run: Path, which: str = " ".join(OPENS)) -> list[list[str]]:
    """Some commands on a run, each writing beside it."""
    written = {"RUN": str(run), **{name: str(run.parent / name) for name in ("samples.png", "reconstructions.png")}}
    written["report.html"] = str(run.parent / "report.html")
    return [[written.get(word, word) for word in command] for name in which.split() for command in OPENS[name]]


def carry_out(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command ends well, or with one line and exit code 2; anything else that it raises is a defect."""
    code, told = cli.main(arguments), capsys.readouterr()
    assert code in (0, 2), arguments
    assert "Traceback" not in told.err
    if code == 2:
        assert len([line for line in told.err.splitlines() if line.startswith("likelier: ")]) >= 1


READ_BY = {
    "state.safetensors": "sample train",
    "config.json": " ".join(OPENS),
    "environment.json": "reconstruct train",
    "metrics.jsonl": "runs train",
    "timing.jsonl": "runs train",
    "done": "runs train",
    "failed.json": "runs",
    "drift.json": "runs",
    "measures.json": "runs",
    "figures.npz": "report",
    "atlas.npz": "report",
}


@pytest.mark.parametrize("name", READ_BY)
def test_no_file_of_a_run_is_run(name: str, good_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mark = tmp_path / "was run"
    for number, (what, content) in enumerate(EVIL.items()):
        run = shutil.copytree(good_run, tmp_path / str(number) / "run")
        (run / name).write_bytes(content(mark))
        if name == "state.safetensors":
            (run / "done").unlink()  # so that a resume looks at it
        for other in {"metrics.jsonl", "figures.npz", "atlas.npz"} - {name} if READ_BY[name] == "report" else ():
            (run / other).unlink(missing_ok=True)  # drawing what is sound takes time, and tells nothing
        for arguments in commands_on(run, READ_BY[name]):
            carry_out(arguments, capsys)
        assert not mark.exists(), f"{name} with {what} was run"


def test_the_mark_would_be_seen(tmp_path: Path):
    """The files are what they are meant to be: whoever does unpickle them runs them."""
    for number, content in enumerate((pickled, object_array, saved_by_torch)):
        mark = tmp_path / str(number)
        data = io.BytesIO(content(mark))
        if content is pickled:
            pickle.load(data)
        elif content is object_array:
            np.load(data, allow_pickle=True)
        else:
            torch.load(data, weights_only=False)
        assert mark.exists()


@pytest.mark.parametrize("what", EVIL)
@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("options.yaml", ["train", "--config", "options.yaml", "-q"]),
        ("images.npy", ["train", "vae", "--data", "images.npy", "-q"]),
        ("images.npz", ["train", "vae", "--data", "images.npz", "-q"]),
        ("images.pt", ["train", "vae", "--data", "images.pt", "-q"]),
        ("photos/a.png", ["train", "vae", "--data", "photos", "-q"]),
        ("network.onnx", ["measure", "digits.npz", "--data", "digits", "--extractor", "network.onnx", "-q"]),
        ("network.yaml", ["measure", "digits.npz", "--data", "digits", "--extractor", "network.onnx", "-q"]),
        ("theirs.npz", ["measure", "theirs.npz", "--data", "digits", "-q"]),
        ("both/compare.json", ["compare", "--resume", "both", "-q"]),
    ],
)
def test_no_file_that_is_handed_in_is_run(
    what: str, file: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "was run"
    np.savez("digits.npz", images=np.zeros((100, 1, 8, 8), np.uint8))
    Path("network.onnx").write_bytes(b"")
    Path("network.yaml").write_text("name: theirs\nchannels: 1\n")
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_bytes(EVIL[what](mark))
    if file == "options.yaml" and what in ("nothing", "null"):
        return  # an empty file of options sets none, and is refused as such or not at all: nothing to see here
    assert cli.main(arguments) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("likelier: "))
    assert "allow_pickle" not in line  # numpy's advice is to run what the file holds
    assert not mark.exists()


# Code is named by whoever types the command


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported, and leaves its mark if it is."""
    (tmp_path / "evilmodule.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "was run"


@pytest.mark.parametrize("name", ["evilmodule", "likelier.families.evilmodule", "families.evilmodule", "../evilmodule"])
def test_a_run_cannot_name_code(
    name: str, module: Path, good_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = shutil.copytree(good_run, tmp_path / "run")
    config = Run.open(run).config
    (run / "config.json").write_text(json.dumps({**config, "family": name}))
    (run / "done").unlink()
    for arguments in commands_on(run):
        carry_out(arguments, capsys)
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "x.png")]) == 2
    assert not module.exists()


@pytest.mark.parametrize("key", ["extractor", "data", "models"])
def test_a_comparison_cannot_name_code(key: str, module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "both"
    package.compare(["vae"], images=256, out=out, settings={"hidden": 8})
    plan = json.loads((out / "compare.json").read_text())
    named: Any = {"vae": {"family": "evilmodule", "settings": {}}} if key == "models" else "evilmodule"
    (out / "compare.json").write_text(json.dumps(plan | {key: named}))
    assert cli.main(["compare", "--resume", str(out), "-q"]) == 2
    assert not module.exists()


def test_a_file_of_options_cannot_name_code(module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("evilmodule", "evilmodule.py", "likelier.evilmodule"):
        (tmp_path / "options.yaml").write_text(f"family: {name}\n")
        assert cli.main(["train", "--config", str(tmp_path / "options.yaml"), "-q"]) == 2
    assert not module.exists()


def test_a_folder_beside_the_command_is_not_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    """A folder of pictures that is called torch, or holds a torch.py, is only data."""
    import subprocess
    import sys

    for name in ("torch.py", "numpy.py", "yaml.py", "vae.py"):
        (tmp_path / name).write_text("open('was run', 'w')\n")
    command = [str(Path(sys.executable).with_name("likelier")), "train", "vae", "--images", "256", "--out", "run", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "was run").exists()
