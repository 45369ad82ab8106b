"""Named sets: where they are looked for, in which order, how they are verified, fetched and checked."""

import gzip
import hashlib
import http.server
import io
import json
import random
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likelier import data as likelier_data
from likelier import fetching
from likelier.data import UNVERIFIED, cifar10, find, idx, keras, load, verified
from likelier.data.catalogue import REMOTES
from likelier.data.places import TORCHVISION, cached, keras_folder
from likelier.data_commands import ACTIONS
from likelier.errors import InputError, nearest
from likelier.fetching import Remote
from likelier.progress import Terminal

Likelier = Callable[..., Any]
N = {"train": 40, "test": 20}


def content(*shape: int, seed: int = 0, first: int = 0, classes: int = 10) -> bytes:
    """An IDX file of noise, or of labels that go round."""
    n = int(np.prod(shape))
    raw = random.Random(seed).randbytes(n) if len(shape) == 3 else bytes(first + i % classes for i in range(n))
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + raw


def files_of(name: str, seed: int = 0) -> dict[str, bytes]:
    """Four files with the right structure for a named set."""
    published = idx.PUBLISHED[name]
    contents = []
    for n in N.values():
        labels = content(n, first=published.first, classes=len(published.classes))
        contents += [content(n, 28, 28, seed=seed + n), labels]
    return dict(zip(published.files, contents, strict=True))


def put(folder: Path, files: dict[str, bytes], gz: bool = True) -> dict[str, bytes]:
    """Write the files; what was written, by name."""
    folder.mkdir(parents=True)
    written = {f"{name}.gz" if gz else name: gzip.compress(c, mtime=0) if gz else c for name, c in files.items()}
    for name, c in written.items():
        (folder / name).write_bytes(c)
    return written


