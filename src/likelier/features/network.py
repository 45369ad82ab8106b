"""The recipe of an extractor: a small convolutional classifier, trained on the image set itself.

`cnn-v2`: three 3×3 convolutions (16, 32, 64 channels, the last two of stride 2), 64 features, the classes; batch
normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167), with which 240,000 images do what a million did not; LeakyReLU
throughout, since a ReLU leaves features that are 0 on every image; AdamW, one cycle, 300,000 images in batches of 128,
each image shifted by up to a sixteenth of its side and never flipped, as a flipped digit is another shape.

`rotation-v2`, for sets without classes: the same network learns by how many quarter turns an image was rotated, for
which it has to know what stands upright in it (Gidaris, Singh, Komodakis: Unsupervised Representation Learning by
Predicting Image Rotations, 2018, arXiv 1803.07728). Images that are not square are mirrored left–right, top–bottom,
both or not at all in place of it. Its features are poorer, and its distances compare with no others.

One thread trains it: sums then come in one order, however many cores there are; another instruction set or build of
torch may still round otherwise, which is why the hash is in the name.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from likelier import rng
from likelier.augmentation import shifted
from likelier.errors import InputError
from likelier.images import Batches, Images, Shape, as_float
from likelier.nn import Network, seeded_weights
from likelier.threads import by_piece, so_many

BUDGET, BATCH, PEAK_RATE = 300_000, 128, 5e-3
DIMENSION = 64
TURNS = 4
"""The classes of the task without labels."""
CHUNK = 1000
"""Images that are looked at together."""
CHUNK_ON_CPU = 100
"""So few that what one layer hands to the next stays in the cache: four times as fast, and the same bit for bit."""


class Extractor(ABC):
    """A map from images to features."""

    name: str
    """What pins it: data set or network, recipe, and hash of the weights, e.g. mnist-cnn-v2-ab12cd."""
    dimension: int
    accuracy: float | None
    """The share of test images whose class (or rotation) is told, 0 to 1; None where that is not known."""

    @property
    def digest(self) -> str | None:
        """A hash of all that features hang on besides the image; None where that is not known: they are not kept."""
        return None

    @abstractmethod
    def features_and_classes(
        self, images: UInt8[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"] | None]:
        """The features of images as they are stored, and the class that each is taken for, None if it knows none.

        Raises:
            InputError: images that are not uint8, or not of a shape that the extractor takes.
        """

    def features(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The features alone; errors as `features_and_classes`."""
        return self.features_and_classes(images)[0]

    def __repr__(self) -> str:
        known = "" if self.accuracy is None else f", test accuracy {self.accuracy:.2%}"
        return f"Extractor({self.name}: {self.dimension} features{known})"


class Classifier(nn.Module):
    """Images in [0, 1] to features, and features to the logits of the classes."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        c, h, w = shape
        quarter = math.ceil(h / 4) * math.ceil(w / 4)
        self.body = Network(
            *convolution(c, 16, stride=1),
            *convolution(16, 32, stride=2),
            *convolution(32, 64, stride=2),
            nn.Flatten(),
            nn.Linear(64 * quarter, DIMENSION, bias=False),
            nn.BatchNorm1d(DIMENSION),
            nn.LeakyReLU(0.1),
        )
        self.head = nn.Linear(DIMENSION, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The logits of the classes."""
        logits: Tensor = self.head(self.body(x))
        return logits


def convolution(fan_in: int, fan_out: int, stride: int) -> Network:
    """3×3, normalised by batch, LeakyReLU."""
    return Network(
        nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(fan_out),
        nn.LeakyReLU(0.1),
    )


