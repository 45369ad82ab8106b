"""Memory: how much there is, and that what does not fit is refused before it is filled."""

import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likelier import memory
from likelier.data import load
from likelier.data.arrays import read_array
from likelier.data.picture import Options, adapted
from likelier.errors import InputError

NOISE = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)  # 46,080 bytes


def laid(system: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text(content + "\n")
    return system


GROUPS = {
    "no groups": ({}, None),
    "version 2, no limit": ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": "max"}, None),
    "version 2": ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": "1000"}, 1000),
    "version 2, above": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/b/memory.max": "max",
            "sys/fs/cgroup/a/memory.max": "2000",
        },
        2000,
    ),
    "version 2, in a container": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "3000"}, 3000),
    "version 1": (
        {"proc/self/cgroup": "5:cpu:/\n4:memory:/a", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4000"},
        4000,
    ),
    "version 1, with the path of the host": (
        {
            "proc/self/cgroup": "4:cpu,memory:/docker/x\n0::/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000",
        },
        5000,
    ),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_a_container_limits_the_memory(tmp_path: Path, kind: str):
    files, limit = GROUPS[kind]
    found = memory.memory(laid(tmp_path, files))
    assert found == limit if limit else found > 1 << 26


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_limits_the_memory(kind: str):
    code = f"import resource as r; from likelier.memory import memory; r.setrlimit(r.{kind}, (1 << 31,) * 2)"
    code += "; print(memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(min(1 << 31, memory.memory())), done.stderr
    assert resource.getrlimit(getattr(resource, kind))[0] != 1 << 31


def array_file(folder: Path) -> None:
    np.save(folder / "x.npy", NOISE)
    load(folder / "x.npy")


def enlarged_array(folder: Path) -> None:
    np.save(folder / "x.npy", NOISE[:, :8, :8, 0])  # 3,840 bytes
    load(folder / "x.npy", size=32)


def enlarged_set(folder: Path) -> None:
    load("digits", size=32)


def sequence(folder: Path) -> None:
    load(list(NOISE))


def pictures(folder: Path) -> None:
    for index, pixels in enumerate(NOISE):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    load(folder)


SETS: list[Callable[[Path], None]] = [array_file, enlarged_array, enlarged_set, sequence, pictures]


@pytest.mark.parametrize("make", SETS, ids=lambda make: make.__name__)
def test_what_takes_more_than_half_of_the_memory_is_refused(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
):
    make(tmp_path)
    monkeypatch.setattr(memory, "memory", lambda: 90_000)
    with pytest.raises(InputError, match=r"take .* GB, and half of the memory here is"):
        make(tmp_path)


def peak_of(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_an_array_is_in_memory_once_while_it_is_read(tmp_path: Path, ending: str):
    array = np.zeros((3_000, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", x=array)
    read_array(tmp_path / "x.npz", "x")  # what is imported on the way
    peak = peak_of(lambda: read_array(tmp_path / f"x.{ending}", "x" if ending == "npz" else ""))
    assert array.nbytes <= peak < 1.4 * array.nbytes


def test_images_that_get_another_shape_are_in_memory_once():
    wanted = 600 * 3 * 128 * 128
    small = np.zeros((600, 8, 8, 1), dtype=np.uint8)
    assert wanted <= peak_of(lambda: adapted(small, Options(size=128, channels=3))) < 1.2 * wanted


def test_adapted_images_stay_in_their_order():
    grey = adapted(NOISE, Options(channels=1))
    assert [grey[i, 0].tolist() for i in (0, 59)] == [
        np.asarray(Image.fromarray(NOISE[i]).convert("L")).tolist() for i in (0, 59)
    ]
