"""A turn written down once, and played again without Python's and autograd's share of the time.

A small network on a CPU spends a quarter of a step between its kernels: the graph is built, walked and thrown away,
memory is taken and given back. But every turn of a game is the same list of operators on tensors of the same shapes.
`Recorder` is a dispatch mode that writes down each operator below autograd, those of the backward pass and of the
optimiser included; `Tape.play` calls them again, in that order, on the tensors they had, each result written into the
memory that it had the first time. What goes in (batches, noise) is put into fixed tensors beforehand, and what comes
out is bit for bit what the turn itself would have given: the same kernels on the same values.

On a GPU, where kernels are done faster than the host can call them, the tape is played once into a CUDA graph, which
is then launched as a whole. Batches, noise, step sizes and the spent share of the budget are put in place before each
launch and are no part of it.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from likelier.family import Step

SHAPE_ONLY = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}
"""Operators that look at the shape and type of a tensor, not at its values."""
GARBAGE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
"""Operators that promise nothing about the values of what they return."""

BATCH_NORMS, UNDECLARED = (
    {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"},
    ("running_mean", "running_var"),
)
"""Operators that change arguments without saying so in their schema, and these arguments."""

STORAGE = {"data_ptr", "storage", "untyped_storage"}
LEAVES_TORCH = {"numpy", "tolist", "__array__", "__dlpack__", "__repr__", "__format__", *STORAGE}
"""Ways for values to leave torch that are no operators."""

UNTAPEABLE = (
    (torch.Tag.data_dependent_output, "reads a value back from a tensor"),
    (torch.Tag.dynamic_output_shape, "returns a shape that depends on values"),
    (torch.Tag.nondeterministic_seeded, "draws from a generator that is not the step's"),
)


@dataclass(frozen=True)
class Call:
    """One operator as it was called, and what it returned."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any

    def reads(self) -> list[Tensor]:
        """The tensors it was given."""
        return tensors_in((self.args, self.kwargs))

    def writes(self) -> list[Tensor]:
        """The tensors it was given and changed."""
        changed = set(UNDECLARED) if self.name in BATCH_NORMS else set()
        if self.op._schema.is_mutable:
            arguments = self.op._schema.arguments
            changed |= {a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write}
        named = dict(zip((a.name for a in self.op._schema.arguments), self.args, strict=False)) | self.kwargs
        return tensors_in([value for name, value in named.items() if name in changed])

    @property
    def name(self) -> str:
        """Without namespace and overload."""
        return str(self.op._schema.name).partition("::")[2]


class Departures(TorchFunctionMode):
    """Notices values that leave torch without an operator.

    Not while the recorder is paused: how batches are drawn is no part of the turn. It is blind in one other place, the
    backward pass of an `autograd.Function`: torch switches modes off there.
    """

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__()
        self.recorder = recorder
        self.found: str | None = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry it out."""
        name = getattr(function, "__name__", "")
        if name in LEAVES_TORCH and not self.recorder.paused:
            self.found = self.found or f"Tensor.{name} reads values back from a tensor"
        return function(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operator that is called while it is active, and whether the list will serve again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.why_not: str | None = None
        self.paused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Asked by torch: to be hidden from its compiler, which nobody uses here, would import that (1.4 s)."""
        return False

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry the operator out, and remember it."""
        kwargs = kwargs or {}
        out = op(*args, **kwargs)
        if not self.paused and op.namespace != "profiler":
            self.why_not = self.why_not or next((f"{op} {why}" for tag, why in UNTAPEABLE if tag in op.tags), None)
            if any(t.is_complex() or t.layout != torch.strided for t in tensors_in((args, kwargs, out))):
                self.why_not = self.why_not or f"{op} has complex numbers or a sparse tensor"
            # Without their history: it would keep the graph of this turn alive.
            self.calls.append(Call(op, *tree_map(without_history, (args, kwargs, out))))
        return out

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """What is called inside is not written down, and no values that leave torch there are noticed."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False

    def signature(self, inputs: Iterable[Tensor]) -> list[Any]:
        """What has to be the same in every turn: operators, shapes, numbers, and which result is read where."""
        names = {memory(t): i for i, t in enumerate(inputs)}

        def named(value: Any) -> Any:
            return (names.setdefault(memory(value), len(names)), *layout(value)) if isinstance(value, Tensor) else value

        return [(call.op, *tree_flatten(tree_map(named, (call.args, call.kwargs, call.out)))[0]) for call in self.calls]

    def outside(self, inputs: Iterable[Tensor]) -> list[int]:
        """The memory that is read, in that order, and neither made here nor an input: what outlives the turn."""
        made = {memory(t) for t in inputs}
        found: dict[int, None] = {}
        for call in self.calls:
            found |= dict.fromkeys(m for m in map(memory, call.reads()) if m not in made)
            made |= set(map(memory, tensors_in(call.out)))
        return list(found)


