"""Networks that several families share, seeded initial weights, and the moving average of weights."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from likelier.images import Shape


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Modules built inside draw their initial weights from `seed`; the global generator is as before afterwards."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # of the CPU alone: torch.manual_seed would reach every device's
        yield


class Network(nn.Sequential):
    """Layers in a row, from a tensor to a tensor."""

    def __call__(self, x: Tensor) -> Tensor:
        """The last layer's output."""
        y: Tensor = super().__call__(x)
        return y


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
    """The middle `height` × `width` of an image: sides that are no multiple of 4 are made larger, then cut."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Float[Tensor, "b c h0 w0"]) -> Float[Tensor, "b c h w"]:
        """[b, c, ≥ height, ≥ width] → [b, c, height, width]."""
        top, left = (x.shape[-2] - self.height) // 2, (x.shape[-1] - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]


def quarter(side: int) -> int:
    """The side of an image after two strides of 2, rounded up."""
    return -(-side // 4)


def conv_down(shape: Shape, width: int) -> Network:
    """The trunk of a DCGAN discriminator for small images: two strided convolutions, [b, c, h, w] → [b, features].

    Batch normalisation on the second only: "not applying batchnorm to the generator output layer and the
    discriminator input layer" (Radford et al. 2016, section 3). `conv_features` says how many features come out.
    """
    c, h, w = shape
    missing = (4 * quarter(w) - w, 4 * quarter(h) - h)
    return Network(
        nn.ZeroPad2d((0, missing[0], 0, missing[1])) if any(missing) else nn.Identity(),
        nn.Conv2d(c, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
    )


def conv_features(shape: Shape, width: int) -> int:
    """The number of features of `conv_down`."""
    return 2 * width * quarter(shape[1]) * quarter(shape[2])


def conv_up(latent: int, width: int, shape: Shape) -> Network:
    """A DCGAN generator for small images: [b, latent] → [b, c, h, w], without a last nonlinearity."""
    c, h, w = shape
    small = (2 * width, quarter(h), quarter(w))
    return Network(
        nn.Linear(latent, 2 * width * small[1] * small[2], bias=False),
        nn.Unflatten(1, small),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, c, 4, stride=2, padding=1),
        Crop(h, w),
    )


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
