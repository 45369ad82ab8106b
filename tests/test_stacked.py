"""stacked-mnist: what is drawn into its channels, the files it is made from, and the modes that are counted."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

import likelier as library
from likelier.data import find, idx, load, stacked_mnist
from likelier.data.places import cached
from likelier.data.stacked_mnist import make
from likelier.errors import InputError
from likelier.experiment import train
from likelier.features import Extractor, extractor
from likelier.images import Images, Split
from likelier.measuring import ALL, measure, measure_images, usual
from likelier.modes import SAMPLED, modes_of
from likelier.packing import pack
from likelier.reference import Reference
from likelier.samples import chosen, fresh_sets
from likelier.watch import Watch

Likelier = Callable[..., Any]


@pytest.fixture(scope="module")
def digits() -> Images:
    return library.load_images("digits")


@pytest.fixture(scope="module")
def whole(digits: Images) -> Images:
    """The digits that come with the package, stacked as those of MNIST are."""
    return make(digits)


@pytest.fixture(scope="module")
def stack(digits: Images) -> Images:
    """The same with fewer training images: what is known of them is then computed sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked_mnist, "TRAIN", 20_000)
        return make(digits)


@pytest.fixture(scope="module")
def reference(stack: Images) -> Reference:
    return Reference(stack, others=[], n=2_000)


def by_key(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["key"]: m for m in result["measures"]}


def judged(samples: UInt8[Tensor, "n c h w"], reference: Reference, *only: str) -> dict[str, dict[str, Any]]:
    n = reference.n
    return by_key(measure_images(chosen(samples, n), reference, fresh_sets(samples, n, 20), only or None))


# The images


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_channel_is_a_digit_of_the_same_split_and_the_label_says_which(
    part: str, whole: Images, digits: Images
) -> None:
    split: Split = getattr(whole, part)
    below: Split = getattr(digits, part)
    known = {x.numpy().tobytes(): int(y) for x, y in zip(below.images, below.labels, strict=True)}
    for images, label in zip(split.images[:3_000], split.labels[:3_000], strict=True):
        a, b, c = (known[channel.numpy().tobytes()] for channel in images)  # of no other split: they share no image
        assert int(label) == 100 * a + 10 * b + c
        assert whole.classes[int(label)] == f"{a}{b}{c}"
    assert len(split.images[:, 0].flatten(1).unique(dim=0)) == len(below.images.flatten(1).unique(dim=0))


def test_it_has_the_size_of_the_paper_and_is_the_same_everywhere(whole: Images) -> None:
    assert (len(whole.train), len(whole.test), len(whole.classes)) == (128_000, 26_000, 1_000)
    assert (whole.classes[0], whole.classes[374], whole.classes[-1]) == ("000", "374", "999")
    assert whole.digest == replace(whole, recorded=None).digest
    assert whole.digest == "5685f80fdd204a288e79c4236d3f30e81464bd376bdcb9658c38ef68cf9097ad"


def test_modes_are_as_frequent_as_independent_draws_of_the_digits_have_them(whole: Images, digits: Images) -> None:
    one = digits.train.labels.bincount() / len(digits.train)
    expected = len(whole.train) * (one[:, None, None] * one[:, None] * one).flatten().double()
    counts = whole.train.labels.bincount(minlength=1_000)
    chi = float(((counts - expected).square() / expected).sum())
    assert abs(chi - 999) < 5 * math.sqrt(2 * 999)
    assert counts.min() > 60


def test_the_set_of_the_real_mnist(data_root: Path) -> None:
    images = load("stacked-mnist", data_root)
    assert images.digest == "8ef99266062d216ae0cbfd94f2dad166268a447fff3cddd1e651752569c609d1"
    assert extractor(images).name == "mnist-cnn-v2-6985f4-by-channel"
    real = Reference(images, others=[])
    index = torch.arange(0, SAMPLED, 4)  # a quarter of them, since it takes a while
    told = real.view(images.test.images[index]).classes
    assert told is not None
    assert (told == images.test.labels[index]).double().mean() == pytest.approx(0.9938**3, abs=0.01)
    found, true = modes_of(real, told), modes_of(real, images.test.labels[index])
    assert abs(found["modes"] - true["modes"]) <= 3
    assert found["modes"] > 990
    assert found["modes_kl"] == pytest.approx(999 / (2 * len(index)), rel=0.15)