def layout(t: Tensor) -> tuple[Any, ...]:
    """How a tensor looks at its memory."""
    return (t.dtype, t.storage_offset(), tuple(t.shape), tuple(t.stride()))


def without_history(value: Any) -> Any:
    """The same memory as a tensor that autograd knows nothing of."""
    return value.detach() if isinstance(value, Tensor) else value


def tensors_in(tree: Any) -> list[Tensor]:
    """Every tensor in nested lists, tuples and dicts."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def memory(tensor: Tensor) -> int:
    """What tells one piece of memory from another, shared by all views of it."""
    return int(tensor.untyped_storage()._cdata)


class Tape:
    """The operators of one turn, ready to be called again.

    >>> x, y = torch.ones(2), torch.zeros(2)
    >>> with Recorder() as recorder:
    ...     y = y.add_(2 * x)
    >>> x = x.fill_(5)
    >>> Tape(recorder.calls).play()
    >>> y
    tensor([12., 12.])
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        calls, kept = list(calls), []
        written = {memory(t) for call in calls for t in call.writes()}
        fixed: set[int] = set()
        for call in calls:
            if is_fixed(call, written, fixed):
                fixed |= {memory(t) for t in tensors_in(call.out)}
            elif call.name not in GARBAGE and not is_view(call):
                kept.append(call)
        for call in kept:
            check_without_gradients(call)
        own = own_memory(calls) - fixed
        pointed = pointed_anew(kept, own)
        self.program = [again(call, pointed) for call in in_memory_used_again(kept, own, pointed)]

    def play(self) -> None:
        """The turn once more, on whatever is now in the tensors that it reads."""
        with torch.no_grad():
            for call in self.program:
                call()


def own_memory(calls: Iterable[Call]) -> set[int]:
    """The memory that these calls have made and nobody else holds: no gradient, nothing logged or remembered."""
    made: set[int] = set()
    storages: dict[int, torch.UntypedStorage] = {}
    holders: Counter[int] = Counter()
    for call in calls:
        reads, outs = [[memory(t) for t in tensors] for tensors in (call.reads(), tensors_in(call.out))]
        made |= {m for m in outs if m not in holders and m not in reads}
        holders.update([*reads, *outs])
        storages |= {memory(t): t.untyped_storage() for t in tensors_in(call.out)}
    return {m for m in made if torch._C._storage_Use_Count(m) == holders[m] + 1}  # the tensors here, and `storages`


def pointed_anew(calls: Sequence[Call], own: set[int]) -> dict[int, Tensor]:
    """Results that operators put into new memory each time: a tensor for each, to be pointed there.

    Everyone who reads the result has to read it through that tensor, so none may look at a part of it. Other results
    are copied to where they are looked for.
    """
    layouts: dict[int, set[Any]] = {}
    for call in calls:
        for t in (*call.reads(), *tensors_in(call.out)):
            layouts.setdefault(memory(t), set()).add(layout(t))
    made = [t for call in calls if not is_in_place(call) and makes_memory(call) for t in tensors_in(call.out)]
    return {memory(t): t for t in made if memory(t) in own and len(layouts[memory(t)]) == 1}


class Untapeable(Exception):
    """A call that is not the same when it is played; says which."""


@torch.no_grad()
def check_without_gradients(call: Call) -> None:
    """Untapeable unless an operator that makes its memory returns as much when gradients are off, as they will be."""
    if is_in_place(call) or call.name in BATCH_NORMS or not makes_memory(call):
        return
    if len(tensors_in(call.op(*call.args, **call.kwargs))) != len(tensors_in(call.out)):
        raise Untapeable(f"{call.op} returns something else when gradients are off")


def makes_memory(call: Call) -> bool:
    """Whether it cannot be told where its results belong.

    A variant that torch has generated copies them there, and that of batch normalisation misreads an input that is not
    contiguous (torch 2.13 on a CPU).
    """
    found = out_variant(call.op)
    generated = found is None or torch.Tag.generated in found[0].tags or len(found[1]) != len(tensors_in(call.out))
    return generated or call.name in BATCH_NORMS


def is_in_place(call: Call) -> bool:
    """Whether all that it returns is what it was given, changed."""
    given = {memory(t) for t in call.reads()}
    return call.op._schema.is_mutable and all(memory(t) in given for t in tensors_in(call.out))


