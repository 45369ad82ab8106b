"""`likelier runs`: what is listed is what is there, and nothing goes that was not to go."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import likelier
from likelier import cli, housekeeping
from likelier.comparison import resume_comparison
from likelier.errors import InputError
from likelier.features import network
from likelier.files import locked, write_json
from likelier.housekeeping import Listed, listed, listed_in, remove, size_of, to_clean
from likelier.run import Run


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that have ended, and one that has only begun."""
    folder = tmp_path_factory.mktemp("trained")
    for seed in (0, 1):
        likelier.train("vae", images=256, seed=seed, out=folder / f"vae{seed}")
    likelier.train("gan", images=256, out=folder / "gan", begin_only=True)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """The same, to do with as one likes."""
    return shutil.copytree(trained, tmp_path, dirs_exist_ok=True)


def begin(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """A training in a process of its own, past its first lines."""
    command = [sys.executable, "-m", "likelier", "train", "vae", "--images", "1e9", "--out", str(out), "-q", *more]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_bytes().splitlines()) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_each_run_is_listed_as_it_stands(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "vae1" / "done").unlink()
    write_json(folder / "gan" / "config.json", {"format": 99})
    found = {run.path.name: run for run in listed_in(folder)}
    assert {name: run.standing for name, run in found.items()} == {
        "gan": "unreadable",
        "vae0": "finished",
        "vae1": "unfinished",
    }
    assert (found["vae0"].family, found["vae0"].data, found["vae0"].seed) == ("vae", "digits", 0)
    assert found["vae0"].images == found["vae0"].budget == 256
    assert found["vae0"].distance == Run.open(folder / "vae0").metrics()[-1]["fd"]
    assert not found["vae0"].measured
    assert cli.main(["runs", "list", str(folder)]) == 0
    told = lines(capsys)
    assert "format 99" in told[-2]
    assert cli.main(["runs", "list", str(folder), "--json"]) == 0
    assert [run["standing"] for run in json.loads(capsys.readouterr().out)] == ["unreadable", "finished", "unfinished"]


def test_a_measured_distance_takes_the_place_of_the_logged_one(folder: Path):
    result = likelier.measure(folder / "vae0")
    (wanted,) = (m["value"] for m in result["measures"] if m["key"] == "frechet_distance")
    found = listed(folder / "vae0")
    assert found.measured
    assert found.distance == wanted


def test_a_size_is_what_the_disk_says(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "inner" / "a", tmp_path / "b")  # the same file under a second name
    (tmp_path / "c").symlink_to(tmp_path / "inner")
    blocks = 512 * (tmp_path / "b").stat().st_blocks
    assert blocks <= size_of(tmp_path) <= blocks + 4096  # a link takes a block, or none


def run_of(name: str, distance: float | None, changed: float, **more: object) -> Listed:
    figure = None if distance is None else "fd_digits"
    made = {"standing": "finished", "family": "vae", "digest": "digits", "figure": figure, **more}
    return Listed(Path(name), distance=distance, changed=changed, **made)  # type: ignore[arg-type]


def test_the_last_and_the_best_stay():
    runs = [
        run_of("old-best", 1.0, 1),
        run_of("middle", 2.0, 2),
        run_of("new-worst", 3.0, 3),
        run_of("other-family", 9.0, 0, family="gan"),
        run_of("unmeasured", None, 0.5),
        run_of("unfinished", 5.0, 0, standing="unfinished"),
        run_of("running", 5.0, 0, standing="running"),
        run_of("in-comparison", 5.0, 0, comparison=Path("compare")),
    ]

    def gone(keep_last: int | None, keep_best: int | None) -> list[str]:
        return [run.path.name for run in to_clean(runs, keep_last, keep_best)]

    assert gone(1, None) == ["middle", "old-best", "unmeasured"]
    assert gone(None, 1) == ["middle", "new-worst"]  # what was not measured might be the best
    assert gone(1, 1) == ["middle"]
    assert gone(0, None) == ["middle", "new-worst", "old-best", "other-family", "unmeasured"]
    assert gone(9, None) == []


