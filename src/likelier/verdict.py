"""The verdict: when it may be said that one model beats another.

The unit is the training seed: images of one model are no independent trials of its recipe. A beats B if

1. a two-sided permutation Mann–Whitney test over the seeds says so, with mid-ranks for ties and a diverged run as the
   worst of all, at 5% family-wise over all declared pairs (J. P. Shaffer: Modified Sequentially Rejective Multiple
   Test Procedures, 1986, Journal of the American Statistical Association 81, with an omnibus test before the first);
2. the gap of the medians exceeds the noise of the measure itself: the 95% range of the distance over fresh samples and
   disjoint real images;
3. the order of the medians holds in most of three extractors of features; a flip in any is reported;
4. A does not copy: the share of its samples that are nearer to training images than 99% of held-out images are is at
   most `COPIES_ALLOWED`;
5. no other measure speaks against it: where recall, coverage or reconstruction are better for B, with p ≤ .05 of
   the same test, the outcome is a trade-off and nobody beats anybody.

Ten seeds are wanted. From five to nine the verdict is called preliminary; with fewer there is none, since 3 against 3
cannot reach p < .05 however far apart they lie.

H. B. Mann, D. R. Whitney: On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other,
1947, Annals of Mathematical Statistics 18. Why an interquartile mean with a bootstrap interval describes few runs best:
Agarwal, Schwarzer, Castro, Courville, Bellemare: Deep Reinforcement Learning at the Edge of the Statistical Precipice,
2021, arXiv 2108.13264.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from statistics import median
from typing import Literal

import numpy as np

ALPHA = 0.05
FEW, ENOUGH = 5, 10
"""Seeds: below FEW no verdict, below ENOUGH a preliminary one."""
COPIES_ALLOWED = 0.05
"""The share of samples nearer to training images than 99% of held-out images are, above which a model has copied."""
DRAWS, CHUNK = 9_999, 5_000
"""Permutations that the omnibus test draws, and how many at a time."""
EXACT_UP_TO = 60
"""Seeds of both sides together, up to which the permutation distribution is counted and not approximated."""

Outcome = Literal["win", "trade-off", "disqualified", "no verdict"]


@dataclass(frozen=True)
class Aspect:
    """A measure beside the primary one: its values by training seed, and which way is better."""

    better: Literal["lower", "higher"]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """One training run, in the figures that a verdict rests on."""

    finished: bool
    """False for a run that diverged: it has the worst rank, and is never dropped."""
    values: Mapping[str, float]
    """Its measures by key, where they have a value."""
    noise: float | None = None
    elsewhere: Mapping[str, float] = field(default_factory=dict)
    """The primary measure in the features of other extractors."""


@dataclass(frozen=True)
class Contender:
    """What is known of one model: every tuple has one value for each training seed."""

    name: str
    distances: tuple[float, ...]
    """The primary measure, lower is better; infinity for a run that diverged."""
    by_extractor: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same distance in the features of other extractors."""
    noise: float = 0.0
    """The 95% range of the distance over fresh samples and disjoint real images."""
    copied: tuple[float, ...] = ()
    """The share of samples that are nearer to training images than 99% of held-out images are."""
    aspects: Mapping[str, Aspect] = field(default_factory=dict)
    """Recall, coverage, reconstruction and the like, by name."""


@dataclass(frozen=True)
class Verdict:
    """What may be said of two models."""

    a: str
    b: str
    outcome: Outcome
    better: str | None
    """Who is better in the primary measure: the winner, if the outcome is "win"."""
    preliminary: bool
    p: float
    p_adjusted: float
    """Corrected for the number of pairs."""
    gap: float
    """Of the medians of the primary measure, at least 0."""
    noise: float
    words: str
    """The verdict as a sentence."""
    flips: tuple[str, ...] = ()
    """The extractors in whose features the order is the other way round."""


@dataclass(frozen=True)
class Summary:
    """Several seeds in three figures."""

    centre: float
    low: float
    high: float
    n: int
    method: Literal["interquartile mean, 95% bootstrap interval", "median, range"]


PRIMARY: Literal["frechet_distance"] = "frechet_distance"
ASPECTS: Mapping[str, tuple[str, Literal["lower", "higher"]]] = {
    "recall": ("recall", "higher"),
    "coverage": ("coverage", "higher"),
    "reconstruction_mse": ("reconstruction MSE", "lower"),
}
"""What is looked at beside the distance: key, name, and which way is better."""


