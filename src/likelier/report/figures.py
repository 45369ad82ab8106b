"""Curves, scatters and histograms as SVG, in the inks of light pages and in those of dark ones.

`matplotlib.figure.Figure` is used by itself, never pyplot: no state outlives a call.
"""

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from likelier.report.data import Data
from likelier.report.pixels import data_uri
from likelier.report.reading import Array

Points = tuple[Sequence[float], Sequence[float]]
"""x and y of a curve."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Theme:
    """The inks of one colour scheme; `index` picks from pairs of colours (light, dark)."""

    index: int
    ink: str
    muted: str
    rule: str
    surface: str


THEMES = (
    Theme(0, ink="#1a1d21", muted="#59616b", rule="#d9dde2", surface="#ffffff"),
    Theme(1, ink="#e6e8eb", muted="#a3abb5", rule="#363c44", surface="#15181c"),
)

FAMILY_COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8f45"),
    ("#00805e", "#3ecf9f"),
    ("#a3457f", "#e79ac8"),
    ("#7d6b00", "#d8c44e"),
    ("#5b4bb5", "#a99cf0"),
    ("#8a3b2a", "#d99080"),
    ("#4d565f", "#b4bcc5"),
)
"""Okabe and Ito's colours first: told apart with every kind of colour vision. Pairs for light and dark pages."""

# Petroff's ten (arXiv 2107.02270), chosen for colour-blind readers; lightened where a dark page asks for it.
CLASS_COLOURS = (
    ("#3f90da", "#5aa5ea"),
    ("#e89400", "#ffb733"),
    ("#bd1f01", "#ee5a3e"),
    ("#94a4a2", "#b3c2c0"),
    ("#832db6", "#b674e6"),
    ("#a96b59", "#c48d7c"),
    ("#e76300", "#ff8632"),
    ("#a39750", "#d3c78e"),
    ("#5d616e", "#868b9b"),
    ("#4fb3b9", "#92dadd"),
)
_DARK = {
    light.encode(): dark.encode()
    for light, dark in (
        *FAMILY_COLOURS,
        *CLASS_COLOURS,
        *((getattr(THEMES[0], name), getattr(THEMES[1], name)) for name in ("ink", "muted", "rule", "surface")),
    )
}
"""Each light colour's dark one: no two of the light ones are equal."""
CLASS_MARKS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"))
"""Marks of the figure and of its legend: a second sign beside the colour."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "likelier",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.parse_math": False,  # a class may be called "$"
}
PANEL = (3.6, 2.5)
"""Inches: every figure has this size, so that the page can set them in columns."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
_LARGE = (5.4, 3.5)
"""Inches of a figure that holds every model: two of them stand side by side."""
_DPI = 220
_LEGEND = 24
"""Models that a legend has room for."""
_COLOURS = 128
"""Of the points of a scatter, with all their overlaps."""
_MANY = 24
"""More classes than this are no longer named on an axis."""
_NUMBERED = 12
"""More classes than this have no numbers in a confusion matrix."""


@dataclass(frozen=True)
class Picture:
    """A figure for light and for dark pages, as data URIs, and what it shows in words.

    As a file it is called `name` among those of its section and model; `png` is the light one, on white, and
    `files` are the names of its files, once they have some. The page shows it `width` × `height` CSS pixels large.
    """

    light: str
    dark: str
    alt: str
    name: str = ""
    data: Data | None = None
    png: bytes = b""
    width: int = 360
    height: int = 250
    files: tuple[str, ...] = ()


def loss_curves(
    curves: Sequence[Points], seeds: Sequence[int], seen: Sequence[float], colour: int, player: str, alt: str
) -> Picture:
    """The loss of one player: the first curve in full (mean and range of short stretches), the others faint."""

    def paint(axes: Axes, theme: Theme) -> None:
        ink = _family(colour, theme)
        for x, y in curves[1:]:
            centre, mean, _, _ = stretches(x, y)
            axes.plot(centre, mean, color=ink, alpha=0.35, linewidth=0.8)
        centre, mean, low, high = stretches(*curves[0])
        axes.fill_between(centre, low, high, color=ink, alpha=0.22, linewidth=0)
        axes.plot(centre, mean, color=ink, linewidth=1.4)
        _images_axis(axes, seen)
        _value_axis(axes, [low, high])
        axes.set_ylabel(f"loss of {player}")

    drawn = zip(seeds, (stretches(*curve) for curve in curves), strict=True)
    rows = [[seed, *row] for seed, columns in drawn for row in zip(*columns, strict=True)]
    data = Data(["seed", "images seen", f"loss of {player}, mean", "least", "greatest"], rows)
    return _picture(paint, alt, player, data)


