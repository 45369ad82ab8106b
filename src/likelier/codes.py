"""What the codes of a model hold: how well they reconstruct, what they tell of the classes, how they fit the prior.

"The classes cluster in the latent space" needs two baselines, and both stand beside each figure: raw pixels, in which
classes lie apart before anything is learned, and the same encoder before training.
"""

import math
from collections.abc import Callable, Collection
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from likelier import metrics, rng
from likelier.distributions import Normal
from likelier.evidence import CHUNK, Evidence, Measure
from likelier.family import Bounds, Decodes, Encodes, Family
from likelier.images import Split, as_float
from likelier.likelihood import dequantise
from likelier.metrics.reconstruction import psnr_of
from likelier.watch import has_standard_prior, reconstruct

SCATTERED = 2_000
"""Test images whose codes are drawn, clustered and held against draws from the prior."""


CODE_MEASURES = {  # key: (label, unit, better, which images: tested, probed or scattered)
    "reconstruction_mse": ("reconstruction MSE", "per pixel", "lower", "tested"),
    "reconstruction_psnr": ("reconstruction PSNR", "dB", "higher", "tested"),
    "reconstruction_ssim": ("reconstruction SSIM", "", "higher", "tested"),
    "elbo": ("ELBO, own σ", "nats/image", "", "tested"),  # no arrow: each model has its own observation model
    "linear_probe": ("linear probe", "accuracy", "higher", "probed"),
    "knn_accuracy": ("k-NN accuracy", "accuracy", "higher", "probed"),
    "silhouette": ("silhouette of classes", "", "higher", "scattered"),
    "silhouette_pca": ("silhouette in the PCA plane", "", "higher", "scattered"),
    "nmi": ("NMI of classes and clusters", "", "higher", "scattered"),
    "nmi_pca": ("NMI in the PCA plane", "", "higher", "scattered"),
    "active_units": ("active units", "", "", "tested"),
    "kl": ("KL(q(z|x) ‖ p(z))", "nats/image", "", "tested"),
    "mmd_to_prior": ("MMD² of codes and prior", "", "lower", "scattered"),
}
OF_RECONSTRUCTIONS = ("reconstruction_mse", "reconstruction_psnr", "reconstruction_ssim")
OF_CLASSES = ("linear_probe", "knn_accuracy", "silhouette", "silhouette_pca", "nmi", "nmi_pca")
OF_PRIOR = ("kl", "mmd_to_prior")


def code_measures(evidence: Evidence, keys: Collection[str] = tuple(CODE_MEASURES)) -> list[Measure]:
    """Reconstruction, the bound, and what the codes hold; each says why where it does not apply."""
    values = values_of(evidence, keys)
    of_codes = encodes_and_decodes(evidence.family) and has_classes(evidence) and not set(keys).isdisjoint(OF_CLASSES)
    floors = baselines(evidence) if of_codes else {}
    probed = len(evidence.probe_test)
    sizes = {"tested": len(evidence.tested), "probed": probed, "scattered": min(SCATTERED, probed)}
    return [
        Measure(
            key,
            f"{key}_{evidence.images.name}_test_n{sizes[which]}{'_dequantised' if key == 'elbo' else ''}",
            label,
            value := finite(values.get(key)),
            unit,
            better,
            {who: known[key] for who, known in floors.items() if key in known} or None,
            None if value is not None else why_no_value(evidence, key, key in values),
        )
        for key, (label, unit, better, which) in CODE_MEASURES.items()
        if key in keys
    ]


