"""What each command of the command line does, given its options."""

import json
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from likelier import data as sources
from likelier import rng
from likelier.claims import as_json
from likelier.collapse import collapse_warnings
from likelier.comparison import Comparison, prepared, resume_comparison
from likelier.comparison import compare as compare_models
from likelier.describe import family_in_words, first_line
from likelier.errors import InputError
from likelier.estimating import SAVE_SECONDS
from likelier.evidence import CHUNK
from likelier.experiment import images_of, load
from likelier.experiment import resume as resume_run
from likelier.experiment import train as train_family
from likelier.exporting import export
from likelier.exporting.events import check_installed, following
from likelier.family import Decodes, Encodes, Family, find, names
from likelier.features import LEAST, check_usable
from likelier.features.onnx import ONNX
from likelier.files import write_atomically
from likelier.images import Images, as_float, as_uint8
from likelier.likelihood_command import likelihood_asked, measure_likelihood, print_likelihood
from likelier.loop import OnProgress
from likelier.measuring import ALL, SAMPLE_MEASURES, chosen_measures, measure_images, write_arrays
from likelier.measuring import measure as measure_run
from likelier.models import models_asked_for, settings_by_family
from likelier.parent import Parent
from likelier.pictures import grid
from likelier.progress import Terminal, table
from likelier.reference import REPEATS, Reference, most_samples
from likelier.report import write_report
from likelier.run import Run
from likelier.samples import chosen as chosen_samples
from likelier.samples import fresh_sets, read_samples
from likelier.tables import BEST_IN_WORDS, REAL, Models, as_csv, as_latex, figure
from likelier.watch import reconstruct

Given = dict[str, Any]
SHORT = {**REAL, "untrained encoder": "untrained"}
TRAINING = ("epochs", "images", "minutes", "seed", "out", "device", "augment", "mixed_precision")
MODELS = ("families", "settings", "sweep", "models")
"""What says which models are compared."""
SHAPE = ("size", "channels", "fit")
"""Options of `likelier.load_images`."""
WHERE = ("data", "data_root")
"""Where the images of a run are now."""


def chosen(given: Given, names: tuple[str, ...]) -> Given:
    """Those of the options that were given."""
    return {name: given[name] for name in names if name in given}


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Names of files may hold bytes that are no text: JSON has a spelling for them, UTF-8 has none.
    print("".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text))


def refuse_with_resume(given: Given, allowed: tuple[str, ...]) -> None:
    """A run that goes on has its settings already: to give others is a mistake that must not pass in silence."""
    spelling = {"settings": "--set", "models": "models", "families": "FAMILY", "family": "FAMILY"}
    others = [name for name in given if name not in (*allowed, "resume", "json", "quiet")]
    if others:
        named = ", ".join(spelling.get(name, f"--{name.replace('_', '-')}") for name in others)
        raise InputError(f"{named} beside --resume: leave it out, what was begun goes on with the options it has")


def refuse_drift_without_resume(given: Given) -> None:
    """Nothing has been begun that could drift."""
    if given.get("allow_drift"):
        raise InputError("--allow-drift without --resume: leave it out, or name with --resume what is to go on")


def named_family(given: Given, runs: Sequence[Run]) -> str | None:
    """The family that was named for these runs; InputError if none of them has it."""
    named: str | None = given.get("family")
    found = dict.fromkeys(run.config["family"] for run in runs)
    if named is not None and named not in found:
        raise InputError(
            f"the family {named} was named, but {runs[0].path} was trained with {', '.join(found)}: leave it out"
        )
    return named


def resumed(given: Given, audience: Terminal) -> Run:
    """The run of --resume, gone on with; one that has ended is left as it is, with a word."""
    refuse_with_resume(given, (*WHERE, "family", "allow_drift", "tensorboard"))
    run = Run.open(given["resume"])
    family = named_family(given, [run])
    if run.done is not None:
        further = f"; `likelier train --init {run.path}` begins a new run from it"
        audience.note(f"{run.path} had {run.done['status']} already: there was nothing to go on with{further}")
    audience.training(run.path.name, 1, 1)
    options = chosen(given, (*WHERE, "allow_drift"))
    with watched(given, run, audience) as told:
        return resume_run(run, **options, family=family, on_progress=told)


