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


def printable(text: str) -> str:
    r"""The text with everything escaped that would not be seen, or would steer the terminal; names of files hold it.

    >>> print(printable("cat\x1b[2J\udcff"))
    cat\x1b[2J\udcff
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def in_one_line(error: BaseException) -> str | None:
    """What a user is told of an error that he can mend: by other input, more room, or less work. None of any other."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'the output'} cannot be used: {error.strerror or error}"
    if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
        return "there is not enough memory for this: wanted smaller settings, fewer images, or another --device"
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether it is torch's way, on any device, of saying that memory has run out; torch need not be imported here."""
    return isinstance(error, MemoryError) or any(
        phrase in str(error).lower() for phrase in ("allocate memory", "out of memory", "invalid buffer size")
    )
