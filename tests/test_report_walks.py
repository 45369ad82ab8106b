"""The sections on neighbours, walks and confusions: what they say, and what they make of files that lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likelier.report.confusion import confusions
from likelier.report.figures import confusion_matrix
from likelier.report.grouping import group_runs
from likelier.report.neighbours import neighbours
from likelier.report.reading import read_run
from likelier.report.walks import interpolations, manifolds, traversals
from test_report import light_run, report, text_of, walk_arrays

SECTIONS = ("neighbours", "traversals", "interpolations", "confusion")


def walked_run(folder: Path, family: str = "vae", **changed: Any) -> Path:
    """A run of little else than walks, some of whose arrays are replaced, or left out if they are None."""
    run = light_run(folder, family, 0, {"frechet_distance": 1.0, "active_units": 17})
    found = walk_arrays(family == "vae", 10, np.random.default_rng(0)) | {"codes": np.zeros((9, 20), np.float32)}
    found |= changed
    np.savez(run / "figures.npz", **{name: array for name, array in found.items() if array is not None})
    return run


def test_each_family_has_its_walks_or_the_reason_why_not(tmp_path: Path) -> None:
    runs = [walked_run(tmp_path / family, family) for family in ("vae", "gan")]
    html = report(tmp_path / "report.html", *runs)
    assert "The nearest in features is the nearest in pixels, too, for 8 of 8." in text_of(html, "neighbours")
    walked = text_of(html, "traversals")
    assert "the 4 with the most variance of 20 units, 17 of which are active, seed 0" in walked
    assert "unit 1 variance 0.9" in walked
    assert "the 4 leading directions, seed 0" in walked
    assert "direction 2 60.0%" in walked
    between = text_of(html, "interpolations")
    assert between.count("Between draws from the prior") == 2
    assert between.count("Between the codes of test images") == 1
    assert "4.5 long on the straight line, 4.5 on the arc; a draw is about √20 ≈ 4.5 long" in between
    assert "12 × 12 codes" in text_of(html, "manifold")
    seen = text_of(html, "confusion")
    assert "Label agreement 91.0% of 1 000 reconstructions; of real test images 91.0%." in seen.replace("\u202f", " ")
    assert "None: �it encodes no <images>." in seen
    assert "<images>" not in html


def test_a_run_of_before_has_its_report_and_is_told_what_is_missing(tmp_path: Path) -> None:
    run = light_run(tmp_path / "vae", "vae", 0, {"frechet_distance": 1.0})
    np.savez(run / "figures.npz", class_names=np.array(list("ab")))
    html = report(tmp_path / "report.html", run)
    for section in SECTIONS:
        assert "were not written when this run was measured" in text_of(html, section), section
    assert '<section id="manifold">' not in html
    (run / "measures.json").unlink()
    (run / "figures.npz").unlink()
    html = report(tmp_path / "report.html", run)
    for section in SECTIONS:
        assert "this one is not measured" in text_of(html, section), section


LIES: list[dict[str, Any]] = [
    {"neighbour_features": np.zeros((3, 3, 1, 28, 28), np.uint8), "neighbour_pixels": None},
    {"neighbour_pixels": np.zeros((8, 3, 3, 28, 28), np.uint8)},
    {"neighbour_samples": np.zeros((8, 1, 4000, 4000), np.uint8)},
    {"neighbour_pixels_index": np.zeros((2, 1), np.int64)},
    {"traversal_units": np.arange(3), "path_free": np.array([-4])},
    {"traversal_weight": np.full(4, np.nan), "path_codes_ends": np.zeros((2, 2, 1, 9, 9), np.uint8)},
    {"traversal_start": np.zeros((2, 3, 5, 5), np.uint8), "path_noise_lengths": np.zeros((1, 1, 1))},
    {"traversal_images": np.zeros((4, 7, 1, 1500, 1500), np.uint8), "manifold": np.zeros((1, 1, 7, 1, 1), np.uint8)},
    {"traversal_units": np.array([2**63] * 4, np.uint64), "manifold": np.zeros((90, 90, 1, 40, 40), np.uint8)},
    {"path_noise": np.zeros((3, 3, 8, 1, 9, 9), np.uint8), "path_noise_lengths": np.zeros((3, 3, 8))},
    {"path_noise": np.zeros((1, 1, 1, 1, 9, 9), np.uint8), "path_noise_lengths": np.zeros((1, 1, 1))},
    {"path_codes_lengths": np.full((2, 2, 9), np.inf)},
    {"confusion": np.full((10, 10), -1)},
    {"confusion": np.full((10, 10), 2**62), "confusion_real": np.full((10, 10), 2**62)},
    {"confusion": np.zeros((10, 10), np.int64), "confusion_kind": np.array(["<b>"])},
    {"confusion": np.ones((3, 5), np.int64)},
    {"confusion": np.ones((400, 400), np.int64), "figures_missing": np.array([["a", "b", "c"]])},
    {"figures_missing": np.array([["confusion", "<script>"] * 1]), "confusion": None},
    {"confusion": np.array([[{}]], object), "manifold": np.zeros((2, 2, 1, 4, 4), np.float32)},
]


@pytest.mark.parametrize("lies", LIES, ids=lambda lies: " ".join(lies))
def test_arrays_that_lie_are_left_out(tmp_path: Path, lies: dict[str, Any]) -> None:
    """Whatever is in them, there is a figure or a reason, and nothing large."""
    groups = group_runs([read_run(walked_run(tmp_path / "vae", **lies))])
    for one in (*neighbours(groups), *traversals(groups)):
        assert bool(one.rows) != bool(one.why_not)
    for one in interpolations(groups):
        assert bool(one.paths) != bool(one.why_not)
    for one in confusions(groups, list("0123456789")) if "confusion" in lies else ():  # it takes a while to draw
        assert bool(one.picture) != bool(one.why_not)
    assert sum(len(one.picture.src) for one in manifolds(groups)) < 1e6


def test_arrays_of_another_kind_are_noted(tmp_path: Path) -> None:
    run = walked_run(tmp_path / "vae", manifold=np.zeros((2, 2, 1, 4, 4), np.float32))
    assert any("manifold is float32" in note for note in read_run(run).notes)


def test_many_classes_have_shades_and_few_have_numbers() -> None:
    few, many = (
        confusion_matrix(np.eye(k, dtype=np.int64), [f"class {i}" for i in range(k)], ("a", "b"), 0, "alt")
        for k in (3, 40)
    )
    assert few.alt == many.alt == "alt"
    assert few.light != few.dark
