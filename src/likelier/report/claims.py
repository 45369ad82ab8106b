"""The section "The lab's claims, tested": what the runs say of each sentence, with the figures behind it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from likelier.claims import Figure, Finding, Half, Judged, Lab, Look, Model, Outcome, Record, judge_claims
from likelier.report.grouping import Group
from likelier.report.pixels import halves
from likelier.report.reading import Array, Frame, Run
from likelier.report.standing import listed, verdicts, why_none
from likelier.texture import Pictures, cut
from likelier.verdict import short

REAL = "real"


@dataclass(frozen=True)
class Shown:
    """What a claim came to for one model or pair: the outcome as a word, whom it is about, and the figures by name."""

    outcome: Outcome
    groups: tuple[Group, ...]
    reason: str
    decides: tuple[tuple[str, str], ...]
    beside: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sentence:
    """A claim, how it is decided, and what it came to."""

    sentence: str
    how: str
    findings: tuple[Shown, ...]


@dataclass(frozen=True)
class Claims:
    """The section; folded where the runs are not those of the lab's question."""

    lead: str
    tested: int
    sentences: tuple[Sentence, ...]
    untried: str
    folded: bool


def judged_of(groups: Sequence[Group]) -> list[Judged]:
    """Every claim, judged of the runs of these groups."""
    return judge_claims(_lab(groups))


def _lab(groups: Sequence[Group]) -> Lab:
    """The models and their verdicts."""
    return Lab([_model(group) for group in groups], verdicts(groups), why_none(groups) or "")


def claims_section(groups: Sequence[Group]) -> Claims | None:
    """The section, or None where no claim can be tried.

    It stands open where the lab's question is asked, of a model that encodes beside one that plays a game; then the
    claims that no run speaks about are named, too. Elsewhere those that can be tried are told, folded.
    """
    lab = _lab(groups)
    asked = any(model.encodes for model in lab.models) and any(model.plays for model in lab.models)
    judged = judge_claims(lab)
    tried = [each for each in judged if each.findings]
    if not tried:
        return None
    by_name = {group.label: group for group in groups}
    found = [finding for each in tried for finding in each.findings]
    shared = _shared_reason(found)
    sentences = tuple(
        Sentence(
            each.claim.sentence,
            f"By {each.claim.measure}. Wanted: {each.claim.criterion}. {each.claim.why}",
            tuple(_shown(finding, by_name, shared) for finding in each.findings),
        )
        for each in tried
    )
    missing = [f"{each.claim.sentence.rstrip('.')} (wanted {each.claim.about})" for each in judged if not each.findings]
    untried = f"No run here speaks about: {'; '.join(missing)}." if missing and asked else ""
    return Claims(_lead(found, shared), len(found), sentences, untried, not asked)


def _model(group: Group) -> Model:
    """A group of runs as the claims know it."""
    return Model(group.label, group.runs[0].family, tuple(_record(run) for run in group.runs))


def _record(run: Run) -> Record:
    """A run as the claims know it, its pictures cut into images."""
    size = _size(run)
    first = next((frame for frame in run.samples if frame.images == 0), None)
    return Record(
        seed=run.seed,
        status=run.status,
        figures={key: Figure(m.value, m.floor, m.why_not) for key, m in run.measures.items()},
        log=[*run.training, *run.evaluations],
        beginning=None if first is None or size is None else cut(first.pixels, *size),
        real=_channels_last(run.figures[REAL]) if REAL in run.figures else None,
        looks=[look for frame in run.reconstructions if size and (look := _look(frame, size))],
    )


def _size(run: Run) -> tuple[int, int] | None:
    """Height and width of an image."""
    if run.shape is not None:
        return run.shape[1:]
    return run.figures[REAL].shape[2:] if REAL in run.figures else None


def _channels_last(images: Array) -> Pictures:
    """[n, c, h, w] as [n, h, w, c]."""
    return images.transpose(0, 2, 3, 1)


def _look(frame: Frame, size: tuple[int, int]) -> Look | None:
    """A picture of two rows: test images and what came back."""
    originals, rebuilt = (cut(half, *size) for half in halves(frame))
    return None if originals is None or rebuilt is None else Look(frame.images, originals, rebuilt)


def _shared_reason(found: Sequence[Finding]) -> str:
    """The most frequent reason, where nothing can be said of anything: it is told once."""
    reasons = Counter(finding.reason for finding in found)
    return reasons.most_common(1)[0][0] if all(finding.outcome == "cannot be said" for finding in found) else ""


def _lead(found: Sequence[Finding], shared: str) -> str:
    """What the claims came to.

    >>> _lead([Finding(("a",), "holds", "", ()), Finding(("b",), "does not hold", "", ())], "")
    'Of 2 tests: 1 holds and 1 does not hold.'
    """
    if shared:
        return f"Nothing can be said of any of them yet: {shared}. The figures stand here all the same."
    count = Counter(finding.outcome for finding in found)
    words: Mapping[Outcome, str] = {
        "holds": "holds" if count["holds"] == 1 else "hold",
        "does not hold": "does not hold" if count["does not hold"] == 1 else "do not hold",
        "cannot be said": "cannot be said",
    }
    told = listed([f"{count[outcome]} {word}" for outcome, word in words.items() if count[outcome]])
    return f"Of {len(found)} test{'s' * (len(found) != 1)}: {told}."


def _shown(finding: Finding, groups: Mapping[str, Group], shared: str) -> Shown:
    """One finding, as the page has it."""
    reason = "" if finding.reason == shared else finding.reason
    decides = tuple((half.name, _figure(half)) for half in finding.halves)
    beside = tuple((name, re.sub(r"(?<!\w)-(?=[.\d])", "−", value)) for name, value in finding.beside)
    return Shown(finding.outcome, tuple(groups[name] for name in finding.models), reason, decides, beside)


def _figure(half: Half) -> str:
    """Centre, interval and bar of one criterion.

    >>> _figure(Half("rising steps", "at most", 0.05, (0.1, 0.3, 0.2), None, "cannot be said", "3 seeds"))
    '.2 (.1 to .3), wanted at most .05'
    """
    bar = f"wanted {half.wanted} {short(half.bar)}"
    if half.interval is not None:
        ends = f"{_number(half.interval.low)} to {_number(half.interval.high)}"
        return f"{_number(half.interval.centre)} [{ends}; {half.interval.coverage:.0%} interval], {bar}"
    if not half.values:
        return f"n/a, {bar}"
    ends = f" ({_number(min(half.values))} to {_number(max(half.values))})" if len(half.values) > 1 else ""
    return f"{_number(median(half.values))}{ends}, {bar}"


def _number(value: float) -> str:
    """Three digits, and four places after the point at most; what is infinite comes of a run that diverged."""
    return short(round(value, 4)).replace("-", "−")