def bound_curves(
    held_out: Sequence[Points],
    seeds: Sequence[int],
    training: Points | None,
    seen: Sequence[float],
    colour: int,
    alt: str,
) -> Picture:
    """The ELBO on held-out images (dots), and over the training batches where it was logged (line)."""

    def paint(axes: Axes, theme: Theme) -> None:
        ink = _family(colour, theme)
        if training is not None:
            centre, mean, low, high = stretches(*training)
            axes.fill_between(centre, low, high, color=ink, alpha=0.22, linewidth=0)
            axes.plot(centre, mean, color=ink, linewidth=1.4, label="training batches")
        for x, y in held_out[1:]:
            axes.plot(x, y, color=theme.ink, alpha=0.3, linewidth=0.8)
        x, y = held_out[0]
        axes.plot(
            x, y, color=theme.ink, linewidth=0.9, linestyle=":", marker="o", markersize=3.4, label="held-out images"
        )
        _images_axis(axes, seen)
        axes.set_ylabel("ELBO (nats per image)")
        axes.legend(loc="lower right", frameon=False, labelcolor=theme.ink, fontsize=8)

    rows: list[list[Any]] = [
        [f"held-out images, seed {seed}", x, y, "", ""]
        for seed, curve in zip(seeds, held_out, strict=True)
        for x, y in zip(*curve, strict=True)
    ]
    rows += [["training batches", *row] for row in zip(*stretches(*(training or ((), ()))), strict=True)]
    data = Data(["curve", "images seen", "ELBO in nats per image, mean", "least", "greatest"], rows)
    return _picture(paint, alt, "elbo", data)


def code_scatter(
    points: Array, classes: Array, names: Sequence[str], labels: tuple[str, str], name: str, alt: str
) -> Picture:
    """Codes [m, 2] coloured by class; `classes` holds an index into `names`, −1 for the classes not named."""

    def paint(axes: Axes, theme: Theme) -> None:
        rest = points[classes < 0]
        dots: dict[str, Any] = {"s": 7, "linewidths": 0, "rasterized": True}
        axes.scatter(rest[:, 0], rest[:, 1], color=theme.muted, alpha=0.35, **dots)
        for k in range(len(names)):
            member, colour = points[classes == k], CLASS_COLOURS[k % 10][theme.index]
            axes.scatter(member[:, 0], member[:, 1], color=colour, marker=CLASS_MARKS[k % 5][0], alpha=0.75, **dots)
        for k, name in enumerate(names):
            _name_cluster(axes, points[classes == k], name, theme)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))

    rows = [[x, y, names[k] if k >= 0 else "another"] for (x, y), k in zip(points, classes, strict=True)]
    return _picture(paint, alt, name, Data([*labels, "class"], rows))


def class_histogram(fake: Array, real: Array, names: Sequence[str], top: float, colour: int, alt: str) -> Picture:
    """Shares of the classes among samples (bars) and in the data (marks); sorted and unnamed if there are many.

    `top` is the greatest share that all histograms of the page have to hold.
    """
    order = np.arange(len(names)) if len(names) <= _MANY else np.argsort(-real, kind="stable")
    shares = [100 * counts[order] / max(1, counts.sum()) for counts in (fake, real)]

    def paint(axes: Axes, theme: Theme) -> None:
        x = np.arange(len(order))
        axes.bar(x, shares[0], width=0.72, color=_family(colour, theme), alpha=0.85, linewidth=0, label="samples")
        axes.hlines(shares[1], x - 0.44, x + 0.44, color=theme.ink, linewidth=1.4, label="data")
        axes.set_ylim(0, 1.25 * max(1.0, 100 * top))  # room for the legend
        axes.set_yticks([tick for tick in MaxNLocator(5).tick_values(0, 100 * top) if tick <= 100])
        axes.set_ylabel("share (%)")
        axes.legend(loc="upper right", ncols=2, frameon=False, labelcolor=theme.ink, fontsize=8)
        _class_axis(axes, names)

    columns = ["class", "samples", "training images", "share of samples (%)", "share of training images (%)"]
    rows = [[names[k], fake[k], real[k], *(of[i] for of in shares)] for i, k in enumerate(order)]
    return _picture(paint, alt, "", Data(columns, rows))


