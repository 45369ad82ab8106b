"""What a trained family is worth: the same measures for every kind of model, each beside its floor.

Every figure that is taken in feature space carries its conditions in its name (extractor and hash, reference split, N,
quantisation), because figures of different conditions do not compare. The floor is the same measure between real images
and other real images: what a perfect model would score at this N. `docs/measures.md` explains each measure, and the
schema of `measures.json`.
"""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from likelier import rng
from likelier.atlas import atlas_of
from likelier.codes import (
    CODE_MEASURES,
    SCATTERED,
    code_measures,
    codes_of,
    has_classes,
    mean_kl,
    plane_of,
    planes_below,
)
from likelier.collapse import collapse_warnings, posterior_collapse
from likelier.errors import InputError
from likelier.errors import nearest as nearest_name
from likelier.evidence import Evidence, Measure
from likelier.experiment import images_of, load
from likelier.family import Decodes, Encodes, build
from likelier.features.kept import kept
from likelier.files import read_json, write_atomically, write_json
from likelier.images import Images, as_uint8
from likelier.metrics.frechet import frechet_distance
from likelier.metrics.neighbours import nearest
from likelier.metrics.principal_components import PrincipalComponents
from likelier.modes import MODE_MEASURES, mode_measures, mode_warnings
from likelier.portrait import portrait
from likelier.reference import OF_CLASSES, OVERLAP, Features, Reference, Values, class_names_missing, noise_of
from likelier.run import Run
from likelier.stability import stability_warnings, training_stability
from likelier.verdict import COPIES_ALLOWED
from likelier.watch import has_standard_prior, looked_at

FORMAT = 2
SHOWN = 64
PAIRS = 16

OnStage = Callable[[str], None]


SAMPLE_MEASURES = {  # key: (short name, label, unit, better)
    "frechet_distance": ("fd", "Fréchet distance", "", "lower"),
    "frechet_distance_infinity": ("fdinf", "Fréchet distance, N → ∞", "", "lower"),
    "kernel_distance": ("kd", "kernel distance", "", "lower"),
    "precision": ("precision", "precision", "", "higher"),
    "recall": ("recall", "recall", "", "higher"),
    "density": ("density", "density", "", ""),
    "coverage": ("coverage", "coverage", "", "higher"),
    "class_histogram_kl": ("class_kl", "class histogram KL", "nats", "lower"),
    "missing_classes": ("missing", "missing classes", "", "lower"),
    "copied_share": ("copied", "share of copies", "", "lower"),
    "authenticity": ("authenticity", "authenticity", "", ""),
    "data_copying_ct": ("ct", "data copying C_T", "standard deviations", ""),
    **MODE_MEASURES,
}
SHORT_NAMES = {
    **{short: (key,) for key, (short, *_) in SAMPLE_MEASURES.items()},
    "kid": ("kernel_distance",),
    "prdc": OVERLAP,
}
"""How some measures are named where they are chosen: as the field does, and as full names begin."""
ALL = (*SAMPLE_MEASURES, *CODE_MEASURES)
FROM_MORE = frozenset({"frechet_distance", *MODE_MEASURES})
"""Measures that want more samples than N: for the noise of a distance, and to count modes."""