def finite(value: float | None) -> float | None:
    """The value, if it is a number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def why_no_value(evidence: Evidence, key: str, taken: bool) -> str:
    """Why a measure of codes has no value."""
    if taken:
        return "it is not finite"
    if key == "elbo":
        return "it has no bound on the likelihood"
    if not encodes_and_decodes(evidence.family):
        return "it has no encoder"
    if key in OF_CLASSES:
        if evidence.images.stacked_from is not None:
            return f"{len(evidence.images.classes):,} classes have too few images each to be told from codes"
        return "the images have no classes"
    if key == "reconstruction_ssim":
        return f"its window of 11 pixels is larger than images of {evidence.images.shape[1]}×{evidence.images.shape[2]}"
    return "its codes or its prior are not normal"


def encodes_and_decodes(family: Family) -> bool:
    """Whether the family makes codes of images and images of codes."""
    return isinstance(family, Encodes) and isinstance(family, Decodes)


def has_classes(evidence: Evidence) -> bool:
    """Whether there are classes that codes could hold, and that what is probed has images enough of."""
    return evidence.images.stacked_from is None and len(torch.unique(evidence.probe_test.labels)) > 1


def values_of(evidence: Evidence, keys: Collection[str]) -> dict[str, float]:
    """Every figure of these that can be taken, by key, and those that are computed with them."""
    family, test = evidence.family, evidence.tested
    found: dict[str, float] = {}
    if isinstance(family, Bounds) and "elbo" in keys:
        found["elbo"] = mean_bound(family, test)
    if not encodes_and_decodes(family):
        return found
    if not set(keys).isdisjoint(OF_RECONSTRUCTIONS):
        found |= reconstruction(family, test.images)
    if has_classes(evidence) and not set(keys).isdisjoint(OF_CLASSES):
        found |= class_measures(partial(codes_of, family), evidence)
    if "active_units" in keys:
        found["active_units"] = float(metrics.active_units(codes_of(family, test.images)))
    kl = mean_kl(family, test.images) if not set(keys).isdisjoint(OF_PRIOR) else None
    if kl is not None:
        found["kl"] = kl
        if "mmd_to_prior" in keys:
            found["mmd_to_prior"] = prior_gap(family, evidence.probe_test.images[:SCATTERED])
    return found


def reconstruction(family: Family, images: UInt8[Tensor, "n c h w"]) -> dict[str, float]:
    """How far decode(E[z|x]) is from x; an error that is not finite is left to be told as such."""
    errors, likeness = 0.0, 0.0
    windows = min(images.shape[2:]) >= 11
    for part in torch.split(images, CHUNK):
        x = as_float(part)
        rebuilt = reconstruct(family, x)
        if not bool(rebuilt.isfinite().all()):
            return dict.fromkeys(OF_RECONSTRUCTIONS, math.nan)
        errors += len(x) * metrics.mse(x, rebuilt)
        likeness += len(x) * metrics.ssim(x, rebuilt) if windows else 0.0
    mse = errors / len(images)
    found = {"reconstruction_mse": mse, "reconstruction_psnr": psnr_of(mse)}
    return found | {"reconstruction_ssim": likeness / len(images)} if windows else found


def baselines(evidence: Evidence) -> dict[str, dict[str, float]]:
    """What codes must beat: raw pixels, which cluster before anything is learned, and the encoder before training."""
    return {
        "raw pixels": evidence.reference.once(
            "raw pixels", lambda: class_measures(lambda x: as_float(x).flatten(1), evidence)
        ),
        "untrained encoder": class_measures(partial(codes_of, evidence.untrained), evidence),
    }


def planes_below(evidence: Evidence) -> dict[str, metrics.PrincipalComponents]:
    """The PCA planes of the two baselines, of the images whose codes are drawn."""
    images = evidence.probe_test.images[:SCATTERED]
    return {
        "pixels": evidence.reference.once("plane of pixels", lambda: plane_of(as_float(images).flatten(1))),
        "untrained": plane_of(codes_of(evidence.untrained, images)),
    }


def class_measures(coder: Callable[[Tensor], Tensor], evidence: Evidence) -> dict[str, float]:
    """How well codes separate the classes: read off by probe and neighbours, and as clusters, in the PCA plane too."""
    train, test = coder(evidence.probe_train.images), coder(evidence.probe_test.images)
    train_labels, labels = evidence.probe_train.labels, evidence.probe_test.labels
    few, of_few = test[:SCATTERED], labels[:SCATTERED]
    plane = plane_of(few).projected
    return {
        "linear_probe": metrics.linear_probe(train, train_labels, test, labels),
        "knn_accuracy": metrics.knn_accuracy(train, train_labels, test, labels),
        "silhouette": metrics.silhouette(few, of_few),
        "silhouette_pca": metrics.silhouette(plane, of_few),
        "nmi": metrics.nmi(few, of_few),
        "nmi_pca": metrics.nmi(plane, of_few),
    }


def prior_gap(family: Family, images: UInt8[Tensor, "n c h w"]) -> float:
    """MMD² between one draw of q(z|x) an image and as many draws from the prior."""
    assert isinstance(family, Encodes)
    assert isinstance(family, Decodes)
    generator = rng.generator(0, "codes and prior")
    codes = torch.cat([family.encode(as_float(x)).sample(generator) for x in torch.split(images, CHUNK)])
    return metrics.mmd_to_prior(codes, family.prior().sample(generator, len(codes)))


def codes_of(family: Family, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """The mean code of every image."""
    assert isinstance(family, Encodes)
    return torch.cat([family.encode(as_float(x)).mean for x in torch.split(images, CHUNK)])


def mean_kl(family: Family, images: UInt8[Tensor, "n c h w"]) -> float | None:
    """KL(q(z|x) ‖ p(z)) in nats, averaged over the images; None for codes or a prior that are not (standard) normal."""
    assert isinstance(family, Encodes)
    if not has_standard_prior(family):
        return None
    posteriors = [family.encode(as_float(x)) for x in torch.split(images, CHUNK)]
    gaussian = [q for q in posteriors if isinstance(q, Normal)]
    if len(gaussian) < len(posteriors):
        return None
    mu, log_var = torch.cat([q.mu for q in gaussian]), torch.cat([q.log_var for q in gaussian])
    return metrics.kl_per_dimension(mu, log_var).sum().item()


def plane_of(codes: Float[Tensor, "n d"]) -> metrics.PrincipalComponents:
    """The plane of most variance; a code of one dimension lies on a line of it."""
    return metrics.principal_components(codes if codes.shape[1] > 1 else F.pad(codes, (0, 1)))


def mean_bound(family: Family, split: Split) -> float:
    """The ELBO over a split in nats per image: one sample of z an image, pixels dequantised."""
    assert isinstance(family, Bounds)
    generator = rng.generator(0, "bound")
    bounds = [family.log_prob_bound(dequantise(x, generator), 1, generator) for x in torch.split(split.images, CHUNK)]
    return torch.cat(bounds).double().mean().item()
