"""A model card: what a trained model is, how it was made, what it scored and what it is not fit for, in Markdown.

It is the README.md of a folder that can be published, for instance on the Hugging Face Hub, whose header it has. It
says only what the run says. What the run cannot know, the licence above all, is left to whoever publishes it.
"""

import inspect
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import yaml

from likelier import rng
from likelier.collapse import collapse_warnings
from likelier.describe import WORDS
from likelier.family import Bounds, Encodes, Family, configure, settings_of
from likelier.images import as_uint8
from likelier.measuring import read_measures
from likelier.pictures import grid
from likelier.run import Run

MODEL_FILE = "model.safetensors"
SHOWN = 64
LICENCE = "# license: state here under which licence you publish the weights; nothing was chosen for you\n"


def card_of(run: Run, model: Family) -> dict[str, bytes]:
    """README.md and samples.png of the model that a run trained."""
    images = model.sample(SHOWN, rng.generator(0, "sample"))
    finite = bool(images.isfinite().all())
    picture = as_uint8(images if finite else torch.zeros_like(images))
    scale = max(1, round(63 / (picture.shape[-1] + 1)))
    text = card_text(run, model, finite)
    return {"README.md": text.encode(errors="replace"), "samples.png": grid(picture, round(SHOWN**0.5), scale)}


def card_text(run: Run, model: Family, finite: bool = True) -> str:
    """The card."""
    result = read_measures(run.path)
    name = f"{run.config['family']} on {data_name(run)}"
    parts = [
        header(run, result),
        f"# {escaped(name)}\n",
        f"![{SHOWN} samples of {escaped(name)}, drawn with seed 0](samples.png)\n",
        f"{what_it_is(run, model)}\n",
        *section("Warnings", [f"- {escaped(each)}" for each in warnings_of(run, result, finite)]),
        *section("Intended use and limits", limits(run, model)),
        *section("Measures", measures(result)),
        *section("How it was trained", training(run, model)),
        *section("How to load it", [loading(run, model)]),
        *section("Citation", citation(model)),
    ]
    return "\n".join(parts)


def header(run: Run, result: Mapping[str, Any] | None) -> str:
    """The YAML that the Hugging Face Hub reads; measures stand in its model-index by their full names."""
    about: dict[str, Any] = {
        "library_name": "likelier",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["pytorch", "image-generation", run.config["family"]],
    }
    found = [
        {
            "type": m["key"],
            "name": m["name"],
            "value": m["value"],
            "args": {"unit": m["unit"], "better": m["better"], "floors": dict(m["floor"] or {})},
        }
        for m in (result or {"measures": []})["measures"]
        if m["value"] is not None
    ]
    if found:
        data = {"type": data_name(run), "name": data_name(run), "args": {"digest": run.environment["data_digest"]}}
        task = {"type": "unconditional-image-generation", "name": "unconditional image generation"}
        own = f"{run.config['family']}-{data_name(run)}"
        about["model-index"] = [{"name": own, "results": [{"task": task, "dataset": data, "metrics": found}]}]
    text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{LICENCE}{text}---\n"


def data_name(run: Run) -> str:
    """What the images are called; never where they lie."""
    config = run.config
    return str(config.get("data_name") or config["data"].rstrip("/").rpartition("/")[2])


def section(title: str, lines: Iterable[str]) -> list[str]:
    """A section, unless there is nothing in it."""
    text = "\n".join(lines)
    return [f"## {title}\n\n{text}\n"] if text else []


