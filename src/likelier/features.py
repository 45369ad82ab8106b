"""The features that distances are taken in: a small classifier, trained on the data set itself by one fixed recipe.

Distances in the features of different extractors do not compare, not even at equal accuracy: three seeds of one LeNet
put the same binarised digits at Fréchet distances of 5.3, 5.9 and 7.7. So an extractor is trained once, kept in the
cache, and its name holds the hash of its weights; whoever compares two figures compares these names first.

The recipe `cnn-v1`: three 3×3 convolutions (16, 32, 64 channels, the last two of stride 2), 64 features, the
classes, all with LeakyReLU, since a ReLU leaves features that are 0 on every image; Adam, one cycle, 120,000 images in
batches of 128, each batch shifted by up to one pixel and never flipped (a flipped digit is another shape).
One thread trains it: sums then come in one order, however many cores there are; another instruction set or build of
torch may still round otherwise, which is why the hash is in the name.
"""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from likelier import rng
from likelier.errors import InputError
from likelier.files import write_atomically
from likelier.images import Batches, Images, Shape, Split, as_float
from likelier.nn import seeded_weights

RECIPE = "cnn-v1"
"""Changes with anything below that changes the weights."""
BUDGET, BATCH, PEAK_RATE = 120_000, 128, 5e-3
DIMENSION = 64
LEAST = 6
"""Images: the balls of precision and recall reach to the fifth neighbour."""
CHUNK = 1000
"""Images that are looked at together."""

State = dict[str, Tensor]


class Classifier(nn.Module):
    """Images in [0, 1] to features, and features to the logits of the classes."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        c, h, w = shape
        quarter = math.ceil(h / 4) * math.ceil(w / 4)
        self.body = nn.Sequential(
            nn.Conv2d(c, 16, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(64 * quarter, DIMENSION),
            nn.LeakyReLU(0.1),
        )
        self.head = nn.Linear(DIMENSION, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The logits of the classes."""
        logits: Tensor = self.head(self.body(x))
        return logits


