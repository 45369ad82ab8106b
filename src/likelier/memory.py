"""How much memory there is: what is sure not to fit is refused before any of it is filled."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from likelier.errors import InputError

SHARE = 0.5
"""Of the memory, for one image set: a model has to be trained beside it."""


def check_memory(wanted: int, what: str) -> None:
    """InputError if `wanted` bytes for `what` are more than a set in memory may take here."""
    room = int(SHARE * memory())
    if wanted > room:
        raise InputError(
            f"{what} take {wanted / 1e9:,.1f} GB, and half of the memory here is {room / 1e9:,.1f} GB: wanted fewer or "
            "smaller images, or a folder of pictures packed by `likelier data pack`, which are trained on from the disk"
        )


def memory(system: Path = Path("/")) -> int:
    """Bytes that this process may use: those of the machine, or fewer if the process, or its container, is limited."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min([machine, *(limit for limit in limits if limit != resource.RLIM_INFINITY), *limits_of_groups(system)])


def limits_of_groups(system: Path) -> Iterator[int]:
    """The limits of the control groups of Linux that this process is in, of either version; of none, nothing.

    A group is limited by those above it. Inside a container the path may be that of the host, of which only the root
    can be seen.
    """
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, file = system / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, file = system / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.strip("/")
        for place in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            try:
                yield int((place / file).read_text())
            except (OSError, ValueError):  # it is not there, or says "max"
                continue
