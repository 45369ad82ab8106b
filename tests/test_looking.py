"""Contact sheets: the right images under the right names, upright, with names that can be read."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from likelier import looking
from likelier.images import Images, Split
from likelier.looking import GAP, LABEL, MARGIN, MOST_CLASSES, OWN, TITLE, contact_sheet, in_lines, statistics

Text = tuple[int, str]
"""The height at which something is written on a sheet, and what."""


def flags(classes: int, of_each: int, side: int = 8, test: int = 1) -> Images:
    """Images in a grey of their class, 50 + its number, with a white corner above and on the left; no two are equal."""
    n = classes * of_each
    labels = torch.arange(n) % classes
    pixels = (50 + labels).to(torch.uint8)[:, None, None, None].repeat(1, 1, side, side)
    pixels[:, :, : side // 2, : side // 2] = 255
    pixels[:, 0, -1, -2:] = torch.stack((torch.arange(n) // 256, torch.arange(n) % 256), dim=1).to(torch.uint8)
    split = Split(pixels, labels)
    names = tuple(f"flag {label}" for label in range(classes))
    return Images("flags", split, Split(split.images[: classes * test], split.labels[: classes * test]), names)


def drawn(images: Images, seed: int = 0) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(contact_sheet(images, statistics(images), seed))).convert("L"))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    found: list[Text] = []
    text = looking.text
    monkeypatch.setattr(
        looking,
        "text",
        lambda pen, at, words, *a, **k: (found.append((at[1], words)), text(pen, at, words, *a, **k))[1],
    )
    return found


@pytest.mark.parametrize("classes", [1, 3, MOST_CLASSES, 100])
def test_images_stand_upright_beside_the_name_of_their_class(written: list[Text], classes: int):
    images = flags(classes, 2)
    sheet = drawn(images)
    shown = range(classes) if classes <= MOST_CLASSES else [label * 5 // 2 for label in range(MOST_CLASSES)]
    heights = {words: y for y, words in written}
    assert [name for name in heights if name.startswith("flag ")] == [f"flag {i}" for i in shown]
    assert ("and 60 more classes" in heights) == (classes == 100)
    assert max(heights.values()) < len(sheet)
    for label in shown:
        y, x = heights[f"flag {label}"], MARGIN + LABEL
        for left in (x, x + 64 + GAP):  # both of them, eight times as large as they are
            assert (sheet[y : y + 32, left : left + 32] == 255).all()
            assert (sheet[y : y + 56, left + 32 : left + 64] == 50 + label).all()
            assert (sheet[y + 32 : y + 64, left : left + 32] == 50 + label).all()
        assert (sheet[y : y + 64, x + 2 * (64 + GAP) :] == 255).all(), "no image comes twice"


def test_figures_stand_above_the_rows(written: list[Text]):
    images = flags(2, 3)
    contact_sheet(
        images, statistics(images) | {"mean": [0.25], "duplicates": {"within_train": 1234, "test_in_train": 5}}
    )
    above = [words for y, words in written if y < MARGIN + TITLE - 20]
    assert above[0] == "flags"
    assert above[1] == "6 training and 2 test images of 8×8, grey, 2 classes"
    assert "mean 0.250, standard deviation" in above[2]
    assert "exact copies: 1,234 among the training images, 5 between training and test" in above[2]
    assert [words for _, words in written].count("3 train, 1 test") == 2


def test_a_sheet_has_no_more_rows_than_its_images_fill():
    few, more, many = (len(drawn(flags(1, n))) for n in (14, 15, 1000))
    assert few < more < many
    assert more - few == 67  # another row of images of 64 pixels
    assert many - few == 7 * 67


def test_other_seeds_show_other_images():
    images = flags(2, 300)
    assert np.array_equal(drawn(images), drawn(images))
    assert not np.array_equal(drawn(images), drawn(images, seed=1))


def test_copies_are_counted_as_images_and_not_as_pairs():
    split = flags(1, 10).train
    train = torch.cat([split.images, split.images[:1], split.images[:1], split.images[1:2]])  # one is there three times
    test = torch.cat([split.images[:1], split.images[:1], 255 - split.images[:3]])  # and twice here
    images = Images("x", Split(train, torch.zeros(13).long()), Split(test, torch.zeros(5).long()), ("a",))
    assert statistics(images)["duplicates"] == {"within_train": 3, "test_in_train": 2}


# Names


def font_of(path: Path, characters: str) -> Path:
    """A font in which each of these characters is a bar."""
    pen = TTGlyphPen(None)
    for place in ((100, 0), (100, 800), (300, 800), (300, 0)):
        (pen.lineTo if place != (100, 0) else pen.moveTo)(place)
    pen.closePath()
    names = {ord(c): f"g{i}" for i, c in enumerate(characters)}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (500, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "bars", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fonts of the system: none until some are put here."""
    found: list[str] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    return found


NAMES = ("猫", "naïve café", "🦊", "นก", "犬")


def test_names_are_written_in_a_font_that_has_them(fonts: list[str], tmp_path: Path):
    broken, cats, box = tmp_path / "a.ttf", tmp_path / "b.ttf", tmp_path / "LastResort.ttf"
    broken.write_bytes(b"no font")
    fonts += [str(broken), str(font_of(cats, "猫犬")), str(font_of(box, "🦊"))]
    found = looking.fonts_for(NAMES)
    assert found == {"猫": cats, "naïve café": OWN, "🦊": None, "นก": None, "犬": cats}


def test_names_that_cannot_be_written_are_numbers_and_are_told(
    likelier, fonts: list[str], written: list[Text], tmp_path: Path
):
    images = flags(5, 12)
    np.savez(tmp_path / "x.npz", images=images.train.images.numpy(), labels=np.array(NAMES)[images.train.labels])
    order = sorted(NAMES)
    numbers = [i for i, name in enumerate(order) if name != "naïve café"]
    told = likelier("data", "show", "x.npz", "-q").out
    for label, name in enumerate(order):
        assert (f"class {label} is {name}" in told) == (label in numbers)
    on_the_sheet = [words for _, words in written]
    assert {f"class {label}" for label in numbers} | {"naïve café"} <= set(on_the_sheet)
    assert not set(on_the_sheet) & (set(NAMES) - {"naïve café"})
    assert json.loads(likelier("data", "show", "x.npz", "-q", "--json").out)["written_as_numbers"] == numbers
    fonts.append(str(font_of(tmp_path / "all.ttf", "猫犬นก🦊")))
    assert "class 0 is" not in likelier("data", "show", "x.npz", "-q").out


def test_long_names_are_broken_and_then_cut():
    def lines(words: str, most: int = 2) -> list[str]:
        return list(in_lines(words, lambda line: len(line) <= 8, most))

    assert lines("short") == ["short"]
    assert lines("two words") == ["two", "words"]
    assert lines("one of many words") == ["one of", "many wo…"]
    assert lines("unbreakable") == ["unbreaka", "ble"]
    assert lines("unbreakable" * 9) == ["unbreaka", "bleunbr…"]
    assert lines("one of many words", 1) == ["one of …"]
    assert lines("日本" * 20) == ["日本日本日本日本", "日本日本日本日…"]


def test_no_text_leaves_its_column():
    """However long a name is."""
    images = flags(2, 3)
    named = Images("flags", images.train, images.test, (f"<script> {'m' * 60}", "m " * 200))
    column = drawn(named)[MARGIN + TITLE :, MARGIN + LABEL - 15 : MARGIN + LABEL]
    plain = drawn(images)[MARGIN + TITLE :, MARGIN + LABEL - 15 : MARGIN + LABEL]
    assert np.array_equal(column, plain)