class Trained(Extractor):
    """An extractor that the recipe made.

    >>> import likelier
    >>> from likelier.features import extractor
    >>> digits = likelier.load_images("digits")
    >>> extractor(digits).features(digits.test.images).shape
    torch.Size([599, 64])
    """

    dimension = DIMENSION

    def __init__(self, data: str, recipe: str, shape: Shape, network: Classifier, accuracy: float) -> None:
        self.shape, self.recipe, self.accuracy = shape, recipe, accuracy
        self.network = network.eval().requires_grad_(False)
        self.name = f"{data}-{recipe}-{sha256(network.state_dict())[:6]}"

    @property
    def digest(self) -> str | None:
        """Of the weights as they are now; None on an accelerator, where sums come in another order."""
        on_cpu = self.network.head.weight.device.type == "cpu"
        return sha256(self.network.state_dict()) if on_cpu else None

    def features_and_classes(
        self, images: UInt8[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"] | None]:
        """As `Extractor`, on the network's device; one trained without labels knows no classes."""
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"images are {images.dtype} of shape {tuple(images.shape)}: {self.name} wants uint8 of shape "
                f"[n, {', '.join(map(str, self.shape))}]; likelier.images.as_uint8 converts floats"
            )
        device = self.network.head.weight.device
        parts = torch.split(images, CHUNK_ON_CPU if device.type == "cpu" else CHUNK)
        with torch.no_grad():
            features = torch.cat(by_piece(lambda x: self.network.body(as_float(x.to(device))), parts))
            known = self.recipe == recipe_of(True)
            return features, self.network.head(features).argmax(dim=1) if known else None


def recipe_of(labelled: bool) -> str:
    """The name of the recipe; it changes with anything here that changes the weights."""
    return "cnn-v2" if labelled else "rotation-v2"


def labelled(images: Images) -> bool:
    """Whether the set has classes to be told apart."""
    return len(images.classes) > 1


def train(images: Images, seed: int, progress: Callable[[int, int], None] | None = None) -> Trained:
    """Train an extractor by the recipe; the global generators are left as they were."""
    network = initialised(images, seed).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, fused=True)
    steps = BUDGET // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps, pct_start=0.2)
    batches = Batches(images.train, rng.derived_seed(seed, "extractor"), "cpu")
    chance, most = rng.generator(seed, "extractor", "shifts"), max(1, min(images.shape[1:]) // 16)
    with so_many(1):
        for step in range(steps):
            stored, labels = batches.draw(BATCH)
            x = as_float(stored)
            if not labelled(images):
                labels = torch.randint(TURNS, (BATCH,), generator=chance)
                x = turned(x, labels)
            x = channels_last(shifted(x, most, chance))
            loss = F.cross_entropy(network(x), labels)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(BATCH * (step + 1), BATCH * steps)
        return Trained(images.name, recipe_of(labelled(images)), images.shape, network, accuracy(network, images))


def initialised(images: Images, seed: int) -> Classifier:
    """A classifier with the initial weights that `seed` fixes."""
    with seeded_weights(rng.derived_seed(seed, "extractor", "weights")):
        return Classifier(images.shape, len(images.classes) if labelled(images) else TURNS)


def channels_last(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The same in the memory layout that the recipe has always had, for a single channel too: last bits hang on it."""
    return x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def turned(x: Float[Tensor, "n c h w"], turns: Int64[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Each image rotated by that many quarter turns; one that is not square is mirrored in that many ways."""
    square = x.shape[-1] == x.shape[-2]
    mirrors: list[list[int]] = [[], [-1], [-2], [-2, -1]]
    out = torch.empty_like(x)
    for k in range(TURNS):
        chosen = turns == k
        out[chosen] = torch.rot90(x[chosen], k, (-2, -1)) if square else x[chosen].flip(mirrors[k])
    return out


def accuracy(network: Classifier, images: Images) -> float:
    """The share of test images whose class the network tells; without labels, of their turns, all four of each."""
    test, labels = images.test.images, images.test.labels
    if labelled(images):
        return share(network.eval(), as_float, test, labels)

    def rotated(k: int) -> Callable[[Tensor], Tensor]:
        return lambda x: turned(as_float(x), torch.full((len(x),), k))

    return sum(share(network.eval(), rotated(k), test, torch.full_like(labels, k)) for k in range(TURNS)) / TURNS


def share(network: nn.Module, prepare: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """The share of prepared images whose label is told."""
    with torch.no_grad():
        told = torch.cat([network(prepare(x)).argmax(dim=1) for x in torch.split(images, CHUNK)])
    return float((told == labels).double().mean())


def sha256(state: Mapping[str, Tensor]) -> str:
    """The hash of names, types, shapes and bytes of the tensors."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().numpy().tobytes())
    return sha.hexdigest()
