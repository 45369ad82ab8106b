"""The measures of copying, and the nearest neighbours that they rest on."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics import (
    authenticity,
    copied_share,
    data_copying_ct,
    inputs,
    nearest_distances,
    nearest_other_distances,
    neighbours,
)
from likelier.metrics.data_copying import z_score

REFUSED = (InputError, TypeCheckError)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shuffled(x: Tensor, seed: int) -> Tensor:
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


def by_differences(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y).square().sum(-1).sqrt()


# Nearest neighbours


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 50),
    m=st.integers(1, 150),
    d=st.integers(1, 20),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    offset=st.sampled_from([0.0, 1e3]),
    grid=st.booleans(),  # many ties
)
def test_the_nearest_is_the_nearest(seed: int, n: int, m: int, d: int, scale: float, offset: float, grid: bool) -> None:
    x, y = normal(n, d, seed) + offset, normal(m, d, seed + 1) + offset
    if grid:
        x, y = x.round(), y.round()
    x, y = scale * x, scale * y
    found, all_of_them = neighbours.nearest(x, y), by_differences(x, y)
    assert found.distances.numpy() == pytest.approx(all_of_them.amin(1).numpy(), rel=1e-12, abs=0)
    assert all_of_them.gather(1, found.indices[:, None])[:, 0].numpy() == pytest.approx(
        found.distances.numpy(), rel=1e-12, abs=0
    )
    if m > 1:
        others = by_differences(y, y).fill_diagonal_(torch.inf).amin(1)
        assert nearest_other_distances(y).numpy() == pytest.approx(others.numpy(), rel=1e-12, abs=0)


def test_a_copy_beside_a_near_copy_is_at_distance_nothing() -> None:
    y = normal(500, 64) + 100
    y = torch.cat([y + 1e-9 * normal(500, 64, seed=1), y, y + 1e-9 * normal(500, 64, seed=2)])  # below float32
    found = neighbours.nearest(y[500:1000], y)
    assert found.distances.tolist() == [0] * 500
    assert found.indices.tolist() == list(range(500, 1000))


def test_one_far_row_does_not_hide_the_others() -> None:
    y = normal(300, 8)
    y[7] = 1e12
    assert nearest_distances(y[:5] + 1e-3, y).numpy() == pytest.approx([1e-3 * 8**0.5] * 5, rel=1e-9)


def test_a_row_that_is_there_twice_has_a_neighbour_at_nothing() -> None:
    x = normal(100, 6)
    found = nearest_other_distances(torch.cat([x, x[:3]]))
    assert found[:3].tolist() == found[100:].tolist() == [0, 0, 0]
    assert bool((found[3:100] > 0).all())
    assert nearest_other_distances(torch.ones(40, 3)).tolist() == [0] * 40


def test_nearest_distances_agree_with_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    x, y = normal(200, 30).float(), normal(1000, 30, seed=1).float()
    expected = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(y.double()).kneighbors(x.double())[0][:, 0]
    assert nearest_distances(x, y).numpy() == pytest.approx(expected, rel=1e-12)


def test_chunks_of_neighbours_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(60, 7), normal(45, 7, seed=1)
    whole = [nearest_distances(x, y), nearest_other_distances(x)]
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 8 * 45 * 2)
    for found, expected in zip([nearest_distances(x, y), nearest_other_distances(x)], whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.slow
def test_ten_thousand_among_ten_thousand_within_a_gibibyte() -> None:
    code = (
        "import resource, torch; from likelier import metrics as m; g = torch.Generator().manual_seed(0)\n"
        "x, y = torch.randn(2, 10_000, 64, generator=g); memory = lambda: resource.getrusage(0).ru_maxrss\n"
        "m.frechet_distance(x[:99], y[:99]); before = memory()\n"
        "m.frechet_distance(x, y); m.kernel_distance(x, y); m.precision_recall_density_coverage(x, y)\n"
        "m.authenticity(x, y); m.mmd_to_prior(x, y); print((memory() - before) / 2**20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) * (1 if sys.platform != "darwin" else 1 / 1024) < 1  # ru_maxrss: KiB, there bytes


# Authenticity


def test_authenticity_is_what_its_definition_says() -> None:
    train, fake = normal(80, 5), normal(60, 5, seed=1)
    distances = by_differences(fake, train)
    own = by_differences(train, train).fill_diagonal_(torch.inf).amin(1)
    expected = (distances.amin(1) > own[distances.argmin(1)]).double().mean()
    assert authenticity(train, fake) == authenticity(train, fake, nearest_other_distances(train)) == float(expected)


def test_copies_are_not_authentic_and_what_is_far_is() -> None:
    train = normal(300, 8)
    assert authenticity(train, shuffled(train, 1)) == 0
    assert authenticity(train, train + 100) == 1
    assert authenticity(train, train[:1].expand(50, -1)) == 0  # a collapsed generator gets its figure


def test_authenticity_refuses_distances_of_others() -> None:
    with pytest.raises(REFUSED):
        authenticity(normal(20, 3), normal(10, 3), torch.ones(19, dtype=torch.float64))


# The share of copies


@pytest.mark.parametrize("d", [2, 16])
def test_held_out_images_are_copied_by_a_hundredth_and_copies_by_their_share(d: int) -> None:
    train, held_out, fake = normal(2000, d), normal(2000, d, seed=1), normal(2000, d, seed=2)
    assert copied_share(train, held_out, held_out) == pytest.approx(0.01, abs=1e-3)
    assert copied_share(train, held_out, fake) == pytest.approx(0.01, abs=0.01)
    fake[:200] = train[:200]
    assert copied_share(train, held_out, fake) == pytest.approx(0.11, abs=0.01)
    assert copied_share(train, held_out, train) == 1
    assert copied_share(train, held_out, train + 100) == 0


def test_copies_count_where_the_data_repeat_themselves() -> None:
    train, held_out = normal(500, 4), normal(500, 4, seed=1)
    held_out[:25] = train[:25]  # 5% of the held-out images are in the training set
    assert copied_share(train, held_out, held_out) == 0.05
    assert copied_share(train, held_out, train[100:]) == 1


# C_T


def test_z_score_agrees_with_scipy_ties_included() -> None:
    from scipy.stats import mannwhitneyu, norm

    for x, y in ((normal(60, 1), normal(45, 1, seed=1) + 0.3), (normal(60, 1).round(), normal(45, 1, seed=1).round())):
        _, p = mannwhitneyu(x[:, 0], y[:, 0], alternative="less", method="asymptotic", use_continuity=False)
        assert z_score(x[:, 0], y[:, 0]) == pytest.approx(float(norm.ppf(p)), rel=1e-9)
    assert z_score(torch.ones(30).double(), torch.ones(20).double()) == 0


def test_ct_in_one_cell_is_the_z_score_of_all_distances() -> None:
    train, held_out, fake = normal(300, 4), normal(200, 4, seed=1), 1.1 * normal(150, 4, seed=2)
    expected = z_score(nearest_distances(fake, train), nearest_distances(held_out, train))
    assert data_copying_ct(train, held_out, fake, cells=1) == expected


def test_ct_of_cells_is_weighted_by_the_held_out_images() -> None:
    far = torch.tensor([1000.0, 0, 0])
    train = torch.cat([normal(100, 3), normal(100, 3, seed=1) + far])
    held_out = torch.cat([normal(30, 3, seed=2), normal(90, 3, seed=3) + far])
    fake = torch.cat([train[:50], 1.5 * normal(70, 3, seed=4) + far])
    scores = [
        z_score(nearest_distances(f, t), nearest_distances(h, t))
        for f, h, t in zip(fake.split([50, 70]), held_out.split([30, 90]), train.split(100), strict=True)
    ]
    assert scores[0] < -5 < 2 < scores[1]
    assert data_copying_ct(train, held_out, fake, cells=2) == pytest.approx((scores[0] + 3 * scores[1]) / 4, rel=1e-12)
    # Of the second cell too few fakes: the first stands alone.
    assert data_copying_ct(train, held_out, fake[:69], cells=2) == pytest.approx(scores[0], rel=1e-12)


def test_ct_is_negative_for_copies_and_about_nothing_for_honest_samples() -> None:
    train, held_out, fake = normal(1000, 5), normal(600, 5, seed=1), normal(600, 5, seed=2)
    assert abs(data_copying_ct(train, held_out, fake, cells=4)) < 3
    assert data_copying_ct(train, held_out, train[:600] + 0.01 * fake, cells=4) < -10
    assert data_copying_ct(train, held_out, 2 * fake, cells=4) > 3


def test_ct_wants_cells_that_are_filled() -> None:
    with pytest.raises(InputError, match="none of 50 cells"):
        data_copying_ct(normal(100, 3), normal(100, 3, seed=1), normal(100, 3, seed=2), cells=50)
    for cells in (0, 101):
        with pytest.raises(InputError):
            data_copying_ct(normal(100, 3), normal(100, 3, seed=1), normal(100, 3, seed=2), cells=cells)


# What they have in common

METRICS: list[Callable[[Tensor, Tensor, Tensor], float]] = [
    lambda train, held_out, fake: authenticity(train, fake),
    copied_share,
    lambda train, held_out, fake: data_copying_ct(train, held_out, fake, cells=2),
]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(100, 160), d=st.integers(1, 6))
def test_the_order_of_images_does_not_matter(seed: int, n: int, d: int) -> None:
    sets = normal(n, d, seed), normal(n, d, seed + 1), normal(n, d, seed + 2)
    for metric in METRICS:
        assert metric(*(shuffled(x, seed) for x in sets)) == pytest.approx(metric(*sets), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_measures_of_copying_refuse_what_is_not_features(metric: Callable[[Tensor, Tensor, Tensor], float]) -> None:
    x, held_out = normal(120, 3), normal(120, 3, seed=1)
    broken = x.clone()
    broken[3, 1] = np.nan
    for train, fake in ((x, broken), (broken, x), (x[:1], x), (x, x[:0]), (torch.ones(120, 3), x)):
        with pytest.raises(InputError):
            metric(train, held_out, fake)
    for fake in (x[:, :2], x[:, 0], x.long()):
        with pytest.raises(REFUSED):
            metric(x, held_out, fake)


def test_a_quantile_of_a_hundredth_wants_a_hundred_images() -> None:
    with pytest.raises(InputError, match="at least 100"):
        copied_share(normal(200, 3), normal(99, 3), normal(20, 3))
