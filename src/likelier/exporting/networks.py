"""ONNX networks of what a family can do, each held against PyTorch before it is kept.

- `decoder`: codes z [n, latent] → images [n, c, h, w] in [0, 1]; of a family that is told of classes, z and labels [n].
- `encoder`: images → the mean of each code, [n, latent], and of a Gaussian one the log-variance.
- `score`: images (and labels) → how real each one looks, [n], as a logit or a critic's value.

n is free. Which of them there are is asked of the family by its capabilities.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from likelier import rng
from likelier.distributions import Normal
from likelier.errors import InputError
from likelier.family import Decodes, Encodes, Family, OfClasses, Scores
from likelier.run import Run

NETWORKS = ("decoder", "encoder", "score")
TOLERANCE = 1e-4
"""The largest difference from PyTorch, absolute up to 1 and relative to the largest value beyond."""
BATCHES = (1, 2, 7, 33)
"""Sizes at which it is looked for."""
WANTED = ("onnx", "onnxscript", "onnxruntime")

Function = Callable[..., Tensor | tuple[Tensor, ...]]
Inputs = Callable[[int], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Network:
    """One exported network, and how far its answers are from PyTorch's at most."""

    name: str
    content: bytes
    difference: float
    signature: str

    @property
    def words(self) -> str:
        """The line that tells of it."""
        sizes = ", ".join(map(str, BATCHES[:-1]))
        return (
            f"{self.name}.onnx: {self.signature}; largest difference from PyTorch {self.difference:.1e} "
            f"(batches of {sizes} and {BATCHES[-1]})"
        )


@dataclass(frozen=True)
class Task:
    """A function of a family that becomes a network: inputs of n rows are made by `inputs(n)`."""

    function: Function
    inputs: Inputs
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


class Wrapped(nn.Module):
    """A function of a family as a module, whose parameters are the family's."""

    def __init__(self, family: Family, function: Function) -> None:
        super().__init__()
        self.family, self.function = family, function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The function."""
        return self.function(*inputs)


def networks_of(family: Family, run: Run, on_stage: Callable[[str], None] = lambda stage: None) -> list[Network]:
    """Every network that a family has to give.

    Raises:
        InputError: the libraries of the extra `export` are missing, the family has none of the capabilities, or a
            network cannot be exported, or does not agree with PyTorch.
    """
    for library in WANTED:
        try:
            import_module(library)
        except ImportError:
            raise InputError(f"{library} is not installed: pip install 'likelier[export]'") from None
    found = []
    for name, task in tasks_of(family).items():
        on_stage(f"exporting the {name}")
        module = Wrapped(family, task.function).eval()
        content = exported(name, module, task, about(run))
        difference = largest_difference(name, content, module, task)
        found.append(Network(name, content, difference, signature(task)))
    if not found:
        raise InputError(f"{run.path} has no decoder, encoder or score to export: try --format safetensors")
    return found


def about(run: Run) -> dict[str, str]:
    """What a network's metadata say of where it comes from."""
    config, environment = run.config, run.environment
    return {
        "family": config["family"],
        "data": str(config.get("data_name", config["data"])),
        "data_digest": environment["data_digest"],
        "seed": str(config["seed"]),
        "likelier": str(environment.get("likelier")),
    }


