"""Images of one's own: whatever their size, mode and layout, they become what a person would expect of them."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset

import likelier as package
from likelier.data import load
from likelier.data.folder import listed
from likelier.data.picture import LARGEST, Options, decoded, header_of
from likelier.errors import InputError
from likelier.looking import statistics

Likelier = Callable[..., Any]
NOISE = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
GREY = NOISE[..., 0]
WHICH = np.arange(60) % 2
SCANDIR = os.scandir
PHOTOGRAPHS = runpy.run_path(str(Path(__file__).with_name("photographs.py")))


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


def folder_of(path: Path, arrays: np.ndarray = NOISE) -> Path:
    for index, array in enumerate(arrays):
        saved(path / ("left", "right")[index % 2] / f"{index:03}.png", array)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = PHOTOGRAPHS["make"](tmp_path_factory.mktemp("own") / "photographs", 60, (40, 90))
    return found


# One picture


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "YCbCr", "LAB"])
def test_every_mode_of_a_grey_ramp_is_the_ramp(tmp_path: Path, mode: str):
    ramp = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
    if mode == "1":
        ramp = np.where(ramp > 127, 255, 0).astype(np.uint8)
    if mode in ("I;16", "I"):
        file = saved(tmp_path / "x.tif", ramp.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(Image.fromarray(ramp).convert("RGB"), *profiles, outputMode="LAB")
        picture.save(file := tmp_path / "x.tif")
    else:
        file = saved(tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png"), ramp, mode)
    if mode == "YCbCr" and tuple(map(int, PIL.__version__.split(".")[:2])) < (12, 1):
        pytest.skip("Pillow before 12.1 calls every YCbCr TIFF truncated, those that it writes itself too")
    for channels in (1, 3):
        found = decoded(file, Options(channels=channels))
        assert found.shape == (channels, 16, 16)
        tolerance = {"LAB": 24, "YCbCr": 2}.get(mode, 1)
        assert np.abs(found.astype(int) - ramp).max() <= tolerance


def test_what_is_transparent_is_laid_over_white(tmp_path: Path):
    clear = np.zeros((8, 8, 4), dtype=np.uint8)
    clear[:4, :, 3] = 255  # opaque black above, transparent black below
    found = decoded(saved(tmp_path / "x.png", clear), Options(channels=1))
    assert found[0, :4].max() == 0 and found[0, 4:].min() == 255
    half = np.full((8, 8, 4), (0, 0, 0, 128), dtype=np.uint8)
    assert np.unique(decoded(saved(tmp_path / "y.png", half), Options(channels=1))).tolist() == [127]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_pictures_stand_as_exif_says(tmp_path: Path, orientation: int, ending: str):
    upright = np.zeros((16, 24), dtype=np.uint8)
    upright[:8, :8] = 255  # light above and on the left
    turned = Image.fromarray(upright)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that takes the upright picture there
    if orientation > 1:
        turned = turned.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"x.{ending}"
    turned.save(file, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    assert np.abs(decoded(file, Options(channels=1))[0].astype(int) - upright).max() < 30
    assert header_of(file, file.read_bytes()).size == (24, 16)


def test_smaller_pictures_are_averages_and_not_samples(tmp_path: Path):
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    found = decoded(saved(tmp_path / "x.png", board), Options(size=32))
    assert found.min() >= 120 and found.max() <= 135


def test_cropping_takes_the_centre_and_padding_takes_all(tmp_path: Path):
    wide = np.zeros((16, 48), dtype=np.uint8)
    wide[:, 16:32] = 200
    file = saved(tmp_path / "x.png", wide)
    assert decoded(file, Options(size=16))[0].min() == 200  # its pixels as they are
    padded = decoded(file, Options(size=48, fit="pad"))[0]
    assert np.array_equal(padded[16:32], wide) and padded[:16].max() == padded[32:].max() == 0


def test_what_is_cut_away_is_the_same_on_both_sides(tmp_path: Path):
    ramp = np.arange(21, dtype=np.uint8) * 10
    for name, array in (("wide", np.tile(ramp, (8, 1))), ("high", np.tile(ramp[:, None], (1, 8)))):
        found = decoded(saved(tmp_path / f"{name}.png", array), Options(size=8))[0]
        assert np.unique(found).tolist() == (ramp[6:14]).tolist()  # 6 before, and 7 behind


@pytest.mark.parametrize(
    ("deep", "wanted"), [(0, 0), (128, 0), (129, 1), (385, 1), (386, 2), (32_896, 128), (65_535, 255)]
)
def test_16_bits_are_rounded_to_the_nearest_8(tmp_path: Path, deep: int, wanted: int):
    assert abs(deep / 257 - wanted) < 0.5
    file = saved(tmp_path / "x.tif", np.full((8, 8), deep, dtype=np.uint16))
    assert np.unique(decoded(file, Options())).tolist() == [wanted]


def test_a_large_jpeg_is_decoded_small_and_the_same(tmp_path: Path):
    chance = np.random.default_rng(0)
    large = PHOTOGRAPHS["photograph"](PHOTOGRAPHS["SCENES"]["hills"], chance, (900, 1000))
    large.save(tmp_path / "x.jpg", quality=95)
    large.save(tmp_path / "x.png")
    fast, exact = (decoded(tmp_path / f"x.{e}", Options(size=32)).astype(int) for e in ("jpg", "png"))
    assert np.abs(fast - exact).mean() < 3


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path):
    frames = [Image.fromarray(np.full((16, 16), value, dtype=np.uint8)) for value in (50, 100, 150)]
    for ending in ("gif", "png", "tif", "webp"):
        frames[0].save(file := tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:])
        assert abs(int(decoded(file, Options(channels=1)).mean()) - 50) <= 1


WRONG_OPTIONS: list[dict[str, Any]] = [
    *({"size": size} for size in (7, 129, True)),
    *({"channels": channels} for channels in (2, True)),
    {"fit": "stretch"},
]

NUMBERS = """
import json, numpy as np
from likelier.data.picture import InputError, Options
options = Options(np.int64(16), np.uint8(3))
assert options == Options(16, 3)
assert json.dumps(options.given()) == '{"size": 16, "channels": 3}'
for name, wrong in [("size", 16.0), ("size", "16"), ("channels", 3.0), ("channels", "3"), ("channels", np.True_)]:
    try:
        Options(**{name: wrong})
    except InputError as error:
        assert str(error).startswith(f"{name} = {wrong!r}: wanted"), error
    else:
        raise AssertionError(f"{name} = {wrong!r} is taken")