def escaped(text: object) -> str:
    r"""Text whose characters Markdown, or HTML in it, would take for its own; in one line.

    >>> print(escaped("a_b <script> | *c*"))
    a\_b \<script\> \| \*c\*
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(str(text).split()))


def what_it_is(run: Run, model: Family) -> str:
    """The model in some sentences."""
    c, h, w = model.shape
    module = inspect.getdoc(inspect.getmodule(type(model))) or ""
    first = module.partition("\n")[0]
    can = [words for word, words in WORDS.items() if isinstance(model, word)]
    known = run.config.get("classes") if model.classes else None
    classes = f" It is told of {model.classes} classes, and draws those that are asked for." if known else ""
    parameters = sum(p.numel() for p in model.parameters())
    return (
        f"{escaped(first)} It makes images of {h}×{w} with {c} channel{'s' * (c > 1)}, has {parameters:,} parameters, "
        f"and {'; '.join(can) or 'draws samples'}.{classes}"
    )


def warnings_of(run: Run, result: Mapping[str, Any] | None, finite: bool) -> list[str]:
    """What must be known before any figure: how the run ended, and what it may have collapsed into."""
    done, found = run.done, []
    if done is None:
        seen = run.state().scalars.get("images", 0)
        found.append(f"unfinished: this is the checkpoint at {seen:,} of {run.config['images']:,} images")
    elif done["status"] != "finished":
        found.append(f"{done['status']}: {done['message']}; these are the weights of its last good checkpoint")
    if not finite:
        found.append("its samples are not finite: the picture shows black in their place")
    said = result["warnings"] if result else collapse_warnings(run.metrics())
    found += [str(each) for each in said]
    drifted = ", ".join(str(change) for each in run.drift for change in each["changed"])
    return [*found, *([f"not bit for bit what its command gives: it went on though {drifted}"] if drifted else [])]


def limits(run: Run, model: Family) -> list[str]:
    """What it may be used for, as far as the kind of model and of evidence decide."""
    found = [
        "- For study, teaching and the comparison of methods. It is a small model, trained on one image set, of which "
        "it knows nothing beyond.",
        f"- It draws images as those of {escaped(data_name(run))} are. Whatever is uneven or missing there is so here, "
        "and images may resemble training images: see the measures of copying, if they were taken.",
        "- One training seed is one throw of the dice: the figures below say nothing of the method in general.",
    ]
    if not isinstance(model, Bounds):
        found.append("- It states no likelihood.")
    if not isinstance(model, Encodes):
        found.append("- It has no encoder: images have no codes, and cannot be reconstructed.")
    if isinstance(model, Bounds):
        found.append("- Its images are means, without the pixel noise that its likelihood assumes.")
    return found


def measures(result: Mapping[str, Any] | None) -> list[str]:
    """The table of measures with what real images score, and the conditions that are part of their names."""
    if result is None:
        return ["It was not measured: `likelier measure RUN` does it, and the card is then written again."]
    kinds = list(dict.fromkeys(kind for m in result["measures"] for kind in m["floor"] or {}))
    arrows = {"lower": " ↓", "higher": " ↑"}
    lines = [
        f"| measure | value | {''.join(f'{escaped(kind)} | ' for kind in kinds)}full name |",
        f"|---|---:|{'---:|' * len(kinds)}---|",
    ]
    for m in result["measures"]:
        if m["value"] is not None:
            floors = "".join(f"{figure((m['floor'] or {}).get(kind))} | " for kind in kinds)
            label = f"{m['label']}{arrows.get(m['better'], '')}" + (f" ({m['unit']})" if m["unit"] else "")
            lines.append(f"| {escaped(label)} | {figure(m['value'])} | {floors}`{code(m['name'])}` |")
    return [
        *lines,
        "",
        "The columns after the value are what real images, or an untrained encoder, score under the same conditions. A "
        "figure compares with another of the same full name only.",
    ]


def figure(value: float | None) -> str:
    """Four significant digits, or nothing."""
    return "" if value is None else f"{value:.4g}"


def code(text: object) -> str:
    """Text between backticks."""
    return " ".join(str(text).replace("`", "'").replace("|", "¦").split())


def training(run: Run, model: Family) -> list[str]:
    """Command, budget, machine and versions."""
    config, environment, done = run.config, run.environment, run.done
    packages = [name for name in ("likelier", "torch", "numpy", "python") if name in environment]
    seen, threads = done["images"] if done else run.state().scalars.get("images", 0), environment["threads"]
    lines = {
        "data": f"{escaped(data_name(run))}, sha256 of the images and labels `{code(environment['data_digest'])}`",
        "images seen": f"{seen:,} of {config['images']:,}",
        "seed": f"{config['seed']}",
        "seconds": f"{run.seconds():,.1f}",
        "device": escaped(f"{environment['device']} ({environment.get('device_name')}), {threads} threads"),
        "versions": escaped(", ".join(f"{name} {environment[name]}" for name in packages)),
        "commit": escaped(environment.get("commit") or ""),
        "settings": ", ".join(f"`{code(key)} = {code(value)}`" for key, value in config["settings"].items()),
        "augmented by": escaped(", ".join(map(str, config.get("augment") or ()))),
        "large products in": "bfloat16" if config.get("mixed_precision") else "",
        "begun from": escaped((config.get("parent") or {}).get("state") or ""),
    }
    listed = [f"- {key}: {value}" for key, value in lines.items() if value]
    return ["```bash", command_of(run, model), "```", "", *listed]


def command_of(run: Run, model: Family) -> str:
    """The command line that trains it again; of images that lie somewhere only their name is told."""
    config = run.config
    data = config["data"] if "/" not in config["data"] else data_name(run)
    words = ["likelier", "train", config["family"], "--data", data]
    words += [w for key, value in (config.get("data_options") or {}).items() for w in (f"--{key}", str(value))]
    words += ["--images", str(config["images"]), "--seed", str(config["seed"])]
    words += ["--augment", ",".join(map(str, config["augment"]))] if config.get("augment") else []
    words += ["--mixed-precision"] if config.get("mixed_precision") else []
    words += ["--init", "RUN"] if config.get("parent") else []
    usual = settings_of(configure(type(model), {}))
    changed = {key: value for key, value in config["settings"].items() if key not in usual or usual[key] != value}
    words += [w for key, value in changed.items() for w in ("--set", f"{key}={value}")]
    return re.sub(r"[\r\n]", " ", shlex.join(words))  # in one line, so that no backtick of it ends the block


def loading(run: Run, model: Family) -> str:
    """A few lines of Python, and what the model is given."""
    own = "" if type(model).__module__.startswith("likelier.") else f', family="{run.config["family"]}"'
    asked = f", torch.arange(16) % {model.classes}" if model.classes else ""
    made = f"# [16, {', '.join(map(str, model.shape))}] in [0, 1]"
    return f"""```python
import torch

import likelier

model = likelier.load("{MODEL_FILE}"{own})
images = model.sample(16, torch.Generator().manual_seed(0){asked})  {made}
```"""


def citation(model: Family) -> list[str]:
    """The paper that the family's module names first, and as BibTeX where it can be taken apart."""
    module = inspect.getdoc(inspect.getmodule(type(model))) or ""
    paper = next((" ".join(part.split()) for part in module.split("\n\n") if "arXiv" in part), None)
    if paper is None:
        return ["The module of the family names no paper."]
    apart = re.match(r"(?P<authors>[^:]+): (?P<title>.+), (?P<year>\d{4}), arXiv (?P<id>\d{4}\.\d{4,5})\.?$", paper)
    if apart is None:
        return [escaped(paper)]
    authors = apart["authors"].replace(", ", " and ")
    key = re.sub(r"\W", "", authors.partition(" and ")[0].split()[-1].lower()) + apart["year"]
    return [
        f"{escaped(paper)}\n",
        "```bibtex",
        f"@misc{{{key},",
        f"  title = {{{apart['title']}}},",
        f"  author = {{{authors}}},",
        f"  year = {{{apart['year']}}},",
        f"  eprint = {{{apart['id']}}},",
        "  archivePrefix = {arXiv}",
        "}",
        "```",
    ]
