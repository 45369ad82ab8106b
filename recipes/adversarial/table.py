"""The Markdown table of a study's results.

    python recipes/adversarial/table.py results.jsonl [--yardstick "the lab's VAE"]

A row is a model on a data set: medians over its seeds, with the least and the most of the Fréchet distance. With a
yardstick the distance is a share of that model's: in each of the three extractors by itself, and then the median of the
three.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Line = Mapping[str, Any]


def shares(lines: Sequence[Line], of: Sequence[Line]) -> list[float]:
    """The distance of each run, as a share of the median of the yardstick's."""
    ones = [median(distances) for distances in zip(*(line["distances"] for line in of), strict=True)]
    return [median(d / one for d, one in zip(line["distances"], ones, strict=True)) for line in lines]


def spikes(line: Line) -> int:
    """Of all players' losses."""
    return sum(player["spikes"] or 0 for player in line["stability"]["players"].values())


def jolt(line: Line) -> float:
    """The greatest gradient of any player over its median."""
    return max(player["grad_norm_peak"] or 0 for player in line["stability"]["players"].values())


def modes(lines: Sequence[Line]) -> str:
    """Missing classes, the median and the most; of stacked images the modes that are there, and their reverse KL."""
    if all("modes" in line for line in lines):
        of = [median(line[key] for line in lines) for key in ("modes", "modes_kl")]
        return f"{of[0]:,.0f} modes there, KL {of[1]:.3g}"
    return f"{median(line['missing'] for line in lines):g} ({max(line['missing'] for line in lines)})"


def row(model: str, lines: Sequence[Line], of: Sequence[Line] | None) -> str:
    """One line of the table."""
    found = shares(lines, of) if of else [line["frechet_distance"] for line in lines]
    show = (lambda x: f"1/{1 / x:.1f}") if of else (lambda x: f"{x:.3g}")
    least, most = min(found), max(found)
    lost = sum(line["status"] != "finished" for line in lines)
    pairwise = [line["stability"]["d_pairwise"] for line in lines if line["stability"]["d_pairwise"] is not None]
    cells = [
        model,
        f"{len(lines)}" + (f" ({lost} diverged)" if lost else ""),
        f"{median(line['images'] for line in lines):,.0f}",
        f"{median(line['seconds'] for line in lines):,.0f}",
        f"**{show(median(found))}** ({show(least)} to {show(most)})",
        *(f"{median(line[key] for line in lines):.3f}" for key in ("precision", "recall", "coverage")),
        modes(lines),
        f"{sum(map(spikes, lines))}",
        f"{max(map(jolt, lines)):,.1f}",
        f"{median(pairwise):.2f}" if pairwise else "n/a",
    ]
    return f"| {' | '.join(cells)} |"


def table(lines: Sequence[Line], yardstick: str | None) -> str:
    """All rows, data set by data set, in the order in which models come first."""
    sets = dict.fromkeys(line["data"] for line in lines)
    head = ["model", "seeds", "images", "seconds", "FD", "precision", "recall", "coverage", "classes missing (most)"]
    head += ["spikes", "worst jolt", "P[D(x) > D(G(z))]"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for data in sets:
        here = [line for line in lines if line["data"] == data]
        of = [line for line in here if line["model"] == yardstick] if yardstick else None
        for model in dict.fromkeys(line["model"] for line in here):
            title = f"{model}, {data}" if len(sets) > 1 else model
            rows.append(row(title, [line for line in here if line["model"] == model], of))
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--yardstick", help="the model whose distance is 1")
    options = parser.parse_args()
    print(table([json.loads(line) for f in options.results for line in f.read_text().splitlines()], options.yardstick))