def watched(given: Given, run: Run, audience: Terminal) -> AbstractContextManager[OnProgress]:
    """What a training tells of its progress: the terminal and, by --tensorboard, the events."""
    if given.get("tensorboard"):
        return following(run, audience.progress)
    return nullcontext(audience.progress)


def images_asked_for(given: Given, audience: Terminal, parent: Parent | None = None) -> Images:
    """The images of --data, or those of the parent, in the shape that is wanted; what was decided is told."""
    if parent and "data" not in given:
        if own_shape := chosen(given, SHAPE):
            raise InputError(f"--{next(iter(own_shape))} beside --init: name the --data too, or leave it out")
        return images_of(parent.run, **chosen(given, WHERE))
    name = given.get("data", "digits")
    audience.counting(f"reading {name}", "files")
    images = sources.load(
        name,
        given.get("data_root"),
        **chosen(given, SHAPE),
        progress=lambda done, total: audience.progress(done, total, {}),
    )
    for note in images.notes:
        audience.note(note)
    return images


def compare(given: Given) -> None:
    """`likelier compare`."""
    table_file(given)  # refused before anything is trained
    with Terminal(given.get("quiet", False)) as audience:
        if "resume" in given:
            trusted = [name for name in given.get("families", []) if "." in name]
            own = (*WHERE, "jobs", "allow_drift")
            refuse_with_resume(given, (*own, "table", *(["families"] if trusted else [])))
            comparison = resume_comparison(given["resume"], **chosen(given, own), audience=audience, families=trusted)
        else:
            refuse_drift_without_resume(given)
            models_asked_for(**chosen(given, MODELS))  # refused before the images are read
            options = chosen(given, (*TRAINING, *MODELS, "seeds", "jobs"))
            images = images_asked_for(given, audience)
            comparison = compare_models(data=images, **options, judge=given.get("extractor"), audience=audience)
    write_table(given, comparison.by_model)
    if given.get("json"):
        print_json(summary(comparison))
    else:
        print_comparison(comparison)
    print_path("report", comparison.report, given)
    if not any(comparison.results):
        raise InputError(f"none of the {len(comparison.runs)} runs could be measured: the notes above say why")
    if comparison.failed:
        raise InputError(
            f"{len(comparison.failed)} of {len(comparison.runs)} runs failed ({', '.join(comparison.failed)}): "
            f"--resume {comparison.path} tries again, with --jobs 1 if memory was short"
        )


def table_file(given: Given) -> Path | None:
    """The file of --table, if there is one and it can be written."""
    return output_file(given["table"], (".csv", ".tex"), "--table") if "table" in given else None


def write_table(given: Given, models: Models) -> None:
    """What --table asks for."""
    if (path := table_file(given)) is not None:
        text = as_csv(models) if path.suffix.lower() == ".csv" else as_latex(models)
        write_atomically(path, text.encode())


def print_path(what: str, path: Path, given: Given) -> None:
    """The last line: where to look."""
    if not given.get("json"):
        print(f"{what}: {path.resolve()}")


def summary(comparison: Comparison) -> Given:
    """A comparison as JSON."""
    runs = [
        {
            "run": str(run.path),
            "model": model.name,
            "family": model.family,
            "settings": dict(model.settings),
            "seed": run.config["seed"],
            "done": run.done,
            "measures": result,
        }
        for run, model, result in zip(comparison.runs, comparison.models, comparison.results, strict=True)
    ]
    return {
        "report": str(comparison.report),
        "verdicts": [asdict(verdict) for verdict in comparison.verdicts],
        "best": [asdict(best) for best in comparison.best],
        "claims": as_json(comparison.claims),
        "runs": runs,
    }


def print_comparison(comparison: Comparison) -> None:
    """A row for each measure, a column for each model, the floors, what may be said of each pair, and what to use."""
    shown = comparison.at_a_glance
    if shown.rows:
        marked = dict.fromkeys(shown.best, "bold green")
        table(shown.title, list(shown.columns), [list(row) for row in shown.rows], marked)
    if shown.best:
        print(BEST_IN_WORDS)
    for words in comparison.words:
        print(words)


