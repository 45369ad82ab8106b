"""The verdict: false wins are rare, true ones are found as often as theory says, and nobody wins by a trick."""

import math
import random
from itertools import combinations
from statistics import NormalDist

import pytest
import torch
from scipy.stats import kruskal, rankdata

import likelier
from likelier import rng
from likelier.features import extractor
from likelier.images import Images, as_float, as_uint8
from likelier.reference import Reference
from likelier.verdict import (
    ALPHA,
    COPIES_ALLOWED,
    DRAWS,
    Aspect,
    Contender,
    Trial,
    Verdict,
    announcement,
    contender,
    judge,
    most_equal,
    omnibus_p,
    permutation_p,
    shaffer,
    smallest_p,
    summarise,
)


def normals(n: int, shift: float, chance: random.Random) -> tuple[float, ...]:
    return tuple(chance.gauss(shift, 1) for _ in range(n))


def only(verdicts: list[Verdict]) -> Verdict:
    (one,) = verdicts
    return one


# The test


@pytest.mark.parametrize("seed", range(5))
def test_the_permutation_test_agrees_with_scipy(seed: int):
    from scipy.stats import PermutationMethod, mannwhitneyu

    chance = random.Random(seed)
    x, y = ([chance.randrange(6) for _ in range(5)] for _ in range(2))  # with ties
    expected = mannwhitneyu(x, y, method=PermutationMethod(n_resamples=10**6)).pvalue
    assert permutation_p(x, y) == pytest.approx(expected)
    apart = [v + 0.01 * i for i, v in enumerate(x)], [v + 0.001 + 0.01 * i for i, v in enumerate([*y, 2])]
    assert permutation_p(*apart) == pytest.approx(mannwhitneyu(*apart, method="exact").pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_the_permutation_test_counts_every_choice_of_ranks(seed: int):
    chance = random.Random(seed)
    x, y = ([chance.randrange(5) for _ in range(n)] for n in (3, 6))  # of different sizes, with ties
    ranks = rankdata([*x, *y])
    away = [abs(sum(chosen) - 3 * 10 / 2) for chosen in combinations(ranks, 3)]
    mine = abs(sum(ranks[:3]) - 3 * 10 / 2)
    assert permutation_p(x, y) == pytest.approx(sum(d >= mine - 1e-9 for d in away) / len(away))


def test_many_seeds_are_approximated_as_well_as_counted():
    chance = random.Random(0)
    x, y = normals(30, 0, chance), normals(30, 0.6, chance)
    more = permutation_p((*x, 0.0), (*y, 0.0))  # above the limit of counting
    assert permutation_p(x, y) == pytest.approx(more, rel=0.1)


def test_diverged_runs_are_the_worst_and_tied():
    assert permutation_p([1, 2, math.inf], [math.inf, math.inf, 3]) == permutation_p([1, 2, 9], [9, 9, 3])


def test_three_against_three_cannot_reach_five_percent():
    assert smallest_p(3, 3) == pytest.approx(0.1)
    assert permutation_p([1, 2, 3], [4, 5, 6]) == pytest.approx(smallest_p(3, 3))
    assert permutation_p(range(5), range(5, 10)) == pytest.approx(smallest_p(5, 5))


def test_the_correction_is_that_of_closed_testing():
    """By Shaffer's table: of 5 models at most 6 pairs are equal if one is not, then 6, 6, 6, 4, 4, 3, 2, 1."""
    assert [most_equal(5, max(1, i)) for i in range(10)] == [6, 6, 6, 6, 6, 4, 4, 3, 2, 1]
    assert shaffer([0.01, 0.04, 0.03, 0.005, 0.9, 0.5], 4, 0.001) == pytest.approx([0.03, 0.12, 0.09, 0.015, 1, 1])
    assert shaffer([0.03], 2, 0.03) == [0.03]
    assert shaffer([0.001] * 3, 3, 0.2) == [0.2] * 3, "if all may be equal, no pair differs"


@pytest.mark.parametrize("seed", range(5))
def test_the_omnibus_test_agrees_with_scipy(seed: int):
    chance = random.Random(seed)
    samples = [normals(n, shift, chance) for n, shift in ((9, 0.0), (10, 0.4), (11, 0.8))]
    assert omnibus_p(samples) == pytest.approx(kruskal(*samples).pvalue, abs=0.03)


def test_the_omnibus_test_counts_every_order():
    """Of three against three against three, all 1,680 ways to deal nine ranks."""
    samples = [(1, 2, 5), (3, 4, 9), (6, 7, 8)]
    seen = sum(sum(one) ** 2 for one in samples)
    deals = [
        (a, b, tuple(sorted(set(range(1, 10)) - {*a, *b})))
        for a in combinations(range(1, 10), 3)
        for b in combinations(sorted(set(range(1, 10)) - {*a}), 3)
    ]
    exact = sum(sum(sum(one) ** 2 for one in deal) >= seen for deal in deals) / len(deals)
    assert omnibus_p(samples) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / DRAWS))


