"""likelier: VAEs, GANs and their hybrids, trained under the same rules and judged by the same measures.

>>> import likelier
>>> likelier.load_images("digits").shape
(1, 8, 8)

Everything is imported when it is first used: `import likelier` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likelier.comparison import compare
    from likelier.data import load as load_images
    from likelier.data.sequence import images_from
    from likelier.errors import InputError
    from likelier.estimating import estimate_likelihood
    from likelier.experiment import load, resume, train
    from likelier.exporting import export
    from likelier.family import Family, Move, Player, Step
    from likelier.images import Images, Split
    from likelier.measuring import measure
    from likelier.run import Run

__all__ = [
    "Family",
    "Images",
    "InputError",
    "Move",
    "Player",
    "Run",
    "Split",
    "Step",
    "compare",
    "estimate_likelihood",
    "export",
    "images_from",
    "load",
    "load_images",
    "measure",
    "resume",
    "train",
]

_HOME = {
    "compare": "comparison",
    "load_images": "data:load",
    "images_from": "data.sequence",
    "InputError": "errors",
    "estimate_likelihood": "estimating",
    "export": "exporting",
    "load": "experiment",
    "resume": "experiment",
    "train": "experiment",
    "Family": "family",
    "Move": "family",
    "Player": "family",
    "Step": "family",
    "Images": "images",
    "Split": "images",
    "measure": "measuring",
    "Run": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'likelier' has no attribute '{name}'")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(f"likelier.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
