"""What the report says of quality, cost and trouble, its first screen, runs that are going on, and its bound."""

import csv
import json
import re
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likelier.errors import InputError
from likelier.report import bound, page, write_report
from likelier.report.figures import Picture
from likelier.report.grouping import group_runs
from likelier.report.pixels import bitmap
from likelier.report.quality import path_of, reached
from likelier.report.reading import read_run
from test_report import (
    POINTS,
    POOR_CONTRAST,
    Visit,
    change,
    chromium,  # noqa: F401
    json_lines,
    light_run,
    make_run,
    text_of,
)


def looked_run(folder: Path, family: str, seed: int, distances: list[float], status: str = "finished") -> Path:
    """A run with so many looks: 1,000 images and a second between them."""
    run = light_run(folder / f"{family}-{seed}", family, seed, {"frechet_distance": distances[-1]})
    looks = [{"images": 1000 * i, "evaluation": True, "fd": fd} for i, fd in enumerate(distances)]
    json_lines(run / "metrics.jsonl", looks)
    json_lines(run / "timing.jsonl", [{"images": 500 * i, "seconds": 0.5 * i} for i in range(1, 2 * len(distances))])
    (run / "environment.json").write_text('{"device": "cpu", "device_name": "AMD EPYC", "threads": 2}')
    images = 1000 * (len(distances) - 1)
    done = {"status": status, "images": images, "seconds": images / 1000, "parameters": 12_345}
    (run / "done").write_text(json.dumps(done))
    return run


def test_the_middle_of_seeds_counts_a_diverged_one_as_the_worst_from_there_on(tmp_path: Path) -> None:
    whole = [looked_run(tmp_path, "gan", seed, [9.0 + seed, 8.0 + seed, 7.0 + seed]) for seed in range(2)]
    broken = looked_run(tmp_path, "gan", 2, [1.0, 1.0], "diverged")
    (group,) = group_runs([read_run(run) for run in (*whole, broken)])
    assert path_of(group).middle == {0: (0.0, 9.0), 1000: (1.0, 8.0), 2000: (2.0, 8.0)}
    (broken / "done").write_text(json.dumps({"status": "finished", "images": 1000, "seconds": 1}))
    (group,) = group_runs([read_run(run) for run in (*whole, broken)])
    assert max(path_of(group).middle) == 1000  # of a seed that has not got there, nothing is known


def test_who_reached_whose_distance_is_told_only_where_it_is_so(tmp_path: Path) -> None:
    runs = [
        looked_run(tmp_path, "vae", 0, [50.0, 20.0, 10.1, 10.1]),
        looked_run(tmp_path, "gan", 0, [60.0, 30.0, 8.0, 6.2]),
        looked_run(tmp_path, "dcgan", 0, [9.0, 30.0, 30.0, 30.3]),
    ]
    paths = [path_of(group) for group in group_runs([read_run(run) for run in runs])]
    assert reached(paths) == [
        "vae ended at 10.1 after 3.0 s; gan had reached that by 2.0 s and dcgan was below that untrained.",
        "gan ended at 6.20 after 3.0 s; vae and dcgan did not reach it.",
        "dcgan ended at 30.3 after 3.0 s; vae had reached that by 1.0 s and gan had reached that by 1.0 s.",
    ]
    change(runs[1] / "environment.json", "EPYC", "Ryzen")
    (runs[2] / "done").unlink()
    paths = [path_of(group) for group in group_runs([read_run(run) for run in runs])]
    assert reached(paths) == [
        "vae ended at 10.1 after 3\u202f000 images; gan had reached that by 2\u202f000 images.",
        "gan ended at 6.20 after 3\u202f000 images; vae did not reach it.",
    ]