def train(given: Given) -> None:
    """`likelier train`."""
    with Terminal(given.get("quiet", False)) as audience:
        if "resume" in given:
            run = resumed(given, audience)
        else:
            refuse_drift_without_resume(given)
            if given.get("tensorboard"):
                check_installed()  # before there is a run
            parent = Parent(given["init"], given.get("family")) if "init" in given else None
            family = parent.family if parent else given.get("family", "vae")
            settings = settings_by_family([family], given.get("settings", {}))[family]
            options = chosen(given, (*TRAINING, "checkpoint_seconds", "looks", "init"))
            images = images_asked_for(given, audience, parent)
            audience.training(family, 1, 1)
            begun = {**options, "settings": settings, "begin_only": given.get("tensorboard", False)}
            run = train_family(family, images, **begun, on_progress=audience.progress)
            if given.get("tensorboard"):
                with watched(given, run, audience) as told:
                    run = resume_run(run, images, family=family, on_progress=told)
        for warning in (warnings := warnings_of(run)):
            audience.note(warning)
    if given.get("json"):
        print_json({"run": str(run.path), **(run.done or {}), "warnings": warnings})
    else:
        done = run.done or {}
        print(f"{done['status']} after {done['images']:,} images in {done['seconds']:.1f} s")
    print_path("run", run.path, given)


def warnings_of(run: Run) -> list[str]:
    """What the log of a run gives cause to say."""
    if run.done and run.done["status"] != "finished":
        reason = f"the run {run.done['status']}: {run.done['message']}"
        further = f"`likelier train --init {run.path} --set lr=…` begins with its last good state"
        return [f"{reason}; a smaller lr or a gentler setting is the first thing to try: {further}"]
    return collapse_warnings(run.metrics())


def measure(given: Given) -> None:
    """`likelier measure`: runs, or images that another program made."""
    if likelihood_asked(given):
        if idle := [name for name in ("extractor", "table", "only") if name in given]:
            raise InputError(f"--{idle[0]} beside --likelihood, which knows nothing of it: leave it out")
        likelihood(given)
        return
    table_file(given)
    if "only" in given:
        chosen_measures(given["only"], SAMPLE_MEASURES if "data" in given else ALL)  # refused before anything is done
    paths = given["runs"]
    own = [path for path in paths if (Path(path) / "config.json").is_file()]
    if (own or "data" not in given) and (own_shape := chosen(given, SHAPE)):
        raise InputError(f"--{next(iter(own_shape))} beside a run, which knows the shape of its images: leave it out")
    if "data" in given and not own:
        if "family" in given:
            raise InputError("--family beside --data: images that another program made have no family; leave it out")
        results = measure_samples(given)
    else:
        results = measure_runs(given)
    write_table(given, {path: [result] for path, result in results.items()})
    if given.get("json"):
        print_json(results)
        return
    for path, result in results.items():
        print_measures(path, result)
    if "only" in given and "data" not in given:
        print("nothing is written into a run: `likelier measure` without --only takes all measures, and keeps them")


def measure_runs(given: Given) -> Given:
    """The measures of trained runs, written into them, by path."""
    results: Given = {}
    references: dict[str, Reference] = {}
    with Terminal(given.get("quiet", False)) as audience:
        runs = [run_to_measure(path) for path in given["runs"]]
        named_family(given, runs)
        for run in runs:
            load(run, given.get("family"))  # what cannot be loaded is refused before anything is measured
        for path, run in zip(given["runs"], runs, strict=True):
            digest = run.environment["data_digest"]
            if digest not in references:
                images = images_of(run, **chosen(given, WHERE))
                references[digest] = reference_of(given, images, audience)
            audience.stage(f"measuring {run.path.name}")
            own, only = references[digest], given.get("only")
            results[path] = measure_run(run, family=given.get("family"), reference=own, only=only)
    return results


def run_to_measure(path: str) -> Run:
    """A run; other programs' images are answered with what is missing."""
    folder = Path(path)
    if folder.exists() and not (folder / "config.json").is_file():
        raise InputError(
            f"{path} is no run: wanted the folder of a run, as `likelier train --out` makes it; to judge images that "
            "another program made, name what they are held against with --data"
        )
    return Run.open(path)