def remotes_of(written: dict[str, bytes], *folders: str) -> tuple[Remote, ...]:
    return tuple(
        Remote(name, hashlib.sha256(c).hexdigest(), len(c), tuple(f"{folder}/{name}" for folder in folders))
        for name, c in written.items()
    )


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found but what a test puts there."""
    (tmp_path / "work").mkdir()
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("LIKELIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


# Where


@pytest.mark.filterwarnings("ignore:.*no published sum")
@pytest.mark.parametrize("name", TORCHVISION)
def test_the_first_of_all_places_is_taken(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [
        (root / name, "the data root", root),
        (cached(name), "the cache", None),
        (root / TORCHVISION[name], "torchvision", root),
        (Path("data").resolve() / TORCHVISION[name], "torchvision", Path("data").resolve()),
        (keras_folder() / name, "Keras", None),
    ]
    monkeypatch.setitem(idx.PUBLISHED, name, replace(idx.PUBLISHED[name], sha256=()))
    for number, (place, whose, recorded) in reversed(list(enumerate(places))):
        put(place, files_of(name, seed=number), gz=bool(number % 2))
        found = find(name, root)
        assert (found.path, found.whose) == (place, whose)
        assert found.images.root == (None if recorded is None else str(recorded))
        assert load(name, found.images.root).digest == found.images.digest


def test_a_damaged_copy_is_not_passed_over(root: Path) -> None:
    put(cached("kmnist"), files_of("kmnist"))
    put(root / "kmnist", files_of("kmnist") | {idx.FILES[0]: b""})
    with pytest.raises(InputError, match=r"root/kmnist/train-images.*it is empty"):
        load("kmnist", root)


def test_an_empty_folder_is_passed_over(root: Path) -> None:
    (root / "kmnist").mkdir()
    put(cached("kmnist"), files_of("kmnist"))
    with pytest.warns(UserWarning, match="no published sum"):
        assert len(load("kmnist", root).train) == N["train"]


def test_the_folder_of_keras_is_in_the_home_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert keras_folder() == Path("/home/x/.keras/datasets")


@pytest.mark.parametrize("where", ["root", "root/cifar10", "data", "keras"])
@pytest.mark.parametrize("what", ["cifar-10-batches-py", "cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz"])
def test_pickled_caches_are_known_and_refused(where: str, what: str, root: Path) -> None:
    folders = {"data": Path("data"), "keras": keras_folder()}
    folder = folders.get(where, root.parent / where)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / what).write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    with pytest.raises(InputError, match=rf"{what} is the pickled version.*`likelier data fetch cifar10`"):
        load("cifar10", root)
    assert not Path("harmed").exists()


# What


def test_letters_are_turned_and_named(root: Path) -> None:
    files = files_of("emnist-letters")
    put(root / "emnist-letters", files)
    with pytest.warns(UserWarning, match="the content is not verified"):
        found = load("emnist-letters", root)
    stored = np.frombuffer(files[idx.LETTERS[0]][16:], np.uint8).reshape(-1, 28, 28)
    assert np.array_equal(found.train.images[:, 0].numpy(), stored.transpose(0, 2, 1))
    assert found.train.labels[:27].tolist() == [*range(26), 0]
    assert (found.classes[0], found.classes[-1], len(found.classes)) == ("A", "Z", 26)


@pytest.mark.parametrize("least", [0, 2])
def test_labels_outside_the_classes_are_refused(least: int, root: Path) -> None:
    wrong = {idx.LETTERS[1]: content(N["train"], first=least, classes=26)}
    put(root / "emnist-letters", files_of("emnist-letters") | wrong)
    with pytest.raises(InputError, match=rf"labels from {least} to {least + 25}, wanted 28×28 and 1 to 26"):
        load("emnist-letters", root)


def test_other_sizes_are_refused(root: Path) -> None:
    put(root / "kmnist", files_of("kmnist") | {idx.FILES[i]: content(n, 8, 8) for i, n in ((0, 40), (2, 20))})
    with pytest.raises(InputError, match="it has images of 8×8 pixels"):
        load("kmnist", root)


def test_files_as_published_are_verified_by_their_sums(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = put(root / "kmnist", files_of("kmnist"))
    assert not find("kmnist", root).verified
    monkeypatch.setitem(REMOTES, "kmnist", remotes_of(written))
    assert find("kmnist", root).verified
    packed = root / "kmnist" / f"{idx.FILES[0]}.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), compresslevel=1))
    assert not find("kmnist", root).verified


def emnist_archive(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """gzip.zip as NIST publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / idx.ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gzip/emnist-digits-train-images-idx3-ubyte.gz", b"others are not looked at")
        for name, c in files.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(c))
    return {idx.ARCHIVE: (folder / idx.ARCHIVE).read_bytes()}


def test_letters_are_read_out_of_the_archive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root.parent / "loose" / "emnist-letters", files_of("emnist-letters"))
    written = emnist_archive(root / "emnist-letters", files_of("emnist-letters"))
    monkeypatch.setitem(REMOTES, "emnist-letters", remotes_of(written))
    found, loose = find("emnist-letters", root), find("emnist-letters", root.parent / "loose")
    assert (found.verified, loose.verified) == (True, False)
    assert found.images.digest == loose.images.digest


def test_the_sum_of_an_archive_is_taken_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "SETTLED", -10.0)  # as if it had been here for longer
    written = emnist_archive(root / "emnist-letters", files_of("emnist-letters"))
    monkeypatch.setitem(REMOTES, "emnist-letters", remotes_of(written))
    sums: list[Path] = []
    monkeypatch.setattr(
        fetching, "sha256_of", lambda path: (sums.append(path), hashlib.sha256(path.read_bytes()))[1].hexdigest()
    )
    for _ in range(3):
        assert find("emnist-letters", root).verified
    assert sums == [root / "emnist-letters" / idx.ARCHIVE]
    with zipfile.ZipFile(sums[0], "a") as archive:
        archive.writestr("more", b"")
    assert not find("emnist-letters", root).verified


