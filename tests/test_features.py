"""Extractors: accurate, alive, frozen or reproducible, with a cache that never gets in the way, or the user's own."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional as F

import likelier
from likelier import features
from likelier.errors import InputError
from likelier.features import Extractor, extractor, network, store
from likelier.features.onnx import ONNX
from likelier.images import Images, Split, as_float, as_uint8
from likelier.metrics import frechet_distance, precision_recall_density_coverage


@pytest.fixture(scope="module")
def data() -> Images:
    """Images whose extractor does not come with the package: the embedded digits in another order."""
    embedded = likelier.load_images("digits")
    return Images(
        "mine", Split(embedded.train.images.flip(0), embedded.train.labels.flip(0)), embedded.test, embedded.classes
    )


@pytest.fixture(scope="module")
def frozen() -> Extractor:
    return extractor(likelier.load_images("digits"))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of four steps, for tests of what is around the training."""
    monkeypatch.setattr(network, "BUDGET", 4 * network.BATCH)


# Frozen


def test_every_named_set_has_three_frozen_extractors_as_recorded():
    index = store.index()
    assert {(facts["name"], facts["seed"]) for facts in index.values()} == {
        (name, seed) for name in ("digits", "mnist", "fashion-mnist", "cifar10") for seed in features.SEEDS
    }
    assert {path.name for path in store.FROZEN.glob("*.safetensors")} == index.keys()
    for file, facts in index.items():
        content = (store.FROZEN / file).read_bytes()
        assert len(content) < 2_000_000
        assert store.header(content) == facts
        assert network.sha256(store.safetensors.torch.load(content)) == facts["sha256"]
        assert (
            facts["accuracy"] >= {"mnist": 0.992, "digits": 0.98, "fashion-mnist": 0.92, "cifar10": 0.75}[facts["name"]]
        )


def test_the_extractor_of_the_digits_is_frozen_and_accurate(frozen: Extractor):
    digits = likelier.load_images("digits")
    (facts,) = [f for f in store.index().values() if (f["name"], f["seed"]) == ("digits", 0)]
    assert frozen.name == f"digits-cnn-v2-{facts['sha256'][:6]}"
    _, classes = frozen.features_and_classes(digits.test.images)
    assert float((classes == digits.test.labels).double().mean()) == frozen.accuracy == facts["accuracy"]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_the_extractors_of_real_sets_are_as_accurate_as_recorded(name: str, data_root: Path):
    images = likelier.load_images(name, data_root)
    for seed in features.SEEDS:
        found = features.at_hand(images, seed=seed)
        assert found is not None
        seen, classes = found.features_and_classes(images.test.images)
        assert float((classes == images.test.labels).double().mean()) == pytest.approx(found.accuracy, abs=2e-4)
        assert float(seen.std(dim=0).min()) > 0.05, "no feature is dead"


def test_a_set_is_known_by_its_content_whatever_it_is_called(frozen: Extractor):
    digits = likelier.load_images("digits")
    renamed = Images("something else", digits.train, digits.test, digits.classes)
    assert extractor(renamed).name == frozen.name


def test_a_damaged_frozen_extractor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for path in store.FROZEN.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(
            content if path.suffix == ".json" else content[:-1] + bytes([content[-1] ^ 1])
        )
    monkeypatch.setattr(store, "FROZEN", tmp_path)
    with pytest.raises(InputError, match="damaged or missing: install"):
        extractor(likelier.load_images("digits"))


def test_no_feature_is_dead(frozen: Extractor):
    found = frozen.features(likelier.load_images("digits").test.images)
    assert found.shape == (599, frozen.dimension)
    assert float(found.std(dim=0).min()) > 0.05


@pytest.mark.slow
def test_the_recipe_makes_extractors_as_good_as_the_frozen_ones():
    digits = likelier.load_images("digits")
    again = network.train(digits, 0)
    assert again.accuracy >= 0.98
    assert float(again.features(digits.test.images).std(dim=0).min()) > 0.05


