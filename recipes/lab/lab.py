"""The lab report again, by one command: its models are trained, its figures drawn, its claims tested.

    LIKELIER_DATA=DATA python recipes/lab/lab.py --data mnist --out lab
    python recipes/lab/lab.py --data digits --epochs 50 --out lab-digits

OUT then holds the figures 1a (samples of the VAE), 1b (its latent space by class), 1c (the PCA of that), 2 (the first
GAN: samples and losses over training) and 3 (the modified GAN, likewise), each as PNG with its data as CSV;
`claims.md`, the claims as a table; and `comparison/`, the runs with their report. What is there is not made again, so
that the same command goes on with what was stopped. Seeds are 0, 1, 2 and so on; figures are of seed 0.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import likelier
from likelier import InputError
from likelier.claims import Half, Judged
from likelier.comparison import Comparison, Silence, read_plan, resume_comparison
from likelier.files import write_atomically
from likelier.report.reading import Frame, Run, read_run
from likelier.texture import cut
from likelier.verdict import short

FIRST, VAE = "gan", "vae"
MOMENTS, SHOWN = 6, 10
"""Rows of samples over training, and samples in each."""


class Printed(Silence):
    """Says what is being done, a line each."""

    def stage(self, name: str) -> None:
        """A step without a measure of its own."""
        print(name, flush=True)

    def training(self, name: str, number: int, of: int) -> None:
        """Which run of how many."""
        print(f"({number} of {of}) training {name}", flush=True)

    def note(self, text: str) -> None:
        """What should be read now."""
        print(text, flush=True)


def trained(options: argparse.Namespace) -> Comparison:
    """All runs, with their measures and the report: made, gone on with, or as they are."""
    path, models = options.out / "comparison", dict.fromkeys((VAE, FIRST, options.modified, *options.also))
    if not (path / "compare.json").is_file():
        # The lab's variance of ½ was chosen with 784 pixels; on the 64 of digits it would hardly ask for a likeness.
        settings = {"vae.variance": 0.05} if options.data == "digits" else {}
        budget = {"images": options.images} if options.images else {"epochs": options.epochs}
        return likelier.compare(
            list(models), options.data, seeds=options.seeds, out=path, settings=settings, audience=Printed(), **budget
        )
    plan = read_plan(path / "compare.json")
    there = (plan["data"], list(plan["models"]), len(plan["seeds"]), plan["images"] or plan["epochs"])
    own = str(Path(options.data).resolve())  # a set of one's own is known by its full path
    asked = (
        own if own == plan["data"] else options.data,
        list(models),
        options.seeds,
        options.images or options.epochs,
    )
    if there != asked:
        raise InputError(
            f"{path} holds {there} and not {asked} (data, models, seeds, budget): name another folder with --out"
        )
    return resume_comparison(path, audience=Printed())


def run_of(comparison: Comparison, family: str) -> Run:
    """The run of the first seed."""
    return next(
        read_run(run.path)
        for run, model in zip(comparison.runs, comparison.models, strict=True)
        if model.family == family
    )


def pictures_of(run: Run, frame: Frame) -> np.ndarray:
    """The images of a picture of samples, [n, h, w, c]."""
    found = None if run.shape is None else cut(frame.pixels, *run.shape[1:])
    if found is None:
        raise InputError(f"{run.path}/samples holds pictures of another size than its images: train it again")
    return found


def in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Images as one picture, with a line of white between them."""
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    n, h, w, c = padded.shape
    return padded.reshape(n // columns, columns, h, w, c).swapaxes(1, 2).reshape(n // columns * h, columns * w, c)


def show(axes: Any, picture: np.ndarray) -> None:
    """Pixels as they are."""
    axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def kept(figure: Figure, path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A figure as PNG, and its data as CSV beside it."""
    figure.savefig(path.with_suffix(".png"), dpi=150)
    plt.close(figure)
    table(path, header, rows)


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Data as CSV."""
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def samples(run: Run, path: Path) -> None:
    """1a: the samples of the last look."""
    images = pictures_of(run, run.samples[-1])
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    show(axes, in_rows(images, 8))
    axes.set_title(f"{run.family}: samples after {run.samples[-1].images:,} images")
    pixels = [f"pixel_{i}" for i in range(images[0].size)]
    kept(figure, path, ["sample", *pixels], ([i, *image.ravel()] for i, image in enumerate(images)))


def plane(run: Run, points: np.ndarray, names: Sequence[str], path: Path) -> None:
    """1b and 1c: the codes of test images in a plane, coloured by class."""
    labels = run.figures["code_labels"]
    classes = [str(name) for name in run.figures["class_names"]]
    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    for k in np.unique(labels):
        axes.scatter(*points[labels == k].T, s=5, color=plt.get_cmap("tab10")(k % 10), label=classes[k])
    axes.set(xlabel=names[0], ylabel=names[1], title=f"{run.family}: codes of {len(points):,} test images")
    axes.legend(markerscale=2, fontsize=8, ncols=1 + len(classes) // 25)
    kept(figure, path, [*names, "class"], ([x, y, classes[k]] for (x, y), k in zip(points, labels, strict=True)))


def latent(run: Run, out: Path) -> None:
    """1b: the two dimensions of the largest variance. 1c: the two principal components."""
    codes = run.figures["codes"]
    widest = np.argsort(-codes.var(axis=0), kind="stable")[:2]
    plane(run, codes[:, widest], [f"dimension {k + 1}" for k in widest], out / "figure-1b")
    shares = run.figures["codes_pca_explained"]
    names = [f"component {i + 1} ({100 * shares[i]:.0f}% of the variance)" for i in (0, 1)]
    plane(run, run.figures["codes_pca"][:, :2], names, out / "figure-1c")


def game(runs: Sequence[Run], path: Path) -> None:
    """2 and 3: samples of a GAN at points in its training, and the losses of both players; other seeds are faint."""
    first = runs[0]
    places = np.unique(np.linspace(0, len(first.samples) - 1, MOMENTS).round().astype(int))
    frames = [first.samples[i] for i in places]
    rows = [pictures_of(first, frame)[:SHOWN] for frame in frames]
    figure, (top, below) = plt.subplots(2, 1, figsize=(7, 9), layout="constrained", height_ratios=(3, 2))
    show(top, in_rows(np.concatenate(rows), SHOWN))
    height = top.get_ylim()[0] / len(frames)
    top.set_yticks([(i + 0.5) * height for i in range(len(frames))], [f"{frame.images:,}" for frame in frames])
    top.set(title=f"{first.family}: samples by images seen", ylabel="images seen")
    losses = []
    for run in reversed(runs):
        for player, colour in zip(run.players, ("C0", "C1", "C2"), strict=False):
            points = [(line["images"], line[f"loss.{player}"]) for line in run.training if f"loss.{player}" in line]
            seed_0 = run is first
            style = {"lw": 1.2, "label": player} if seed_0 else {"lw": 0.6, "alpha": 0.25}
            below.plot(*zip(*points, strict=True), color=colour, **style)
            losses += [[run.seed, player, int(images), loss] for images, loss in points]
    below.set(xlabel="images seen", ylabel="loss")
    below.legend()
    kept(figure, path, ["seed", "player", "images", "loss"], losses)
    pixels = [f"pixel_{i}" for i in range(rows[0][0].size)]
    data = ([f.images, i, *x.ravel()] for f, images in zip(frames, rows, strict=True) for i, x in enumerate(images))
    table(path.with_name(f"{path.name}-samples"), ["images", "sample", *pixels], data)


def claims_table(claims: Sequence[Judged]) -> str:
    """The claims in Markdown: whom each is about, what was measured, what was wanted, and what came of it."""
    lines = ["| claim | of | measured | wanted | outcome |", "|---|---|---|---|---|"]
    for each in claims:
        for found in each.findings:
            values = "<br>".join(f"{half.name}: {measured(half)}" for half in found.halves)
            wanted = "<br>".join(f"{half.wanted} {short(half.bar)}" for half in found.halves)
            reason = f": {found.reason}" if found.reason else ""
            of = " against ".join(f"`{name}`" for name in found.models)
            lines.append(f"| {each.claim.sentence} | {of} | {values} | {wanted} | **{found.outcome}**{reason} |")
        if not each.findings:
            lines.append(f"| {each.claim.sentence} | | | | not tried: wanted {each.claim.about} |")
    tested = sum(len(each.findings) for each in claims)
    lines += [
        "",
        f"{tested} tests, each half of each at 5% by itself; the verdicts are corrected for the number of their pairs.",
    ]
    return "\n".join(lines) + "\n"


def measured(half: Half) -> str:
    """Median and exact interval over the seeds, as far as there is one."""
    if half.interval is not None:
        return f"{short(half.interval.centre)} [{short(half.interval.low)}, {short(half.interval.high)}]"
    return f"{short(float(np.median(half.values)))}" if half.values else "n/a"


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist", help="an image set with classes (mnist)")
    parser.add_argument("--epochs", type=float, default=5, help="of each run (5)")
    parser.add_argument("--images", type=int, help="in place of epochs")
    parser.add_argument(
        "--seeds", type=int, default=5, help="runs of each model; with fewer than 5 nothing can be said"
    )
    parser.add_argument("--modified", default="dcgan", choices=("dcgan", "r3gan"), help="the GAN of figure 3 (dcgan)")
    parser.add_argument("--also", nargs="*", default=["r3gan"], help="families that only the claims are about (r3gan)")
    parser.add_argument("--out", type=Path, default=Path("lab"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not there yet, then draw."""
    options = options_of(arguments)
    comparison = trained(options)
    vae = run_of(comparison, VAE)
    samples(vae, options.out / "figure-1a")
    latent(vae, options.out)
    for number, family in ((2, FIRST), (3, options.modified)):
        pairs = zip(comparison.runs, comparison.models, strict=True)
        game([read_run(run.path) for run, model in pairs if model.family == family], options.out / f"figure-{number}")
    write_atomically(options.out / "claims.md", claims_table(comparison.claims).encode())
    print(f"{options.out}: figures 1a, 1b, 1c, 2 and 3, claims.md, and {comparison.report}")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"lab: {error}")
    except KeyboardInterrupt:
        sys.exit("lab: stopped; the same command goes on")
