"""The claims of the lab report, each with the measure that decides it and the bar that was set before anyone looked.

A claim holds, does not hold, or cannot be said:

1. A claim about one model has a number for each training seed and a bar. It holds if the exact interval of the median
   over the seeds lies beyond the bar, it does not hold if the interval lies on the other side, and nothing can be said
   if the bar is within. With five seeds that means: all five agree.
2. A claim that one model is better than another is the verdict (`likelier.verdict`).
3. A claim of two halves holds if both do, and does not if one does not. Each half is tested at 5%, so such a claim is
   granted wrongly in at most 5% and refused wrongly in at most 10% of all cases.

With fewer than five seeds nothing can be said, as with a seed that is missing: unfinished, not measured, or without the
figure. A diverged seed is the worst in whatever is asked of the trained model. Nothing is corrected for the number of
claims but the verdicts, so that number is told.

Models are known by what their runs hold: codes and reconstructions, or losses of a generator. The names that the lab's
sentences are about stand below, and nowhere else.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import product
from statistics import median
from typing import Any, Literal

from likelier.intervals import Interval, deviations, median_interval, ratio_interval
from likelier.stability import PEAKED, SPIKY, UNSTEADY, finite_values, training_stability
from likelier.texture import Pictures, edge_steepness, neighbour_correlation
from likelier.verdict import FEW, PRIMARY, Verdict, p_in_words, short

VAE, FIRST, MODIFIED = "vae", "gan", ("dcgan", "r3gan")
"""The families of the lab: its VAE, its first GAN, and what it may have changed that into."""

ENDS = 20
"""Points at either end of a loss, whose medians tell whether it fell."""
NOISE_LIKE = 0.1
"""Of real images' correlation between neighbouring pixels: samples with less are called noise. White noise has 0."""

Outcome = Literal["holds", "does not hold", "cannot be said"]
HOLDS: Outcome = "holds"
NOT: Outcome = "does not hold"
UNSAID: Outcome = "cannot be said"
Wanted = Literal["above", "at most"]
BASELINES = ("raw pixels", "untrained encoder")
Line = Mapping[str, Any]


class Unknown(ValueError):
    """Why a figure of a run is not known."""


@dataclass(frozen=True)
class Figure:
    """A measure of a run: its value, what it is held against, or why it has none."""

    value: float | None
    floor: Mapping[str, float] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True)
class Look:
    """Test images and what came back from their codes, when so many images had been seen."""

    images: int
    originals: Pictures
    rebuilt: Pictures


@dataclass(frozen=True, eq=False)
class Record:
    """What one training left, as far as a claim asks for it."""

    seed: int
    status: Literal["finished", "diverged", "unfinished"]
    figures: Mapping[str, Figure]
    """By key; empty for a run that is not measured."""
    log: Sequence[Line]
    beginning: Pictures | None = None
    """Samples before any training."""
    real: Pictures | None = None
    looks: Sequence[Look] = ()

    @cached_property
    def players(self) -> Mapping[str, Mapping[str, Any]]:
        """How steady the loss of each player was, by name."""
        found: Mapping[str, Mapping[str, Any]] = training_stability(self.log)["players"]
        return found


@dataclass(frozen=True)
class Model:
    """The seeds of one model."""

    name: str
    family: str
    records: tuple[Record, ...]

    @property
    def encodes(self) -> bool:
        """Whether its runs hold reconstructions, or figures of them."""
        mse = (record.figures.get("reconstruction_mse") for record in self.records)
        return any(record.looks for record in self.records) or any(m and m.value is not None for m in mse)

    @property
    def plays(self) -> bool:
        """Whether a generator and a discriminator had losses of their own."""
        wanted = {"loss.generator", "loss.discriminator"}
        return any(wanted <= line.keys() for record in self.records for line in record.log)


@dataclass(frozen=True)
class Half:
    """One criterion, the whole of most claims: an interval and the bar that it has to lie beyond."""

    name: str
    wanted: Wanted
    bar: float
    values: tuple[float, ...]
    """By seed; none where two models are compared."""
    interval: Interval | None
    outcome: Outcome
    reason: str
    """Why nothing can be said; empty if something can."""


