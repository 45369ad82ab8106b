"""Annealed importance sampling (AIS) of log p(x) for a decoder, forwards and backwards.

Between the prior and the posterior lie the distributions

    f_t(z) = p(z) p(x|z)^β_t,    0 = β_1 < … < β_n = 1

A chain starts at z ~ p(z), is weighed, and moves under a kernel that leaves f_t invariant, in turn:

    log w = Σ_t (β_t − β_{t−1}) log p(x|z_{t−1}),    E w = p(x)                              (Neal 2001, eq. 11)

so that log w, and the log of the mean of w over chains, is a lower bound on log p(x) in expectation. The same chain run
backwards, from β = 1 to 0, starts at an exact sample of the posterior; then E w = 1/p(x), and −log w is an upper bound.
Such a sample exists where x was simulated from a known z. The gap between the two says how far the lower bound is off
(bidirectional Monte Carlo, BDMC).

Radford M. Neal: Annealed importance sampling, 2001, arXiv physics/9803008.
Roger B. Grosse, Siddharth Ancha, Daniel M. Roy: Measuring the reliability of MCMC inference with bidirectional Monte
Carlo, 2016, arXiv 1606.02275.
Yuhuai Wu, Yuri Burda, Ruslan Salakhutdinov, Roger Grosse: On the Quantitative Analysis of Decoder-Based Generative
Models, 2017, arXiv 1611.04273.

The kernel is Hamiltonian Monte Carlo (HMC). A step size that a chain adapts to its own past leaves nothing invariant,
and E w = p(x) is lost. So step sizes are adapted in a pilot, a shorter annealing of the same images with chances of its
own; its table, one step size for each image and β, then holds for the chains that count (`adapted_steps`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Joint = Callable[[Tensor], tuple[Tensor, Tensor]]
"""z [m, k, latent] → (log p(z), log p(x|z)), each [m, k]: k codes for each of m images."""

ACCEPTANCE = 0.65
"""What HMC is tuned to (Wu et al. 2017; near the optimum of Beskos et al. 2013)."""
RATE = 0.3
"""How fast the pilot's log step size follows acceptance − .65."""
FIRST_STEP = 0.5
"""For the prior, a standard normal; the pilot mends what is wrong with it."""
JITTER = 0.2
"""Step sizes vary by ± this share, lest a trajectory close upon itself (Neal 2011, arXiv 1206.1901, section 3.2)."""


class Point(NamedTuple):
    """Where the chains are, with what a move needs there; ∇ is by z."""

    z: Float[Tensor, "m k latent"]
    log_prior: Float[Tensor, "m k"]
    log_likelihood: Float[Tensor, "m k"]
    prior_gradient: Float[Tensor, "m k latent"]
    likelihood_gradient: Float[Tensor, "m k latent"]

    def log_density(self, beta: float) -> Float[Tensor, "m k"]:
        """log p(z) + β log p(x|z), in nats."""
        return self.log_prior + beta * self.log_likelihood

    def gradient(self, beta: float) -> Float[Tensor, "m k latent"]:
        """∇ of `log_density`: the same two gradients serve every β."""
        return self.prior_gradient + beta * self.likelihood_gradient


