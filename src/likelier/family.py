"""What a model is: a game of one or more players, each with a loss of its own.

A VAE is one player, a GAN two, a VAE-GAN three; the training loop does not know which. A file in `families/` holds one
`Family`: its configuration, its networks, and `turns`, which yields the moves of the game.
"""

import importlib
import inspect
import pkgutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pydantic
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from likelier import rng
from likelier.distributions import Distribution
from likelier.errors import InputError, unknown
from likelier.images import Images, Shape, as_float
from likelier.nn import Networks, seeded_weights
from likelier.schedules import Schedule, constant

MOST = 1 << 20
"""No whole-numbered setting is larger: it would take all the memory there is before it could be refused."""


@runtime_checkable
class Step(Protocol):
    """A family's only source of input and of chance, so that a run can be replayed, resumed or captured."""

    @property
    def batch(self) -> int:
        """Images in a batch."""

    @property
    def progress(self) -> Float[Tensor, ""]:
        """The fraction of the budget that is spent, in [0, 1], on the training device."""

    def images(self) -> Float[Tensor, "b c h w"]:
        """A fresh batch of training images in [0, 1]; each one counts towards the budget."""

    def labels(self) -> Int64[Tensor, " b"]:
        """The classes of the images last drawn."""

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise."""


@dataclass(frozen=True)
class Player:
    """A part of the parameters, and the Adam settings that it is trained with.

    `ema` is the half-life, in images, of the moving average that stands in for these weights wherever the model is
    looked at (samples, measures, `likelier.load`); without it the weights themselves are used. `schedule` gives the
    factor of `lr` for every share of the budget that is spent, and `lr_factors`, one for each module, multiply it.
    """

    modules: tuple[nn.Module, ...]
    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    ema: float | None = None
    schedule: Schedule = constant
    lr_factors: tuple[float, ...] | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter of its modules."""
        return [p for module in self.modules for p in module.parameters()]

    def factors_of_lr(self) -> list[float]:
        """The factor of lr of every parameter."""
        factors = self.lr_factors or (1.0,) * len(self.modules)
        return [f for f, module in zip(factors, self.modules, strict=True) for _ in module.parameters()]


@dataclass(frozen=True)
class Move:
    """One simultaneous update: the loss that each moving player descends (0-d), and scalars worth logging."""

    losses: Mapping[str, Float[Tensor, ""]]
    log: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)