def contender(name: str, trials: Sequence[Trial]) -> Contender:
    """One model from its trials, one a training seed; a diverged one counts as the worst in everything.

    >>> good = Trial(True, {"frechet_distance": 3.0, "recall": 0.5}, 0.1)
    >>> side = contender("a", [good, Trial(False, {})])
    >>> side.distances, side.aspects["recall"].values, side.noise
    ((3.0, inf), (0.5, -inf), 0.1)
    """
    finished = [trial for trial in trials if counts(trial)]
    extractors = [trial.elsewhere.keys() for trial in finished]
    shared = sorted(set.intersection(*map(set, extractors))) if extractors else []
    aspects = {}
    for key, (label, better) in ASPECTS.items():
        if finished and all(key in trial.values for trial in finished):
            worst = math.inf if better == "lower" else -math.inf
            aspects[label] = Aspect(better, tuple(t.values[key] if counts(t) else worst for t in trials))
    noises = [trial.noise for trial in finished if trial.noise is not None]
    return Contender(
        name,
        tuple(t.values[PRIMARY] if counts(t) else math.inf for t in trials),
        {other: tuple(t.elsewhere[other] if counts(t) else math.inf for t in trials) for other in shared},
        median(noises) if noises else 0.0,
        tuple(trial.values["copied_share"] for trial in finished if "copied_share" in trial.values),
        aspects,
    )


def counts(trial: Trial) -> bool:
    """Whether a trial has figures to count with: one that ended with samples that are none is as good as diverged."""
    return trial.finished and PRIMARY in trial.values


def permutation_p(x: Sequence[float], y: Sequence[float]) -> float:
    """The two-sided p-value of the permutation Mann–Whitney test, exact with ties.

        p = P(|W − E W| ≥ |w − E w|),   W = Σ ranks of a random choice of |x| of the |x| + |y| values

    Mid-ranks are halves, so twice the ranks are whole numbers, and the sums that subsets of them make can be counted
    instead of drawn. Above `EXACT_UP_TO` values the normal approximation with its tie correction serves.

    Args:
        x, y: one value a training seed; infinity is allowed, and all infinite values are tied.

    Raises:
        ValueError: no values on one side.

    >>> round(permutation_p([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 4)  # 2 / C(10, 5)
    0.0079
    >>> permutation_p([1, 1], [1, 1])
    1.0
    """
    from scipy.stats import mannwhitneyu, rankdata

    n, total = len(x), len(x) + len(y)
    if n == 0 or n == total:
        raise ValueError("a test of two samples wants at least one value in each")
    ranks = rankdata([*x, *y])
    if total > EXACT_UP_TO:
        return float(mannwhitneyu(ranks[:n], ranks[n:], method="asymptotic").pvalue)
    doubled = np.rint(2 * ranks).astype(int).tolist()
    shares = rank_sums(n, tuple(sorted(doubled)))
    expected = n * (total + 1)  # of the doubled ranks
    distance = np.abs(np.arange(len(shares)) - expected)
    return float(min(1.0, shares[distance >= abs(sum(doubled[:n]) - expected)].sum()))


@lru_cache(maxsize=64)  # without ties the ranks of so many seeds are always the same
def rank_sums(n: int, ranks: tuple[int, ...]) -> np.ndarray:
    """How often each sum comes out, as a share of all choices of `n` of the ranks.

    >>> rank_sums(1, (1, 2, 2)).round(3).tolist()
    [0.0, 0.333, 0.667, 0.0, 0.0, 0.0]
    """
    counts = np.zeros((n + 1, sum(ranks) + 1))  # [size of a subset, its sum]: how many there are
    counts[0, 0] = 1
    for rank in ranks:
        counts[1:, rank:] += counts[:-1, : counts.shape[1] - rank].copy()
    found: np.ndarray = counts[n] / counts[n].sum()
    return found