def in_memory_used_again(
    calls: Sequence[Call], own: set[int], pointed: Mapping[int, Tensor] | None = None
) -> list[Call]:
    """The calls with results of their own in the memory of earlier ones that are no longer needed.

    It is what the allocator does for a turn as written: memory that was just used is still in the cache. Those that are
    `pointed` to new memory anyway are all replaced by the one tensor that is.
    """
    pointed = pointed or {}
    own = own - pointed.keys()
    needed = [dict.fromkeys(memory(t) for t in (*call.reads(), *tensors_in(call.out))) for call in calls]
    last = {m: i for i, each in enumerate(needed) for m in each}
    size = {memory(t): t.untyped_storage().nbytes() for call in calls for t in (*call.reads(), *tensors_in(call.out))}
    storages: dict[int, torch.UntypedStorage] = {}
    free: list[torch.UntypedStorage] = []

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if (storage := storages.get(memory(value))) is None:
            return pointed.get(memory(value), value)
        return value.new_empty(0).set_(storage, value.storage_offset(), value.shape, value.stride())

    found = []
    for i, call in enumerate(calls):
        for m in needed[i]:
            if m in own and m not in storages:
                fits = [s for s in free if size[m] <= s.nbytes() <= 2 * size[m] and s.device == device_of(call)]
                storages[m] = fits[-1] if fits else new_storage(size[m], device_of(call))
                free = [s for s in free if s is not storages[m]]
        found.append(Call(call.op, *tree_map(moved, (call.args, call.kwargs, call.out))))
        free += [storages[m] for m in needed[i] if m in storages and last[m] == i]
    return found


def new_storage(size: int, device: torch.device) -> torch.UntypedStorage:
    """So many bytes."""
    return torch.empty(size, dtype=torch.uint8, device=device).untyped_storage()


def device_of(call: Call) -> torch.device:
    """Where its results are."""
    return next(t.device for t in (*tensors_in(call.out), *call.reads()))


def is_view(call: Call) -> bool:
    """Whether it only returned other views of what it was given: these see the new values by themselves."""
    given = {memory(t) for t in call.reads()}
    outs = tensors_in(call.out)
    return not call.op._schema.is_mutable and bool(outs) and all(memory(t) in given for t in outs)


def is_fixed(call: Call, written: set[int], fixed: set[int]) -> bool:
    """Whether its result is the same in every turn and nothing overwrites it: made of numbers, or of `fixed` memory."""
    if call.op._schema.is_mutable or call.name in GARBAGE or any(memory(t) in written for t in tensors_in(call.out)):
        return False
    return call.name in SHAPE_ONLY or all(memory(t) in fixed for t in call.reads())


def again(call: Call, pointed: Mapping[int, Tensor]) -> Callable[[], Any]:
    """The call once more, its results in the memory of the first ones, or those `pointed` to where they are now."""
    if is_in_place(call):
        return partial(call.op, *call.args, **call.kwargs)
    outs = tensors_in(call.out)
    found = None if makes_memory(call) else out_variant(call.op)
    if found is None:
        moves = [memory(out) in pointed for out in outs]
        return partial(place_results, partial(call.op, *call.args, **call.kwargs), outs, moves)
    return partial(found[0], *call.args, **call.kwargs, **dict(zip(found[1], outs, strict=True)))


def place_results(function: Callable[[], Any], outs: list[Tensor], pointed: list[bool]) -> None:
    """For operators that have to be given new memory."""
    for out, new, moves in zip(outs, tensors_in(function()), pointed, strict=True):
        if moves:
            out.set_(new)  # type: ignore[call-overload]  # another tensor will do
        else:
            out.copy_(new)


def out_variant(op: Any) -> tuple[Any, list[str]] | None:
    """The overload of the same operator that writes where it is told, and the names it gives these places."""
    wanted = [(a.name, str(a.type)) for a in op._schema.arguments]
    for overload in op.overloadpacket.overloads():
        found = getattr(op.overloadpacket, overload)
        places = [a.name for a in found._schema.arguments if a.is_out]
        rest = [(a.name, str(a.type)) for a in found._schema.arguments if not a.is_out]
        lists = any(str(a.type) != "Tensor" for a in found._schema.arguments if a.is_out)
        if places and not lists and rest == wanted and len(places) == len(op._schema.returns):
            return found, places
    return None


class Source(Step, Protocol):
    """A step whose next batch and noise can be put where the last ones were."""

    def images_into(self, out: Tensor) -> None:
        """The next batch."""

    def randn_into(self, out: Tensor) -> None:
        """The next noise."""