@dataclass(frozen=True)
class Finding:
    """What came of a claim for one model, or for one against another."""

    models: tuple[str, ...]
    """The one that it is about, or the two that are held against each other."""
    outcome: Outcome
    reason: str
    """Why nothing can be said, what the halves say where they differ, or the verdict; else empty."""
    halves: tuple[Half, ...]
    beside: tuple[tuple[str, str], ...] = ()
    """Figures that do not decide, by name."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the lab, how it is decided, and how it is judged of the models that there are."""

    key: str
    sentence: str
    measure: str
    criterion: str
    why: str
    """Why this measure, and not another."""
    judge: Callable[["Lab"], Iterator[Finding]]
    about: str
    """What a run has to be for the claim to be tried."""


@dataclass(frozen=True)
class Judged:
    """A claim with its findings; without any it was not tried."""

    claim: Claim
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Lab:
    """All that there is: models, the verdicts on their pairs, or why there are none."""

    models: Sequence[Model]
    verdicts: Sequence[Verdict] = ()
    no_verdicts: str = ""

    def of(self, *families: str) -> list[Model]:
        """The models of these families."""
        return [model for family in families for model in self.models if model.family == family]

    @property
    def real(self) -> Pictures | None:
        """Real images, from any run that has some: all runs are of the same data."""
        found = (record.real for model in self.models for record in model.records)
        return next((pictures for pictures in found if pictures is not None), None)


def judge_claims(lab: Lab) -> list[Judged]:
    """Every claim of the lab, judged of the models that it speaks about."""
    return [Judged(claim, tuple(claim.judge(lab))) for claim in CLAIMS]


# Deciding


def half(name: str, model: Model, of: Callable[[Record], float], wanted: Wanted, bar: float) -> Half:
    """One criterion over the seeds of a model; `of` gives the figure of a run, or raises Unknown."""
    values, missing = [], []
    for record in model.records:
        try:
            values.append(of(record))
        except Unknown as reason:
            missing.append((record.seed, str(reason)))
    interval = median_interval(values) if values and not missing else None
    return decided(name, wanted, bar, tuple(values), interval, why_unsaid(len(model.records), missing))


def why_unsaid(seeds: int, missing: Sequence[tuple[int, str]]) -> str:
    """What stands in the way of saying anything; empty if nothing does.

    >>> why_unsaid(3, [])
    '3 seeds, and 5 or more are wanted'
    >>> why_unsaid(6, [(2, "not measured"), (4, "not measured")])
    'seeds 2, 4: not measured'
    """
    if missing:
        seeds_of: dict[str, list[str]] = {}
        for seed, reason in missing:
            seeds_of.setdefault(reason, []).append(str(seed))
        if len(seeds_of) == 1 and len(missing) == seeds:
            return next(iter(seeds_of))
        return "; ".join(f"seed{'s' * (len(s) > 1)} {', '.join(s)}: {reason}" for reason, s in seeds_of.items())
    return f"{seeds} seed{'s' * (seeds != 1)}, and {FEW} or more are wanted" if seeds < FEW else ""


def decided(
    name: str,
    wanted: Wanted,
    bar: float,
    values: tuple[float, ...],
    interval: Interval | None,
    unsaid: str,
) -> Half:
    """The criterion with its outcome: on which side of the bar the interval lies."""
    if unsaid or interval is None:
        return Half(name, wanted, bar, values, None, UNSAID, unsaid or "too few seeds for an interval")
    above, below = interval.low > bar, interval.high <= bar
    if not above and not below:
        return Half(name, wanted, bar, values, interval, UNSAID, "the bar lies within the interval")
    return Half(name, wanted, bar, values, interval, HOLDS if above == (wanted == "above") else NOT, "")


def finding(models: Sequence[Model], halves: Sequence[Half], beside: Sequence[tuple[str, str]]) -> Finding:
    """The whole of the halves: one that does not hold is enough to refuse a claim, all have to hold to grant it."""
    outcomes = {each.outcome for each in halves}
    outcome = NOT if NOT in outcomes else UNSAID if UNSAID in outcomes else HOLDS
    if len(outcomes) == 1:
        reasons = list(dict.fromkeys(each.reason for each in halves if each.reason))
    else:  # both are said
        reasons = [f"{each.name}, {each.outcome}{f' ({each.reason})' * bool(each.reason)}" for each in halves]
    return Finding(tuple(model.name for model in models), outcome, "; ".join(reasons), tuple(halves), tuple(beside))


def centre(values: Sequence[float]) -> str:
    """The median over the seeds that have a value."""
    return short(median(values)) if values else "n/a"


# What runs hold


