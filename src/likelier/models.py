"""What is compared: models. A model is a name, a family and settings of it; a run is a model with a seed.

A family alone is a model of its own name. `swept` makes a model of every combination of the values that settings are
to have, and named models are those of an ablation. Whatever is wrong with one of them is refused here, before anything
is trained.
"""

import math
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from statistics import median
from typing import Any

from likelier.errors import InputError, printable, unknown
from likelier.family import configure, find, settings_of
from likelier.nn import Networks
from likelier.verdict import Contender, Verdict, leader, short

FAMILIES = ("vae", "gan", "dcgan", "vae_gan")
MOST_MODELS = 100
"""Of one comparison: more are hardly meant, and the pairs among them are thousands."""
LONGEST_NAME = 100
"""In bytes: the name of a run's folder, with its seed and what is added while it is made, may have 255."""
EXAMPLE = '{"smaller steps": {"family": "gan", "settings": {"lr": 3e-4}}}'


@dataclass(frozen=True)
class Model:
    """One side of a comparison."""

    name: str
    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that were given; the others are the family's own."""

    @property
    def folder(self) -> str:
        """Its name as a part of a path that no shell and no file system takes for anything else.

        >>> Model("vae(beta=0.5, lr=1e-05)", "vae").folder, Model("../../β, later", "vae").folder
        ('vae-beta=0.5-lr=1e-05', 'β-later')
        """
        return re.sub(r"[^\w.=+]+", "-", unicodedata.normalize("NFC", self.name)).strip("-.")


def models_asked_for(
    families: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Model, ...]:
    """The models of a comparison, from one of the ways in which they are asked for; arguments as in `compare`.

    Raises:
        InputError: something in them cannot be used.

    >>> [model.name for model in models_asked_for(["vae", "gan"], sweep={"beta": [0.5, "1"]})]
    ['vae(beta=0.5)', 'vae(beta=1)', 'gan']
    """
    if models is None:
        several = {key: values_of(key, values) for key, values in (sweep or {}).items()}
        return checked(swept(FAMILIES if families is None else families, settings or {}, several))
    if families is not None or sweep:
        other = "families" if families is not None else "a sweep"
        raise InputError(f"models beside {other}: wanted one of the two, as every model names its family and settings")
    found = [described(name, each) for name, each in models.items()]
    common = owners_of(list(dict.fromkeys(model.family for model in found)), settings or {}) if found else {}
    whole = [Model(m.name, m.family, {**common[m.family], **m.settings}) for m in found]
    own = {m.name: {*m.settings, *own_names(m.family, settings or {})} for m in found}
    return checked(without_idle_settings(whole, own))


def described(name: Any, given: Any) -> Model:
    """A model as a file or a dictionary has it: its name, and a mapping with its family and settings."""
    if not isinstance(name, str):
        raise InputError(f"the name {told(str(name))} of a model is no text: wanted models as in {EXAMPLE}")
    if not isinstance(given, Mapping) or not isinstance(given.get("family"), str):
        raise InputError(f"the model {told(name)} has no family: wanted models as in {EXAMPLE}")
    for key in given:
        if key not in ("family", "settings"):
            raise unknown(f"part of the model {told(name)}", str(key), ("family", "settings"), f"as in {EXAMPLE}")
    settings = {} if given.get("settings") is None else given["settings"]
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise InputError(f"the settings of {told(name)} are no names with values: wanted models as in {EXAMPLE}")
    return Model(name, given["family"], dict(settings))


def told(name: str) -> str:
    """A name in a message, whatever is in it."""
    return printable(repr(name) if len(name) <= 60 else f"{name[:57]!r}…")


def checked(models: Sequence[Model]) -> tuple[Model, ...]:
    """The same with settings of the types that they have in the family; InputError for what cannot be compared."""
    check_names(models)
    seen: dict[tuple[str, str], str] = {}
    found = []
    for model in models:
        try:
            config = configure(find(model.family), model.settings)
        except InputError as error:
            raise InputError(str(error) if model.name == model.family else f"{model.name}: {error}") from None
        twin = seen.setdefault((model.family, repr(settings_of(config))), model.name)
        if twin != model.name:
            raise InputError(
                f"{twin} and {model.name} are one model, {model.family} with equal settings: leave one of them out"
            )
        found.append(Model(model.name, model.family, {name: getattr(config, name) for name in model.settings}))
    return tuple(found)


