"""A page that stays below its limit: what is large is made smaller, a step after another, until it fits.

The files beside the page keep every figure as it was, so that nothing is lost but on the page.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from PIL import Image

from likelier.errors import InputError
from likelier.report.beside import Figure, Place, decoded, kind_of, mapped
from likelier.report.figures import Picture
from likelier.report.grouping import Group
from likelier.report.pixels import Bitmap, data_uri, webp
from likelier.report.reading import Run
from likelier.report.standing import listed

LIMIT = 8_000_000
"""Bytes of a page, of which those on its way through mail and browsers should not be more."""

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One way to make a page smaller, and what the page says of it."""

    words: str
    change: Callable[[Context], Context]


def bounded(context: Context, render: Callable[[Context], str]) -> str:
    """The page that `render` makes of the context, in at most `LIMIT` bytes; `thinned` of the context says how.

    Raises InputError if it does not fit whatever is left out.
    """
    said: list[str] = []
    html = render({**context, "thinned": ""})
    for step in steps():
        if len(html.encode()) <= LIMIT:
            return html
        smaller = step.change(context)
        words = [each for each in said if each.split()[0] != step.words.split()[0]] + [step.words]
        page = render({**smaller, "thinned": listed(words)})
        if len(page) < len(html):
            context, said, html = smaller, words, page
    if len(html.encode()) <= LIMIT:
        return html
    raise InputError(
        f"the page has {len(html.encode()):,} bytes without its figures: wanted at most {LIMIT:,}; "
        "report on fewer models at a time"
    )


def steps() -> Sequence[Step]:
    """What is done in turn: first what is missed least."""
    return (
        Step("images are compressed with some loss", _of_figures(_compressed)),
        *(Step(f"animations have {n} points at most", _with_frames(n)) for n in (8, 4)),
        Step("pictures made of pixels are shown at half their size", _of_figures(_halved)),
        Step("animations show their last point only", _with_frames(1)),
        Step("drawn figures are shown in the colours of light pages only", _of_figures(_light)),
        Step("pictures made of pixels are shown at a quarter of their size", _of_figures(_halved)),
        Step("drawn figures are left out", _of_figures(_without_drawing)),
        Step("pictures made of pixels are left out, too", _of_figures(_without_pixels)),
    )


def _of_figures(change: Callable[[Figure], Figure]) -> Callable[[Context], Context]:
    """A step that changes every figure by itself."""
    nowhere = Place("", "", ())
    return lambda context: {
        key: mapped(value, lambda figure, place: change(figure), nowhere) for key, value in context.items()
    }


def _with_frames(most: int) -> Callable[[Context], Context]:
    """A step that leaves at most so many points of each animation, the last among them."""
    return lambda context: {key: _thinned(value, most) for key, value in context.items()}


def _thinned(value: Any, most: int) -> Any:
    """A value with fewer `moments` wherever it has some."""
    if isinstance(value, Mapping):
        return {key: _thinned(one, most) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_thinned(one, most) for one in value])
    if not is_dataclass(value) or isinstance(value, Group | Run | Picture | Bitmap | type):
        return value
    parts = {field.name: _thinned(getattr(value, field.name), most) for field in fields(value)}
    if len(moments := parts.get("moments", ())) > most:
        last = len(moments) - 1
        parts["moments"] = tuple(moments[round(last - i * last / max(1, most - 1))] for i in range(most))[::-1]
    return replace(value, **parts)


def _compressed(figure: Figure) -> Figure:
    """A picture as WebP, where that is smaller."""
    if not isinstance(figure, Bitmap) or not figure.src or kind_of(figure.src) == "webp":
        return figure
    return replace(figure, src=min(figure.src, webp(_opened(figure), 90), key=len))


def _halved(figure: Figure) -> Figure:
    """A picture of half the pixels each way, shown as large as before; one that is too small for that stays."""
    if not isinstance(figure, Bitmap) or not figure.src:
        return figure
    picture = _opened(figure)
    if min(picture.size) < 16:
        return figure
    smaller = picture.reduce(2)
    if kind_of(figure.src) == "webp":
        return replace(figure, src=webp(smaller, 80))
    file = io.BytesIO()
    smaller.save(file, format="PNG", optimize=True)
    return replace(figure, src=data_uri(file.getvalue(), "image/png"))


def _opened(figure: Bitmap) -> Image.Image:
    """The picture that a page shows, in grey or in colours as it was packed."""
    picture: Image.Image = Image.open(io.BytesIO(decoded(figure.src)))
    return picture


def _light(figure: Figure) -> Figure:
    """A drawn figure without its picture for dark pages."""
    return replace(figure, dark="") if isinstance(figure, Picture) else figure


def _without_drawing(figure: Figure) -> Figure:
    """A drawn figure of which only the words and the files are left."""
    return replace(figure, light="", dark="") if isinstance(figure, Picture) else figure


def _without_pixels(figure: Figure) -> Figure:
    """The same of a picture made of pixels."""
    return replace(figure, src="") if isinstance(figure, Bitmap) else figure