def ended(record: Record) -> None:
    """Unknown for a training that goes on."""
    if record.status == "unfinished":
        raise Unknown("not finished")


def value_of(record: Record, key: str) -> float:
    """A measure of a run."""
    ended(record)
    figure = record.figures.get(key)
    if not record.figures:
        raise Unknown("not measured")
    if figure is None or figure.value is None:
        raise Unknown((figure.why_not if figure else "") or f"it has no {key}")
    return figure.value


def known(model: Model, key: str, floor: str | None = None) -> list[float]:
    """A measure of the seeds that have it, or one of its floors."""
    figures = [r.figures[key] for r in model.records if key in r.figures and r.figures[key].value is not None]
    values = [figure.value if floor is None else figure.floor.get(floor) for figure in figures]
    return [value for value in values if value is not None]


# The claims


def above_baselines(key: str) -> Callable[[Record], float]:
    """How far a figure of the codes lies above the highest of its bars: both baselines, and 0."""

    def of(record: Record) -> float:
        if record.status == "diverged":
            return -math.inf
        value, floor = value_of(record, key), record.figures[key].floor
        if lacking := [name for name in BASELINES if name not in floor]:
            raise Unknown(f"the {' and the '.join(lacking)} were not measured")
        return value - max(0.0, *(floor[name] for name in BASELINES))

    return of


def clusters(key: str, beside: Mapping[str, str]) -> Callable[[Lab], Iterator[Finding]]:
    """The claim that classes cluster, decided by one silhouette."""

    def judge(lab: Lab) -> Iterator[Finding]:
        for model in lab.models:
            if model.encodes:
                one = half("silhouette above the highest bar", model, above_baselines(key), "above", 0.0)
                shown = {key: "silhouette", **beside}
                yield finding([model], [one], [(name, against_floors(model, k)) for k, name in shown.items()])

    return judge


def against_floors(model: Model, key: str) -> str:
    """A figure of the codes beside its baselines, as text."""
    values = known(model, key)
    if not values:
        return "n/a"
    floors = [f"{name} {centre(found)}" for name in BASELINES if (found := known(model, key, name))]
    return f"{centre(values)} ({', '.join(floors)})" if floors else centre(values)


def most_of_players(record: Record, key: str, per_point: bool = False) -> float:
    """The greatest of a stability figure over the players; as a share of the points of the loss, if so."""
    ended(record)
    if not record.players:
        raise Unknown("no losses were logged")
    for player in record.players.values():
        if player[key] is None:
            raise Unknown(player["why_not"][key])
    return max(float(player[key]) / (player["points"] if per_point else 1) for player in record.players.values())


def fall(record: Record) -> float:
    """How far the loss came down, from the median of its first points to that of its last; the least of the players."""
    if record.status == "diverged":
        return -math.inf
    ended(record)
    falls = []
    for player in record.players:
        losses = finite_values([line for line in record.log if not line.get("evaluation")], f"loss.{player}")
        if len(losses) < 2 * ENDS:
            raise Unknown(f"{len(losses)} losses: wanted at least {2 * ENDS}; train longer")
        falls.append(median(losses[:ENDS]) - median(losses[-ENDS:]))
    if not falls:
        raise Unknown("no losses were logged")
    return min(falls)


def rises(record: Record) -> float:
    """The share of rising steps; all of them, if the training diverged."""
    return 1.0 if record.status == "diverged" else most_of_players(record, "rising_fraction")


def falls_steadily(lab: Lab) -> Iterator[Finding]:
    """Of the lab's VAE."""
    for model in lab.of(VAE):
        falls = half("fall of the smoothed loss", model, fall, "above", 0.0)
        steady = half("rising steps", model, rises, "at most", UNSTEADY)
        yield finding([model], [falls, steady], restlessness(model))


def restlessness(model: Model) -> list[tuple[str, str]]:
    """The stability figures of each player, as text."""
    shown = {"rising_fraction": "rising steps", "spikes": "spikes", "grad_norm_peak": "gradient peak ÷ median"}
    players = dict.fromkeys(name for record in model.records for name in record.players)
    found = []
    for player, (key, name) in product(players, shown.items()):
        values = [r.players[player][key] for r in model.records if player in r.players]
        known = [value for value in values if value is not None]
        found += [(f"{player}, {name}", centre(known))] if known else []
    return found


def evaluated(record: Record, key: str) -> list[float]:
    """A scalar of the looks, in order; only the finite ones."""
    return finite_values([line for line in record.log if line.get("evaluation")], key)