@dataclass(frozen=True)
class Course:
    """How a model fared: the curve of each seed, the one through the middle of them, and where seeds diverged."""

    label: str
    colour: int
    seeds: Sequence[int]
    curves: Sequence[Points]
    middle: Points
    ends: Points


def quality_curves(courses: Sequence[Course], axis: str, floor: float | None, name: str, alt: str) -> Picture:
    """The Fréchet distance of every model over images or seconds: seeds faint, a cross at an end.

    `floor` is what real images have of it, if that is known.
    """
    places = sorted({x for course in courses for xs, _ in course.curves for x in xs})

    def paint(axes: Axes, theme: Theme) -> None:
        for k, course in enumerate(courses):
            style: dict[str, Any] = {"color": _family(course.colour, theme), "marker": CLASS_MARKS[k % 5][0]}
            for x, y in course.curves if len(course.curves) > 1 else ():
                axes.plot(x, y, color=style["color"], alpha=0.45, linewidth=0.8)
            lines = "--" if k >= len(FAMILY_COLOURS) else "-"
            axes.plot(*course.middle, **style, markersize=3.4, linewidth=1.5, linestyle=lines, label=course.label)
            axes.plot(*course.ends, color=theme.ink, marker="X", markersize=6, linestyle="", zorder=3)
        if floor is not None:
            axes.axhline(floor, color=theme.muted, linewidth=1, linestyle=":", label="real images")
        _log_axis(axes, places or [0.0, 1.0], axis, clock if axis.startswith("seconds") else compact)
        floors = [] if floor is None else [floor]
        _value_axis(axes, [np.array([y for course in courses for _, ys in course.curves for y in ys] + floors)])
        axes.set_ylabel("Fréchet distance at the looks")
        if len(courses) <= _LEGEND:
            axes.figure.legend(
                loc="outside lower center", ncols=4, frameon=False, labelcolor=theme.ink, fontsize=8, handlelength=1.6
            )

    rows = [
        [course.label, seed, x, y]
        for course in courses
        for seed, curve in zip(course.seeds, course.curves, strict=True)
        for x, y in zip(*curve, strict=True)
    ]
    data = Data(["model", "seed", axis, "Fréchet distance"], rows)
    return _picture(paint, alt, name, data, _LARGE)