@pytest.mark.parametrize("loose", [4, 1])
def test_an_archive_that_is_not_read_verifies_nothing(loose: int, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of("emnist-letters")
    written = emnist_archive(root / "emnist-letters", files)
    monkeypatch.setitem(REMOTES, "emnist-letters", remotes_of(written))
    others = files_of("emnist-letters", seed=1)
    for name in idx.LETTERS[:loose]:
        (root / "emnist-letters" / name).write_bytes(others[name])
    assert not find("emnist-letters", root).verified


SOURCE = """
from likelier.data import digits
NAMES, ON_DISK = ("pebbles",), True
def is_here(name, folder):
    return folder.is_dir()
def load(name, folder):
    return digits.load("digits"), True
"""


def test_a_source_is_a_file(root: Path, likelier: Likelier, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "sources").mkdir()
    (root.parent / "sources" / "pebbles_of_a_test.py").write_text(SOURCE)
    monkeypatch.setattr(likelier_data, "__path__", [*likelier_data.__path__, str(root.parent / "sources")])
    (root / "pebbles").mkdir()
    assert find("pebbles", root).whose == "the data root"
    assert json.loads(likelier("data", "--data-root", root, "--json").out)["pebbles"]["verified"]
    assert likelier("data", "check", "pebbles", "--data-root", root).code == 0
    assert "no address of pebbles is known" in likelier("data", "fetch", "pebbles").err


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A small set published as mnist; its arrays as Keras calls them."""
    files = files_of("mnist")
    sums = tuple(hashlib.sha256(c).hexdigest() for c in files.values())
    monkeypatch.setitem(idx.PUBLISHED, "mnist", replace(idx.PUBLISHED["mnist"], sha256=sums))
    monkeypatch.setattr(keras, "SHAPES", ((40, 28, 28), (40,), (20, 28, 28), (20,)))
    put(cached("mnist"), files)
    raw = [np.frombuffer(c, np.uint8, offset=8 if len(c) < 100 else 16) for c in files.values()]
    return {k: r.reshape(s) for k, r, s in zip(keras.KEYS, raw, keras.SHAPES, strict=True)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mnist_of_keras_is_verified_as_the_idx_files(
    save: Callable[..., None], small_mnist: dict[str, np.ndarray]
) -> None:
    wanted = find("mnist").images.digest
    for path in cached("mnist").iterdir():
        path.unlink()
    keras_folder().mkdir(parents=True)
    save(keras_folder() / "mnist.npz", **small_mnist)
    found = find("mnist")
    assert (found.whose, found.verified, found.images.digest) == ("Keras", True, wanted)
    save(keras_folder() / "mnist.npz", **(small_mnist | {"y_test": small_mnist["y_test"][::-1].copy()}))
    with pytest.raises(InputError, match="is not mnist: its y_test holds other bytes than t10k-labels-idx1-ubyte"):
        find("mnist")


def test_the_real_mnist_of_keras_is_the_real_mnist(data_root: Path) -> None:
    images = load("mnist", data_root)
    keras_folder().mkdir(parents=True)
    splits = {"train": images.train, "test": images.test}
    arrays = {f"x_{name}": split.images[:, 0].numpy() for name, split in splits.items()}
    arrays |= {f"y_{name}": split.labels.to(torch.uint8).numpy() for name, split in splits.items()}
    np.savez(keras_folder() / "mnist.npz", **arrays)  # type: ignore[arg-type]
    found = find("mnist")
    assert (found.path, found.verified) == (keras_folder() / "mnist.npz", True)
    assert found.images.digest == images.digest


# The commands


@pytest.fixture
def emnist_mirror(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the standard library that has a small EMNIST, and a catalogue that names it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    there = root.parent / "mirror"
    written = emnist_archive(there, files_of("emnist-letters"))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(there))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setitem(REMOTES, "emnist-letters", remotes_of(written, f"{url}/moved", url))
        yield url
        server.shutdown()


def test_fetch_puts_a_set_where_every_command_finds_it(emnist_mirror: str, likelier: Likelier, root: Path) -> None:
    fetched = likelier("data", "fetch", "emnist-letters")
    assert (fetched.code, fetched.out.count("\n")) == (0, 1)
    assert "40 + 20 images of 1×28×28, 26 classes" in fetched.out
    assert "fetching gzip.zip: " in fetched.err
    assert UNVERIFIED not in fetched.out
    again = likelier("data", "fetch", "emnist-letters", "-q", "--json")
    assert "is here already: nothing was fetched" in again.err
    assert json.loads(again.out)["path"] == str(cached("emnist-letters"))
    assert likelier("data", "fetch", "emnist-letters", "--data-root", root).code == 0
    listed = json.loads(likelier("data", "--json").out)
    assert listed["emnist-letters"]["verified"]
    assert listed["emnist-letters"]["train"] == 40


def test_fetch_into_a_folder_of_ones_own(emnist_mirror: str, likelier: Likelier, root: Path) -> None:
    assert likelier("data", "fetch", "emnist-letters", "--data-root", root, "-q").code == 0
    assert find("emnist-letters", root).path == root / "emnist-letters"
    assert not cached("emnist-letters").exists()


def test_a_copy_elsewhere_is_none_in_the_folder_that_is_given(
    emnist_mirror: str, likelier: Likelier, root: Path
) -> None:
    assert likelier("data", "fetch", "emnist-letters", "-q").code == 0
    fetched = likelier("data", "fetch", "emnist-letters", "--data-root", root)
    assert fetched.code == 0
    assert "nothing was fetched" not in fetched.err
    assert (root / "emnist-letters" / idx.ARCHIVE).is_file()
    assert "nothing was fetched" in likelier("data", "fetch", "emnist-letters", "--data-root", root).err


def test_a_broken_copy_that_comes_first_is_named(
    emnist_mirror: str, likelier: Likelier, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKELIER_DATA", str(root))
    put(root / "emnist-letters", files_of("emnist-letters") | {idx.LETTERS[0]: b""})
    fetched = likelier("data", "fetch", "emnist-letters")
    assert (fetched.code, fetched.out) == (2, "")
    first, there = root / "emnist-letters", cached("emnist-letters")
    assert f"is fetched into {there}, but {first} comes first and is broken: move it away" in fetched.err
    into_it = likelier("data", "fetch", "emnist-letters", "--data-root", root)
    assert into_it.code == 2
    assert f"is fetched into {first}, but an older copy in it comes first and is broken" in into_it.err
    first.rename(root / "moved away")
    assert likelier("data", "fetch", "emnist-letters").code == 0


def test_a_copy_of_unknown_content_that_comes_first_is_told_of(
    emnist_mirror: str, likelier: Likelier, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKELIER_DATA", str(root))
    put(root / "emnist-letters", files_of("emnist-letters"))
    fetched = likelier("data", "fetch", "emnist-letters")
    assert fetched.code == 0
    assert f"but {root / 'emnist-letters'} comes first: move it away" in fetched.err
    assert UNVERIFIED in fetched.out


def test_fetch_says_whom_it_asks_and_why_another_one(emnist_mirror: str, likelier: Likelier) -> None:
    said = likelier("data", "fetch", "emnist-letters").err
    host = emnist_mirror.removeprefix("http://")
    assert said.startswith(f"fetching gzip.zip from {host} …\n{host} answers 404 (not found): {host} is asked next\n")


def test_an_interrupted_fetch_says_how_it_goes_on(
    emnist_mirror: str, likelier: Likelier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Terminal, "progress", interrupt)
    outcome = likelier("data", "fetch", "emnist-letters")
    assert outcome.code == 130
    assert outcome.err.endswith("likelier: interrupted; the same command goes on where it stopped\n")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["minst"], "did you mean 'mnist'?"),
        (["digits"], "digits comes with the package: there is nothing to fetch"),
        (["mnist", "--data-root", "nowhere"], "there is no folder nowhere"),
        ([], "NAME"),
    ],
)
def test_what_cannot_be_fetched(arguments: list[str], answer: str, likelier: Likelier) -> None:
    outcome = likelier("data", "fetch", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert answer in outcome.err


def test_check_reads_every_copy_and_fails_for_a_bad_one(likelier: Likelier, root: Path) -> None:
    put(root / "kmnist", files_of("kmnist"))
    put(cached("kmnist"), files_of("kmnist"))
    good = likelier("data", "check", "--data-root", root, "--json")
    assert good.code == 0
    assert [(c["whose"], c["usable"]) for c in json.loads(good.out)] == [("the data root", True), ("the cache", True)]
    assert UNVERIFIED in likelier("data", "check", "kmnist").out
    (cached("kmnist") / f"{idx.FILES[3]}.gz").write_bytes(b"")
    bad = likelier("data", "check", "kmnist", "--data-root", root)
    assert bad.code == 2
    assert bad.out.count("\n") == 2
    assert "1 of 2 copies cannot be used" in bad.err
    assert "data fetch mnist" in likelier("data", "check", "mnist").err
    assert likelier("data", "check", "minst").code == 2
    assert "digits comes with the package: there is nothing to check" in likelier("data", "check", "digits").err
    assert "did you mean 'mnist'" in likelier("data", "check", "minst").err
    Path("photos").mkdir()
    assert "wanted a named set, or a pack" in likelier("data", "check", "photos").err


def test_check_says_that_nothing_is_here(likelier: Likelier) -> None:
    assert "none of the sets is here: `likelier data fetch NAME`" in likelier("data", "check").out
    assert likelier("data", "check", "--json").out == "[]\n"


@pytest.mark.parametrize("arguments", [[], ["check"], ["fetch", "mnist"]])
def test_a_data_root_that_is_not_there_is_refused(
    arguments: list[str], likelier: Likelier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKELIER_DATA", "/nope")
    outcome = likelier("data", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "there is no folder /nope" in outcome.err


@pytest.mark.parametrize(("word", "meant"), [("chek", "check"), ("fetsh", "fetch"), ("Show", "show")])
@pytest.mark.parametrize("rest", [[], ["mnist"]])
def test_a_slip_in_an_action_is_answered_with_it(word: str, meant: str, rest: list[str], likelier: Likelier) -> None:
    outcome = likelier("data", word, *rest)
    assert outcome.code == 2
    assert f"there is no action '{word}': did you mean '{meant}'?" in outcome.err


def test_no_image_set_has_a_name_like_an_action() -> None:
    actions = [action for action in ACTIONS if action]
    assert [name for name in likelier_data.sources() if nearest(name, actions)] == []


def test_an_action_is_no_name_of_a_set_but_a_path_with_its_name_is(likelier: Likelier) -> None:
    Path("check").mkdir()
    assert "check holds no pictures" in likelier("data", "./check").err
    assert likelier("data", "describe", "digits").out == likelier("data", "digits").out


def test_every_named_set_can_be_fetched_by_https_or_by_its_sum() -> None:
    assert REMOTES.keys() == {*idx.NAMES, *cifar10.NAMES}
    for name, remotes in REMOTES.items():
        for remote in remotes:
            assert len(bytes.fromhex(remote.sha256)) == 32
            assert remote.mirrors
            secure = all(url.startswith("https://") for url in remote.mirrors)
            assert secure or name == "kmnist"


def test_what_the_archive_of_cifar10_may_hold_is_as_much_as_it_holds() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in cifar10.FILES:
            archive.addfile(tarfile.TarInfo(f"{cifar10.FOLDER}/{file}"))
    assert len(buffer.getvalue()) + 512 * len(cifar10.FILES) < cifar10.MORE
