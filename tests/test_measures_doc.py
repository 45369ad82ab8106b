"""docs/measures.md: it names every measure and every field, its tables and pictures are those of the package."""

import contextlib
import importlib.util
import inspect
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import likelier
from likelier import metrics
from likelier.codes import CODE_MEASURES
from likelier.experiment import train
from likelier.features.store import index
from likelier.measuring import FORMAT, SAMPLE_MEASURES, Reference, measure, measure_images

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "measures.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((DOCS / "measures.schema.json").read_text(encoding="utf-8"))
MOST_BYTES = 600_000
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
KEYWORDS = {"type", "const", "enum", "required", "properties", "items", "additionalProperties", "minimum", "maximum"}
KEYWORDS |= {"pattern", "$ref", "if", "then", "else", "description", "$schema", "title", "$defs"}


def faults(value: Any, schema: dict[str, Any], at: str = "measures.json") -> Iterator[str]:
    """Where `value` is not what the schema says, as far as this schema goes; others are faults too."""
    assert schema.keys() <= KEYWORDS, f"the schema uses what is not checked here: {schema.keys() - KEYWORDS}"
    if "$ref" in schema:
        yield from faults(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], at)
    if "const" in schema and value != schema["const"]:
        yield f"{at} is {value!r}, not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, none of {schema['enum']}"
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if isinstance(value, bool) or not isinstance(value, tuple(t for name in names for t in TYPES[name])):
            yield f"{at} is {value!r}, wanted {' or '.join(names)}"
            return
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at} is {value}, out of range"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at} is {value!r}, wanted {schema['pattern']}"
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from faults(item, schema["items"], f"{at}[{i}]")
    if isinstance(value, dict):
        yield from faults_of_fields(value, schema, at)
    if "if" in schema:
        yield from faults(value, schema["else" if [*faults(value, schema["if"], at)] else "then"], at)


def faults_of_fields(value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{at} has no {name}" for name in schema.get("required", ()) if name not in value)
    for name, found in value.items():
        if name in known:
            yield from faults(found, known[name], f"{at}.{name}")
        elif others is not None:
            yield from faults(found, others, f"{at}.{name}")
        elif "required" in schema:
            yield f"{at} has {name}, which the schema does not name"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(likelier.load_images("digits"))


@pytest.fixture(scope="module")
def measured(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = train("vae", images=1_000, out=tmp_path_factory.mktemp("runs") / "vae")
    measure(run, reference=reference)
    found: dict[str, Any] = json.loads((run.path / "measures.json").read_text(encoding="utf-8"))
    return found


def test_what_measure_writes_is_what_the_schema_says(measured: dict[str, Any]):
    assert SCHEMA["properties"]["format"]["const"] == FORMAT
    assert [*faults(measured, SCHEMA)] == []


def test_images_of_other_programs_have_the_same_schema(reference: Reference):
    found = json.loads(json.dumps(measure_images(reference.held_out, reference)))
    assert [*faults(found, SCHEMA)] == []
    assert not {"stability", "sample_seed"} & (found.keys() | found["conditions"].keys())


@pytest.mark.parametrize(
    ("where", "broken"),
    [
        (("format",), 1),
        (("conditions", "n"), "599"),
        (("conditions", "stray"), 1),
        (("measures", 0, "value"), "low"),
        (("measures", 0, "better"), "up"),
        (("measures", 0, "why_not"), "a value and a reason"),
        (("measures", 0, "floor"), {"train–train": None}),
        (("stability", "fd_count"), None),
    ],
)
def test_the_check_finds_what_is_wrong(measured: dict[str, Any], where: tuple[Any, ...], broken: Any):
    copy = json.loads(json.dumps(measured))
    inner = copy
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = broken
    assert [*faults(copy, SCHEMA)]


def test_every_field_of_the_schema_is_explained():
    section = TEXT[TEXT.index("## 6.") :]
    objects = [SCHEMA, *SCHEMA["$defs"].values()]
    names = {name for each in objects for name in each.get("properties", {})}
    assert [name for name in sorted(names) if f"`{name}`" not in section] == []


@pytest.mark.parametrize("key", [*SAMPLE_MEASURES, *CODE_MEASURES])
def test_every_measure_is_explained(key: str):
    section = TEXT[TEXT.index("## 3.") : TEXT.index("## 4.")]
    assert f"`{key}`" in section


def test_every_short_name_is_told():
    for key, (name, *_) in SAMPLE_MEASURES.items():
        assert name == key or f"`{name}_…`" in TEXT, name


def test_every_metric_is_named():
    functions = [name for name in metrics.__all__ if not inspect.isclass(getattr(metrics, name))]
    assert [name for name in functions if not re.search(rf"`(likelier\.metrics\.)?{name}`", TEXT)] == []


def test_the_table_of_extractors_is_that_of_the_package():
    row = re.compile(r"^\| `([\w-]+)` \| (\d) \| `([\w-]+)` \| ([\d.]+)% \| `([0-9a-f]{16})…` \|$", re.MULTILINE)
    told = {(data, int(seed)): (name, accuracy, sha) for data, seed, name, accuracy, sha in row.findall(TEXT)}
    facts = {
        (each["name"], each["seed"]): (
            f"{each['name']}-{each['recipe']}-{each['sha256'][:6]}",
            f"{each['accuracy']:.2%}".rstrip("%"),
            each["sha256"][:16],
        )
        for each in index().values()
    }
    assert told == facts
    assert f"fd_{facts['mnist', 0][0]}_train_n10000_u8" in TEXT, "the example of a full name is a real one"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pictures", DOCS / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_there_and_shown():
    shown = re.findall(r"!\[[^\]]+\]\(images/measures/([\w-]+)\.png\)", TEXT)
    files = {path.stem: path for path in (DOCS / "images/measures").iterdir()}
    assert sorted(shown) == sorted(files) == sorted(script().PICTURES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.values())
    assert sum(path.stat().st_size for path in files.values()) < MOST_BYTES


def test_the_worked_example_is_judged_as_it_is_told():
    block, told = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", TEXT, re.DOTALL)[0]
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block, "docs/measures.md", "exec"), names)
    assert out.getvalue() == told
    assert (names["vae"], names["dcgan"]) == script().EXAMPLE, "the picture shows the same"


@pytest.mark.slow
def test_the_pictures_can_be_drawn_again(tmp_path: Path):
    pictures = script()
    for name in pictures.PICTURES:
        assert pictures.write(name, tmp_path).stat().st_size > 2_000