def confusion_matrix(counts: Array, names: Sequence[str], labels: tuple[str, str], colour: int, alt: str) -> Picture:
    """Which class is taken for which: each row of counts [wanted, seen] in per cent of itself, as shades and numbers.

    `labels` are those of the rows and of the columns; rows without an image stay empty.
    """
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    named = len(counts) <= _NUMBERED

    def paint(axes: Axes, theme: Theme) -> None:
        shades = LinearSegmentedColormap.from_list("shares", [theme.surface, _family(colour, theme)])
        axes.grid(visible=False)
        axes.imshow(shares, cmap=shades, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
        for wanted, seen in np.argwhere(shares >= 0.5).tolist() if named else []:
            dark = shares[wanted, seen] > 50
            ink = theme.surface if dark else theme.ink
            axes.text(
                seen,
                wanted,
                f"{shares[wanted, seen]:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color=ink,
                in_layout=False,
            )
        short = [name if len(name) <= 8 else name[:7] + "…" for name in names] if named else []
        axes.set_xticks(range(len(short)), short, rotation=60 if sum(map(len, short)) > 40 else 0)
        axes.set_yticks(range(len(short)), short)
        axes.tick_params(length=0)
        axes.set_ylabel(labels[0])
        axes.set_xlabel(labels[1])

    rows = [[names[i], names[j], counts[i, j]] for i in range(len(counts)) for j in range(len(counts))]
    return _picture(paint, alt, "", Data([labels[0], "class seen", "images"], rows))


def stretches(x: Sequence[float], y: Sequence[float], most: int = 160) -> tuple[Floats, Floats, Floats, Floats]:
    """Centre, mean, least and greatest value of a curve over at most `most` stretches of equal width on a log axis.

    Values that are not finite are left out, so a diverged loss ends where it left the numbers.

    >>> [list(map(float, part)) for part in stretches([1, 10, 10], [5.0, 1.0, 3.0])]
    [[1.0, 10.0], [5.0, 2.0], [5.0, 1.0], [5.0, 3.0]]
    """
    position, value = np.asarray(x, np.float64), np.asarray(y, np.float64)
    keep = np.isfinite(value)
    position, value = position[keep], value[keep]
    if len(value) == 0:
        return position, value, value, value
    log = np.log(np.maximum(position, 1))
    width = max(float(log.max() - log.min()) / most, 1e-9)
    _, where = np.unique(np.floor((log - log.min()) / width), return_inverse=True)
    n = np.bincount(where)
    low, high = np.full(len(n), np.inf), np.full(len(n), -np.inf)
    np.minimum.at(low, where, value)
    np.maximum.at(high, where, value)
    return np.bincount(where, position) / n, np.bincount(where, value) / n, low, high


def _picture(
    paint: Callable[[Axes, Theme], None],
    alt: str,
    name: str = "",
    data: Data | None = None,
    size: tuple[float, float] = PANEL,
) -> Picture:
    """Draw for the light theme, and for the dark one again only where more than inks differ, that is, with pixels."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in Chinese is missing in DejaVu Sans only; the reader's browser has it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = _painted(paint, THEMES[0], size)
        ConstrainedLayoutEngine().execute(figure)
        light, png = _svg(figure), _png(figure)
        if b"<image" in light:
            again = _painted(paint, THEMES[1], size)
            again.axes[0].set_position(figure.axes[0].get_position())
            dark = _svg(again)
        else:
            dark = in_dark(light)
    width, height = (round(100 * inches) for inches in size)
    on_light, on_dark = (data_uri(svg, "image/svg+xml") for svg in (light, dark))
    return Picture(on_light, on_dark, alt, name, data, png, width, height)


def _painted(paint: Callable[[Axes, Theme], None], theme: Theme, size: tuple[float, float]) -> Figure:
    """A figure of one plot, not yet laid out."""
    figure = Figure(figsize=size, dpi=_DPI)
    axes = figure.subplots()
    _dress(axes, theme)
    paint(axes, theme)
    return figure


def _svg(figure: Figure) -> bytes:
    """A figure as SVG, the same bytes every time; its dots per inch matter for the points of scatters only."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, dpi=_DPI, metadata={"Date": None, "Creator": None})
    # Laid out in DejaVu Sans, which ships with matplotlib and is wider than most, then set in the reader's own font.
    return _lighter(file.getvalue()).replace(b"'DejaVu Sans'", _FONT.encode())


def _png(figure: Figure) -> bytes:
    """A figure of the light theme as PNG, the same bytes every time."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=THEMES[0].surface, dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def in_dark(svg: bytes) -> bytes:
    """An SVG without pixels in the inks of the dark theme; what is written in it, be it like a colour, stays.

    >>> in_dark(b'<g style="fill: #1a1d21">#1a1d21</g>')
    b'<g style="fill: #e6e8eb">#1a1d21</g>'
    """
    return re.sub(
        b"<[^>]*>", lambda tag: re.sub(b'#[0-9a-f]{6}(?=[;"])', lambda ink: _DARK.get(ink[0], ink[0]), tag[0]), svg
    )


def _lighter(svg: bytes) -> bytes:
    """An SVG in half the bytes that looks the same: places to a hundredth of a point, rasters of few colours."""

    def rounded(attribute: re.Match[bytes]) -> bytes:
        return re.sub(rb"(\.\d\d)\d+", rb"\1", attribute[0])

    def in_few_colours(address: re.Match[bytes]) -> bytes:
        file = io.BytesIO()
        raster = Image.open(io.BytesIO(base64.b64decode(address[1])))
        few = raster.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(file, format="PNG", optimize=True)
        return data_uri(file.getvalue(), "image/png").encode()

    places = re.sub(rb'\s(?:d|x|y)="[^"]*"', rounded, svg)
    return re.sub(rb"data:image/png;base64,([^\"]*)", in_few_colours, places)


def _dress(axes: Axes, theme: Theme) -> None:
    """Axes without a box: two thin spines and a faint horizontal grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.rule)
    axes.tick_params(which="both", color=theme.rule, labelcolor=theme.muted, labelsize=8, length=3)
    axes.grid(axis="y", color=theme.rule, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)


