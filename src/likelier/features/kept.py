"""What is known of real images, kept in the cache: it hangs on no model, and costs more than the figures of one do.

A file is taken for what it says only if it says all that the content hangs on, and if the content has the hash that it
says. Whatever else is found there is computed again, and replaced.
"""

import hashlib
import json
import platform
import re
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from likelier.features.network import Extractor, sha256
from likelier.features.store import header
from likelier.files import cache_folder, write_atomically
from likelier.images import Images

WORTHWHILE = 10_000
"""Training images: what is to know of fewer is computed in no time, and not worth a file."""
PACKAGE = Path(__file__).parents[1]
CODE = ("features/*.py", "metrics/*.py", "reference.py", "images.py", "nn.py", "rng.py", "threads.py")
"""What kept figures are computed with."""

Tensors = Mapping[str, Tensor]


def kept(
    what: str, make: Callable[[], Tensors], images: Images, judge: Extractor, folder: Path | None = None
) -> Tensors:
    """What `make` makes of real images, out of the cache where it is there; otherwise it is made, and kept.

    Args:
        what: a name of it, with all that it hangs on besides the images, the extractor and the code.
        make: computes it, as named tensors.
        images: the image set; of one that is small, nothing is kept.
        judge: the extractor whose features they are; of one whose digest is not known, nothing is kept.
        folder: of the cache.
    """
    if len(images.train) < WORTHWHILE or judge.digest is None:
        return make()
    facts = {
        "what": what,
        "data": images.digest,
        "extractor": judge.digest,
        "code": code(),
        "torch": str(torch.__version__),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
    # One name for all versions of the code, so that a new one replaces the file of the old one.
    name = re.sub(r"[^\w.-]", "_", f"{judge.name}-{what}-{images.digest[:12]}")
    file = (folder or cache_folder()) / "real" / f"{name}.safetensors"
    found = read(file, facts)
    if found is None:
        found = make()
        save(file, facts, found)
    return found


def read(file: Path, facts: Mapping[str, str]) -> Tensors | None:
    """The tensors in a file, if its facts are those wanted and its tensors those of its facts; None otherwise."""
    try:
        content = file.read_bytes()
        tensors: Tensors = safetensors.torch.load(content)
        return tensors if header(content) == {**facts, "sha256": sha256(tensors)} else None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError):
        return None  # a cache is no promise: whatever is wrong with the file, it is made again


def save(file: Path, facts: Mapping[str, str], tensors: Tensors) -> None:
    """Put tensors into the cache, or warn that they cannot be kept: they can be used all the same."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"likelier": json.dumps({**facts, "sha256": sha256(tensors)})}
        write_atomically(file, safetensors.torch.save({k: t.contiguous() for k, t in tensors.items()}, metadata))
    except OSError as error:
        warnings.warn(
            f"what is known of the real images cannot be kept in {file.parent} ({error.strerror}), and is computed "
            "each time: set LIKELIER_CACHE to a folder that can be written",
            stacklevel=2,
        )


@cache
def code() -> str:
    """The hash of the code that kept figures are computed with: another version of it computes them anew."""
    sha = hashlib.sha256()
    for file in sorted(found for pattern in CODE for found in PACKAGE.glob(pattern)):
        sha.update(f"{file.relative_to(PACKAGE)}\n".encode() + file.read_bytes())
    return sha.hexdigest()
