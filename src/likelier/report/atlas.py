"""The atlas: a map of every model's latent plane, as one picture of all its images and the points that lie on it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from likelier.report.atlas_file import Array, Atlas
from likelier.report.data import Data
from likelier.report.figures import CLASS_MARKS
from likelier.report.grouping import Group, absent
from likelier.report.pixels import Bitmap, data_uri, webp
from likelier.report.reading import Pixels
from likelier.report.standing import listed
from likelier.report.table import number

_POINTS = 1_000
"""Points that are drawn: more would hide the map."""
_BYTES, _BYTES_OF_ALL = 450_000, 2_000_000
"""Of the picture of one map, and of those of all; as text in the page they are a third more."""
_QUALITIES = (90, 75, 50)


@dataclass(frozen=True)
class Map:
    """The map of one model; without a sheet, `why_not` says why there is none."""

    group: Group
    seed: int
    sheet: Bitmap | None = None
    """All its images side by side, v upwards."""
    grid: str = ""
    """For the script: columns and rows, and the width and height of an image."""
    extent: str = ""
    """The least and greatest u, and the least and greatest v."""
    prior: str = ""
    """Where on the plane the middle of the prior is."""
    points: str = ""
    """Test images: u and v in hundredths, and the place of their class among the named ones, −1 for the others."""
    is_line: bool = False
    tone: str = ""
    """Whether grey images are mostly dim or bright: under points they are faint, in the ink of the page."""
    how: str = ""
    notes: tuple[str, ...] = ()
    why_not: str = ""


def atlas(groups: Sequence[Group], classes: Mapping[int, str]) -> list[Map]:
    """A map of each model, of its first seed that has one; `classes` are those that get a colour, by label."""
    having = [next((run for run in group.runs if run.atlas is not None), None) for group in groups]
    most = min(_BYTES, _BYTES_OF_ALL // max(1, sum(run is not None for run in having)))
    maps = []
    for group, run in zip(groups, having, strict=True):
        if run is None or run.atlas is None:
            maps.append(Map(group, group.runs[0].seed, why_not=_why_not(group)))
        else:
            maps.append(_map(group, run.seed, run.atlas, classes, most))
    return maps


def _why_not(group: Group) -> str:
    """Why no run of a model has an atlas."""
    if any(note.startswith("atlas.npz") for run in group.runs for note in run.notes):
        return "Its atlas.npz cannot be used: a warning at the top of the page says why."
    return absent(group, "The images of its plane")


def legend(classes: Mapping[int, str]) -> list[tuple[int, str, str]]:
    """Colour, mark and name of the classes, as in the figures of the latent space."""
    return [(i % 10, CLASS_MARKS[i % 5][1], name) for i, name in enumerate(classes.values())]


def _map(group: Group, seed: int, atlas: Atlas, classes: Mapping[int, str], most: int) -> Map:
    """The map of one model whose picture has at most so many bytes, if that can be."""
    rows, columns, _, height, width = atlas.images.shape
    picture = _side_by_side(atlas.images)
    source, quality = _packed(picture, most)
    inside, on_map = _points(atlas)
    places = list(classes)
    points = [
        f"{round(100 * u)} {round(100 * v)} {places.index(label) if label in classes else -1}"
        for (u, v), label in zip(on_map.codes.tolist(), on_map.labels.tolist(), strict=True)
    ]
    lossy = f"Its pictures are compressed with some loss (WebP, quality {quality})." if quality else ""
    alt = f"The images that {group.label} makes of {columns} × {rows} places of its plane, side by side"
    (left, right), (bottom, top) = atlas.extent.tolist()
    centre = -(atlas.axes.astype(np.float64) @ atlas.origin.astype(np.float64))
    return Map(
        group,
        seed,
        sheet=Bitmap(source, columns * width, rows * height, alt=alt, data=_codes(atlas, classes)),
        grid=f"{columns} {rows} {width} {height}",
        extent=f"{left:g} {right:g} {bottom:g} {top:g}",
        prior=f"{centre[0]:.3f} {centre[1]:.3f}",
        points=" ".join(points),
        is_line=rows == 1,
        tone="" if picture.ndim == 3 else "dim" if picture.mean() < 128 else "bright",
        how=_how(atlas, classes),
        notes=tuple(filter(None, (_of_points(atlas, inside, len(points)), lossy))),
    )


def _codes(atlas: Atlas, classes: Mapping[int, str]) -> Data | None:
    """Where on the plane the codes of test images are; None without any."""
    placed = zip(atlas.codes, atlas.labels.tolist(), strict=True)
    rows = [[u, v, classes.get(label, "another")] for (u, v), label in placed]
    return Data(["u", "v", "class"], rows) if rows else None


def _how(atlas: Atlas, classes: Mapping[int, str]) -> str:
    """Which plane it is, in words."""
    of = {"pca": "of their variance", "first layer": "of all its effect"}.get(atlas.how, "")
    shares = [f"{100 * share:.0f}%" for share in atlas.explained]
    explained = f" ({listed(shares)} {of})" if shares and of else ""
    sentences = {
        "plane": "Its latent space has two dimensions: this is all of it.",
        "line": "Its latent space has one dimension: this is all of it.",
        "pca": f"The two principal components of its codes{explained}, through their mean.",
        "first layer": f"The two directions that its first layer passes on most{explained}, through one sample.",
        "random": "A random plane through one sample: none stands out.",
    }
    held = "" if atlas.given is None else f" All images are of class {classes.get(atlas.given, atlas.given)}."
    return sentences[atlas.how] + held


def _of_points(atlas: Atlas, inside: int, drawn: int) -> str:
    """How many points there are, or why there are none."""
    m = len(atlas.codes)
    if not m:
        return "No points: it has no encoder, so test images have no place on its map."
    few = f", {number(drawn, 0)} of which are drawn" if drawn < inside else ""
    return f"{number(inside, 0)} of {number(m, 0)} test images lie within its edges{few}."


@dataclass(frozen=True)
class _OnMap:
    """The points that are drawn."""

    codes: Array
    labels: Array


def _points(atlas: Atlas) -> tuple[int, _OnMap]:
    """How many points lie within the edges of the map, and the first of them."""
    (left, right), (bottom, top) = atlas.extent.tolist()
    rows, columns = atlas.images.shape[:2]
    half = (right - left) / max(1, columns - 1) / 2, (top - bottom) / max(1, rows - 1) / 2
    u, v = atlas.codes.T
    within = (left - half[0] <= u) & (u <= right + half[0])
    if rows > 1:
        within &= (bottom - half[1] <= v) & (v <= top + half[1])
    return int(within.sum()), _OnMap(atlas.codes[within][:_POINTS], atlas.labels[within][:_POINTS])


def _side_by_side(images: Array) -> Pixels:
    """All images [rows, columns, c, h, w] as one picture without gaps, the last row on top: v goes upwards."""
    rows, columns, c, h, w = images.shape
    picture = images[::-1].transpose(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)
    # A picture of neither 1 nor 3 channels has no colours that a screen knows: its first channel stands for it.
    return np.ascontiguousarray(picture if c == 3 else picture[..., 0])


def _packed(picture: Pixels, most: int) -> tuple[str, int | None]:
    """A picture as an address of at most so many bytes, if that can be; and the quality that this took, if any.

    PNG keeps every pixel, and is smaller than WebP without loss for most grey images.
    """
    whole = io.BytesIO()
    Image.fromarray(picture).save(whole, format="PNG")
    if whole.tell() <= most:
        return data_uri(whole.getvalue(), "image/png"), None
    for quality in _QUALITIES:
        lossy = webp(Image.fromarray(picture), quality)
        if len(lossy) * 3 // 4 <= most:
            break
    return lossy, quality
