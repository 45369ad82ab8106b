"""What each command of the command line does, given its options."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch

from likelier import data as sources
from likelier import rng
from likelier.comparison import FAMILIES, Comparison, resume_comparison, settings_by_family
from likelier.comparison import compare as compare_families
from likelier.errors import InputError
from likelier.experiment import images_of, load
from likelier.experiment import resume as resume_run
from likelier.experiment import train as train_family
from likelier.family import Bounds, Decodes, Encodes, Family, Scores, find, names
from likelier.features import extractor
from likelier.files import write_atomically
from likelier.images import Images, as_float, as_uint8
from likelier.measuring import CHUNK, Reference, value_of, write_arrays
from likelier.measuring import measure as measure_run
from likelier.pictures import grid
from likelier.progress import Terminal, table
from likelier.report import write_report
from likelier.run import Run
from likelier.watch import posterior_collapse, reconstruct

Given = dict[str, Any]
TRAINING = ("data", "data_root", "epochs", "images", "minutes", "seed", "out", "device")
FIGURES = {
    "frechet_distance": "FD",
    "kernel_distance": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "reconstruction_mse": "MSE",
    "linear_probe": "probe",
}


def chosen(given: Given, names: tuple[str, ...]) -> Given:
    """Those of the options that were given."""
    return {name: given[name] for name in names if name in given}


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()


def refuse_with_resume(given: Given, allowed: tuple[str, ...]) -> None:
    """A run that goes on has its settings already: to give others is a mistake that must not pass in silence."""
    others = [name for name, value in given.items() if name not in (*allowed, "resume", "json", "quiet") and value]
    if others:
        raise InputError(f"{', '.join(others)} cannot be changed with --resume: the run goes on as it was begun")


def compare(given: Given) -> None:
    """`likelier compare`."""
    with Terminal(given.get("quiet", False)) as audience:
        if "resume" in given:
            refuse_with_resume(given, ("data_root",))
            comparison = resume_comparison(given["resume"], data_root=given.get("data_root"), audience=audience)
        else:
            families = given.get("families", FAMILIES)
            options = chosen(given, (*TRAINING, "seeds", "settings"))
            comparison = compare_families(families, **options, audience=audience)
    if given.get("json"):
        print_json(summary(comparison))
    else:
        print_comparison(comparison)
    print_path("report", comparison.report, given)


def print_path(what: str, path: Path, given: Given) -> None:
    """The last line: where to look."""
    if not given.get("json"):
        print(f"{what}: {path.resolve()}")


def summary(comparison: Comparison) -> Given:
    """A comparison as JSON."""
    runs = [
        {
            "run": str(run.path),
            "family": run.config["family"],
            "seed": run.config["seed"],
            "done": run.done,
            "measures": result,
        }
        for run, result in zip(comparison.runs, comparison.results, strict=True)
    ]
    return {"report": str(comparison.report), "runs": runs}


def print_comparison(comparison: Comparison) -> None:
    """A line for each run, and the floors."""
    results = [result for result in comparison.results if result]
    rows = [
        [
            run.path.name,
            *([figure(value_of(result, key)) for key in FIGURES] if result else ["–"] * len(FIGURES)),
            cost(run),
        ]
        for run, result in zip(comparison.runs, comparison.results, strict=True)
    ]
    if results:
        for kind in ("train–train", "train–test"):
            floors = {m["key"]: (m["floor"] or {}).get(kind) for m in results[0]["measures"]}
            rows.append([f"real, {kind}", *(figure(floors.get(key)) for key in FIGURES), ""])
    n = results[0]["conditions"]["n"] if results else 0
    table(f"{n:,} samples each", ["run", *FIGURES.values(), "seconds"], rows)


def figure(value: float | None) -> str:
    """Three significant digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cost(run: Run) -> str:
    """Seconds of training."""
    return f"{run.done['seconds']:.0f}" if run.done else "–"


