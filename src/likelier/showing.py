"""What a notebook shows of a run, an image set or a comparison: HTML that stands alone.

No script, no address elsewhere, every text escaped, pictures with words in their place for whoever does not see them.
Colours are those of the notebook's theme, light or dark, so only lines and grounds of half-transparent grey are set.
"""

import base64
import html
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from likelier.errors import InputError, printable
from likelier.files import read_json, read_whole

FRAME = "border:1px solid rgba(127,127,127,.45);border-radius:6px;padding:.7em 1em;max-width:60em;line-height:1.45"
CELL = "text-align:right;padding:.15em .7em;white-space:pre;border-top:1px solid rgba(127,127,127,.25)"
NAME = CELL.replace("right", "left")
VALUE = NAME.replace("white-space:pre;", "")
LARGEST = 150_000
"""Bytes of a picture, above which it is made smaller: a notebook keeps whatever it shows."""
WIDEST = 480
"""Pixels that a picture is shown with at most."""
KEY = ("frechet_distance", "precision", "recall", "coverage", "reconstruction_mse", "elbo")
MOST = 400
"""Characters of a text that a file of a run may bring along."""


def text(value: object) -> str:
    """A value as the text of a page, whatever is in it."""
    words = printable(str(value).replace("\n", " "))
    return html.escape(words if len(words) <= MOST else f"{words[: MOST - 1]}…")


def block(heading: str, parts: Iterable[str]) -> str:
    """Everything of one object."""
    return f'<div style="{FRAME}"><strong>{text(heading)}</strong>{"".join(parts)}</div>'


def paragraph(words: str) -> str:
    """Some words; nothing of none."""
    return f'<p style="margin:.4em 0">{text(words)}</p>' if words else ""


def listing(items: Mapping[str, object]) -> str:
    """Names with values, a line each; those without a value are left out."""
    rows = (
        f'<tr><th scope="row" style="{NAME};font-weight:normal;opacity:.75">{text(name)}</th>'
        f'<td style="{VALUE}">{text(value)}</td></tr>'
        for name, value in items.items()
        if value not in (None, "")
    )
    return f'<table style="border-collapse:collapse;margin:.4em 0">{"".join(rows)}</table>'


def grid_of_cells(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], strong: Collection[tuple[int, int]] = ()
) -> str:
    """A table of figures, whose first column names them."""
    head = "".join(f'<th scope="col" style="{CELL}">{text(column)}</th>' for column in columns)
    body = ""
    for number, row in enumerate(rows):
        body += f'<tr><th scope="row" style="{NAME}">{text(row[0])}</th>'
        for place, cell in enumerate(row[1:], start=1):
            weight = ";font-weight:bold" if (number, place) in strong else ""
            lines = "\n".join(text(line) for line in cell.splitlines())
            body += f'<td style="{CELL}{weight}">{lines}</td>'
        body += "</tr>"
    return (
        '<table style="border-collapse:collapse;margin:.4em 0">'
        f'<caption style="text-align:left">{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def side_by_side(parts: Iterable[str]) -> str:
    """Parts in a row, as many as fit."""
    each = "".join(f'<div style="max-width:20em">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:0 1.2em">{each}</div>'


def picture(png: bytes, alt: str, largest: int = LARGEST) -> str:
    """A picture as part of the page, of no more bytes than a notebook should keep."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        width, height = opened.size
        found: Image.Image = opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
    while len(png) > largest and min(found.size) > 1:
        found, out = found.resize((found.width // 2, found.height // 2), Image.Resampling.BOX), io.BytesIO()
        found.save(out, format="PNG", optimize=True)
        png = out.getvalue()
    scale = min(WIDEST / width, max(1, 288 // width))
    size = f'width="{round(width * scale)}" height="{round(height * scale)}"'
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<img alt="{text(alt)}" {size} style="image-rendering:pixelated;margin:.3em 0;display:block" src="{address}">'
    )


def run_in_html(path: Path) -> str:
    """A run: what it is, how it stands, its key measures, its latest samples; whatever of it can be read."""
    try:
        config = read_json(path / "config.json")
        settings = ", ".join(f"{name} {value}" for name, value in dict(config["settings"]).items())
        heading = f"Run {path.name}: {config['family']} on {config.get('data_name') or config['data']}"
    except (InputError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        return block(f"Run {path.name}", [paragraph(f"it cannot be shown: {error}")])
    done, measured = optional(path / "done"), optional(path / "measures.json")
    failed = optional(path / "failed.json")
    status = str(done.get("status") or ("failed" if failed else "unfinished"))
    seen, budget = done.get("images", images_seen(path)), config.get("images")
    facts = {
        "status": status + (f": {reason}" if (reason := done.get("message") or failed.get("message")) else ""),
        "images": f"{seen:,} of {budget:,}" if isinstance(seen, int) and isinstance(budget, int) else "",
        "seconds": f"{done['seconds']:,.1f}" if isinstance(done.get("seconds"), int | float) else "",
        "seed": config.get("seed"),
        "settings": settings,
    }
    return block(heading, [listing(facts), key_measures(measured), latest_samples(path)])


def optional(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none that can be read."""
    try:
        found = read_json(path)
    except (InputError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def images_seen(path: Path) -> int | None:
    """Of the last whole line of the log."""
    try:
        lines = read_whole(path / "metrics.jsonl").splitlines(keepends=True)
        last = json.loads(next(line for line in reversed(lines) if line.endswith(b"\n")))
        return int(last["images"])
    except (InputError, OSError, KeyError, TypeError, ValueError, RecursionError, StopIteration):
        return None


def key_measures(result: Mapping[str, Any]) -> str:
    """The measures that are looked at first, beside what real images score, and the warnings."""
    listed = result.get("measures")
    by_key = {m.get("key"): m for m in listed if isinstance(m, dict)} if isinstance(listed, list) else {}
    rows = []
    for m in (by_key[key] for key in KEY if key in by_key):
        floor, value = m.get("floor"), m.get("value")
        real = floor.get("train–test") if isinstance(floor, dict) else None
        if isinstance(value, int | float):
            rows.append((str(m.get("label")), f"{value:.3g}", f"{real:.3g}" if isinstance(real, int | float) else ""))
    if not rows:
        return paragraph("not measured yet: likelier.measure(run)")
    said = result.get("warnings")
    warnings = "".join(paragraph(f"⚠ {each}") for each in said[:4]) if isinstance(said, list) else ""
    return grid_of_cells("", ("measure", "value", "real (test)"), rows) + warnings


def latest_samples(path: Path, largest: int = LARGEST) -> str:
    """The last picture of samples."""
    pictures = sorted((path / "samples").glob("*.png"))
    if not pictures:
        return paragraph("no samples yet")
    stem = pictures[-1].stem
    after = f"{int(stem):,}" if stem.isdecimal() and len(stem) < 20 else stem
    try:
        return picture(read_whole(pictures[-1]), f"samples of {path.name} after {after} images", largest) + paragraph(
            f"samples after {after} images, always from the same codes"
        )
    except Exception as error:  # Pillow has many words for a broken picture, and a cell must not fail for one
        return paragraph(f"the samples cannot be shown: {error}")
