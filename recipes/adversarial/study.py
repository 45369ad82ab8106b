"""Many runs of a few models on a few seeds, each measured when it ends: what the tables in records/ are made from.

    LIKELIER_DATA=DATA python recipes/adversarial/study.py recipes/adversarial/ablation.yaml results.jsonl

A study is a YAML file: `data` (one set or several), `seeds` (how many), a budget (`images` or `minutes`), `looks`, and
`models`, each a family with settings, which may have a budget and `seeds` of its own and `mixed_precision: true`. Every
run is one line of the file of results, and is not made again if it is there, so that a study can be stopped, and gone
on with, at any time. `--part 2/8` makes every eighth of the runs, for several processes or machines; their files are
put together with `cat`.

A line holds the measures of 10,000 samples (Fréchet distance in the set's own three extractors; precision, recall,
density and coverage in the first; classes without a sample, or the modes of stacked images, of 26,000) and how steady
the training was, from the run's own log.
`--pictures FOLDER` keeps the samples of the first seed of each model. Runs themselves are thrown away. In the end the
table of the results is printed, as `table.py` makes it: with distances as shares of that of the study's `yardstick`,
if it names one of its models.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import UInt8
from table import table
from torch import Tensor

import likelier
from likelier import rng
from likelier.collapse import collapse_warnings
from likelier.family import Family
from likelier.features import at_hand
from likelier.images import as_uint8
from likelier.modes import MODE_MEASURES, SAMPLED, mode_measures
from likelier.reference import Features, Reference
from likelier.stability import training_stability

N = 10_000
CHUNK = 1_000
BUDGET = ("images", "minutes", "epochs")
ASKED = ("family", "settings", "seed", "looks", "mixed_precision", *BUDGET)
KEYS = ("frechet_distance", "precision", "recall", "density", "coverage", "class_histogram_kl")

Job = dict[str, Any]


def jobs_of(study: Mapping[str, Any]) -> Iterator[Job]:
    """Every run of a study: seeds in the outer loop, so that all models have as many when it is stopped early."""
    data = study["data"] if isinstance(study["data"], list) else [study["data"]]
    seeds = {model: what.get("seeds", study["seeds"]) for model, what in study["models"].items()}
    for seed, name, (model, what) in product(range(max(seeds.values())), data, study["models"].items()):
        if seed >= seeds[model]:
            continue
        source = what if set(BUDGET) & set(what) else study
        budget = {k: v for k, v in source.items() if k in BUDGET}
        mixed = {k: v for k, v in what.items() if k == "mixed_precision"}
        yield {
            "data": name,
            "model": model,
            "family": what["family"],
            "settings": what.get("settings", {}),
            "seed": seed,
            "looks": study["looks"],
            **budget,
            **mixed,
        }


@cache
def reference_of(data: str) -> Reference:
    """What samples are held against; made once."""
    images = likelier.load_images(data)
    found = [at_hand(images, seed=seed) for seed in (0, 1, 2)]
    return Reference(images, found[0], found[1:], min(N, len(images.test)))


def carried_out(job: Job, device: str, folder: Path, pictures: Path | None) -> dict[str, Any]:
    """Train, measure, and keep the picture; the line of results."""
    reference = reference_of(job["data"])
    arguments = {k: v for k, v in job.items() if k in ASKED}
    run = likelier.train(data=reference.images, device=device, out=folder / "run", **arguments)
    family, generator = likelier.load(run), rng.generator(0, "study")
    samples = drawn(family, reference.n, generator)
    seen = reference.view(samples)
    stacked = reference.images.stacked_from is not None
    more = reference.view(drawn(family, SAMPLED - reference.n, generator)) if stacked else None
    values = reference.against(seen, KEYS)
    log = run.metrics()
    if pictures is not None and job["seed"] == 0:
        last = max((run.path / "samples").iterdir())
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / picture_of(job["data"], job["model"])).write_bytes(last.read_bytes())
    assert run.done is not None
    return {
        **job,
        "status": run.done["status"],
        "images": run.done["images"],
        "seconds": run.done["seconds"],
        "parameters": run.done["parameters"],
        **{k: run.environment[k] for k in ("device_name", "threads", "torch", "commit")},
        **{k: round(v, 4) for k, v in values.items() if k in KEYS and v is not None},
        "distances": [
            round(values["frechet_distance"], 4),
            *map(rounded, reference.distances_elsewhere(samples).values()),
        ],
        **({"missing": missing(reference, seen)} if more is None else modes(reference, [seen, more])),
        "stability": training_stability(log),
        "fd": [[line["images"], round(line["fd"], 2)] for line in log if line.get("evaluation") and "fd" in line],
        "warnings": collapse_warnings(log),
    }


def drawn(family: Family, n: int, generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """That many samples."""
    parts = [min(CHUNK, n - start) for start in range(0, n, CHUNK)]
    return torch.cat([as_uint8(family.sample(part, generator)) for part in parts])


def missing(reference: Reference, seen: Features) -> int | None:
    """The classes without a sample; None if the extractor knows none."""
    counts = seen.counts(len(reference.images.classes))
    return None if counts is None else int((counts == 0).sum())


def modes(reference: Reference, seen: list[Features]) -> dict[str, float | None]:
    """How many modes the samples have, and how evenly."""
    return {measure.key: measure.value for measure in mode_measures(reference, seen, MODE_MEASURES)}


def picture_of(data: str, model: str) -> str:
    """The file of a model's samples."""
    return f"{data}-{model.replace(' ', '-')}.png"


def rounded(value: float) -> float:
    """To four digits after the point."""
    return round(value, 4)


def main() -> None:
    """Make the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="a YAML file")
    parser.add_argument("results", type=Path, help="a file of JSON lines, which is added to")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th run, from the I-th (0/1)")
    parser.add_argument("--only", metavar="MODEL", help="runs of this model alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=Path, help="folder for the samples of the first seed")
    options = parser.parse_args()
    first, of = map(int, options.part.split("/"))
    study = yaml.safe_load(options.study.read_text())
    if options.only not in (None, *study["models"]):
        parser.error(f"--only: there is no model '{options.only}': wanted one of {'; '.join(study['models'])}")
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    results = [json.loads(line) for line in lines]
    there = {tuple(line[k] for k in ("data", "model", "seed")) for line in results}
    for job in list(jobs_of(study))[first::of]:
        if (job["data"], job["model"], job["seed"]) in there or options.only not in (None, job["model"]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            line = carried_out(job, options.device, Path(folder), options.pictures)
        with options.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        results.append(line)
        print(*(line[k] for k in ("data", "model", "seed", "status", "seconds", "distances", "recall")), flush=True)
    print(table(results, study.get("yardstick")))


if __name__ == "__main__":
    main()
