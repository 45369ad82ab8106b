"""The page: what the template shows, gathered from the groups of runs, and the template filled in."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from likelier.collapse import collapse_warnings
from likelier.report import figures
from likelier.report.atlas import atlas
from likelier.report.atlas import legend as atlas_legend
from likelier.report.beside import links, named
from likelier.report.bound import bounded
from likelier.report.claims import claims_section
from likelier.report.confusion import confusions
from likelier.report.copies import copies
from likelier.report.figures import Picture, Points
from likelier.report.glance import glance
from likelier.report.glossary import TERMS
from likelier.report.grouping import Group, absent
from likelier.report.judging import judging
from likelier.report.neighbours import neighbours
from likelier.report.pixels import Bitmap, bitmap, halves, thinned, tiled
from likelier.report.quality import quality
from likelier.report.reading import OLDER, Array, Pixels, Run
from likelier.report.standing import listed, seeds_in_words
from likelier.report.steadiness import steadiness
from likelier.report.table import Footnotes, costs, in_words, number, sections
from likelier.report.walks import interpolations, manifolds, traversals

_WIDE = 1104
"""CSS pixels: the width of the page's column."""
_FRAMES = 16
_ROWS = 9
_NAMED_CLASSES = 10
_NAMED_MODELS = 12
_FEW_NOTES, _BRIEF = 4, 60
"""Warnings that are told before they are asked for, and letters of each."""
_PLANES = {
    "codes": ("pca", "", "Codes of test images under {}"),
    "untrained": ("untrained-pca", "untrained: ", "Codes of the same images under {}, untrained,"),
    "pixels": ("pixels", "raw pixels: ", "The pixels of the same images"),
}
"""PCA planes: what their files are called, whose components the axes are, and what the dots are."""
_COUNTS = ("class_counts_fake", "class_counts_real")


@dataclass(frozen=True)
class Note:
    """A warning, and whom it concerns."""

    who: str
    text: str
    collapse: bool


@dataclass(frozen=True)
class Strip:
    """A pixel picture of one family; `picture` is None where there is none, and `why_not` says why."""

    group: Group | None
    picture: Bitmap | None
    alt: str
    why_not: str


@dataclass(frozen=True)
class Moment:
    """One picture of a series over training."""

    images: int
    picture: Bitmap


@dataclass(frozen=True)
class Series:
    """A family's pictures over training, of one seed."""

    group: Group
    seed: int
    moments: tuple[Moment, ...]
    originals: Bitmap | None
    why_not: str


@dataclass(frozen=True)
class Panels:
    """The figures of one family in one section, or why there are none."""

    group: Group
    pictures: tuple[Picture, ...]
    caption: str
    why_not: str


@dataclass(frozen=True)
class Page:
    """The page as HTML, and the files of its figures by name."""

    html: str
    files: Mapping[str, bytes]


def render(groups: Sequence[Group], *, title: str, command: str, declared: bool, folder: str) -> Page:
    """The whole page; `declared` as in `write_report`, `folder` the name of the one for its figures."""
    style, script = _style(), _asset("report.js") + _asset("atlas.js")
    footnotes = Footnotes()
    table, cost_notes = sections(groups, footnotes), Footnotes()
    notes = _warnings(groups)
    names = _class_names(groups)
    seen = _seen(groups)
    steady = steadiness(groups)
    classes = _on_maps(groups, names)
    return _filled(
        folder,
        title=title,
        command=command,
        policy=_policy(style, script),
        style=Markup(style),  # our own files, not data
        script=Markup(script),
        groups=groups,
        terms=TERMS,
        summary=_summary(groups),
        judging=judging(groups),
        declared=declared,
        claims=claims_section(groups),
        warnings=notes,
        warned=_in_short(notes),
        glance=glance(groups),
        table=table,
        references={name for section in table for row in section.rows for name, _ in row.references},
        over_seeds=in_words(groups),
        footnotes=footnotes.reasons,
        conditions=_conditions(groups),
        shared=_shared(groups),
        copies=copies(groups),
        neighbours=neighbours(groups),
        quality=quality(groups),
        costs=costs(groups, cost_notes),
        cost_notes=cost_notes.reasons,
        training=_training(groups),
        reconstructions=[_reconstructions(group, len(groups)) for group in groups],
        losses=[_losses(group, seen) for group in groups],
        steady=steady,
        steady_words=_said_once(steady.words),
        latent=[_latent(group, names) for group in groups],
        raw_pixels=_raw_pixels(groups, names),
        legend=_legend(groups, names),
        traversals=traversals(groups),
        manifolds=manifolds(groups),
        interpolations=interpolations(groups),
        confusions=confusions(groups, names),
        maps=atlas(groups, classes),
        entries=atlas_legend(classes),
        histograms=[_histogram(group, _top_share(groups)) for group in groups],
        settings=_side_by_side([[run.settings for run in group.runs] for group in groups]),
        environments=_side_by_side([[run.environment for run in group.runs] for group in groups]),
    )


