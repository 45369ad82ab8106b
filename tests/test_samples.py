"""Other programs' images: read whatever their layout, refused in one line, and judged as our own are."""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import likelier as package
from likelier.errors import InputError
from likelier.images import Images
from likelier.measuring import spread_warnings
from likelier.pictures import grid
from likelier.reference import Features, Reference
from likelier.samples import chosen, fresh_sets, read_samples

GREY, COLOUR = (1, 8, 8), (3, 8, 9)


@pytest.fixture(scope="module")
def digits() -> Images:
    return package.load_images("digits")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def folder_of(path: Path, images: torch.Tensor, suffix: str = ".png") -> Path:
    for i, image in enumerate(images):
        file = path / str(i % 3) / f"{i:05d}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file)
    return path


@pytest.mark.parametrize("layout", ["n h w", "n h w c", "n c h w", "floats", "npy"])
def test_every_usual_layout_of_an_array_is_read(layout: str, tmp_path: Path):
    c, h, w = shape = GREY if layout == "n h w" else COLOUR
    x = noise(5, c, h, w)
    stored = {"n h w": x[:, 0], "n h w c": x.transpose(0, 2, 3, 1), "floats": (x / 255).astype(np.float32)}.get(
        layout, x
    )
    path = tmp_path / ("x.npy" if layout == "npy" else "x.npz")
    if layout == "npy":
        np.save(path, stored)
    else:
        np.savez(path, images=stored, labels=np.zeros(5))
    assert np.array_equal(read_samples(path, shape).numpy(), x)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
def test_a_folder_of_pictures_is_read_in_the_order_of_names(suffix: str, tmp_path: Path):
    x = torch.from_numpy(noise(7, *COLOUR))
    if suffix == ".webp":  # lossy as Pillow writes it by default
        x = torch.full_like(x, 100)
    read = read_samples(folder_of(tmp_path / "x", x, suffix), COLOUR)
    order = sorted(range(7), key=lambda i: (str(i % 3), i))
    torch.testing.assert_close(read, x[order], atol=2 if suffix == ".webp" else 0, rtol=0)


def test_grey_pictures_saved_as_colour_are_read_as_grey(tmp_path: Path):
    x = torch.from_numpy(noise(3, *GREY))
    read = read_samples(folder_of(tmp_path / "x", x.expand(-1, 3, -1, -1)), GREY)
    assert torch.equal(read, x)


def test_jpegs_are_read_with_a_word(tmp_path: Path):
    x = torch.full((3, *GREY), 100, dtype=torch.uint8)
    with pytest.warns(UserWarning, match="JPEG"):
        assert len(read_samples(folder_of(tmp_path / "x", x, ".jpg"), GREY)) == 3


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (noise(5, 7, 8), "wanted"),
        (noise(5, 3, 8, 8), "wanted"),
        (noise(5, 1, 8, 8).astype(np.int64), "wanted uint8"),
        (noise(5, 1, 8, 8).astype(np.float32), "wanted uint8, or floats in"),
        (np.full((5, 8, 8), np.nan), "320 values of 320 that are NaN"),
        (noise(0, 8, 8), "wanted"),
        (np.array(["a", "b"]), "wanted"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array: np.ndarray, message: str, tmp_path: Path):
    np.savez(tmp_path / "x.npz", images=array)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "x.npz", GREY)


def test_files_that_hold_something_else_are_refused(tmp_path: Path):
    np.savez(tmp_path / "two.npz", a=noise(5, 8, 8), b=noise(5, 8, 8))
    np.savez(tmp_path / "pickled.npz", images=np.array([{"code": "run"}], dtype=object))
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04nonsense")
    (tmp_path / "x.txt").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "short.npz").write_bytes(b"PK nonsense")
    for name in ("two.npz", "pickled.npz", "noise.npz", "short.npz", "x.txt", "empty", "absent"):
        with pytest.raises(InputError) as refusal:
            read_samples(tmp_path / name, GREY)
        assert "allow_pickle" not in str(refusal.value)  # numpy's advice is to run what the file holds


def test_pictures_that_are_none_or_of_another_size_are_refused(tmp_path: Path):
    folder = folder_of(tmp_path / "x", torch.from_numpy(noise(2, 1, 9, 8)))
    with pytest.raises(InputError, match="8×9: wanted 8×8"):
        read_samples(folder, GREY)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(InputError, match="no picture that can be read"):
        read_samples(tmp_path / "y", GREY)


@pytest.mark.parametrize("kind", ["16 bits", "float", "transparent", "frames"])
def test_pictures_that_would_lose_something_are_refused(kind: str, tmp_path: Path):
    (tmp_path / "x").mkdir()
    file = tmp_path / "x" / "a.tif"
    if kind == "16 bits":
        Image.fromarray(noise(8, 8).astype(np.uint16) * 256).save(file)
    elif kind == "float":
        Image.fromarray((noise(8, 8) / 255).astype(np.float32)).save(file)
    elif kind == "transparent":
        Image.fromarray(noise(8, 8, 4), "RGBA").save(file)
    else:
        frames = [Image.fromarray(noise(8, 8)) for _ in range(3)]
        frames[0].save(file, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="opaque" if kind == "transparent" else "8-bit PNG"):
        read_samples(tmp_path / "x", GREY)