"""


def test_numbers_are_whole_whoever_has_made_them():
    # In a process of its own, as the types in signatures are not checked where people work.
    done = subprocess.run([sys.executable, "-c", NUMBERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", WRONG_OPTIONS)
def test_options_that_are_none_are_refused(wrong: dict[str, Any]):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} = .*: wanted"):
        Options(**wrong)


# A folder


def test_a_folder_has_its_pictures_classes_and_a_fifth_held_out(tmp_path: Path):
    found = load(folder_of(tmp_path / "photos"))
    assert (found.name, found.shape, found.classes) == ("photos", (3, 16, 16), ("left", "right"))
    assert len(found.train) + len(found.test) == 60 and 4 <= len(found.test) <= 20
    both = torch.cat([found.train.images, found.test.images]).permute(0, 2, 3, 1).numpy()
    labels = torch.cat([found.train.labels, found.test.labels]).tolist()
    by_content = {image.tobytes(): label for image, label in zip(both, labels, strict=True)}
    assert by_content == {image.tobytes(): index % 2 for index, image in enumerate(NOISE)}


def test_adding_renaming_and_moving_pictures_changes_no_sides(tmp_path: Path):
    folder = folder_of(tmp_path / "photos", NOISE[:40])
    before = {image.numpy().tobytes() for image in load(folder).test.images}
    for index, array in enumerate(NOISE[40:]):
        saved(folder / "a new class" / f"{index}.png", array)
    for file in list((folder / "left").iterdir()):
        file.rename(folder / "right" / f"again-{file.name}")
    after = {image.numpy().tobytes() for image in load(folder).test.images}
    assert before == after & {x.transpose(2, 0, 1).tobytes() for x in NOISE[:40]} and after > before


def test_copies_are_on_one_side(tmp_path: Path):
    folder = folder_of(tmp_path / "photos")
    for file in list((folder / "left").iterdir()):
        (folder / "right" / f"copy-{file.name}").write_bytes(file.read_bytes())
    twice = statistics(load(folder))["duplicates"]
    assert twice["test_in_train"] == 0 and twice["within_train"] > 10


def test_folders_for_training_and_test_are_taken_as_they_are(tmp_path: Path):
    folder_of(tmp_path / "photos" / "train", NOISE[:50])
    folder_of(tmp_path / "photos" / "val", NOISE[50:])
    found = load(tmp_path / "photos")
    assert (len(found.train), len(found.test), found.classes) == (50, 10, ("left", "right"))
    assert np.array_equal(np.sort(found.test.images.flatten()), np.sort(NOISE[50:].flatten()))


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "TEST"), ("training", "testing"), ("TRAIN", "valid"), ("Training", "Validation")]
)
def test_the_folders_of_the_splits_have_many_names(tmp_path: Path, train: str, test: str):
    folder_of(tmp_path / "photos" / train, NOISE[:50])
    folder_of(tmp_path / "photos" / test, NOISE[50:])
    found = load(tmp_path / "photos")
    assert (len(found.train), len(found.test), found.classes) == (50, 10, ("left", "right"))


def test_test_comes_before_validation_and_what_is_left_out_is_told(tmp_path: Path):
    for name, part in (("train", NOISE[:40]), ("Test", NOISE[40:50]), ("val", NOISE[50:])):
        folder_of(tmp_path / "photos" / name, part)
    found = load(tmp_path / "photos")
    assert (len(found.test), found.notes) == (10, ("files or folders beside train/ and Test/ left out: 1",))


def test_two_folders_to_train_on_are_one_too_many(tmp_path: Path):
    for name in ("train", "Training", "test"):
        folder_of(tmp_path / "photos" / name)
    with pytest.raises(InputError, match="has Training, train: wanted one of them"):
        load(tmp_path / "photos")
    (tmp_path / "photos" / "test").rename(tmp_path / "photos" / "car")
    assert load(tmp_path / "photos").classes == ("Training", "car", "train")  # kinds of traffic


def test_a_lone_folder_to_train_on_is_a_set_without_a_test_split(tmp_path: Path):
    folder_of(tmp_path / "photos" / "train")
    found = load(tmp_path / "photos")
    assert (found.classes, found.digest) == (("left", "right"), load(tmp_path / "photos" / "train").digest)
    assert found.notes == ("there are no pictures to test on beside train/: a fifth of those in it is held out",)
    folder_of(tmp_path / "photos" / "car")
    assert load(tmp_path / "photos").classes == ("car", "train")


def test_classes_one_folder_too_deep_are_not_one_class(tmp_path: Path):
    folder_of(tmp_path / "photos" / "from the archive")
    with pytest.raises(InputError, match=r"in folders of it \(left, right\): .* give .*/photos/from the archive, or"):
        load(tmp_path / "photos")


def test_pictures_in_folders_of_their_class_belong_to_it_and_that_is_told(tmp_path: Path):
    folder_of(tmp_path / "photos" / "cat", NOISE[:20])
    folder_of(tmp_path / "photos" / "dog" / "images" / "all", NOISE[20:40])
    for index, array in enumerate(NOISE[40:]):
        saved(tmp_path / "photos" / "owl" / "images" / f"{index}.png", array)
    found = load(tmp_path / "photos")
    assert found.classes == ("cat", "dog", "owl")
    assert found.notes == ("classes whose pictures are in folders of theirs (cat), taken together: 1",)


IN_ORDER = ("B/10.png", "B/9.png", "a/z.png", "a/b/2.png", "a/b/c/1.png", "a/b.x/1.png", "a/d/0.png", "é/0.png")


class Backwards:
    """What a folder holds, as a file system may list it: in the opposite order."""

    def __init__(self, folder: Path) -> None:
        self.entries = sorted(SCANDIR(folder), key=lambda entry: os.fsencode(entry.name), reverse=True)

    def __enter__(self) -> list[os.DirEntry[str]]:
        return self.entries

    def __exit__(self, *_: object) -> None:
        pass


def test_the_order_is_fixed_whatever_the_file_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for index, path in enumerate(IN_ORDER):
        saved(tmp_path / "photos" / "train" / path, NOISE[index])
        saved(tmp_path / "photos" / "test" / path, NOISE[20 + index])
    monkeypatch.setattr(os, "scandir", Backwards)
    found = listed(tmp_path / "photos")
    assert found.classes == ("B", "a", "é")
    for part, items in (("train", found.train), ("test", found.test)):
        assert [item.path.relative_to(tmp_path / "photos" / part).as_posix() for item in items] == list(IN_ORDER)
        assert [item.label for item in items] == [0, 0, 1, 1, 1, 1, 1, 2]


def test_a_folder_without_classes_is_one_class(tmp_path: Path):
    for index, array in enumerate(NOISE):
        saved(tmp_path / "photos" / f"{index}.png", array)
    assert load(tmp_path / "photos").classes == ("image",)


def test_the_same_folder_is_the_same_set_on_any_number_of_threads(photographs: Path):
    before = torch.get_num_threads()
    digests = set()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        digests.add(load(photographs, size=24).digest)
    torch.set_num_threads(before)
    assert len(digests) == 1


def test_sizes_and_channels_are_said_or_asked_for(photographs: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"has pictures of \d+ sizes, from .* pixels: say with --size N"):
        load(photographs)
    assert load(photographs, size=20, channels=1).shape == (1, 20, 20)
    folder = folder_of(tmp_path / "grey", GREY)
    assert load(folder).shape == (1, 16, 16)
    saved(folder / "left" / "one.png", NOISE[0])
    mixed = load(folder, size=32)
    assert mixed.shape == (3, 32, 32)
    assert mixed.notes == (
        "61 of 61 pictures are smaller than 32 pixels, and are enlarged",
        "60 of 61 pictures are grey among coloured ones: --channels 1 makes all of them grey",
    )


def test_progress_is_told(tmp_path: Path):
    told: list[tuple[int, int]] = []
    load(folder_of(tmp_path / "photos"), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)


def test_more_pixels_than_anybody_needs_are_not_decoded(tmp_path: Path):
    side = int(LARGEST**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"it claims .* pixels: wanted at most 67,108,864"):
        decoded(tmp_path / "x.png", Options(size=8))


# Array files


def stored(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


LAYOUTS = {
    "NHW": (GREY, GREY[:, None], "grey, taken as NHW"),
    "NHWC": (NOISE, NOISE.transpose(0, 3, 1, 2), "RGB, taken as NHWC"),
    "NCHW": (NOISE.transpose(0, 3, 1, 2), NOISE.transpose(0, 3, 1, 2), "RGB, taken as NCHW"),
    "grey NCHW": (GREY[:, None], GREY[:, None], "grey, taken as NCHW"),
    "floats": ((NOISE / 255).astype(np.float32), NOISE.transpose(0, 3, 1, 2), "RGB, taken as NHWC"),
    "half": ((GREY / 255).astype(np.float16), GREY[:, None], "grey, taken as NHW"),
    "by columns": (np.asfortranarray(GREY), GREY[:, None], "grey, taken as NHW"),
    "big-endian": ((GREY / 255).astype(">f8"), GREY[:, None], "grey, taken as NHW"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_said(tmp_path: Path, layout: str):
    array, wanted, told = LAYOUTS[layout]
    found = load(
        stored(tmp_path / "x.npz", x_train=array[:50], x_test=array[50:], y_train=WHICH[:50], y_test=WHICH[50:])
    )
    assert np.array_equal(torch.cat([found.train.images, found.test.images]).numpy(), wanted)
    assert found.notes[0].endswith(f"x_train: 50 images of 16×16, {told}")
    np.save(tmp_path / "x.npy", array)
    alone = load(tmp_path / "x.npy")
    assert alone.classes == ("image",) and len(alone.train) + len(alone.test) == 60


NAMINGS = [
    ("images", "labels", None, None),
    ("x", "y", None, None),
    ("X", "targets", None, None),
    ("arr_0", "arr_1", None, None),
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
]


@pytest.mark.parametrize("names", NAMINGS)
@pytest.mark.parametrize("kind", ["numbers", "columns", "floats", "texts", "bytes", "yes and no"])
def test_arrays_are_found_by_their_usual_names(tmp_path: Path, names: tuple[str, ...], kind: str):
    labels = {
        "numbers": WHICH,
        "columns": WHICH[:, None].astype(np.uint8),
        "floats": WHICH.astype(np.float64),
        "texts": np.array(["0", "1"])[WHICH],
        "bytes": np.array([b"0", b"1"])[WHICH],
        "yes and no": WHICH.astype(bool),
    }[kind]
    parts = (NOISE, labels) if names[2] is None else (NOISE[:40], labels[:40], NOISE[40:], labels[40:])
    given = {name: part for name, part in zip(names, parts, strict=False) if name}
    found = load(stored(tmp_path / "x.npz", val_images=NOISE[:3], **given))
    assert found.classes == (("False", "True") if kind == "yes and no" else ("0", "1"))
    assert found.notes[0] == "arrays left out: val_images"
    label_of = {image.transpose(2, 0, 1).tobytes(): label for image, label in zip(NOISE, WHICH, strict=True)}
    for split in (found.train, found.test):
        assert [label_of[image.numpy().tobytes()] for image in split.images] == split.labels.tolist()


CURES = {
    "((x + 1) / 2).clip(0, 1)": NOISE / 127.5 - 1,
    "x.clip(0, 1)": (NOISE / 255).astype(np.float32) * np.float32(1.0000001),
    "x.astype('uint8')": NOISE.astype(np.int64),
    "x / 255": NOISE.astype(np.float32),
    "(x / 255).clip(0, 1)": NOISE * 1.0001,
    "x / x.max()": NOISE / 100,
    "x / 4095": (NOISE / 255 * 4095).astype(np.uint16),
    "x / 65535": NOISE.astype(np.uint16) * 257,
    "x.astype('uint8') * 255": NOISE > 128,
}


@pytest.mark.parametrize("cure", CURES)
def test_the_cure_that_is_named_cures(tmp_path: Path, cure: str):
    x = CURES[cure]
    with pytest.raises(InputError) as refusal:
        load(stored(tmp_path / "x.npz", images=x))
    assert str(refusal.value).endswith(f"; {cure}")
    found = load(stored(tmp_path / "x.npz", images=eval(cure, {"x": x}), y=WHICH))
    pixels = torch.cat([found.train.images, found.test.images]).double().mean()
    assert pixels == pytest.approx(255 * (NOISE > 128).mean() if x.dtype == bool else NOISE.mean(), abs=1)


def test_values_are_told_with_the_digits_that_matter(tmp_path: Path):
    with pytest.raises(InputError, match=r"from 0 to 1\.00000012: wanted"):
        load(stored(tmp_path / "x.npz", images=CURES["x.clip(0, 1)"]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "kinds", [("uint64", "int64"), ("float16", "float16"), ("uint8", "float32"), ("uint64", ">i2")]
)
def test_classes_are_whole_numbers_whatever_kind_they_are(tmp_path: Path, kinds: tuple[str, str]):
    labels = {"y_train": WHICH[:40].astype(kinds[0]), "y_test": WHICH[40:].astype(kinds[1])}
    found = load(stored(tmp_path / "x.npz", x_train=NOISE[:40], x_test=NOISE[40:], **labels))
    assert (found.classes, found.test.labels.tolist()) == (("0", "1"), WHICH[40:].tolist())


def test_arrays_and_named_sets_are_brought_to_a_size_too(tmp_path: Path):
    path = stored(tmp_path / "x.npz", images=NOISE)
    assert load(path, size=24, channels=1).shape == (1, 24, 24)
    digits = load("digits", size=32, channels=3)
    assert (digits.name, digits.shape, digits.source) == ("digits-3x32x32", (3, 32, 32), "digits")
    assert load("digits", size=8).digest == load("digits").digest


# Python


def as_pil(index: int) -> Any:
    return Image.fromarray(NOISE[index])


MADE: dict[str, Callable[[], Any]] = {
    "PIL": lambda: [(as_pil(i), int(WHICH[i])) for i in range(60)],
    "arrays": lambda: [(NOISE[i], WHICH[i]) for i in range(60)],
    "floats": lambda: [((NOISE[i] / 255).astype(np.float32), str(WHICH[i])) for i in range(60)],
    "tensors": lambda: [(torch.from_numpy(NOISE[i].transpose(2, 0, 1).copy()), int(WHICH[i])) for i in range(60)],
    "a data set": lambda: TensorDataset(torch.from_numpy(NOISE.transpose(0, 3, 1, 2) / 255), torch.from_numpy(WHICH)),
}


@pytest.mark.parametrize("kind", MADE)
def test_any_sequence_is_the_same_set(tmp_path: Path, kind: str):
    wanted = load(stored(tmp_path / "x.npz", images=NOISE, labels=WHICH))
    found = package.load_images(MADE[kind]())
    assert found.digest == wanted.digest and found.classes == wanted.classes and found.source is None


def test_a_sequence_may_have_no_labels_and_a_test_split_of_its_own():
    found = package.images_from(list(GREY[:50]), list(GREY[50:]), name="mine", size=8)
    assert (found.name, found.shape, len(found.train), len(found.test)) == ("mine", (1, 8, 8), 50, 10)


@pytest.mark.parametrize("name", ["a/../b", "/a", "..", ".", "", "  ", "a\\b", "a\nb", "a\x1b[2J", "x" * 121, "\udcff"])
def test_a_name_is_one_part_of_a_path(name: Any):
    with pytest.raises(InputError, match="the name"):
        package.images_from(list(GREY), name=name)


def test_a_name_may_have_letters_of_any_script():
    assert package.images_from(list(GREY), name="Ziffern 数字").name == "Ziffern 数字"


def test_class_names_are_in_one_line_wherever_they_come_from(tmp_path: Path):
    labels = np.array(["", "a\nb", "\x1b[2J"])[np.arange(60) % 3]
    wanted = ("without a name", r"\x1b[2J", r"a\nb")
    found = package.load_images(stored(tmp_path / "x\\y.npz", images=GREY, labels=labels))
    assert (found.name, found.classes) == ("x_y", wanted)
    assert package.load_images(list(zip(GREY, labels, strict=True))).classes == wanted
    with pytest.raises(InputError, match="cannot be the name of a set"):
        package.Images("../x", found.train, found.test, ("a", "b", "c"))
    with pytest.raises(InputError, match="cannot be the name of a class"):
        package.Images("x", found.train, found.test, ("a", "b", "c\nd"))


def test_a_data_set_names_its_classes():
    class Named(TensorDataset):
        classes = ("cat", "dog", "none of these")

    data = Named(torch.from_numpy(GREY), torch.from_numpy(WHICH))
    assert package.load_images(data).classes == Named.classes


class Long:
    """A sequence of this length, or so it says."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        return GREY[index]


