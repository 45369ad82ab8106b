"""Threads that do not wait for each other.

Torch shares out every operation, and at its end all threads wait for the slowest: they spin, and where another program
has one of the cores they do so for most of the time. Work that comes in pieces is better shared out by the piece. Each
piece is then computed on one thread, so that figures are the same bit for bit however many there are.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def so_many(threads: int) -> Iterator[None]:
    """Compute on so many threads, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def by_piece(work: Callable[[T], R], pieces: Iterable[T]) -> list[R]:
    """What `work` makes of each piece, in their order: on as many threads as torch may use, each piece on one.

    Gradients are off in all of them, as that is not inherited.

    >>> by_piece(lambda x: int(x.sum()), torch.arange(6).split(2))
    [1, 5, 9]
    """

    def quietly(piece: T) -> R:
        with torch.no_grad():
            return work(piece)

    threads = torch.get_num_threads()
    with so_many(1):
        if threads == 1:
            return [quietly(piece) for piece in pieces]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(quietly, pieces))
