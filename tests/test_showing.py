"""What a notebook shows: HTML that stands alone, holds no script, escapes every text, and never fails a cell."""

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likelier import tables
from likelier.comparison import Comparison
from likelier.data import load as load_images
from likelier.experiment import train
from likelier.files import write_json
from likelier.images import Images, Split
from likelier.models import models_asked_for
from likelier.progress import table
from likelier.run import Run
from likelier.showing import picture
from likelier.verdict import Contender, judge

LARGEST = 200_000
VOID = {"img", "br"}
EVIL = '<script>alert(1)</script>&"\x1b[2J'


def measured(fd: float, precision: float, copies: float) -> dict[str, object]:
    """What measures.json holds, as far as it is shown."""
    values = {
        "frechet_distance": ("Fréchet distance", fd, "lower"),
        "precision": ("precision", precision, "higher"),
        "copied_share": ("share of copies", copies, "lower"),
    }
    measures = [
        {"key": key, "name": key, "label": label, "value": value, "better": better, "floor": {"train–test": 0.5}}
        for key, (label, value, better) in values.items()
    ]
    return {"measures": measures, "conditions": {"n": 10}, "warnings": ["mode collapse: <all> alike"]}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two runs that were trained, and figures of them that cost no time."""
    path = tmp_path_factory.mktemp("both")
    runs = [train(name, images=512, out=path / f"{name}-seed0") for name in ("vae", "gan")]
    results = [measured(3, 0.1, 0), measured(2, 0.9, 0)]
    for run, result in zip(runs, results, strict=True):
        write_json(run.path / "measures.json", result)
    verdicts = judge([Contender("vae", (3.0,)), Contender("gan", (2.0,))])
    return Comparison(path, tuple(runs), tuple(results), models_asked_for(["vae", "gan"]), tuple(verdicts))


class Page(HTMLParser):
    """The tags, texts and attributes of a fragment; an assertion fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def checked(html: str) -> Page:
    page = Page(html)
    assert len(html) < LARGEST
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "style", "link", "a")
        assert not any(name.startswith("on") for name in attributes)
        assert not any("url(" in (value or "") or "http" in (value or "") for value in attributes.values())
        if tag == "img":
            assert attributes["alt"]
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
        # The theme's own colours, light or dark: nothing is set that would read on one of them only.
        assert not re.search(r"(?<!-)\b(color|background(-color)?):", attributes.get("style") or "")
    assert "\x1b" not in html
    return page


def test_a_run_shows_how_it_stands_what_it_scored_and_what_it_makes(comparison: Comparison):
    run = comparison.runs[0]
    page = checked(run._repr_html_())
    for words in (
        "vae on digits",
        "finished",
        "512 of 512",
        "latent 20",
        "Fréchet distance",
        "real (test)",
        "<all> alike",
    ):
        assert words in page.words
    assert sum(tag == "img" for tag, _ in page.tags) == 1
    assert repr(run) == f"Run({str(run.path)!r})"


def test_a_comparison_shows_table_verdict_and_samples_of_each(comparison: Comparison):
    page = checked(comparison._repr_html_())
    for words in ("vae", "gan", "FD ↓", "* 2", "no verdict on any pair: 5 seeds", "report.html", tables.BEST_IN_WORDS):
        assert words in page.words
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [
        "samples of vae-seed0 after 512 images",
        "samples of gan-seed0 after 512 images",
    ]


def test_images_show_what_there_is(comparison: Comparison):
    page = checked(load_images("digits")._repr_html_())
    for words in ("1,198", "599", "8×8, grey", "105 to 131", "mean 0.305", "a15c089d3091b637"):
        assert words in page.words
    (sheet,) = (attributes for tag, attributes in page.tags if tag == "img")
    assert "in columns by class: 0, 1, 2" in (sheet["alt"] or "")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_any_channels_and_any_names_are_shown_small(channels: int):
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, channels, 128, 128), dtype=np.uint8))
    split = Split(noise, torch.arange(40) % 12)
    names = tuple(f"<b>{i}</b>&" for i in range(12))
    page = checked(Images("<i>cats", split, split, names)._repr_html_())
    assert "<i>cats" in page.words
    assert not any(tag in ("b", "i") for tag, _ in page.tags)


