"""Errors that a user can cause, and can mend: one line with what was found, what was wanted and the next step."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user gave cannot be used; the message is for the user, and the command line ends with exit code 2."""


def nearest(found: str, known: Iterable[str]) -> str | None:
    """The name that `found` was probably meant to be, whatever its case.

    >>> nearest("MNIST", ["mnist", "digits"])
    'mnist'
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(found.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def unknown(kind: str, found: str, known: Iterable[str], next_step: str) -> InputError:
    """The error for a name that is not known, with the nearest one that is.

    >>> print(unknown("family", "vea", ["vae", "gan"], "`likelier families` lists them"))
    there is no family 'vea': did you mean 'vae'? `likelier families` lists them
    """
    near = nearest(found, known := sorted(known))
    guess = f"did you mean '{near}'?" if near else f"known are {', '.join(known)};"
    return InputError(f"there is no {kind} '{found}': {guess} {next_step}")
