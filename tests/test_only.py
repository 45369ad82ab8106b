"""Some measures alone: the figures of all of them, in less time; and what is kept of the real images."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file, save_file

import likelier as library
from likelier import metrics
from likelier.comparison import read_measures
from likelier.evidence import Evidence
from likelier.experiment import train
from likelier.features import extractor, kept
from likelier.images import Images, Split
from likelier.measuring import ALL, SAMPLE_MEASURES, chosen_measures, measure, measure_images
from likelier.metrics.manifold import balls
from likelier.modes import MODE_MEASURES
from likelier.reference import MEASURES, TOGETHER, Reference
from likelier.report.reading import read_run
from likelier.run import Run
from likelier.threads import by_piece


@pytest.fixture(scope="module")
def digits() -> Images:
    return library.load_images("digits")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict]:
    run = train("vae", images=2_000, out=tmp_path_factory.mktemp("runs") / "vae")
    return run, measure(run)


def by_key(result: dict) -> dict[str, dict]:
    return {m["key"]: m for m in result["measures"]}


@pytest.mark.parametrize(
    "names",
    [["fd", "kid", "prdc"], *([group[0]] for group in TOGETHER), ["elbo"], ["nmi", "kl"], ["recall", "mmd_to_prior"]],
    ids=" ".join,
)
def test_some_measures_are_those_of_all_bit_for_bit(measured: tuple[Run, dict], names: list[str]):
    run, whole = measured
    found = measure(run, only=names)
    keys = chosen_measures(names)
    assert found["only"] == list(keys)
    assert by_key(found) == {key: by_key(whole)[key] for key in ALL if key in keys}
    assert set(found["warnings"]) <= set(whole["warnings"])


def test_images_of_others_too(digits: Images):
    reference = Reference(digits)
    whole, found = (measure_images(digits.test.images, reference, only=only) for only in (None, ["recall", "ct"]))
    assert by_key(found) == {key: by_key(whole)[key] for key in ("recall", "data_copying_ct")}


def test_nothing_is_written_and_nothing_takes_some_for_all(measured: tuple[Run, dict]):
    run, whole = measured
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    found = measure(run, only=["recall"])
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    file = run.path / "measures.json"
    content = file.read_bytes()
    file.write_text(json.dumps(found))
    assert read_measures(run.path) is None
    assert any("some of the measures only" in note for note in read_run(run.path).notes)
    file.write_bytes(content)
    assert read_measures(run.path) == whole


def test_only_what_is_asked_for_is_computed(measured: tuple[Run, dict], monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("nobody asked for it")

    for name in ("copied_share", "authenticity", "kernel_distance", "frechet_distance_infinity", "linear_probe"):
        monkeypatch.setattr(metrics, name, refuse)
    monkeypatch.setattr(Evidence, "fresh_samples", refuse)
    measure(measured[0], only=["prdc", "class_histogram_kl"])
    monkeypatch.setattr(Evidence, "drawn", refuse)
    measure(measured[0], only=["active_units"])


def test_the_groups_are_the_measures_of_samples():
    assert [key for group in TOGETHER for key in group] == list(MEASURES)
    assert [*MEASURES, *MODE_MEASURES] == list(SAMPLE_MEASURES)


def test_names_short_and_long():
    assert chosen_measures(["prdc", "kid", "recall"]) == chosen_measures(["kd", "coverage", "precision", "prdc"])
    assert chosen_measures(ALL) == ALL
    for names, message in ((["recal"], "there is no measure 'recal': did you mean 'recall'"), ([], "no measure")):
        with pytest.raises(library.InputError, match=message):
            chosen_measures(names)


def test_the_command(likelier, measured: tuple[Run, dict], tmp_path: Path):
    run, whole = measured
    before = (run.path / "measures.json").read_bytes()
    done = likelier("measure", run.path, "--only", "fd, kid,prdc", "--json", "--table", "some.csv")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out).values()
    assert by_key(found)["kernel_distance"] == by_key(whole)["kernel_distance"]
    assert len(found["measures"]) == 6
    assert len(Path("some.csv").read_text().splitlines()) == 7
    done = likelier("measure", run.path, "--only", "precision")
    assert "precision" in done.out
    assert "recall" not in done.out
    assert "nothing is written into a run" in done.out
    Path("options.yaml").write_text("only: [precision, fd]")
    done = likelier("measure", run.path, "--config", "options.yaml", "--json")
    assert [m["key"] for m in json.loads(done.out)[str(run.path)]["measures"]] == ["frechet_distance", "precision"]
    assert (run.path / "measures.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--only", "fid"], "there is no measure 'fid': did you mean 'fd'? wanted some of active_units, "),
        (["run", "--only", ","], "no measure is named: wanted some of active_units, "),
        (["x.npz", "--data", "digits", "--only", "elbo"], "there is no measure 'elbo'"),
        (["run", "--likelihood", "elbo", "--only", "fd"], "--only beside --likelihood"),
    ],
)
def test_a_mistake_is_one_line(likelier, arguments: list[str], message: str):
    done = likelier("measure", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


# What is kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "WORTHWHILE", 1)
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "real"


def counted(monkeypatch: pytest.MonkeyPatch, reference: Reference) -> list[int]:
    """How many images each look of the extractor is at."""
    seen: list[int] = []
    look = type(reference.extractor).features_and_classes

    def counting(self, images):
        seen.append(len(images))
        return look(self, images)

    monkeypatch.setattr(type(reference.extractor), "features_and_classes", counting)
    return seen


def test_real_images_are_looked_at_once(digits: Images, cache: Path, monkeypatch: pytest.MonkeyPatch):
    fake = digits.test.images.flip(3)
    seen = counted(monkeypatch, Reference(digits))
    cold = measure_images(fake, Reference(digits))
    assert 1198 in seen
    files = {file: file.read_bytes() for file in cache.iterdir()}
    seen.clear()
    monkeypatch.setattr(metrics, "nearest_other_distances", None)
    warm = measure_images(fake, Reference(digits))
    assert warm == cold
    assert set(seen) == {599}
    assert len(seen) == 1 + len(Reference(digits).others), "the fakes alone, by each extractor"
    assert {file: file.read_bytes() for file in cache.iterdir()} == files


def harmed(content: bytes) -> dict[str, bytes]:
    """Ways in which a file can be broken."""
    at = len(content) - 100
    return {
        "a bit": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        "cut": content[: len(content) // 2],
        "empty": b"",
        "no header": b"\xff" * 64,
    }


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty", "no header"])
def test_a_harmed_file_is_made_again(digits: Images, cache: Path, harm: str):
    whole = Reference(digits).whole_train
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.write_bytes(harmed(content)[harm])
    assert torch.equal(Reference(digits).whole_train, whole)
    assert file.read_bytes() == content


def test_what_other_code_or_another_extractor_kept_is_not_taken(
    digits: Images, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = Reference(digits).whole_train
    (file,) = cache.iterdir()
    content = file.read_bytes()
    monkeypatch.setattr(kept, "code", lambda: "another version")
    assert torch.equal(Reference(digits).whole_train, whole)
    assert file.read_bytes() != content
    assert len(list(cache.iterdir())) == 1, "it replaces the other"
    other = Reference(digits, extractor(digits, seed=1))
    assert not torch.equal(other.whole_train, whole)
    # Tensors that somebody else wrote, without the facts.
    save_file({name: t + 1 for name, t in load_file(file).items()}, file)
    assert torch.equal(Reference(digits).whole_train, whole)


@pytest.mark.parametrize("changed", ["what", "data", "torch", "processor"])
def test_every_fact_that_content_hangs_on_counts(
    digits: Images, cache: Path, monkeypatch: pytest.MonkeyPatch, changed: str
):
    judge = extractor(digits)

    def ask(what: str, images: Images) -> float:
        made = [float(len(made_of))]
        made_of.append(what)
        return float(kept.kept(what, lambda: {"x": torch.tensor(made)}, images, judge)["x"])

    made_of: list[str] = []
    assert [ask("thing", digits), ask("thing", digits)] == [0, 0], "taken from the cache"
    (file,) = cache.iterdir()
    others = replace(digits, train=Split(digits.train.images, digits.train.labels.flip(0)))
    if changed == "torch":
        monkeypatch.setattr(torch, "__version__", "0.1")
    if changed == "processor":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "abacus")
    # Somebody has given the file another's name.
    what, images = "other" if changed == "what" else "thing", others if changed == "data" else digits
    name = file.name.replace("thing", what).replace(digits.digest[:12], images.digest[:12])
    file.rename(file.parent / name)
    assert ask(what, images) == 2


def test_a_changed_weight_is_another_extractor(digits: Images, cache: Path):
    reference = Reference(digits)
    whole, before = reference.whole_train, reference.extractor.digest
    with torch.no_grad():
        reference.extractor.network.head.weight += 1
        reference.extractor.network.body[0].weight *= 2
    assert reference.extractor.digest != before
    changed = Reference(digits, reference.extractor)
    assert torch.equal(changed.whole_train, reference.view(digits.train.images).vectors)
    assert not torch.equal(changed.whole_train, whole)


def test_what_has_no_digest_or_is_small_is_not_kept(digits: Images, cache: Path, monkeypatch: pytest.MonkeyPatch):
    reference = Reference(digits)
    monkeypatch.setattr(type(reference.extractor), "digest", None)
    assert len(reference.whole_train) == 1198
    monkeypatch.undo()
    monkeypatch.setenv("LIKELIER_CACHE", str(cache.parent))
    assert len(Reference(digits).whole_train) == 1198
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_told(digits: Images, cache: Path, monkeypatch: pytest.MonkeyPatch):
    cache.parent.write_text("no folder")
    with pytest.warns(UserWarning, match="computed each time: set LIKELIER_CACHE"):
        assert len(Reference(digits).whole_train) == 1198


# Threads


def test_figures_do_not_hang_on_the_number_of_threads(digits: Images):
    x, y = (t.flatten(1).float() / 16 for t in (digits.train.images[:599], digits.test.images))
    before = torch.get_num_threads()

    def figures(threads: int) -> list[object]:
        torch.set_num_threads(threads)
        return [
            metrics.kernel_distance(x, y),
            metrics.precision_recall_density_coverage(x, y),
            metrics.frechet_distance(x, y),
            metrics.frechet_distance_infinity(x, y, torch.Generator().manual_seed(0)),
            metrics.nearest_distances(x, y).tolist(),
            extractor(digits).features(digits.train.images).tolist(),
        ]

    try:
        assert figures(1) == figures(2) == figures(5)
    finally:
        torch.set_num_threads(before)


def test_pieces_come_back_in_order_on_one_thread_each_and_the_first_error_is_raised():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert by_piece(lambda i: (i, torch.get_num_threads(), torch.is_grad_enabled()), range(20)) == [
            (i, 1, False) for i in range(20)
        ]
        with pytest.raises(ZeroDivisionError):
            by_piece(lambda i: 1 / (i - 3), range(20))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_balls_that_are_known_change_nothing():
    x, y = torch.randn(2, 200, 4, generator=torch.Generator().manual_seed(0))
    known = balls(x, 3)
    assert metrics.precision_recall_density_coverage(x, y, 3, known) == metrics.precision_recall_density_coverage(
        x, y, 3
    )
    with pytest.raises((library.InputError, TypeCheckError)):
        metrics.precision_recall_density_coverage(x, y, 3, known[:5])
