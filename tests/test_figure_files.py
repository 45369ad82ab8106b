"""The figures of a report as files beside it."""

import csv
import io
import json
import multiprocessing
import os
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likelier import housekeeping
from likelier.errors import InputError
from likelier.measuring import write_arrays
from likelier.report import write_report
from likelier.report.data import Data
from likelier.report.folder import MAKING, OWN, replacing, strangers
from test_atlas import made_up
from test_report import light_run, make_run

NAMES = ("猫", "=HYPERLINK(1)", "a,b", 'c"d', "-5", "line\nbreak", *"6789")


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three models whose names are alike, or are no names for a file."""
    folder = tmp_path_factory.mktemp("written")
    runs = [make_run(folder / f"run-{i}", family, i, names=NAMES) for i, family in enumerate(("vae", "gan", "gan"))]
    for run in runs[1:]:
        (run / "metrics.jsonl").unlink()
        for frame in list((run / "samples").iterdir())[:-2]:
            frame.unlink()
    smooth = np.linspace(0, 255, 32).astype(np.uint8) + np.zeros((25, 25, 3, 32, 32), np.uint8)
    atlas = made_up(images=smooth + np.random.default_rng(0).integers(0, 16, smooth.shape, np.uint8))  # kept as WebP
    write_arrays(runs[0] / "atlas.npz", atlas)
    models = ["../猫 ☃", "../../VAE", "vae"]
    return write_report(runs, folder / "report.html", title="", command="", models=models)


def test_every_figure_on_the_page_is_a_file_that_the_page_links_to(written: Path) -> None:
    """Of an animation, to the last of its frames: the others have some loss on the page only."""
    html, files = written.read_text(), content(written.parent / "figures")
    html = re.sub('<section id="glance".*?</section>', "", html, flags=re.DOTALL)  # parts of other figures
    by_day = r'<img(?! class="by-night")[^>]* src="data:image/([^;]+);base64,([^"]+)"'
    kinds, sources = zip(*re.findall(by_day, html), strict=True)
    shown = {b64decode(source) for kind, source in zip(kinds, sources, strict=True) if kind != "webp"}
    drawn_or_of_pixels = [
        found
        for name, found in files.items()
        if name.endswith(".svg") or (name.endswith(".png") and name.replace(".png", ".svg") not in files)
    ]
    assert shown <= set(drawn_or_of_pixels)
    frames = {name for name in files if name.startswith("training-")}
    lossy_maps = [name for name in files if name.endswith(".webp")]
    assert len(drawn_or_of_pixels) - len(shown) == kinds.count("webp") - len(lossy_maps) == len(frames) - 3
    linked = re.findall(r'href="figures/([^"]+)"', html)
    assert len(set(linked)) == len(linked)
    assert set(linked) <= files.keys()
    in_rows = re.compile("(training|reconstructions|traversals|interpolations|neighbours)-")
    rest = [name for name in files.keys() - set(linked) if not in_rows.match(name)]
    assert sorted(rest) == [OWN, "index.csv"]
    assert {row[0] for row in table(written.parent / "figures/index.csv")[1:]} == files.keys() - set(rest)


def test_names_are_safe_and_unique_and_the_index_tells_the_models(written: Path) -> None:
    files = content(written.parent / "figures")
    assert all(re.fullmatch(r"[a-z0-9-]+\.(svg|png|webp|csv)", name) for name in files if name != OWN)
    models = {row[0]: row[2] for row in table(written.parent / "figures/index.csv")}
    assert models["samples-model-1.png"] == "../猫 ☃"
    assert models["samples-vae.png"] == "../../VAE"
    assert models["samples-vae-2.png"] == "vae"
    assert models["samples-real.png"] == ""
    assert {
        "atlas-model-1.webp",
        "traversals-vae-direction-2.png",
        "interpolations-model-1-codes-1.png",
    } <= models.keys()


def test_the_data_of_a_figure_is_what_the_run_holds(written: Path) -> None:
    folder, run = written.parent / "figures", written.parent / "run-0"
    arrays = np.load(run / "figures.npz")
    classes = table(folder / "classes-model-1.csv")[1:]
    assert [row[0] for row in classes] == ["猫", "'=HYPERLINK(1)", "a,b", 'c"d', "'-5", "line\nbreak", *"6789"]
    assert [int(row[1]) for row in classes] == arrays["class_counts_fake"].tolist()
    plane = table(folder / "latent-space-model-1-pca.csv")
    assert np.array_equal(np.array([row[:2] for row in plane[1:]], np.float32), arrays["codes_pca"][:, :2])
    for name, key in (("model-1-untrained-pca", "untrained_pca"), ("pixels", "pixels_pca")):
        below = table(folder / f"latent-space-{name}.csv")[1:]
        assert np.array_equal(np.array([row[:2] for row in below], np.float32), arrays[key])
        assert [row[2] for row in below] == [row[2] for row in plane[1:]]
    assert (
        plane[1][2] == ["猫", "'=HYPERLINK(1)", "a,b", 'c"d', "'-5", "line\nbreak", *"6789"][arrays["code_labels"][0]]
    )
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held_out = {line["images"]: line["elbo"] for line in logged if line.get("evaluation")}
    bound = [row for row in table(folder / "losses-model-1-elbo.csv") if row[0] == "held-out images, seed 0"]
    assert {int(float(row[1])): float(row[2]) for row in bound} == held_out
    seen = [int(row[2]) for row in table(folder / "confusion-model-1.csv")[1:]]
    assert seen == arrays["confusion"].ravel().tolist()
    lengths = np.array(table(folder / "interpolations-model-1-noise-3.csv")[1:], np.float64)
    assert np.array_equal(lengths[:, 1:].T, arrays["path_noise_lengths"][2])
    nearest = [int(row[2]) for row in table(folder / "neighbours-model-1-pixels.csv")[1:]]
    assert nearest == arrays["neighbour_pixels_index"].ravel().tolist()
    weights = [float(row[1]) for row in table(folder / "traversals-model-1.csv")[1:]]
    assert weights == arrays["traversal_weight"].tolist()
    places = np.array([row[:2] for row in table(folder / "atlas-model-1.csv")[1:]], np.float32)
    assert np.array_equal(places, np.load(run / "atlas.npz")["codes"])
    frame = Image.open(folder / "training-model-1-000300032-images.png")
    assert np.array_equal(np.asarray(frame), np.asarray(Image.open(run / "samples/0000300032.png")))
    assert Image.open(folder / "classes-model-1.png").getpixel((0, 0))[:3] == (255, 255, 255)


def test_cells_that_a_spreadsheet_would_carry_out_are_text() -> None:
    rows = [[text] for text in ("=1", "+1", "-1", "@x", "\t=1", " =1", "＝1", "plain")] + [[-1.5], [float("nan")]]
    found = [row[0] for row in csv.reader(io.StringIO(Data(["c"], rows).csv().decode(), newline=""))][1:]
    assert found == ["'=1", "'+1", "'-1", "'@x", "'\t=1", "' =1", "'＝1", "plain", "-1.5", "nan"]


def test_a_report_replaces_its_files_and_keeps_those_of_others(tmp_path: Path) -> None:
    run = light_run(tmp_path / "run", "vae", 0, {"frechet_distance": 1.0})
    full, folder = light_run(tmp_path / "full", "vae", 0, {"frechet_distance": 1.0}), tmp_path / "figures"
    np.savez(full / "figures.npz", real=np.zeros((16, 1, 8, 8), np.uint8))
    write_report([full], tmp_path / "report.html", title="", command="")
    (folder / "notes.txt").write_text("mine")
    (folder / "deeper").mkdir()
    (folder / "samples-real.png").write_bytes(b"painted over")
    (folder / "index.csv").write_text("sorted anew")
    write_report([run], tmp_path / "report.html", title="", command="")
    found = {path.name for path in folder.iterdir()}
    assert found == {"index.csv", OWN, "notes.txt", "deeper", "samples-real.png", "index.kept1.csv"}
    assert (folder / "samples-real.png").read_bytes() == b"painted over"
    assert {path.name for path in strangers(folder)} == found - {"index.csv", OWN}
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    write_report([run], tmp_path / "vae.html", title="", command="")
    assert set(content(tmp_path / "vae-figures")) == {"index.csv", OWN}


def test_a_folder_that_is_not_the_reports_is_left_alone(tmp_path: Path) -> None:
    run = light_run(tmp_path / "run", "vae", 0, {"frechet_distance": 1.0})
    folder, out = tmp_path / "figures", tmp_path / "report.html"
    folder.mkdir()
    (folder / "plot.png").write_bytes(b"for my paper")
    with pytest.raises(InputError, match="files that are not the report's, and none of a report: wanted"):
        write_report([run], out, title="", command="")
    (folder / "plot.png").rename(tmp_path / "plot.png")
    folder.rmdir()
    folder.symlink_to(tmp_path / "run")
    with pytest.raises(InputError, match="figures is no folder"):
        write_report([run], out, title="", command="")
    assert not out.exists()


def test_what_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    with replacing(folder, {"a.csv": b"1"}):
        pass
    (folder / "mine.txt").write_text("")
    before = content(folder)
    with pytest.raises(OSError, match="disk"), replacing(folder, {"b.csv": b"2"}):
        raise OSError("disk full")
    assert content(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def die_after(folder: Path, renames: int) -> None:
    """A process that is killed after so many renames of a second report."""
    rename, count = Path.rename, [0]

    def counted(self: Path, target: Path) -> Path:
        if count[0] == renames:
            os._exit(9)
        count[0] += 1
        return rename(self, target)

    Path.rename = counted  # type: ignore[method-assign, assignment]
    with replacing(folder, {"b.csv": b"2"}):
        pass


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_what_is_killed_is_finished_by_the_next_and_loses_nothing(tmp_path: Path, renames: int) -> None:
    folder = tmp_path / "figures"
    with replacing(folder, {"a.csv": b"1"}):
        pass
    (folder / "mine.txt").write_text("mine")
    process = multiprocessing.get_context("fork").Process(target=die_after, args=(folder, renames))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(MAKING)]) == 1
    with replacing(folder, {"c.csv": b"3"}):
        pass
    assert content(folder).keys() == {"c.csv", OWN, "mine.txt"}
    assert list(tmp_path.iterdir()) == [folder]


def test_the_figures_of_a_comparison_go_with_it_but_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text("{}")
    with replacing(tmp_path / "figures", {"a.csv": b"1"}):
        pass
    assert list(housekeeping.strangers_in(tmp_path)) == []
    (tmp_path / "figures/mine.txt").write_text("")
    assert list(housekeeping.strangers_in(tmp_path)) == [tmp_path / "figures/mine.txt"]