class FixedStep:
    """The `Step` of a turn that is recorded: it draws as `source` does, and can draw again into the same tensors."""

    def __init__(self, source: Source, recorder: Recorder) -> None:
        self.source, self.recorder = source, recorder
        self.inputs: list[Tensor] = []
        self.refills: list[Callable[[], Any]] = []

    @property
    def batch(self) -> int:
        """As the source."""
        return self.source.batch

    @property
    def progress(self) -> Tensor:
        """As the source: filled in before each turn."""
        return self.source.progress

    def images(self) -> Tensor:
        """A fresh batch."""
        with self.recorder.unseen():
            x = self.source.images()
            fixed = x.detach()  # the family may ask for gradients by x, as a penalty on them does
        return self.kept(x, lambda: self.source.images_into(fixed))

    def labels(self) -> Tensor:
        """The classes of the images last drawn."""
        with self.recorder.unseen():
            labels = self.source.labels().clone()
        return self.kept(labels, lambda: labels.copy_(self.source.labels()))

    def randn(self, *shape: int) -> Tensor:
        """Standard normal noise."""
        with self.recorder.unseen():
            noise = self.source.randn(*shape)
            fixed = noise.detach()
        return self.kept(noise, lambda: self.source.randn_into(fixed))

    def kept(self, drawn: Tensor, refill: Callable[[], Any]) -> Tensor:
        """What was drawn, with the way to draw it again."""
        self.inputs.append(drawn)
        self.refills.append(refill)
        return drawn


def captured(tape: Tape) -> Callable[[], None]:
    """The tape as one CUDA graph; call by call, with a warning, if something in it cannot be captured."""
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # writes down, and does not carry out
            tape.play()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"turns are played call by call, not as one CUDA graph: {reason}", stacklevel=2)
        return tape.play
    return graph.replay


class TapedTurn:
    """A game's turn that is carried out as written for the first few times, and from its tape after that.

    The first turn makes what optimisers keep; the next two are recorded, and have to be the same list of operators on
    the same lasting memory. If they are not, or cannot be taped, every turn is carried out as written, and `why_not`
    says why.
    """

    def __init__(self, turn: Callable[[Step], dict[str, Tensor]], source: Source) -> None:
        self.turn, self.source = turn, source
        self.replay: Callable[[], None] | None = None
        self.why_not: str | None = None
        self.earlier: tuple[Recorder, FixedStep] | None = None
        self.carried_out = 0
        self.tape: Tape | None = None
        self.refills: list[Callable[[], Any]] = []
        self.scalars: dict[str, Tensor] = {}

    def __call__(self) -> dict[str, Tensor]:
        """One turn, and its scalars."""
        if self.replay is not None:
            return self.play(self.replay)
        self.carried_out += 1
        if self.carried_out == 1 or self.why_not is not None:
            return self.turn(self.source)
        return self.record()

    def play(self, replay: Callable[[], None]) -> dict[str, Tensor]:
        """The tape, on fresh batches and noise."""
        for refill in self.refills:
            refill()
        replay()
        return {name: value.clone() for name, value in self.scalars.items()}

    def record(self) -> dict[str, Tensor]:
        """A turn as written, of which the list of operators is kept."""
        with Recorder() as recorder, Departures(recorder) as departures:
            step = FixedStep(self.source, recorder)
            scalars = self.turn(step)
        self.why_not = recorder.why_not or departures.found
        if self.why_not is None and self.earlier is not None:  # which is held until now, so that no memory came back
            self.why_not = difference(self.earlier, (recorder, step))
            if self.why_not is None:
                self.cut(recorder, step, scalars)
        self.earlier = (recorder, step) if self.earlier is None and self.why_not is None else None
        if self.why_not is not None:
            warnings.warn(f"turns are carried out as written each time, more slowly: {self.why_not}", stacklevel=2)
        return {name: value.clone() for name, value in scalars.items()}

    def cut(self, recorder: Recorder, step: FixedStep, scalars: dict[str, Tensor]) -> None:
        """Make the tape, of which all later turns are played."""
        try:
            self.tape, self.refills, self.scalars = Tape(recorder.calls), step.refills, scalars
        except Untapeable as error:
            self.why_not = str(error)
            return
        self.replay = captured(self.tape) if self.source.progress.is_cuda else self.tape.play


def difference(first: tuple[Recorder, FixedStep], second: tuple[Recorder, FixedStep]) -> str | None:
    """Why the second turn does not stand for the third, or None if the first stood for it."""
    (a, drawn_a), (b, drawn_b) = first, second
    if a.signature(drawn_a.inputs) != b.signature(drawn_b.inputs):
        return "two turns in a row are not the same operators on the same shapes and numbers"
    if a.outside(drawn_a.inputs) != b.outside(drawn_b.inputs):
        return (
            "it reads other memory than the turn before, from a tensor that is made or bound anew in each turn: "
            "make it once, in __init__, and change it in place"
        )
    return None
