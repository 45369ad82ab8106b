"""The command line. Nothing heavy is imported until a command needs it: `likelier --help` does not know torch."""

import argparse
import difflib
import importlib.metadata
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from likelier.errors import InputError

Options = argparse.Namespace

OVERVIEW = """likelier trains VAEs, GANs and their hybrids under the same rules and shows which is better at what.

  likelier compare                              four families on the embedded digits, side by side
  likelier train vae --data mnist --epochs 20   one family, in a run directory
  likelier sample RUN -n 64 --out samples.png   what it makes
"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that name the nearest option or command."""

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
            near = difflib.get_close_matches(rest[0].partition("=")[0], known, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{rest[0]} is not known here: {guess}`likelier {options.command} --help` lists what is")
        return options

    def active(self, options: Options) -> "list[Parser]":
        """This parser, and the one of the command that was given."""
        chosen = [a.choices[options.command] for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        return [self, *chosen]


def number(kind: type[int] | type[float], least: float, above: bool = False) -> Callable[[str], Any]:
    """An argument type: a finite number from `least`, or above it."""

    def convert(text: str) -> Any:
        wanted = f"{'a whole' if kind is int else 'a'} number {'greater than' if above else 'of at least'} {least:g}"
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}': wanted {wanted}") from None
        if not math.isfinite(value) or value < least or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text}: wanted {wanted}")
        return value

    return convert


