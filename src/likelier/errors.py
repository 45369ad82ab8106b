"""Errors that a user can cause, and can mend: one line with what was found, what was wanted and the next step."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user gave cannot be used; the message is for the user, and the command line ends with exit code 2."""


def unknown(kind: str, found: str, known: Iterable[str], next_step: str) -> InputError:
    """The error for a name that is not known, with the nearest one that is.

    >>> print(unknown("family", "vea", ["vae", "gan"], "`likelier families` lists them"))
    there is no family 'vea': did you mean 'vae'? `likelier families` lists them
    """
    known = sorted(known)
    near = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    guess = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)};"
    return InputError(f"there is no {kind} '{found}': {guess} {next_step}")
