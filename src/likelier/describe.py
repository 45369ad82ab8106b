"""A family in words: what its module says, what it can do, who plays, and what each setting may be."""

import inspect
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from likelier.family import Bounds, Decodes, Encodes, Family, Scores, build

WORDS = {
    Decodes: "decodes latent codes into images",
    Encodes: "encodes images into latent codes",
    Scores: "scores how real an image looks",
    Bounds: "bounds the log-likelihood of an image",
}


def first_line(family: type[Family]) -> str:
    """What the module says of itself first."""
    return (inspect.getdoc(inspect.getmodule(family)) or "").partition("\n")[0]


def family_in_words(name: str, family: type[Family]) -> dict[str, Any]:
    """All that can be said of a family without training it, as JSON holds it."""
    return {
        "name": name,
        "doc": inspect.getdoc(inspect.getmodule(family)) or "",
        "can": [words for word, words in WORDS.items() if issubclass(family, word)],
        "players": players_of(family),
        "settings": [setting(field, hint) for field, hint in hints(family.Config)],
    }


def players_of(family: type[Family]) -> list[str]:
    """Who plays: found by building one with its defaults for small images."""
    if any(field.default is MISSING and field.default_factory is MISSING for field in fields(family.Config)):
        return []
    return list(build(family, family.Config(), (1, 32, 32), seed=0).players())


def hints(config: type) -> list[tuple[Field[Any], Any]]:
    """Each setting with its type, constraints included."""
    types = get_type_hints(config, include_extras=True)
    return [(field, types[field.name]) for field in fields(config)]


def setting(field: Field[Any], hint: Any) -> dict[str, Any]:
    """Name, default, what is wanted and what it means, in words."""
    default = None if field.default is MISSING else field.default
    return {"name": field.name, "default": default, "wanted": wanted(hint), "meaning": meaning(hint)}


def meaning(hint: Any) -> str:
    """The description that a type carries; of most settings the module's own words tell.

    >>> import pydantic
    >>> meaning(Annotated[int, pydantic.Field(ge=1, description="units in a layer")])
    'units in a layer'
    """
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note.description for note in notes if getattr(note, "description", None)), "")


def wanted(hint: Any) -> str:
    """A type with its constraints, in words.

    >>> import pydantic
    >>> wanted(Annotated[int, pydantic.Field(ge=1)]), wanted(Literal["sum", "mean"]), wanted(float | None)
    ('a whole number ≥ 1', 'sum or mean', 'a number or none')
    """
    if get_origin(hint) is Annotated:
        signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
        kind, *notes = get_args(hint)
        limits = [limit for note in notes for limit in getattr(note, "metadata", [note])]
        ranges = [
            f"{sign} {getattr(limit, key):g}" for limit in limits for key, sign in signs.items() if hasattr(limit, key)
        ]
        return f"{wanted(kind)} {' and '.join(ranges)}".strip()
    if get_origin(hint) is Literal:
        return either([str(choice) for choice in get_args(hint)])
    if get_args(hint):
        return either([wanted(part) for part in get_args(hint)])
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "none"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def either(choices: list[str]) -> str:
    """a, b or c."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