class Family(nn.Module, ABC):
    """A generative model: build it with `build`, train it with `likelier.train`.

    Subclasses set `Config`, a frozen dataclass in the same file whose fields include `batch`.
    """

    Config: ClassVar[type]
    replays: ClassVar[bool] = True
    """Whether every turn is the same moves. One that changes by more than `step.progress` (a penalty in every 16th
    turn, say) sets this to False, and is carried out as written each time."""

    classes: int = 0
    """How many classes it knows, one of which it is told of each image; 0 if it is trained without labels."""

    def __init__(self, config: Any, shape: Shape) -> None:
        super().__init__()
        self.config = config
        self.shape = shape

    def start_from(self, batches: Iterator[Float[Tensor, "b c h w"]]) -> None:
        """Set initial weights by training images in [0, 1], where a family does so; called once, before training."""

    def meet(self, images: Images) -> None:
        """Learn of the image set what its networks hang on, and refuse one that does not suit; called before training.

        A model that begins with another's weights meets its own images after it was given them.

        Raises:
            InputError: it cannot be trained on these images.
        """

    @abstractmethod
    def players(self) -> dict[str, Player]:
        """The players by name; together they hold every parameter exactly once."""

    @abstractmethod
    def turns(self, step: Step) -> Iterator[Move]:
        """The moves of one turn; each is carried out before the next is asked for."""

    @abstractmethod
    def sample(
        self, n: int, generator: torch.Generator, labels: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """`n` images in [0, 1]; `labels` asks a conditional family for these classes."""


def unconditional(labels: Tensor | None) -> None:
    """Refuse labels: a family that would ignore them says so."""
    if labels is not None:
        raise InputError("labels are given to a family that was not trained on them: leave them out")


@runtime_checkable
class Decodes(Protocol):
    """A family whose images are decoded from latent codes with a tractable prior; a GAN does, too."""

    def prior(self) -> Distribution:
        """The distribution of one code, [latent]; if a family is told of classes, the last coordinate is the class."""

    def decode(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c h w"]:
        """Codes → images in [0, 1]."""


@runtime_checkable
class OfClasses(Protocol):
    """A family that is told of classes, and decodes codes into images of those that are asked for."""

    def generate(self, z: Float[Tensor, "b coordinates"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Codes, without their last coordinate, which stands for the class, and classes → images in [0, 1]."""


@runtime_checkable
class Encodes(Protocol):
    """A family that infers the code of an image."""

    def encode(self, x: Float[Tensor, "b c h w"]) -> Distribution:
        """Images in [0, 1] → the posterior of each one's code, [b, latent]."""


@runtime_checkable
class Scores(Protocol):
    """A family with a discriminator's or critic's view of images."""

    def score(self, x: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"] | None = None) -> Float[Tensor, " b"]:
        """How real each image looks, as a logit or a critic's value: larger is more real."""


@runtime_checkable
class Bounds(Protocol):
    """A family with a lower bound on the log-likelihood of an image."""

    def log_prob_bound(self, x: Float[Tensor, "b c h w"], k: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """The IWAE bound with k samples (k = 1: the ELBO), in nats per image."""


def names() -> list[str]:
    """The families that come with likelier: the files in `families/`, found without importing them.

    >>> "vae" in names()
    True
    """
    return sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent / "families")]))


def find(name: str) -> type[Family]:
    """The family of that name: a file in `families/`, or the dotted path of a module that defines one.

    Raises:
        InputError: there is no such family, or the module does not define exactly one.

    >>> find("vae").__name__
    'VAE'
    """
    if name in names():
        return only_family(importlib.import_module(f"likelier.families.{name}"))
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise unknown(
            "family", name, names(), "`likelier families` lists them; a module of yours goes by its dotted path"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: the user stands beside his module
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"there is no module {error.name} for the family {name}: run where it can be imported"
        ) from None
    except (Exception, SystemExit) as error:  # anything can go wrong in a user's module
        raise InputError(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error
    return only_family(module)


def only_family(module: Any) -> type[Family]:
    """The one concrete Family that `module` defines."""
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c)
        and issubclass(c, Family)
        and c.__module__ == module.__name__
        and not inspect.isabstract(c)
    ]
    if len(found) != 1:
        raise InputError(
            f"{module.__name__} defines {len(found)} families: wanted one concrete subclass of likelier.Family"
        )
    return found[0]


def configure(family: type[Family], settings: Mapping[str, Any]) -> Any:
    """The configuration of `family` with these settings, converted and checked (the text "1e-3" is a number here).

    Raises:
        InputError: an unknown name, or a value of the wrong type or range.

    >>> configure(find("vae"), {"latent": "2"}).latent
    2
    """
    known = [f.name for f in fields(family.Config)]
    if "batch" not in known:
        raise InputError(f"the settings of {family.__module__} have no batch: wanted the number of images in one")
    for name in settings:
        if name not in known:
            title = family.__module__.rpartition(".")[2]
            raise unknown(f"setting of {title}", name, known, f"`likelier families {title}` lists them")
    try:
        config: Any = pydantic.TypeAdapter(family.Config).validate_python(dict(settings))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        reason = reason.partition(", unable to parse")[0].replace("a valid integer", "a whole number")
        a = "a number " if reason.startswith(("greater", "less")) else ""
        raise InputError(f"{name} = {str(first['input'])[:60]!r}: wanted {a}{reason}") from None
    for name in known:
        value = getattr(config, name)
        if isinstance(value, int) and value > MOST:
            raise InputError(f"{name} = {value}: wanted at most {MOST:,}")
    return config


def settings_of(config: Any) -> dict[str, Any]:
    """The settings of a configuration, as JSON holds them; without the size of a network that it does not have."""
    idle = config.idle_settings(asdict(config)) if isinstance(config, Networks) else ()
    return {name: value for name, value in asdict(config).items() if name not in idle}


MOST_TO_START_FROM = 10_000
"""Training images that initial weights may be set by."""


def build(family: type[Family], config: Any, images: Images | Shape, seed: int) -> Family:
    """A family with the initial weights that `seed` fixes, on the CPU whatever will train it.

    With a shape alone it is built to be loaded: weights that images would set are not set.

    >>> vae = build(find("vae"), find("vae").Config(), (1, 28, 28), seed=0)
    >>> sum(p.numel() for p in vae.parameters())
    418104
    """
    shape = images.shape if isinstance(images, Images) else images
    with seeded_weights(rng.derived_seed(seed, "weights")):
        built = family(config, shape)
        if isinstance(images, Images):
            built.meet(images)
            built.start_from(batches_to_start_from(images, seed))
    return built


def batches_to_start_from(images: Images, seed: int) -> Iterator[Float[Tensor, "b c h w"]]:
    """Training images in an order that the seed fixes, a few at a time and only if they are asked for."""
    order = torch.randperm(len(images.train), generator=rng.generator(seed, "start"))[:MOST_TO_START_FROM]
    for few in torch.split(order, 500):
        yield as_float(images.train.images[few])
