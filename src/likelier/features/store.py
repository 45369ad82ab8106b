"""Where trained extractors are kept: frozen in the package for the named sets, in the cache for all others.

Both are safetensors files with the facts in their metadata; a frozen one has its sha256 in `frozen/index.json` too, so
that a changed file is noticed, and every figure can say which weights it was taken with.
"""

import json
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import safetensors
import safetensors.torch

from likelier.errors import InputError
from likelier.features.network import Trained, initialised, labelled, recipe_of, sha256
from likelier.files import cache_folder, write_atomically
from likelier.images import Images

FROZEN = Path(__file__).parent / "frozen"


class Facts(TypedDict):
    """What is recorded of an extractor."""

    name: str
    """Of the image set."""
    recipe: str
    seed: int
    accuracy: float
    data: str
    """The digest of the image set."""
    sha256: str
    """Of the weights, as `likelier.features.network.sha256` computes it."""


def facts_of(found: Trained, images: Images, seed: int) -> Facts:
    """What is to be recorded."""
    return {
        "name": images.name,
        "recipe": found.recipe,
        "seed": seed,
        "accuracy": found.accuracy or 0.0,
        "data": images.digest,
        "sha256": sha256(found.network.state_dict()),
    }


def to_bytes(found: Trained, facts: Facts) -> bytes:
    """Weights and facts as one safetensors file."""
    return safetensors.torch.save(found.network.state_dict(), {"likelier": json.dumps(facts)})


@cache
def index() -> dict[str, Facts]:
    """The frozen extractors: file name → facts."""
    found: dict[str, Facts] = json.loads((FROZEN / "index.json").read_text(encoding="utf-8"))
    return found


def find_frozen(images: Images, seed: int) -> Trained | None:
    """The extractor that comes with the package, by the content of the images, whatever they are called.

    Raises:
        InputError: its file is not the one that was published with this version.
    """
    for file, facts in index().items():
        if facts["data"] == images.digest and facts["seed"] == seed and facts["recipe"] == recipe_of(labelled(images)):
            found = read(FROZEN / file, images, facts)
            if found is None:
                raise InputError(f"{FROZEN / file} is damaged or missing: install likelier again")
            return found
    return None


def cached_file(images: Images, seed: int, folder: Path | None) -> Path:
    """Where the extractor of these images is, or would be."""
    name = re.sub(r"[^\w.-]", "_", images.name)
    recipe = recipe_of(labelled(images))
    return (folder or cache_folder()) / f"{name}-{recipe}-seed{seed}-{images.digest[:12]}.safetensors"


def load_cached(images: Images, seed: int, folder: Path | None = None) -> Trained | None:
    """The extractor in the cache; None if there is none for these images, or if one bit of it has changed."""
    wanted = {"recipe": recipe_of(labelled(images)), "seed": seed, "data": images.digest}
    return read(cached_file(images, seed, folder), images, wanted)


def read(file: Path, images: Images, wanted: Any) -> Trained | None:
    """The extractor in a file, if its facts are those wanted and its weights those of its facts; None otherwise."""
    try:
        content = file.read_bytes()
        state = safetensors.torch.load(content)
        facts: Facts = header(content)
        if not wanted.items() <= facts.items() or facts["sha256"] != sha256(state):
            return None
        network = initialised(images, facts["seed"])
        network.load_state_dict(state)
        return Trained(facts["name"], facts["recipe"], images.shape, network, float(facts["accuracy"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError):
        return None  # a cache is no promise: whatever is wrong with the file, it is made again


def header(content: bytes) -> Any:
    """The facts beside the tensors: safetensors puts them into a JSON header, after its length in eight bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8:end])["__metadata__"]["likelier"])


def save(found: Trained, images: Images, seed: int, folder: Path | None = None) -> None:
    """Put an extractor into the cache, or warn that it cannot be kept: it can be used all the same."""
    file = cached_file(images, seed, folder)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, to_bytes(found, facts_of(found, images, seed)))
    except OSError as error:
        warnings.warn(
            f"the extractor of {images.name} was trained but cannot be kept in {file.parent} "
            f"({error.strerror}): set LIKELIER_CACHE to a folder that can be written",
            stacklevel=4,
        )