def measure(
    run: str | Path | Run,
    *,
    data: Any = None,
    data_root: str | Path | None = None,
    family: str | None = None,
    reference: Reference | None = None,
    only: Collection[str] | None = None,
    on_stage: OnStage = lambda stage: None,
) -> dict[str, Any]:
    """Measure a run's model and write `measures.json`, `figures.npz` and `atlas.npz` into the run.

    With `only`, nothing but the named measures is computed, to the same figures, and nothing is written: what a run
    holds is all of its measures or none.

    Args:
        run: a run directory with a checkpoint.
        data, data_root, family: as in `likelier.resume`.
        reference: what the samples are held against, to share it between runs on the same data.
        only: names of measures, as `measures.json` has them for keys, or `fd`, `kid`, `prdc` and others for short.
        on_stage: called with a word on what is being done.

    Returns:
        What `measures.json` holds: `conditions`, `measures` (one object each, see `Measure`) and `warnings`. With
        `only`, the keys of the measures are there under that name, too.

    Raises:
        InputError: no run, no checkpoint, data that are not found, or a measure that there is not.

    >>> import likelier, tempfile
    >>> run = likelier.train("vae", "digits", images=512, out=tempfile.mkdtemp() + "/vae")
    >>> measures = likelier.measure(run)["measures"]
    >>> [m["label"] for m in measures][:4]
    ['Fréchet distance', 'Fréchet distance, N → ∞', 'kernel distance', 'precision']
    """
    asked = None if only is None else chosen_measures(only)
    run = run if isinstance(run, Run) else Run.open(run)
    images = images_of(run, reference.images if data is None and reference is not None else data, data_root)
    model = load(run, family)
    if reference is None:
        on_stage("extractor")
        reference = Reference(images)
    keys = usual(images) if asked is None else asked
    untrained = build(type(model), model.config, images, run.config["seed"]).eval().requires_grad_(False)
    evidence = Evidence(model, untrained, reference)
    found: list[Measure] = []
    if of_samples := chosen(keys, SAMPLE_MEASURES):
        on_stage("samples")
        fresh = evidence.fresh_samples() if not FROM_MORE.isdisjoint(keys) else []
        found += sample_measures(reference, evidence.samples, evidence.features, fresh, of_samples)
    if of_codes := chosen(keys, CODE_MEASURES):
        on_stage("codes")
        found += code_measures(evidence, of_codes)
    stability = training_stability(log := run.metrics())
    said = warnings_of(evidence, bool(of_samples), log)
    result = {
        "format": FORMAT,
        "conditions": {**reference.conditions, "sample_seed": 0},
        "measures": [asdict(m) for m in found],
        "stability": stability,
        "looks": looks_in(run, reference),
        "warnings": outcome_warnings(run) or [*said, *of_figures(found), *stability_warnings(stability)],
    }
    if only is not None:
        return {**result, "only": list(keys)}
    arrays, atlas = arrays_of(evidence), atlas_of(model, evidence.probe_test)
    write_arrays(run.path / "figures.npz", arrays)
    if atlas is None:
        (run.path / "atlas.npz").unlink(missing_ok=True)
    else:
        write_arrays(run.path / "atlas.npz", atlas)
    write_json(run.path / "measures.json", result)  # the last: a run that has it has been measured, and has them all
    return result


def looks_in(run: Run, reference: Reference) -> dict[str, Any]:
    """How many samples the looks during training took the distance of, and what as many held-out images have."""
    held_out, seen = looked_at(reference.images)

    def floor() -> dict[str, Tensor]:
        vectors = [reference.view(split.images).vectors for split in (seen, held_out)]
        return {"floor": torch.tensor(frechet_distance(*vectors), dtype=torch.float64)}

    if run.config.get("watched_in") != reference.extractor.name:  # in other features, or in none
        return {"n": len(held_out), "floor": None}
    name = f"floor-looks-{len(held_out)}"
    found = reference.once(name, lambda: kept(name, floor, reference.images, reference.extractor))
    return {"n": len(held_out), "floor": float(found["floor"])}


def chosen_measures(names: Collection[str], among: Collection[str] = ALL) -> tuple[str, ...]:
    """The keys of named measures, in their usual order.

    Raises:
        InputError: a name that none of them has, or no names.

    >>> chosen_measures(["prdc", "kid"])
    ('kernel_distance', 'precision', 'recall', 'density', 'coverage')
    """
    known = {key: (key,) for key in among} | {
        short: keys for short, keys in SHORT_NAMES.items() if set(keys) <= set(among)
    }
    wanted = f"wanted some of {', '.join(sorted(known))}"
    if not names:
        raise InputError(f"no measure is named: {wanted}")
    for name in (name for name in names if name not in known):
        near = nearest_name(name, known)
        guess = f"did you mean '{near}'? " if near else ""
        raise InputError(f"there is no measure '{name}': {guess}{wanted}")
    found = {key for name in names for key in known[name]}
    return tuple(key for key in among if key in found)


def usual(images: Images) -> tuple[str, ...]:
    """The keys of what is measured without being asked for: of classes, or in their place of the modes of stacks."""
    others = MODE_MEASURES if images.stacked_from is None else OF_CLASSES
    return tuple(key for key in ALL if key not in others)


def chosen(keys: Collection[str], among: Collection[str]) -> tuple[str, ...]:
    """Those of the keys that are among others, in the order of these."""
    return tuple(key for key in among if key in keys)


