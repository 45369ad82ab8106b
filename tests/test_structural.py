"""FD∞, stacked modes, structural similarity, and the latent space: neighbours, clusters, distance to the prior."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from likelier.errors import InputError
from likelier.metrics import (
    frechet_distance,
    frechet_distance_infinity,
    inputs,
    knn_accuracy,
    mmd_to_prior,
    nmi,
    ssim,
    stacked_modes,
)

REFUSED = (InputError, TypeCheckError)


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=chance(seed))


def pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=chance(seed))


# FD∞


def test_fd_infinity_of_two_samples_of_one_gaussian_is_nothing() -> None:
    n, d = 1000, 16
    found = [frechet_distance_infinity(normal(n, d, i), normal(n, d, 50 + i), chance(i)) for i in range(8)]
    floor = 2 * d / n + d * (d + 1) / (2 * n)  # .168
    assert abs(sum(found) / 8) < floor / 4
    assert max(map(abs, found)) < frechet_distance(normal(n, d), normal(n, d, 50))


@pytest.mark.parametrize(("n", "m"), [(800, 800), (2400, 600)])
def test_fd_infinity_recovers_a_known_distance_better_than_fd(n: int, m: int) -> None:
    d = 16
    a, b, shift = torch.linspace(0.5, 2, d).double(), torch.linspace(1.5, 1, d).double(), 0.1
    known = d * shift**2 + float((a - b).square().sum())
    errors, errors_of_fd = [], []
    for seed in range(8):
        real, fake = a * normal(n, d, seed), b * normal(m, d, 100 + seed) + shift
        errors.append(frechet_distance_infinity(real, fake, chance(seed)) - known)
        errors_of_fd.append(frechet_distance(real, fake) - known)
    assert abs(sum(errors)) < abs(sum(errors_of_fd)) / 2


def test_fd_infinity_of_copies_is_below_nothing() -> None:
    x = normal(1000, 16)
    assert frechet_distance_infinity(x, x.flip(0), chance(0)) < -0.05


def test_fd_infinity_repeats_and_does_not_mind_the_order_of_images() -> None:
    x, y = normal(200, 6), normal(150, 6, seed=1) + 0.3
    x[5] = x[9]
    found = frechet_distance_infinity(x, y, chance(3))
    assert frechet_distance_infinity(x, y, chance(3)) == found
    order = torch.randperm(150, generator=chance(4))
    assert frechet_distance_infinity(x.flip(0), y[order], chance(3)) == pytest.approx(found, rel=1e-12)
    assert frechet_distance_infinity(x, y, chance(5)) != found


def test_fd_infinity_refuses_what_it_cannot_extrapolate() -> None:
    with pytest.raises(InputError, match="more than 20"):
        frechet_distance_infinity(normal(100, 10), normal(20, 10), chance(0))
    with pytest.raises(InputError, match="do not vary"):
        frechet_distance_infinity(torch.ones(100, 10), normal(100, 10), chance(0))


# Stacked modes


def test_one_sample_of_each_mode_is_perfect() -> None:
    every = torch.cartesian_prod(*[torch.arange(10)] * 3)
    assert stacked_modes(every) == (1000, 0)
    half = every[every[:, 0] < 5]
    found = stacked_modes(half)
    assert found.modes == 500
    assert found.kl == pytest.approx(math.log(2))


def test_a_perfect_model_has_the_kl_that_its_number_of_samples_leaves() -> None:
    n = 26_000
    found = stacked_modes(torch.randint(10, (n, 3), generator=chance(0)))
    assert found.modes == 1000
    assert found.kl == pytest.approx(999 / (2 * n), rel=0.15)


def test_modes_are_held_against_the_data_where_it_is_given() -> None:
    digits = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 1, 1]])
    counts = torch.tensor([1, 2, 1, 1, 1, 1, 1, 1])
    p, q = torch.tensor([0.5, 0.25, 0.25]).double(), torch.tensor([2, 1, 1]).double() / 9
    assert stacked_modes(digits, 2, counts).kl == pytest.approx(float((p * (p / q).log()).sum()))
    assert stacked_modes(digits.flip(0), 2, counts) == stacked_modes(digits, 2, counts)


@pytest.mark.parametrize(
    "digits",
    [
        torch.zeros(0, 3).long(),
        torch.full((2, 3), 10),
        torch.full((2, 3), -1),
        torch.zeros(2, 2).long(),
        torch.ones(2, 3),
    ],
)
def test_what_is_not_three_classes_is_refused(digits: Tensor) -> None:
    with pytest.raises(REFUSED):
        stacked_modes(digits)
    with pytest.raises(REFUSED):
        stacked_modes(torch.zeros(2, 3).long(), real_counts=torch.ones(8))


# Structural similarity


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 32, 20), (4, 2, 11, 11)])
def test_ssim_agrees_with_torchmetrics_inside_the_border(shape: tuple[int, ...]) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    x = pictures(0, *shape)
    y = (0.7 * x + 0.3 * pictures(1, *shape)).clamp(0, 1)
    _, full = structural_similarity_index_measure(y, x, data_range=1.0, return_full_image=True)
    # It extends the images by reflection, and its mean counts the border too; Wang's code does neither.
    assert ssim(x, y) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), rel=1e-9)


def test_ssim_laws() -> None:
    x, y = pictures(0, 3, 1, 16, 16), pictures(1, 3, 1, 16, 16)
    assert ssim(x, x) == pytest.approx(1, abs=1e-12)
    assert ssim(x, y) == pytest.approx(ssim(y, x), rel=1e-12)
    assert ssim(x, y) < ssim(x, (x + y) / 2) < 1
    assert ssim(x, 1 - x) < 0
    assert ssim(x.flip(0), y.flip(0)) == pytest.approx(ssim(x, y), rel=1e-12)
    grey, a, b = torch.ones(1, 1, 12, 12).double(), 0.2, 0.6  # no structure: luminance alone
    assert ssim(a * grey, b * grey) == pytest.approx((2 * a * b + 1e-4) / (a * a + b * b + 1e-4))


def test_ssim_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pictures(0, 5, 1, 16, 16), pictures(1, 5, 1, 16, 16)
    whole = ssim(x, y)
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 8 * 2 * 256)
    assert ssim(x, y) == pytest.approx(whole, rel=1e-12)


def test_ssim_refuses_small_images_and_what_is_no_image() -> None:
    with pytest.raises(InputError, match="below 11"):
        ssim(torch.zeros(2, 1, 10, 28), torch.zeros(2, 1, 10, 28))
    x = torch.zeros(2, 1, 12, 12)
    for y in (x[:1], x + 1.1, x + math.nan, x.byte()):
        with pytest.raises(REFUSED):
            ssim(x, y)


# Latent space


def blobs(n: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 4
    return normal(n, 5, seed) + 1.2 * normal(4, 5, seed=77)[labels], labels


@pytest.mark.parametrize("k", [1, 2, 5])
def test_knn_agrees_with_scikit_learn(k: int) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    (train, labels), (test, test_labels) = blobs(), blobs(100, seed=1)
    expected = KNeighborsClassifier(k).fit(train.numpy(), labels.numpy()).score(test.numpy(), test_labels.numpy())
    assert 0.5 < expected < 1
    assert knn_accuracy(train, labels, test, test_labels, k) == pytest.approx(float(expected), abs=1e-12)


def test_knn_ties_go_to_the_smallest_label_and_all_at_one_distance_vote() -> None:
    train, labels = torch.tensor([[-1.0], [1.0], [1.0]]), torch.tensor([2, 7, 2])
    assert knn_accuracy(train, labels, torch.zeros(1, 1), torch.tensor([2]), k=1) == 1  # 2, 7 and 2 vote
    assert knn_accuracy(train[:2], labels[:2], torch.zeros(1, 1), torch.tensor([2]), k=2) == 1
    same = torch.ones(30, 4)  # an encoder that collapsed tells the most frequent class
    assert knn_accuracy(same, torch.arange(30) % 3 // 2, same, torch.zeros(30).long()) == 1


@pytest.mark.parametrize("k", [0, 11])
def test_knn_refuses_neighbours_that_there_are_not(k: int) -> None:
    with pytest.raises(InputError):
        knn_accuracy(normal(10, 2), torch.arange(10), normal(5, 2), torch.arange(5), k)


def test_nmi_of_clusters_that_are_the_classes_and_of_none() -> None:
    from sklearn.metrics import normalized_mutual_info_score

    codes, labels = normal(400, 3), torch.arange(400) % 4
    assert nmi(codes, labels) < 0.05
    apart = codes + 100 * labels[:, None]
    assert nmi(apart, labels) == pytest.approx(1)
    pairs = labels // 2  # two classes, each of two blobs; two clusters find them
    assert nmi(apart, pairs) == pytest.approx(normalized_mutual_info_score(pairs, pairs))
    assert nmi(torch.ones(20, 3), torch.arange(20) % 2) == 0


def test_mmd_to_prior_agrees_with_its_definition() -> None:
    x, y = normal(30, 4), 1.5 * normal(20, 4, seed=1) + 100  # far from the origin as well

    def k(a: Tensor, b: Tensor) -> Tensor:
        squares = (a[:, None] - b).square().sum(-1)
        return torch.stack([8 * s / (8 * s + squares) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)]).sum(0)

    expected = (k(x, x).sum() - 7 * 30) / (30 * 29) + (k(y, y).sum() - 7 * 20) / (20 * 19) - 2 * k(x, y).mean()
    assert mmd_to_prior(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_mmd_to_prior_is_unbiased_and_sees_a_narrow_posterior() -> None:
    draws = torch.tensor([mmd_to_prior(normal(20, 3, 2 * i), normal(15, 3, 2 * i + 1)) for i in range(400)])
    assert abs(float(draws.mean())) < 4 * float(draws.std()) / 20
    assert bool((draws < 0).any())
    assert mmd_to_prior(0.5 * normal(500, 3), normal(500, 3, seed=1)) > 10 * float(draws.std()) * 15 / 500


# What they have in common

OF_LABELS: list[Callable[[Tensor, Tensor], float]] = [
    nmi,
    lambda codes, labels: knn_accuracy(codes, labels, codes[:20], labels[:20]),
    lambda codes, labels: knn_accuracy(codes[:50], labels[:50], codes, labels),
]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(60, 90), grid=st.booleans())
def test_the_order_of_codes_does_not_matter(seed: int, n: int, grid: bool) -> None:
    codes, labels = blobs(n, seed)
    codes = codes.round() if grid else codes
    order = torch.randperm(n, generator=chance(seed))
    mixed = codes[order], labels[order]
    assert nmi(*mixed) == pytest.approx(nmi(codes, labels), rel=1e-9)
    assert knn_accuracy(*mixed, codes, labels) == knn_accuracy(codes, labels, codes, labels)
    assert knn_accuracy(codes, labels, *mixed) == pytest.approx(knn_accuracy(codes, labels, codes, labels))
    assert mmd_to_prior(mixed[0], codes + 1) == pytest.approx(mmd_to_prior(codes, codes + 1), rel=1e-9)


@pytest.mark.parametrize("metric", OF_LABELS)
def test_codes_that_are_not_codes_are_refused(metric: Callable[[Tensor, Tensor], float]) -> None:
    codes, labels = blobs(60)
    broken = codes.clone()
    broken[3, 1] = math.nan
    for bad, of in ((broken, labels), (codes[:, 0], labels), (codes, labels[:-1]), (codes.long(), labels)):
        with pytest.raises(REFUSED):
            metric(bad, of)


def test_sets_of_codes_that_do_not_fit_are_refused() -> None:
    codes, labels = blobs(60)
    with pytest.raises(InputError):
        nmi(codes, torch.ones(60, dtype=torch.long))
    with pytest.raises(REFUSED):
        knn_accuracy(codes, labels, codes[:, :3], labels)
    for y in (codes[:, :3], codes[:1], codes * math.nan):
        with pytest.raises(REFUSED):
            mmd_to_prior(codes, y)
