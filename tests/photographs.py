"""Pictures that look a little like photographs: coasts, hills and balls on a table, of all sizes, as JPEG and PNG.

python tests/photographs.py FOLDER [NUMBER]
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Scene = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
"""A picture [h, w, 3] in [0, 1] from x and y in [0, 1], each [h, w]."""


def mixed(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[..., None]


def sky(chance: np.random.Generator, y: np.ndarray) -> np.ndarray:
    top, horizon = np.array([0.15, 0.35, 0.75]), np.array([0.95, 0.75, 0.55])
    return mixed(top + chance.normal(0, 0.06, 3), horizon + chance.normal(0, 0.06, 3), y)


def ridge(chance: np.random.Generator, x: np.ndarray, rough: float) -> np.ndarray:
    waves = [(k, chance.normal(0, rough / k), chance.uniform(0, 6.3)) for k in range(1, 9)]
    return sum(height * np.sin(2 * np.pi * k * x + phase) for k, height, phase in waves)


def coast(chance: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    level = chance.uniform(0.45, 0.65)
    out = sky(chance, np.clip(y / level, 0, 1))
    sun_x, sun_y = chance.uniform(0.15, 0.85), chance.uniform(0.1, level - 0.05)
    glow = np.exp(-((x - sun_x) ** 2 + (y - sun_y) ** 2) / 0.006)
    out = mixed(out, np.array([1.0, 0.95, 0.8]), glow)
    depth = np.clip((y - level) / (1 - level), 0, 1)
    waves = 0.06 * np.sin(90 * depth**0.5 + 9 * np.sin(14 * x))
    sea = mixed(np.array([0.25, 0.45, 0.6]), np.array([0.02, 0.15, 0.3]), depth) + waves[..., None]
    sea = mixed(sea, np.array([1.0, 0.9, 0.7]), 0.6 * np.exp(-(((x - sun_x) / 0.08) ** 2)) * (waves > 0))
    return np.where((y > level)[..., None], sea, out)


def hills(chance: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = sky(chance, y)
    near, far = np.array([0.10, 0.25, 0.08]), np.array([0.55, 0.65, 0.75])
    for number in range(5):
        level = 0.35 + 0.13 * number + ridge(chance, x, 0.05)
        colour = far + (near - far) * number / 4 + chance.normal(0, 0.03, 3)
        shade = colour * (1 - 0.5 * np.clip((y - level) / 0.3, 0, 1))[..., None]
        out = np.where((y > level)[..., None], shade, out)
    return out


def balls(chance: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wall, table = chance.uniform(0.3, 0.8, 3), chance.uniform(0.2, 0.5, 3) * [1.4, 1.0, 0.7]
    grain = 0.05 * np.sin(60 * y + 4 * np.sin(5 * x))
    out = np.where((y > 0.6)[..., None], table + grain[..., None], wall * (1 - 0.3 * x[..., None]))
    for _ in range(chance.integers(1, 4)):
        radius, centre = chance.uniform(0.1, 0.2), chance.uniform(0.2, 0.8)
        level = chance.uniform(0.6, 0.75)
        out = mixed(out, out * 0.4, np.exp(-(((x - centre - 0.06) / radius) ** 2) - ((y - level - radius) / 0.04) ** 2))
        u, v = (x - centre) / radius, (y - level) / radius
        height = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        light = np.clip(0.25 + 0.75 * (-0.5 * u - 0.6 * v + 0.62 * height), 0, 1)
        ball = chance.uniform(0.1, 1, 3) * light[..., None] + 0.8 * (light**30)[..., None]
        out = np.where((u**2 + v**2 < 1)[..., None], ball, out)
    return out


SCENES: dict[str, Scene] = {"coast": coast, "hills": hills, "balls": balls}


def photograph(scene: Scene, chance: np.random.Generator, sides: tuple[int, int]) -> Image.Image:
    height, width = chance.integers(*sides, 2)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    noise = chance.normal(0, 0.02, (height, width, 1))
    return Image.fromarray((255 * np.clip(scene(chance, x, y) + noise, 0, 1)).astype(np.uint8))


def make(folder: Path, number: int = 300, sides: tuple[int, int] = (90, 260)) -> Path:
    """A folder of `number` pictures, the same each time."""
    for index in range(number):
        name = list(SCENES)[index % len(SCENES)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture = photograph(SCENES[name], np.random.default_rng(index), sides)
        picture.save(folder / name / f"{index:04d}.{'jpg' if index % 2 else 'png'}", quality=90)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