# The files


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, idx_folder: Callable[..., Path]) -> Path:
    """Sixteen training and test images that pass for mnist, in a data root."""
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(idx, "SIDE", 8)
    monkeypatch.setattr(stacked_mnist, "TRAIN", 500)
    monkeypatch.setattr(stacked_mnist, "TEST", 100)
    folder = idx_folder(name="root/mnist", n=16)
    sums = tuple(hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in idx.FILES)
    monkeypatch.setitem(idx.PUBLISHED, "mnist", replace(idx.PUBLISHED["mnist"], sha256=sums))
    return folder.parent


def test_it_is_made_from_mnist_wherever_that_is(small_mnist: Path, tmp_path: Path) -> None:
    found = find("stacked-mnist", small_mnist)
    assert (found.path, found.whose, found.verified) == (small_mnist / "mnist", "the data root", True)
    images = load("stacked-mnist", small_mnist)
    assert (images.name, images.shape, len(images.train)) == ("stacked-mnist", (3, 8, 8), 500)
    assert images.can_be_found
    assert images.stacked_from is not None
    assert images.stacked_from.digest == load("mnist", small_mnist).digest
    cached("mnist").parent.mkdir(parents=True)
    (small_mnist / "mnist").rename(cached("mnist"))
    assert find("stacked-mnist").whose == "the cache"
    assert load("stacked-mnist").digest == images.digest


def test_the_commands_for_data_take_it_as_any_set(likelier: Likelier, small_mnist: Path) -> None:
    root = ("--data-root", small_mnist)
    listed = json.loads(likelier("data", *root, "--json").out)["stacked-mnist"]
    assert (listed["train"], listed["test"], len(listed["classes"])) == (500, 100, 1_000)
    fetched = likelier("data", "fetch", "stacked-mnist", *root)
    assert (fetched.code, fetched.out.split(" images")[0]) == (0, "500 + 100")
    assert "stacked-mnist is made from mnist, and has no files of its own" in fetched.err
    checked = likelier("data", "check", "stacked-mnist", *root)
    assert (checked.code, checked.out.strip().split(": ")[1]) == (0, "verified")
    shown = likelier("data", "show", "stacked-mnist", *root)
    assert shown.code == 0
    assert "1,000 with 0 to " in shown.out
    assert shown.out.count("\n") < 60, "and not a row for each class"
    (small_mnist / "mnist" / idx.FILES[1]).write_bytes(b"")
    assert "it is empty" in likelier("data", "check", "stacked-mnist", *root).err


@pytest.mark.parametrize("command", [("data",), ("data", "check"), ("train", "vae", "--data")])
def test_without_mnist_the_next_step_is_told(command: tuple[str, ...], likelier: Likelier) -> None:
    outcome = likelier(*command, "stacked-mnist")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "stacked-mnist is made from mnist, which is neither in the cache" in outcome.err
    assert "`likelier data fetch mnist` fetches it" in outcome.err


def test_in_another_size_its_channels_are_still_images(small_mnist: Path, tmp_path: Path) -> None:
    images = load("stacked-mnist", small_mnist, size=16, channels=3)
    assert (images.name, images.shape) == ("stacked-mnist-3x16x16", (3, 16, 16))
    assert images.stacked_from is not None
    assert images.stacked_from.shape == (1, 16, 16)
    below = {x.numpy().tobytes() for x in images.stacked_from.train.images}
    assert {x.numpy().tobytes() for x in images.train.images.flatten(0, 1)} == below
    with pytest.raises(InputError, match=r"each channel of stacked-mnist is an image of mnist.*wanted no channels=1"):
        load("stacked-mnist", small_mnist, channels=1)
    with pytest.raises(InputError, match="use it by its name, it is made from mnist"):
        pack("stacked-mnist", tmp_path / "pack", data_root=small_mnist)
    assert not (tmp_path / "pack").exists()


# The extractor


def test_features_are_those_of_each_channel_side_by_side(stack: Images, digits: Images) -> None:
    own, below = extractor(stack), extractor(digits)
    images = stack.test.images[:200]
    features, classes = own.features_and_classes(images)
    apart = [below.features_and_classes(images[:, c : c + 1]) for c in range(3)]
    assert torch.allclose(features, torch.cat([part for part, _ in apart], dim=1), atol=1e-5)
    told = [part for _, part in apart if part is not None]
    assert classes is not None
    assert torch.equal(classes, 100 * told[0] + 10 * told[1] + told[2])
    assert own.name == f"{below.name}-by-channel"
    assert features.shape[1] == own.dimension == 192
    assert own.accuracy == pytest.approx(
        float((own.features_and_classes(stack.test.images[:5_000])[1] == stack.test.labels[:5_000]).double().mean()),
        abs=0.01,
    )
    with pytest.raises(InputError, match=r"wants 3 channels"):
        own.features(digits.test.images)


# The modes


