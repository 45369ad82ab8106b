"""What no loop can be faster than: the work of a turn, at rates measured beside it with the same threads."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import flop_registry

from likelier.loop import Game
from likelier.tape import Call, FixedStep, Recorder, again, memory, tensors_in

ARITHMETIC = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}
FLOAT = 4
"""Bytes of a number in single precision."""


@dataclass(frozen=True)
class Work:
    """What one turn has to do, whoever carries it out."""

    images: int
    """Images that it sees: several batches, where a player moves several times."""
    flops: int
    """Floating-point operations of its matrix products and convolutions, forward and backward."""
    bytes: int
    """Adam reads weights, gradients and both moments and writes all but the gradients; batches are read as bytes and
    written as floats. Activations are left out: what of them has to leave the cache depends on the loop."""
    working_set: int
    """The bytes that these passes go over: weights, gradients, both moments, and the batches."""


def work_of(game: Game) -> Work:
    """The work of a turn, counted while one is made."""
    before, moved = game.seen, 0
    with Recorder() as recorder:  # torch's own FlopCounterMode breaks off in turns with gradients in their losses
        for move in game.family.turns(game.step):
            game.update(move)
            moved += sum(p.numel() for name in move.losses for p in game.parameters[name])
    images = game.seen - before
    pixels = images * math.prod(game.family.shape)
    weights = sum(p.numel() for p in game.family.parameters())
    flops = sum(flops_of(call) for call in recorder.calls)
    passes = (4 + 3) * FLOAT * moved + (1 + FLOAT) * pixels
    return Work(images, flops, passes, 4 * FLOAT * weights + (1 + FLOAT) * pixels)


def flops_of(call: Call) -> int:
    """The floating-point operations of one operator, as torch counts them; 0 if that is no product."""
    count = flop_registry.get(call.op.overloadpacket)
    return count(*call.args, **call.kwargs, out_val=call.out) if count else 0


def products_of(game: Game) -> Callable[[int], None]:
    """The matrix products and convolutions of a turn by themselves, so many times, on the memory they have there."""
    with Recorder() as recorder:
        game.carry_out(FixedStep(game.step, recorder))
    calls = [
        again(call, {memory(t): t for t in tensors_in(call.out)}) for call in recorder.calls if call.name in ARITHMETIC
    ]

    @torch.no_grad()
    def products(turns: int) -> None:
        for _ in range(turns):
            for call in calls:
                call()

    return products


def fastest(function: Callable[[], object], seconds: float) -> float:
    """Seconds of its fastest call within about `seconds`."""
    best, until = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        function()
        best = min(best, time.perf_counter() - start)
    return best


def best_rate(seconds: float = 0.1) -> float:
    """Floating-point operations a second of the fastest large product, in single precision."""
    rates = []
    for n in (512, 1024, 2048):
        a, b, out = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
        rates.append(2 * n**3 / fastest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds))
    return max(rates)


def best_bandwidth(size: int, seconds: float = 0.05) -> float:
    """Bytes a second, read and written alike, of the fastest plain pass over `size` bytes.

    Of that size, not of a large one: a small model stays in the cache, where memory's own rate is no limit.
    """
    two, three = torch.rand(2, size // (2 * FLOAT) + 1), torch.rand(3, size // (3 * FLOAT) + 1)
    passes: list[tuple[int, Callable[[], object]]] = [  # bytes moved
        (2 * two[0].nbytes, lambda: two[0].copy_(two[1])),
        (3 * two[0].nbytes, lambda: two[0].add_(two[1])),
        (3 * three[0].nbytes, lambda: torch.add(three[0], three[1], out=three[2])),
    ]
    return max(moved / fastest(call, seconds) for moved, call in passes)
