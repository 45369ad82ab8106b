"""Does a model make the class that it should? The class wanted against the class that the extractor sees.

For a model that is told of classes, the class wanted is the one that a sample is asked for; for one that encodes, the
class of a test image, and what is looked at is its reconstruction. The share on the diagonal is the label agreement
(of samples that were asked for by class it is known as GAN-test: Konstantin Shmelkov, Cordelia Schmid, Karteek Alahari:
How good is my GAN?, 2018, arXiv 1807.09499). The same table of real test images says how much of the rest is the
extractor's own error.
"""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from likelier import rng
from likelier.evidence import Evidence, NoFigure
from likelier.family import Decodes, Encodes, Family
from likelier.images import Split, as_float, as_uint8
from likelier.walks import Arrays
from likelier.watch import part_of, reconstruct

LOOKED_AT = 1_000
"""Images."""
CHUNK = 250
MOST_CLASSES = 100


def confusion(evidence: Evidence) -> Arrays:
    """Counts `confusion` [wanted, seen], and those of real test images; `confusion_kind` is "asked" or "rebuilt"."""
    family, classes = evidence.family, len(evidence.images.classes)
    rebuilds = isinstance(family, Encodes) and isinstance(family, Decodes)
    if not family.classes and not rebuilds:
        raise NoFigure("it is neither told of classes nor does it encode images")
    if not 1 < classes <= MOST_CLASSES:
        raise NoFigure(f"the images have {classes:,} class{'es' * (classes > 1)}: wanted 2 to {MOST_CLASSES}")
    test = part_of(evidence.probe_test, torch.arange(min(LOOKED_AT, len(evidence.probe_test))))
    if family.classes:
        kind, wanted = "asked", torch.arange(LOOKED_AT) % family.classes
        images = asked(family, wanted)
    else:
        kind, wanted = "rebuilt", test.labels
        images = rebuilt(family, test)
    return {
        "confusion": table(evidence, images, wanted).numpy(),
        "confusion_real": evidence.reference.once(
            "confusion of real images", lambda: table(evidence, test.images, test.labels)
        ).numpy(),
        "confusion_kind": np.array([kind]),
    }


def table(evidence: Evidence, images: UInt8[Tensor, "n c h w"], wanted: Int64[Tensor, " n"]) -> Int64[Tensor, "k k"]:
    """How many images of each class wanted are taken for each class."""
    seen, k = evidence.reference.view(images).classes, len(evidence.images.classes)
    if seen is None:
        raise NoFigure(f"{evidence.reference.extractor.name} knows no classes")
    return torch.bincount(wanted * k + seen.cpu(), minlength=k * k).view(k, k)


def asked(family: Family, labels: Int64[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
    """Samples of these classes."""
    generator = rng.generator(0, "asked for by class")
    return finite(torch.cat([family.sample(len(part), generator, part) for part in torch.split(labels, CHUNK)]))


def rebuilt(family: Family, test: Split) -> UInt8[Tensor, "n c h w"]:
    """What comes back of test images."""
    return finite(torch.cat([reconstruct(family, as_float(part)) for part in torch.split(test.images, CHUNK)]))


def finite(x: Tensor) -> UInt8[Tensor, "n c h w"]:
    """Images as bytes; NoFigure if some are not finite."""
    if not bool(x.isfinite().all()):
        raise NoFigure("the images that it makes are not finite")
    return as_uint8(x)
