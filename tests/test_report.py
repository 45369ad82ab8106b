"""The report, rendered from runs made up here and opened in a real browser."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from likelier.codes import CODE_MEASURES
from likelier.errors import InputError
from likelier.measuring import SAMPLE_MEASURES
from likelier.report import standings_on, write_report
from likelier.report.claims import claims_section
from likelier.report.figures import FAMILY_COLOURS
from likelier.report.glossary import TERMS
from likelier.report.grouping import group_runs
from likelier.report.reading import read_run
from likelier.report.table import NEVER_BEST, SECTIONS, Footnotes, Row, sections
from likelier.verdict import summarise

POINTS = [0, 128, 384, 896, 1920, 3968, 8064, 16_256, 32_640, 65_408, 130_944, 300_032]
PLAYERS = {
    "vae": ["vae"],
    "gan": ["discriminator", "generator"],
    "dcgan": ["discriminator", "generator"],
    "vae_gan": ["encoder", "decoder", "discriminator"],
}
QUALITY = {"vae": 18.4, "gan": 31.0, "dcgan": 6.21, "vae_gan": 9.87}
MEASURES = {key: (label, unit, better) for key, (_, label, unit, better) in SAMPLE_MEASURES.items()}
MEASURES |= {key: (label, unit, better) for key, (label, unit, better, _) in CODE_MEASURES.items()}
CONDITIONS = {
    "data_digest": "6e2b" * 16,
    "extractor": "mnist-cnn-v1-ab12cd",
    "extractor_accuracy": 0.989,
    "other_extractors": ["mnist-cnn-v1-seed1-ef34ab", "mnist-cnn-v1-seed2-56cd78"],
    "n": 10_000,
    "reference": "train",
    "quantisation": "u8",
    "neighbours": 5,
    "sample_seed": 0,
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real digits, enlarged to MNIST's 28 × 28."""
    small, labels = load_digits(return_X_y=True)
    pictures = (small.reshape(-1, 8, 8)[:320] * 15.9).astype(np.uint8)
    large = [np.asarray(Image.fromarray(p).resize((28, 28), Image.Resampling.BICUBIC)) for p in pictures]
    return np.stack(large), labels[:320]


def grid(images: np.ndarray, columns: int) -> Image.Image:
    rows = len(images) // columns
    return Image.fromarray(images.reshape(rows, columns, 28, 28).transpose(0, 2, 1, 3).reshape(rows * 28, columns * 28))


def blend(images: np.ndarray, done: float, rng: np.random.Generator) -> np.ndarray:
    """What a model `done` of the way through training might make: images that emerge from noise."""
    noise = rng.uniform(0, 255, images.shape)
    return (images * done + noise * (1 - done)).clip(0, 255).astype(np.uint8)


def json_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_run(folder: Path, family: str, seed: int = 0, *, names: tuple[str, ...] = tuple("0123456789")) -> Path:
    """A finished and measured run, complete in every file."""
    rng = np.random.default_rng([seed, len(family)])
    folder.mkdir(parents=True)
    settings = {"hidden": 256, "latent": 20, "batch": 128, "lr": 0.001 if "vae" in family else 0.0002}
    config = {"format": 1, "family": family, "data": "mnist", "seed": seed, "images": 300_000, "minutes": None}
    (folder / "config.json").write_text(json.dumps({**config, "settings": settings}))
    write_environment(folder)
    write_logs(folder, family, rng)
    write_pictures(folder, family, rng)
    write_measures(folder, family, rng)
    write_figures(folder, family, rng, names)
    return folder


def write_environment(folder: Path) -> None:
    software = {"likelier": "0.1.0", "torch": "2.13.0", "python": "3.11.7", "platform": "Linux-6.1-x86_64-glibc2.36"}
    device = {"device": "cpu", "device_name": "AMD EPYC", "threads": 2, "commit": "abc123", "data_digest": "6e2b" * 16}
    (folder / "environment.json").write_text(json.dumps({**software, **device}))