class Blind(Extractor):
    """Tells no classes."""

    name, dimension, accuracy = "blind", 192, None

    def features_and_classes(self, images: UInt8[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], None]:
        return images.flatten(1) / 255, None


def test_real_images_have_all_modes_and_little_divergence(stack: Images, reference: Reference) -> None:
    found = judged(stack.test.images, reference, "modes", "modes_kl")
    modes, kl = found["modes"], found["modes_kl"]
    assert modes["name"] == f"modes_{reference.extractor.name}_train_n26000_u8"
    assert modes["value"] == modes["floor"]["train–test"] == 1_000
    assert stack.stacked_from is not None
    below = stack.stacked_from
    one, other = (split.labels.bincount() / len(split) for split in (below.test, below.train))
    expected = 999 / 2 * (1 / SAMPLED + 1 / len(stack.train)) + 3 * float((one * (one / other).log()).sum())
    assert kl["value"] == kl["floor"]["train–test"] == pytest.approx(expected, rel=0.2)


def test_samples_that_repeat_one_image_have_one_mode(stack: Images, reference: Reference) -> None:
    one = stack.test.images[:1].expand(2_000, -1, -1, -1)
    found = judged(one, reference, "modes", "modes_kl")
    told = int(reference.view(one[:1]).classes[0])  # type: ignore[index]
    share = float((stack.train.labels == told).double().mean())
    assert found["modes"]["value"] == 1
    assert found["modes_kl"]["value"] == pytest.approx(-math.log(share))
    assert found["modes"]["name"].endswith("_train_n2000_u8")
    result = measure_images(one, reference, only=["modes"])
    assert any("modes that as many real images have, the samples have 1: too" in said for said in result["warnings"])


def test_samples_without_a_digit_in_one_channel_lack_a_tenth_of_the_modes(reference: Reference) -> None:
    every = torch.arange(1_000)
    assert modes_of(reference, every)["modes"] == 1_000
    assert [modes_of(reference, every[every // 10**place % 10 != 7])["modes"] for place in range(3)] == [900] * 3
    assert [modes_of(reference, every[every % 10 == d])["modes"] for d in range(10)] == [100] * 10


def test_modes_are_counted_in_place_of_classes_where_images_are_stacked(stack: Images, digits: Images) -> None:
    assert set(usual(stack)) == {*ALL} - {"class_histogram_kl", "missing_classes"}
    assert set(usual(digits)) == {*ALL} - {"modes", "modes_kl"}


def test_of_other_images_no_modes_are_counted_and_the_reason_is_told(digits: Images) -> None:
    found = by_key(measure_images(digits.test.images, Reference(digits), only=["modes", "modes_kl"]))
    assert [m["value"] for m in found.values()] == [None, None]
    assert all("the channels of digits are no images of their own" in m["why_not"] for m in found.values())


def test_an_extractor_without_classes_counts_none(stack: Images) -> None:
    found = judged(stack.test.images[:100], Reference(stack, Blind(), [], n=100), "modes")["modes"]
    assert (found["value"], found["why_not"]) == (None, "blind knows no classes")


def test_a_run_is_measured_with_its_modes_and_logs_them(stack: Images, reference: Reference, tmp_path: Path) -> None:
    run = train("vae", stack, images=512, out=tmp_path / "run")
    looks = [line["modes"] for line in run.metrics() if "modes" in line]
    assert looks
    assert all(1 <= modes <= 1_000 for modes in looks)
    result = measure(run, reference=reference, only=["modes", "modes_kl", "linear_probe", "kl"])
    found = by_key(result)
    assert found["modes"]["name"].endswith("_train_n10000_u8"), "as many as are drawn: N, and four times N"
    assert 1 <= found["modes"]["value"] <= 1_000
    assert found["modes_kl"]["floor"]["train–test"] < found["modes_kl"]["value"]
    assert found["kl"]["value"] is not None
    assert found["linear_probe"]["why_not"] == "1,000 classes have too few images each to be told from codes"


def test_a_look_counts_the_modes_of_its_samples(stack: Images, tmp_path: Path) -> None:
    run = train("gan", stack, images=128, out=tmp_path / "run")
    watch, told = Watch(run, stack, extractor(stack)), stack.test.images[:300]
    own = reference_classes(stack, told)
    assert watch.distance(told / 255)["modes"] == len(own.unique())
    assert "modes" not in Watch(run, replace(stack, stacked_from=None), extractor(stack)).distance(told / 255)


def reference_classes(stack: Images, images: UInt8[Tensor, "n c h w"]) -> Int64[Tensor, " n"]:
    classes = extractor(stack).features_and_classes(images)[1]
    assert classes is not None
    return classes
