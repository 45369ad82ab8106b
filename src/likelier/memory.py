"""How much memory there is: what is sure not to fit is refused before any of it is filled."""

import os
import resource

from likelier.errors import InputError

SHARE = 0.5
"""Of the memory, for one image set: a model has to be trained beside it."""


def check_room(wanted: int, what: str) -> None:
    """InputError if `wanted` bytes for `what` are more than a set in memory may take here."""
    room = int(SHARE * memory())
    if wanted > room:
        raise InputError(
            f"{what} take {wanted / 1e9:,.1f} GB, and half of the memory here is {room / 1e9:,.1f} GB: wanted fewer or "
            "smaller images, or a folder of pictures packed by `likelier data pack`, which are trained on from the disk"
        )


def memory() -> int:
    """Bytes that this process may use: those of the machine, or fewer if the process is limited."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return machine if limit == resource.RLIM_INFINITY else min(machine, limit)
