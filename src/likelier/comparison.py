"""Several models under the same rules: train each, measure each, show them side by side."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Protocol, runtime_checkable

import pydantic
import torch
from typing_extensions import TypedDict

from likelier import data as sources
from likelier.arithmetic import check_mixed_precision
from likelier.augmentation import check_augmentations
from likelier.claims import Judged, as_json
from likelier.errors import InputError
from likelier.experiment import CHECKPOINT_SECONDS, Budget, changes, check_digest, images_again, resume, train, whole
from likelier.family import build, configure, find, names, settings_of
from likelier.features import SEEDS, Extractor, at_hand, check_usable, extractor
from likelier.features.onnx import ONNX
from likelier.files import locked, read_json, sweep, write_json
from likelier.images import Images
from likelier.loop import resolve_device
from likelier.measuring import measure, read_measures
from likelier.models import Best, Model, best_of_each, check_names, models_asked_for, options_of
from likelier.reference import Reference, most_samples
from likelier.rehearsal import rehearse
from likelier.report import claims_on, standings_on, write_report
from likelier.run import Run, make_folder, remove_half_made
from likelier.showing import LARGEST, block, grid_of_cells, latest_samples, paragraph, side_by_side
from likelier.side_by_side import train_on_streams, train_side_by_side
from likelier.stopping import saying
from likelier.tables import BEST_IN_WORDS, Glance, at_a_glance, most_seeds
from likelier.threads import so_many
from likelier.verdict import FEW, PRIMARY, Verdict, announcement

FORMAT: Literal[3] = 3


class Described(TypedDict):
    """A model in a plan, under its name."""

    family: str
    settings: dict[str, Any]


class Plan(TypedDict):
    """What `compare.json` holds."""

    format: Literal[3]
    models: dict[str, Described]
    data: str
    data_root: str | None
    data_options: NotRequired[dict[str, Any]]
    data_name: NotRequired[str]
    data_digest: NotRequired[str]
    """What `likelier.load_images` was given beside them; plans of the first days have none."""
    epochs: float | None
    images: int | None
    minutes: float | None
    seeds: list[Annotated[int, pydantic.Field(ge=0)]]
    device: str
    primary: Literal["frechet_distance"]
    pairs: list[tuple[str, str]]
    """Declared before training: the number of pairs is what the verdicts are corrected for."""
    extractor: str | None
    """The ONNX file of another network, if figures are to be taken in its features."""
    augment: NotRequired[list[str]]
    """What is done to training images each time they come."""
    mixed_precision: NotRequired[pydantic.StrictBool]
    """Whether large products are in bfloat16."""
    jobs: NotRequired[int | None]
    """Runs at a time, if it was said how many."""
    threads: NotRequired[Annotated[int, pydantic.Field(ge=1)]]
    """Of each run: the last bits of convolutions hang on them."""


class FormerModels(TypedDict):
    """What plans of format 2 held in place of models: families, each once, and their settings beside them."""

    families: list[str]
    settings: dict[str, dict[str, Any]]


ON_A_GPU = 1
"""Runs at the same time. More is for whoever asks (--jobs): a program of ours with 33 crashed once on an H200."""
SHOWN_MODELS, SHOWN_WORDS = 6, 40
"""Models whose samples a notebook shows, and lines on pairs of them."""
LONGEST_TITLE = 80
"""Characters of names, above which a title only counts them."""
WORTH_A_PROCESS = 100_000
"""Images a run, below which a process of its own takes longer to start than it saves."""


@runtime_checkable
class Audience(Protocol):
    """Whoever is told how a comparison gets on."""

    def stage(self, name: str) -> None:
        """Something without a measure of its own begins."""

    def training(self, name: str, number: int, of: int) -> None:
        """Run `number` of so many begins, or goes on."""

    def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
        """As `OnProgress`."""

    def note(self, text: str) -> None:
        """Something the user should read now."""


class Silence:
    """An audience that is not there."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def training(self, name: str, number: int, of: int) -> None:
        """Nothing."""

    def progress(self, seen: int, total: int, record: Mapping[str, float]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to."""

    path: Path
    runs: tuple[Run, ...]
    results: tuple[Mapping[str, Any] | None, ...]
    """What `likelier.measure` returned for each run; None where it could not be measured."""
    models: tuple[Model, ...]
    """The model that each run is a seed of."""
    verdicts: tuple[Verdict, ...] = ()
    """What may be said of each pair of models; none of a single one."""
    best: tuple[Best, ...] = ()
    """Of each family with several models the one that came out best."""
    failed: tuple[str, ...] = ()
    """The runs whose processes died twice, each with the reason; they are shown as far as they got."""
    claims: tuple[Judged, ...] = ()
    """The claims of the lab report, judged of these runs; `claims.json` holds them for other programs."""

    @property
    def report(self) -> Path:
        """The page that shows it."""
        return self.path / "report.html"

    @property
    def by_model(self) -> dict[str, list[Mapping[str, Any]]]:
        """What was measured, by model."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for model, result in zip(self.models, self.results, strict=True):
            if result:
                found.setdefault(model.name, []).append(result)
        return found

    @property
    def at_a_glance(self) -> Glance:
        """The short table of measures."""
        ends = [(model.name, run.done) for run, model in zip(self.runs, self.models, strict=True)]
        seconds: dict[str, list[float]] = {}
        for name, done in ends:
            seconds.setdefault(name, []).extend([done["seconds"]] if done else [])
        diverged = {name for name, done in ends if done and done["status"] != "finished"}
        return at_a_glance(self.by_model, seconds, diverged)

    @property
    def words(self) -> list[str]:
        """What may be said of each pair, in one line for all where seeds are too few, and which model to use."""
        said = [verdict.words for verdict in self.verdicts]
        if said and most_seeds(self.by_model) < FEW:
            said = [f"no verdict on any pair: {FEW} seeds or more are wanted"]
        return [*said, *(best.words for best in self.best)]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        shown = self.at_a_glance
        parts = [paragraph(words) for words in (*self.words, *self.failed)[:SHOWN_WORDS]]
        parts += [grid_of_cells(shown.title, shown.columns, shown.rows, shown.best)] if shown.rows else []
        parts += [paragraph(BEST_IN_WORDS)] if shown.best else []
        first = {model.name: run for run, model in reversed(list(zip(self.runs, self.models, strict=True)))}
        names = list(dict.fromkeys(model.name for model in self.models))[:SHOWN_MODELS]
        most = LARGEST // SHOWN_MODELS
        parts.append(side_by_side(paragraph(name) + latest_samples(first[name].path, most) for name in names))
        return block(f"Comparison {self.path.name}", [*parts, paragraph(f"the whole report: {self.report}")])


def compare(
    families: Sequence[str] | None = None,
    data: Any = "digits",
    *,
    data_root: str | Path | None = None,
    epochs: float | None = None,
    images: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    out: str | Path | None = None,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    augment: Sequence[str] = (),
    mixed_precision: bool = False,
    judge: str | Path | None = None,
    jobs: int | None = None,
    audience: Audience | None = None,
) -> Comparison:
    """Train every model on the same data with the same budget, measure all, and write one `report.html`.

    Args:
        families: names or dotted paths, by default the four of the lab; each is a model, and is trained once per seed.
        data, data_root, epochs, images, minutes, device, augment, mixed_precision: as in `likelier.train`.
        seed, seeds: the first training seed, and how many follow on from it.
        out: the folder to make; by default `runs/compare-DATA`.
        settings: by name, for every family that has one of that name; `FAMILY.name` is for one family alone.
        sweep: values by the name of a setting, which finds its families as those of `settings` do: every value is a
            model, {"beta": [0.5, 1]} makes vae(beta=0.5) and vae(beta=1); several settings make all combinations.
        models: in place of `families` and `sweep`, by name: {"family": "gan", "settings": {"lr": 3e-4}}. `settings` are
            those that all of them have, unless they have their own.
        judge: an ONNX file with its preprocessing declared beside it, to take the features of samples with; by default
            the extractor of the image set.
        jobs: how many runs are trained at the same time, each in a process with its share of the threads; by default
            as many as there are threads, on a CPU and where it pays (see `workers_for`).
        audience: is told how things get on.

    Raises:
        InputError: something in the above cannot be used; nothing has been written then.

    >>> import likelier, tempfile
    >>> comparison = likelier.compare(["vae", "gan"], images=512, out=tempfile.mkdtemp() + "/two")
    >>> comparison.report.name, len(comparison.runs)
    ('report.html', 2)
    """
    asked = models_asked_for(families, settings, sweep, models)
    first, count, images = whole("seed", seed) or 0, whole("seeds", seeds) or 0, whole("images", images)
    if count < 1:
        raise InputError(f"seeds = {seeds}: wanted at least 1")
    Budget(epochs, images, minutes)
    chosen = resolve_device(device)
    image_set = data if isinstance(data, Images) else sources.load(data, data_root)
    check_usable(image_set)
    if judge is not None:
        ONNX(judge).check(image_set)  # refused now, and not after hours
    augmentations = check_augmentations(augment, image_set)
    for model in asked:
        family = find(model.family)
        built = build(family, configure(family, model.settings), image_set, first)
        rehearse(built, image_set, first, chosen, augmentations, check_mixed_precision(mixed_precision))
    path = Path(out) if out is not None else Path("runs") / f"compare-{image_set.name}"
    plan: Plan = {
        "format": FORMAT,
        "models": {model.name: {"family": model.family, "settings": dict(model.settings)} for model in asked},
        "data": image_set.known_as,
        "data_root": image_set.root,
        "data_options": dict(image_set.options),
        "data_name": image_set.name,
        "data_digest": image_set.digest,
        "epochs": epochs,
        "images": images,
        "minutes": minutes,
        "seeds": list(range(first, first + count)),
        "device": device,
        "primary": PRIMARY,
        "pairs": list(combinations([model.name for model in asked], 2)),
        "extractor": None if judge is None else str(Path(judge).resolve()),
        "augment": augmentations,
        "mixed_precision": mixed_precision,
        "jobs": jobs,
    }
    plan["threads"] = max(1, torch.get_num_threads() // workers_for(plan, image_set))
    make_folder(path, {"compare.json": plan})
    return carry_out(path, plan, image_set, audience or Silence())


def resume_comparison(
    path: str | Path,
    data: Any = None,
    data_root: str | Path | None = None,
    audience: Audience | None = None,
    families: Sequence[str] = (),
    jobs: int | None = None,
    allow_drift: bool = False,
) -> Comparison:
    """Go on with a comparison that was interrupted; one that had ended only has its report written again.

    `data` and `data_root` as in `likelier.resume`.
    `families` are those, if any, that go by a dotted path: a folder from somebody else may not name code to be run.
    `jobs` as in `compare`, if another number than at first; the runs have as many threads as at first. `allow_drift` as
    in `resume`. Runs that had failed are tried again.

    Raises:
        InputError: `path` holds no comparison.
    """
    path = Path(path)
    if not (path / "compare.json").is_file():
        raise InputError(
            f"{path} has no compare.json: wanted the folder of a comparison, as `likelier compare --out` makes it"
        )
    plan = read_plan(path / "compare.json")
    for family in (model["family"] for model in plan["models"].values()):
        if family not in [*names(), *families]:
            raise InputError(
                f"{path} names the code {family}: name it too, if you trust it, as a FAMILY beside --resume"
            )
    if not plan["models"] or not plan["seeds"]:
        raise InputError(f"{path} plans no models or no seeds: start the comparison anew")
    check_names(models_of(plan))  # which become folders
    image_set = images_again(plan, data, data_root)
    check_digest(image_set, plan.get("data_digest", image_set.digest), path)
    check_augmentations(plan.get("augment", []), image_set)
    if jobs is not None:
        plan["jobs"] = jobs
    return carry_out(path, plan, image_set, audience or Silence(), allow_drift)


def read_plan(path: Path) -> Plan:
    """The plan of a comparison, checked: it may come from somebody else, or from an earlier version."""
    found = read_json(path)
    try:
        if isinstance(found, dict) and found.get("format") == 2:
            former = pydantic.TypeAdapter(FormerModels).validate_python(found)
            if set(former["families"]) != former["settings"].keys():
                raise InputError(f"{path} plans families without settings, or the reverse: start the comparison anew")
            models = {name: {"family": name, "settings": former["settings"][name]} for name in former["families"]}
            found = {**found, "format": FORMAT, "models": models}
        return pydantic.TypeAdapter(Plan).validate_python(found)
    except pydantic.ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path} is no plan of format 2 or {FORMAT} ({where or 'all of it'}): start anew") from None


def models_of(plan: Plan) -> list[Model]:
    """The models of a plan."""
    return [Model(name, each["family"], each["settings"]) for name, each in plan["models"].items()]


def carry_out(path: Path, plan: Plan, images: Images, audience: Audience, allow_drift: bool = False) -> Comparison:
    """Whatever of the plan is not done yet, then the report."""
    refusal = f"{path} is being gone on with by another process: wait for it to end"
    with saying(f"go on with --resume {path}"), locked(path / ".lock", refusal):
        sweep(path.glob(".*"))
        remove_half_made(path)
        return complete(path, plan, images, audience, allow_drift)


def complete(path: Path, plan: Plan, images: Images, audience: Audience, allow_drift: bool) -> Comparison:
    """Train, measure, report."""
    models = models_of(plan)
    if early := announcement(len(plan["seeds"]), len(models)):
        audience.note(early)
    wanted = [(model, seed) for seed in plan["seeds"] for model in models]
    brought = ONNX(plan["extractor"]) if plan["extractor"] else None
    declared = brought or at_hand(images)
    folders = [folder_of(path, model, seed) for model, seed in wanted]
    for folder, (model, seed) in zip(folders, wanted, strict=True):
        if (folder / "config.json").exists() and not allow_drift:
            check_planned(Run.open(folder), plan, model, seed)
    reference = None
    if any(measured_as_declared(folder, images, declared) is None for folder in folders):
        # Before the training, which logs distances in its features.
        own = prepared(images, audience, SEEDS if len(plan["seeds"]) >= FEW else SEEDS[:1])
        reference = Reference(images, declared := brought or own[0], own)
    failed = train_at_once(path, plan, images, wanted, audience, allow_drift)
    runs = [
        trained(path, plan, images, model, seed, audience, (number, len(wanted)), allow_drift)
        if str(folder) not in failed
        else Run.open(folder)
        for number, (folder, (model, seed)) in enumerate(zip(folders, wanted, strict=True), start=1)
    ]
    results: list[Mapping[str, Any] | None] = []
    for (model, _), run in zip(wanted, runs, strict=True):
        result = measured_as_declared(run.path, images, declared)
        if result is None and str(run.path) not in failed:
            assert reference is not None  # which was made for the runs that had no measures
            audience.stage(f"measuring {run.path.name}")
            result = measured(run, model.family, reference, audience)
        results.append(result)
    given_up = tuple(f"{Path(out).name}: {reason}" for out, reason in failed.items())
    audience.stage("writing the report")
    return reported(path, plan, runs, results, given_up, images.name)


def reported(
    path: Path,
    plan: Plan,
    runs: Sequence[Run],
    results: Sequence[Mapping[str, Any] | None],
    failed: tuple[str, ...],
    data: str,
) -> Comparison:
    """What the runs came to, and the page that shows it."""
    models = models_of(plan)
    of_runs = tuple(model for _ in plan["seeds"] for model in models)
    paths, labels = [run.path for run in runs], [model.name for model in of_runs]
    sides, verdicts = standings_on(paths, labels)
    best = tuple(best_of_each(models, sides, verdicts))
    claims = tuple(claims_on(paths, labels))
    write_json(path / "claims.json", {"format": 1, "claims": as_json(claims)})
    comparison = Comparison(path, tuple(runs), tuple(results), of_runs, tuple(verdicts), best, failed, claims)
    names = ", ".join(plan["models"])
    title = f"{names if len(names) <= LONGEST_TITLE else f'{len(models)} models'} on {data}"
    write_report(paths, comparison.report, title=title, command=command_of(plan), declared=True, models=labels)
    return comparison


def folder_of(path: Path, model: Model, seed: int) -> Path:
    """Where a run of the comparison is."""
    return path / "runs" / f"{model.folder}-seed{seed}"


def check_planned(run: Run, plan: Plan, model: Model, seed: int) -> None:
    """InputError if a run was begun under another plan than this: somebody has changed one of the two.

    A setting that the family did not have yet when the run was begun is what it is by default.
    """
    config, family = dict(run.config), find(model.family)
    if config["family"] == model.family:
        config["settings"] = settings_of(configure(family, config["settings"]))
    settings = settings_of(configure(family, model.settings))
    budget = {"epochs": plan["epochs"], "minutes": plan["minutes"], "images": plan["images"]}
    asked: dict[str, Any] = {name: value for name, value in budget.items() if value is not None}
    asked |= {"family": model.family, "seed": seed, "settings": settings}
    usual = {"augment": [], "mixed_precision": False}
    asked |= {name: plan.get(name, value) for name, value in usual.items()}
    if changed := changes({name: config.get(name, usual.get(name)) for name in asked}, asked):
        raise InputError(
            f"{run.path} was begun under another plan: {', '.join(changed)}; wanted the plan as it was, or "
            "--allow-drift, which leaves the run with what it has"
        )


def measured_as_declared(path: Path, images: Images, judge: Extractor | None) -> dict[str, Any] | None:
    """What was measured of a run that has ended, under the plan's conditions; None if nothing was, or under others.

    Whoever chose the extractor after seeing figures would choose the verdict.
    """
    if not (path / "done").exists():
        return None  # of an earlier state, if anything was
    found = read_measures(path)
    if found is None or judge is None:
        return found
    declared = {"extractor": judge.name, "data_digest": images.digest, "n": most_samples(images)}
    return found if declared.items() <= found["conditions"].items() else None


def prepared(images: Images, audience: Audience, seeds: Sequence[int] = SEEDS[:1]) -> list[Extractor]:
    """The set's own extractors; the training of those that are not at hand is shown as any other."""
    found = []
    for seed in seeds:
        audience.training(f"the extractor of {images.name}, seed {seed}", 1, 1)
        found.append(extractor(images, seed=seed, progress=lambda done, total: audience.progress(done, total, {})))
    return found


def workers_for(plan: Plan, images: Images) -> int:
    """How many of the runs are trained at the same time.

    Unless it was said, a CPU trains as many as torch has threads, if the processes can find the images by themselves
    and each run is long enough to be worth the start of one; a GPU trains `ON_A_GPU`, on streams of this process.
    """
    jobs, runs = plan.get("jobs"), len(plan["models"]) * len(plan["seeds"])
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs = {jobs}: wanted at least 1")
    device = resolve_device(plan["device"]).type
    if device == "cuda":
        return min(ON_A_GPU if jobs is None else jobs, runs)
    if jobs is not None and jobs > 1 and not images.can_be_found:
        raise InputError(f"jobs = {jobs} with images made in Python, which other processes do not have: wanted jobs=1")
    if jobs is None:
        budget = Budget(plan["epochs"], plan["images"], plan["minutes"])
        long = budget.minutes is not None or budget.without_a_clock(images) >= WORTH_A_PROCESS
        pays = long and images.can_be_found and device == "cpu"
        jobs = torch.get_num_threads() if pays else 1
    return min(jobs, runs)


def train_at_once(
    path: Path,
    plan: Plan,
    images: Images,
    wanted: Sequence[tuple[Model, int]],
    audience: Audience,
    allow_drift: bool,
) -> dict[str, str]:
    """Those runs of the plan that are not done, if several are trained at the same time; why each failed that did."""
    waiting = [
        job | {"allow_drift": allow_drift}
        for model, seed in wanted
        if not (Path((job := job_of(path, plan, images, model, seed))["out"]) / "done").exists()
    ]
    workers = workers_for(plan, images)
    failed: dict[str, str] = {}
    if workers < 2 or not waiting:
        return failed
    audience.training(f"{len(waiting)} runs, {min(workers, len(waiting))} at a time", 1, 1)
    together = Together(len(waiting), audience)
    if resolve_device(plan["device"]).type == "cuda":
        train_on_streams(waiting, images, workers, together.on_news)
    else:
        failed = train_side_by_side(waiting, workers, threads_of(plan), together.on_news)
    for out, reason in failed.items():
        give_up(Path(out), path, reason)
    for job in waiting:
        tell_how_it_ended(Run.open(job["out"]), audience)
    return failed


def give_up(folder: Path, path: Path, reason: str) -> None:
    """Write down in the run that it failed; InputError if it never came to be one, as nothing could be shown of it."""
    if not (folder / "config.json").exists():
        raise InputError(
            f"{folder} could not be begun: {reason}; --resume {path} tries again, with --jobs 1 one by one"
        )
    write_json(folder / "failed.json", {"message": reason})


def threads_of(plan: Plan) -> int:
    """The threads that each of its runs is trained with."""
    return plan.get("threads", torch.get_num_threads())


class Together:
    """Several runs as one job: what an audience is told of them."""

    def __init__(self, runs: int, audience: Audience) -> None:
        self.runs, self.audience = runs, audience
        self.seen: dict[str, int] = {}
        self.total: dict[str, int] = {}
        self.losses: dict[str, float] = {}

    def on_news(self, job: Mapping[str, Any], news: Mapping[str, Any]) -> None:
        """As `train_side_by_side` gives it: the images of all, and a loss of each that is being trained."""
        name = Path(job["out"]).name
        if "warning" in news:
            self.audience.note(f"{name}: {news['warning']}")
            return
        self.seen[name], self.total[name] = news["seen"], news["total"]
        self.losses |= {f"loss.{name}": v for k, v in list(news["record"].items())[:1] if k.startswith("loss.")}
        if news["seen"] >= news["total"]:
            self.losses.pop(f"loss.{name}", None)
        expected = sum(self.total.values()) * self.runs // len(self.total)  # of those to come, as of those begun
        self.audience.progress(sum(self.seen.values()), expected, self.losses)


def job_of(path: Path, plan: Plan, images: Images, model: Model, seed: int) -> dict[str, Any]:
    """The arguments of `train` for one run of the plan; for its images, those of `load_again`."""
    return {
        "family": model.family,
        "data": {"source": images.known_as, "root": images.root, "options": dict(images.options), "name": images.name},
        "epochs": plan["epochs"],
        "images": plan["images"],
        "minutes": plan["minutes"],
        "seed": seed,
        "out": str(folder_of(path, model, seed)),
        "device": plan["device"],
        "settings": dict(model.settings),
        "augment": plan.get("augment", []),
        "mixed_precision": plan.get("mixed_precision", False),
        "checkpoint_seconds": CHECKPOINT_SECONDS,
    }


def trained(
    path: Path,
    plan: Plan,
    images: Images,
    model: Model,
    seed: int,
    audience: Audience,
    place: tuple[int, int],
    allow_drift: bool,
) -> Run:
    """One run of the plan: as it is if it is done, resumed if it was begun, else trained from the start."""
    folder = folder_of(path, model, seed)
    if (folder / "done").exists():
        return Run.open(folder)
    audience.training(f"{model.name}, seed {seed}", *place)
    if (folder / "config.json").exists():
        run = resume(folder, images, family=model.family, on_progress=audience.progress, allow_drift=allow_drift)
    else:
        job = job_of(path, plan, images, model, seed) | {"data": images}
        with so_many(threads_of(plan)):
            run = train(**job, on_progress=audience.progress)
    tell_how_it_ended(run, audience)
    return run


def tell_how_it_ended(run: Run, audience: Audience) -> None:
    """A word on a run that did not finish."""
    if run.done and run.done["status"] != "finished":
        audience.note(f"{run.path.name} {run.done['status']}: {run.done['message']}")


def measured(run: Run, family: str, reference: Reference, audience: Audience) -> dict[str, Any] | None:
    """The run's measures, or None, with the reason told: one broken model must not hide the others."""
    try:
        result = measure(run, reference=reference, family=family)
    except InputError as error:
        audience.note(f"{run.path.name} was not measured: {error}")
        return None
    for warning in result["warnings"]:
        audience.note(f"{run.path.name}: {warning}")
    return result


def command_of(plan: Plan) -> str:
    """The command line that does it again."""
    given = options_of(models_of(plan))
    from_a_file = shlex.join(["echo", json.dumps({"models": plan["models"]}, ensure_ascii=False)])
    families, options = given or (["--config", "/dev/stdin"], [])
    words = ["likelier", "compare", *families, "--data", plan["data"]]
    words += ["--data-root", "DATA"] if plan["data_root"] else []
    words += [w for key, value in plan.get("data_options", {}).items() for w in (f"--{key}", str(value))]
    budget = {"epochs": plan["epochs"], "images": plan["images"], "minutes": plan["minutes"]}
    budget = {key: value for key, value in budget.items() if value is not None}
    words += [w for key, value in budget.items() for w in (f"--{key}", str(value).removesuffix(".0"))]
    first, n = plan["seeds"][0], len(plan["seeds"])
    words += ["--seed", str(first)] if first else []
    words += ["--seeds", str(n)] if n > 1 else []
    words += ["--extractor", Path(plan["extractor"]).name] if plan["extractor"] else []
    words += ["--augment", ",".join(plan["augment"])] if plan.get("augment") else []
    words += ["--mixed-precision"] if plan.get("mixed_precision") else []
    words += ["--device", plan["device"]] if plan["device"] != "auto" else []
    words += ["--jobs", str(plan["jobs"])] if plan.get("jobs") else []
    command = shlex.join([*words, *options])
    return command if given else f"{from_a_file} | {command}"
