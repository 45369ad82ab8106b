"""The optimiser of every player: Adam.

Diederik P. Kingma, Jimmy Ba: Adam: A Method for Stochastic Optimization, 2015, arXiv 1412.6980.

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²        θ ← θ − lr · m̂ / (√v̂ + ε)        (algorithm 1)

with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). It is the fused kernel of torch.optim.Adam, called without that class, whose
first use imports torch's compiler (1.4 s of every start). lr and t are tensors on the training device, so that a
tape or a captured graph reads what they are by then.

Some parameters may take longer steps than others: `factors` multiply lr, one for each.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class Adam:
    """Moves `parameters` by their `.grad`; one without a gradient stays where it is.

    >>> p = nn.Parameter(torch.ones(2))
    >>> p.grad = torch.tensor([3.0, -0.5])
    >>> Adam([p], lr=0.1).step()
    >>> p.detach()
    tensor([0.9000, 1.1000])
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        factors: Sequence[float] | None = None,
    ) -> None:
        self.parameters, self.beta1, self.beta2 = parameters, beta1, beta2
        self.factors = [1.0] * len(parameters) if factors is None else factors
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]
        device = parameters[0].device if parameters else torch.device("cpu")
        self.t = torch.zeros((), device=device)
        # As the kernels want it; on a CPU in double precision, without which 0.001 would not be 0.001.
        kind = torch.float64 if device.type == "cpu" else torch.float32
        self.lr = {factor: torch.tensor(lr * factor, dtype=kind, device=device) for factor in self.factors}

    def set_lr(self, lr: float) -> None:
        """The step size from now on."""
        for factor, tensor in self.lr.items():
            tensor.fill_(lr * factor)

    @torch.no_grad()
    def step(self, skip: Tensor | None = None) -> None:
        """One step of algorithm 1; none, and nothing changes, where `skip` is 1. and not 0. (0-d, on the device)."""
        self.t += 1
        if skip is not None:
            self.t -= skip
        each = list(zip(self.factors, self.parameters, self.m, self.v, strict=True))
        for factor, lr in self.lr.items():
            moving = [(p, p.grad, m, v) for own, p, m, v in each if own == factor and p.grad is not None]
            if not moving:
                continue
            p, g, m, v = map(list, zip(*moving, strict=True))
            torch._fused_adam_(
                p, g, m, v, [], [self.t] * len(p),
                lr=lr, beta1=self.beta1, beta2=self.beta2, weight_decay=0, eps=EPSILON, amsgrad=False, maximize=False,
                found_inf=skip,
            )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on beside the parameters, named as torch.optim.Adam does."""
        found: dict[str, Tensor] = {}
        for i, (m, v) in enumerate(zip(self.m, self.v, strict=True)):
            found |= {f"{i}/exp_avg": m, f"{i}/exp_avg_sq": v, f"{i}/step": self.t}
        return found

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to `state`; KeyError if something is missing."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