def tasks_of(family: Family) -> dict[str, Task]:
    """What the family can do, by the name of the network that does it."""
    chance = rng.generator(0, "export")
    labels = ("labels",) if family.classes else ()

    def images(n: int) -> Tensor:
        return torch.rand(n, *family.shape, generator=chance)

    def classes(n: int) -> tuple[Tensor, ...]:
        return (torch.randint(family.classes, (n,), generator=chance),) if family.classes else ()

    tasks = {}
    if isinstance(family, Decodes):
        latent = len(family.prior().mean)
        if family.classes and isinstance(family, OfClasses):
            inputs: Inputs = lambda n: (torch.randn(n, latent - 1, generator=chance), *classes(n))  # noqa: E731
            tasks["decoder"] = Task(family.generate, inputs, ("z", *labels), ("images",))
        else:
            inputs = lambda n: (torch.randn(n, latent, generator=chance),)  # noqa: E731
            tasks["decoder"] = Task(family.decode, inputs, ("z",), ("images",))
    if isinstance(family, Encodes):
        gaussian = isinstance(family.encode(images(1)), Normal)
        outputs = ("mean", "log_variance") if gaussian else ("mean",)
        tasks["encoder"] = Task(encoder_of(family), lambda n: (images(n),), ("images",), outputs)
    if isinstance(family, Scores):
        tasks["score"] = Task(family.score, lambda n: (images(n), *classes(n)), ("images", *labels), ("score",))
    return tasks


def encoder_of(family: Encodes) -> Function:
    """Images → what the posterior of a code is made of: its mean and, of a Gaussian, the log-variance."""

    def encode(x: Tensor) -> tuple[Tensor, ...]:
        q = family.encode(x)
        return (q.mu, q.log_var) if isinstance(q, Normal) else (q.mean,)

    return encode


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch and onnxscript say of themselves on the way."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def exported(name: str, module: nn.Module, task: Task, metadata: Mapping[str, str]) -> bytes:
    """The network as ONNX, the number of rows left open."""
    n = torch.export.Dim("n", min=1)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                task.inputs(3),
                dynamo=True,
                dynamic_shapes={"inputs": tuple({0: n} for _ in task.input_names)},
                input_names=task.input_names,
                output_names=task.output_names,
                verbose=False,
            )
    except Exception as error:  # anything may be in a user's own network
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the {name} cannot be exported to ONNX: {type(error).__name__}: {reason}") from error
    assert program is not None
    model: Any = program.model_proto
    model.doc_string = f"{name}: {', '.join(task.input_names)} → {', '.join(task.output_names)}"
    for each in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del each.metadata_props[:]  # where the code lies on this machine
    for function in model.functions:
        for node in (function, *function.node):
            del node.metadata_props[:]
    del model.metadata_props[:]
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = model.SerializeToString()
    return content


def largest_difference(name: str, content: bytes, module: nn.Module, task: Task) -> float:
    """How far onnxruntime's answers are from PyTorch's, over batches of several sizes; InputError if too far."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in BATCHES:
        inputs = task.inputs(n)
        with torch.no_grad():
            outputs = module(*inputs)
        wanted = outputs if isinstance(outputs, tuple) else (outputs,)
        feed = {key: x.numpy() for key, x in zip(task.input_names, inputs, strict=True)}
        for y, found in zip(wanted, session.run(None, feed), strict=True):
            worst = max(worst, difference(torch.from_numpy(found), y))
    if not worst <= TOLERANCE:  # nor what is no number
        raise InputError(
            f"the {name} in ONNX differs from PyTorch by {worst:.2g}: wanted {TOLERANCE:g} at most; try --format "
            "safetensors"
        )
    return worst


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, in multiples of the largest value where that is above 1; infinite for other shapes.

    >>> difference(torch.tensor([1.0, 200.0]), torch.tensor([1.0, 100.0]))
    1.0
    """
    if found.shape != wanted.shape:
        return float("inf")
    return ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1)).item()


def signature(task: Task) -> str:
    """The inputs and outputs of a network with their shapes, in words."""
    inputs = task.inputs(1)
    with torch.no_grad():
        outputs = task.function(*inputs)
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    return f"{in_words(task.input_names, inputs)} → {in_words(task.output_names, found)}"


def in_words(names: Sequence[str], tensors: Sequence[Tensor]) -> str:
    """Names with shapes.

    >>> in_words(("z", "labels"), (torch.zeros(1, 20), torch.zeros(1)))
    'z [n, 20], labels [n]'
    """
    rows = zip(names, tensors, strict=True)
    return ", ".join(f"{name} [{', '.join(['n', *map(str, x.shape[1:])])}]" for name, x in rows)