def write_logs(folder: Path, family: str, rng: np.random.Generator) -> None:
    lines: list[dict[str, Any]] = []
    for images in range(1280, 300_033, 1280):
        noise = dict.fromkeys(PLAYERS[family], 0.0)
        for player in noise:
            level = 105 + 440 * np.exp(-images / 9000) if "vae" in family and player != "discriminator" else 0.9
            noise[player] = level * (1 + 0.06 * rng.standard_normal())
        line: dict[str, Any] = {"images": images, "turns": images // 128}
        line |= {f"loss.{player}": value for player, value in noise.items()}
        line |= {f"grad_norm.{player}": 3.0 for player in noise}
        if family == "vae":
            line |= {"elbo": -noise["vae"], "kl": 25.0}
        lines.append(line)
    for images in POINTS:
        line = {"images": images, "evaluation": True, "fd": QUALITY[family] * (1 + float(np.exp(-images / 9000)))}
        if "discriminator" in PLAYERS[family]:
            line |= {"d_pairwise": 0.995, "d_gap": 0.02}
        if "vae" in family:
            line |= {"elbo": -108 - 440 * float(np.exp(-images / 9000)), "kl": 25.1, "mse": 0.02}
        lines.append(line)
    json_lines(folder / "metrics.jsonl", sorted(lines, key=lambda line: line["images"]))
    json_lines(folder / "timing.jsonl", [{"images": n, "seconds": n / 9600} for n in POINTS[1:]])
    seconds = (31.2 if family == "vae" else 64.8) + rng.uniform(0, 2)
    done = {"status": "finished", "images": 300_032, "seconds": seconds, "parameters": 652_824}
    (folder / "done").write_text(json.dumps(done))


def write_pictures(folder: Path, family: str, rng: np.random.Generator) -> None:
    pictures, _ = digits()
    chosen = rng.permutation(len(pictures))
    encodes = "vae" in family
    for kind in ("samples", "reconstructions")[: 1 + encodes]:
        (folder / kind).mkdir()
    for i, images in enumerate(POINTS):
        done = 0.95 * i / (len(POINTS) - 1)
        grid(blend(pictures[chosen[:64]], done, rng), 8).save(folder / f"samples/{images:010d}.png")
        if encodes:
            rows = np.concatenate([pictures[:10], blend(pictures[:10], done, rng)])
            grid(rows, 10).save(folder / f"reconstructions/{images:010d}.png")


def write_measures(folder: Path, family: str, rng: np.random.Generator) -> None:
    base = QUALITY[family]
    values = {"frechet_distance": base, "kernel_distance": base / 900, "precision": 0.81, "recall": 1 / (1 + base / 9)}
    values |= {"density": 0.93, "coverage": 1 / (1 + base / 7), "class_histogram_kl": base / 300, "missing_classes": 0}
    values |= {"frechet_distance_infinity": base - 0.6, "copied_share": 0.011, "authenticity": 0.61}
    values |= {"data_copying_ct": -1.2}
    if family.startswith("vae"):
        values |= {"reconstruction_mse": 0.0121, "reconstruction_psnr": 19.2, "reconstruction_ssim": 0.91}
        values |= {"linear_probe": 0.947, "knn_accuracy": 0.96, "silhouette": 0.062, "silhouette_pca": -0.031}
        values |= {"nmi": 0.52, "nmi_pca": 0.31, "mmd_to_prior": 0.0031, "active_units": 17, "kl": 25.1, "elbo": -108.2}
    whole = ("missing_classes", "active_units")
    jittered = {key: v if key in whole else v * (1 + 0.05 * rng.standard_normal()) for key, v in values.items()}
    measures_file(folder, family, jittered)


def measures_file(folder: Path, family: str, values: dict[str, float], noise: float = 0.24, **more: Any) -> None:
    """The measures of a run: the distance with its noise and in other features, a reason for what has no value."""
    floors = {"frechet_distance": {"train–train": 0.31, "train–test": 0.94}, "precision": {"train–test": 0.91}}
    floors |= {"copied_share": {"train–test": 0.0098}, "authenticity": {"train–test": 0.63}}
    measures: list[dict[str, Any]] = []
    for key, (label, unit, better) in MEASURES.items():
        item = {"key": key, "name": f"{key}_mnist-cnn-v1-ab12cd_train_n10000_u8", "label": label, "unit": unit}
        item |= {"value": values.get(key), "better": better, "floor": floors.get(key), "noise": None, "elsewhere": None}
        measures.append({**item, "why_not": None if key in values else f"{family} has no encoder"})
    elsewhere = dict.fromkeys(CONDITIONS["other_extractors"], 1.1 * values["frechet_distance"])
    measures[0] |= {"noise": noise, "elsewhere": elsewhere, **more}
    content = {"format": 2, "conditions": CONDITIONS, "measures": measures, "stability": {}, "warnings": []}
    (folder / "measures.json").write_text(json.dumps(content))


def light_run(folder: Path, family: str, seed: int, values: dict[str, float], **more: Any) -> Path:
    """A finished and measured run of which there are figures only: many seeds of it cost little."""
    folder.mkdir(parents=True)
    config = {"format": 1, "family": family, "data": "mnist", "seed": seed, "images": 300_000, "minutes": None}
    (folder / "config.json").write_text(json.dumps({**config, "settings": {}}))
    (folder / "done").write_text('{"status": "finished", "images": 300000, "seconds": 30}')
    measures_file(folder, family, values, **more)
    return folder


def make_contest(folder: Path, seeds: int = 6) -> list[Path]:
    """Four families of known outcome: copier copies, dcgan beats gan, and the vae has the better recall than dcgan."""
    known = {"copier": (2, 0.5, 0.31), "dcgan": (6.2, 0.62, 0.012), "vae": (10.4, 0.81, 0.008), "gan": (24, 0.4, 0.01)}
    runs = []
    for family, (distance, recall, copied) in known.items():
        for seed in range(seeds):
            values = {"frechet_distance": distance + 0.1 * seed, "recall": recall + 0.004 * seed, "coverage": 0.7}
            values |= {"copied_share": copied + 0.001 * seed, "data_copying_ct": -1.5, "authenticity": 0.6}
            runs.append(light_run(folder / f"{family}-{seed}", family, seed, values))
    return runs


def write_figures(folder: Path, family: str, rng: np.random.Generator, names: tuple[str, ...]) -> None:
    pictures, _ = digits()
    real, fake = pictures[:64, None], blend(pictures[rng.permutation(320)[:64], None], 0.93, rng)
    arrays: dict[str, Any] = {"real": real, "shared_noise_samples": fake, "class_names": np.array(names)}
    arrays["class_counts_real"] = np.full(len(names), 1000)
    arrays["class_counts_fake"] = rng.multinomial(10_000, rng.dirichlet(np.full(len(names), 20.0)))
    arrays["nearest_training"] = pictures[100:116, None]
    arrays["nearest_samples"] = blend(pictures[100:116, None], 0.8, rng)
    arrays |= walk_arrays(family.startswith("vae"), len(names), rng)
    if family.startswith("vae"):
        labels = rng.integers(0, len(names), 2000)
        centres = rng.standard_normal((len(names), 20)) * np.geomspace(2, 0.05, 20)
        codes = (centres[labels] + 0.5 * rng.standard_normal((2000, 20))).astype(np.float32)
        centred = codes - codes.mean(0)
        _, s, v = np.linalg.svd(centred, full_matrices=False)
        arrays |= {"codes": codes, "code_labels": labels, "codes_pca": centred @ v[:2].T}
        arrays["codes_pca_explained"] = (s[:2] ** 2 / (s**2).sum()).astype(np.float32)
        for name in ("untrained", "pixels"):
            arrays[f"{name}_pca"] = rng.standard_normal((2000, 2)).astype(np.float32)
            arrays[f"{name}_pca_explained"] = np.array([0.2, 0.1], np.float32)
    np.savez(folder / "figures.npz", **arrays)


def walk_arrays(encodes: bool, classes: int, rng: np.random.Generator) -> dict[str, Any]:
    """Neighbours, walks and, of what encodes, a manifold and a confusion."""
    pictures, _ = digits()

    def some(*shape: int) -> np.ndarray:
        return blend(pictures[rng.integers(0, 320, shape)][..., None, :, :], 0.9, rng)

    found: dict[str, Any] = {"neighbour_samples": some(8), "path_noise": some(3, 2, 9), "path_free": np.array([20])}
    for name in ("features", "pixels"):
        found |= {f"neighbour_{name}": some(8, 3), f"neighbour_{name}_index": np.arange(24).reshape(8, 3)}
    found |= {"traversal_images": some(4, 7), "traversal_start": some(1 + encodes), "traversal_units": np.arange(4)}
    found["traversal_kind"] = np.array(["units" if encodes else "directions"])
    found |= {"traversal_steps": np.linspace(-3, 3, 7), "traversal_weight": np.array([0.9, 0.6, 0.1, 0.01])}
    found["path_noise_lengths"] = np.full((3, 2, 9), 4.5)
    if not encodes:
        missing = [["manifold", "its codes have 64 dimensions, not two"], ["confusion", "\x01it encodes no <images>"]]
        return found | {"figures_missing": np.array(missing)}
    found |= {"path_codes": some(2, 2, 9), "path_codes_ends": some(2, 2), "path_codes_lengths": np.full((2, 2, 9), 3.0)}
    found |= {"manifold": some(12, 12), "confusion_kind": np.array(["rebuilt"])}
    diagonal = np.eye(classes, dtype=np.int64)
    found["confusion"] = found["confusion_real"] = 91 * diagonal + 9 * np.roll(diagonal, 1, axis=1)
    return found


def report(out: Path, *runs: Path, title: str = "Four models on MNIST", command: str = "likelier compare") -> str:
    return write_report(runs, out, title=title, command=command).read_text()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four families, three seeds, and what goes wrong in practice: a collapse, a divergence, an interruption."""
    folder = tmp_path_factory.mktemp("comparison")
    runs = [make_run(folder / f"{family}-{seed}", family, seed) for family in PLAYERS for seed in range(3)]
    (folder / "gan-2/done").write_text(
        '{"status": "diverged", "images": 150016, "seconds": 30, "message": "loss is nan"}'
    )
    (folder / "gan-2/measures.json").unlink()
    (folder / "dcgan-1/done").unlink()
    measures = json.loads((folder / "vae-0/measures.json").read_text())
    measures["warnings"] = ["posterior collapse: 3 of 20 code dimensions are inactive"]
    (folder / "vae-0/measures.json").write_text(json.dumps(measures))
    command = "likelier compare --data mnist --families vae gan dcgan vae_gan --seeds 3 --images 300000"
    return write_report(runs, folder / "report.html", title="Four models on MNIST", command=command)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on the path, so the page cannot be looked at")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)  # a new, temporary profile
        yield browser
        browser.close()


class Visit:
    """A page opened from its file, with everything it said and asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = file.as_uri()
        self.page.goto(self.url)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def shown(self) -> list[str]:
        """The images seen of every frame that is visible."""
        visible = "images => images.filter(i => i.offsetParent).map(i => i.dataset.images)"
        return self.page.eval_on_selector_all(".frames img", visible)


POOR_CONTRAST = """() => {
  const light = rgb => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const parse = text => text.match(/[0-9.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
    }
  };
  const poor = [];
  for (const node of document.querySelectorAll('main *:not([aria-hidden])')) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
    const a = light(parse(getComputedStyle(node).color).slice(0, 3)), b = light(behind(node));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(node.className + ' ' + node.textContent.trim().slice(0, 30) + ' ' + ratio);
  }
  return poor;
}"""
"""Text with less than WCAG AA's 4.5 to the surface behind it."""


OUTCOMES = [
    "win dcgan beats gan; vae beats gan",
    "trade-off dcgan and vae",
    "disqualified copier copies, so it has not beaten dcgan, vae and gan",
]
"""Of the contest, in the lines of the first screen."""


@pytest.mark.parametrize(("seeds", "scheme"), [(5, "dark"), (3, "light")])
def test_verdicts_fit_a_phone(chromium: Any, tmp_path: Path, seeds: int, scheme: str) -> None:
    """The pairs are folded until they are asked for: with three seeds there can be none, with five a line tells all."""
    report(tmp_path / "report.html", *make_contest(tmp_path, seeds))
    with Visit(chromium, tmp_path / "report.html", 390, color_scheme=scheme) as visit:
        assert visit.page.get_by_text("The claims that can be tried on these runs").is_visible()  # folded, too
        pairs = visit.page.locator("#verdict .pairs .judgements li")
        assert pairs.count() == 6
        assert not pairs.first.is_visible()
        lines = visit.page.locator(".in-short li").all_inner_texts()
        assert [" ".join(line.split()) for line in lines] == (OUTCOMES if seeds >= 5 else [])
        visit.page.locator("#verdict .pairs > summary").press("Enter")
        assert pairs.first.is_visible()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.page.evaluate(POOR_CONTRAST) == []


def test_animation_by_slider_button_and_keyboard(comparison: Path, chromium: Any) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    with Visit(chromium, comparison) as visit:
        seek, play = visit.page.locator("#seek"), visit.page.locator("#play")
        assert visit.shown() == ["300032"] * 4  # one frame a family, the last
        seek.focus()
        visit.page.keyboard.press("ArrowLeft")
        assert visit.shown() == ["130944"] * 4
        visit.page.keyboard.press("Home")
        assert visit.shown() == ["0"] * 4
        seek.fill("3")
        assert visit.shown() == ["896"] * 4
        assert seek.get_attribute("aria-valuetext") == "896 images seen"
        play.focus()
        visit.page.keyboard.press("Space")
        assert play.inner_text() == "Pause"
        expect(seek).not_to_have_attribute("aria-valuetext", "896 images seen")
        visit.page.keyboard.press("Enter")
        assert play.inner_text() == "Play"
        seek.fill("10")
        play.click()
        expect(play).to_have_text("Play")  # it stops at the end
        assert visit.shown() == ["300032"] * 4


def test_nothing_moves_by_itself_and_pictures_need_no_script(comparison: Path, chromium: Any) -> None:
    with Visit(chromium, comparison, reduced_motion="reduce") as visit:
        assert visit.page.locator("#play").inner_text() == "Play"
        assert visit.shown() == ["300032"] * 4
    with Visit(chromium, comparison, java_script_enabled=False) as visit:
        assert not visit.page.locator("#play").is_visible()
        assert visit.page.locator(".frames img:visible").count() == 4


def test_policy_stops_foreign_scripts_styles_and_pictures(comparison: Path, chromium: Any, tmp_path: Path) -> None:
    html = comparison.read_text()
    assert re.search(r"default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-", html)
    assert "unsafe" not in html.split("</head>")[0].split("<style>")[0]
    assert not re.search(r"<[^>]+\s(?:style|on\w+)=", html.split("</style>")[1].split("<script>")[0])
    harmful = '<script>window.hit = 1</script><p id="red" style="color:red">x</p><img src="https://example.org/x.png">'
    file = tmp_path / "harmed.html"
    file.write_text(html.replace("</main>", harmful + "</main>"))
    with Visit(chromium, file) as visit:
        assert visit.page.evaluate("window.hit") is None
        assert visit.page.eval_on_selector("#red", "p => getComputedStyle(p).color") != "rgb(255, 0, 0)"
        assert len(visit.console) >= 3
        assert all("Content Security Policy" in text for text in visit.console)


def test_names_from_data_are_text(chromium: Any, tmp_path: Path) -> None:
    evil = "<script>window.hit=1</script>\x00"
    names = (evil, '"><img src=x onerror=alert(1)>', "$x^", "猫", *"456789")
    run = make_run(tmp_path / "vae", "vae", names=names)
    config = json.loads((run / "config.json").read_text())
    config["data"] = evil
    config["settings"][evil] = "</style><b>"
    (run / "config.json").write_text(json.dumps(config))
    html = report(tmp_path / "report.html", run, title=evil, command="a && b </code>\ud800")
    assert html.count("<script>") == 1
    with Visit(chromium, tmp_path / "report.html") as visit:
        assert visit.page.evaluate("window.hit") is None
        assert visit.console == []
        broken = "images => images.filter(i => !(i.complete && i.naturalWidth)).length"
        assert visit.page.eval_on_selector_all("img", broken) == 0
        assert "<script>window.hit=1</script>" in visit.page.locator(".legend").inner_text()


def text_of(html: str, section: str) -> str:
    """What a section of the page says, on one line."""
    start = html.index(f'<section id="{section}">')
    found = re.sub(r"<[^>]+>", " ", html[start : html.index('\n<section id="', start + 1)])
    return re.sub(r"\s+", " ", unescape(found))


def row_of(runs: list[Path], label: str) -> Row:
    """The row of the table with this label."""
    found = sections(group_runs([read_run(run) for run in runs]), Footnotes())
    return next(row for section in found for row in section.rows if row.label == label)


def test_table_tells_medians_ranges_and_reasons(comparison: Path) -> None:
    html = comparison.read_text()
    assert "No verdict until every run has ended and is measured: dcgan, seed 1, unfinished." in html
    assert "Median over seeds, their range beneath." in html
    assert "n = 2 of 3" in html  # the diverged seed has no figures, and is told
    assert "gan has no encoder" in html
    assert "diverged: loss is nan" in html
    assert "still training or interrupted" in html
    assert "posterior collapse: 3 of 20" in html
    rows = re.findall(r'<th scope="row">\s*<details class="term"><summary>([^<]+)', html)
    for first, second in pairwise(("Precision", "Recall", "Density", "Coverage")):
        assert rows.index(second) == rows.index(first) + 1
    assert rows.index("Fréchet distance, N → ∞") == rows.index("Fréchet distance") + 1
    frechet = html[html.index("Fréchet distance</summary>") :]
    frechet = frechet[: frechet.index("</tr>")]
    assert frechet.count('class="winner"') == 1
    assert frechet.count("noise ± 0.120") == 4  # half of the range
    assert "train–test" in frechet
    assert "other extractors mnist-cnn-v1-seed1-ef34ab, mnist-cnn-v1-seed2-56cd78 ;" in text_of(html, "measures")


def test_every_measure_has_its_place_and_its_explanation() -> None:
    placed = [key for keys in SECTIONS.values() for key in keys]
    assert sorted(placed) == sorted(MEASURES)
    assert MEASURES.keys() <= TERMS.keys()


def test_copying_convicts_and_does_not_rank(tmp_path: Path) -> None:
    row = row_of(make_contest(tmp_path, seeds=1), "Share of copies")
    assert not any(cell.best for cell in row.cells)
    assert row.direction == "up to 0.05 is allowed"
    assert {"copied_share", "authenticity", "data_copying_ct"} <= set(NEVER_BEST)


def test_five_seeds_have_an_interquartile_mean_and_four_a_median(tmp_path: Path) -> None:
    """A diverged run leaves four of gan: what it scored at its last checkpoint is in no centre."""
    values = {"vae": [3.1, 4.1, 5.1, 6.1, 20.1], "gan": [30.5, 31.5, 32.5, 39.5, 0.5]}
    runs = [
        light_run(tmp_path / f"{family}-{seed}", family, seed, {"frechet_distance": value, "missing_classes": seed % 2})
        for family, of_family in values.items()
        for seed, value in enumerate(of_family)
    ]
    (runs[-1] / "done").write_text('{"status": "diverged", "images": 9, "seconds": 1, "message": ""}')
    vae, gan = row_of(runs, "Fréchet distance").cells
    five = summarise(values["vae"])
    assert (vae.text, vae.details[0]) == (f"{five.centre:.2f}", f"{five.low:.2f} to {five.high:.2f}")
    assert (gan.text, gan.details[:2]) == ("32.00", ("30.50 to 39.50", "n = 4 of 5"))
    assert [cell.text for cell in row_of(runs, "Missing classes").cells] == ["0.3", "0.5"]  # a mean of counts is none
    assert "Interquartile mean over seeds, its 95% bootstrap interval beneath" in report(tmp_path / "a.html", *runs)
    for run in runs[5:]:
        (run / "done").write_text('{"status": "diverged", "images": 9, "seconds": 1, "message": ""}')
    assert "every run that was measured diverged" in report(tmp_path / "a.html", *runs)


def judgements(html: str) -> list[tuple[str, bool, str, dict[str, str]]]:
    """Outcome, whether it is preliminary, sentence and basis of every pair on the page."""
    section = html[html.index('<section id="verdict">') :].partition("</section>")[0]
    found = []
    for item in re.findall(r"<li>(.*?</dl>.*?)</li>", section[section.find('class="judgements"') :], re.DOTALL):
        outcomes = re.findall(r'class="outcome \w+">([^<]+)<', item)
        words = re.search(r"<p>(.*?)</p>", item, re.DOTALL)
        assert words
        basis = dict(re.findall(r"<dt>(.*?)</dt> <dd>(.*?)</dd>", item))
        found.append((outcomes[0], "preliminary" in outcomes, unescape(words[1]), basis))
    return found


def test_verdicts_stand_on_the_page_with_what_they_rest_on(tmp_path: Path) -> None:
    runs = make_contest(tmp_path)
    html = report(tmp_path / "report.html", *runs)
    found = judgements(html)
    assert [words for _, _, words, _ in found] == [verdict.words for verdict in standings_on(runs)[1]]
    outcomes = ["disqualified"] * 3 + ["trade-off", "win", "win"]
    assert [outcome for outcome, _, _, _ in found] == outcomes
    assert all(preliminary for _, preliminary, _, _ in found)
    assert "Of 6 pairs: 2 wins, 1 trade-off and 3 disqualifications." in html
    _, _, words, basis = found[4]
    assert words == "preliminary, 6 seeds: dcgan beats gan: FD 6.45 against 24.2 (p = .00649 over 6 seeds each)"
    assert basis == {
        "p, corrected": ".00649 (.00216 alone)",
        "gap of medians": "17.8",
        "noise": ".24",
        "other extractors": "both agree, no flip",
    }


def test_pairs_are_exploratory_unless_declared_before_training(tmp_path: Path) -> None:
    runs = make_contest(tmp_path, seeds=5)
    later = text_of(report(tmp_path / "report.html", *runs), "verdict")
    assert "Exploratory" in later
    assert "Declared before training" not in later
    write_report(runs, tmp_path / "report.html", title="", command="", declared=True)
    before = text_of((tmp_path / "report.html").read_text(), "verdict")
    assert "Declared before training" in before
    assert "Exploratory" not in before


def test_a_flip_of_an_extractor_is_named(tmp_path: Path) -> None:
    one, two = CONDITIONS["other_extractors"]
    for family, distance in (("vae", 4.0), ("gan", 8.0)):
        for seed in range(5):
            elsewhere = {one: 10 - distance, two: distance}
            values = {"frechet_distance": distance + seed / 10}
            light_run(tmp_path / f"{family}-{seed}", family, seed, values, elsewhere=elsewhere)
    (found,) = judgements(report(tmp_path / "report.html", *tmp_path.glob("*-*")))
    assert found[3]["other extractors"] == f"1 of 2 flips the order: {one}"


@pytest.mark.parametrize(
    ("seeds", "families", "change_one", "reason"),
    [
        (5, 1, None, "One family stands alone here"),
        (5, 2, ("config.json", "300000", "600000"), "No verdict: the budgets differ"),
        (5, 2, ("measures.json", '"format": 2', '"format": 1'), "No verdict until every run has ended and is measured"),
        (
            3,
            2,
            None,
            "these are figures and no verdict: 3 against 3 seeds cannot reach p < .05",
        ),
    ],
)
def test_where_there_is_no_verdict_the_page_says_why(
    tmp_path: Path, seeds: int, families: int, change_one: tuple[str, str, str] | None, reason: str
) -> None:
    runs = [run for run in make_contest(tmp_path, seeds) if run.name.split("-")[0] in ("vae", "gan")[:families]]
    if change_one is not None:
        file, old, new = change_one
        for run in runs[:seeds]:
            change(run / file, old, new)
    html = report(tmp_path / "report.html", *runs)
    assert reason in text_of(html, "verdict")
    assert {outcome for outcome, _, _, _ in judgements(html)} <= {"no verdict"}


def test_pairs_of_samples_and_training_images_are_shown_with_the_share_that_convicts(tmp_path: Path) -> None:
    runs = [light_run(tmp_path / f"vae-{s}", "vae", s, {"frechet_distance": 1, "copied_share": 0.01}) for s in (0, 1)]
    change_measure(runs[1], "copied_share", 0.2)
    for run in runs:
        pairs = blend(digits()[0][:32, None], 0.9, np.random.default_rng(0))
        np.savez(run / "figures.npz", nearest_samples=pairs[:16], nearest_training=pairs[16:])
    unknown = light_run(tmp_path / "gan", "gan", 0, {"frechet_distance": 1.0})
    copier = light_run(tmp_path / "copier", "copier", 0, {"frechet_distance": 1.0, "copied_share": 0.3})
    html = report(tmp_path / "report.html", *runs, copier, unknown)
    section = html[html.index('<section id="copies">') : html.index('<section id="training">')]
    assert re.findall(r'alt="(Pairs [^:]+): samples of (\w+), seed (\d)', section) == [
        ("Pairs 1 to 8", "vae", "1"),
        ("Pairs 9 to 16", "vae", "1"),
    ]
    assert section.count('class="outcome bad">copies<') == 2
    text = text_of(html, "copies")
    assert "seed 1, which has the most copies" in text
    assert "share of copies n/a, gan has no encoder" in text
    assert "share of copies 30.0% allowed 5% held-out images have 1.0%" in text
    assert "Pairs of samples and training images were not written when this run was measured." in text


def change_measure(run: Path, key: str, value: float) -> None:
    content = json.loads((run / "measures.json").read_text())
    next(m for m in content["measures"] if m["key"] == key)["value"] = value
    (run / "measures.json").write_text(json.dumps(content))


def test_measures_of_an_older_version_are_a_note(tmp_path: Path) -> None:
    run = light_run(tmp_path / "vae", "vae", 0, {"frechet_distance": 1.0})
    change(run / "measures.json", '"format": 2', '"format": 1')
    html = report(tmp_path / "report.html", run)
    assert "<strong>vae, seed 0</strong>: measured by an older version: `likelier measure` takes them again" in html
    assert "not measured: the table" not in html


def test_a_diverged_run_ranks_last(tmp_path: Path) -> None:
    """Two seeds of dcgan have the lower distance, but one of them diverged: vae is marked, not the survivor."""
    runs = [
        light_run(tmp_path / f"{family}-{seed}", family, seed, {"frechet_distance": QUALITY[family]})
        for family in ("vae", "dcgan")
        for seed in (0, 1)
    ]
    (runs[3] / "done").write_text('{"status": "diverged", "images": 9, "seconds": 1, "message": ""}')
    frechet = sections(group_runs([read_run(run) for run in runs]), Footnotes())[0].rows[0]
    assert [cell.best for cell in frechet.cells] == [True, False]


def stability_of(html: str) -> str:
    return html[html.index('<section id="stability">') : html.index('<section id="latent">')]


def test_stability_has_a_row_for_every_player_and_every_family(comparison: Path) -> None:
    section = stability_of(comparison.read_text())
    players, families = re.findall(r"<tbody>(.*?)</tbody>", section, re.DOTALL)
    players, families = (re.sub(' <span class="trouble">[^<]+</span>', "", part) for part in (players, families))
    found = re.findall(r'</span>(\w+)</span><span class="detail">(\w+)</span></th>', players)
    assert found == [(family, player) for family, names in PLAYERS.items() for player in names]
    assert re.findall(r"</span>(\w+)</span></th>", families) == list(PLAYERS)
    distances = QUALITY["vae_gan"] * (1 + np.exp(-np.array(POINTS[-5:]) / 9000))
    assert f"{distances.mean():.2f} ± {distances.std(ddof=1):.2f}" in families
    vae = families[: families.index("</tr>")]
    assert vae.count("n/a") == 2
    assert "no evaluation has d_pairwise: it takes a discriminator" in section
    assert "<strong>gan, seeds 0, 1 and 2</strong>: The discriminator has won" in section


def test_stability_shows_what_was_logged_and_no_more(tmp_path: Path) -> None:
    """Logs from before evaluations held distances, one of them too short for medians."""
    runs = [light_run(tmp_path / f"vae-{seed}", "vae", seed, {"frechet_distance": 1.0}) for seed in (0, 1)]
    for run, n in zip(runs, (200, 20), strict=True):
        falling = [{"images": 128 * t, "loss.vae": 1 / t, "grad_norm.vae": 1.0} for t in range(1, n + 1)]
        json_lines(run / "metrics.jsonl", falling)
    section = stability_of(report(tmp_path / "report.html", *runs))
    assert section.count("<table") == 1
    assert "n = 1 of 2" in section
    assert "<strong>vae, seed 0</strong>: vae is steady" in section
    for run in runs:
        json_lines(run / "metrics.jsonl", [{"images": 128, "loss.vae": 1.0}])
    section = stability_of(report(tmp_path / "report.html", *runs))
    assert "1 losses: wanted at least 60" in section
    assert "no finite grad_norm.vae was logged" in section
    for run in runs:
        json_lines(run / "metrics.jsonl", [])
    assert "Nothing was logged that would tell." in stability_of(report(tmp_path / "report.html", *runs))


def test_size(comparison: Path) -> None:
    assert comparison.stat().st_size < 8e6


def test_same_runs_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "gan", "gan")
    assert report(tmp_path / "a/report.html", run) == report(tmp_path / "b/report.html", run)
    figures = [{path.name: path.read_bytes() for path in (tmp_path / name / "figures").iterdir()} for name in "ab"]
    assert figures[0] == figures[1]