def train(given: Given) -> None:
    """`likelier train`."""
    with Terminal(given.get("quiet", False)) as audience:
        if "resume" in given:
            refuse_with_resume(given, ("data_root", "family", "settings"))
            opened = Run.open(given["resume"])
            audience.training(opened.path.name, 1, 1)
            run = resume_run(
                opened, data_root=given.get("data_root"), family=given.get("family"), on_progress=audience.progress
            )
        else:
            family = given.get("family", "vae")
            settings = settings_by_family([family], given["settings"])[family]
            options = chosen(given, (*TRAINING, "checkpoint_seconds"))
            audience.training(family, 1, 1)
            run = train_family(family, **options, settings=settings, on_progress=audience.progress)
        for warning in warnings_of(run):
            audience.note(warning)
    if given.get("json"):
        print_json({"run": str(run.path), **(run.done or {})})
    else:
        done = run.done or {}
        print(f"{done['status']} after {done['images']:,} images in {done['seconds']:.1f} s")
    print_path("run", run.path, given)


def warnings_of(run: Run) -> list[str]:
    """What the log of a run gives cause to say."""
    found = []
    if run.done and run.done["status"] != "finished":
        found.append(f"the run {run.done['status']}: {run.done['message']}; a smaller lr is the first thing to try")
    looks = [line for line in run.metrics() if line.get("evaluation")]
    kl = looks[-1].get("kl") if looks else None
    collapsed = None if kl is None else posterior_collapse(kl)
    return found + ([collapsed] if collapsed else [])


def measure(given: Given) -> None:
    """`likelier measure`."""
    results: Given = {}
    references: dict[str, Reference] = {}
    with Terminal(given.get("quiet", False)) as audience:
        for path in given["runs"]:
            run = Run.open(path)
            digest = run.environment["data_digest"]
            if digest not in references:
                images = images_of(run, data_root=given.get("data_root"))
                audience.stage(f"training the extractor of {images.name}, or taking it from the cache")
                references[digest] = Reference(images, extractor(images))
            audience.stage(f"measuring {run.path.name}")
            results[path] = measure_run(run, family=given.get("family"), reference=references[digest])
    if given.get("json"):
        print_json(results)
        return
    for path, result in results.items():
        print_measures(path, result)


def print_measures(path: str, result: Mapping[str, Any]) -> None:
    """Every measure of one run beside its floors."""
    rows = []
    for m in result["measures"]:
        floors = "   ".join(f"{who} {figure(value)}" for who, value in (m["floor"] or {}).items())
        value = figure(m["value"]) if m["value"] is not None else f"n/a: {m['why_not']}"
        rows.append([m["label"], value, m["unit"], m["better"], floors])
    table(path, ["measure", "value", "unit", "better", "real images, or nothing learned"], rows)
    for warning in result["warnings"]:
        print(f"warning: {warning}")


def sample(given: Given) -> None:
    """`likelier sample`."""
    out = output_file(given.get("out", "samples.png"), (".png", ".npz"))
    family = load(given["run"], given.get("family"))
    generator = rng.generator(given.get("seed", 0), "sample")
    pieces = [family.sample(len(part), generator) for part in torch.split(torch.arange(given.get("number", 64)), CHUNK)]
    images = as_uint8(torch.cat(pieces))
    if out.suffix == ".npz":
        write_arrays(out, {"images": images.numpy()})
    else:
        write_picture(out, images, columns=round(len(images) ** 0.5))
    tell_file(out, given, images=len(images))


def reconstruct_images(given: Given) -> tuple[torch.Tensor, int]:
    """Pairs of rows, originals above reconstructions, and how many stand in a row."""
    run = Run.open(given["run"])
    family = load(run, given.get("family"))
    if not (isinstance(family, Encodes) and isinstance(family, Decodes)):
        able = [name for name in names() if issubclass(find(name), Encodes)]
        raise InputError(f"{run.config['family']} has no encoder, so it cannot reconstruct: {', '.join(able)} can")
    images = images_of(run, data_root=given.get("data_root"))
    x = as_float(images.test.images[: given.get("number", 16)])
    columns = min(len(x), 16)
    pairs = zip(torch.split(x, columns), torch.split(reconstruct(family, x), columns), strict=True)
    filled = [torch.cat([row, row.new_zeros(columns - len(row), *row.shape[1:])]) for pair in pairs for row in pair]
    return as_uint8(torch.cat(filled)), columns


def reconstruct_command(given: Given) -> None:
    """`likelier reconstruct`."""
    out = output_file(given.get("out", "reconstructions.png"), (".png",))
    images, columns = reconstruct_images(given)
    write_picture(out, images, columns)
    tell_file(out, given)