# Simulations


@pytest.mark.parametrize(("seeds", "families"), [(10, 3), (5, 2), (7, 4)])
def test_equal_models_are_told_apart_in_at_most_five_percent_of_comparisons(seeds: int, families: int):
    chance = random.Random(0)
    trials, wins = 500, 0
    for _ in range(trials):
        sides = [Contender(str(i), normals(seeds, 0, chance)) for i in range(families)]
        wins += any(v.outcome == "win" for v in judge(sides))
    deviation = math.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert wins / trials <= ALPHA + 2 * deviation


@pytest.mark.parametrize("shift", [1.0, 1.5, 2.0])
def test_the_power_is_what_theory_says(shift: float):
    """Noether 1987: a two-sided test of n + m values has the power Φ(|p − ½| √(12nm/(n + m + 1)) − z), p = P[X < Y]."""
    chance, n, trials = random.Random(1), 10, 400
    found = sum(
        only(judge([Contender("a", normals(n, 0, chance)), Contender("b", normals(n, shift, chance))])).outcome == "win"
        for _ in range(trials)
    )
    normal = NormalDist()
    p = normal.cdf(shift / math.sqrt(2))
    theory = normal.cdf(abs(p - 0.5) * math.sqrt(12 * n * n / (2 * n + 1)) - normal.inv_cdf(1 - ALPHA / 2))
    # The formula takes the variance under equality, which overstates it where the models differ much.
    assert theory - 0.05 <= found / trials <= theory + 0.1


# The protocol


GOOD, BAD = tuple(range(10, 20)), tuple(range(30, 40))


def test_a_clear_difference_is_a_win_whichever_stands_first():
    for order in ((GOOD, BAD), (BAD, GOOD)):
        found = only(judge([Contender("a", order[0]), Contender("b", order[1])]))
        assert found.outcome == "win"
        assert found.better == ("a" if order[0] == GOOD else "b")
        assert not found.preliminary
        assert found.words.startswith(f"{found.better} beats")


@pytest.mark.parametrize(
    ("seeds", "outcome", "preliminary"), [(4, "no verdict", False), (5, "win", True), (9, "win", True)]
)
def test_few_seeds_are_preliminary_and_fewer_are_none(seeds: int, outcome: str, preliminary: bool):
    found = only(judge([Contender("a", GOOD[:seeds]), Contender("b", BAD[:seeds])]))
    assert (found.outcome, found.preliminary) == (outcome, preliminary)
    assert ("preliminary" in found.words) == preliminary


def test_a_gap_within_the_noise_of_the_measure_is_no_win():
    sides = [Contender("a", GOOD, noise=25), Contender("b", BAD)]
    assert only(judge(sides)).outcome == "no verdict"
    assert "noise" in only(judge(sides)).words
    assert only(judge([Contender("a", GOOD, noise=15), Contender("b", BAD)])).outcome == "win"


def test_one_extractor_that_disagrees_is_reported_and_two_are_too_many():
    agree, flip = {"e1": GOOD, "e2": GOOD}, {"e1": BAD, "e2": BAD}
    one = only(judge([Contender("a", GOOD, agree), Contender("b", BAD, {"e1": BAD, "e2": (1,) * 10})]))
    assert (one.outcome, one.flips) == ("win", ("e2",))
    assert "e2" in one.words
    two = only(judge([Contender("a", GOOD, flip), Contender("b", BAD, agree)]))
    assert (two.outcome, two.flips) == ("no verdict", ("e1", "e2"))
    none = only(judge([Contender("a", GOOD), Contender("b", BAD)]))
    assert "not checked in other extractors; not checked for copies" in none.words