def _filled(folder: str, **context: Any) -> Page:
    """The template with what it is given, and every figure among that as a file."""
    shown, files = named(context)
    template = _environment().get_template("template.html.j2")
    return Page(bounded(shown, lambda fitting: template.render(fitting, folder=folder)), files)


@cache
def _environment() -> Environment:
    """Where the templates come from, compiled once."""
    environment = Environment(
        loader=PackageLoader("likelier.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": lambda n: number(n, 0), "links": links}
    return environment


def _asset(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files("likelier.report").joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    """The style sheet with the figures' colours: one source for the page and its figures."""
    schemes = []
    for theme in figures.THEMES:
        colours = {f"--family-{i}": pair[theme.index] for i, pair in enumerate(figures.FAMILY_COLOURS)}
        colours |= {f"--class-{i}": pair[theme.index] for i, pair in enumerate(figures.CLASS_COLOURS)}
        schemes.append(":root{" + "".join(f"{name}:{value};" for name, value in colours.items()) + "}")
    uses = [f".family-{i}{{color:var(--family-{i})}}" for i in range(len(figures.FAMILY_COLOURS))]
    uses += [f".class-{i}{{color:var(--class-{i})}}" for i in range(len(figures.CLASS_COLOURS))]
    dark = f"@media screen and (prefers-color-scheme:dark){{{schemes[1]}}}"
    return "\n".join([_asset("report.css"), _asset("walks.css"), _asset("atlas.css"), schemes[0], dark, *uses])


def _policy(style: str, script: str) -> str:
    """The content security policy: pictures from the page itself, this one style, this one script, nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _runs(groups: Sequence[Group]) -> list[Run]:
    """All runs, in the order of the columns."""
    return [run for group in groups for run in group.runs]


def _summary(groups: Sequence[Group]) -> str:
    """What was compared, in one plain sentence."""
    runs = _runs(groups)
    seeds = sorted({len(group.runs) for group in groups})
    counted = f"{seeds[0]} seed{'s' * (seeds[0] > 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    least, most = min(run.budget for run in runs), max(run.budget for run in runs)
    budget = number(least, 0) if least == most else f"{number(least, 0)} to {number(most, 0)}"
    minutes = {run.minutes for run in runs}
    fixed = f" (fixed from {next(iter(minutes)):g} minutes)" if len(minutes) == 1 and None not in minutes else ""
    labels, data = [group.label for group in groups], Path(runs[0].data).name
    if len(groups) == 1:
        return f"{labels[0]} trained on {data} with a budget of {budget} images{fixed} and {counted}."
    named = listed(labels) if len(labels) <= _NAMED_MODELS else f"{len(labels)} models"
    return (
        f"{named} trained on {data}, each with a budget of {budget} images{fixed} and {counted}, "
        "and measured with the same yardsticks."
    )


def _warnings(groups: Sequence[Group]) -> list[Note]:
    """What a reader has to know before believing the table; the same words of several seeds are said once."""
    said = [(group, run, text) for group in groups for run in group.runs for text in _run_warnings(run)]
    notes = _said_once(said)
    return [*notes, *(Note("all runs", text, False) for text in _unequal(_runs(groups)))]


def _in_short(notes: Sequence[Note]) -> str:
    """The beginnings of the warnings by whom they concern, in a line or two."""
    first: dict[str, list[str]] = {}
    for note in notes[:_FEW_NOTES]:
        words = re.split("[:;]", note.text)[0][:_BRIEF]
        first.setdefault(note.who, []).append(words[0].lower() + words[1:] if words[1:2].islower() else words)
    rest = len(notes) - _FEW_NOTES
    told = "; ".join(f"{who}: {', '.join(words)}" for who, words in first.items())
    return told + (f"; and {rest} more" if rest > 0 else "")


def _said_once(said: Sequence[tuple[Group, Run, str]]) -> list[Note]:
    """The same words about several seeds of a family as one note."""
    found: dict[tuple[str, str], list[int]] = {}
    for group, run, text in said:
        found.setdefault((group.label, text), []).append(run.seed)
    return [
        Note(f"{label}, {seeds_in_words(seeds)}", text, _is_collapse(text)) for (label, text), seeds in found.items()
    ]


def _is_collapse(text: str) -> bool:
    """Whether the warning needs the explanation of posterior collapse."""
    return "posterior collapse" in text.lower()


def _run_warnings(run: Run) -> list[str]:
    """The warnings of one run."""
    message = f": {run.message}" if run.message else ""
    status = {
        "diverged": f"diverged{message}",
        "unfinished": f"{f'failed{message}' if message else 'still training or interrupted'}: what is shown is the run "
        f"so far, {number(run.images or 0, 0)} of {number(run.budget, 0)} images",
        "finished": "",
    }[run.status]
    found = [status] if status else []
    found += run.warnings
    if not run.measured and not any(note == OLDER or note.startswith("measures.json") for note in run.notes):
        found.append("not measured: the table has no figures of it")
        found += collapse_warnings([*run.training, *run.evaluations]) if run.status == "finished" else []
    return [*found, *run.notes]


def _unequal(runs: Sequence[Run]) -> list[str]:
    """Conditions that should be equal and are not, though the figures still mean the same."""
    found = []
    if len({run.budget for run in runs}) > 1:
        found.append("the budgets differ: a model that saw more images had an advantage")
    devices = sorted({str(d) for run in runs if (d := run.environment.get("device_name")) is not None})
    if len(devices) > 1:
        found.append(f"trained on different devices ({listed(devices)}): compare images seen, not seconds")
    return found


def _conditions(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """How the measures were taken: the same for all runs, since anything else was refused."""
    run = next((run for run in _runs(groups) if run.conditions), None)
    if run is None:
        return []
    labels = {
        "data_digest": "digest of the data",
        "extractor": "feature extractor",
        "extractor_accuracy": "its test accuracy",
        "other_extractors": "other extractors",
        "n": "samples",
        "reference": "reference images",
        "neighbours": "neighbours in precision to coverage",
        "sample_seed": "seed of the samples",
    }
    shown = [(labels.get(key, key.replace("_", " ")), _condition(key, value)) for key, value in run.conditions.items()]
    distance = run.measures.get("frechet_distance")
    return [*shown, ("full name of the distance", distance.name)] if distance else shown


def _condition(key: str, value: Any) -> str:
    """A condition as text; of a digest, the beginning tells it from others."""
    if key == "data_digest":
        return f"{str(value)[:12]}…"
    return f"{value:.3g}" if isinstance(value, float) else _value(value)


def _value(value: Any) -> str:
    """A setting as text; large counts with spaces between thousands, lists joined."""
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return number(value, 0)
    return str(value)


def _first_with(group: Group, name: str) -> Run | None:
    """The run of the first seed that has pictures of this kind."""
    return next((run for run in group.runs if getattr(run, name)), None)


def _figure_run(group: Group, *names: str) -> Run | None:
    """The run of the first seed whose figures hold all these arrays."""
    return next((run for run in group.runs if all(name in run.figures for name in names)), None)


def _shared(groups: Sequence[Group]) -> list[Strip]:
    """Real images and, under them, what every family makes of the same noise."""
    rows, columns = 2, 16

    def strip(group: Group | None, images: Array, alt: str) -> Strip:
        picture = bitmap(tiled(images, rows=rows, columns=columns), fit=912, name="" if group else "real", alt=alt)
        return Strip(group, picture, alt, "")

    real = next((run.figures["real"] for run in _runs(groups) if "real" in run.figures), None)
    strips = [] if real is None else [strip(None, real, f"{min(len(real), rows * columns)} real training images")]
    for group in groups:
        run = _figure_run(group, "shared_noise_samples")
        if run is None:
            strips.append(Strip(group, None, "", absent(group, "Samples on shared noise")))
        else:
            images = run.figures["shared_noise_samples"]
            alt = f"{min(len(images), rows * columns)} samples of {group.label}, seed {run.seed}, on the shared noise"
            strips.append(strip(group, images, alt))
    return strips


def _training(groups: Sequence[Group]) -> dict[str, Any]:
    """The animation: every family's frames, and the points in time at which any of them changes."""
    fit = max(160, (_WIDE - 24 * (len(groups) - 1)) // len(groups))
    series = [_frames(group, min(fit, 448)) for group in groups]
    points = sorted({moment.images for one in series for moment in one.moments})
    return {"series": series, "points": _merged(points), "last": points[-1] if points else 0}


def _frames(group: Group, fit: int) -> Series:
    """The samples of one family over training."""
    run = _first_with(group, "samples")
    if run is None:
        return Series(group, group.runs[0].seed, (), None, "The run holds no samples.")
    frames = thinned(run.samples, _FRAMES)
    last = frames[-1].images
    moments = [_moment(group, "Samples", f.images, f.pixels, fit, fleeting=f.images != last) for f in frames]
    return Series(group, run.seed, tuple(moments), None, "")


def _moment(group: Group, what: str, images: int, pixels: Pixels, fit: int, fleeting: bool = False) -> Moment:
    """One picture of a series, with its place in time as its name."""
    alt = f"{what} of {group.label} after {number(images, 0)} images"
    return Moment(images, bitmap(pixels, fit=fit, name=f"{images:09d}-images", alt=alt, fleeting=fleeting))


def _merged(points: Sequence[int]) -> list[int]:
    """Points within 5% of one another as one, the latest: batch sizes keep families from evaluating at one instant.

    >>> _merged([0, 100, 102, 400])
    [0, 102, 400]
    """
    merged: list[int] = []
    for point in points:
        if merged and point <= 1.05 * merged[-1]:
            merged[-1] = point
        else:
            merged.append(point)
    return merged


def _reconstructions(group: Group, families: int) -> Series:
    """Fixed test images and what came back from their codes, over training."""
    run = _first_with(group, "reconstructions")
    if run is None:
        return Series(group, group.runs[0].seed, (), None, _why_no_reconstructions(group))
    frames = thinned(run.reconstructions, _ROWS)
    moments = tuple(_moment(group, "Reconstructions", frame.images, halves(frame)[1], 440) for frame in frames)
    alt = "Test images that are to be reconstructed"
    return Series(group, run.seed, moments, bitmap(halves(frames[-1])[0], fit=440, name="originals", alt=alt), "")


def _why_no_reconstructions(group: Group) -> str:
    """The reason that measuring recorded, or what can be said without it."""
    measures = [run.measures["reconstruction_mse"] for run in group.runs if "reconstruction_mse" in run.measures]
    reasons = dict.fromkeys(measure.why_not for measure in measures if measure.value is None)
    if reasons:
        return f"None: {'; '.join(reasons)}."
    return "The run holds no reconstructions." if _may_encode(group) else "None: the family does not encode images."


def _may_encode(group: Group) -> bool:
    """Whether the family encodes images, or nobody can tell: one that does writes reconstructions beside samples."""
    encodes = any(run.reconstructions or "codes" in run.figures for run in group.runs)
    return encodes or not any(run.samples for run in group.runs)


def _seen(groups: Sequence[Group]) -> list[float]:
    """The points that the axis of the losses spans: untrained, and wherever a loss was logged."""
    return sorted({0.0, *(line["images"] for run in _runs(groups) for line in run.training or run.evaluations)})


def _losses(group: Group, seen: Sequence[float]) -> Panels:
    """One panel for every player, and one for the ELBO where it was held out."""
    first = group.runs[0]
    seeds = "" if len(group.runs) == 1 else f"; other seeds faint ({len(group.runs) - 1})"
    pictures = [_loss(group, player, seen) for player in first.players]
    held_out = {run.seed: curve for run in group.runs if len((curve := _curve(run.evaluations, "elbo"))[0])}
    if held_out:
        pictures.append(_bound(group, held_out, seen))
    why_not = "" if pictures else "No losses were logged."
    return Panels(group, tuple(pictures), f"seed {first.seed}{seeds}", why_not)


def _loss(group: Group, player: str, seen: Sequence[float]) -> Picture:
    """The loss of one player over all seeds that logged it."""
    curves = [_curve(run.training, f"loss.{player}") for run in group.runs]
    values = [y for y in curves[0][1] if math.isfinite(y)]
    course = f"from {values[0]:.4g} to {values[-1]:.4g}" if values else "no finite value"
    alt = f"Loss of the player {player} of {group.label} over images seen: {course}"
    logged = {run.seed: curve for run, curve in zip(group.runs, curves, strict=True) if len(curve[0])}
    return figures.loss_curves(list(logged.values()), list(logged), seen, group.index, player, alt)


def _bound(group: Group, held_out: Mapping[int, Points], seen: Sequence[float]) -> Picture:
    """Held-out ELBO over training, with that of the training batches if it was logged."""
    training, curves = _curve(group.runs[0].training, "elbo"), list(held_out.values())
    alt = f"ELBO of {group.label} on held-out images over images seen, last {curves[0][1][-1]:.4g} nats per image"
    shown = training if len(training[0]) else None
    return figures.bound_curves(curves, list(held_out), shown, seen, group.index, alt)


def _curve(lines: Sequence[Mapping[str, float]], key: str) -> Points:
    """x and y of one logged number."""
    have = [line for line in lines if key in line]
    return [line["images"] for line in have], [line[key] for line in have]


def _class_names(groups: Sequence[Group]) -> list[str]:
    """The names of the classes, from the first run that has them."""
    run = next((run for run in _runs(groups) if "class_names" in run.figures), None)
    return [] if run is None else [str(name) for name in run.figures["class_names"]]


def _named(labels: Array) -> list[int]:
    """The classes that get a colour: all of ten or fewer, otherwise the ten with the most codes."""
    classes, counts = np.unique(labels, return_counts=True)
    kept = classes[np.argsort(-counts, kind="stable")[:_NAMED_CLASSES]]
    return sorted(int(k) for k in kept)


def _latent(group: Group, names: Sequence[str]) -> Panels:
    """The codes by class: the two widest dimensions, their PCA plane, and that of the encoder before training."""
    run = next((run for run in group.runs if _codes_fit(run)), None)
    if run is None:
        why_not = "The family does not encode images, so images have no codes."
        why_not = absent(group, "Codes") if _may_encode(group) else why_not
        return Panels(group, (), "", why_not)
    codes, labels = run.figures["codes"], run.figures["code_labels"]
    classes, shown = _by_class(labels, names)
    pictures = [_code_picture(group, codes, classes, shown)] if codes.shape[1] > 1 else []
    planes = [of for of in ("codes", "untrained") if _plane_fits(run, of)]
    pictures += [_plane_picture(run, of, group.label, classes, shown) for of in planes]
    caption = f"{codes.shape[1]} code dimensions, {number(len(codes), 0)} test images, seed {run.seed}"
    return Panels(group, tuple(pictures), caption, "" if pictures else "The codes have one dimension.")


def _raw_pixels(groups: Sequence[Group], names: Sequence[str]) -> Picture | None:
    """The PCA plane of the pixels of the test images whose codes are shown; of all models, which see the same ones."""
    run = next((run for run in _runs(groups) if _codes_fit(run) and _plane_fits(run, "pixels")), None)
    if run is None:
        return None
    return _plane_picture(run, "pixels", "", *_by_class(run.figures["code_labels"], names))


def _by_class(labels: Array, names: Sequence[str]) -> tuple[Array, list[str]]:
    """Which of the classes that get a colour each label is, −1 for none, and what those are called."""
    named = _named(labels)
    classes = np.array([named.index(k) if k in named else -1 for k in labels.tolist()])
    return classes, [_name(names, k) for k in named]


def _plane_fits(run: Run, of: str) -> bool:
    """Whether the PCA plane is there, has a point for each code, and is finite."""
    plane = run.figures.get(f"{of}_pca")
    if plane is None or plane.shape != (len(run.figures["codes"]), 2):
        return False
    return bool(np.isfinite(plane).all())


def _codes_fit(run: Run) -> bool:
    """Whether the run has finite codes with a class each."""
    codes, labels = run.figures.get("codes"), run.figures.get("code_labels")
    if codes is None or labels is None:
        return False
    return len(codes) == len(labels) and bool(np.isfinite(codes).all())


def _name(names: Sequence[str], k: int) -> str:
    """The name of class k."""
    return names[k] if 0 <= k < len(names) else f"class {k}"


def _code_picture(group: Group, codes: Array, classes: Array, shown: Sequence[str]) -> Picture:
    """The two code dimensions of the largest variance."""
    variance = codes.astype(np.float64).var(axis=0)
    widest = np.argsort(-variance, kind="stable")[:2]
    labels = [f"dimension {k + 1} (variance {variance[k]:.2g})" for k in widest]
    which = "the two code dimensions" if codes.shape[1] == 2 else "the two code dimensions of the largest variance"
    alt = f"Codes of test images under {group.label} by class, in {which}, {listed([str(k + 1) for k in widest])}"
    return figures.code_scatter(codes[:, widest], classes, shown, (labels[0], labels[1]), "dimensions", alt)


def _plane_picture(run: Run, of: str, model: str, classes: Array, shown: Sequence[str]) -> Picture:
    """The PCA plane of codes, or of what they are held against."""
    explained = run.figures.get(f"{of}_pca_explained", np.array([]))
    name, whose, what = _PLANES[of]
    unit = "%" if whose else "% of variance"  # an axis has room for so many letters
    shares = [f" ({100 * share:.1f}{unit})" for share in explained[:2]]
    labels = [f"{whose}component {i + 1}{shares[i] if len(shares) == 2 else ''}" for i in range(2)]
    alt = f"{what.format(model)} by class, in their PCA plane: {labels[0]}, {labels[1]}"
    return figures.code_scatter(run.figures[f"{of}_pca"][:, :2], classes, shown, (labels[0], labels[1]), name, alt)


def _legend(groups: Sequence[Group], names: Sequence[str]) -> dict[str, Any]:
    """The marks of the scatters; families see the same test images, so one legend serves all."""
    run = next((run for group in groups for run in group.runs if _codes_fit(run)), None)
    if run is None:
        return {"entries": [], "others": 0}
    labels = run.figures["code_labels"]
    named = _named(labels)
    entries = [(i % 10, figures.CLASS_MARKS[i % 5][1], _name(names, k)) for i, k in enumerate(named)]
    return {"entries": entries, "others": len(np.unique(labels)) - len(named)}


def _on_maps(groups: Sequence[Group], names: Sequence[str]) -> dict[int, str]:
    """The classes that have a colour on the maps of the atlas, by label; of all maps, which show the same images."""
    labels = [run.atlas.labels for run in _runs(groups) if run.atlas is not None and len(run.atlas.labels)]
    return {k: _name(names, k) for k in _named(labels[0])} if labels else {}


def _top_share(groups: Sequence[Group]) -> float:
    """The greatest share of a class in any histogram: the top of all of them, so that bars compare across families."""
    counts = [run.figures[name] for run in _runs(groups) for name in _COUNTS if name in run.figures]
    return max((float(one.max() / max(1, one.sum())) for one in counts), default=1.0)


def _histogram(group: Group, top: float) -> Panels:
    """Classes of the samples against those of the data."""
    run = _figure_run(group, *_COUNTS)
    if run is None:
        return Panels(group, (), "", absent(group, "Class counts"))
    fake, real = run.figures["class_counts_fake"], run.figures["class_counts_real"]
    if len(fake) != len(real):
        return Panels(group, (), "", f"The counts are of {len(fake)} and {len(real)} classes: not comparable.")
    names = [_name([str(n) for n in run.figures.get("class_names", ())], k) for k in range(len(real))]
    missing = [name for name, n in zip(names, fake, strict=True) if n == 0]
    alt = f"Shares of the classes among samples of {group.label} and in the data; " + (
        f"never seen: {listed(missing[:10])}" if missing else "every class occurs"
    )
    picture = figures.class_histogram(fake, real, names, top, group.index, alt)
    return Panels(group, (picture,), f"{number(int(fake.sum()), 0)} samples, seed {run.seed}", "")


def _side_by_side(columns: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[str, list[str]]]:
    """Rows of a table of settings; where the seeds of a family differ, every value is told."""
    keys = dict.fromkeys(key for column in columns for settings in column for key in settings)
    return [(key, [_distinct(settings, key) for settings in columns]) for key in keys]


def _distinct(settings: Sequence[Mapping[str, Any]], key: str) -> str:
    """The value, or values, of one key over seeds."""
    return " / ".join(dict.fromkeys(_value(one[key]) for one in settings if key in one)) or "–"
