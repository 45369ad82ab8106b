"""The house: imports point one way, torch is not imported for --help, and every model names its source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import likelier
from likelier.family import names

ROOT = Path(likelier.__file__).parent

ROOMS = [  # from the ground up: a room may import from those above it in this list, and from its own line
    {"errors", "rng", "stopping", "threads"},
    {"files", "memory", "pictures", "workers"},
    {"fetching", "showing"},
    {"images", "distributions", "losses", "schedules"},
    {"nn", "adam", "arithmetic", "augmentation", "data", "metrics", "likelihood", "verdict", "texture"},
    {"family", "run", "features", "stability", "packing", "divergence"},
    {"tape", "collapse", "intervals"},
    {"claims"},
    {"adversarial"},
    {"families", "loop", "watch", "report", "describe", "reference", "samples", "looking"},
    {"rehearsal", "parent", "models", "weights"},
    {"experiment"},
    {
        "evidence",
        "codes",
        "modes",
        "atlas",
        "walks",
        "neighbourhood",
        "confusion",
        "portrait",
        "measuring",
        "estimating",
        "tables",
    },
    {"housekeeping"},
    {"exporting"},
    {"side_by_side"},
    {"comparison"},
    {"progress", "commands", "likelihood_command"},
    {"data_commands", "runs_commands"},
    {"cli"},
    {"__main__"},
]
FORBIDDEN = {  # stricter than the order: who must not know whom
    "families": {"loop", "tape", "run", "data", "watch", "experiment"},
    "metrics": {"images", "family", "nn", "run"},
    "likelihood": {"images", "family", "nn", "run", "data", "rng"},
    "claims": {"images", "family", "nn", "run"},
    "texture": {"images", "metrics"},
    "verdict": {"images", "distributions", "losses", "metrics"},
    "run": {"family", "nn", "images"},
    "loop": {"families", "data", "metrics", "measuring", "watch", "features"},
    "stability": {"images", "family", "nn", "run"},
    "report": {"family", "images", "metrics", "run"},
}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "likelier":
            parts = node.module.split(".")[1:]
            public = {alias.name: likelier._HOME.get(alias.name, alias.name).partition(":")[0] for alias in node.names}
            found |= {parts[0]} if parts else set(public.values())
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("likelier.")}
    return found


def sources() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path):
    level = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}
    room = room_of(path)
    assert room in level, f"{room} has no place in ROOMS yet: say what it may import"
    for other in imported_rooms(path) - {room}:
        assert level[other] <= level[room], f"{room} imports {other}, which stands above it"
        assert other not in FORBIDDEN.get(room, set()), f"{room} must not know {other}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_imports_the_global_generator_of_python(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "random" not in {alias.name for alias in node.names} | {getattr(node, "module", "")}


def test_rooms_on_one_level_do_not_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in sources():
        graph.setdefault(room_of(path), set()).update(imported_rooms(path) - {room_of(path)})
    done: set[str] = set()
    while remaining := [room for room in graph if room not in done]:
        free = [room for room in remaining if graph[room] & graph.keys() <= done]
        assert free, f"a circle among {remaining}"
        done |= set(free)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments: list[str]):
    code = "import sys\nfrom likelier.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
    code += "heavy = {'torch', 'numpy', 'sklearn', 'matplotlib', 'pydantic', 'rich', 'yaml'} & sys.modules.keys()\n"
    code += "sys.exit(f'imported {heavy}' if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "likelier" in done.stdout


def test_importing_the_report_is_light():
    code = (
        "import sys, likelier.report, likelier.stability; sys.exit(str({'torch', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("name", names())
def test_a_family_states_its_paper_and_tags_its_equations(name: str):
    text = (ROOT / "families" / f"{name}.py").read_text()
    theory = ast.get_docstring(ast.parse(text)) or ""
    assert re.search(r"(19|20)\d\d, arXiv \d{4}\.\d{4,5}", theory), "title, authors, year and arXiv id are wanted"
    assert re.search(r"\((\d+)[,)]", theory), "the objective is wanted, with the paper's number"
    assert re.search(r"# .*Eq\. \(\d+\)", text), "the line that computes an equation carries its number"


def test_the_package_is_lazy_and_complete():
    for name in likelier.__all__:
        assert getattr(likelier, name) is not None
    code = "import likelier, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        likelier.trian  # noqa: B018