def test_one_other_extractor_that_disagrees_is_no_majority():
    found = only(judge([Contender("a", GOOD, {"e": BAD}), Contender("b", BAD, {"e": GOOD})]))
    assert (found.outcome, found.flips) == ("no verdict", ("e",))


def test_medians_and_ranks_have_to_agree():
    x, y = (*range(10, 21), *range(32, 41)), (*range(1, 10), *range(21, 32))  # the medians are for x, the ranks for y
    found = only(judge([Contender("x", tuple(map(float, x))), Contender("y", tuple(map(float, y)))]))
    assert found.p < ALPHA
    assert found.outcome == "no verdict"
    assert "opposite" in found.words


def test_a_run_without_finite_samples_is_the_worst_in_everything():
    def trials(fd: float, recall: float) -> list[Trial]:
        return [Trial(True, {"frechet_distance": fd + i, "recall": recall}) for i in range(10)]

    a, b = trials(1, 0.1), trials(50, 0.9)
    assert only(judge([contender("a", a), contender("b", b)])).outcome == "trade-off"
    assert only(judge([contender("a", [*a[:9], Trial(True, {})]), contender("b", b)])).outcome == "trade-off"
    assert contender("a", [Trial(True, {})]).distances == (math.inf,)


def test_whoever_copies_does_not_win_but_can_be_beaten():
    copies = (0.3,) * 10
    found = only(judge([Contender("thief", GOOD, copied=copies), Contender("b", BAD)]))
    assert (found.outcome, found.better) == ("disqualified", "thief")
    assert "30%" in found.words
    assert only(judge([Contender("thief", BAD, copied=copies), Contender("b", GOOD)])).outcome == "win"


def test_a_measure_that_speaks_against_makes_a_trade_off():
    high, low = Aspect("higher", BAD), Aspect("higher", GOOD)
    found = only(judge([Contender("a", GOOD, aspects={"recall": low}), Contender("b", BAD, aspects={"recall": high})]))
    assert found.outcome == "trade-off"
    assert "recall" in found.words
    agreeing = [Contender("a", GOOD, aspects={"recall": high}), Contender("b", BAD, aspects={"recall": low})]
    assert only(judge(agreeing)).outcome == "win"
    error = [
        Contender("a", GOOD, aspects={"MSE": Aspect("lower", BAD)}),
        Contender("b", BAD, aspects={"MSE": Aspect("lower", GOOD)}),
    ]
    assert only(judge(error)).outcome == "trade-off"
    hardly = Contender("a", GOOD, aspects={"recall": Aspect("higher", (1, 50) * 5)})
    unclear = Contender("b", BAD, aspects={"recall": Aspect("higher", (2, 51) * 5)})
    assert only(judge([hardly, unclear])).outcome == "win"


def test_a_model_that_diverges_now_and_then_pays_for_it():
    fine = Trial(True, {"frechet_distance": 5.0, "recall": 0.9}, 0.1, {"e": 5.0})
    good = [Trial(True, {"frechet_distance": 4.0 + i / 10}, 0.1) for i in range(10)]
    broken = [*good[:4], *[Trial(False, {"frechet_distance": 1.0})] * 6]
    steady = contender("steady", [fine] * 10)
    assert only(judge([steady, contender("good", good)])).better == "good"
    found = only(judge([steady, contender("broken", broken)]))
    assert found.better == "steady"
    assert "diverged" in found.words


def test_nobody_beats_anybody_when_all_diverge():
    lost = contender("a", [Trial(False, {})] * 10)
    found = only(judge([lost, Contender("b", (math.inf,) * 10)]))
    assert (found.outcome, found.better, found.gap) == ("no verdict", None, 0)


def test_seeds_that_do_not_overlap_are_not_called_chance_where_they_are_too_few():
    """Of the fifteen pairs of six models with five seeds none can reach 5%, however far apart they lie."""
    sides = [Contender(name, tuple(100.0 * i + k for k in range(5))) for i, name in enumerate("abcdef")]
    for verdict in judge(sides):
        assert verdict.outcome == "no verdict"
        assert f"no seed of {verdict.better} is above one of" in verdict.words
        assert "within what chance does" not in verdict.words
    assert {verdict.outcome for verdict in judge(sides[:5])} == {"win"}


