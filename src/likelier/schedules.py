"""How step sizes go while a budget is spent: from the share that is spent, 0 to 1, to a factor of lr."""

from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(spent: float) -> float:
    """1, all the way."""
    return 1.0


def cooling(spent: float, share: float) -> float:
    """1, and in a straight line down to 0 over the last `share` of the budget (Zhai et al. 2022, arXiv 2106.04560).

    >>> [round(cooling(spent, share=0.5), 2) for spent in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return min(1.0, (1 - spent) / share) if share else 1.0


def linear(spent: float, warm_up: float = 0.1) -> float:
    """In a straight line from 0 up to 1 while `warm_up` of the budget is spent, and in another down to 0.

    Defazio et al.: Optimal Linear Decay Learning Rate Schedules and Further Refinements, 2023, arXiv 2310.07831; the
    warm-up of Goyal et al. 2017, arXiv 1706.02677, section 2.2.

    >>> [round(linear(spent), 2) for spent in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    return spent / warm_up if spent < warm_up else (1 - spent) / (1 - warm_up)
