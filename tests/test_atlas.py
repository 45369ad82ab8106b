"""The atlas: planes with known answers, what is kept of them, and the maps in a real browser."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from likelier import load_images
from likelier.atlas import HOW as WRITTEN
from likelier.atlas import atlas_of, extent_of, grid, plane_through
from likelier.distributions import Normal, standard_normal
from likelier.family import Family, build, configure, find, names
from likelier.housekeeping import FILES
from likelier.images import Images, as_float, as_uint8
from likelier.measuring import write_arrays
from likelier.report.atlas import _packed
from likelier.report.reading import read_run
from test_report import POOR_CONTRAST, Visit, chromium, light_run, report  # noqa: F401


@pytest.fixture(scope="module")
def digits() -> Images:
    return load_images("digits")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Decoder(Family):
    """Images that are a linear map of the code, cut to [0, 1]."""

    @dataclass(frozen=True)
    class Config:
        latent: int = 5
        batch: int = 1

    def __init__(self, config: Any, shape: Any) -> None:
        super().__init__(config, shape)
        self.a = nn.Parameter(0.1 * normal(64, config.latent))

    def players(self) -> Any:
        return {}

    def turns(self, step: Any) -> Iterator[Any]:
        yield from ()

    def sample(self, n: int, generator: torch.Generator, labels: Any = None) -> torch.Tensor:
        return self.decode(self.prior().sample(generator, n))

    def prior(self) -> Normal:
        return standard_normal(self.config.latent, self.a)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.a.T + 0.5).clamp(0, 1).unflatten(1, (1, 8, 8))


class AutoEncoder(Decoder):
    def encode(self, x: torch.Tensor) -> Normal:
        mu = 0.4 * x.flatten(1) @ self.a
        return Normal(mu, mu * 0)


def atlas_with(family: Family, images: Images) -> dict[str, Any]:
    found = atlas_of(family.requires_grad_(False), images.test)
    assert found is not None
    return found


def code_at(atlas: dict[str, Any], row: int, column: int) -> torch.Tensor:
    """As a reader of the file alone would find it."""
    rows, columns = atlas["images"].shape[:2]
    u, v = (np.linspace(*ends, n, dtype=np.float32)[i] for ends, n, i in zip(
        atlas["extent"], (columns, rows), (column, row), strict=True
    ))  # fmt: skip
    return torch.from_numpy(atlas["origin"] + u * atlas["axes"][0] + v * atlas["axes"][1])[None]


@pytest.mark.parametrize("latent", [1, 2, 5])
@pytest.mark.parametrize("kind", [Decoder, AutoEncoder])
def test_the_image_at_a_place_is_what_decode_gives(kind: type[Decoder], latent: int, digits: Images) -> None:
    family = kind(kind.Config(latent), (1, 8, 8))
    atlas = atlas_with(family, digits)
    rows = 1 if latent == 1 else 25
    assert atlas["images"].shape == (rows, 25, 1, 8, 8)
    for row in range(rows):
        z = torch.cat([code_at(atlas, row, column) for column in range(25)])
        off = atlas["images"][row].astype(int) - as_uint8(family.decode(z)).numpy()
        assert np.abs(off).max() <= 1  # a rounding of u, v or z away
        assert np.mean(off != 0) < 0.01
    how = {1: "line", 2: "plane", 5: "pca" if kind is AutoEncoder else "random"}
    assert atlas["how"] == how[latent]
    axes = atlas["axes"]
    assert axes @ axes.T == pytest.approx(np.diag([1, float(latent > 1)]), abs=1e-6)
    if kind is AutoEncoder:
        codes = family.encode(as_float(digits.test.images)).mean.numpy()
        assert atlas["codes"] == pytest.approx((codes - atlas["origin"]) @ axes.T, abs=1e-4)
        assert (atlas["labels"] == digits.test.labels.numpy()).all()
    else:
        assert len(atlas["codes"]) == len(atlas["labels"]) == 0
        if latent > 2:  # through a sample, and (0, 0) is its middle as seen from the prior
            assert axes @ atlas["origin"] == pytest.approx([0, 0], abs=1e-6)
            assert 0.5 < np.linalg.norm(atlas["origin"]) < 4


def test_the_plane_of_codes_agrees_with_scikit_learn(digits: Images) -> None:
    from sklearn.decomposition import PCA

    family = AutoEncoder(AutoEncoder.Config(8), (1, 8, 8))
    atlas = atlas_with(family, digits)
    codes = family.encode(as_float(digits.test.images)).mean.double().numpy()
    expected = PCA(2).fit(codes)
    assert np.abs(atlas["axes"]) == pytest.approx(np.abs(expected.components_), abs=1e-5)
    assert atlas["origin"] == pytest.approx(expected.mean_, abs=1e-6)
    assert atlas["explained"] == pytest.approx(expected.explained_variance_ratio_, rel=1e-5)


def test_a_plane_without_variance_is_a_random_one(digits: Images) -> None:
    family = AutoEncoder(AutoEncoder.Config(5), (1, 8, 8))
    assert plane_through(family, torch.ones(9, 5)).how in ("pca", "random")
    assert plane_through(Decoder(Decoder.Config(5), (1, 8, 8)), None).how == "random"


def test_the_grid_covers_the_codes_and_few_pixels() -> None:
    assert extent_of(torch.tensor([[0.1, -3.4]]).repeat(50, 1), flat=False) == ((-6, 6), (-6, 6))
    sides = [len(grid(((-3, 3), (-3, 3)), (3, side, side))[0]) for side in (8, 28, 32, 64, 128, 256, 512)]
    assert sides == [25, 25, 25, 13, 7, 3, 3]


@pytest.mark.parametrize("name", names())
def test_every_family_has_an_atlas(name: str, digits: Images) -> None:
    family = build(find(name), configure(find(name), {}), digits, 0).eval()
    atlas = atlas_with(family, digits)
    assert atlas["how"] == ("pca" if name in ("vae", "vae_gan") else "first layer")
    assert atlas["images"].shape == (25, 25, 1, 8, 8)
    z = torch.cat([code_at(atlas, row, row) for row in range(25)])
    expected = as_uint8(family.decode(z)).numpy().astype(int)
    assert np.abs(atlas["images"][range(25), range(25)] - expected).max() <= 1
    assert len(np.unique(atlas["images"].reshape(625, -1), axis=0)) > 50, "places have images of their own"
    again = atlas_with(family, digits)
    assert all(np.array_equal(atlas[key], again[key]) for key in atlas)
    if atlas["how"] == "first layer":
        assert isinstance(family.generator[0], nn.Linear)
        a = family.generator[0].weight.double().numpy()
        values, vectors = np.linalg.eig(a.T @ a)
        for axis, share, k in zip(atlas["axes"], atlas["explained"], np.argsort(-values.real), strict=False):
            assert abs(axis @ vectors[:, k].real) == pytest.approx(1, abs=1e-4)
            assert share == pytest.approx(values[k].real / values.real.sum(), rel=1e-4)


def test_a_conditional_model_keeps_to_one_class(digits: Images) -> None:
    family = build(find("r3gan"), configure(find("r3gan"), {"classes": 10, "hidden": 16}), digits, 0).eval()
    labels = torch.arange(10)
    z = torch.stack([torch.cat([normal(64), family.quantile_of(int(k))[None]]) for k in labels])
    assert torch.equal(family.decode(z), family.generate(z[:, :-1].contiguous(), labels))
    atlas = atlas_with(family, digits)
    assert atlas["given"] == 0
    assert not atlas["axes"][:, -1].any()
    z = torch.cat([code_at(atlas, 3, column) for column in range(25)])
    expected = as_uint8(family.generate(z[:, :-1].contiguous(), torch.zeros(25, dtype=torch.int64))).numpy()
    assert np.abs(atlas["images"][3].astype(int) - expected).max() <= 1


def test_what_is_not_finite_has_no_atlas(digits: Images) -> None:
    family = Decoder(Decoder.Config(5), (1, 8, 8)).requires_grad_(False)
    family.a[0, 0] = torch.nan
    assert atlas_of(family, digits.test) is None
    assert "atlas.npz" in FILES


# The page


def made_up(
    side: int = 25, reach: float = 3, shape: tuple[int, int, int] = (1, 28, 28), **other: Any
) -> dict[str, Any]:
    """An atlas of noise: no two images are alike."""
    chance = np.random.default_rng(side)
    rows = other.pop("rows", side)
    atlas = {
        "format": np.array(1),
        "how": np.array("pca"),
        "given": np.array(-1),
        "origin": np.zeros(4, np.float32),
        "axes": np.eye(2, 4, dtype=np.float32),
        "extent": np.array([[-reach, reach], [-reach, reach] if rows > 1 else [0, 0]], np.float32),
        "images": 17 * chance.integers(0, 16, (rows, side, *shape), dtype=np.uint8),  # small enough to be kept as it is
        "codes": np.array([[0.5, -1.0], [2.0, 2.0], [40.0, 0.0]], np.float32),
        "labels": np.array([3, 7, 3]),
        "explained": np.array([0.3, 0.2], np.float32),
    }
    return atlas | other


NO_POINTS = {"how": np.array("first layer"), "codes": np.zeros((0, 2), np.float32), "labels": np.zeros(0, np.int64)}


def run_with(folder: Path, family: str, atlas: dict[str, Any] | None) -> Path:
    light_run(folder, family, 0, {"frechet_distance": 2.0})
    if atlas is not None:
        write_arrays(folder / "atlas.npz", atlas)
    return folder


@pytest.fixture(scope="module")
def atlases() -> dict[str, dict[str, Any]]:
    """A map with points, one of wider steps, one of a line, and one without an encoder in colours."""
    return {
        "vae": made_up(),
        "vae_gan": made_up(reach=6, given=np.array(3)),
        "line": made_up(rows=1, how=np.array("line")),
        "gan": made_up(13, shape=(3, 16, 16), **NO_POINTS),
    }


@pytest.fixture(scope="module")
def page(atlases: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("atlas")
    runs = [run_with(folder / name, name, atlas) for name, atlas in atlases.items()]
    report(folder / "report.html", *runs, run_with(folder / "old", "old", None))
    return folder / "report.html"


SHOWN = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""


def shown(visit: Visit, name: str) -> np.ndarray:
    """The pixels that the view of a model shows, [c, h, w]; those that nothing was drawn on are None."""
    canvas = visit.page.locator(f".atlas-model[data-name={name}] canvas")
    size = canvas.evaluate("c => [c.height, c.width, 4]")
    rgba = np.array(canvas.evaluate(SHOWN), dtype=np.uint8).reshape(size)
    assert np.unique(rgba[..., 3]).tolist() in ([255], [0])
    return rgba[..., :3].transpose(2, 0, 1) if rgba[0, 0, 3] else np.zeros(0)


def quiet(visit: Visit) -> bool:
    """Whether the page said nothing: what Chromium has to say of our reading pictures back is no fault of it."""
    return [text for text in visit.console if "Multiple readback operations" not in text] == []


def place(visit: Visit, name: str) -> str:
    return visit.page.locator(f".atlas-model[data-name={name}] .atlas-at").inner_text().replace("−", "-")


def is_image(pixels: np.ndarray, atlas: dict[str, Any], row: int, column: int) -> bool:
    return np.array_equal(pixels, np.broadcast_to(atlas["images"][row, column], pixels.shape))


def point_at(visit: Visit, name: str, across: float, up: float) -> None:
    box = visit.page.locator(f".atlas-model[data-name={name}] .atlas-map")
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    visit.page.mouse.move(at["x"] + across * at["width"], at["y"] + (1 - up) * at["height"])


def test_the_pointer_shows_the_image_there_on_all_maps(
    page: Path, atlases: dict[str, Any], chromium: Any  # noqa: F811
) -> None:  # fmt: skip
    with Visit(chromium, page) as visit:
        assert is_image(shown(visit, "vae"), atlases["vae"], 12, 12), "it opens in the middle"
        for row, column in ((24, 0), (0, 24), (8, 14)):
            point_at(visit, "vae", (column + 0.5) / 25, (row + 0.5) / 25)
            u, v = -3 + column / 4, -3 + row / 4
            assert place(visit, "vae") == f"u {u:.2f}, v {v:.2f}"
            assert is_image(shown(visit, "vae"), atlases["vae"], row, column)
            wide = [int(np.floor((x + 6) / 0.5 + 0.5)) for x in (v, u)]
            assert is_image(shown(visit, "vae_gan"), atlases["vae_gan"], *wide)
            assert is_image(shown(visit, "line"), atlases["line"], 0, column)
            assert is_image(shown(visit, "gan"), atlases["gan"], (row + 1) // 2, (column + 1) // 2)
        near = visit.page.locator(".atlas-model[data-name=vae] .atlas-near")
        assert near.inner_text() == "test image near: class 3"
        point_at(visit, "vae_gan", 0.99, 0.5)
        assert place(visit, "vae") == "beyond its edges"
        assert shown(visit, "vae").size == 0
        visit.page.mouse.down()
        visit.page.mouse.up()
        point_at(visit, "vae", 0.5, 0.5)
        assert place(visit, "vae_gan") == "u 6.00, v 0.00", "a click holds the place"
        visit.page.mouse.down()
        visit.page.mouse.up()
        assert place(visit, "vae_gan") == "u 0.00, v 0.00"
        assert quiet(visit)
        assert [url for url in visit.requests if not url.startswith("data:")] == [visit.url]


def test_the_keyboard_goes_step_by_step_and_is_told(
    page: Path, atlases: dict[str, Any], chromium: Any  # noqa: F811
) -> None:  # fmt: skip
    expect = pytest.importorskip("playwright.sync_api").expect
    with Visit(chromium, page) as visit:
        keys, said = visit.page.keyboard, visit.page.locator("#atlas-said")
        visit.page.locator("#atlas-points").focus()
        keys.press("Tab")
        assert visit.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Map of vae"
        before = visit.page.evaluate("scrollY")
        for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown"):
            keys.press(key)
        assert visit.page.evaluate("scrollY") == before
        assert place(visit, "vae") == "u 0.50, v -1.00"
        assert is_image(shown(visit, "vae"), atlases["vae"], 8, 14)
        assert is_image(shown(visit, "vae_gan"), atlases["vae_gan"], 10, 13)
        expect(said).to_have_text("vae: u 0.50, v −1.00, test image near: class 3")
        visit.page.locator("#atlas-linked").uncheck()
        visit.page.locator(".atlas-model[data-name=line] .atlas-map").focus()
        for key in ("ArrowUp", "Shift+ArrowLeft"):
            keys.press(key)
        assert (place(visit, "line"), place(visit, "vae")) == ("u -0.50", "u 0.50, v -1.00")
        visit.page.locator(".atlas-model[data-name=vae] .atlas-map").focus()
        for _ in range(12):
            keys.press("Shift+ArrowRight")
        assert place(visit, "vae") == "u 3.00, v -1.00", "it stops at the edge"
        keys.press("Home")
        assert (place(visit, "vae"), place(visit, "line")) == ("u 0.00, v 0.00", "u -0.50")
        visit.page.locator("#atlas-linked").check()
        assert place(visit, "line") == "u 0.00"
        assert quiet(visit)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finger_moves_the_place_on_a_phone(
    page: Path, atlases: dict[str, Any], chromium: Any, scheme: str  # noqa: F811
) -> None:  # fmt: skip
    options = {"has_touch": True, "is_mobile": True, "color_scheme": scheme, "reduced_motion": "reduce"}
    with Visit(chromium, page, 390, **options) as visit:
        box = visit.page.locator(".atlas-model[data-name=vae] .atlas-map")
        action = "box => getComputedStyle(box).touchAction"
        assert box.evaluate(action) == "pan-y", "whoever scrolls past is not held up"
        box.scroll_into_view_if_needed()
        at = box.bounding_box()
        visit.page.touchscreen.tap(at["x"] + 20.5 / 25 * at["width"], at["y"] + 4.5 / 25 * at["height"])
        assert place(visit, "vae") == "u 2.00, v 2.00"
        assert is_image(shown(visit, "gan"), atlases["gan"], 10, 10)
        assert box.evaluate(action) == "none"
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.page.evaluate(POOR_CONTRAST) == []
        assert quiet(visit)


def test_without_a_script_and_in_print_there_are_the_sheets(page: Path, chromium: Any) -> None:  # noqa: F811
    with Visit(chromium, page, java_script_enabled=False) as visit:
        sheets = visit.page.locator(".atlas-sheet")
        assert [each.is_visible() for each in sheets.all()] == [True] * 4
        assert "25 × 25 places" in (sheets.first.get_attribute("alt") or "")
        assert not visit.page.locator("#atlas-tools").is_visible()
        assert visit.page.locator("canvas:visible").count() == 0
    with Visit(chromium, page) as visit:
        visit.page.emulate_media(media="print")
        seen = "sheet => [getComputedStyle(sheet).opacity, getComputedStyle(sheet).filter]"
        assert visit.page.locator(".atlas-sheet").first.evaluate(seen) == ["1", "none"]
        assert visit.page.locator(".atlas-map svg:visible, canvas:visible").count() == 0


def test_the_page_says_which_plane_it_is_and_what_is_missing(page: Path) -> None:
    html = page.read_text()
    section = html[html.index('<section id="atlas">') : html.index('<section id="classes">')]
    assert "The two principal components of its codes (30% and 20% of their variance), through their mean." in section
    assert "2 of 3 test images lie within its edges." in section
    assert "No points: it has no encoder" in section
    assert "All images are of class class 3." in section
    assert "The images of its plane were not written when this run was measured." in section
    assert " style=" not in section


def archive(atlas: dict[str, Any], name: str, content: bytes) -> bytes:
    """The file of an atlas with one array replaced by bytes."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        for key, value in atlas.items():
            each = io.BytesIO()
            np.save(each, value, allow_pickle=True)
            file.writestr(f"{key}.npy", content if key == name else each.getvalue())
    return whole.getvalue()