def test_what_cannot_be_reached_is_said_before():
    assert "no verdict" in (announcement(4, 3) or "")
    assert "preliminary" in (announcement(5, 3) or "")
    assert "preliminary" in (announcement(5, 5) or "")
    assert "no single win can be reached" in (announcement(5, 6) or "")
    assert announcement(10, 4) is None
    assert announcement(1, 1) is None


def test_the_summary_is_the_interquartile_mean_with_its_interval():
    values = [1.0, 2.0, 3.0, 4.0, 100.0]
    found = summarise(values)
    assert found.centre == pytest.approx(3)  # the largest and the smallest are left out
    assert found.low < 3 < found.high
    assert summarise(values) == found, "the same figures every time"
    assert summarise([2.0] * 6).low == summarise([2.0] * 6).high == 2


# Tricks: ten simulated seeds of each, held against ten sets of images that nobody was trained on


@pytest.fixture(scope="module")
def digits() -> Images:
    return likelier.load_images("digits")


@pytest.fixture(scope="module")
def reference(digits: Images) -> Reference:
    return Reference(digits, extractor(digits), n=250)


def smooth(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(as_float(images), 3, stride=1, padding=1, count_include_pad=False)


def simulated(kind: str, digits: Images, n: int, seed: int) -> torch.Tensor:
    """What a model of that kind would make."""
    chance = rng.generator(seed, "simulated", kind)

    def drawn(images: torch.Tensor, count: int) -> torch.Tensor:
        return images[torch.randperm(len(images), generator=chance)[:count]]

    if kind == "copies":
        return drawn(digits.train.images, n)
    if kind == "some copies":
        return torch.cat([drawn(digits.train.images, n // 5), drawn(digits.test.images, n - n // 5)])
    if kind == "repeated":
        return drawn(digits.test.images, n // 10).repeat(10, 1, 1, 1)
    held_out = drawn(digits.test.images, n)
    if kind == "blur":
        return as_uint8(smooth(held_out))
    if kind == "honest":  # a good model: slightly wrong everywhere
        return as_uint8(as_float(held_out) + 0.1 * torch.randn(held_out.shape, generator=chance))
    if kind == "one class missing":
        labels = digits.test.labels
        return drawn(digits.test.images[labels != 3], n)
    return held_out


def simulated_contender(kind: str, digits: Images, reference: Reference) -> Contender:
    trials = []
    for seed in range(10):
        fake = simulated(kind, digits, reference.n, seed)
        seen = reference.view(fake)
        values = reference.against(seen) | reference.copying(seen.vectors)
        known = {key: value for key, value in values.items() if value is not None}
        trials.append(Trial(True, known, None, reference.distances_elsewhere(fake)))
    return contender(kind, trials)


@pytest.fixture(scope="module")
def contenders(digits: Images, reference: Reference) -> dict[str, Contender]:
    kinds = ("held-out", "honest", "copies", "some copies", "repeated", "blur", "one class missing")
    return {kind: simulated_contender(kind, digits, reference) for kind in kinds}


@pytest.mark.parametrize("honest", ["held-out", "honest"])
@pytest.mark.parametrize("trick", ["copies", "some copies", "repeated", "blur", "one class missing"])
def test_no_trick_wins_a_verdict(trick: str, honest: str, contenders: dict[str, Contender]):
    found = only(judge([contenders[trick], contenders[honest]]))
    assert not (found.outcome == "win" and found.better == trick), found.words


def test_each_trick_is_seen_by_the_measure_that_should(contenders: dict[str, Contender]):
    def middle(kind: str, what: str) -> float:
        side = contenders[kind]
        values = {"fd": side.distances, "copied": side.copied}.get(what) or side.aspects[what].values
        return sorted(values)[len(values) // 2]

    assert middle("held-out", "copied") <= COPIES_ALLOWED < middle("some copies", "copied") < middle("copies", "copied")
    assert middle("blur", "copied") <= COPIES_ALLOWED
    assert middle("copies", "fd") < 2 * middle("held-out", "fd"), "copies are as near as held-out images, by nature"
    assert middle("repeated", "recall") < middle("held-out", "recall") - 0.2
    assert middle("repeated", "coverage") < middle("held-out", "coverage") - 0.2
    assert middle("blur", "fd") > 2 * middle("held-out", "fd")
    assert middle("one class missing", "fd") > 1.5 * middle("held-out", "fd")
    assert only(judge([contenders["held-out"], contenders["blur"]])).better == "held-out"