def _family(colour: int, theme: Theme) -> str:
    """The colour of a family."""
    return FAMILY_COLOURS[colour % len(FAMILY_COLOURS)][theme.index]


def compact(number: float) -> str:
    """A count as short as an axis wants it.

    >>> compact(0), compact(300), compact(12_800), compact(300_000), compact(2_500_000)
    ('0', '300', '12.8k', '300k', '2.5M')
    """
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:g}"


def _images_axis(axes: Axes, seen: Sequence[float]) -> None:
    """Images seen, on a logarithm that has a place for 0: early training is short and eventful.

    `seen` are all points of the report, so that the same place means the same time in every panel.
    """
    _log_axis(axes, seen, "images seen", compact)


def clock(seconds: float) -> str:
    """A duration as short as an axis wants it.

    >>> clock(0), clock(0.5), clock(100), clock(7200)
    ('0', '0.5 s', '100 s', '2 h')
    """
    if seconds == 0:
        return "0"
    if seconds < 1000:
        return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:.0f} s"
    return f"{seconds / 60:.2g} min" if seconds < 3600 else f"{seconds / 3600:.2g} h"


def _log_axis(axes: Axes, seen: Sequence[float], label: str, written: Callable[[float], str]) -> None:
    """A logarithm that has a place for 0, from there to the last of `seen`."""
    positive = [x for x in seen if x > 0] or [1.0]
    first, last = min(positive), max(positive)
    axes.set_xscale("symlog", linthresh=first, linscale=0.35)
    decades = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ticks = decades if len(decades) > 1 else sorted({first, math.sqrt(first * last), last})
    axes.xaxis.set_major_locator(FixedLocator([0.0, *ticks] if 0 in seen else ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: written(x)))
    axes.set_xlim(0 if 0 in seen else first / 1.05, last * 1.08)
    axes.set_xlabel(label)


def _value_axis(axes: Axes, bounds: Sequence[Floats]) -> None:
    """A logarithm where positive values span decades, a linear axis otherwise."""
    values = np.concatenate(bounds)
    if len(values) == 0:
        axes.text(
            0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", color=axes.xaxis.label.get_color()
        )
        return
    if values.min() > 0 and values.max() > 4 * values.min():
        axes.set_yscale("log")
        few = values.max() < 1000 * values.min()  # decades alone would leave a tick or two
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))


def _class_axis(axes: Axes, names: Sequence[str]) -> None:
    """The names of the classes, upright if they are long, and only a count if there are many."""
    axes.tick_params(axis="x", length=0)
    if len(names) > _MANY:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} classes, most frequent first")
        return
    short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
    crowded = sum(map(len, short)) > 40
    axes.set_xticks(range(len(short)), short, rotation=60 if crowded else 0)
    if crowded:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlabel("class")


def _name_cluster(axes: Axes, member: Array, name: str, theme: Theme) -> None:
    """The name of a class at the median of its codes, on a patch that keeps it legible."""
    if len(member) == 0 or len(name) > 12:  # a long name would hide what it names; the legend has it
        return
    x, y = np.median(member, axis=0)
    patch = {"facecolor": theme.surface, "edgecolor": "none", "alpha": 0.78, "boxstyle": "round,pad=0.15"}
    axes.text(x, y, name, ha="center", va="center", fontsize=8, weight="bold", color=theme.ink, bbox=patch)
