"""What several test files share: small image sets in IDX files, and the command line in this process."""

import gzip
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from likelier import cli
from likelier.family import names

QUICK = {"vae", "gan", "vae_gan", "r3gan"}
"""One family of each kind of game: what is asked of processes, checkpoints and logs takes seconds for each."""
EACH_FAMILY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names()]
"""All of them with `make test-all`."""

TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

MakeFolder = Callable[..., Path]


def idx(content: bytes, *shape: int, kind: int = 8) -> bytes:
    """An IDX file whose header claims `shape`, whatever its content is."""
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + content


def four_files(n: int = 32, side: int = 8) -> dict[str, bytes]:
    """A small set of noise in four classes, the same each time."""
    noise, labels = random.Random(0), bytes(i % 4 for i in range(n))
    return {
        TRAIN_X: idx(noise.randbytes(n * side * side), n, side, side),
        TRAIN_Y: idx(labels, n),
        TEST_X: idx(noise.randbytes(n * side * side), n, side, side),
        TEST_Y: idx(labels, n),
    }


@pytest.fixture
def idx_folder(tmp_path: Path) -> MakeFolder:
    """Make a folder with the four files; keywords or a mapping replace some of them, None leaves one out."""

    def make(replaced: dict[str, bytes | None] | None = None, name: str = "set", gz: bool = False, n: int = 32) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, content in (four_files(n) | (replaced or {})).items():
            if content is not None:
                (folder / (f"{file}.gz" if gz else file)).write_bytes(gzip.compress(content) if gz else content)
        return folder

    return make


class Outcome:
    """What a command came to: its exit code and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Likelier = Callable[..., Outcome]


@pytest.fixture
def likelier(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Likelier:
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def off_balance() -> Callable[[nn.Module], None]:
    """Move a family's scores away from 0: while all are within a hinge's margins, what moves their level cancels."""

    def move(family: nn.Module) -> None:
        for layer in family.modules():
            if isinstance(layer, nn.Linear) and layer.out_features == 1 and layer.bias is not None:
                nn.init.constant_(layer.bias, 10)

    return move