def test_a_picture_keeps_its_place_when_its_bytes_are_cut():
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format="PNG")
    assert len(out.getvalue()) > 1_000_000
    html = picture(out.getvalue(), "noise")
    assert len(html) < 210_000
    assert 'width="480" height="480"' in html


def broken(run: Run, tmp_path: Path, name: str, content: bytes | None) -> Run:
    """A copy of a run with one of its files replaced, or taken away."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.path, copy)
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    return Run(copy)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b"null", b"{", b'{"settings": 1}', b"\xff\xfe", b'{"status": 7, "seconds": "x", "images": []}',
     b'{"measures": [1, {"key": "recall", "value": "x", "floor": []}], "warnings": [{}]}', b"9" * 5000],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["config.json", "done", "measures.json", "metrics.jsonl", "samples/0000000512.png", "environment.json"]
)
def test_a_broken_run_is_shown_as_far_as_it_goes(
    name: str, content: bytes | None, comparison: Comparison, tmp_path: Path
):
    checked(broken(comparison.runs[0], tmp_path, name, content)._repr_html_())


def test_texts_of_a_run_from_a_stranger_are_text(comparison: Comparison, tmp_path: Path):
    config = json.loads((comparison.runs[0].path / "config.json").read_text())
    config |= {"family": EVIL, "data_name": EVIL, "settings": {EVIL: EVIL}, "seed": EVIL}
    page = checked(broken(comparison.runs[0], tmp_path, "config.json", json.dumps(config).encode())._repr_html_())
    assert "<script>alert(1)</script>" in page.words
    done = json.dumps({"status": EVIL, "message": EVIL * 1000}).encode()
    checked(broken(comparison.runs[0], tmp_path, "done", done)._repr_html_())
    assert "it cannot be shown" in checked(Run(tmp_path / "nowhere")._repr_html_()).words


def test_the_best_of_a_row_is_marked_where_something_is_best():
    models = {
        "a": [measured(3, 0.1, 0)],
        "b": [measured(2, 0.9, 0.1)],
        "c": [measured(2.001, 0.5, 0)],
        "d": [measured(1, 1, 0)],
    }
    found = tables.at_a_glance(models, {"a": [1.0]}, unfit={"d"})
    assert [row[:5] for row in found.rows[:3]] == [
        ("FD ↓", "3", "* 2", "* 2", "1"),  # what reads alike is alike; a model that diverged is no winner
        ("precision", "0.1", "0.9", "0.5", "1"),
        ("copies ↓", "0", "0.1", "0", "0"),
    ]
    assert found.best == {(0, 2), (0, 3)}
    alike = tables.at_a_glance({"a": [measured(2, 1, 0)], "b": [measured(2, 1, 0)]}, {})
    assert not alike.best


@pytest.mark.parametrize("colourless", [True, False])
def test_a_table_reads_without_colours_in_80_columns(
    colourless: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    if colourless:
        monkeypatch.setenv("NO_COLOR", "1")
    columns = ["", "vae", "gan", "vae_gan", "real (train)", "real (test)"]
    rows = [["FD ↓", "107\n107–110", "* 92.5\n78.8–106", "86\n83–88.9", "0.615", "0.771"]] * 3
    rows.append(["density", "0.00668\n0.00634–0.00701", "0.32\n0.0671–0.573", "0.0995\n0.0975–0.102", "0.971", "0.942"])
    table("a title", columns, rows, {(0, 2): "bold green"})
    out = capsys.readouterr().out
    plain = re.sub(r"\x1b\[[\d;]*m", "", out)
    assert plain.count("FD ↓") == 3, "no column has to go on beneath"
    assert max(map(len, plain.splitlines())) <= 80
    assert "* 92.5" in plain
    assert ("\x1b[1;32m" in out) == (not colourless)
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", out) or not colourless


def test_a_pipe_gets_neither_colours_nor_broken_headings(capsys: pytest.CaptureFixture[str]):
    table("a title", ["", "real (train)"], [["FD", "* 1"]], {(0, 1): "bold green"})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "real (train)" in out