def omnibus_p(samples: Sequence[Sequence[float]]) -> float:
    """The p-value of a permutation Kruskal–Wallis test: that all of the samples are alike.

        p = P(Σ_g R_g² / n_g ≥ the one that is seen),   R_g the sum of the ranks in sample g

    over `DRAWS` permutations, always the same ones, and the seen order; of two samples it is their exact test.

    >>> omnibus_p([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15]])
    0.0001
    """
    from scipy.stats import rankdata

    if len(samples) == 2:
        return permutation_p(*samples)
    ranks = rankdata([value for sample in samples for value in sample])
    return _drawn_p(tuple(ranks.tolist()), tuple(map(len, samples)))


@lru_cache(maxsize=64)  # a report asks for the same verdicts several times
def _drawn_p(ranks: tuple[float, ...], sizes: tuple[int, ...]) -> float:
    """The share of permutations with as large a statistic, and the seen order itself."""
    starts = np.cumsum((0, *sizes[:-1]))

    def statistic(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = (np.add.reduceat(x, starts, axis=-1) ** 2 / np.array(sizes)).sum(-1)
        return found

    seen = statistic(np.array([ranks]))[0] * (1 - 1e-12)  # equal sums may differ in their last bits
    chance, as_large = np.random.default_rng(0), 0
    for done in range(0, DRAWS, CHUNK):
        permuted = chance.permuted(np.tile(ranks, (min(CHUNK, DRAWS - done), 1)), axis=1)
        as_large += int((statistic(permuted) >= seen).sum())
    return (as_large + 1) / (DRAWS + 1)


@lru_cache
def equal_pairs(k: int) -> frozenset[int]:
    """How many of the pairs of k models can be equal ones: if a = b and b = c, then a = c.

    >>> sorted(equal_pairs(4))
    [0, 1, 2, 3, 6]
    """
    if k < 2:
        return frozenset({0})
    return frozenset(math.comb(j, 2) + rest for j in range(1, k + 1) for rest in equal_pairs(k - j))


def shaffer(p: Sequence[float], models: int, omnibus: float) -> list[float]:
    """Shaffer's adjusted p-values of all pairs of so many models, guarded by an omnibus test, in the order given.

        p′₍ᵢ₎ = max(p_omnibus, t₁ p₍₁₎, …, tᵢ p₍ᵢ₎),   tᵢ = max {s ∈ S(k): s ≤ m − max(i − 1, 1)}

    Holm multiplies the i-th smallest of m by m − i + 1, as though any m − i + 1 pairs could still be equal. But if one
    pair of k models differs, at most those of k − 1 models among themselves can be: S(k) are the numbers that are
    possible. That at least one pair does differ is what the omnibus test has to say first.

    >>> shaffer([0.01, 0.04, 0.03], 3, 0.02)
    [0.02, 0.04, 0.03]
    """
    adjusted, highest = [0.0] * len(p), omnibus
    for i, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        highest = max(highest, min(1.0, most_equal(models, max(i, 1)) * p[place]))
        adjusted[place] = highest
    return adjusted


def most_equal(models: int, different: int) -> int:
    """The most pairs of so many models that can be equal if so many are not."""
    return max(s for s in equal_pairs(models) if s <= math.comb(models, 2) - different)


def smallest_p(n: int, m: int) -> float:
    """The smallest two-sided p that n against m seeds can have: no overlap, 2 of the C(n + m, n) orders."""
    return min(1.0, 2 / math.comb(n + m, n))


def announcement(seeds: int, contenders: int) -> str | None:
    """What has to be said before training: which verdicts this plan cannot reach, or None.

    >>> announcement(3, 2)
    'with 3 seeds there will be figures and no verdict: 5 or more are wanted, 10 for one that is not preliminary'
    """
    pairs = math.comb(contenders, 2)
    if pairs == 0:
        return None
    if seeds < FEW:
        count = f"{seeds} seed{'s' * (seeds > 1)}"
        return (
            f"with {count} there will be figures and no verdict: {FEW} or more are wanted, {ENOUGH} for one that is "
            "not preliminary"
        )
    least = max(smallest_p(seeds, seeds), most_equal(contenders, 1) * smallest_p(seeds, seeds))
    if least > ALPHA:
        return (
            f"with {seeds} seeds and {pairs} pairs no single win can be reached: the smallest p is {least:.3f} after "
            "correction for the number of pairs; wanted more seeds or fewer models"
        )
    return None if seeds >= ENOUGH else f"with {seeds} seeds verdicts will be preliminary: {ENOUGH} or more are wanted"


def judge(contenders: Sequence[Contender], measure: str = "FD") -> list[Verdict]:
    """The verdict on every pair of contenders, corrected for their number; `measure` names the primary measure.

    >>> seen = {"elsewhere": (1,) * 10}, {"elsewhere": (2,) * 10}
    >>> a = Contender("a", tuple(range(10, 20)), seen[0], copied=(0.01,) * 10)
    >>> b = Contender("b", tuple(range(30, 40)), seen[1])
    >>> verdict = judge([a, b])[0]
    >>> verdict.outcome, verdict.better
    ('win', 'a')
    >>> print(verdict.words)
    a beats b: FD 14.5 against 34.5 (p = .00001 over 10 seeds each)
    """
    pairs = list(combinations(contenders, 2))
    tests = [permutation_p(a.distances, b.distances) for a, b in pairs]
    if not pairs:
        return []
    # The omnibus test can only stand in the way, so it is asked where a pair could win without it.
    hopeful = most_equal(len(contenders), 1) * min(tests) <= ALPHA
    omnibus = omnibus_p([side.distances for side in contenders]) if hopeful else 0.0
    adjusted = shaffer(tests, len(contenders), omnibus)
    return [decide(a, b, p, corrected, measure) for (a, b), p, corrected in zip(pairs, tests, adjusted, strict=True)]


def leader(sides: Sequence[Contender]) -> Contender | None:
    """The one of the least median distance, among those that have not copied; None if half of the runs of all diverged.

    >>> sides = [Contender("a", (1, 2), copied=(0.5, 0.5)), Contender("b", (2, 3)), Contender("c", (1, math.inf))]
    >>> leader(sides).name
    'b'
    """
    fit = [side for side in sides if not has_copied(side) and math.isfinite(median(side.distances))]
    return min(fit, key=lambda side: median(side.distances), default=None)


def decide(a: Contender, b: Contender, p: float, p_adjusted: float, measure: str) -> Verdict:
    """One pair: the conditions in the order of the protocol; the first that fails gives the reason."""
    best, other = sorted((a, b), key=lambda side: median(side.distances))
    low, high = median(best.distances), median(other.distances)
    gap = 0.0 if low == high else high - low
    noise = max(a.noise, b.noise)
    fewest = min(len(a.distances), len(b.distances))
    flips = flipped(best, other)
    figures = f"{measure} {short(low)} against {short(high)}"

    def verdict(outcome: Outcome, words: str) -> Verdict:
        early = FEW <= fewest < ENOUGH and outcome != "no verdict"
        told = f"{words}{flips_in_words(flips)}"
        words = f"preliminary, {fewest} seeds: {told}" if early else told
        better = best.name if gap > 0 else None
        return Verdict(a.name, b.name, outcome, better, early, p, p_adjusted, gap, noise, words, flips)

    def none(reason: str) -> Verdict:
        return verdict("no verdict", f"no verdict on {a.name} and {b.name}: {reason}")

    if fewest < FEW:
        return none(f"{fewest} seed{'s' * (fewest != 1)}, and {FEW} or more are wanted ({figures} for {best.name})")
    test = f"p = {p_in_words(p_adjusted)} over {seeds_in_words(a, b)}"
    if p_adjusted > ALPHA and p <= smallest_p(len(a.distances), len(b.distances)):
        return none(
            f"no seed of {best.name} is above one of {other.name} ({figures}), but so few seeds cannot tell so many "
            f"pairs apart ({test} after correction for their number); wanted more seeds or fewer models"
        )
    if p_adjusted > ALPHA or gap == 0:
        return none(f"{figures} is within what chance does ({test})")
    if not mostly_below(best.distances, other.distances):
        return none(f"the medians say {figures}, but most pairs of seeds say the opposite")
    if gap <= noise:
        return none(f"the gap of {short(gap)} in {measure} is within the noise of the measure, {short(noise)}")
    checked = 1 + len(best.by_extractor.keys() & other.by_extractor.keys())
    if 2 * len(flips) >= checked:
        return none(f"{figures}, but {len(flips)} of {checked} extractors put them the other way round")
    if not best.by_extractor.keys() & other.by_extractor.keys():
        test += "; not checked in other extractors"
    if not best.copied:
        test += "; not checked for copies"
    if has_copied(best):
        return verdict(
            "disqualified",
            f"{best.name} is disqualified: {median(best.copied):.0%} of its samples are nearer to training images than "
            f"99% of held-out images are (allowed: {COPIES_ALLOWED:.0%}); its {figures} of {other.name} is no win",
        )
    if against := speaking_against(best, other):
        return verdict(
            "trade-off",
            f"trade-off: {best.name} has the better {figures}, {other.name} the better {'; '.join(against)}",
        )
    return verdict("win", f"{best.name} beats {other.name}: {figures} ({test})")


def mostly_below(x: Sequence[float], y: Sequence[float]) -> bool:
    """Whether more pairs have x < y than x > y: the direction that the test of ranks speaks for.

    >>> mostly_below([1, 2, 9], [3, 4, 5])
    True
    """
    return sum((a < b) - (a > b) for a in x for b in y) > 0


def flipped(best: Contender, other: Contender) -> tuple[str, ...]:
    """The extractors that put the medians the other way round."""
    shared = best.by_extractor.keys() & other.by_extractor.keys()
    return tuple(sorted(name for name in shared if median(best.by_extractor[name]) >= median(other.by_extractor[name])))


def has_copied(side: Contender) -> bool:
    """Whether the median run has more copies than is allowed."""
    return bool(side.copied) and median(side.copied) > COPIES_ALLOWED


def speaking_against(best: Contender, other: Contender) -> list[str]:
    """The aspects in which the other is better, as the same test has it; uncorrected, so that it is easily heard."""
    found = []
    for name, aspect in best.aspects.items():
        rival = other.aspects.get(name)
        if rival is None or not aspect.values or not rival.values:
            continue
        mine, yours = median(aspect.values), median(rival.values)
        lower, higher = (rival, aspect) if aspect.better == "lower" else (aspect, rival)
        if mostly_below(lower.values, higher.values) and permutation_p(aspect.values, rival.values) <= ALPHA:
            found.append(f"{name}, {short(yours)} against {short(mine)}")
    return found


def summarise(values: Sequence[float]) -> Summary:
    """Interquartile mean and its 95% bootstrap interval over seeds; with fewer than five, median and range.

    It describes and does not decide. Runs that did not finish have no value to be given here.

    >>> summarise([1.0, 2.0, 9.0])
    Summary(centre=2.0, low=1.0, high=9.0, n=3, method='median, range')
    """
    if len(values) < FEW:
        return Summary(median(values), min(values), max(values), len(values), "median, range")
    from scipy.stats import bootstrap, trim_mean

    centre: Callable[..., np.ndarray] = lambda x, axis=-1: trim_mean(x, 0.25, axis=axis)  # noqa: E731
    x = np.asarray(values, dtype=float)
    if np.ptp(x) == 0:
        return Summary(x[0], x[0], x[0], len(x), "interquartile mean, 95% bootstrap interval")
    found = bootstrap((x,), centre, n_resamples=5_000, method="percentile", rng=np.random.default_rng(0))
    low, high = (float(v) for v in found.confidence_interval)
    return Summary(float(centre(x)), low, high, len(x), "interquartile mean, 95% bootstrap interval")


def seeds_in_words(a: Contender, b: Contender) -> str:
    """10 seeds each, or 10 against 8 seeds."""
    n, m = len(a.distances), len(b.distances)
    return f"{n} seeds each" if n == m else f"{n} against {m} seeds"


def flips_in_words(flips: Sequence[str]) -> str:
    """What is to be added where an extractor disagrees."""
    return f"; in the features of {' and '.join(flips)} the order is the other way round" if flips else ""


def short(value: float) -> str:
    """Three digits, without the nought before a point.

    >>> short(0.3614), short(20.51), short(-0.5), short(196.2), short(float("inf"))
    ('.361', '20.5', '-.5', '196', 'diverged')
    """
    if math.isinf(value):
        return "diverged"
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.3g}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def p_in_words(p: float) -> str:
    """A p-value as papers print it."""
    return f"{p:.1g}" if p < 1e-5 else f"{p:.5f}".rstrip("0").replace("0.", ".", 1) if p < 0.001 else short(p)