def test_features_do_not_depend_on_chunks(frozen: Extractor, data: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frozen.features(data.test.images)
    monkeypatch.setattr(network, "CHUNK", 100)
    torch.testing.assert_close(frozen.features(data.test.images), whole, rtol=1e-4, atol=1e-5)


def test_recall_and_coverage_see_blur(frozen: Extractor) -> None:
    digits = likelier.load_images("digits")
    real, held_out = digits.train.images[:599], digits.test.images
    smooth = as_uint8(F.avg_pool2d(as_float(held_out), 3, stride=1, padding=1))
    honest = precision_recall_density_coverage(frozen.features(real), frozen.features(held_out))
    blurred = precision_recall_density_coverage(frozen.features(real), frozen.features(smooth))
    assert honest.recall - blurred.recall > 0.4
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
    assert first.name.startswith("mine-cnn-v2-") and len(first.name) == len("mine-cnn-v2-ab12cd")


def spoilt(kind: str, content: bytes) -> bytes:
    if kind == "empty":
        return b""
    if kind == "truncated":
        return content[: len(content) // 2]
    if kind == "one bit":
        return content[:-1] + bytes([content[-1] ^ 1])
    if kind == "other recipe":
        return content.replace(b"cnn-v2", b"cnn-v0")
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
    found = extractor(Images("a (b) noise", split, split, ("even", "odd")), cache=tmp_path)
    assert found.features(images).shape == (20, 64)


def test_images_that_it_was_not_trained_on_are_refused(frozen: Extractor, data: Images) -> None:
    from jaxtyping import TypeCheckError

    for images in (data.test.images.float(), data.test.images[0], data.test.images[..., :7]):
        with pytest.raises((InputError, TypeCheckError)):
            frozen.features(images)


def test_tiny_images_and_small_sets_are_refused(data: Images) -> None:
    tiny = Split(data.test.images[..., :7], data.test.labels)
    with pytest.raises(InputError, match="8 pixels"):
        extractor(Images("tiny", tiny, tiny, data.classes))
    few = Split(data.test.images[:5], data.test.labels[:5])
    with pytest.raises(InputError, match="measures want 6"):
        extractor(Images("few", few, few, data.classes))


# Without labels


def unlabelled(images: torch.Tensor) -> Images:
    split = Split(images, torch.zeros(len(images), dtype=torch.int64))
    return Images("unlabelled", split, split, ("all",))


@pytest.mark.usefixtures("hasty")
def test_images_without_classes_have_an_extractor_that_needs_none(data: Images, tmp_path: Path) -> None:
    images = unlabelled(data.test.images)
    found = extractor(images, cache=tmp_path)
    assert found.name.startswith("unlabelled-rotation-v2-")
    seen, classes = found.features_and_classes(images.test.images)
    assert classes is None
    assert seen.shape == (599, 64)
    assert 0.2 < (found.accuracy or 0) <= 1
    again = extractor(images, cache=tmp_path)  # out of the cache
    assert (again.name, again.accuracy) == (found.name, found.accuracy)


def test_an_image_turned_four_times_is_itself_and_each_turn_is_another():
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    once = network.turned(x, torch.ones(4, dtype=torch.int64))
    assert torch.equal(once, torch.rot90(x, 1, (-2, -1)))
    for _ in range(3):
        once = network.turned(once, torch.ones(4, dtype=torch.int64))
    assert torch.equal(once, x)
    wide = torch.rand(1, 1, 4, 7, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1, -1)
    ways = network.turned(wide, torch.arange(4))
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 4


@pytest.mark.slow
def test_an_extractor_without_labels_sees_what_one_with_labels_sees(tmp_path: Path) -> None:
    """Blur, missing classes and repeated images are further from held-out images than these are from the reference."""
    digits = likelier.load_images("digits")
    found = network.train(unlabelled(digits.train.images), 0)
    real, held_out = found.features(digits.train.images[:599]), found.features(digits.test.images)
    smooth = as_uint8(F.avg_pool2d(as_float(digits.test.images), 3, stride=1, padding=1))
    lacking = digits.train.images[digits.train.labels > 2][-599:]
    floor = frechet_distance(real, held_out)
    assert frechet_distance(real, found.features(smooth)) > 5 * floor
    assert frechet_distance(real, found.features(lacking)) > 1.2 * floor
    repeated = found.features(digits.test.images[:60].repeat(10, 1, 1, 1)[:599])
    assert precision_recall_density_coverage(real, repeated).recall < 0.7


# Of the user's own


MakeNetwork = Callable[..., Path]


@pytest.fixture
def onnx_file(tmp_path: Path) -> MakeNetwork:
    """A network whose features are the mean and the first pixel of each channel, and a second output of constants."""

    def make(declaration: dict[str, object] | None, channels: int = 1, name: str = "net") -> Path:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, "h", "w"])
        features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", channels])
        whole = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", channels, "h", "w"])
        axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
        nodes = [
            helper.make_node("ReduceMean", ["x", "axes"], ["features"], keepdims=0),
            helper.make_node("Identity", ["x"], ["maps"]),
        ]
        graph = helper.make_graph(nodes, "g", [x], [features, whole], [axes])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        onnx.checker.check_model(model)
        if declaration is not None:
            path.with_suffix(".yaml").write_text(json.dumps(declaration))
        return path

    return make


