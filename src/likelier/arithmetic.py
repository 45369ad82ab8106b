"""In what numbers a game computes: in float32, or its large products in bfloat16.

Paulius Micikevicius et al.: Mixed Precision Training, 2018, arXiv 1710.03740; Dhiraj Kalamkar et al.: A Study of
BFLOAT16 for Deep Learning Training, 2019, arXiv 1905.12322.

Matrix products and convolutions take most of a training's time, and a processor that has instructions for bfloat16
needs about half as long for them. Such a number has the range of a float32, so that nothing needs to be scaled, and 8
of its 24 binary digits. What adds up over time stays in float32: weights, optimisers, moving averages, and, behind the
last layer of a network, losses.
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from likelier.errors import InputError


def arithmetic(device: torch.device, mixed_precision: bool) -> AbstractContextManager[object]:
    """In which a turn of the game is carried out."""
    if not mixed_precision:
        return nullcontext()
    # Without torch's cache of weights in bfloat16: they change from one move of a turn to the next.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def check_mixed_precision(asked: object) -> bool:
    """Whether it is asked for; InputError unless that is True or False."""
    if not isinstance(asked, bool):
        raise InputError(f"mixed_precision = {str(asked)[:60]!r}: wanted true or false")
    return asked


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, without which it is slower than float32; True if unknown."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    found = [there for name, there in capabilities.items() if name.endswith("bf16")]
    return any(found) or not found