def measure_images(
    fake: UInt8[Tensor, "n c h w"],
    reference: Reference,
    fresh: Sequence[UInt8[Tensor, "_ c h w"]] = (),
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """The measures of images that any other program made: what `measures.json` holds, for them.

    Args:
        fake: as many images as `reference.n`, of the shape of its image set; they are taken as they are.
        reference: what they are held against.
        fresh: other such sets of the same model, if there are any, from which the noise of the distance is told; modes
            are counted in them too, and in a last set that is smaller.
        only: names of measures of samples, as in `measure`.

    Raises:
        InputError: another number of images, another shape, or a measure that there is not.

    >>> import likelier
    >>> digits = likelier.load_images("digits")
    >>> result = measure_images(digits.test.images, Reference(digits))
    >>> result["measures"][0]["label"], result["measures"][0]["value"] < 20
    ('Fréchet distance', True)
    """
    if len(fake) != reference.n:
        raise InputError(f"{len(fake)} images for a reference of {reference.n}: wanted as many")
    every = chosen(usual(reference.images), SAMPLE_MEASURES)
    keys = every if only is None else chosen_measures(only, SAMPLE_MEASURES)
    seen = reference.view(fake)
    found = sample_measures(reference, fake, seen, fresh, keys)
    result = {
        "format": FORMAT,
        "conditions": reference.conditions,
        "measures": [asdict(m) for m in found],
        "warnings": [*spread_warnings(reference, seen), *class_warnings(reference, seen), *of_figures(found)],
    }
    return result if only is None else {**result, "only": list(keys)}


def sample_measures(
    reference: Reference,
    fake: UInt8[Tensor, "n c h w"] | None,
    seen: Features | None,
    fresh: Sequence[UInt8[Tensor, "_ c h w"]],
    keys: Collection[str],
) -> list[Measure]:
    """Measures of samples, in the order of SAMPLE_MEASURES; `fake` is None where the samples are not finite."""
    values: Values | None = None
    elsewhere: dict[str, float] = {}
    noise: float | None = None
    others: list[Features] = []
    if fake is not None and seen is not None:
        values = reference.against(seen, keys) | reference.copying(seen.vectors, keys)
        elsewhere = reference.distances_elsewhere(fake) if "frechet_distance" in keys else {}
        others = [seen, *(reference.view(images) for images in fresh if not FROM_MORE.isdisjoint(keys))]
        if "frechet_distance" in keys:
            whole = (each.vectors for each in others if len(each.vectors) == reference.n)
            noise = noise_of(reference.distances(whole))
    floors = reference.floors_of(keys)
    found = [
        Measure(
            key,
            f"{short}_{reference.suffix}",
            label,
            None if values is None else values[key],
            unit,
            better,
            {name: value for name, floor in floors.items() if (value := floor.get(key)) is not None},
            why_no_value(reference, values, key),
            noise=noise if key == "frechet_distance" else None,
            elsewhere=elsewhere if key == "frechet_distance" and elsewhere else None,
        )
        for key, (short, label, unit, better) in SAMPLE_MEASURES.items()
        if key in keys and key not in MODE_MEASURES
    ]
    return found + mode_measures(reference, others, keys)


def why_no_value(reference: Reference, values: Values | None, key: str) -> str | None:
    """Why a measure of samples has no value, or None if it has one."""
    if values is None:
        return "its samples are not finite"
    if values[key] is not None:
        return None
    if key in ("frechet_distance_infinity", "copied_share", "data_copying_ct"):
        return f"{reference.n} samples are too few for it"
    if reference.train.classes is None:
        return f"{reference.extractor.name} knows no classes"
    return "it has samples of a class that the real images have none of"


def outcome_warnings(run: Run) -> list[str]:
    """That a run diverged comes before anything that its figures might say."""
    if run.done is None or run.done["status"] == "finished":
        return []
    images = run.state().scalars["images"]
    return [
        f"{run.done['status']}: {run.done['message']}; measured as it was at its last checkpoint, {images:,} images"
    ]


def warnings_of(evidence: Evidence, of_samples: bool, log: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the figures must know first; of samples only where figures of them are asked for."""
    found = []
    if isinstance(evidence.family, Encodes):
        kl = mean_kl(evidence.family, evidence.tested.images)
        collapsed = None if kl is None else posterior_collapse(kl)
        found += [collapsed] if collapsed else []
    if not of_samples:
        return found
    if not found:
        found += [said for said in collapse_warnings(log) if said.startswith("mode collapse")]
    if evidence.features is None:
        return [*found, "the samples are not finite: training diverged"]
    seen = evidence.features
    return [*found, *spread_warnings(evidence.reference, seen), *class_warnings(evidence.reference, seen)]


def spread_warnings(reference: Reference, fake: Features) -> list[str]:
    """That the samples leave a covariance singular, which a distance then takes for a narrow one."""
    n, d = fake.vectors.shape
    constant = int(still(fake.vectors, reference.train.vectors).sum())
    if constant == d:
        return [f"all {n:,} samples are the same to {reference.extractor.name}: distances are from a single point"]
    if constant:
        return [f"{constant} of {d} features are the same for all samples: their covariance is singular"]
    if n <= d:
        return [f"{n} samples of {d} features have a singular covariance: the distance is hardly one; wanted over {d}"]
    return []


def still(fake: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> Bool[Tensor, " d"]:
    """Whether each feature moves less over the samples than a ten-thousandth of what it does over real images.

    Not whether it moves at all: its last bits hang on an image's place in a batch.
    """
    (low, high), (least, most) = fake.aminmax(dim=0), real.aminmax(dim=0)
    return (high - low) <= 1e-4 * (most - least)


def class_warnings(reference: Reference, fake: Features) -> list[str]:
    """That classes are missing; of stacked images that is for `mode_warnings`: N are too few for a thousand classes."""
    if reference.images.stacked_from is not None:
        return []
    classes = reference.images.classes
    counts, real = fake.counts(len(classes)), reference.train.counts(len(classes))
    missing = class_names_missing(classes, counts, real)
    if not missing:
        return []
    return [f"classes without a single sample: {', '.join(missing)}; too short a training, or modes that were dropped"]


def of_figures(found: Sequence[Measure]) -> list[str]:
    """The warnings that figures themselves give."""
    return [*mode_warnings(found), *copying_warnings(found)]


def copying_warnings(found: Sequence[Measure]) -> list[str]:
    """That the samples are copies, as far as the verdict cares."""
    share = next((m.value for m in found if m.key == "copied_share"), None)
    if share is None or share <= COPIES_ALLOWED:
        return []
    return [
        f"{share:.0%} of the samples are nearer to training images than 99% of held-out images are (allowed: "
        f"{COPIES_ALLOWED:.0%}): a model that copies wins no verdict, whatever its distance"
    ]


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
    }
    real = evidence.reference.train.counts(classes)
    fake = None if evidence.features is None else evidence.features.counts(classes)
    if real is not None and fake is not None:
        arrays |= {"class_counts_real": real.numpy(), "class_counts_fake": fake.numpy()}
    if evidence.samples is not None:
        arrays |= nearest_in_training(evidence)
    if isinstance(family, Decodes) and has_standard_prior(family):
        latent = family.prior().mean.shape[-1]
        noise = shared_noise(SHOWN, latent).to(family.prior().mean)
        arrays["shared_noise_samples"] = as_uint8(family.decode(noise)).numpy()
    if isinstance(family, Encodes):
        codes = codes_of(family, evidence.probe_test.images[:SCATTERED])
        arrays |= {"codes": codes.numpy(), "code_labels": evidence.probe_test.labels[:SCATTERED].numpy()}
        arrays |= plane_arrays("codes", plane_of(codes))
        if has_classes(evidence):
            for name, plane in planes_below(evidence).items():
                arrays |= plane_arrays(name, plane)
    return arrays | portrait(evidence, shared_noise)


def plane_arrays(name: str, plane: PrincipalComponents) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The points of a PCA plane [n, 2], and the share of the variance that each axis has."""
    explained = np.asarray(plane.explained, dtype=np.float32)
    return {f"{name}_pca": plane.projected.float().numpy(), f"{name}_pca_explained": explained}


def nearest_in_training(evidence: Evidence) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The samples that are nearest to training images, and those images: where copies would be seen."""
    assert evidence.samples is not None
    assert evidence.features is not None
    found = nearest(evidence.features.vectors, evidence.reference.whole_train)
    first = found.distances.argsort(stable=True)[:PAIRS]
    return {
        "nearest_samples": evidence.samples[first].numpy(),
        "nearest_training": evidence.images.train.images[found.indices[first]].numpy(),
    }


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> None:
    """A .npz without objects, whole or absent."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def read_measures(path: Path) -> dict[str, Any] | None:
    """What was measured of the run in `path`; None if nothing was, or if the file is not whole."""
    try:
        found: dict[str, Any] = read_json(path / "measures.json")
        if "only" in found:  # somebody kept some measures under the name of all
            return None
        conditions, measures = found["conditions"], found["measures"]
        whole = found["format"] == FORMAT and isinstance(conditions["n"], int) and isinstance(found["warnings"], list)
        return found if whole and all(is_measure(m) for m in measures) else None
    except (InputError, TypeError, KeyError, AttributeError):
        return None


def is_measure(found: Mapping[str, Any]) -> bool:
    """Whether one entry of a measures.json, which may come from anywhere, has what it should have."""
    texts = ("key", "name", "label", "unit", "better")
    tables = [found["floor"] or {}, found["elsewhere"] or {}]
    return (
        all(isinstance(found[text], str) for text in texts)
        and all(value is None or is_number(value) for value in (found["value"], found["noise"]))
        and all(is_number(value) for table in tables for value in table.values())
    )


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def value_of(result: Mapping[str, Any], key: str) -> float | None:
    """One value of what `measure` returned."""
    return next((m["value"] for m in result["measures"] if m["key"] == key), None)