def test_quality_is_drawn_with_its_data_and_says_of_what_it_is(tmp_path: Path) -> None:
    runs = [
        looked_run(tmp_path, "vae", 0, [50.0, 20.0, 10.0]),
        looked_run(tmp_path, "gan", 0, [60.0, 30.0], "diverged"),
    ]
    change(runs[0] / "measures.json", '"warnings"', '"looks": {"n": 2000, "floor": 1.25}, "warnings"')
    html = write_report(runs, tmp_path / "report.html", title="", command="").read_text()
    said = text_of(html, "quality")
    assert "the distance of 2 000 samples from as many training images" in said
    assert "As many held-out images have 1.25 (dotted)" in said
    assert "the table above is of 10 000 samples" in said
    with (tmp_path / "figures/quality-seconds-of-training.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["model", "seed", "seconds of training", "Fréchet distance"]
    assert ["vae", "0", "2.0", "10.0"] in rows
    assert ["gan, diverged", "0", "1.0", "30.0"] in rows
    costs = text_of(html, "cost")
    assert re.search(r"Images a second .* 1 000 1 000", costs)
    assert "AMD EPYC, 2 threads" in costs
    assert re.search(r"Parameters .* 12 345", costs)


def test_trouble_stands_beside_the_name_wherever_it_is_shown(tmp_path: Path) -> None:
    runs = [light_run(tmp_path / f"gan-{seed}", "gan", seed, {"frechet_distance": 1.0}) for seed in (0, 1)]
    runs.append(light_run(tmp_path / "vae", "vae", 0, {"frechet_distance": 1.0}))
    (runs[0] / "done").write_text('{"status": "diverged", "images": 9, "seconds": 1, "message": ""}')
    change(runs[2] / "measures.json", '"warnings": []', '"warnings": ["posterior collapse: KL is 0.1"]')
    html = write_report(runs, tmp_path / "report.html", title="", command="").read_text()
    for name, trouble in (("gan", "1 of 2 diverged"), ("vae", "collapsed")):
        shown = re.findall(rf"</span>{name}</span>(?: <span class=\"trouble\">([^<]+)</span>)?", html)
        assert len(shown) >= 8
        assert set(shown) == {trouble}


def test_the_first_screen_has_the_verdict_the_samples_and_the_table(tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    runs = [make_run(tmp_path / f"{family}-{seed}", family, seed) for family in ("vae", "gan") for seed in (0, 1)]
    for run in runs:
        (run / "metrics.jsonl").unlink()
    write_report(runs, tmp_path / "report.html", title="Two models", command="")
    for scheme in ("light", "dark"):
        with Visit(chromium, tmp_path / "report.html", 1200, color_scheme=scheme) as visit:
            ends = {
                name: visit.page.evaluate(f"document.querySelector('{name}').getBoundingClientRect().bottom")
                for name in ("#verdict .verdict", "#glance", ".measures thead", ".measures tbody tr:nth-child(2)")
            }
            assert list(ends.values()) == sorted(ends.values())
            assert max(ends.values()) < 900
            assert visit.page.locator("#glance img").count() == 3
            assert visit.page.evaluate(POOR_CONTRAST) == []


def test_reconstructions_move_with_the_slider_and_are_all_there_at_its_end(tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    write_report([make_run(tmp_path / "vae", "vae")], tmp_path / "report.html", title="", command="")
    with Visit(chromium, tmp_path / "report.html") as visit:
        rows = visit.page.locator(".growth tr[data-images]:visible")
        points = rows.evaluate_all("rows => rows.map(row => row.dataset.images)")
        assert (len(points), points[0], points[-1]) == (9, "0", str(POINTS[-1]))
        visit.page.locator("#seek").fill("0")
        assert rows.evaluate_all("rows => rows.map(row => row.dataset.images)") == ["0"]
        assert visit.page.locator(".growth .original").is_visible()
        visit.page.locator("#seek").fill(str(len(POINTS) - 1))
        assert rows.count() == 9
        assert visit.console == []


def test_a_run_that_another_process_is_training_is_reported_on(tmp_path: Path) -> None:
    """Before it has shown anything, and after."""
    command = [sys.executable, "-m", "likelier", "train", "vae", "--data", "digits", "--images", "100000000", "--out"]
    run, begun = tmp_path / "run", make_run(tmp_path / "begun", "gan")
    for path in begun.iterdir():
        if path.name not in ("config.json", "environment.json"):
            path.rename(tmp_path / path.name)
    said = text_of(write_report([begun], tmp_path / "begun.html", title="", command="").read_text(), "training")
    assert "The run holds no samples." in said
    process = subprocess.Popen([*command, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list(run.glob("samples/*.png"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        html = write_report([run], tmp_path / "report.html", title="", command="").read_text()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert re.search(
        "still training or interrupted: what is shown is the run so far, [\\d\u202f]+ of 100\u202f000", html
    )
    assert "cannot be used" not in html
    assert not re.search("(jsonl|samples) is missing", html)
    assert len(re.findall('<img class="tiles" data-images="', html)) >= 3


def noisy_run(folder: Path, family: str) -> Path:
    """A run with pictures that nothing compresses."""
    run = light_run(folder / family, family, 0, {"frechet_distance": 1.0})
    (run / "samples").mkdir()
    rng = np.random.default_rng(0)
    for images in range(12):
        Image.fromarray(rng.integers(0, 256, (128, 128), np.uint8)).save(run / f"samples/{images:010d}.png")
    return run


def test_a_page_stays_below_its_limit_and_says_what_that_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [noisy_run(tmp_path, f"model{i}") for i in range(12)]
    assert bound.LIMIT == 8_000_000
    monkeypatch.setattr(bound, "LIMIT", 1_900_000)
    html = write_report(runs, tmp_path / "report.html", title="", command="").read_text()
    assert 1_000_000 < len(html.encode()) <= bound.LIMIT
    words = "images are compressed with some loss and animations have 8 points at most"
    assert f"stays below 8 MB, {words}; the files" in unescape(html)
    frames = re.findall(r'data-images="(\d+)"', html)
    assert len(frames) == 12 * 8
    assert {"0", "11"} <= set(frames)
    assert len(list((tmp_path / "figures").glob("training-*.png"))) == 12 * 12


def test_figures_are_left_out_last_and_a_page_that_is_too_large_without_them_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    drawn = Picture("l" * 1000, "d" * 1000, "a curve")

    def page(context: dict[str, Any]) -> str:
        curve, tile = context["figures"]
        return f"{context['thinned']}|{curve.light}{curve.dark}{tile.src}"

    said = {}
    for limit in (8000, 7000, 3500, 2500, 2000, 1200, 300):
        monkeypatch.setattr(bound, "LIMIT", limit)
        found = bound.bounded({"figures": [drawn, bitmap(pixels, fit=64)]}, page)
        assert len(found) <= limit
        said[limit] = found.partition("|")[0]
    assert said[8000] == ""
    assert said[7000] == "images are compressed with some loss"
    assert said[3500].endswith("pictures made of pixels are shown at half their size")
    assert said[2500].endswith("drawn figures are shown in the colours of light pages only")
    assert said[2000].endswith("and pictures made of pixels are shown at a quarter of their size")
    assert said[1200].endswith("shown at a quarter of their size and drawn figures are left out")
    assert said[300].endswith("drawn figures are left out and pictures made of pixels are left out, too")
    monkeypatch.setattr(bound, "LIMIT", 50)
    with pytest.raises(InputError, match="report on fewer models at a time"):
        bound.bounded({"figures": [drawn, bitmap(pixels, fit=64)]}, page)


def test_warnings_are_told_in_short_once_for_whom_they_concern() -> None:
    texts = ["Mode collapse: nine of ten", "FD is not finite; why", "x", "y", "z"]
    notes = [page.Note("gan, seeds 0 to 4", text, collapse=False) for text in texts[:3]]
    notes += [page.Note("vae, seed 1", text, collapse=False) for text in texts[3:]]
    assert page._in_short(notes) == (
        "gan, seeds 0 to 4: mode collapse, FD is not finite, x; vae, seed 1: y; and 1 more"
    )
