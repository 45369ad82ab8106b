"""A whole page in a real browser: quiet, within its width, accessible, valid, and fit for paper."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likelier.measuring import write_arrays
from likelier.report import bound, write_report
from likelier.report import page as page_module
from test_atlas import NO_POINTS, made_up
from test_report import POOR_CONTRAST, Visit, change, chromium, light_run, make_run  # noqa: F401

WITHOUT_PICTURES = re.compile(r'"data:image/[^"]*"')
UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true; })"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three families with everything that a page can show, and more seeds of two of them, for the claims."""
    folder = tmp_path_factory.mktemp("page")
    runs = [make_run(folder / f"{family}-0", family) for family in ("vae", "gan", "vae_gan")]
    for run in runs:
        write_arrays(run / "atlas.npz", made_up(9, **(NO_POINTS if run.name == "gan-0" else {})))
    for seed in range(1, 5):
        for family, distance in (("vae", 18.0), ("gan", 31.0)):
            run = light_run(folder / f"{family}-{seed}", family, seed, {"frechet_distance": distance + seed})
            settings = json.loads((folder / f"{family}-0/config.json").read_text())["settings"]
            change(run / "config.json", '"settings": {}', f'"settings": {json.dumps(settings)}')
            runs.append(run)
    return write_report(runs, folder / "report.html", title="Three models", command="likelier compare", declared=True)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_quiet_and_fits_with_everything_unfolded(page: Path, chromium: Any, width: int, scheme: str) -> None:  # noqa: F811
    with Visit(chromium, page, width, color_scheme=scheme) as visit:
        visit.page.evaluate(UNFOLD)
        broken = "images => images.filter(i => !(i.complete && i.naturalWidth)).map(i => i.alt)"
        assert visit.page.eval_on_selector_all("img", broken) == []
        assert [url for url in visit.requests if not url.startswith("data:")] == [visit.url]
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate(POOR_CONTRAST) == []
        assert visit.console == []
        if (width, scheme) in ((1280, "light"), (390, "dark")):
            axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
            found = axe.run(visit.page).response["violations"]
            assert [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
            ] == []


def test_is_valid_and_in_order(page: Path) -> None:
    html = page.read_text()
    assert len(html.encode()) < bound.LIMIT
    small = WITHOUT_PICTURES.sub('"data:,"', html)
    root = pytest.importorskip("justhtml").JustHTML(small, strict=True, sanitize=False)
    names = [node.attrs["id"] for node in root.query("[id]")]
    assert len(names) == len(set(names))
    levels = [int(node.name[1]) for node in root.query("h1, h2, h3, h4, h5, h6")]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(node.attrs.get("alt") for node in root.query("img"))
    assert all(node.attrs.get("aria-label") or node.parent.name == "label" for node in root.query("input"))
    targets = [node.attrs["href"][1:] for node in root.query("a") if node.attrs["href"].startswith("#")]
    assert set(targets) <= set(names)


def test_every_part_has_a_way_to_it_in_their_order(page: Path) -> None:
    html = page.read_text()
    ways = re.findall(r'<li><a href="#(\w+)">', html)
    parts = re.findall(r'<section id="(\w+)"', html)
    assert ways == [part for part in parts if part != "glance"]


def test_paper_is_light_and_has_what_was_folded_and_nothing_to_press(page: Path, chromium: Any) -> None:  # noqa: F811
    with Visit(chromium, page, color_scheme="dark") as visit:
        assert visit.page.locator(".by-day:visible").count() == 0
        drawn = visit.page.locator(".by-night:visible").count()
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".by-day:visible").count() == drawn > 0
        assert visit.page.locator(".by-night:visible").count() == 0
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert visit.page.locator("nav:visible, button:visible, input:visible").count() == 0
        assert visit.page.locator("#measures .term p").first.evaluate("p => p.checkVisibility()")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1280
        visit.page.set_viewport_size({"width": 690, "height": 1000})  # what paper of A4 leaves
        visit.page.locator("pre").first.evaluate("e => e.textContent += ' --set ' + 'hidden=512,'.repeat(20)")
        assert visit.page.locator("pre").first.evaluate("e => e.scrollWidth <= e.clientWidth")
        words = visit.page.locator("#measures tbody tr:not(.section) th").first
        assert words.evaluate("e => e.clientWidth") >= 220, "explanations would be a column of single words"
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 690
        assert visit.page.pdf(format="A4").startswith(b"%PDF")


def test_the_atlas_knows_a_sheet_that_was_made_smaller_and_stands_aside_without_one(
    tmp_path: Path,
    chromium: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each image of the map has one grey, so that half of its pixels show which image it is."""
    greys = np.arange(81, dtype=np.uint8).reshape(9, 9) * 3
    atlas = made_up(9, images=np.broadcast_to(greys[..., None, None, None], (9, 9, 1, 28, 28)).copy())
    run = light_run(tmp_path / "vae", "vae", 0, {"frechet_distance": 1.0})
    write_arrays(run / "atlas.npz", atlas)
    out = tmp_path / "report.html"
    middle = "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((v, i) => i % 4 === 0)"
    for smaller, ink in ((bound._halved, {int(greys[4, 4])}), (bound._without_pixels, None)):
        changed = bound._of_figures(smaller)
        monkeypatch.setattr(page_module, "bounded", lambda shown, render, changed=changed: render(
            changed(shown) | {"thinned": "it is"}
        ))  # fmt: skip
        write_report([run], out, title="", command="")
        with Visit(chromium, out) as visit:
            tools = visit.page.locator("#atlas-tools")
            if ink is None:
                assert not tools.is_visible()
                assert "places of its plane, side by side: not on this page" in visit.page.inner_text("#atlas")
            else:
                assert visit.page.locator(".atlas-sheet").evaluate("sheet => sheet.naturalWidth") == 9 * 14
                assert set(visit.page.locator("canvas").evaluate(middle)) == ink
            assert visit.console == []


def test_a_picture_is_called_what_it_is_and_its_file_is_whole(tmp_path: Path) -> None:
    photos = made_up(shape=(3, 32, 32))
    photos["images"] = photos["images"] // 8 + np.linspace(0, 200, 32).astype(np.uint8)  # as smooth as a photograph
    run = make_run(tmp_path / "gan", "gan")
    write_arrays(run / "atlas.npz", photos)
    html = write_report([run], tmp_path / "report.html", title="", command="").read_text()
    with Image.open(tmp_path / "figures/atlas-gan.webp") as sheet:
        assert (sheet.format, sheet.size) == ("WEBP", (800, 800))
    assert "figures/atlas-gan.webp" in html
    sources = dict(re.findall(r'data-images="(\d+)" src="data:image/(\w+)', html))
    assert sources.pop("300032") == "png"  # where the slider rests
    assert set(sources.values()) == {"webp"}
    for images in ("000000896", "000300032"):
        of_page, of_run = (Image.open(path) for path in (
            tmp_path / f"figures/training-gan-{images}-images.png", run / f"samples/0{images}.png"
        ))  # fmt: skip
        assert np.array_equal(np.asarray(of_page), np.asarray(of_run))