def steepness(look: Look) -> float:
    """How steep the edges of the reconstructions are, as a share of those of their originals."""
    originals = edge_steepness(look.originals)
    if originals == 0:
        raise Unknown("the original images have no edges")
    return edge_steepness(look.rebuilt) / originals


def sharper(record: Record) -> float:
    """How much steeper edges are at the last look than before training."""
    if record.status == "diverged":
        return -math.inf
    ended(record)
    if len(record.looks) < 2 or record.looks[0].images:
        raise Unknown("there are no pictures of reconstructions, before training and after, that can be read")
    return steepness(record.looks[-1]) - steepness(record.looks[0])


def nearer(record: Record) -> float:
    """How much smaller the held-out error is at the last look than before training."""
    if record.status == "diverged":
        return -math.inf
    ended(record)
    errors = evaluated(record, "mse")
    if len(errors) < 2:
        raise Unknown("no held-out error was logged before training and after")
    return errors[0] - errors[-1]


def sharpen(lab: Lab) -> Iterator[Finding]:
    """Of every model that encodes."""
    for model in lab.models:
        if model.encodes:
            halves = [
                half("sharper: gain in steepness", model, sharper, "above", 0.0),
                half("nearer: fall of the held-out error", model, nearer, "above", 0.0),
            ]
            yield finding([model], halves, on_the_way(model))