def check_names(models: Sequence[Model]) -> None:
    """InputError unless every model has a name of its own that can be printed, and that a folder can have."""
    if not models:
        raise InputError(f"no model is named: wanted one or more, as in {EXAMPLE}")
    if len(models) > MOST_MODELS:
        raise too_many(len(models))
    seen: dict[str, str] = {}
    for model in models:
        name = model.name
        if not name.isprintable() or name != name.strip() or not model.folder:
            raise InputError(f"the name {told(name)} of a model: wanted a text of printable characters with a letter")
        if len(name.encode()) > LONGEST_NAME:
            raise InputError(
                f"the name {told(name)} of a model has {len(name.encode())} bytes: wanted at most {LONGEST_NAME}; give "
                "shorter names, with `models` in a --config file"
            )
        twin = seen.get(folder := model.folder.casefold())  # a file system may hold a and A to be the same
        if twin == name:
            raise InputError(f"{name} is there twice: leave one of them out")
        if twin is not None:
            raise InputError(f"{twin} and {name} would share a folder: wanted names that differ in letters or digits")
        seen[folder] = name


def too_many(count: int) -> InputError:
    """More models than can be meant."""
    pairs = math.comb(count, 2)
    return InputError(f"{count:,} models, hence {pairs:,} pairs: wanted at most {MOST_MODELS}, give fewer values")


def values_of(key: str, values: Any) -> list[Any]:
    """The values of a sweep as a list; InputError for fewer than two, which would vary nothing."""
    found = list(values) if isinstance(values, Iterable) and not isinstance(values, str | Mapping) else [values]
    if len(found) < 2:
        raise InputError(f"the sweep of {key} has the values {found}: wanted two or more; --set gives a single one")
    return found


def swept(families: Sequence[str], settings: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]]) -> list[Model]:
    """A model of every combination of the values, for each family that has such a setting; the others as they are.

    Settings find their families as those of `settings_by_family` do.

    >>> [model.name for model in swept(["vae", "dcgan"], {}, {"width": [4, 8], "dcgan.lr": ["3e-4", "1e-3"]})][:2]
    ['vae', 'dcgan(width=4, lr=0.0003)']
    """
    if (count := math.prod(map(len, sweep.values()))) > MOST_MODELS**2:
        raise too_many(count)
    check_given_once(families, settings, sweep)
    found: dict[tuple[str, ...], tuple[str, dict[str, Any], list[str]]] = {}
    for values in product(*sweep.values()):
        by_family = settings_by_family(families, {**settings, **dict(zip(sweep, values, strict=True))})
        for family, own in by_family.items():
            varied = [name for key in sweep if (name := name_in(key, family)) in own]
            found.setdefault((family, *(repr(own[name]) for name in varied)), (family, own, varied))
    if len(found) > MOST_MODELS:
        raise too_many(len(found))
    models = [Model(family + in_words(family, own, varied), family, own) for family, own, varied in found.values()]
    return [model for family in families for model in models if model.family == family]


def check_given_once(families: Sequence[str], settings: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]]) -> None:
    """InputError for a setting that a family is given in two ways."""
    for family in families:
        known = {f.name for f in fields(find(family).Config)}
        fixed = {name for key in settings if (name := name_in(key, family)) in known}
        varied: set[str] = set()
        for name in (name for key in sweep if (name := name_in(key, family)) in known):
            if name in fixed or name in varied:
                both = "swept twice" if name in varied else "both set and swept"
                raise InputError(f"{name} of {family} is {both}: wanted one of the two, leave the other out")
            varied.add(name)


def name_in(key: str, family: str) -> str:
    """The name of the setting of a family that a key is for; empty if it is for another family alone."""
    owner, dot, name = key.rpartition(".")
    return name if not dot or owner == family else ""


def in_words(family: str, settings: Mapping[str, Any], varied: Sequence[str]) -> str:
    """The values that were varied, as they are added to a name: (beta=0.5); nothing if none was."""
    config = configure(find(family), settings)
    shown = ", ".join(f"{name}={plain(getattr(config, name))}" for name in varied)
    return f"({shown})" if shown else ""


def plain(value: Any) -> str:
    """A value as it is given on the command line.

    >>> plain(1.0), plain(3e-4), plain(0.00001), plain("conv")
    ('1', '0.0003', '1e-05', 'conv')
    """
    return str(value).removesuffix(".0")


def options_of(models: Sequence[Model]) -> tuple[list[str], list[str]] | None:
    """The families and the options that ask for exactly these models; None where only a file with their names does.

    >>> options_of(models_asked_for(["vae", "gan"], {"latent": 4}, {"vae.beta": ["1", "4"]}))
    (['vae', 'gan'], ['--set', 'vae.latent=4', '--set', 'gan.latent=4', '--sweep', 'vae.beta=1,4'])
    """
    families = list(dict.fromkeys(model.family for model in models))
    settings: dict[str, Any] = {}
    sweep: dict[str, list[str]] = {}
    for family in families:
        own = [model.settings for model in models if model.family == family]
        for name in dict.fromkeys(name for each in own for name in each):
            values = list(dict.fromkeys(plain(each[name]) for each in own if name in each))
            if len(values) == 1:
                settings[f"{family}.{name}"] = values[0]
            else:
                sweep[f"{family}.{name}"] = values
    try:
        again = models_asked_for(families, settings, sweep)
    except InputError:
        return None
    if again != tuple(models):
        return None
    words = [("--set", f"{key}={value}") for key, value in settings.items()]
    words += [("--sweep", f"{key}={','.join(values)}") for key, values in sweep.items()]
    return families, [word for pair in words for word in pair]


