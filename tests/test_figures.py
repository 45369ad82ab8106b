"""The drawn figures: what is recoloured for dark pages is what would have been drawn for them."""

import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from likelier.report import figures
from likelier.report.beside import decoded
from likelier.report.figures import CLASS_COLOURS, FAMILY_COLOURS, PANEL, THEMES, Course, Picture

X = [0.0, 128.0, 1280.0, 12_800.0, 128_000.0]
Y = [5.0, float("nan"), 3.0, 400.0, 1.0]
NAMES = ["#1a1d21", '" fill: #0072b2;', "<&>猫", *"3456789"]
COURSES = [Course(f"model {i}", i, [0, 1], [(X, X)] * 2, (X, X), (X[-1:], X[-1:])) for i in range(10)]
DRAWN: dict[str, Callable[[], Picture]] = {
    "losses": lambda: figures.loss_curves([(X, Y), (X, Y)], [0, 1], X, 1, "gan", "alt"),
    "losses without a number": lambda: figures.loss_curves([([], [])], [0], X, 7, "gan", "alt"),
    "bound": lambda: figures.bound_curves([(X, X), (X, X)], [0, 1], (X, Y), X, 2, "alt"),
    "classes": lambda: figures.class_histogram(np.arange(10), np.arange(10), NAMES, 0.5, 3, "alt"),
    "many classes": lambda: figures.class_histogram(np.arange(40), np.arange(40), [*map(str, range(40))], 0.1, 4, ""),
    "quality": lambda: figures.quality_curves(COURSES, "images seen", 2.0, "images", "alt"),
    "scatter": lambda: figures.code_scatter(np.eye(9, 2), np.arange(9) - 1, NAMES, ("a", "b"), "pca", "alt"),
    "confusion": lambda: figures.confusion_matrix(np.eye(10), NAMES, ("a", "b"), 5, "alt"),
}


def renamed(svg: bytes) -> bytes:
    """With its marks called by their order: their names are digests of their inks, too."""
    names = {name: f"mark{i}".encode() for i, name in enumerate(dict.fromkeys(re.findall(b' id="(m[^"]+)"', svg)))}
    return re.sub(b"|".join(names) or b"(?!)", lambda found: names[found[0]], svg)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", DRAWN)
def test_in_the_dark_a_figure_is_what_would_be_drawn_there(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, drawn = figures._picture, []

    def twice(paint: Any, alt: str, name: str = "", data: Any = None, size: tuple[float, float] = PANEL) -> Picture:
        with mpl.rc_context(figures._SETTINGS):
            figure = figures._painted(paint, THEMES[1], size)
            ConstrainedLayoutEngine().execute(figure)
            drawn.append(figures._svg(figure))
        return picture(paint, alt, name, data, size)

    monkeypatch.setattr(figures, "_picture", twice)
    found = DRAWN[kind]()
    assert renamed(decoded(found.dark)) == renamed(drawn[0])
    assert found.dark != found.light


def test_each_light_colour_has_one_dark_one() -> None:
    inks = [(getattr(THEMES[0], name), getattr(THEMES[1], name)) for name in ("ink", "muted", "rule", "surface")]
    pairs = [*FAMILY_COLOURS, *CLASS_COLOURS, *inks]
    assert len({light for light, _ in pairs}) == len(pairs)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for pair in pairs for colour in pair)