def test_only_figures_that_compare_are_ranked():
    runs = [
        run_of("near", 1.0, 1),
        run_of("far", 2.0, 2),
        run_of("other-images", 3.0, 3, digest="photos"),
        run_of("other-features", 4.0, 4, figure="fd_inception"),
    ]
    assert [run.path.name for run in to_clean(runs, None, 1)] == ["far"]
    assert [run.path.name for run in to_clean(runs, 1, None)] == ["far", "near"]


def test_nothing_goes_without_yes(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["runs", "clean", str(folder), "--keep-last", "1"]) == 0
    assert lines(capsys)[0].startswith("would go")
    assert sorted(p.name for p in folder.iterdir()) == ["gan", "vae0", "vae1"]
    assert cli.main(["runs", "clean", str(folder), "--keep-last", "1", "--yes"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["gan", "vae1"]


@pytest.mark.parametrize("standing", ["unfinished", "unreadable"])
def test_what_has_not_ended_goes_by_force_only(standing: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    if standing == "unreadable":
        (folder / "gan" / "config.json").write_text("[")
    assert "--force" in refused(capsys, "runs", "clean", str(folder / "vae0"), str(folder / "gan"), "--yes")
    assert (folder / "vae0").exists()  # all or none
    assert cli.main(["runs", "clean", str(folder / "gan"), "--force", "--yes"]) == 0
    assert not (folder / "gan").exists()


def test_a_run_is_seen_running_from_another_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    process = begin(tmp_path / "run")
    try:
        for _ in range(100):  # a look is in nobody's way for long
            assert listed(tmp_path / "run").standing == "running"
        assert "is being trained" in refused(capsys, "runs", "clean", str(tmp_path / "run"), "--yes")
        follower = subprocess.Popen(
            [sys.executable, "-m", "likelier", "runs", "show", str(tmp_path / "run"), "--follow", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(3)
        assert follower.poll() is None
    finally:
        process.kill()
        process.wait()
    out, told = follower.communicate(timeout=30)
    assert b"training run: 1,000,000,000 images" in told
    (found,) = json.loads(out)
    assert found["standing"] == "unfinished"
    assert 0 < found["images"] < found["budget"] == 1_000_000_000
    assert cli.main(["runs", "show", str(tmp_path / "run")]) == 0
    assert lines(capsys)[-1] == f"go on with: likelier train --resume {tmp_path / 'run'}"


def test_a_look_does_not_keep_a_run_from_beginning(folder: Path):
    looker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from likelier.housekeeping import listed\n"
            "print('ready', flush=True)\nwhile True: listed(Path(sys.argv[1]))",
            str(folder / "gan"),
        ],
        stdout=subprocess.PIPE,
    )
    assert looker.stdout is not None
    try:
        looker.stdout.readline()
        for _ in range(200):
            with Run.open(folder / "gan").writing():
                pass
    finally:
        looker.kill()
        looker.communicate()


def test_a_comparison_goes_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "both"
    likelier.compare(["vae", "gan"], images=256, out=out)
    assert "is part of the comparison" in refused(capsys, "runs", "clean", str(out / "runs" / "vae-seed0"), "--yes")
    assert cli.main(["runs", "clean", str(tmp_path), "--keep-last", "0", "--yes"]) == 0
    assert lines(capsys) == ["nothing to remove"]
    assert cli.main(["runs", "show", str(out)]) == 0
    assert sum("finished" in line for line in lines(capsys)) == 2
    (out / "report.html").unlink()
    assert "--force" in refused(capsys, "runs", "clean", str(out), "--yes")
    resume_comparison(out)
    assert cli.main(["runs", "clean", str(out), "--yes"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_somebodys_own_files_are_not_removed(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "vae0" / "thesis.txt").write_text("chapter 1")
    assert "thesis.txt" in refused(capsys, "runs", "clean", str(folder / "vae0"), "--yes", "--force")
    (folder / "vae0" / "thesis.txt").unlink()
    folders = "samples/more/0000000001.png", "runs/child/config.json"
    for name in ("state_of_my_thesis.txt", "samples/thesis.tex", *folders):
        own = folder / "vae0" / name
        own.parent.mkdir(exist_ok=True, parents=True)
        own.write_text("chapter 1")
        assert "is not likelier's" in refused(capsys, "runs", "clean", str(folder / "vae0"), "--yes", "--force"), name
        shutil.rmtree(own.parent) if own.parent.name in ("more", "child") else own.unlink()
    shutil.rmtree(folder / "vae0" / "runs")
    model = folder / "model"  # as other programs lay theirs out
    (model / "runs").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    assert "is not likelier's" in refused(capsys, "runs", "clean", str(model), "--yes", "--force")
    (folder / "link").symlink_to(folder / "vae1")
    assert "is a link" in refused(capsys, "runs", "clean", str(folder / "link"), "--yes")
    assert "is no run" in refused(capsys, "runs", "clean", str(folder), "--yes")
    assert (folder / "vae1" / "done").exists()


def test_everything_that_is_written_into_a_run_is_its_own(folder: Path):
    likelier.measure(folder / "vae0")
    likelier.estimate_likelihood(folder / "vae0", "elbo", numbers={"images": 8})
    out = folder / "both"
    likelier.compare(["vae"], images=256, out=out)
    for path in (folder / "vae0", folder / "gan", out):
        assert list(housekeeping.strangers_in(path)) == []


def test_a_removal_that_was_killed_is_finished_by_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(path: Path) -> None:
        (path / "vae0" / "config.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(housekeeping.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(folder / "vae0")
    assert [run.path.name for run in listed_in(folder)] == ["gan", "vae1"]  # no half of a run is left
    assert cli.main(["runs", "clean", str(folder / "vae1"), "--yes"]) == 0
    assert [p.name for p in folder.iterdir()] == ["gan"]


def test_names_from_strangers_do_not_steer_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "vae0").rename(folder / "a\x1b[2Jb")
    assert cli.main(["runs", "list", str(folder)]) == 0
    assert cli.main(["runs", "show", str(folder / "a\x1b[2Jb")]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no folder runs here" in refused(capsys, "runs")
    assert "is not there" in refused(capsys, "runs", "show", "nothing")
    assert "nothing is named" in refused(capsys, "runs", "clean")


def pictures(folder: Path, seed: int) -> Path:
    """Two classes of noise as PNG files."""
    noise = np.random.default_rng(seed).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    for index, each in enumerate(noise):
        path = folder / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(path)
    return folder


def test_images_that_have_moved_are_named_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = pictures(tmp_path / "photos", 0)
    likelier.train("vae", photos, images=256, out="run", begin_only=True)
    moved, others = photos.rename(tmp_path / "moved"), pictures(tmp_path / "others", 1)
    assert "name them with --data" in refused(capsys, "train", "--resume", "run", "-q")
    assert "has the digest" in refused(capsys, "train", "--resume", "run", "--data", str(others), "-q")
    assert cli.main(["train", "--resume", "run", "--data", str(moved), "-q"]) == 0
    capsys.readouterr()
    assert "name them with --data" in refused(capsys, "reconstruct", "run")
    assert cli.main(["reconstruct", "run", "--data", str(moved)]) == 0
    assert cli.main(["measure", "run", "--likelihood", "elbo", "--images", "4", "--data", str(moved), "-q"]) == 0
    assert likelier.resume("run", data=moved).done == Run.open("run").done


def test_a_comparison_goes_on_with_images_that_have_moved(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(network, "BUDGET", 4 * network.BATCH)  # of an extractor for these images
    photos, out = pictures(tmp_path / "photos", 0), tmp_path / "both"
    likelier.compare(["vae", "gan"], photos, images=256, out=out)
    for name in ("done", "state.safetensors", "measures.json"):
        (out / "runs" / "gan-seed0" / name).unlink()
    moved = photos.rename(tmp_path / "moved")
    assert cli.main(["compare", "--resume", str(out), "--data", str(moved), "--jobs", "2", "-q"]) == 0
    assert (out / "runs" / "gan-seed0" / "done").exists()


def test_a_run_that_is_come_to_by_two_ways_is_one(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.chdir(folder / "vae0")
    assert cli.main(["runs", "list", str(folder), "..", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert cli.main(["runs", "clean", str(folder), "..", "--keep-last", "2"]) == 0
    assert lines(capsys) == ["nothing to remove"]
    assert cli.main(["runs", "clean", ".", "../vae0", "--yes"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["gan", "vae1"]


def test_a_comparison_is_known_from_within_and_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    out = tmp_path / "both"
    likelier.compare(["vae", "gan"], images=256, out=out)
    (tmp_path / "link").symlink_to(out / "runs")
    monkeypatch.chdir(out / "runs" / "vae-seed0")
    for path in ("../gan-seed0", ".", str(tmp_path / "link" / "vae-seed0")):
        assert f"part of the comparison {out}" in refused(capsys, "runs", "clean", path, "--yes")
    for path in ("..", str(tmp_path / "link")):
        assert cli.main(["runs", "clean", path, "--keep-last", "0", "--yes"]) == 0
    with locked(out / ".lock", ""):
        assert "is in use" in refused(capsys, "runs", "clean", str(out), "--yes")
    taken = locked(out / "runs" / "gan-seed0" / ".lock", "")  # between the check and the removal
    with taken, pytest.raises(InputError, match="gan-seed0 is in use"):
        remove(out, listed_in(out))
    assert len(listed_in(out)) == 2


def test_a_run_within_a_run_is_listed(folder: Path):
    shutil.copytree(folder / "vae1", folder / "vae0" / "child")
    assert [run.path.name for run in listed_in(folder)] == ["gan", "vae0", "child", "vae1"]


def test_runs_that_vanish_or_lie_are_in_nobodys_way(folder: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    found = sorted(housekeeping.folders_of_runs(folder))
    shutil.rmtree(folder / "gan")
    monkeypatch.setattr(housekeeping, "folders_of_runs", lambda _: found)
    assert [run.path.name for run in listed_in(folder)] == ["vae0", "vae1"]
    (folder / "vae0" / "done").unlink()
    for lie in ('{"images": 1' + 400 * "0" + "}", "[" * 100_000, '{"images": true, "seconds": 1' + 400 * "0" + "}"):
        for name in ("metrics.jsonl", "timing.jsonl"):
            (folder / "vae0" / name).write_text(lie + "\n")
        assert cli.main(["runs", "list", str(folder)]) == 0
        assert cli.main(["runs", "show", str(folder / "vae0")]) in (0, 2)
    assert "vae1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["done", "metrics.jsonl", "config.json", "state.safetensors", "measures.json"])
def test_a_pipe_in_a_run_is_not_waited_for(name: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "vae0" / name).unlink(missing_ok=True)
    os.mkfifo(folder / "vae0" / name)
    path = str(folder / "vae0")
    for command in (["runs", "list", path], ["runs", "show", path], ["report", path, "--out", str(folder / "x.html")]):
        assert cli.main(command) in (0, 2)
    if name in ("config.json", "state.safetensors"):
        assert cli.main(["sample", path, "--out", str(folder / "x.png")]) == 2


def test_names_that_are_no_text_are_json_all_the_same(folder: Path, capsys: pytest.CaptureFixture[str]):
    name = os.fsdecode(b"x\xff")
    (folder / "vae0").rename(folder / name)
    assert cli.main(["runs", "list", str(folder / name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.encode())[0]["path"] == str(folder / name)