def test_refuses_what_is_no_run(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(InputError, match="no runs to report on"):
        report(out)
    with pytest.raises(InputError, match="does not exist"):
        report(out, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no config\.json"):
        report(out, tmp_path / "empty")
    run = make_run(tmp_path / "runs/vae", "vae")
    with pytest.raises(InputError, match="folder of runs"):
        report(out, tmp_path / "runs")
    with pytest.raises(InputError, match="wanted the name of a file"):
        report(tmp_path, run)
    with pytest.raises(InputError, match="wanted each run once"):
        report(out, run, run)
    (run / "config.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match="format 2"):
        report(out, run)
    (run / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        report(out, run)
    assert not out.exists()


def two_runs(folder: Path) -> list[Path]:
    """Two families measured under the same conditions, of which there are figures only."""
    runs = [light_run(folder / family, family, 0, {"frechet_distance": QUALITY[family]}) for family in ("vae", "gan")]
    for run in runs:
        write_environment(run)
    return runs


def change(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("environment.json", "6e2b", "7f3c", "data_digest is"),
        ("measures.json", "10000,", "5000,", "n is 10000 in the first and 5000"),
        ("measures.json", '"6e2b', '"7f3c', "data_digest is"),
        ("measures.json", '"extractor": "mnist', '"extractor": "other', "extractor is"),
        ("measures.json", '"reference": "train"', '"reference": "test"', "reference is"),
        ("measures.json", '"u8"', '"f32"', "quantisation is"),
        ("measures.json", '"neighbours": 5', '"neighbours": 3', "neighbours is 5 in the first and 3"),
        ("measures.json", "_u8", "_f32", "frechet_distance is"),
    ],
)
def test_refuses_figures_of_different_conditions(tmp_path: Path, file: str, old: str, new: str, reason: str) -> None:
    first, second = two_runs(tmp_path)
    change(second / file, old, new)
    with pytest.raises(InputError, match=re.escape(reason)):
        report(tmp_path / "report.html", first, second)


def test_other_extractors_may_differ(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    change(second / "measures.json", "mnist-cnn-v1-seed2-56cd78", "another")
    assert "vae" in report(tmp_path / "report.html", first, second)


def test_the_same_images_under_another_name_compare(tmp_path: Path) -> None:
    first, second = two_runs(tmp_path)
    change(second / "config.json", '"mnist"', '"/elsewhere/mnist"')
    assert "vae" in report(tmp_path / "report.html", first, second)


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"format": 1, "measures": [{"value": "x"}]}', "\x00\xff"])
def test_broken_files_become_notes(tmp_path: Path, broken: str) -> None:
    run = make_run(tmp_path / "vae", "vae")
    optional = [file for file in run.rglob("*") if file.is_file() and file.name != "config.json"]
    for file in optional:
        file.write_text(broken)
    assert "cannot be used" in report(tmp_path / "report.html", run)


def test_bare_run_renders(tmp_path: Path) -> None:
    """A run of which nothing is left but its configuration: one family, one seed, unfinished, not measured."""
    run = make_run(tmp_path / "vae", "vae")
    for file in run.iterdir():
        if file.name != "config.json":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    html = report(tmp_path / "report.html", run)
    for note in ("metrics.jsonl is missing", "still training or interrupted", "not measured", "No losses were logged"):
        assert note in html


def test_log_being_written_is_read_up_to_there(tmp_path: Path) -> None:
    run = make_run(tmp_path / "gan", "gan")
    whole = read_run(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"images": 300032, "loss.gen')
    assert len(read_run(run).training) == len(whole.training)
    assert read_run(run).notes == ()


def test_diverged_losses_and_many_classes_are_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "vae", "vae", names=tuple(f"class number {k}" for k in range(40)))
    json_lines(run / "metrics.jsonl", [{"images": n, "loss.vae": float("nan") if n > 2 else 1e30} for n in range(1, 9)])
    html = report(tmp_path / "report.html", run)
    assert "30 other classes" in html


def test_augmentation_tells_runs_of_one_family_apart(tmp_path: Path) -> None:
    plain, shifted = (light_run(tmp_path / name, "gan", 0, {"frechet_distance": 1.0}) for name in ("plain", "shifted"))
    config = json.loads((shifted / "config.json").read_text())
    (shifted / "config.json").write_text(json.dumps({**config, "augment": ["shift", "flip"]}))
    page = report(tmp_path / "report.html", plain, shifted)
    assert "gan (augment unset)" in page
    assert "gan (augment shift, flip)" in page


def test_mixed_precision_tells_runs_of_one_family_apart(tmp_path: Path) -> None:
    plain, mixed = (light_run(tmp_path / name, "gan", 0, {"frechet_distance": 1.0}) for name in ("plain", "mixed"))
    config = json.loads((mixed / "config.json").read_text())
    (mixed / "config.json").write_text(json.dumps({**config, "mixed_precision": True}))
    page = report(tmp_path / "report.html", plain, mixed)
    assert "gan (mixed precision unset)" in page
    assert "gan (mixed precision on)" in page


def test_settings_tell_runs_of_one_family_apart(tmp_path: Path) -> None:
    """A median over seeds of different settings would be a number of nothing."""
    first, second = (light_run(tmp_path / name, "vae", 0, {"frechet_distance": 1.0}) for name in "ab")
    change(first / "config.json", "{}", '{"latent": 20}')
    change(second / "config.json", "{}", '{"latent": 2}')
    groups = group_runs([read_run(first), read_run(second)])
    assert [group.label for group in groups] == ["vae (latent 20)", "vae (latent 2)"]
    assert all(len(pair) == 2 for pair in FAMILY_COLOURS)


def test_what_reads_like_the_best_is_marked_with_it(tmp_path: Path) -> None:
    """A digit that nobody sees tells no two models apart."""
    known = {"vae": 6.21, "dcgan": 6.2100001, "gan": 31.0}
    runs = [light_run(tmp_path / family, family, 0, {"frechet_distance": value}) for family, value in known.items()]
    frechet = sections(group_runs([read_run(run) for run in runs]), Footnotes())[0].rows[0]
    assert [cell.best for cell in frechet.cells] == [True, True, False]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on five seeds of the lab's VAE and of its GAN, whose codes have baselines."""
    folder = tmp_path_factory.mktemp("tested")
    runs = [make_run(folder / f"{family}-{seed}", family, seed) for family in ("vae", "gan") for seed in range(5)]
    for run in runs[:5]:
        measures = json.loads((run / "measures.json").read_text())
        for measure in measures["measures"]:
            if measure["key"].startswith("silhouette"):
                measure["floor"] = {"raw pixels": -0.2, "untrained encoder": 0.01}
        (run / "measures.json").write_text(json.dumps(measures))
    return write_report(runs, folder / "report.html", title="The lab", command="likelier compare vae gan --seeds 5")


def test_claims_are_told_with_what_decides_them(tested: Path) -> None:
    section = text_of(tested.read_text(), "claims")
    assert "Of 8 tests: 4 hold, 3 do not hold and 1 cannot be said." in section
    assert "holds ■ vae silhouette above the highest bar .0" in section
    assert re.search(r"\[.0\d+ to .0\d+; 94% interval\], wanted above 0", section)
    assert "does not hold ■ vae silhouette above the highest bar −.0" in section  # in the plane
    assert "holds ■ vae against ■ gan preliminary, 5 seeds: vae beats gan" in section
    assert (
        "No run here speaks about: The modified GAN is better than the first (wanted gan, and dcgan or r3gan)."
        in section
    )


def test_claims_of_few_seeds_say_once_why_nothing_can_be_said(comparison: Path, tmp_path: Path) -> None:
    report(tmp_path / "report.html", *make_contest(tmp_path, 3))
    section = text_of((tmp_path / "report.html").read_text(), "claims")
    assert section.count("3 seeds, and 5 or more are wanted") == 1
    alone = claims_section(group_runs([read_run(comparison.parent / "vae-1")]))
    assert alone and alone.folded  # it is not the question of the lab
    assert not alone.untried
    with_nothing = comparison.parent / "gan-1"
    config = json.loads((with_nothing / "config.json").read_text())
    shutil.copytree(with_nothing, tmp_path / "bare", ignore=shutil.ignore_patterns("metrics.jsonl", "samples"))
    (tmp_path / "bare/config.json").write_text(json.dumps(config | {"family": "bare"}))
    (tmp_path / "bare/figures.npz").unlink()
    assert '<section id="claims">' not in report(tmp_path / "bare.html", tmp_path / "bare")


@pytest.mark.parametrize(
    "shape", [None, [], [1, 28], [1, 0, 28], [1, "28", 28], [1, 1e400, 28], [1, 27, 27], [3, 28, 28]]
)
def test_claims_of_pictures_that_are_not_what_they_should_be(tmp_path: Path, shape: Any) -> None:
    run = make_run(tmp_path / "vae", "vae")
    config = json.loads((run / "config.json").read_text()) | {"shape": shape}
    (run / "config.json").write_text(json.dumps(config))
    Image.new("RGB", (280, 31)).save(run / "reconstructions/0000300032.png")  # cannot be halved into rows
    (run / "metrics.jsonl").write_text(
        '{"images": 1, "loss.vae": null}\n{"images": 0, "evaluation": true, "mse": "x"}\n'
    )
    claims = claims_section(group_runs([read_run(run)]))
    assert claims and claims.lead.startswith("Nothing can be said of any of them yet")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_claims_fit_and_explain_themselves(tested: Path, chromium: Any, width: int, scheme: str) -> None:
    with Visit(chromium, tested, width, color_scheme=scheme) as visit:
        how = visit.page.locator("#claims .claim > .term > summary")
        assert how.count() == visit.page.locator("#claims h3").count() == 8
        how.first.press("Enter")
        assert visit.page.get_by_text("By the silhouette of the classes").is_visible()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate(POOR_CONTRAST) == []
        assert visit.console == []