@dataclass(frozen=True)
class Best:
    """The model of a family that came out best of several, and how far that may be believed."""

    model: str
    family: str
    of: int
    settings: Mapping[str, Any]
    distance: float
    """The median over its seeds of the primary measure."""
    no_win_over: tuple[str, ...]
    """The others of the family that it does not beat; of none, if it is the best by the verdicts, too."""

    @property
    def words(self) -> str:
        """The line that ends a comparison."""
        use = " ".join(f"--set {shlex.quote(f'{name}={plain(value)}')}" for name, value in self.settings.items())
        how = f"use it with {use}" if use else "it is the family as it comes, without any --set"
        figures = f"{self.model}, {short(self.distance)} ({self.standing})"
        return f"least FD of {self.of} models of {self.family}: {figures}; {how}"

    @property
    def standing(self) -> str:
        """Whether the verdicts say the same."""
        others = self.no_win_over
        if not others:
            return "it beats the others" if self.of > 2 else "it beats the other"
        if len(others) == self.of - 1:
            return "an observation: it beats no other"
        named = " and ".join(others) if len(others) < 3 else f"{len(others)} of the others"
        return f"but it does not beat {named}"


def best_of_each(models: Sequence[Model], sides: Sequence[Contender], verdicts: Sequence[Verdict]) -> Iterator[Best]:
    """For each family with several models the one of the least distance; none of those that diverged or copied."""
    by_name = {side.name: side for side in sides}
    for family in dict.fromkeys(model.family for model in models):
        own = [model for model in models if model.family == family]
        best = leader([by_name[model.name] for model in own if model.name in by_name])
        if best is None or len(own) < 2:
            continue
        (model,) = (model for model in own if model.name == best.name)
        beaten = {v.a if v.b == best.name else v.b for v in verdicts if v.outcome == "win" and v.better == best.name}
        unbeaten = tuple(m.name for m in own if m.name not in {best.name, *beaten})
        yield Best(model.name, family, len(own), model.settings, median(best.distances), unbeaten)


def settings_by_family(families: Sequence[str], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Which family gets which settings; InputError for a name that none of them has.

    >>> settings_by_family(["vae", "gan"], {"hidden": 64, "gan.lr": 1e-3})
    {'vae': {'hidden': 64}, 'gan': {'hidden': 64, 'lr': 0.001}}
    >>> settings_by_family(["vae", "dcgan"], {"width": 8})  # of convolutions, which a VAE has with network=conv
    {'vae': {}, 'dcgan': {'width': 8}}
    """
    found = [Model(name, name, own) for name, own in owners_of(families, settings).items()]
    own = {name: own_names(name, settings) for name in families}
    return {model.family: dict(model.settings) for model in without_idle_settings(found, own)}


def own_names(family: str, settings: Mapping[str, Any]) -> set[str]:
    """The settings that are given to this family alone."""
    return {key.removeprefix(f"{family}.") for key in settings if key.startswith(f"{family}.")}


def owners_of(families: Sequence[str], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each family the settings that it has; InputError for a name that none of them has."""
    if not families:
        raise InputError("no family is named: wanted one or more, as `likelier families` lists them")
    known = {name: {f.name for f in fields(find(name).Config)} for name in families}
    if len(known) < len(families):
        raise InputError(f"{' '.join(families)}: a family is named twice; --seeds N trains each with N seeds")
    found: dict[str, dict[str, Any]] = {name: {} for name in families}
    for key, value in settings.items():
        family, dot, name = key.rpartition(".")
        if dot and family not in known:
            raise InputError(
                f"{key} sets something of {family}, which is not compared: wanted one of {', '.join(families)}"
            )
        owners = [family] if dot else [f for f in families if name in known[f]]
        if not owners:
            every = set().union(*known.values())
            raise unknown("setting", name, every, "`likelier families NAME` lists those of one family")
        for owner in owners:
            found[owner][name] = value
    return found


def without_idle_settings(models: Sequence[Model], own: Mapping[str, Collection[str]]) -> list[Model]:
    """A size that was given to all goes to those whose network has it; one that nobody has stays, to be refused.

    So do those that were given to a model by itself: `own`, by its name.
    """
    configs = {model.name: find(model.family).Config for model in models}
    idle = {
        model.name: config.idle_settings(model.settings)
        for model in models
        if issubclass(config := configs[model.name], Networks)
    }
    used = {name for model in models for name in model.settings if name not in idle.get(model.name, ())}

    def wanted(model: Model, name: str) -> bool:
        return name not in used or name not in idle.get(model.name, ()) or name in own[model.name]

    return [Model(m.name, m.family, {k: v for k, v in m.settings.items() if wanted(m, k)}) for m in models]
