"""What the measures say of images whose defects are known: LIKELIER_DATA=DATA python recipes/fakes/fakes.py mnist

Held-out images, and what can be done to them or in place of them: training images handed out, a tenth of them among
held-out ones, with noise or shifted by a pixel; a tenth of the images ten times each; blur, noise, black and white; one
class missing. Runs that are named after the data set are measured beside them. The table is Markdown.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import likelier
from likelier import rng
from likelier.evidence import Evidence
from likelier.images import as_float, as_uint8
from likelier.measuring import SAMPLE_MEASURES
from likelier.modes import MODE_MEASURES
from likelier.reference import Reference
from likelier.tables import FIGURES

SHOWN = {key: name for key, name in FIGURES.items() if key in SAMPLE_MEASURES and key not in MODE_MEASURES}
SHOWN |= {"authenticity": "AuthPct", "data_copying_ct": "C_T"}
LACKING = 3


def blurred(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur over seven pixels, zeros outside."""
    weights = torch.exp(-torch.arange(-3, 4).float().square() / (2 * sigma**2))
    weights /= weights.sum()
    c = images.shape[1]
    x = as_float(images)
    x = F.conv2d(x, weights.view(1, 1, 1, 7).expand(c, 1, 1, 7), padding=(0, 3), groups=c)
    return as_uint8(F.conv2d(x, weights.view(1, 1, 7, 1).expand(c, 1, 7, 1), padding=(3, 0), groups=c))


def fakes(reference: Reference) -> dict[str, Callable[[], Tensor]]:
    """By name, as many images as the reference has."""
    n, train, test = reference.n, reference.images.train, reference.images.test
    held_out, tenth = reference.held_out, reference.n // 10
    chance = rng.generator(0, "fakes")
    copies = train.images[torch.randperm(len(train), generator=chance)[:n]]
    whole = test.images[test.labels != LACKING]

    def noisy(images: Tensor, sigma: float) -> Tensor:
        return as_uint8(as_float(images) + sigma * torch.randn(images.shape, generator=rng.generator(0, "noise")))

    return {
        "held-out images": lambda: held_out,
        "training images": lambda: copies,
        "10% training images": lambda: torch.cat([copies[:tenth], held_out[tenth:]]),
        "training images, noise .02": lambda: noisy(copies, 0.02),
        "training images, shifted by a pixel": lambda: copies.roll(1, dims=-1),
        "a tenth, ten times each": lambda: held_out[: -(-n // 10)].repeat(10, 1, 1, 1)[:n],
        "blur .8": lambda: blurred(held_out, 0.8),
        "blur 1.2": lambda: blurred(held_out, 1.2),
        "noise .1": lambda: noisy(held_out, 0.1),
        "black and white": lambda: (held_out > 127).to(torch.uint8) * 255,
        f"class {reference.images.classes[LACKING]} missing": lambda: torch.cat([whole, whole])[:n],
    }


def row(name: str, images: Tensor, reference: Reference) -> str:
    """One line of the table."""
    seen = reference.view(images)
    values = reference.against(seen) | reference.copying(seen.vectors)
    others = " / ".join(f"{value:.3g}" for value in reference.distances_elsewhere(images).values())
    cells = ["–" if (value := values[key]) is None else f"{value:.3g}" for key in SHOWN]
    return f"| {' | '.join([name, *cells, others])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("runs", nargs="*", type=Path, help="runs on the same data")
    given = parser.parse_args()
    reference = Reference(likelier.load_images(given.data))
    print(
        f"{reference.suffix}\n\n| {' | '.join(['', *SHOWN.values(), 'FD elsewhere'])} |\n|{'---|' * (len(SHOWN) + 2)}"
    )
    for name, make in fakes(reference).items():
        print(row(name, make(), reference), flush=True)
    for path in given.runs:
        model = likelier.load(path)
        samples = Evidence(model, model, reference).samples
        assert samples is not None
        print(row(path.name, samples, reference), flush=True)


if __name__ == "__main__":
    main()