def on_the_way(model: Model) -> list[tuple[str, str]]:
    """Steepness and error at the first look, at the middle ones and the last, medians over the seeds."""
    found: list[tuple[str, str]] = []
    whole = [r.looks for r in model.records if r.looks and edge_steepness(r.looks[0].originals)]
    if whole:
        few = min(map(len, whole))
        places = dict.fromkeys((0, few // 4, few // 2, 3 * few // 4, few - 1))
        steps = [
            f"{median(steepness(looks[i]) for looks in whole):.0%} at {whole[0][i].images:,}" for i in sorted(places)
        ]
        found.append(("steepness, as a share of the originals', by images seen", ", ".join(steps)))
    errors = [e for r in model.records if len(e := evaluated(r, "mse")) > 1]
    if errors:
        found.append(
            ("held-out error, first and last", f"{centre([e[0] for e in errors])}, {centre([e[-1] for e in errors])}")
        )
    return found


def begins_as_noise(lab: Lab) -> Iterator[Finding]:
    """Of every model with a generator and a discriminator."""
    real = None if lab.real is None else neighbour_correlation(lab.real)

    def of(record: Record) -> float:
        if real is None or real == 0:
            raise Unknown("there are no real images to hold the samples against: measure a run")
        if record.beginning is None:
            raise Unknown("there is no picture of its samples before training that can be read")
        found = neighbour_correlation(record.beginning)
        if found is None:
            raise Unknown("its samples before training are of one grey")
        return abs(found / real)

    for model in lab.models:
        if model.plays:
            one = half("correlation of neighbours, as a share of real images'", model, of, "at most", NOISE_LIKE)
            beside = [] if real is None else [("correlation in real images", short(real)), ("in white noise", "0")]
            distances = [d for r in model.records if len(d := evaluated(r, "fd")) > 1]
            if distances:
                first, last = (centre([d[i] for d in distances]) for i in (0, -1))
                beside.append(("FD before training, and at the end", f"{first}, {last}"))
            yield finding([model], [one], beside)


def fluctuate_and_spike(lab: Lab) -> Iterator[Finding]:
    """Of every model with a generator and a discriminator; what it logged before it diverged counts as well."""
    rising, spiking = (
        partial(most_of_players, key=key, per_point=key == "spikes") for key in ("rising_fraction", "spikes")
    )
    for model in lab.models:
        if model.plays:
            halves = [
                half("fluctuates: rising steps", model, rising, "above", UNSTEADY),
                half("spikes: share of points", model, spiking, "above", SPIKY),
            ]
            yield finding([model], halves, restlessness(model))


def better(lab: Lab, favoured: Sequence[Model], others: Sequence[Model]) -> Iterator[Finding]:
    """That each of the favoured beats each of the others, by the verdict on the pair."""
    for one, other in product(favoured, others):
        found = next((v for v in lab.verdicts if {v.a, v.b} == {one.name, other.name}), None)
        few = why_unsaid(min(len(one.records), len(other.records)), [])
        distances = [distances_of(model) for model in (one, other)]
        missing = "" if all(distances) else "not every run of the two has ended and is measured"
        unjudged = few or missing or lab.no_verdicts or "there is no verdict on this pair"
        outcome, reason = by_verdict(found, one.name) if found and not few else (UNSAID, unjudged)
        interval = ratio_interval(*distances) if found and all(distances) else None
        name = f"FD as a multiple of {other.name}'s"
        decider = Half(name, "at most", 1.0, (), interval, outcome, reason if outcome == UNSAID else "")
        beside = [(f"FD of {m.name}", centre(d)) for m, d in zip((one, other), distances, strict=True) if d]
        beside += [("p, corrected", p_in_words(found.p_adjusted)), ("noise", short(found.noise))] if found else []
        beside += [(f"recall of {m.name}", centre(known(m, "recall"))) for m in (one, other) if known(m, "recall")]
        yield Finding((one.name, other.name), outcome, reason, (decider,), tuple(beside))


def by_verdict(verdict: Verdict, favoured: str) -> tuple[Outcome, str]:
    """What a verdict says of the claim that `favoured` is better.

    A trade-off speaks against it: each of the two is better at something.
    """
    if verdict.outcome == "no verdict":
        return UNSAID, verdict.words
    return HOLDS if verdict.outcome == "win" and verdict.better == favoured else NOT, verdict.words


def distances_of(model: Model) -> list[float]:
    """The distance of every seed, infinite for one that diverged; none at all if one is not known."""
    found = []
    for record in model.records:
        figure = record.figures.get(PRIMARY)
        diverged = record.status == "diverged" or (figure is not None and figure.value is None)
        if not diverged and (figure is None or record.status == "unfinished"):
            return []
        found.append(math.inf if diverged or figure is None or figure.value is None else figure.value)
    return found


def modified_is_better(lab: Lab) -> Iterator[Finding]:
    """Each of the modified GANs against the first."""
    yield from better(lab, lab.of(*MODIFIED), lab.of(FIRST))


def stays_below(lab: Lab) -> Iterator[Finding]:
    """The VAE against each GAN."""
    yield from better(lab, lab.of(VAE), lab.of(FIRST, *MODIFIED))


def more_robust(lab: Lab) -> Iterator[Finding]:
    """The spread over seeds of each GAN against that of the VAE."""
    for vae, gan in product(lab.of(VAE), lab.of(FIRST, *MODIFIED)):
        mine, theirs = distances_of(vae), distances_of(gan)
        unsaid = why_unsaid(min(len(vae.records), len(gan.records)), [])
        if not unsaid and not (mine and theirs):
            unsaid = "not every run of the two has ended and is measured"
        interval = None if unsaid else ratio_interval(deviations(theirs), deviations(mine))
        one = decided(f"spread of {gan.name} as a multiple of {vae.name}'s", "above", 1.0, (), interval, unsaid)
        beside = [
            (f"FD of {model.name}, least to greatest", f"{short(min(d))} to {short(max(d))}")
            for model, d in ((vae, mine), (gan, theirs))
            if d
        ]
        yield finding([vae, gan], [one], beside)


BEST_BAR = (
    "above 0, after subtracting the highest of three bars: raw pixels, in which classes lie apart before anything is "
    "learned, the same encoder before training, and 0, below which codes lie nearer to another class"
)
SEED_INTERVAL = "the exact interval of the median over seeds lies beyond the bar"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "clusters",
        "Classes cluster in the latent space.",
        "the silhouette of the classes among the codes of test images",
        BEST_BAR,
        "A silhouette asks just this: is a code nearer to its own class than to the next? A probe and neighbours ask "
        "whether classes can be told apart, which they can be where nothing clusters; NMI asks a k-means.",
        clusters("silhouette", {"knn_accuracy": "k-NN", "linear_probe": "linear probe", "nmi": "NMI"}),
        "a model that encodes",
    ),
    Claim(
        "clusters_pca",
        "They cluster in its PCA plane, too.",
        "the same silhouette in the plane of the two principal components",
        BEST_BAR,
        "The plane is what the lab looked at. Raw pixels and the untrained encoder are projected in the same way.",
        clusters("silhouette_pca", {"nmi_pca": "NMI"}),
        "a model that encodes",
    ),
    Claim(
        "steady",
        "The VAE's loss falls steadily.",
        "the fall of the smoothed loss, and its rising steps",
        f"it falls: the median of the last {ENDS} logged points lies below that of the first; steadily: at most "
        f"{UNSTEADY:.0%} of the steps of its running median rise by more than their noise",
        "Noise between batches is no unsteadiness, so the loss is smoothed and a rise has to exceed three standard "
        "errors. A loss that stands still is steady and does not fall, so both are asked.",
        falls_steadily,
        VAE,
    ),
    Claim(
        "sharpen",
        "Reconstructions sharpen with training.",
        "how steep the steepest tenth of the pixels is, as a share of the originals', and the held-out squared error",
        "both at the last look and before training: steeper, and a smaller error",
        "Sharper and nearer differ: noise has steep edges, and blur has a small error. Steepness is taken of the "
        "steepest tenth, since the faint noise of an untrained decoder adds up over all pixels.",
        sharpen,
        "a model that encodes",
    ),
    Claim(
        "noise",
        "The GAN begins as noise.",
        "the correlation of neighbouring pixels in samples before training, as a share of that in real images",
        f"at most {NOISE_LIKE:.0%}; white noise has 0, real images 100%",
        "In noise no pixel knows of its neighbour. A Fréchet distance is large for any bad samples, noise or not. A "
        "generator that upsamples smoothly makes blots before it has learned anything.",
        begins_as_noise,
        "a model with a generator and a discriminator",
    ),
    Claim(
        "restless",
        "The GAN's losses fluctuate and spike.",
        "rising steps and spikes of the loss, of the player that has the most",
        f"fluctuates: above {UNSTEADY:.0%} of the steps rise by more than their noise; spikes: above {SPIKY:.0%} of "
        "the points stand out of both their neighbourhoods by six standard deviations",
        "One restless player is enough, as the other answers it. A gradient "
        f"above {PEAKED:.0f} times the median is a jolt; it stands beside, since the lab looked at losses.",
        fluctuate_and_spike,
        "a model with a generator and a discriminator",
    ),
    Claim(
        "modified",
        "The modified GAN is better than the first.",
        "the verdict on the pair",
        "the modified one wins: an exact test over seeds, above the noise of the measure, no copies, and no recall or "
        "coverage that speaks against it",
        "There is one rule for better on this page.",
        modified_is_better,
        f"{FIRST}, and {' or '.join(MODIFIED)}",
    ),
    Claim(
        "below",
        "The GAN stays below the VAE.",
        "the verdict on the pair",
        "the VAE wins by the same rule",
        "There is one rule for better on this page.",
        stays_below,
        f"{VAE}, and {', '.join((FIRST, *MODIFIED[:-1]))} or {MODIFIED[-1]}",
    ),
    Claim(
        "robust",
        "The VAE is the more robust to seeds.",
        "the spread of the Fréchet distance over seeds: how far each lies from the median of its model, in logarithms",
        "the GAN's is a multiple above 1 of the VAE's, by the 95% interval of the Mann–Whitney test of both",
        "In logarithms, since a tenth more or less is as much at 50 as at 5. Standard deviations of five seeds hang on "
        "one of them; ranks do not. A diverged seed is infinitely far. The interval is not exact, since distances from "
        "one median are not independent: of skewed distances such a claim may hold by chance in 4% in place of 2.5%.",
        more_robust,
        f"{VAE}, and {', '.join((FIRST, *MODIFIED[:-1]))} or {MODIFIED[-1]}",
    ),
)


def as_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The claims as JSON holds them; null stands for what is infinite, as the distance of a diverged run."""
    return [
        {
            "key": each.claim.key,
            "sentence": each.claim.sentence,
            "measure": each.claim.measure,
            "criterion": each.claim.criterion,
            "about": each.claim.about,
            "findings": [
                {
                    "models": list(found.models),
                    "outcome": found.outcome,
                    "reason": found.reason,
                    "halves": [half_as_json(one) for one in found.halves],
                    "beside": dict(found.beside),
                }
                for found in each.findings
            ],
        }
        for each in judged
    ]


def half_as_json(one: Half) -> dict[str, Any]:
    """One criterion."""
    interval = {name: finite_or_none(value) for name, value in asdict(one.interval).items()} if one.interval else None
    return {
        "name": one.name,
        "wanted": one.wanted,
        "bar": one.bar,
        "values": [finite_or_none(value) for value in one.values],
        "interval": interval,
        "outcome": one.outcome,
        "reason": one.reason,
    }


def finite_or_none(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None
