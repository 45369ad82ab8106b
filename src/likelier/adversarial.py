"""What all generators against a discriminator share, whatever the game: the two networks, and classes if asked for.

A conditional model (`classes` is their number) is told the class of each image: G has it beside the noise, as a one-hot
code; D adds the projection of its features on a vector of the class,

    D(x, y) = wᵀφ(x) + b + v_yᵀφ(x)                                                                       (3)

(Takeru Miyato, Masanori Koyama: cGANs with Projection Discriminator, 2018, arXiv 1802.05637). To everybody who knows of
no classes it is a model with one more coordinate in its code: the normal quantile of the class, each class having the
share of it that it has of the training images.
"""

from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.distributions import Normal, standard_normal
from likelier.errors import InputError
from likelier.family import Family, Player, Step, unconditional
from likelier.images import Images, Shape
from likelier.nn import Activation, Networks, leaky_relu, linear_layers

Labels = Int64[Tensor, " b"] | None
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, description="step size of both")]
Beta = Annotated[float, Field(ge=0, lt=1, description="of Adam")]
Moves = Annotated[int, Field(ge=1, le=64, description="of D for each one of G")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False, description="weight of the penalty")]
HalfLife = Annotated[float, Field(ge=0, allow_inf_nan=False, description="half-life of G's average in images; 0: none")]


@dataclass(frozen=True)
class Settings(Networks):
    """What every such pair is set by; a family gives its own defaults."""

    latent: Annotated[int, Field(ge=1, description="coordinates of a code")] = 64
    batch: Annotated[int, Field(ge=1)] = 128
    lr: Rate = 1e-3
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    ema: HalfLife = 0
    classes: Annotated[int, Field(ge=0, description="classes, one of which it is told of each image; 0: of none")] = 0


class Adversarial(Family):
    """A generator and a discriminator; a subclass is the game that they play.

    `activation` is G's, `normalised` says whether G and D have batch normalisation where conv and resnet have it.
    """

    config: Settings

    def __init__(
        self,
        config: Settings,
        shape: Shape,
        activation: Activation = nn.ReLU,
        normalised: tuple[bool, bool] = (True, True),
    ) -> None:
        super().__init__(config, shape)
        self.classes = config.classes
        self.generator = config.vector_to_image(config.latent + config.classes, shape, activation, normalised[0])
        self.discriminator = config.image_to_vector(shape, 1, leaky_relu, normalised[1])
        if config.classes:
            head = linear_layers(self.discriminator)[-1]
            self.projection = nn.Linear(head.in_features, config.classes, bias=False)
            self.register_buffer("last_of_class", torch.arange(1, config.classes + 1) / config.classes)

    last_of_class: Tensor
    """The share of the training images that are of this class or an earlier one, [classes]."""

    def meet(self, images: Images) -> None:
        """Count the classes, if it is told of them."""
        if not self.config.classes:
            return
        if self.config.classes != (there := len(images.classes)):
            raise InputError(f"classes = {self.config.classes}: wanted {there}, which {images.name} has, or 0")
        counts = images.train.labels.bincount(minlength=self.config.classes)
        self.last_of_class.copy_(counts.cumsum(0) / len(images.train))

    def players(self) -> dict[str, Player]:
        """Both, in the order in which they move."""
        c = self.config
        judges = (self.discriminator, self.projection) if c.classes else (self.discriminator,)
        return {
            "discriminator": Player(judges, c.lr, c.beta1, c.beta2),
            "generator": Player((self.generator,), c.lr, c.beta1, c.beta2, ema=c.ema or None),
        }

    def labels(self, step: Step) -> Labels:
        """The classes of the images last drawn, if it is told of them."""
        return step.labels() if self.config.classes else None

    def noise(self, step: Step) -> Float[Tensor, "b latent"]:
        """A batch of codes."""
        return step.randn(step.batch, self.config.latent)

    def fakes(self, step: Step, y: Labels) -> Float[Tensor, "b c h w"]:
        """A batch of samples for D to judge, which no gradient goes through."""
        with torch.no_grad():
            return self.generate(self.noise(step), y)

    def answer(self, step: Step, y: Labels) -> Float[Tensor, " b"]:
        """D's scores of a fresh batch of samples, for G to move by."""
        return self.score(self.generate(self.noise(step), y), y)

    def generate(self, z: Float[Tensor, "b latent"], labels: Labels) -> Float[Tensor, "b c h w"]:
        """G(z), or G(z, y)."""
        code = z if labels is None else torch.cat([z, one_hot(labels, self.config.classes, z)], 1)
        return self.generator(code).sigmoid()

    def score(self, x: Float[Tensor, "b c h w"], labels: Labels = None) -> Float[Tensor, " b"]:
        """D(x), a logit or a critic's value; D(x, y) of a conditional one, which wants the classes."""
        if not self.config.classes:
            unconditional(labels)
            return self.discriminator(x).squeeze(1)
        if labels is None:
            raise InputError("this discriminator was trained on labels: wanted the class of each image")
        features = self.discriminator[:-1](x)
        projected = (self.projection(features) * one_hot(labels, self.config.classes, x)).sum(1)
        d: Tensor = self.discriminator[-1](features).squeeze(1) + projected  # Eq. (3)
        return d

    def prior(self) -> Normal:
        """p(z) = N(0, I), with one more coordinate for the class."""
        return standard_normal(self.config.latent + bool(self.config.classes), like=next(self.parameters()))

    def decode(self, z: Float[Tensor, "b latent"]) -> Float[Tensor, "b c h w"]:
        """G(z)."""
        if not self.config.classes:
            return self.generate(z, None)
        z, quantile = z[:, :-1].contiguous(), torch.special.ndtr(z[:, -1]).contiguous()
        labels = torch.bucketize(quantile, self.last_of_class, right=True)
        return self.generate(z, labels.clamp(max=self.config.classes - 1))

    def quantile_of(self, label: int) -> Float[Tensor, ""]:
        """The last coordinate of a code of this class: the normal quantile in the middle of the class's share."""
        bounds = torch.cat([self.last_of_class.new_zeros(1), self.last_of_class]).double()
        quantile: Tensor = torch.special.ndtri(bounds[label : label + 2].mean())
        return quantile.to(self.prior().mean)

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, labels: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """G(z) for z from the prior; `labels` takes the place of the classes that would have been drawn."""
        z = self.prior().sample(generator, n)
        if labels is None:
            return self.decode(z)
        if not self.config.classes:
            unconditional(labels)
        if len(labels) != n or not n:
            raise InputError(f"{len(labels)} labels for {n} samples: wanted one for each")
        if int(labels.min()) < 0 or int(labels.max()) >= self.config.classes:
            raise InputError(f"a label is not among the classes 0 to {self.config.classes - 1}")
        return self.generate(z[:, :-1].contiguous(), labels.to(z.device))


def one_hot(labels: Int64[Tensor, " b"], classes: int, like: Tensor) -> Float[Tensor, "b classes"]:
    """1 at the label's place, else 0, of the type of `like` (torch's own would look at the values, and stop a tape)."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(like.dtype)
