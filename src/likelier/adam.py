"""The optimiser of every player: Adam.

Diederik P. Kingma, Jimmy Ba: Adam: A Method for Stochastic Optimization, 2015, arXiv 1412.6980.

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²        θ ← θ − lr · m̂ / (√v̂ + ε)        (algorithm 1)

with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). It is the fused kernel of torch.optim.Adam, called without that class, whose
first use imports torch's compiler (1.4 s of every start). lr and t are tensors on the training device, so that a
tape or a captured graph reads what they are by then.
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

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.parameters, self.beta1, self.beta2 = parameters, beta1, beta2
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]
        device = parameters[0].device if parameters else torch.device("cpu")
        self.t = torch.zeros((), device=device)
        # Where the kernel reads it from: in double precision on a CPU, which 0.001 needs to be what it was.
        self.lr = torch.tensor(lr, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)

    @torch.no_grad()
    def step(self) -> None:
        """One step of algorithm 1."""
        moving = [(p, p.grad, m, v) for p, m, v in zip(self.parameters, self.m, self.v, strict=True)]
        chosen = [(p, g, m, v) for p, g, m, v in moving if g is not None]
        if not chosen:
            return
        self.t += 1
        p, g, m, v = map(list, zip(*chosen, strict=True))
        torch._fused_adam_(
            p, g, m, v, [], [self.t] * len(p),
            lr=self.lr, beta1=self.beta1, beta2=self.beta2, weight_decay=0, eps=EPSILON, amsgrad=False, maximize=False,
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