HOSTILE: dict[str, Any] = {
    "another format": {"format": np.array(2)},
    "objects": {"how": np.array({"a": 1}, dtype=object)},
    "an unknown plane": {"how": np.array("<script>")},
    "axes of another length": {"axes": np.eye(2, 5, dtype=np.float32)},
    "axes that are not finite": {"axes": np.full((2, 4), np.nan, np.float32)},
    "an extent backwards": {"extent": np.array([[3, -3], [-3, 3]], np.float32)},
    "an extent without end": {"extent": np.array([[-np.inf, 3], [-3, 3]], np.float32)},
    "no extent": {"extent": np.zeros((2, 0), np.float32)},
    "no images": {"images": np.zeros((25, 25, 1, 0, 28), np.uint8)},
    "images of words": {"images": np.zeros((2, 2, 1, 8, 8), np.uint16)},
    "a grid too large": {"images": np.zeros((60, 60, 1, 1, 1), np.uint8)},
    "codes without labels": {"labels": np.zeros(2, np.int64)},
    "codes that are not finite": {"codes": np.full((3, 2), np.inf, np.float32)},
    "three shares": {"explained": np.zeros(3, np.float32)},
}


@pytest.mark.parametrize("what", [*HOSTILE, "a header that lies", "half a file", "no file", "a missing array"])
def test_a_broken_atlas_is_a_note(what: str, tmp_path: Path) -> None:
    run = run_with(tmp_path / "vae", "vae", None)
    if what in HOSTILE:
        content = archive(made_up() | HOSTILE[what], "", b"")
    elif what == "a header that lies":
        header = io.BytesIO()
        claim = {"descr": "|u1", "fortran_order": False, "shape": (25, 25, 1, 1 << 20, 1 << 20)}
        np.lib.format.write_array_header_1_0(header, claim)
        content = archive(made_up(), "images", header.getvalue())
    elif what == "a missing array":
        content = archive({key: value for key, value in made_up().items() if key != "axes"}, "", b"")
    else:
        content = archive(made_up(), "", b"")[: 5_000 if what == "half a file" else 0]
    (run / "atlas.npz").write_bytes(content)
    read = read_run(run)
    assert read.atlas is None
    (note,) = (note for note in read.notes if note.startswith("atlas.npz cannot be used"))
    assert "Type-check" not in note
    html = report(tmp_path / "report.html", run)
    assert "Its atlas.npz cannot be used" in html
    assert html.count("<script>") == 1


def test_old_runs_need_no_note_and_new_ones_are_understood(tmp_path: Path) -> None:
    assert not any("atlas" in note for note in read_run(run_with(tmp_path / "old", "vae", None)).notes)
    for how in WRITTEN:
        assert read_run(run_with(tmp_path / how, "vae", made_up(3, how=np.array(how)))).atlas.how == how


def test_large_pictures_lose_something_and_say_so(tmp_path: Path) -> None:
    assert _packed(np.zeros((700, 700, 3), np.uint8), 450_000)[1] is None
    photos = made_up(shape=(3, 32, 32))
    photos["images"] = photos["images"] // 8 + np.linspace(0, 200, 32).astype(np.uint8)  # as smooth as a photograph
    html = report(tmp_path / "report.html", run_with(tmp_path / "run", "vae", photos))
    assert "Its pictures are compressed with some loss (WebP, quality" in html
    assert html.count("data:image/webp") == 1
    assert len(html) < 800_000