def test_opaque_pictures_with_an_alpha_channel_are_read(tmp_path: Path):
    (tmp_path / "x").mkdir()
    pixels = noise(8, 8, 4)
    pixels[..., 3] = 255
    Image.fromarray(pixels, "RGBA").save(tmp_path / "x" / "a.png")
    assert np.array_equal(read_samples(tmp_path / "x", (3, 8, 8))[0].numpy(), pixels[..., :3].transpose(2, 0, 1))


def test_harmed_array_files_are_refused(tmp_path: Path):
    np.save(tmp_path / "x.npy", noise(5, 8, 8))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:30] + b"{'descr': (" + whole[41:])
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("images", "no array")
    for name in ("cut.npy", "text.npz"):
        with pytest.raises(InputError):
            read_samples(tmp_path / name, GREY)


def test_sets_of_samples_are_disjoint_and_drawn_from_all_of_them():
    x = torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1)
    sets = [chosen(x, 30), *fresh_sets(x, 30, 5)]
    assert [len(found) for found in sets] == [30, 30, 30, 10], "what is left is a last one"
    assert len(set(torch.cat(sets).flatten().tolist())) == 100
    assert int(sets[0].max()) > 60


# On the command line


def test_samples_of_another_program_get_the_same_table(likelier, tmp_path: Path, digits: Images):
    folder = folder_of(tmp_path / "theirs", digits.test.images)
    np.savez(tmp_path / "theirs.npz", images=digits.test.images[:, 0].numpy())
    done = likelier("measure", folder, tmp_path / "theirs.npz", "--data", "digits", "--json", "--table", "figures.csv")
    assert done.code == 0, done.err
    by_path = json.loads(done.out)
    tables = [{m["key"]: m["value"] for m in result["measures"]} for result in by_path.values()]
    assert tables[0] == pytest.approx(tables[1])
    (first, _) = by_path.values()
    assert tables[0]["frechet_distance"] == pytest.approx(first["measures"][0]["floor"]["train–test"], rel=1e-6)
    assert all(m["name"].endswith("_train_n599_u8") for m in first["measures"])
    rows = list(csv.DictReader(io.StringIO(Path("figures.csv").read_text())))
    assert len(rows) == 2 * len(first["measures"])
    assert float(rows[0]["value"]) == tables[0]["frechet_distance"]


def test_copies_are_told_as_such(likelier, tmp_path: Path, digits: Images):
    np.savez(tmp_path / "copies.npz", images=digits.train.images[:599].numpy())
    done = likelier("measure", tmp_path / "copies.npz", "--data", "digits")
    assert done.code == 0
    assert "a model that copies wins no verdict" in done.err + done.out


def test_fewer_samples_are_measured_at_their_number_with_a_word(likelier, tmp_path: Path, digits: Images):
    np.savez(tmp_path / "few.npz", images=digits.test.images[:200].numpy())
    done = likelier("measure", tmp_path / "few.npz", "--data", "digits", "--json")
    assert done.code == 0
    assert "N = 200" in done.err
    (result,) = json.loads(done.out).values()
    assert result["conditions"]["n"] == 200
    assert result["warnings"] == []
    np.savez(tmp_path / "six.npz", images=digits.test.images[:6].numpy())
    done = likelier("measure", tmp_path / "six.npz", "--data", "digits")
    assert done.code == 0
    assert "6 samples of 64 features have a singular covariance" in done.err
    np.savez(tmp_path / "few.npz", images=digits.test.images[:5].numpy())
    assert likelier("measure", tmp_path / "few.npz", "--data", "digits").code == 2


def test_constant_and_diverged_samples_get_figures_or_a_reason(likelier, tmp_path: Path):
    np.savez(tmp_path / "grey.npz", images=np.full((599, 8, 8), 128, dtype=np.uint8))
    done = likelier("measure", tmp_path / "grey.npz", "--data", "digits", "--json")
    assert done.code == 0, done.err
    (result,) = json.loads(done.out).values()
    values = {m["key"]: m["value"] for m in result["measures"]}
    assert values["frechet_distance"] > 10
    assert values["recall"] == values["coverage"] == 0
    assert "all 599 samples are the same to digits-cnn" in result["warnings"][0]
    assert "from a single point" in done.err


def test_features_that_do_not_vary_are_counted(digits: Images):
    reference = Reference(digits)
    vectors = reference.train.vectors.clone()
    assert spread_warnings(reference, Features(vectors, None)) == []
    vectors[:, 3:5] = 0.25
    assert spread_warnings(reference, Features(vectors, None))[0].startswith("2 of 64 features are the same")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "nowhere", "--data", "digits"], "not there"),
        (["measure", "nowhere"], "is not there"),
        (["measure", "theirs"], "--data"),
        (["measure", "theirs", "--data", "digits", "--family", "vae"], "--family beside --data"),
        (["measure", "theirs", "--likelihood", "iwae", "--table", "x.csv"], "--table beside --likelihood"),
        (["measure", "theirs", "--data", "digits", "--table", "x.pdf"], ".csv or .tex"),
        (["measure", "theirs", "--data", "digits", "--extractor", "absent.onnx"], "cannot be read"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(arguments: list[str], message: str, likelier, digits: Images):
    folder_of(Path("theirs"), digits.test.images[:20])
    done = likelier(*arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_picture_of_many_samples_is_not_taken_for_samples(likelier, digits: Images):
    Path("grid").mkdir()
    Path("grid/samples.png").write_bytes(grid(digits.test.images[:64], 8))
    done = likelier("measure", "grid", "--data", "digits")
    assert done.code == 2
    assert "wanted 8×8" in done.err
