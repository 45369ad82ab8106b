"""The notebooks run from the first cell to the last, in a kernel of their own, and show what they promise."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {
    "lab": ("Images: digits", "Run vae: vae on digits", "Run dcgan", "Comparison compared", "linear probe"),
    "my_own_images": ("Images: shapes", "Run vae", "Fréchet distance", "largest difference from PyTorch", "bibtex"),
    "adding_a_family": ("Run lsgan: my_models.lsgan on digits", "torch.Size([4, 1, 8, 8])", "Comparison compared"),
}
"""By notebook, what is to be read in its outputs."""
IMAGES = 1_000
"""The budget of each training here; readers train longer."""


def content_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_all_notebooks_are_looked_at():
    assert {path.stem for path in NOTEBOOKS} == SHOWN.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_kept_without_outputs_which_would_grow_stale(path: Path):
    cells = [cell for cell in content_of(path)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert path.stat().st_size < 30_000


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=() if p.stem == "adding_a_family" else pytest.mark.slow) for p in NOTEBOOKS],
)
def test_a_notebook_runs_and_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "TMPDIR"):
        (tmp_path / name.lower()).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    budgets = 0
    for cell in notebook.cells:
        cell.source, found = re.subn(r"^IMAGES = [\d_]+", f"IMAGES = {IMAGES}", cell.source, flags=re.MULTILINE)
        budgets += found
    assert budgets == 1
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "".join(
        output.get("text", "") + "".join(output.get("data", {}).get(kind, "") for kind in ("text/html", "text/plain"))
        for output in outputs
    )
    for words in SHOWN[path.stem]:
        assert words in said, words
    html = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(html) >= 2
    assert sum(map(len, html)) < 200_000 * len(html)


def test_the_notebook_on_families_has_the_file_and_the_test_of_contributing():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    model, test = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    cells = ["".join(cell["source"]) for cell in content_of(ROOT / "notebooks" / "adding_a_family.ipynb")["cells"]]
    assert f"%%writefile my_models/lsgan.py\n{model.strip()}" in cells
    assert any(cell.startswith(test.strip()) for cell in cells)