def evaluate(joint: Joint, z: Float[Tensor, "m k latent"]) -> Point:
    """The densities and their gradients at z: one pass forward and one backward through the decoder."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        log_prior, log_likelihood = joint(z)
        (of_likelihood,) = torch.autograd.grad(log_likelihood.sum(), z)
        (of_prior,) = torch.autograd.grad(log_prior.sum(), z)
    return Point(z.detach(), log_prior.detach(), log_likelihood.detach(), of_prior, of_likelihood)


def sigmoid_schedule(n: int, width: float = 4.0) -> list[float]:
    """n inverse temperatures from 0 to 1, dense at both ends:

        β_t ∝ σ(width · (2t/n − 1)),   moved and scaled to begin at 0 and end at 1

    Source:
        Wu, Burda, Salakhutdinov, Grosse: On the Quantitative Analysis of Decoder-Based Generative Models, 2017, arXiv
        1611.04273; the schedule is that of Grosse, Maddison, Salakhutdinov 2013.

    >>> [round(beta, 3) for beta in sigmoid_schedule(5)]
    [0.0, 0.105, 0.5, 0.895, 1.0]
    """
    gamma = torch.linspace(-width, width, n, dtype=torch.float64).sigmoid()
    betas: list[float] = ((gamma - gamma[0]) / (gamma[-1] - gamma[0])).tolist()
    return betas


def hmc(
    joint: Joint,
    here: Point,
    beta: float,
    step: Float[Tensor, "m k"],
    leapfrogs: int,
    generator: torch.Generator,
) -> tuple[Point, Float[Tensor, "m k"]]:
    """One HMC move of every chain, with fresh momenta; it leaves p(z) p(x|z)^β invariant.

    Args:
        joint: the two log-densities.
        here: where the chains are.
        beta: the inverse temperature.
        step: the leapfrog step of each chain.
        leapfrogs: steps in a trajectory, each a gradient.
        generator: where momenta and acceptances come from.

    Returns:
        Where the chains are now, and the probability with which each was to move. A trajectory that diverged is
        rejected.
    """
    epsilon = step.to(here.z.dtype)[..., None]
    momentum = standard_normal(here.z.shape, here.z.dtype, generator)
    kinetic = momentum.square().sum(-1).double()
    momentum = momentum + 0.5 * epsilon * here.gradient(beta)
    there = here
    for i in range(leapfrogs):
        there = evaluate(joint, there.z + epsilon * momentum)
        momentum = momentum + (0.5 if i == leapfrogs - 1 else 1.0) * epsilon * there.gradient(beta)
    change = there.log_density(beta) - here.log_density(beta) - 0.5 * (momentum.square().sum(-1).double() - kinetic)
    probability = change.clamp(max=0).exp().nan_to_num(0.0)
    accepted = uniform(probability.shape, generator) < probability
    moved = (
        torch.where(accepted if new.ndim == 2 else accepted[..., None], new, old)
        for new, old in zip(there, here, strict=True)
    )
    return Point(*moved), probability


class Annealing:
    """k chains for each of m images on their way along a schedule; it can be stopped, kept and gone on with.

    Forwards, `schedule` rises from 0 to 1 and `z` is drawn from the prior: `log_mean_exp(log_weight)` is a lower bound
    on log p(x) in expectation. Backwards, it falls from 1 to 0 and `z` is an exact sample of the posterior:
    `-log_mean_exp(log_weight)` is an upper bound.

    Args:
        joint: the two log-densities of the m images.
        z: where the chains start.
        schedule: the inverse temperatures in the order of the chain.
        steps: the HMC step size for each of them and each image.
        leapfrogs: of one HMC move.
        generator: all the chance there is; `state` holds its state.
        adapt: whether this is a pilot, which changes `steps` from the second row on as it goes.

    >>> def joint(z):  # p(z) = N(0, 1) and x = 0 observed with variance 1: p(x) = N(0; 0, 2)
    ...     normal = lambda: -0.5 * (z.square().sum(-1).double() + math.log(2 * math.pi))
    ...     return normal(), normal()
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = torch.randn(1, 100, 1, generator=generator)
    >>> chains = Annealing(joint, z, sigmoid_schedule(50), first_steps(50, 1), 3, generator).finish()
    >>> abs(log_mean_exp(chains.log_weight).item() + 0.5 * math.log(4 * math.pi)) < 0.05
    True
    """

    def __init__(
        self,
        joint: Joint,
        z: Float[Tensor, "m k latent"],
        schedule: Sequence[float],
        steps: Float[Tensor, "n m"],
        leapfrogs: int,
        generator: torch.Generator,
        adapt: bool = False,
    ) -> None:
        self.joint, self.schedule, self.leapfrogs, self.generator = joint, schedule, leapfrogs, generator
        self.steps = steps.clone()
        self.adapt = adapt
        self.point = evaluate(joint, z)
        self.log_weight = torch.zeros_like(self.point.log_prior)
        self.accepted = torch.zeros_like(self.point.log_prior)
        self.at = 0

    @property
    def done(self) -> bool:
        """Whether the last distribution has been reached."""
        return self.at == len(self.schedule) - 1

    @property
    def acceptance(self) -> Float[Tensor, "m k"]:
        """The mean acceptance probability of each chain's moves so far; 1 where there was none."""
        moves = min(self.at, len(self.schedule) - 2)
        return self.accepted / moves if moves else torch.ones_like(self.accepted)

    def advance(self) -> None:
        """Weigh every chain for the next distribution, and move it there; the last needs no move."""
        before, beta = self.schedule[self.at], self.schedule[self.at + 1]
        self.at += 1
        self.log_weight += (beta - before) * self.point.log_likelihood
        if self.done:
            return
        shape = self.log_weight.shape
        step = self.steps[self.at, :, None] * (1 + JITTER * (2 * uniform(shape, self.generator) - 1))
        self.point, probability = hmc(self.joint, self.point, beta, step, self.leapfrogs, self.generator)
        self.accepted += probability
        if self.adapt:
            excess = probability.mean(1) - ACCEPTANCE
            self.steps[self.at + 1] = self.steps[self.at] * torch.exp(RATE * excess)

    def finish(self) -> "Annealing":
        """Advance to the end."""
        while not self.done:
            self.advance()
        return self

    def state(self) -> dict[str, Tensor]:
        """Everything that the rest depends on; `restore` on an annealing made alike goes on bit for bit."""
        return {
            **self.point._asdict(),
            "log_weight": self.log_weight,
            "accepted": self.accepted,
            "steps": self.steps,
            "at": torch.tensor(self.at),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        device = self.log_weight.device
        self.point = Point(*(state[name].to(device) for name in Point._fields))
        self.log_weight, self.accepted, self.steps = (
            state[name].to(device).clone() for name in ("log_weight", "accepted", "steps")
        )
        self.at = int(state["at"])
        self.generator.set_state(state["generator"].cpu())


def first_steps(n: int, m: int, device: torch.device | str = "cpu") -> Float[Tensor, "n m"]:
    """The table of step sizes that a pilot of n distributions and m images sets out with."""
    return torch.full((n, m), FIRST_STEP, dtype=torch.float64, device=device)


def adapted_steps(pilot: Float[Tensor, "p m"], n: int) -> Float[Tensor, "n m"]:
    """A pilot's table for a schedule of n distributions: the log step sizes are interpolated along the schedule."""
    log_steps = pilot.log().mT[None]  # [1, m, pilot's n]
    return F.interpolate(log_steps, size=n, mode="linear", align_corners=True)[0].mT.exp()


def log_mean_exp(log_weight: Float[Tensor, "m k"]) -> Float[Tensor, " m"]:
    """log 1/k Σ exp(log weight) over the chains of each image.

    >>> log_mean_exp(torch.tensor([[0.0, 0.0]]))
    tensor([0.])
    """
    return torch.logsumexp(log_weight, dim=1) - math.log(log_weight.shape[1])


def standard_normal(shape: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Noise from the generator, on its device."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def uniform(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Uniform on [0, 1), float64, on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
