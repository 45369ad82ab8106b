"""What the report shows of a model beside its figures: its samples' neighbours, walks through its codes, its classes.

A figure that a family has not is missing with a reason, and the others are made all the same.
"""

from collections.abc import Callable

import numpy as np
import torch

from likelier.confusion import confusion
from likelier.evidence import Evidence, NoFigure
from likelier.neighbourhood import neighbours
from likelier.walks import Arrays, Noise, interpolations, manifold, traversals


@torch.no_grad()
def portrait(evidence: Evidence, noise: Noise) -> Arrays:
    """The arrays of all figures that the family has; and `figures_missing` [k, 2], the names of the others and why."""
    makers: dict[str, Callable[[], Arrays]] = {
        "neighbours": lambda: neighbours(evidence),
        "traversals": lambda: traversals(evidence, noise),
        "manifold": lambda: manifold(evidence, noise),
        "interpolations": lambda: interpolations(evidence, noise),
        "confusion": lambda: confusion(evidence),
    }
    found: Arrays = {}
    missing: list[tuple[str, str]] = []
    for name, make in makers.items():
        try:
            found |= make()
        except NoFigure as reason:
            missing.append((name, str(reason)))
    return found | ({"figures_missing": np.array(missing)} if missing else {})
