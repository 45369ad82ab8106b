"""The section "Verdict": what may be said of every pair of families, with what it rests on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from likelier.report.grouping import Group
from likelier.report.standing import contender_of, listed, verdicts, why_none
from likelier.verdict import ALPHA, FEW, Contender, Outcome, Verdict, p_in_words, short, smallest_p

PLURALS: dict[Outcome, tuple[str, str]] = {
    "win": ("win", "wins"),
    "trade-off": ("trade-off", "trade-offs"),
    "disqualified": ("disqualification", "disqualifications"),
    "no verdict": ("pair without a verdict", "pairs without a verdict"),
}
UNFOLDED = 3
"""Pairs that the first screen has room for."""


@dataclass(frozen=True)
class Judgement:
    """One pair: the outcome as a word, the sentence, and the figures behind it by name."""

    outcome: Outcome
    preliminary: bool
    words: str
    basis: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Judging:
    """The section: what it comes to in a sentence, and the pairs.

    They are folded where none can have a verdict, and where they are many; `short` then has a line for each outcome.
    """

    lead: str
    pairs: tuple[Judgement, ...]
    folded: bool
    short: tuple[tuple[Outcome, str], ...] = ()


def judging(groups: Sequence[Group]) -> Judging:
    """Judge every pair, or say why none is judged."""
    reason = why_none(groups)
    if reason is not None:
        return Judging(reason, (), False)
    found = verdicts(groups)
    sides = {side.name: side for side in map(contender_of, groups)}
    few = len(min(groups, key=lambda group: len(group.runs)).runs) < FEW
    too_few = few and all(verdict.outcome == "no verdict" for verdict in found)
    lead = _too_few(groups) if too_few else _counted(found)
    pairs = tuple(_judgement(one, sides[one.a], sides[one.b]) for one in found)
    short = () if too_few or len(found) <= UNFOLDED else _short(found)
    return Judging(lead, pairs, too_few or bool(short), short)


def _short(found: Sequence[Verdict]) -> tuple[tuple[Outcome, str], ...]:
    """Who came out how against whom, an outcome after another.

    >>> from likelier.verdict import Contender, judge
    >>> _short(judge([Contender(name, tuple(range(n, n + 9))) for n, name in ((1, "a"), (20, "b"), (40, "c"))]))
    (('win', 'a beats b and c; b beats c'),)
    """
    verbs: dict[Outcome, str] = {"win": "beats", "disqualified": "copies, so it has not beaten"}
    lines: dict[Outcome, dict[str, list[str]]] = {}
    for one in found:
        first = one.better or one.a
        lines.setdefault(one.outcome, {}).setdefault(first, []).append(one.b if first == one.a else one.a)
    return tuple(
        (
            outcome,
            "; ".join(f"{first} {verbs.get(outcome, 'and')} {listed(rest)}" for first, rest in lines[outcome].items()),
        )
        for outcome in PLURALS
        if outcome in lines
    )


def _too_few(groups: Sequence[Group]) -> str:
    """That there are fewer seeds than a verdict wants, and what a test of so few could show."""
    fewest, next_fewest = sorted(len(group.runs) for group in groups)[:2]
    seeds = f"{fewest} against {next_fewest} seed{'s' * (next_fewest > 1)}"
    reach = f"{seeds} cannot reach p < .05" if smallest_p(fewest, next_fewest) >= ALPHA else f"{seeds} are too few"
    return f"With fewer than five seeds these are figures and no verdict: {reach}, however far apart they lie."


def _counted(found: Sequence[Verdict]) -> str:
    """How many pairs came out how.

    >>> from likelier.verdict import Contender, judge
    >>> _counted(judge([Contender("a", (1, 2, 3, 4, 5)), Contender("b", (6, 7, 8, 9, 9))]))
    'One pair, and it is a win.'
    """
    count = Counter(verdict.outcome for verdict in found)
    if len(found) == 1:
        outcome = found[0].outcome
        what = "there is no verdict on it" if outcome == "no verdict" else f"it is a {PLURALS[outcome][0]}"
        return f"One pair, and {what}."
    told = [f"{count[outcome]} {words[count[outcome] > 1]}" for outcome, words in PLURALS.items() if count[outcome]]
    return f"Of {len(found)} pairs: {listed(told)}."


def _judgement(verdict: Verdict, a: Contender, b: Contender) -> Judgement:
    """One verdict with what it rests on."""
    raw = "" if verdict.p == verdict.p_adjusted else f" ({p_in_words(verdict.p)} alone)"
    basis = (
        ("p, corrected", f"{p_in_words(verdict.p_adjusted)}{raw}"),
        ("gap of medians", _distance(verdict.gap)),
        ("noise", _distance(verdict.noise) if verdict.noise else "not taken"),
        ("other extractors", _extractors(verdict, len(a.by_extractor.keys() & b.by_extractor.keys()))),
    )
    return Judgement(verdict.outcome, verdict.preliminary, verdict.words, basis)


def _distance(value: float) -> str:
    """A gap; infinite where one side diverged in half of its runs or more."""
    return "infinite" if value == float("inf") else short(value)


def _extractors(verdict: Verdict, shared: int) -> str:
    """In whose features the order flips, of how many."""
    if not shared:
        return "none to check with"
    if verdict.flips:
        flips = f"{len(verdict.flips)} of {shared} flip{'s' * (len(verdict.flips) == 1)}"
        return f"{flips} the order: {listed(verdict.flips)}"
    return {1: "it agrees, no flip", 2: "both agree, no flip"}.get(shared, f"all {shared} agree, no flip")
