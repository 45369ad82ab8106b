"""The extractor: accurate, alive, reproducible, and a cache that never gets in the way."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from likelier import features
from likelier.errors import InputError
from likelier.features import Extractor, extractor
from likelier.images import Images, Split, as_float, as_uint8
from likelier.metrics import precision_recall_density_coverage


def digits() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy((bunch.images * 255 / 16).round().astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = (Split(images[part], labels[part]) for part in (order[:1198], order[1198:]))
    return Images("digits", train, test, tuple("0123456789"))


@pytest.fixture(scope="module")
def data() -> Images:
    return digits()


@pytest.fixture(scope="module")
def trained(data: Images, tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    return extractor(data, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of four steps, for tests of what is around the training."""
    monkeypatch.setattr(features, "BUDGET", 4 * features.BATCH)


def test_the_extractor_is_accurate(trained: Extractor, data: Images) -> None:
    assert trained.accuracy >= 0.97
    _, classes = trained.features_and_classes(data.test.images)
    assert float((classes == data.test.labels).double().mean()) == trained.accuracy


def test_no_feature_is_dead(trained: Extractor, data: Images) -> None:
    found = trained.features(data.test.images)
    assert found.shape == (599, trained.dimension)
    assert float(found.std(dim=0).min()) > 0.05


def test_features_do_not_depend_on_chunks(trained: Extractor, data: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained.features(data.test.images)
    monkeypatch.setattr(features, "CHUNK", 100)
    torch.testing.assert_close(trained.features(data.test.images), whole)


def test_recall_sees_blur_and_precision_hardly_does(trained: Extractor, data: Images) -> None:
    real, held_out = data.train.images[:599], data.test.images
    smooth = as_uint8(F.avg_pool2d(as_float(held_out), 3, stride=1, padding=1))
    honest = precision_recall_density_coverage(trained.features(real), trained.features(held_out))
    blurred = precision_recall_density_coverage(trained.features(real), trained.features(smooth))
    lost = honest.recall - blurred.recall
    assert lost > 0.4
    assert honest.precision - blurred.precision < lost / 2
    assert honest.coverage - blurred.coverage > 0.3


@pytest.mark.usefixtures("hasty")
def test_training_leaves_the_global_generators_alone(data: Images, tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())  # noqa: NPY002

    before = state()
    extractor(data, cache=tmp_path)  # trained
    extractor(data, cache=tmp_path)  # loaded
    assert state() == before


@pytest.mark.usefixtures("hasty")
def test_the_weights_depend_on_the_seed_and_on_nothing_global(data: Images, tmp_path: Path) -> None:
    first = extractor(data, cache=tmp_path / "a")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1234)
        again = extractor(data, cache=tmp_path / "b")
    assert again.name == first.name
    assert extractor(data, cache=tmp_path / "a", seed=1).name != first.name


@pytest.mark.usefixtures("hasty")
def test_the_number_of_threads_does_not_matter_and_is_left_alone(data: Images, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    names = set()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            names.add(extractor(data, cache=tmp_path / str(threads)).name)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(names) == 1


@pytest.mark.usefixtures("hasty")
def test_the_cache_gives_back_what_was_trained(data: Images, tmp_path: Path) -> None:
    told: list[float] = []
    first = extractor(data, cache=tmp_path, progress=lambda done, total: told.append(done / total))
    assert told == [0.25, 0.5, 0.75, 1.0]
    again = extractor(data, cache=tmp_path, progress=lambda done, total: told.append(done / total))
    assert len(told) == 4  # not trained again
    assert (again.name, again.accuracy) == (first.name, first.accuracy)
    assert torch.equal(again.features(data.test.images), first.features(data.test.images))
    assert first.name.startswith("digits-cnn-v1-") and len(first.name) == len("digits-cnn-v1-ab12cd")


def spoilt(kind: str, content: bytes) -> bytes:
    if kind == "empty":
        return b""
    if kind == "truncated":
        return content[: len(content) // 2]
    if kind == "one bit":
        return content[:-1] + bytes([content[-1] ^ 1])
    if kind == "other recipe":
        return content.replace(b"cnn-v1", b"cnn-v0")
    if kind == "no number":
        return content.replace(b'accuracy\\": ', b'accuracy\\":[')
    return b"\xff" * len(content)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("kind", ["empty", "truncated", "one bit", "other recipe", "no number", "noise"])
def test_a_spoilt_cache_is_trained_again(kind: str, data: Images, tmp_path: Path) -> None:
    first = extractor(data, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(spoilt(kind, whole))
    assert file.read_bytes() != whole
    told: list[float] = []
    assert extractor(data, cache=tmp_path, progress=lambda done, total: told.append(done / total)).name == first.name
    assert told[-1] == 1
    assert file.read_bytes() == whole


@pytest.mark.usefixtures("hasty")
def test_other_images_of_the_same_name_have_another_extractor(data: Images, tmp_path: Path) -> None:
    other = Images(data.name, Split(255 - data.train.images, data.train.labels), data.test, data.classes)
    assert extractor(data, cache=tmp_path).name != extractor(other, cache=tmp_path).name
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("hasty")
def test_a_cache_that_cannot_be_written_is_done_without(data: Images, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="LIKELIER_CACHE") as warned:
        found = extractor(data, cache=tmp_path / "file" / "cache")
    assert len(warned) == 1
    assert found.features(data.test.images).shape == (599, 64)


def test_the_folder_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("LIKELIER_CACHE", "/own")
    assert features.cache_folder() == Path("/own")
    monkeypatch.delenv("LIKELIER_CACHE")
    assert features.cache_folder() == Path("/xdg/likelier")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert features.cache_folder() == Path("/home/x/.cache/likelier")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("shape", [(1, 9, 13), (3, 8, 8), (3, 32, 32)])
def test_any_shape_of_image(shape: tuple[int, int, int], tmp_path: Path) -> None:
    images = torch.randint(256, (20, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(20) % 2)
    found = extractor(Images("a/b noise", split, split, ("even", "odd")), cache=tmp_path)
    assert found.features(images).shape == (20, 64)


def test_images_that_it_was_not_trained_on_are_refused(trained: Extractor, data: Images) -> None:
    from jaxtyping import TypeCheckError

    for images in (data.test.images.float(), data.test.images[0], data.test.images[..., :7]):
        with pytest.raises((InputError, TypeCheckError)):
            trained.features(images)


def test_tiny_images_and_single_classes_are_refused(data: Images) -> None:
    tiny = Split(data.test.images[..., :7], data.test.labels)
    with pytest.raises(InputError, match="8 pixels"):
        extractor(Images("tiny", tiny, tiny, data.classes))
    zeros = Split(data.test.images, torch.zeros_like(data.test.labels))
    with pytest.raises(InputError, match="two classes"):
        extractor(Images("zeros", zeros, zeros, ("0",)))