def measure_samples(given: Given) -> Given:
    """The measures of images that another program made, by path."""
    results: Given = {}
    with Terminal(given.get("quiet", False)) as audience:
        images = images_asked_for(given, audience)
        check_usable(images)
        found = {path: read_samples(Path(path), images.shape) for path in given["runs"]}
        n = min(most_samples(images), *map(len, found.values()))
        if n < LEAST:
            raise InputError(f"{n} samples: wanted {LEAST} or more, since neighbours up to the fifth are looked at")
        reference = reference_of(given, images, audience, n)
        if n < most_samples(images):
            audience.note(
                f"measured at N = {n:,}: distances are biased upwards by an amount that falls with N, and do not "
                f"compare with those at {most_samples(images):,}"
            )
        for path, samples in found.items():
            audience.stage(f"measuring {path}")
            quoted, fresh = chosen_samples(samples, n), fresh_sets(samples, n, REPEATS)
            results[path] = measure_images(quoted, reference, fresh, given.get("only"))
            for warning in results[path]["warnings"]:
                audience.note(f"{path}: {warning}")
    return results


def reference_of(given: Given, images: Images, audience: Terminal, n: int | None = None) -> Reference:
    """What samples are held against: in the features of the set's own extractor, or of the network of --extractor."""
    if "extractor" in given:
        brought = ONNX(given["extractor"])
        brought.check(images)
        return Reference(images, brought, n=n)
    (own,) = prepared(images, audience)
    return Reference(images, own, n=n)


def likelihood(given: Given) -> None:
    """`likelier measure --likelihood`."""
    with Terminal(given.get("quiet", False)) as audience:
        runs = [Run.open(path) for path in given["runs"]]
        named_family(given, runs)
        try:
            results = measure_likelihood(given, runs, audience)
        except KeyboardInterrupt:
            audience.note(f"the same command goes on from what was last saved, every {SAVE_SECONDS:.0f} s")
            raise
    if given.get("json"):
        print_json(results)
    else:
        print_likelihood(results)


def print_measures(path: str, result: Mapping[str, Any]) -> None:
    """Every measure of one run beside its floors: those of its samples, then the others."""
    by_samples = [m for m in result["measures"] if m["key"] in SAMPLE_MEASURES]
    others = [m for m in result["measures"] if m not in by_samples]
    print_measure_table(f"{path}, {result['conditions']['n']:,} samples", by_samples)
    print_measure_table(f"{path}, on test images", [m for m in others if m["value"] is not None])
    reasons = dict.fromkeys(m["why_not"] for m in result["measures"] if m["value"] is None)
    for reason in reasons:
        print(f"{reason}: no {', '.join(m['label'] for m in result['measures'] if m['why_not'] == reason)}")
    for warning in result["warnings"]:
        print(f"warning: {warning}")


def print_measure_table(title: str, measures: list[Mapping[str, Any]]) -> None:
    """Measures with their directions, and a column for each floor that one of them has."""
    if not measures:
        return
    floors = dict.fromkeys(name for m in measures for name in m["floor"] or {})
    arrows = {"lower": " ↓", "higher": " ↑"}
    rows = [
        [
            m["label"] + arrows.get(m["better"], ""),
            figure(m["value"]),
            *(figure((m["floor"] or {}).get(name)) for name in floors),
            m["unit"],
        ]
        for m in measures
    ]
    table(title, ["measure", "value", *(SHORT.get(name, name) for name in floors), "unit"], rows)


