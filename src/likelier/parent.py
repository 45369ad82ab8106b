"""The run that another one begins from: its weights, and the moving averages of them, are what the new one starts with.

It is a run of its own, with other data, settings or budget if that is wanted, as long as the weights fit. Optimisers
start anew: what they remember belongs to the gradients of another training, which may be the one that diverged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likelier.errors import InputError
from likelier.family import Family, build, configure, find, names, settings_of
from likelier.images import Shape
from likelier.run import Run, State

Shapes = dict[str, tuple[int, ...]]


class Parent:
    """The last good state of a run, as `train` begins from it."""

    def __init__(self, run: str | Path | Run, family: str | None = None) -> None:
        self.run = run if isinstance(run, Run) else Run.open(run)
        self.config = self.run.config
        self.family: str = self.config["family"]
        if family not in (None, self.family):
            raise InputError(f"{self.run.path} was trained with the family {self.family}, not {family}: leave it out")
        if family is None and self.family not in names():
            raise InputError(
                f"{self.run.path} was trained with the family {self.family}, which is not likelier's own: "
                f"if you trust that code, name it, as in `likelier train {self.family} --init {self.run.path}`"
            )
        self.state: State = self.run.state()

    @property
    def images_seen(self) -> int:
        """Images that its weights had seen, those of its own parents included."""
        return int(self.state.scalars["images"]) + images_before(self.config)

    def settings(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """Its settings, with some of them changed."""
        return {**self.config["settings"], **changed}

    def record(self) -> dict[str, Any]:
        """What the configuration of the new run says of it."""
        return {"path": str(self.run.path.resolve()), "state": self.state.digest(), "images": self.images_seen}

    def check(self, config: Any, shape: Shape) -> None:
        """InputError unless its weights fit a family of this configuration, naming what does not."""
        cls, there = find(self.family), self.config["settings"]
        own = {name: t for name, t in self.state.tensors.items() if name.startswith("family/")}
        found = {name.removeprefix("family/"): tuple(t.shape) for name, t in own.items()}

        def fits(settings: Mapping[str, Any], shape: Shape) -> bool:
            try:
                return shapes_of(build(cls, configure(cls, settings), shape, 0)) == found
            except InputError:  # settings that exclude each other
                return False

        here = settings_of(config)
        if fits(here, shape):
            return
        c, h, w = self.config["shape"]
        differ = [name for name in here if here[name] != there.get(name)]
        alone = [name for name in differ if not fits({**there, name: here[name]}, (c, h, w))]
        said = [f"{name} = {there.get(name)} and not {here[name]}" for name in alone or differ]
        if not fits(there, shape):
            said.append(f"images of {c}×{h}×{w} and not {'×'.join(map(str, shape))}")
        raise InputError(f"the weights of {self.run.path} are for {', '.join(said)}: wanted the same, or no --init")


def shapes_of(family: Family) -> Shapes:
    """The shape of every weight and buffer."""
    return {name: tuple(t.shape) for name, t in family.state_dict().items()}


def images_before(config: Mapping[str, Any]) -> int:
    """Images that the weights of a run had seen when it began."""
    parent = config.get("parent") or {}
    images = parent.get("images") if isinstance(parent, dict) else None
    if parent and not (isinstance(images, int) and images >= 0):
        raise InputError(f"a configuration has parent = {parent!r}: wanted its path, state and images; train anew")
    return images or 0