def setting(text: str) -> tuple[str, str]:
    """name=value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}': wanted name=value")
    return name, value


def build_parser() -> Parser:
    """All commands and their options."""
    parser = Parser(prog="likelier", description=OVERVIEW)
    parser.add_argument("--version", action="version", version=f"likelier {importlib.metadata.version('likelier')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str) -> Parser:
        found: Parser = commands.add_parser(name, help=summary, description=summary)
        found.add_argument("--config", metavar="FILE", help="options from a YAML or JSON file; the command line wins")
        found.add_argument("--json", action="store_true", help="print the result as JSON")
        found.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")
        return found

    compare = command("compare", "Train several families on the same data with the same budget, and write a report.")
    compare.add_argument("families", nargs="*", metavar="FAMILY", help="default: vae gan dcgan vae_gan")
    compare.add_argument("--seeds", type=number(int, 1), metavar="N", help="train each family with N seeds (1)")
    training_options(compare)

    train = command("train", "Train one family in a run directory, or go on with an interrupted run.")
    train.add_argument("family", nargs="?", metavar="FAMILY", help="`likelier families` lists them (vae)")
    train.add_argument("--checkpoint-seconds", type=number(float, 0), metavar="S", help="between checkpoints (60)")
    training_options(train)

    measure = command("measure", "Measure trained runs: samples, reconstructions, latent space, with floors.")
    measure.add_argument("runs", nargs="+", metavar="RUN")
    run_options(measure)

    sample = command("sample", "Draw images from a trained run, as one picture or as an array.")
    sample.add_argument("run", metavar="RUN")
    sample.add_argument("-n", "--number", type=number(int, 1), metavar="N", help="how many (64)")
    sample.add_argument("--seed", type=number(int, 0), metavar="N", help="of the noise (0)")
    sample.add_argument("--out", metavar="FILE", help="FILE.png, or FILE.npz with uint8 `images` (samples.png)")
    run_options(sample)

    reconstruct = command("reconstruct", "Show test images above what a trained run makes of their codes.")
    reconstruct.add_argument("run", metavar="RUN")
    reconstruct.add_argument("-n", "--number", type=number(int, 1), metavar="N", help="how many images (16)")
    reconstruct.add_argument("--out", metavar="FILE", help="FILE.png (reconstructions.png)")
    run_options(reconstruct)

    report = command("report", "Write one HTML page that shows trained runs side by side.")
    report.add_argument("runs", nargs="+", metavar="RUN")
    report.add_argument("--out", metavar="FILE", help="FILE.html (report.html)")

    data = command("data", "List the image sets, or describe one.")
    data.add_argument("data", nargs="?", metavar="NAME|PATH")
    data.add_argument("--data-root", metavar="DIR", help="where the named sets are (LIKELIER_DATA)")

    families = command("families", "List the families, or describe one: its paper, its players, its settings.")
    families.add_argument("family", nargs="?", metavar="FAMILY")
    return parser


def training_options(parser: Parser) -> None:
    """What every command that trains takes."""
    parser.add_argument("--data", metavar="NAME|PATH", help="digits, mnist, fashion-mnist or a folder (digits)")
    parser.add_argument("--data-root", metavar="DIR", help="where the named sets are (LIKELIER_DATA)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--epochs", type=number(float, 0, above=True), metavar="N", help="5, and 120,000 images at least"
    )
    budget.add_argument("--images", type=number(int, 1), metavar="N", help="the budget in training images")
    budget.add_argument(
        "--minutes", type=number(float, 0, above=True), metavar="M", help="as many images as M minutes take"
    )
    parser.add_argument("--seed", type=number(int, 0), metavar="N", help="fixes everything that is random (0)")
    parser.add_argument("--out", metavar="DIR", help="the folder to make (in runs/)")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps (auto)")
    parser.add_argument(
        "--set", type=setting, action="append", metavar="NAME=VALUE", dest="settings", help="a setting of the family"
    )
    parser.add_argument("--resume", metavar="DIR", help="go on with what was begun in DIR")


def run_options(parser: Parser) -> None:
    """What every command that opens a run takes."""
    parser.add_argument("--data-root", metavar="DIR", help="where the named sets are, if they have moved")
    parser.add_argument("--family", metavar="MODULE", help="the dotted path of the run's family, if not likelier's own")


def read_config(parser: Parser, options: Options) -> dict[str, Any]:
    """The options in --config FILE, checked as those of the command line are."""
    import yaml

    path = Path(options.config)
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}: wanted a mapping of option names to values")
    actions = {a.dest: a for a in parser._actions if a.dest not in ("help", "config")}
    return {name.replace("-", "_"): checked(path, actions, name, value) for name, value in found.items()}


def checked(path: Path, actions: dict[str, argparse.Action], name: Any, value: Any) -> Any:
    """One value of a configuration file, converted as its option would be."""
    from likelier.errors import unknown

    dest = "settings" if name == "set" else str(name).replace("-", "_")
    if dest not in actions:
        raise unknown("option", str(name), actions, f"it stands in {path}")
    if dest in ("family", "families"):
        for family in [value] if isinstance(value, str) else value:
            if "." in str(family):
                raise InputError(f"{path} names the code {family}: a file may not, give it on the command line")
    convert = actions[dest].type
    if callable(convert) and dest != "settings":
        try:
            return convert(str(value))
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{path}: {name} = {error}") from None
    return value


def merged(parser: Parser, options: Options) -> dict[str, Any]:
    """The options of the command: those of --config, and over them those of the command line."""
    given = {name: value for name, value in vars(options).items() if name not in ("command", "config")}
    if given.get("families") == []:
        del given["families"]
    given["settings"] = dict(given.get("settings") or [])
    if not hasattr(options, "config"):
        return given
    configured = read_config(parser, options)
    settings = flat_settings(Path(options.config), configured.pop("set", configured.pop("settings", {})))
    budgets = {"epochs", "images", "minutes"}
    if budgets & given.keys():
        configured = {name: value for name, value in configured.items() if name not in budgets}
    return {**configured, **given, "settings": {**settings, **given["settings"]}}


def flat_settings(path: Path, settings: Any) -> dict[str, Any]:
    """`set` of a configuration file, with the settings of one family nested or not: {vae: {latent: 2}} or {latent: 2}."""
    if not isinstance(settings, dict):
        raise InputError(f"{path}: set holds {type(settings).__name__}: wanted a mapping of names to values")
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {str(name): value}
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for something the user can mend, 130 for an interrupt."""
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
        given = merged(parser.active(options)[1], options)
        from likelier import commands

        commands.COMMANDS[options.command](given)
    except InputError as error:
        print(f"likelier: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"likelier: {error.filename or 'a file'} cannot be used: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlikelier: interrupted; what was begun can be gone on with: --resume DIR", file=sys.stderr)
        return 130
    return 0