def test_a_network_of_the_user_is_given_what_is_declared(onnx_file: MakeNetwork, data: Images):
    declared = {
        "name": "mine",
        "channels": 3,
        "scale": 1,
        "mean": [0.5, 0, 0],
        "std": [0.5, 1, 2],
        "output": "features",
    }
    found = ONNX(onnx_file(declared, channels=3))
    seen, classes = found.features_and_classes(data.test.images)
    level = as_float(data.test.images).mean((1, 2, 3))
    expected = torch.stack([(level - 0.5) / 0.5, level, level / 2], dim=1)
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)
    assert classes is None
    assert found.dimension == 3
    assert found.name.startswith("mine-onnx-")
    maps = ONNX(onnx_file(declared | {"output": "maps", "scale": 255}, channels=3, name="maps"))
    scaled = torch.stack([(level * 255 - 0.5) / 0.5, level * 255, level * 255 / 2], dim=1)
    torch.testing.assert_close(maps.features(data.test.images), scaled, rtol=1e-4, atol=1e-3)


def test_images_are_resized_as_declared(onnx_file: MakeNetwork, data: Images):
    found = ONNX(onnx_file({"name": "large", "channels": 1, "size": [20, 12], "output": "maps"}))
    assert found.prepare(data.test.images[:2]).shape == (2, 1, 20, 12)
    flat = torch.full((3, 1, 8, 8), 51, dtype=torch.uint8)
    torch.testing.assert_close(found.features(flat), torch.full((3, 1), 0.2), rtol=1e-5, atol=1e-6)


def test_the_name_of_a_network_changes_with_its_declaration(onnx_file: MakeNetwork):
    declared = {"name": "net", "channels": 1, "output": "features"}
    first = ONNX(onnx_file(declared)).name
    assert ONNX(onnx_file(declared | {"scale": 2})).name != first


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (None, "declared beside it"),
        ({"name": "net"}, "channels"),
        ({"name": "net", "channels": True, "output": "features"}, "channels"),
        ({"name": "net", "channels": 2, "output": "features"}, "channels wants 1 or 3"),
        ({"name": "net", "channels": 1, "output": "features", "sise": [3, 3]}, "sise"),
        ({"name": "net", "channels": 1, "output": "features", "mean": [1, 2]}, "one number a channel"),
        ({"name": "a/b", "channels": 1, "output": "features"}, "name"),
        ({"name": "net", "channels": 1}, "features, maps"),
        ({"name": "net", "channels": 1, "output": "logits"}, "features, maps"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused(
    declared: dict[str, object] | None, message: str, onnx_file: MakeNetwork
):
    with pytest.raises(InputError, match=message):
        ONNX(onnx_file(declared))


def test_a_file_that_is_no_network_is_refused(onnx_file: MakeNetwork, data: Images, tmp_path: Path):
    path = onnx_file({"name": "net", "channels": 3, "output": "features"}, channels=1)
    with pytest.raises(InputError, match="cannot be given images"):
        ONNX(path).features(data.test.images)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="no ONNX network"):
        ONNX(path)
    with pytest.raises(InputError, match="cannot be read"):
        ONNX(tmp_path / "absent.onnx")
    colour = ONNX(onnx_file({"name": "net", "channels": 1, "output": "features"}, name="grey"))
    with pytest.raises(InputError, match="3 channels"):
        colour.features(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def built(nodes: list[object], inputs: list[object], outputs: list[object], constants: list[object] = ()) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("tokens", "pooled"),
        ("two inputs", "wanted one"),
        ("bytes", "32-bit floats"),
        ("nan", "NaN"),
        ("same", "same features"),
    ],
)
def test_a_network_that_gives_no_features_is_refused(harm: str, message: str, tmp_path: Path, data: Images):
    kind = TensorProto.UINT8 if harm == "bytes" else TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, ["n", 1, 8, 8])
    z = helper.make_tensor_value_info("z", kind, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("y", kind, None)
    shape = helper.make_tensor("s", TensorProto.INT64, [3], [0, 4, 16])
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    flat = helper.make_node("Flatten", ["x" if harm not in ("nan", "same") else "u"], ["y"])
    nodes = {
        "tokens": [helper.make_node("Reshape", ["x", "s"], ["y"])],
        "nan": [helper.make_node("Div", ["x", "zero"], ["u"]), flat],
        "same": [helper.make_node("Mul", ["x", "zero"], ["u"]), flat],
    }.get(harm, [flat])
    constants = {"tokens": [shape], "nan": [zero], "same": [zero]}.get(harm, [])
    path = tmp_path / "net.onnx"
    path.write_bytes(built(nodes, [x, z] if harm == "two inputs" else [x], [y], constants))
    path.with_suffix(".yaml").write_text("name: net\nchannels: 1\n")
    with pytest.raises(InputError, match=message):
        ONNX(path).check(data)


@pytest.mark.parametrize("content", ["x: 2024-99-99", "x: " + "9" * 5000, "[" * 5000, "", "- 1", "a: [", "\x00"])
def test_a_declaration_that_is_none_is_refused(content: str, onnx_file: MakeNetwork):
    path = onnx_file({"name": "net", "channels": 1, "output": "features"})
    path.with_suffix(".yaml").write_text(content)
    with pytest.raises(InputError):
        ONNX(path)
