"""The wheel: whole, and of use in an environment that is not the checkout's."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    return next(out.glob("likelier-*.whl"))


def test_the_wheel_holds_what_is_not_code_too(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {"py.typed", "report/template.html.j2", "report/report.css", "report/report.js"}
    assert {f"likelier/{name}" for name in data} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "docs")) for name in names)


def test_the_wheel_works_in_another_environment(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies are those of this environment; its own .pth files, the checkout's among them, are not read there.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    code = "import likelier, pathlib; print(pathlib.Path(likelier.__file__).parent)"
    where = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(where.stdout.strip()) == site / "likelier"
    compare = [python, "-m", "likelier", "compare", "vae", "gan", "--images", "256", "--out", "c", "-q"]
    done = subprocess.run(compare, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "report.html").stat().st_size > 50_000
    assert done.stdout.splitlines()[-1] == f"report: {(tmp_path / 'c' / 'report.html').resolve()}"


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["export"]]
    tested = (CHECKOUT / "constraints-oldest.txt").read_text().splitlines()
    wanted = {dependency.replace(">=", "==") for dependency in allowed if not dependency.startswith("torch>")}
    assert wanted <= set(tested)