class Extractor:
    """A trained classifier as a map from images to features.

    >>> import likelier
    >>> digits = likelier.load_images("digits")
    >>> digits_extractor = extractor(digits)
    >>> digits_extractor.features(digits.test.images).shape
    torch.Size([599, 64])
    """

    def __init__(self, data: str, shape: Shape, network: Classifier, accuracy: float) -> None:
        self.shape = shape
        self.network = network.eval().requires_grad_(False)
        self.accuracy = accuracy
        """The share of test images whose class is told, 0 to 1."""
        self.name = f"{data}-{RECIPE}-{sha256(network.state_dict())[:6]}"
        """Data set, recipe and hash of the weights, e.g. mnist-cnn-v1-ab12cd."""
        self.dimension = DIMENSION

    def features(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The features of images as they are stored, on the network's device.

        Raises:
            InputError: images that are not uint8, or not of the shape that the extractor was trained on.
        """
        return self.features_and_classes(images)[0]

    def features_and_classes(
        self, images: UInt8[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]]:
        """The features, and the class that each image is taken for, in one pass; errors as `features`."""
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"images are {images.dtype} of shape {tuple(images.shape)}: {self.name} wants uint8 of shape "
                f"[n, {', '.join(map(str, self.shape))}]; likelier.images.as_uint8 converts floats"
            )
        device = self.network.head.weight.device
        with torch.no_grad():
            features = torch.cat([self.network.body(as_float(x.to(device))) for x in torch.split(images, CHUNK)])
            return features, self.network.head(features).argmax(dim=1)

    def __repr__(self) -> str:
        return f"Extractor({self.name}: {self.dimension} features, test accuracy {self.accuracy:.2%})"


def extractor(
    images: Images, cache: Path | None = None, progress: Callable[[int, int], None] | None = None, seed: int = 0
) -> Extractor:
    """The extractor of an image set, out of the cache or, if it is not there or not whole, trained.

    Args:
        images: the image set, with two classes or more and sides of 8 pixels or more.
        cache: the folder of the cache; otherwise $LIKELIER_CACHE, $XDG_CACHE_HOME/likelier or ~/.cache/likelier.
        progress: called during training with the images seen and the images in all.
        seed: of the initial weights and the order of the images. Figures are quoted for seed 0; a verdict is
            checked on others too.

    Raises:
        InputError: smaller images, or a single class.

    >>> import likelier
    >>> extractor(likelier.load_images("digits")).name
    'digits-cnn-v1-...'
    """
    check_usable(images)
    folder = cache_folder() if cache is None else cache
    name = re.sub(r"[^\w.-]", "_", images.name)
    file = folder / f"{name}-{RECIPE}-seed{seed}-{images.digest[:12]}.safetensors"
    found = load(file, images, seed)
    if found is None:
        found = train(images, seed, progress)
        save(file, found, images, seed)
    return found


def check_usable(images: Images) -> None:
    """InputError for images that no extractor can be trained on."""
    if min(images.shape[1:]) < 8 or len(images.classes) < 2:
        raise InputError(
            f"{images.name} has {len(images.classes)} classes and images of {images.shape[1]}×{images.shape[2]}: "
            "an extractor of features wants two classes and sides of 8 pixels, at least"
        )
    if min(len(images.train) // 2, len(images.test)) < LEAST:
        raise InputError(
            f"{images.name} has {len(images.train)} + {len(images.test)} images: measures want {LEAST} in half the "
            "training split and in the test split, at least"
        )


def cache_folder() -> Path:
    """$LIKELIER_CACHE, else $XDG_CACHE_HOME/likelier, else ~/.cache/likelier."""
    if own := os.environ.get("LIKELIER_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "likelier"


def train(images: Images, seed: int, progress: Callable[[int, int], None] | None = None) -> Extractor:
    """Train an extractor by the recipe; the global generators are left as they were."""
    network = initialised(images, seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=PEAK_RATE)
    steps = BUDGET // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps, pct_start=0.2)
    batches = Batches(images.train, rng.derived_seed(seed, "extractor"), "cpu")
    shifts = rng.generator(seed, "extractor", "shifts")
    with one_thread():
        for step in range(steps):
            x, labels = batches.draw(BATCH)
            loss = F.cross_entropy(network(shifted(as_float(x), shifts)), labels)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(BATCH * (step + 1), BATCH * steps)
    return Extractor(images.name, images.shape, network, accuracy(network, images.test))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def initialised(images: Images, seed: int) -> Classifier:
    """A classifier with the initial weights that `seed` fixes."""
    with seeded_weights(rng.derived_seed(seed, "extractor", "weights")):
        return Classifier(images.shape, len(images.classes))


def shifted(x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """The batch moved by −1, 0 or 1 pixels in either direction, its border repeated."""
    down, right = torch.randint(3, (2,), generator=generator).tolist()
    h, w = x.shape[2:]
    return F.pad(x, (1, 1, 1, 1), mode="replicate")[..., down : down + h, right : right + w]


def accuracy(network: Classifier, split: Split) -> float:
    """The share of images whose class the network tells."""
    with torch.no_grad():
        told = torch.cat([network(as_float(x)).argmax(dim=1) for x in torch.split(split.images, CHUNK)])
    return float((told == split.labels).double().mean())


def sha256(state: State) -> str:
    """The hash of names, types, shapes and bytes of the tensors."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().numpy().tobytes())
    return sha.hexdigest()


def save(file: Path, found: Extractor, images: Images, seed: int) -> None:
    """Put an extractor into the cache, or warn that it cannot be kept: it can be used all the same."""
    state = found.network.state_dict()
    facts = {
        "recipe": RECIPE,
        "seed": seed,
        "accuracy": found.accuracy,
        "data": images.digest,
        "sha256": sha256(state),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, safetensors.torch.save(state, {"likelier": json.dumps(facts)}))
    except OSError as error:
        warnings.warn(
            f"the extractor of {images.name} was trained but cannot be kept in {file.parent} "
            f"({error.strerror}): set LIKELIER_CACHE to a folder that can be written",
            stacklevel=3,
        )


def load(file: Path, images: Images, seed: int) -> Extractor | None:
    """The extractor in the cache; None if there is none for these images, or if one bit of it has changed."""
    try:
        content = file.read_bytes()
        state = safetensors.torch.load(content)
        facts = header(content)
        wanted = {"recipe": RECIPE, "seed": seed, "data": images.digest, "sha256": sha256(state)}
        if any(facts[key] != value for key, value in wanted.items()):
            return None
        network = initialised(images, seed)
        network.load_state_dict(state)
        return Extractor(images.name, images.shape, network, float(facts["accuracy"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError):
        return None  # a cache is no promise: whatever is wrong with the file, it is made again


def header(content: bytes) -> dict[str, float | str]:
    """The facts beside the tensors: safetensors puts them into a JSON header, after its length in eight bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    facts: dict[str, float | str] = json.loads(json.loads(content[8:end])["__metadata__"]["likelier"])
    return facts
