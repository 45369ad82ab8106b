"""The command line. Nothing heavy is imported until a command needs it: `likelier --help` does not know torch."""

import argparse
import gc
import importlib.metadata
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from likelier.errors import InputError, in_one_line, nearest, printable, unknown
from likelier.files import yaml_of
from likelier.stopping import WORDS, listening

Options = argparse.Namespace

MOST_SEEDS, MOST_SAMPLES, MOST_JOBS = 1_000, 1_000_000, 1_000
"""More is a slip of the finger: it would take days, or all of the memory."""

OVERVIEW = """likelier trains VAEs, GANs and their hybrids under the same rules and shows which is better at what.

  likelier compare                              four families on the embedded digits, side by side
  likelier train vae --data mnist --epochs 20   one family, in a run directory
  likelier sample RUN -n 64 --out samples.png   what it makes
"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that name the nearest option or command."""

    otherwise: str | None = None
    """The action of a first word that names none: `likelier data mnist` is `likelier data describe mnist`."""

    in_files: tuple[str, ...] = ()
    """What only a configuration file can say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        raise InputError(f"{message}; `{self.prog} --help` says what is wanted")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but an unknown option is answered with the nearest known one."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [option for parser in self.active(options) for option in parser._option_string_actions]
            near = nearest(rest[0].partition("=")[0], known) if rest[0].startswith("--") else None
            guess = f"did you mean {near}? " if near else ""
            raise InputError(f"{rest[0]!r} is not known here: {guess}`likelier {options.command} --help` lists what is")
        return options

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse; a first word that names no action goes to the one that takes any."""
        if self.otherwise and isinstance(action, argparse._SubParsersAction) and arg_strings[0] not in action.choices:
            self.check_first_word(arg_strings[0], action)
            arg_strings = [self.otherwise, *arg_strings]
        return super()._get_values(action, arg_strings)

    def check_first_word(self, word: str, action: argparse.Action) -> None:
        """InputError if it is a slip of the finger for an action: no image set has a name so near to one."""
        near = nearest(word, action.choices or ())
        if near and os.sep not in word and not Path(word).exists():
            raise unknown("action", word, action.choices or (), f"`{self.prog} --help` tells what each does")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A choice that is none is answered with the nearest one; the only choice here is the command."""
        if action.choices is not None and value not in action.choices:
            raise unknown("command", value, action.choices, "`likelier --help` tells what each does")

    def active(self, options: Options) -> "list[Parser]":
        """This parser, and those of the command and the action that were given."""
        found = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and (name := getattr(options, action.dest)):
                found += action.choices[name].active(options)
        return found


def number(least: float, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """An argument type: a finite number from `least`, or above it, to `most`."""
    wanted = f"a number {'greater than' if above else 'of at least'} {least:g}{up_to(most)}"

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least < value if above else least <= value) or value > most or math.isinf(value):
            raise argparse.ArgumentTypeError(f"'{shortened(text)}': wanted {wanted}")
        return value

    return convert


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """An argument type: a whole number from `least` to `most`; 1e6 is one."""
    wanted = f"a whole number of at least {least}{up_to(most)}"

    def convert(text: str) -> int:
        try:
            value = int(text) if "e" not in text.lower() and "." not in text else exactly(float(text))
        except (ValueError, OverflowError):
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{shortened(text)}': wanted {wanted}")
        return value

    return convert


def exactly(value: float) -> int:
    """The whole number that a float is; ValueError if it is none."""
    if not value.is_integer():
        raise ValueError
    return int(value)


def up_to(most: float) -> str:
    """The upper end of a range in words."""
    return "" if math.isinf(most) else f", and at most {most:,.0f}"


def shortened(text: str) -> str:
    """At most 60 characters of what was given."""
    return text if len(text) <= 60 else f"{text[:57]}…"


def text(given: str) -> str:
    """An argument type: a name or a path, which is not empty."""
    if not given or "\0" in given:
        raise argparse.ArgumentTypeError(f"{given!r}: wanted a name or a path")
    return given


def listed(given: str) -> list[str]:
    """An argument type: names with commas between them."""
    return [name for part in given.split(",") if (name := part.strip())]


def setting(given: str) -> tuple[str, str]:
    """An argument type: name=value."""
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{shortened(given)}': wanted name=value")
    return name, value


def values(given: str) -> tuple[str, list[str]]:
    """An argument type: name=value,value."""
    name, _, found = given.partition("=")
    if not name or not listed(found):
        raise argparse.ArgumentTypeError(f"'{shortened(given)}': wanted name=value,value")
    return name, listed(found)


def build_parser() -> Parser:
    """All commands and their options."""
    parser = Parser(prog="likelier", description=OVERVIEW)
    common_options(parser)
    command = adder(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))

    compare = command("compare", "Train several families on the same data with the same budget, and write a report.")
    compare.add_argument("families", nargs="*", type=text, metavar="FAMILY", help="default: vae gan dcgan vae_gan")
    compare.add_argument("--seeds", type=whole(1, MOST_SEEDS), metavar="N", help="train each model with N seeds (1)")
    compare.add_argument(
        "--sweep",
        type=values,
        action="append",
        metavar="NAME=VALUE,…",
        help="a model of each value of a setting; all combinations, if given several times",
    )
    compare.add_argument(
        "--jobs", type=whole(1, MOST_JOBS), metavar="N", help="runs trained at the same time (a core each)"
    )
    training_options(compare)
    judging_options(compare)
    compare.in_files = ("models",)

    train = command("train", "Train one family in a run directory, or go on with an interrupted run.")
    train.add_argument("family", nargs="?", type=text, metavar="FAMILY", help="`likelier families` lists them (vae)")
    train.add_argument("--checkpoint-seconds", type=number(0), metavar="S", help="between checkpoints (60)")
    train.add_argument(
        "--init",
        type=text,
        metavar="RUN",
        help="begin with the weights of RUN; its settings and data are the default",
    )
    train.add_argument("--looks", type=whole(2, 10_000), metavar="N", help="pictures and held-out scalars (16 times)")
    train.add_argument(
        "--tensorboard", action="store_true", help="write events into the run as it goes; `tensorboard --logdir runs`"
    )
    training_options(train)

    measure = command("measure", "Measure trained runs, or images that another program made, beside their floors.")
    measure.add_argument(
        "runs", nargs="+", type=text, metavar="RUN", help="or, with --data, a folder of pictures, an .npz or .npy"
    )
    measure.add_argument(
        "--data",
        type=text,
        metavar="NAME|PATH",
        help="what other programs' images are held against; of a run, where its images are now",
    )
    shape_options(measure)
    measure.add_argument(
        "--only",
        type=listed,
        metavar="NAME,…",
        help="these measures, as fd,kid,prdc, in a fraction of the time; nothing is written into the run",
    )
    judging_options(measure)
    run_options(measure)
    data_root_option(measure)
    likelihood_options(measure)

    sample = command("sample", "Draw images from a trained run, as one picture or as an array.")
    sample.add_argument("run", type=text, metavar="RUN")
    sample.add_argument("-n", "--number", type=whole(1, MOST_SAMPLES), metavar="N", help="how many (64)")
    sample.add_argument("--seed", type=whole(0), metavar="N", help="of the noise (0)")
    sample.add_argument(
        "--label",
        type=listed,
        metavar="CLASS,…",
        help="of these classes in turn, by name or number, if it was trained with --set classes=N",
    )
    sample.add_argument(
        "--out", type=text, metavar="FILE", help="FILE.png, or FILE.npz with uint8 `images` (samples.png)"
    )
    run_options(sample)

    reconstruct = command("reconstruct", "Show test images above what a trained run makes of their codes.")
    reconstruct.add_argument("run", type=text, metavar="RUN")
    reconstruct.add_argument("-n", "--number", type=whole(1), metavar="N", help="how many images (16)")
    reconstruct.add_argument("--out", type=text, metavar="FILE", help="FILE.png (reconstructions.png)")
    run_options(reconstruct)
    reconstruct.add_argument("--data", type=text, metavar="NAME|PATH", help="where the run's images are, if they moved")
    data_root_option(reconstruct)

    export = command("export", "Write a trained run in a format of others: a model card, ONNX, weights, TensorBoard.")
    export.add_argument("run", type=text, metavar="RUN")
    export.add_argument(
        "--format",
        type=text,
        metavar="NAME",
        help="card: README.md, samples and weights to publish; onnx: decoder, encoder and score, checked against "
        "PyTorch; safetensors: the weights, for likelier.load; tensorboard: the log as events (card)",
    )
    export.add_argument("--out", type=text, metavar="PATH", help="the folder, or the .safetensors file (RUN-FORMAT)")
    export.add_argument("--overwrite", action="store_true", help="replace a former export that is there")
    run_options(export)

    report = command("report", "Write one HTML page that shows trained runs side by side.")
    report.add_argument("runs", nargs="+", type=text, metavar="RUN")
    report.add_argument("--out", type=text, metavar="FILE", help="FILE.html (report.html)")

    data = command("data", "List the image sets, or do something with one: `likelier data mnist` describes mnist.")
    data.add_argument("--data-root", type=text, metavar="DIR", help="where the named sets are (LIKELIER_DATA)")
    data_actions(data)

    runs = command("runs", "List trained runs, show one of them, or remove some.")
    runs_actions(runs)

    families = command("families", "List the families, or describe one: its paper, its players, its settings.")
    families.add_argument("family", nargs="?", type=text, metavar="FAMILY")
    return parser


def adder(group: "argparse._SubParsersAction[Parser]") -> Callable[[str, str], Parser]:
    """A function that adds a command, or an action of one, by its name and what it does."""

    def add(name: str, summary: str) -> Parser:
        found = group.add_parser(name, help=summary, description=summary)
        common_options(found)
        return found

    return add


def data_actions(data: Parser) -> None:
    """What `likelier data` does besides listing; each action has its function in data_commands.py."""
    action = adder(data.add_subparsers(dest="action", metavar="ACTION|NAME|PATH", required=False))
    data.otherwise = "describe"

    describe = action("describe", "Describe one set in figures.")
    data_options(describe)

    show = action("show", "Write a contact sheet of one set, and tell its counts, intensities and duplicates.")
    data_options(show)
    show.add_argument("--out", type=text, metavar="FILE", help="FILE.png (contact-sheet.png)")
    show.add_argument("--seed", type=whole(0), metavar="N", help="which images are shown (0)")

    pack = action("pack", "Write one set into a folder that is trained from without being held in memory.")
    data_options(pack)
    pack.add_argument("--out", type=text, metavar="DIR", help="the folder to make, or to go on with (NAME-packed)")
    pack.add_argument("--jobs", type=whole(1, MOST_JOBS), metavar="N", help="processes that decode (a core each)")

    fetch = action("fetch", "Download a named set, verify it, and keep it where every command finds it.")
    fetch.add_argument("data", type=text, metavar="NAME")
    fetch.add_argument("--data-root", type=text, metavar="DIR", help="put it into DIR/NAME (the cache)")

    check = action("check", "Verify every copy of the named sets that is here, or of one of them, or a packed set.")
    check.add_argument("data", nargs="?", type=text, metavar="NAME|PACK")
    check.add_argument("--data-root", type=text, metavar="DIR", help="where the named sets are (LIKELIER_DATA)")


def runs_actions(runs: Parser) -> None:
    """What `likelier runs` does; each action has its function in runs_commands.py."""
    action = adder(runs.add_subparsers(dest="action", metavar="ACTION|FOLDER", required=False))
    runs.otherwise = "list"

    listing = action("list", "List the runs in folders: how each stands, its size, its last figure.")
    listing.add_argument("folders", nargs="*", type=text, metavar="FOLDER", help="default: runs")

    show = action("show", "Show one run, or the runs of a comparison.")
    show.add_argument("run", type=text, metavar="RUN")
    show.add_argument("--follow", action="store_true", help="show how it gets on until it ends")

    clean = action("clean", "Say which runs would be removed, and with --yes remove them.")
    clean.add_argument(
        "folders", nargs="*", type=text, metavar="RUN|FOLDER", help="runs or comparisons; with --keep-…, where runs are"
    )
    clean.add_argument(
        "--keep-last", type=whole(0), metavar="N", help="of each family and data, all but the N that ended last go"
    )
    clean.add_argument(
        "--keep-best", type=whole(0), metavar="N", help="all but the N of the least Fréchet distance; unmeasured stay"
    )
    clean.add_argument("--force", action="store_true", help="what is unfinished, running or unreadable, too")
    clean.add_argument("--yes", action="store_true", help="remove")


def data_options(parser: Parser) -> None:
    """One image set, and how its images are to be."""
    parser.add_argument("data", type=text, metavar="NAME|PATH")
    parser.add_argument("--data-root", type=text, metavar="DIR", help="where the named sets are (LIKELIER_DATA)")
    shape_options(parser)


def shape_options(parser: Parser) -> None:
    """What shape the images of --data get."""
    parser.add_argument(
        "--size", type=whole(8, 128), metavar="N", help="the side that all images get, 8 to 128 (as they are)"
    )
    parser.add_argument("--channels", type=whole(1, 3), metavar="1|3", help="grey or RGB (as they are)")
    parser.add_argument(
        "--fit", type=text, metavar="crop|pad", help="cut images that are not square, or set them into black (crop)"
    )


def common_options(parser: Parser) -> None:
    """What stands before the command or after it."""
    version = f"likelier {importlib.metadata.version('likelier')}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.add_argument(
        "--config", type=text, metavar="FILE", help="options from a YAML or JSON file; the command line wins"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")


def training_options(parser: Parser) -> None:
    """What every command that trains takes."""
    parser.add_argument(
        "--data",
        type=text,
        metavar="NAME|PATH",
        help="a set that `likelier data` lists, or your own: a folder of pictures, an .npz or .npy (digits)",
    )
    parser.add_argument("--data-root", type=text, metavar="DIR", help="where the named sets are (LIKELIER_DATA)")
    shape_options(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=number(0, 1e6, above=True), metavar="N", help="5, and 300,000 images at least")
    budget.add_argument("--images", type=whole(1, 1e12), metavar="N", help="the budget in training images")
    budget.add_argument(
        "--minutes", type=number(0, 1e6, above=True), metavar="M", help="as many images as M minutes take"
    )
    parser.add_argument("--seed", type=whole(0), metavar="N", help="fixes everything that is random (0)")
    parser.add_argument("--out", type=text, metavar="DIR", help="the folder to make (in runs/)")
    parser.add_argument("--device", type=text, metavar="NAME", help="auto, cpu, cuda or mps (auto)")
    parser.add_argument(
        "--set", type=setting, action="append", metavar="NAME=VALUE", dest="settings", help="a setting of the family"
    )
    parser.add_argument(
        "--augment", type=listed, metavar="KIND,…", help="change training images each time: shift, flip (not at all)"
    )
    parser.add_argument("--mixed-precision", action="store_true", help="large products in bfloat16 (all in float32)")
    parser.add_argument("--resume", type=text, metavar="DIR", help="go on with what was begun in DIR")
    parser.add_argument(
        "--allow-drift", action="store_true", help="go on with --resume though versions or settings have changed"
    )


def judging_options(parser: Parser) -> None:
    """What every command that measures takes."""
    parser.add_argument(
        "--extractor",
        type=text,
        metavar="FILE.onnx",
        help="take features with this network (the data's own)",
    )
    parser.add_argument("--table", type=text, metavar="FILE", help="all figures in FILE.csv, or a table in FILE.tex")


def run_options(parser: Parser) -> None:
    """What every command that opens a run takes."""
    parser.add_argument(
        "--family", type=text, metavar="MODULE", help="the dotted path of the run's family, if not likelier's own"
    )


def data_root_option(parser: Parser) -> None:
    """Where the named sets are, for commands that open a run and need its images."""
    parser.add_argument("--data-root", type=text, metavar="DIR", help="where the named sets are, if they have moved")


def likelihood_options(parser: Parser) -> None:
    """The likelihood in place of the other measures."""
    group = parser.add_argument_group("likelihood, in nats per image, in place of the other measures")
    group.add_argument("--likelihood", type=text, metavar="ESTIMATOR", help="ais for any decoder, iwae or elbo")
    group.add_argument(
        "--full", action="store_true", help="ais: 16 chains, 10,000 distributions, 10 leapfrogs, 1,000 images"
    )
    group.add_argument("--images", type=whole(2, 1e6), metavar="N", help="test images (ais 100, iwae and elbo 1,000)")
    group.add_argument("--chains", type=whole(1, 1e4), metavar="N", help="ais: chains for each image (4)")
    group.add_argument("--distributions", type=whole(2, 1e7), metavar="N", help="ais: from prior to posterior (1,000)")
    group.add_argument("--leapfrogs", type=whole(1, 1e4), metavar="N", help="ais: steps of one HMC move (5)")
    group.add_argument("--samples", type=whole(1, 1e6), metavar="K", help="iwae: draws for each image (100)")
    group.add_argument("--observation", type=text, metavar="NAME", help="gaussian, bernoulli or own (gaussian)")
    group.add_argument(
        "--variance", type=number(1e-6, 1e6), metavar="V", help="of the Gaussian (tuned on the other test images)"
    )
    group.add_argument("--device", type=text, metavar="NAME", help="auto, cpu or cuda (auto)")


def read_config(parser: Parser, path: Path) -> dict[str, Any]:
    """The options in --config FILE, checked as those of the command line are."""
    try:
        found = yaml_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not YAML or JSON: {reason}") from None
    if not isinstance(found, dict):
        raise InputError(
            f"{path} holds {kind_of(found)}: wanted names of options with their values, as in `epochs: 20`"
        )
    actions = {
        spelling(a): a
        for a in parser._actions
        if (a.option_strings or a.nargs in ("?", "*")) and a.dest not in ("help", "version", "config")
    }
    options: dict[str, Any] = {}
    for key, value in found.items():
        name = str(key).replace("_", "-")
        if name in parser.in_files:
            options[name] = models_in(path, value)
            continue
        if name not in actions:
            raise unknown("option", str(key), [*actions, *parser.in_files], f"that is what {path} sets")
        options[actions[name].dest] = configured(path, actions[name], name, value)
    return options


def spelling(action: argparse.Action) -> str:
    """How a configuration file calls an option: by its long name without the dashes."""
    return action.option_strings[-1].lstrip("-") if action.option_strings else action.dest


def kind_of(value: Any) -> str:
    """What a YAML value is, in words."""
    words = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing", bool: "true or false"}
    words |= {int: "a number", float: "a number"}
    return words.get(type(value), f"a {type(value).__name__}")


def configured(path: Path, action: argparse.Action, name: str, value: Any) -> Any:
    """One value of a configuration file, converted as its option would be."""
    if action.dest == "settings":
        return flat_settings(path, value)
    if action.dest == "sweep":
        return swept_in(path, value)
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"{path}: {name} is {kind_of(value)}: wanted true or false")
        return value
    if action.nargs == "*":
        return [converted(path, action, name, each) for each in (value if isinstance(value, list) else [value])]
    if action.type is listed and isinstance(value, list):
        value = ",".join(map(str, value))
    return converted(path, action, name, value)


def converted(path: Path, action: argparse.Action, name: str, value: Any) -> Any:
    """One scalar of a configuration file."""
    assert callable(action.type)
    if action.type is text and not isinstance(value, str):
        raise InputError(f"{path}: {name} is {kind_of(value)}: wanted a text; a number goes in quotes")
    if action.dest in ("family", "families") and "." in value:
        raise InputError(f"{path} names the code {value}: a file may not, give it on the command line")
    try:
        return action.type(str(value))
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{path}: {name} = {error}") from None


def models_in(path: Path, models: Any) -> dict[str, dict[str, Any]]:
    """`models` of a configuration file: by name, a family that comes with likelier, and settings of it."""
    if not isinstance(models, dict):
        raise InputError(f"{path}: models is {kind_of(models)}: wanted names, each with a family and settings")
    for name, model in models.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: the name of a model is {kind_of(name)}: wanted a text; a number goes in quotes")
        if not isinstance(model, dict):
            raise InputError(f"{path}: the model {name} is {kind_of(model)}: wanted a family and settings")
        if "." in str(model.get("family")):
            raise InputError(f"{path} names the code {model['family']}: a file may not, list the models in Python")
    return models


def swept_in(path: Path, sweep: Any) -> dict[str, Any]:
    """`sweep` of a configuration file, as `set` there; a list of values in place of each."""
    flat = flat_settings(path, sweep, "sweep", "beta: [0.5, 1]")
    for name, found in flat.items():
        if not isinstance(found, list):
            raise InputError(f"{path}: the sweep of {name} is {kind_of(found)}: wanted a list of values")
    return flat


def merged(parser: Parser, options: Options) -> dict[str, Any]:
    """The options of the command: those of --config, and over them those of the command line."""
    given = {name: value for name, value in vars(options).items() if name not in ("command", "action", "config")}
    if given.get("families") == []:
        del given["families"]
    if "settings" in given:
        given["settings"] = dict(given["settings"])
    if "sweep" in given:
        given["sweep"] = each_once(given["sweep"])
    if not hasattr(options, "config"):
        return given
    found = read_config(parser, Path(options.config))
    budgets = {"epochs", "images", "minutes"}
    if budgets & given.keys():
        found = {name: value for name, value in found.items() if name not in budgets}
    if "families" in given:
        found.pop("models", None)
    for several in ("settings", "sweep"):
        if several in found and several in given:
            # Later settings win, so those of the file come first, and none of them twice.
            first = {name: value for name, value in found[several].items() if name not in given[several]}
            given[several] = first | given[several]
    return found | given


def each_once(sweep: Sequence[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """The values by setting; InputError for one that is swept twice, as the first values would be lost."""
    found = dict(sweep)
    if len(found) < len(sweep):
        twice = next(name for name, values in sweep if values is not found[name])
        raise InputError(f"--sweep {shortened(twice)} is given twice: wanted all of its values in one, with commas")
    return found


def flat_settings(path: Path, settings: Any, option: str = "set", example: str = "latent: 2") -> dict[str, Any]:
    """`set` of a configuration file, those of one family nested or not: {vae: {latent: 2}} or {latent: 2}."""
    if not isinstance(settings, dict):
        raise InputError(f"{path}: {option} is {kind_of(settings)}: wanted settings with values, as in `{example}`")
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {str(name): value}
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for something the user can mend, 128 + N for signal N (130 for Ctrl-C)."""
    with redirect_stderr(cast(Any, Unfailing(sys.stderr))), listening():
        return outcome(arguments)