WRONG: dict[str, tuple[Any, str]] = {
    "a generator": ((x for x in NOISE), "wanted a sequence or map-style data set"),
    "a set": (set("ab"), "wanted a sequence"),
    "nothing": ([], "an empty list"),
    "a number": ([3, 4], "item 0 of the train images"),
    "a text": ([("cat.png", 0)], "item 0 of the train images is cat.png, a str: wanted an image; PIL.Image.open"),
    "a path": ([Path("cat.png")], "item 0 of the train images is cat.png, a PosixPath"),
    "no image": ([None], "item 0 of the train images is a NoneType: wanted an image"),
    "no image beside a label": ([(None, 1)], "item 0 of the train images is a NoneType: wanted an image"),
    "a dict": ([{"image": GREY[0], "label": 0}], "item 0 .* is a dict with 'image', 'label': wanted an image"),
    "a dict of arrays": ({"image": GREY}, "are a dict: wanted a sequence"),
    "all of Keras's": ((GREY, WHICH), r"a pair of arrays, of shapes \[60, 16, 16\] and \[60\]: .* list\(zip\(x, y\)\)"),
    "all of Keras's in colour": ([NOISE, WHICH[:, None]], r"a pair of arrays, .* and \[60, 1\]"),
    "what Keras returns": (
        ((NOISE, WHICH), (NOISE, WHICH)),
        r"item 0 .* all images and all labels: wanted images_from",
    ),
    "one-hot labels": ([(GREY[0], np.eye(3)[0])], r"label of shape \[3\]: .* int\(y.argmax\(\)\)"),
    "one-hot tensors": ([(NOISE[0].transpose(2, 0, 1), torch.eye(3)[0])], r"label of shape \[3\]: .*argmax"),
    "five dimensions": (
        [NOISE[0][None, None]],
        r"of shape \[1, 1, 16, 16, 3\]: wanted \[h, w\], \[h, w, channels\] or",
    ),
    "two channels": ([NOISE[0][..., :2]], r"of shape \[16, 16, 2\], of which neither the first nor the last"),
    "channels on both sides": ([NOISE[0][:3]], r"of shape \[3, 16, 3\], of which both the first and the last"),
    "no pixels": ([np.zeros((0, 8))], r"item 0 .* holds no images: it has the shape \[0, 8\]"),
    "uneven rows": ([([[1, 2], [3]], 0)], "a list of rows of several lengths"),
    "a sparse tensor": ([torch.eye(8).to_sparse()], r"a tensor that is torch.sparse_coo: .* x.to_dense\(\)"),
    "a tensor without values": ([torch.zeros(8, 8, device="meta")], "device meta, which has no values"),
    "a label without a value": ([(GREY[0], torch.zeros((), device="meta"))], "device meta, which has no values"),
    "a single number": (np.array(3), "without a length"),
    "a negative length": (Long(-1), "are a Long without a length"),
    "an endless length": (Long(2**70), "are a Long without a length"),
    "more than fits": (Long(2**50), "take .* GB"),
    "three parts": ([(GREY[0], 0, 1)], "has 3 parts"),
    "two shapes": ([GREY[0], GREY[0][:, :12]], "item 1 .* has the shape"),
    "some labels": ([(GREY[0], 0), GREY[1]], "1 of 2 train images have labels"),
    "a list for a label": ([(GREY[0], [0, 1])], "item 0 .* has a list as its label"),
    "NaN": ([np.full((8, 8), np.nan)], "item 0 .* NaN"),
    "an object": ([np.array(object())], "item 0"),
    "bytes": (b"abc", "wanted a sequence"),
    "one image": ([GREY[0]], "wanted some in both"),
    "None": (None, "wanted a sequence"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_sequence_of_images_is_refused(what: str):
    data, reason = WRONG[what]
    with pytest.raises(InputError, match=reason):
        package.load_images(data)


def test_images_alone_in_a_tuple_have_no_labels():
    alone = package.load_images(TensorDataset(torch.from_numpy(GREY)))
    assert alone.classes == ("image",) and alone.digest == package.load_images(list(GREY)).digest


def test_a_part_of_a_data_set_has_the_classes_of_the_whole():
    class Named(TensorDataset):
        classes = ("cat", "dog", "none of these")

    data = Named(torch.from_numpy(GREY), torch.from_numpy(WHICH))
    part = Subset(Subset(data, list(range(50))), list(range(40)))
    assert package.load_images(part).classes == Named.classes


@pytest.mark.parametrize("kind", ["bfloat16", "conjugated", "a transposed array"])
def test_tensors_of_odd_kinds_are_images(kind: str):
    unit = torch.from_numpy(GREY / 255)
    images = {
        "bfloat16": list(unit.bfloat16()),
        "conjugated": list(torch.complex(unit * 0, -unit).conj().imag),
        "a transposed array": [image.T.T for image in GREY],
    }[kind]
    found = package.images_from(images, images[:8])
    assert np.abs(found.train.images[:, 0].numpy().astype(int) - GREY).max() <= (1 if kind == "bfloat16" else 0)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")
def test_a_quantised_tensor_is_no_image_yet():
    with pytest.raises(InputError, match=r"that is quantised: .* x.dequantize\(\)"):
        package.load_images([torch.quantize_per_tensor(torch.eye(8), 0.1, 0, torch.quint8)])


def test_images_that_change_when_they_are_read_again_are_told_of(recwarn: pytest.WarningsRecorder):
    package.load_images(list(GREY))
    assert not recwarn
    chance = np.random.default_rng(0)

    class Flipped(Long):
        def __getitem__(self, index: int) -> np.ndarray:
            return GREY[index][:, :: chance.choice([-1, 1])]

    with pytest.warns(UserWarning, match="item . of the train images is another image when it is read again"):
        package.load_images(Flipped(60))


def test_a_sequence_is_trained_on(tmp_path: Path):
    run = package.train("vae", MADE["PIL"](), images=128, out=tmp_path / "run")
    assert run.config["shape"] == [3, 16, 16]


# The command line


def test_the_shape_is_kept_and_the_same_images_are_read_again(likelier: Likelier, photographs: Path):
    shape = ("--size", 12, "--channels", 1, "--fit", "pad")
    assert likelier("train", "vae", "--data", photographs, *shape, "--images", 256, "--out", "run", "-q").code == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["data_options"] == {"size": 12, "channels": 1, "fit": "pad"} and config["shape"] == [1, 12, 12]
    assert likelier("reconstruct", "run").code == 0
    config["data_options"]["progress"] = "print"
    Path("run/config.json").write_text(json.dumps(config))
    assert "wanted some of channels, fit, size" in likelier("reconstruct", "run").err


def test_a_size_is_no_matter_of_a_run(likelier: Likelier):
    assert "--size beside a run" in likelier("measure", "run", "--size", 32).err


def test_a_comparison_in_processes_reads_the_same_images(likelier: Likelier):
    shape = ("--size", 8, "--fit", "pad")  # what the digits are already, so that their frozen extractor is theirs
    command = ("compare", "vae", "gan", "--data", "digits", *shape, "--images", 256, "--jobs", 2, "--out", "both", "-q")
    done = likelier(*command)
    assert done.code == 0, done.err
    assert json.loads(Path("both/compare.json").read_text())["data_options"] == {"size": 8, "fit": "pad"}
    assert json.loads(Path("both/runs/gan-seed0/config.json").read_text())["data_options"] == {"size": 8, "fit": "pad"}
    assert "--data digits --size 8 --fit pad --images 256" in Path("both/report.html").read_text()
    assert likelier("compare", "--resume", "both", "-q").code == 0
    assert "--size beside --resume" in likelier("compare", "--resume", "both", "--size", 8).err


def test_show_counts_and_draws(likelier: Likelier, photographs: Path):
    done = likelier("data", "show", photographs, "--size", 16, "--out", "sheet.png", "--json", "-q")
    found = json.loads(done.out)
    assert {c["name"] for c in found["classes"]} == {"balls", "coast", "hills"}
    assert sum(c["train"] + c["test"] for c in found["classes"]) == 60
    images = load(photographs, size=16)
    x = images.train.images.double() / 255
    assert found["mean"] == pytest.approx(x.mean(dim=(0, 2, 3)).tolist(), abs=1e-4)
    assert found["std"] == pytest.approx(x.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-4)
    first = Path("sheet.png").read_bytes()
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 1200
    likelier("data", "show", photographs, "--size", 16, "--out", "sheet.png", "--seed", 1, "-q")
    assert Path("sheet.png").read_bytes() != first
    words = likelier("data", "show", photographs, "--size", 16, "-q").out
    assert "standard deviation" in words and "test images equal a training image" in words
    assert Path("contact-sheet.png").read_bytes() == first


KNOWN = {  # as every tutorial on these sets normalises them
    "mnist": ([0.1307], [0.3081]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_figures_of_published_sets_are_the_known_ones(name: str, data_root: Path):
    found = statistics(load(name, data_root))
    assert (found["mean"], found["std"]) == KNOWN[name]


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_three_pictures_are_trained_on_without_a_word(tmp_path: Path, family: str, recwarn: pytest.WarningsRecorder):
    """One of them is held out, and nothing varies over one image."""
    for index, split in enumerate(("train", "train", "test")):
        saved(tmp_path / "few" / split / f"{index}.png", NOISE[index])
    run = package.train(family, tmp_path / "few", images=64, out=tmp_path / "run", looks=2)
    assert run.done["status"] == "finished"
    assert not [w for w in recwarn if "degrees of freedom" in str(w.message)]