def output_file(name: str, endings: tuple[str, ...]) -> Path:
    """A file that can be written, or an InputError before anything is done."""
    path = Path(name)
    if path.suffix not in endings:
        raise InputError(f"--out {name}: wanted a name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise InputError(f"--out {name}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"--out {name} is a folder: wanted the name of a file")
    return path


def write_picture(path: Path, images: torch.Tensor, columns: int) -> None:
    """A grid as PNG, small images enlarged to be seen."""
    write_atomically(path, grid(images, columns, scale=max(1, round(56 / images.shape[-1]))))


def tell_file(path: Path, given: Given, **more: Any) -> None:
    """Where the result is."""
    if given.get("json"):
        print_json({"file": str(path), **more})
    else:
        print_path("written", path, given)


def report(given: Given) -> None:
    """`likelier report`."""
    out = output_file(given.get("out", "report.html"), (".html",))
    runs = [Run.open(path) for path in given["runs"]]
    families = dict.fromkeys(run.config["family"] for run in runs)
    title = f"{', '.join(families)} on {Path(runs[0].config['data']).name}"
    command = " ".join(["likelier report", *given["runs"]])
    write_report([run.path for run in runs], out, title=title, command=command)
    tell_file(out, given)


def data(given: Given) -> None:
    """`likelier data`."""
    root = given.get("data_root")
    if "data" in given:
        found = description(sources.load(given["data"], root))
        if given.get("json"):
            print_json(found)
        else:
            print("\n".join(f"{key:8} {value}" for key, value in found.items()))
        return
    listed = {name: whether_here(name, root) for name in sorted(sources.sources())}
    if given.get("json"):
        print_json(listed)
    else:
        print("\n".join(f"{name:14} {state}" for name, state in listed.items()))
        print("any folder with the four IDX files of the MNIST family is given by its path")


def whether_here(name: str, root: str | None) -> str:
    """What a named set is, or why it is not here."""
    try:
        return repr(sources.load(name, root))
    except InputError as error:
        return f"not here: {error}"


def description(images: Images) -> Given:
    """An image set in figures."""
    return {
        "name": images.name,
        "shape": "×".join(map(str, images.shape)),
        "train": len(images.train),
        "test": len(images.test),
        "classes": ", ".join(images.classes),
        "digest": images.digest,
    }


def families(given: Given) -> None:
    """`likelier families`."""
    if "family" in given:
        describe_family(given)
        return
    listed = {name: first_line(find(name)) for name in names()}
    if given.get("json"):
        print_json(listed)
    else:
        print("\n".join(f"{name:10} {line}" for name, line in listed.items()))
        print("`likelier families NAME` tells more; a family of your own goes by the dotted path of its module")


def first_line(family: type[Family]) -> str:
    """What the module says of itself first."""
    return (inspect.getdoc(inspect.getmodule(family)) or "").partition("\n")[0]


def describe_family(given: Given) -> None:
    """The module's own words, then the settings with their defaults."""
    family = find(given["family"])
    settings = settings_table(family)
    can = [word.__name__.lower() for word in (Decodes, Encodes, Scores, Bounds) if issubclass(family, word)]
    if given.get("json"):
        print_json(
            {
                "name": given["family"],
                "doc": inspect.getdoc(inspect.getmodule(family)),
                "can": can,
                "settings": settings,
            }
        )
        return
    print(inspect.getdoc(inspect.getmodule(family)))
    print(f"\nIt {', '.join(can)}.\n\nSettings, each for --set NAME=VALUE:")
    for setting in settings:
        print(f"  {setting['name']} = {setting['default']}    {setting['type']}")


def settings_table(family: type[Family]) -> list[Given]:
    """Name, default and type of each setting."""
    hints = get_type_hints(family.Config)
    return [
        {
            "name": field.name,
            "default": None if field.default is MISSING else field.default,
            "type": getattr(hints[field.name], "__name__", str(hints[field.name]).replace("typing.", "")),
        }
        for field in fields(family.Config)
    ]


COMMANDS: dict[str, Callable[[Given], None]] = {
    "compare": compare,
    "train": train,
    "measure": measure,
    "sample": sample,
    "reconstruct": reconstruct_command,
    "report": report,
    "data": data,
    "families": families,
}