def sample(given: Given) -> None:
    """`likelier sample`."""
    out = output_file(given.get("out", "samples.png"), (".png", ".npz"))
    run = Run.open(given["run"])
    family = load(run, named_family(given, [run]))
    number, generator = given.get("number", 64), rng.generator(given.get("seed", 0), "sample")
    asked = torch.tensor([label_of(run, family, name) for name in given.get("label", [])], dtype=torch.int64)
    labels = asked.repeat(-(-number // len(asked)))[:number] if len(asked) else None
    images = torch.cat(
        [drawn(run, family, len(part), generator, None if labels is None else labels[part]) for part in chunks(number)]
    )
    if out.suffix.lower() == ".npz":
        write_arrays(out, {"images": images.numpy()})
    else:
        write_picture(out, images, columns=round(len(images) ** 0.5))
    tell_file(out, given, images=len(images))


def chunks(n: int) -> tuple[torch.Tensor, ...]:
    """As many numbers as images, in parts that fit the memory."""
    return torch.split(torch.arange(n), CHUNK)


def label_of(run: Run, family: Family, asked: str) -> int:
    """The number of a class that is asked for by its name or, where no class has that name, by its number."""
    if not family.classes:
        raise InputError(f"{run.path} was not trained on labels: train it with --set classes=N, N as many as there are")
    known = run.config.get("classes", [])
    if asked in known:
        return int(known.index(asked))
    if asked.isdecimal() and len(asked) < 10 and int(asked) < family.classes:
        return int(asked)
    told = f"0 to {family.classes - 1}" + (
        f" ({', '.join(known[:20])}{', …' if len(known) > 20 else ''})" if known else ""
    )
    raise InputError(f"{run.path} knows no class '{asked}': wanted {told}")


def drawn(
    run: Run, family: Family, n: int, generator: torch.Generator, labels: torch.Tensor | None = None
) -> torch.Tensor:
    """Samples as bytes, of these classes if any are asked for; InputError if the model has none to give."""
    images = family.sample(n, generator, labels)
    if not bool(images.isfinite().all()):
        raise InputError(f"{run.path} makes images that are not finite: its training diverged; train with a smaller lr")
    return as_uint8(images)


def reconstruct_images(given: Given) -> tuple[torch.Tensor, int]:
    """Pairs of rows, originals above reconstructions, and how many stand in a row."""
    run = Run.open(given["run"])
    family = load(run, named_family(given, [run]))
    if not (isinstance(family, Encodes) and isinstance(family, Decodes)):
        able = [name for name in names() if issubclass(find(name), Encodes)]
        raise InputError(f"{run.config['family']} has no encoder, so it cannot reconstruct: {', '.join(able)} can")
    images = images_of(run, **chosen(given, WHERE))
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


def output_file(name: str, endings: tuple[str, ...], option: str = "--out") -> Path:
    """A file that can be written, or an InputError before anything is done."""
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise InputError(f"{option} {name}: wanted a name that ends in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {name}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"{option} {name} is a folder: wanted the name of a file")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{option} {name} cannot be written: {error.strerror}; choose another folder") from None
    return path


def write_picture(path: Path, images: torch.Tensor, columns: int) -> None:
    """A grid as PNG, small images enlarged to be seen."""
    width = images.shape[-1] + 1  # with the line beside it
    scale = max(1, min(round(63 / width), 8192 // (columns * width)))  # thousands of them still fit a viewer
    write_atomically(path, grid(images, columns, scale))


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
    command = shlex.join(["likelier", "report", *given["runs"], "--out", given.get("out", "report.html")])
    write_report([run.path for run in runs], out, title=title, command=command)
    tell_file(out, given)


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


def describe_family(given: Given) -> None:
    """The module's own words, what it can do, its players, then the settings with their defaults and ranges."""
    found = family_in_words(given["family"], find(given["family"]))
    if given.get("json"):
        print_json(found)
        return
    print(f"{found['doc']}\n\nIt {'; '.join(found['can']) or 'draws samples'}.")
    print(f"Players: {', '.join(found['players'])}." if found["players"] else "")
    print("\nSettings, each for --set NAME=VALUE:\n")
    rows = [
        [s["name"], str(s["default"]), ": ".join(filter(None, (s["wanted"], s["meaning"])))] for s in found["settings"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)] if rows else [0, 0]
    for name, default, wanted in rows:
        print(f"  {name:{widths[0]}} = {default:{widths[1]}}   {wanted}")


def export_command(given: Given) -> None:
    """`likelier export`."""
    with Terminal(given.get("quiet", False)) as audience:
        run = Run.open(given["run"])
        format, family = given.get("format", "card"), named_family(given, [run])
        options = chosen(given, ("out", "overwrite"))
        found = export(run, format, **options, family=family, on_stage=audience.stage)
    if given.get("json"):
        print_json({"path": str(found.path), "files": list(found.files), "notes": list(found.notes)})
        return
    for note in found.notes:
        print(note)
    print_path("written", found.path, given)


COMMANDS: dict[str, Callable[[Given], None]] = {
    "compare": compare,
    "train": train,
    "measure": measure,
    "sample": sample,
    "reconstruct": reconstruct_command,
    "export": export_command,
    "report": report,
    "families": families,
}