class Unfailing:
    """A text file that takes what it can: a full disk, or a reader who has left, must not end what is only told of."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, text: str) -> int:
        """As much as goes."""
        try:
            return int(self.file.write(text))
        except OSError:
            self.give_up()
            return len(text)

    def flush(self) -> None:
        """As much as goes."""
        try:
            self.file.flush()
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Nothing is told from here on; what is left over is not tried again at exit, which would change its code."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def outcome(arguments: Sequence[str] | None) -> int:
    """The exit code, when the command has been carried out and whatever went wrong was told."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            carry_out(arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # `likelier data | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 0
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        if (told := in_one_line(error)) is None:
            raise
        return complain(told)
    except KeyboardInterrupt as interrupt:  # it carries how what was begun goes on
        number = getattr(interrupt, "number", signal.SIGINT)
        complain("; ".join(filter(None, (WORDS[number], str(interrupt)))))
        return 128 + number
    return 0


def carry_out(arguments: Sequence[str] | None) -> None:
    """Read the options and do what the command does."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    given = merged(parser.active(options)[-1], options)
    gc.disable()  # a sixth of the time of importing torch: nothing of it is garbage
    if options.command == "data":
        from likelier.data_commands import ACTIONS

        action = ACTIONS[options.action]
    elif options.command == "runs":
        from likelier.runs_commands import ACTIONS as RUNS

        action = RUNS[options.action]
    else:
        from likelier.commands import COMMANDS

        action = COMMANDS[options.command]
    gc.freeze()
    gc.enable()
    action(given)


def complain(message: str) -> int:
    """One line on standard error, whatever the message holds; the exit code that goes with it."""
    print(f"likelier: {printable(' '.join(message.split()))}", file=sys.stderr)
    return 2


def warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line, without the place in the code that it comes from."""
    complain(f"warning: {message}")
