"""Networks that several families share, seeded initial weights, and the moving average of weights."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from likelier.images import Shape

Activation = Callable[[], nn.Module]
"""What makes a nonlinearity."""


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Modules built inside draw their initial weights from `seed`; the global generator is as before afterwards."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # of the CPU alone: torch.manual_seed would reach every device's
        yield


def leaky_relu() -> nn.Module:
    """The nonlinearity of discriminators (Radford et al. 2016, section 3)."""
    return nn.LeakyReLU(0.2)


class Network(nn.Sequential):
    """Layers in a row, from a tensor to a tensor."""

    def __call__(self, x: Tensor) -> Tensor:
        """The last layer's output; in float32 if that was computed in bfloat16, as losses are made of it."""
        y: Tensor = super().__call__(x)
        return y.float() if y.dtype == torch.bfloat16 else y


def mlp(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> Network:
    """Fully connected layers of these sizes with `activation` between them, none after the last.

    >>> mlp(784, 256, 10)(torch.zeros(3, 784)).shape
    torch.Size([3, 10])
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return Network(*layers[:-1])


def image_to_vector(shape: Shape, *sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> Network:
    """An MLP on flattened images: [b, c, h, w] → [b, sizes[-1]]."""
    c, h, w = shape
    return Network(nn.Flatten(), *mlp(c * h * w, *sizes, activation=activation))


def vector_to_image(*sizes: int, shape: Shape, activation: Callable[[], nn.Module] = nn.ReLU) -> Network:
    """An MLP that ends in an image: [b, sizes[0]] → [b, c, h, w], without a last nonlinearity."""
    c, h, w = shape
    return Network(*mlp(*sizes, c * h * w, activation=activation), nn.Unflatten(1, shape))


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The fully connected layers of a network, in the order in which they are applied."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


class Crop(nn.Module):
    """The middle `height` × `width` of an image: sides that cannot be halved so often are made larger, then cut."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Float[Tensor, "b c h0 w0"]) -> Float[Tensor, "b c h w"]:
        """[b, c, ≥ height, ≥ width] → [b, c, height, width]."""
        top, left = (x.shape[-2] - self.height) // 2, (x.shape[-1] - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]


def halvings(shape: Shape) -> int:
    """How often a convolutional network halves an image: until the longer side is 8 or less, and twice at least.

    >>> [halvings((1, side, side)) for side in (8, 28, 32, 37, 64, 100, 128)]
    [2, 2, 2, 3, 3, 4, 4]
    """
    return max(2, math.ceil(math.log2(max(shape[1:]) / 8)))


def channels(shape: Shape, width: int) -> list[int]:
    """Those of the image, then those after each halving: `width`, and twice as many each time."""
    return [shape[0], *(width << i for i in range(halvings(shape)))]


def deepest(shape: Shape, width: int) -> Shape:
    """(channels, height, width) after all halvings, the sides rounded up."""
    h, w = (-(-side // 2 ** halvings(shape)) for side in shape[1:])
    return channels(shape, width)[-1], h, w


def padded(shape: Shape) -> nn.Module:
    """Zeros below and on the right, up to sides that can be halved so often."""
    height, width = (-side % 2 ** halvings(shape) for side in shape[1:])
    return nn.ZeroPad2d((0, width, 0, height)) if height or width else nn.Identity()


def batch_norm(channels: int, normalise: bool) -> list[nn.Module]:
    """Batch normalisation, or nothing."""
    return [nn.BatchNorm2d(channels)] if normalise else []


def conv_down(shape: Shape, width: int, activation: Activation, normalise: bool) -> tuple[Network, int]:
    """The trunk of a DCGAN discriminator, a strided convolution for each halving: [b, c, h, w] → [b, features].

    Batch normalisation, if any, on all but the first: "not applying batchnorm to the generator output layer and the
    discriminator input layer" (Radford et al. 2016, section 3).
    """
    (c, first), *rest = pairwise(channels(shape, width))
    layers = [padded(shape), nn.Conv2d(c, first, 4, stride=2, padding=1), activation()]
    for fan_in, fan_out in rest:
        convolution = nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=not normalise)
        layers += [convolution, *batch_norm(fan_out, normalise), activation()]
    return Network(*layers, nn.Flatten()), math.prod(deepest(shape, width))


def conv_up(latent: int, width: int, shape: Shape, activation: Activation, normalise: bool) -> Network:
    """A DCGAN generator, a transposed convolution for each doubling: [b, latent] → [b, c, h, w]."""
    *rest, (last, c) = pairwise(reversed(channels(shape, width)))
    small = deepest(shape, width)
    layers: list[nn.Module] = [nn.Linear(latent, math.prod(small), bias=not normalise), nn.Unflatten(1, small)]
    layers += [*batch_norm(small[0], normalise), activation()]
    for fan_in, fan_out in rest:
        layers += [nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=not normalise)]
        layers += [*batch_norm(fan_out, normalise), activation()]
    return Network(*layers, nn.ConvTranspose2d(last, c, 4, stride=2, padding=1), Crop(*shape[1:]))


class Residual(nn.Module):
    """x + F(x), [b, c, h, w] → the same; F is two 3×3 convolutions, each behind normalisation, if any, and activation.

    Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Identity Mappings in Deep Residual Networks, 2016, arXiv
    1603.05027, figure 1(b): x is passed on as it is.
    """

    def __init__(self, width: int, activation: Activation, normalise: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            convolution = nn.Conv2d(width, width, 3, padding=1, bias=not normalise)
            layers += [*batch_norm(width, normalise), activation(), convolution]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """x + F(x)."""
        y: Tensor = self.branch(x)
        return x + y


def channels_last(network: Network) -> Network:
    """The same with the channels last in memory, in which turns on a CPU are 1.2 to 1.4 times as fast (`conv`: 1.1)."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub has no such argument
    return network


def resnet_down(shape: Shape, width: int, activation: Activation, normalise: bool) -> tuple[Network, int]:
    """A strided convolution for each halving, and a residual block behind it: [b, c, h, w] → [b, features].

    No block at full size, where it would cost more than all the others together.
    """
    layers = [padded(shape)]
    for fan_in, fan_out in pairwise(channels(shape, width)):
        layers += [nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1), Residual(fan_out, activation, normalise)]
    small = deepest(shape, width)
    trunk = Network(*layers, *batch_norm(small[0], normalise), activation(), nn.Flatten())
    return channels_last(trunk), math.prod(small)


def resnet_up(latent: int, width: int, shape: Shape, activation: Activation, normalise: bool) -> Network:
    """A residual block before each doubling: [b, latent] → [b, c, h, w].

    Pixels are doubled and then convolved, as in the residual generators of Gulrajani et al. 2017, arXiv 1704.00028,
    and Miyato et al. 2018, arXiv 1802.05957: with transposed convolutions in their place, samples had chequered
    patterns (decision 12).
    """
    *rest, (last, c) = pairwise(reversed(channels(shape, width)))
    small = deepest(shape, width)
    layers: list[nn.Module] = [nn.Linear(latent, math.prod(small)), nn.Unflatten(1, small)]
    for fan_in, fan_out in rest:
        # 1×1 convolutions give the same before the doubling as after it, for a quarter of the work.
        layers += [Residual(fan_in, activation, normalise), nn.Conv2d(fan_in, fan_out, 1), nn.Upsample(scale_factor=2)]
    layers += [Residual(last, activation, normalise), *batch_norm(last, normalise), activation()]
    layers += [nn.Upsample(scale_factor=2)]
    return channels_last(Network(*layers, nn.Conv2d(last, c, 3, padding=1), Crop(*shape[1:])))


DOWN = {"conv": conv_down, "resnet": resnet_down}
UP = {"conv": conv_up, "resnet": resnet_up}
NetworkName = Annotated[Literal["mlp", "conv", "resnet"], Field(description="what the networks are made of")]
Hidden = Annotated[int, Field(ge=1, description="units in a hidden layer of mlp")]
Depth = Annotated[int, Field(ge=1, le=100, description="hidden layers of mlp")]
Width = Annotated[int, Field(ge=1, description="channels of conv and resnet after the first halving")]


@dataclass(frozen=True)
class Networks:
    """The settings of a family whose networks are built here, and the maps between images and vectors they stand for.

    A family's `Config` inherits from it, and has all networks at all sizes of images at once:

    >>> config = Networks(network="resnet", width=8)
    >>> config.image_to_vector((3, 20, 37), 2)(torch.zeros(5, 3, 20, 37)).shape
    torch.Size([5, 2])
    >>> config.vector_to_image(2, (3, 20, 37))(torch.zeros(5, 2)).shape
    torch.Size([5, 3, 20, 37])
    """

    network: NetworkName = "mlp"
    hidden: Hidden = 256
    depth: Depth = 1
    width: Width = 16

    @model_validator(mode="after")
    def check_networks(self) -> "Networks":
        """ValueError for a size that the chosen network does not have, or a batch that it cannot take."""
        default = {f.name: f.default for f in fields(self)}
        for idle in self.idle_settings({"network": self.network}):
            if getattr(self, idle) != default[idle]:
                used = "hidden and depth" if self.network == "mlp" else "width"
                raise ValueError(f"no {idle} beside network={self.network}, the size of which is {used}")
        if self.network != "mlp" and getattr(self, "batch", 2) < 2:
            raise ValueError(f"batch > 1 beside network={self.network}, which normalises by the batch")
        return self

    @classmethod
    def idle_settings(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The sizes that do nothing beside these settings: a network has only the others."""
        default = next(f.default for f in fields(cls) if f.name == "network")
        return ("width",) if settings.get("network", default) == "mlp" else ("hidden", "depth")

    def image_to_features(
        self, shape: Shape, activation: Activation = nn.ReLU, normalise: bool = True
    ) -> tuple[Network, int]:
        """[b, c, h, w] → [b, features], ending in a nonlinearity; and how many features they are.

        Those of conv and resnet have batch normalisation unless `normalise` is false; mlp has none.
        """
        if self.network == "mlp":
            hidden = image_to_vector(shape, *(self.hidden,) * self.depth, activation=activation)
            return Network(*hidden, activation()), self.hidden
        return DOWN[self.network](shape, self.width, activation, normalise)

    def image_to_vector(
        self, shape: Shape, n: int, activation: Activation = nn.ReLU, normalise: bool = True
    ) -> Network:
        """[b, c, h, w] → [b, n], without a last nonlinearity."""
        trunk, features = self.image_to_features(shape, activation, normalise)
        return Network(*trunk, nn.Linear(features, n))

    def vector_to_image(
        self, n: int, shape: Shape, activation: Activation = nn.ReLU, normalise: bool = True
    ) -> Network:
        """[b, n] → [b, c, h, w], without a last nonlinearity."""
        if self.network == "mlp":
            return vector_to_image(n, *(self.hidden,) * self.depth, shape=shape, activation=activation)
        return UP[self.network](n, self.width, shape, activation, normalise)


def dcgan_initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), batch normalisation from N(1, 0.02²), biases zero (Radford et al. 2016, section 4)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def he_initialise(module: nn.Module) -> None:
    """Weights from N(0, 2/fan-in), biases zero: signals keep their size through layers without normalisation.

    He et al. 2015, arXiv 1502.01852, eq. (10). A residual block without normalisation begins as the identity: its last
    convolution is zero, and its other m − 1 are multiplied by L^(−1/(2m−2)) in a network of L blocks of m (Zhang,
    Dauphin, Ma: Fixup Initialization, 2019, arXiv 1901.09321, section 3.2).
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):  # its kernel reaches each output from 1/stride² of its places only
            fan_in = layer.weight[:, 0].numel() // math.prod(layer.stride)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
        else:
            continue
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / fan_in))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    blocks = [layer for layer in module.modules() if isinstance(layer, Residual)]
    for block in blocks:
        *others, last = [layer for layer in block.branch if isinstance(layer, nn.Conv2d)]
        nn.init.zeros_(last.weight)
        for convolution in others:
            with torch.no_grad():
                convolution.weight *= len(blocks) ** (-0.5 / len(others))


def without_level(network: nn.Module) -> None:
    """Take the last layer's bias away: a game of differences of scores does not move it."""
    linear_layers(network)[-1].register_parameter("bias", None)


class Average:
    """Exponential moving average of weights, with a half-life counted in images.

    Early on the half-life is a twentieth of the images seen, so that the initial weights do not linger (the ramp-up
    of Karras et al. 2020, arXiv 1912.04958). Floating-point buffers are averaged too: batch statistics belong to the
    weights they were taken with.
    """

    RAMP_UP = 0.05

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]], half_life: float) -> None:
        self.averaged, self.live = map(list, zip(*pairs, strict=True))
        self.half_life = half_life

    @torch.no_grad()
    def update(self, new_images: int, images_seen: int) -> None:
        """Move the average towards the live weights, after `new_images` more images."""
        half_life = min(self.half_life, self.RAMP_UP * images_seen)
        torch._foreach_lerp_(self.averaged, self.live, 1 - 0.5 ** (new_images / half_life))
