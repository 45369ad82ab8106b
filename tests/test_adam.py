"""The optimiser: torch's own, bit for bit."""

import pytest
import torch
from torch import nn

from likelier.adam import Adam


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(7, 5), (3,), (2, 4, 3, 3)]
    found = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    found[2].data = found[2].data.contiguous(memory_format=torch.channels_last)
    return found


def give_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for p in parameters:
        p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.99), (0.5, 0.999)])
def test_it_takes_the_steps_of_torch(betas: tuple[float, float]):
    ours, theirs = parameters(), parameters()
    a, b = Adam(ours, 1e-3, *betas), torch.optim.Adam(theirs, 1e-3, betas, fused=True)
    for step in range(20):
        for each, optimiser in ((ours, a), (theirs, b)):
            give_gradients(each, step)
            optimiser.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
    kept = {f"{i}/{key}": t for i, entry in b.state_dict()["state"].items() for key, t in entry.items()}
    assert kept.keys() == a.state().keys()
    assert all(torch.equal(t, kept[name]) for name, t in a.state().items())


def test_the_first_step_is_as_long_as_lr_whatever_the_gradient():
    p = nn.Parameter(torch.zeros(3))
    p.grad = torch.tensor([1e-3, 1.0, -50.0])
    Adam([p], lr=0.1).step()
    assert torch.allclose(p, torch.tensor([-0.1, -0.1, 0.1]), rtol=2e-5)  # ε is a hundred-thousandth of the first


def test_a_parameter_without_a_gradient_stays_where_it_is():
    still, moving = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    moving.grad = torch.ones(2)
    optimiser = Adam([still, moving], lr=0.1)
    optimiser.step()
    assert torch.equal(still, torch.ones(2))
    assert not torch.equal(moving, torch.ones(2))
    Adam([still], lr=0.1).step()
    assert torch.equal(still, torch.ones(2))


def test_the_step_size_can_be_changed_in_place():
    p = nn.Parameter(torch.zeros(1))
    optimiser = Adam([p], lr=0.1)
    optimiser.set_lr(0.0)
    p.grad = torch.ones(1)
    optimiser.step()
    assert p.item() == 0


def test_factors_are_those_of_parameters_trained_alone():
    ours, alone = parameters(), parameters()
    factors = [1.0, 2.5, 1.0]
    together = Adam(ours, 1e-3, factors=factors)
    single = [Adam([p], 1e-3 * f) for p, f in zip(alone, factors, strict=True)]
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(alone, step)
        together.step()
        for each in single:
            each.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, alone, strict=True))


def test_state_is_restored_and_what_is_missing_is_refused():
    mine = parameters()
    optimiser = Adam(mine, 1e-3)
    give_gradients(mine, 0)
    optimiser.step()
    kept = {name: t.clone() for name, t in optimiser.state().items()}
    other = Adam(parameters(), 1e-3)
    other.restore(kept)
    assert all(torch.equal(t, kept[name]) for name, t in other.state().items())
    with pytest.raises(KeyError):
        other.restore({name: t for name, t in kept.items() if name != "1/exp_avg"})
