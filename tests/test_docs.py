"""What the documents say can be done is done here: their commands and Python run as they stand, on small budgets."""

import math
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from likelier import cli, rng
from likelier.collapse import posterior_collapse
from likelier.data import load as load_images
from likelier.family import Family, build, configure, find
from likelier.loop import Game

ROOT = Path(__file__).parents[1]
IMAGES = 1_000
"""The budget of each training here; readers train longer."""
FENCE = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"DATA", "mnist", "fashion-mnist"}
"""Words of commands that need files which are not here; these are only parsed."""


def blocks(document: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks that can be run."""
    path = ROOT / document
    return FENCE.findall(path.read_text(encoding="utf-8")) if path.exists() else []


def commands(block: str) -> list[list[str]]:
    """The words of each command line, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def cheaper(arguments: list[str]) -> list[str]:
    """The same command with the budget of a test."""
    options = cli.build_parser().parse_args(arguments)
    if options.command not in ("train", "compare") or hasattr(options, "resume"):
        return arguments
    kept, words = [], iter(arguments)
    for word in words:
        if word in ("--epochs", "--images", "--minutes"):
            next(words)
        elif not word.startswith(("--epochs=", "--images=", "--minutes=")):
            kept.append(word)
    return [*kept, "--images", str(IMAGES)]


def follow(words: list[str]) -> None:
    """Do what a reader would, as far as it can be done here."""
    elsewhere = any("DATA" in word for word in words) or ELSEWHERE & set(words)
    if "photos" in words:  # which the tutorial makes; a comparison of them trains an extractor, for a minute
        elsewhere = elsewhere or "compare" in words or not Path("photos").exists()
    elsewhere = elsewhere or ("photos-packed" in words and not Path("photos").exists())
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in known or "=" in word for word in arguments), f"the Makefile has no such target: {words}"
    elif program != "likelier":
        return  # the reader's own tools: git, cd, pip
    elif elsewhere:
        cli.build_parser().parse_args(arguments)
    else:
        try:
            assert cli.main(cheaper(arguments)) == 0, f"{shlex.join(words)} fails"
        except SystemExit as end:  # --help and --version
            assert end.code == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a reader works in, where his own modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)  # a resume takes those of its run
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_models"]:
        del sys.modules[name]


@pytest.mark.parametrize("document", ["README.md", "docs/tutorial.md", "docs/measures.md"])
def test_everything_can_be_done_in_the_order_of_reading(
    document: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    names: dict[str, object] = {}
    for language, block in blocks(document):
        if language == "python":
            small = re.sub(r"epochs=\d+|images=[\d_]+(?=[,)])", f"images={IMAGES}", block)
            exec(compile(small, document, "exec"), names)
            continue
        for words in commands(block):
            follow(words)
            err = capsys.readouterr().err
            if "reduction=mean" in words and "DATA" not in " ".join(words):
                assert "posterior collapse" in err


def test_the_tutorial_quotes_the_program_and_its_constants():
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    assert posterior_collapse(0.0) in text
    assert f"392 · ln π = {392 * math.log(math.pi):.1f} nats" in text


def test_documents_link_to_what_is_there():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")):
            linked = document.parent / target if target else document
            assert "://" in target or linked.exists(), f"{document.name} links to {target}"
            if heading and "://" not in target:
                assert heading in headings_of(linked), f"{document.name} links to {target}#{heading}"


def headings_of(document: Path) -> list[str]:
    """The headings, as links to them are spelt."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found]


def test_every_promise_is_kept_by_a_test_that_is_there():
    documents = (ROOT / name for name in ("docs/reliability.md", "SECURITY.md"))
    text = "".join(document.read_text(encoding="utf-8") for document in documents)
    named = re.findall(r"`(tests/\S+)::(test_\w+)`", text)
    assert len(named) > 60
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"


def test_contributing_says_how_to_add_a_model_and_it_works(folder: Path):
    (model, test), shell = python_and_shell("CONTRIBUTING.md")
    (folder / "my_models").mkdir()
    (folder / "my_models" / "lsgan.py").write_text(model, encoding="utf-8")
    for words in shell:
        follow(words)
    assert (folder / "lsgan.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "runs/gan-or-lsgan/report.html").stat().st_size > 10_000
    family = find("my_models.lsgan")
    the_players_partition_the_parameters(family)
    every_parameter_gets_a_finite_gradient(family)
    samples_repeat_under_their_seed(family)
    names: dict[str, object] = {}
    exec(compile(test, "CONTRIBUTING.md", "exec"), names)
    checks = [check for name, check in names.items() if name.startswith("test_")]
    assert checks
    for check in checks:
        check()


def python_and_shell(document: str) -> tuple[list[str], list[list[str]]]:
    found = blocks(document)
    python = [block for language, block in found if language == "python"]
    return python, [words for language, block in found if language == "bash" for words in commands(block)]


def made(family: type[Family], seed: int = 0) -> Family:
    return build(family, configure(family, {"batch": 16}), (1, 8, 8), seed)


def the_players_partition_the_parameters(family: type[Family]) -> None:
    model = made(family)
    owned = [id(p) for player in model.players().values() for p in player.parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


def every_parameter_gets_a_finite_gradient(family: type[Family]) -> None:
    game = Game(made(family), load_images("digits"), 0, 640, torch.device("cpu"))
    game.turn()
    for name, p in game.family.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


def samples_repeat_under_their_seed(family: type[Family]) -> None:
    model = made(family).eval()
    first, again, other = (model.sample(5, rng.generator(seed, "test")) for seed in (7, 7, 8))
    assert first.shape == (5, 1, 8, 8)
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
