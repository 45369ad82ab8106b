"""What a trained family is worth: the same measures for every kind of model, each beside its floor.

Every figure that is taken in feature space carries its conditions in its name (extractor and hash, reference split, N,
quantisation), because figures of different conditions do not compare. The floor is the same measure between real images
and other real images: what a perfect model would score at this N.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from likelier import metrics, rng
from likelier.distributions import Normal
from likelier.errors import InputError
from likelier.experiment import images_of, load
from likelier.family import Bounds, Decodes, Encodes, Family, build
from likelier.features import Extractor, extractor
from likelier.files import read_json, write_atomically, write_json
from likelier.images import Images, Split, as_float, as_uint8
from likelier.run import Run
from likelier.watch import has_standard_prior, posterior_collapse, reconstruct

FORMAT = 1
MOST = 10_000
CHUNK = 1_000
SHOWN = 64
PROBED = 5_000
SCATTERED = 2_000

OnStage = Callable[[str], None]


@dataclass(frozen=True)
class Measure:
    """One figure: its value, the full name of its conditions, its direction, and what real images score."""

    key: str
    name: str
    label: str
    value: float | None
    unit: str = ""
    better: str = ""  # "lower", "higher", or "" for neither
    floor: Mapping[str, float] | None = None
    why_not: str | None = None  # the reason where there is no value


@dataclass(frozen=True, eq=False)
class Features:
    """Images as the extractor sees them."""

    vectors: Float[Tensor, "n d"]
    classes: Int64[Tensor, " n"]

    def counts(self, classes: int) -> Int64[Tensor, " k"]:
        """How many images the extractor puts in each class."""
        return torch.bincount(self.classes, minlength=classes)


class Reference:
    """What samples of one image set are held against; made once, used for every run on it."""

    def __init__(self, images: Images, judge: Extractor) -> None:
        self.images = images
        self.extractor = judge
        self.n = min(MOST, len(images.train) // 2, len(images.test))
        order = torch.randperm(len(images.train), generator=rng.generator(0, "reference"))
        self.index, other = order[: self.n], order[self.n : 2 * self.n]
        held_out = torch.randperm(len(images.test), generator=rng.generator(0, "held out"))[: self.n]
        self.train = self.view(images.train.images[self.index])
        self.floors = {
            "train–train": self.against(self.view(images.train.images[other])),
            "train–test": self.against(self.view(images.test.images[held_out])),
        }

    def view(self, images: UInt8[Tensor, "n c h w"]) -> Features:
        """Features and predicted classes."""
        return Features(*self.extractor.features_and_classes(images))

    def against(self, other: Features) -> dict[str, float | None]:
        """Every feature-space measure of `other` against the reference subset of the training split, by key."""
        overlap = metrics.precision_recall_density_coverage(self.train.vectors, other.vectors)
        counts, real = (seen.counts(len(self.images.classes)) for seen in (other, self.train))
        return {
            "frechet_distance": metrics.frechet_distance(self.train.vectors, other.vectors),
            "kernel_distance": metrics.kernel_distance(self.train.vectors, other.vectors),
            **overlap._asdict(),
            "class_histogram_kl": histogram_kl(counts, real),
            "missing_classes": float(metrics.missing_classes(counts[real > 0])),
        }

    @property
    def conditions(self) -> dict[str, Any]:
        """What the figures hang on."""
        return {
            "extractor": self.extractor.name,
            "extractor_accuracy": self.extractor.accuracy,
            "n": self.n,
            "reference": "train",
            "quantisation": "u8",
            "sample_seed": 0,
        }


def histogram_kl(fake: Int64[Tensor, " k"], real: Int64[Tensor, " k"]) -> float | None:
    """KL(fake ‖ real) over the classes that the data have; None where the fakes have others, as it is infinite then."""
    known = real > 0
    return None if bool(fake[~known].any()) else metrics.class_histogram_kl(fake[known], real[known])


SAMPLE_MEASURES = {  # key: (short name, label, unit, better)
    "frechet_distance": ("fd", "Fréchet distance", "", "lower"),
    "kernel_distance": ("kd", "kernel distance", "", "lower"),
    "precision": ("precision", "precision", "", "higher"),
    "recall": ("recall", "recall", "", "higher"),
    "density": ("density", "density", "", ""),
    "coverage": ("coverage", "coverage", "", "higher"),
    "class_histogram_kl": ("class_kl", "class histogram KL", "nats", "lower"),
    "missing_classes": ("missing", "missing classes", "", "lower"),
}


class Evidence:
    """One family and the reference it is held against; whatever is derived from them is made when first asked for."""

    def __init__(self, family: Family, untrained: Family, reference: Reference) -> None:
        self.family, self.untrained, self.reference = family, untrained, reference
        self.images = reference.images

    @cached_property
    def samples(self) -> UInt8[Tensor, "n c h w"] | None:
        """N samples, rounded to bytes as a file would hold them; None if some are not finite."""
        generator = rng.generator(0, "measured samples")
        pieces = [
            self.family.sample(len(chunk), generator) for chunk in torch.split(torch.arange(self.reference.n), CHUNK)
        ]
        samples = torch.cat(pieces)
        return as_uint8(samples) if bool(samples.isfinite().all()) else None

    @cached_property
    def features(self) -> Features | None:
        """The samples as the extractor sees them."""
        return None if self.samples is None else self.reference.view(self.samples)

    @cached_property
    def probe_train(self) -> Split:
        """Training images that the linear probe is fitted on."""
        index = self.reference.index[:PROBED]
        return Split(self.images.train.images[index], self.images.train.labels[index])

    @cached_property
    def probe_test(self) -> Split:
        """Test images whose codes are probed, clustered and drawn."""
        order = torch.randperm(len(self.images.test), generator=rng.generator(0, "probed"))[:PROBED]
        return Split(self.images.test.images[order], self.images.test.labels[order])


def measure(
    run: str | Path | Run,
    *,
    data: Images | None = None,
    data_root: str | Path | None = None,
    family: str | None = None,
    reference: Reference | None = None,
    on_stage: OnStage = lambda stage: None,
) -> dict[str, Any]:
    """Measure a run's model and write `measures.json` and `figures.npz` into the run.

    Args:
        run: a run directory with a checkpoint.
        data, data_root, family: as in `likelier.resume`.
        reference: what the samples are held against, to share it between runs on the same data.
        on_stage: called with a word on what is being done.

    Returns:
        What `measures.json` holds: `conditions`, `measures` (one object each, see `Measure`) and `warnings`.

    Raises:
        InputError: no run, no checkpoint, or data that are not found.

    >>> import likelier, tempfile
    >>> run = likelier.train("vae", "digits", images=512, out=tempfile.mkdtemp() + "/vae")
    >>> measures = likelier.measure(run)["measures"]
    >>> [m["label"] for m in measures][:4]
    ['Fréchet distance', 'kernel distance', 'precision', 'recall']
    """
    run = run if isinstance(run, Run) else Run.open(run)
    images = images_of(run, data or (None if reference is None else reference.images), data_root)
    model = load(run, family)
    if reference is None:
        on_stage("extractor")
        reference = Reference(images, extractor(images))
    untrained = build(type(model), model.config, model.shape, run.config["seed"]).eval().requires_grad_(False)
    evidence = Evidence(model, untrained, reference)
    on_stage("samples")
    found = sample_measures(evidence)
    on_stage("codes")
    found += latent_measures(evidence)
    result = {
        "format": FORMAT,
        "conditions": reference.conditions,
        "measures": [asdict(m) for m in found],
        "warnings": outcome_warnings(run) or warnings_of(evidence),
    }
    arrays = arrays_of(evidence)
    write_json(run.path / "measures.json", result)
    write_arrays(run.path / "figures.npz", arrays)
    return result


def sample_measures(evidence: Evidence) -> list[Measure]:
    """The measures of samples, in the order of SAMPLE_MEASURES."""
    reference = evidence.reference
    values = None if evidence.features is None else reference.against(evidence.features)
    suffix = f"{reference.extractor.name}_train_n{reference.n}_u8"
    return [
        Measure(
            key,
            f"{short}_{suffix}",
            label,
            None if values is None else values[key],
            unit,
            better,
            {name: value for name, floor in reference.floors.items() if (value := floor[key]) is not None},
            why_no_value(values, key),
        )
        for key, (short, label, unit, better) in SAMPLE_MEASURES.items()
    ]


def why_no_value(values: Mapping[str, float | None] | None, key: str) -> str | None:
    """Why a measure of samples has no value, or None if it has one."""
    if values is None:
        return "its samples are not finite"
    return None if values[key] is not None else "it has samples of a class that the real images have none of"


def latent_measures(evidence: Evidence) -> list[Measure]:
    """Reconstruction, the bound, and what the codes hold; each says why where it does not apply."""
    family, test = evidence.family, evidence.images.test
    encodes = isinstance(family, Encodes) and isinstance(family, Decodes)
    scalars = encoding_measures(evidence) if encodes else {}
    floors = baselines(evidence) if encodes else {}
    bound = mean_bound(family, test) if isinstance(family, Bounds) else None
    tested, probed = len(test), len(evidence.probe_test)
    drawn = min(SCATTERED, probed)

    def of_codes(key: str, label: str, n: int, unit: str = "", better: str = "") -> Measure:
        floor = {who: values[key] for who, values in floors.items() if key in values} or None
        why_not = None if key in scalars else "it has no encoder"
        if encodes and key == "kl" and why_not:
            why_not = "its codes or its prior are not normal"
        return Measure(key, f"{key}_test_n{n}", label, scalars.get(key), unit, better, floor, why_not)

    bound, why_no_bound = finite_or_reason(bound, "it has no bound on the likelihood")

    return [
        of_codes("reconstruction_mse", "reconstruction MSE", tested, "per pixel", "lower"),
        Measure(
            "elbo", f"elbo_test_n{tested}", "ELBO", bound, "nats/image", "higher",
            why_not=why_no_bound,
        ),
        of_codes("linear_probe", "linear probe", probed, "accuracy", "higher"),
        of_codes("silhouette", "silhouette of classes", drawn, better="higher"),
        of_codes("silhouette_pca", "silhouette in the PCA plane", drawn, better="higher"),
        of_codes("active_units", "active units", tested),
        of_codes("kl", "KL(q(z|x) ‖ p(z))", tested, "nats/image"),
    ]  # fmt: skip


def finite_or_reason(value: float | None, why_none: str) -> tuple[float | None, str | None]:
    """A value, or the reason why there is none."""
    if value is None:
        return None, why_none
    return (value, None) if math.isfinite(value) else (None, "it is not finite")


def encoding_measures(evidence: Evidence) -> dict[str, float]:
    """Figures of the trained encoder, by key."""
    family, test = evidence.family, evidence.images.test.images
    scalars = code_measures(partial(codes_of, family), evidence)
    rebuilt = torch.cat([reconstruct(family, as_float(x)) for x in torch.split(test, CHUNK)])
    scalars["reconstruction_mse"] = metrics.mse(as_float(test), rebuilt)
    scalars["active_units"] = float(metrics.active_units(codes_of(family, test)))
    kl = mean_kl(family, test)
    return scalars if kl is None else {**scalars, "kl": kl}


def baselines(evidence: Evidence) -> dict[str, dict[str, float]]:
    """What codes must beat: raw pixels, which cluster before anything is learned, and the encoder before training."""
    return {
        "raw pixels": code_measures(lambda x: as_float(x).flatten(1), evidence),
        "untrained encoder": code_measures(partial(codes_of, evidence.untrained), evidence),
    }


def code_measures(coder: Callable[[Tensor], Tensor], evidence: Evidence) -> dict[str, float]:
    """How well codes separate the classes: by a linear probe, by silhouette, and in the plane of their PCA."""
    train, test = coder(evidence.probe_train.images), coder(evidence.probe_test.images)
    labels, few = evidence.probe_test.labels, slice(SCATTERED)
    return {
        "linear_probe": metrics.linear_probe(train, evidence.probe_train.labels, test, labels),
        "silhouette": metrics.silhouette(test[few], labels[few]),
        "silhouette_pca": metrics.silhouette(plane_of(test[few]).projected, labels[few]),
    }


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
    """The ELBO over a split, in nats per image, one sample of z an image."""
    assert isinstance(family, Bounds)
    generator = rng.generator(0, "bound")
    bounds = [family.log_prob_bound(as_float(x), 1, generator) for x in torch.split(split.images, CHUNK)]
    return torch.cat(bounds).double().mean().item()


def outcome_warnings(run: Run) -> list[str]:
    """That a run diverged comes before anything that its figures might say."""
    if run.done is None or run.done["status"] == "finished":
        return []
    images = run.state().scalars["images"]
    return [
        f"{run.done['status']}: {run.done['message']}; measured as it was at its last checkpoint, {images:,} images"
    ]


def warnings_of(evidence: Evidence) -> list[str]:
    """What a reader of the figures must know first."""
    found = []
    if isinstance(evidence.family, Encodes):
        kl = mean_kl(evidence.family, evidence.images.test.images)
        collapsed = None if kl is None else posterior_collapse(kl)
        found += [collapsed] if collapsed else []
    if evidence.features is None:
        found.append("the samples are not finite: training diverged")
        return found
    counts = evidence.features.counts(len(evidence.images.classes))
    real = evidence.reference.train.counts(len(evidence.images.classes))
    absent = ((counts == 0) & (real > 0)).tolist()  # a class that the data lack is nobody's fault
    missing = [name for name, gone in zip(evidence.images.classes, absent, strict=True) if gone]
    if missing:
        listed = ", ".join(missing)
        found.append(f"classes without a single sample: {listed}; too short a training, or modes that were dropped")
    return found


def shared_noise(n: int, latent: int) -> Float[Tensor, "n latent"]:
    """Noise that models with different latent sizes share: the first dimensions of one long vector an image."""
    dimensions = [torch.randn(n, generator=rng.generator(0, "shared noise", d)) for d in range(latent)]
    return torch.stack(dimensions, dim=1)


def arrays_of(evidence: Evidence) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """What the report draws."""
    family, images = evidence.family, evidence.images
    classes = len(images.classes)
    arrays: dict[str, Any] = {
        "real": images.train.images[evidence.reference.index[:SHOWN]].numpy(),
        "class_names": np.array(images.classes),
        "class_counts_real": evidence.reference.train.counts(classes).numpy(),
    }
    if evidence.features is not None:
        arrays["class_counts_fake"] = evidence.features.counts(classes).numpy()
    if isinstance(family, Decodes) and has_standard_prior(family):
        latent = family.prior().mean.shape[-1]
        noise = shared_noise(SHOWN, latent).to(family.prior().mean)
        arrays["shared_noise_samples"] = as_uint8(family.decode(noise)).numpy()
    if isinstance(family, Encodes):
        codes = codes_of(family, evidence.probe_test.images[:SCATTERED])
        pca = plane_of(codes)
        arrays |= {
            "codes": codes.numpy(),
            "code_labels": evidence.probe_test.labels[:SCATTERED].numpy(),
            "codes_pca": pca.projected.float().numpy(),
            "codes_pca_explained": np.asarray(pca.explained, dtype=np.float32),
        }
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> None:
    """A .npz without objects, whole or absent."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def read_measures(path: Path) -> dict[str, Any] | None:
    """What was measured of the run in `path`; None if nothing was, or if the file is not whole."""
    try:
        found = read_json(path / "measures.json")
        whole = found["format"] == FORMAT and all({"key", "value", "floor"} <= m.keys() for m in found["measures"])
        return found if whole and {"conditions", "warnings"} <= found.keys() else None
    except (InputError, TypeError, KeyError, AttributeError):
        return None


def value_of(result: Mapping[str, Any], key: str) -> float | None:
    """One value of what `measure` returned."""
    return next((m["value"] for m in result["measures"] if m["key"] == key), None)
