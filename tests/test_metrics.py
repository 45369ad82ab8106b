"""Metrics against closed forms, published answers, and the libraries that compute the same."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from likelier import metrics
from likelier.errors import InputError
from likelier.metrics import (
    active_units,
    authenticity,
    class_histogram_kl,
    copied_share,
    data_copying_ct,
    frechet_distance,
    frechet_distance_infinity,
    inputs,
    kernel_distance,
    kl_per_dimension,
    knn_accuracy,
    linear_probe,
    missing_classes,
    mmd_to_prior,
    mse,
    nmi,
    precision_recall_density_coverage,
    principal_components,
    psnr,
    silhouette,
    ssim,
    stacked_modes,
)

# Under the run-time check of shapes, a wrong shape is refused before the function's own message.
REFUSED = (InputError, TypeCheckError)
PAIRWISE: list[Callable[[Tensor, Tensor], object]] = [
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
]


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact(n: int, mean: Tensor, variances: Tensor, seed: int = 0) -> Tensor:
    """n rows whose sample mean and covariance are exactly these."""
    x = normal(n, len(mean), seed)
    q, _ = torch.linalg.qr(x - x.mean(0))
    return mean + (q - q.mean(0)) * math.sqrt(n - 1) * variances.sqrt()


def blobs(n: int = 200, d: int = 5, classes: int = 4) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % classes
    return normal(n, d) + 2 * normal(classes, d, seed=1)[labels], labels


def shuffled(x: Tensor, seed: int) -> Tensor:
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


# Fréchet distance


def test_frechet_of_diagonal_gaussians() -> None:
    m, a, b = torch.tensor([1.0, -2, 0, 3]), torch.tensor([1.0, 4, 9, 0.25]), torch.tensor([2.0, 1, 9, 4])
    m, a, b = m.double(), a.double(), b.double()
    found = frechet_distance(exact(50, torch.zeros_like(m), a), exact(70, m, b, seed=1))
    assert found == pytest.approx(float(m.square().sum() + (a.sqrt() - b.sqrt()).square().sum()), rel=1e-9)


def test_frechet_with_fewer_rows_than_dimensions_is_the_nuclear_norm() -> None:
    x, y = normal(10, 40), 2 * normal(12, 40, seed=1) + 1
    xc, yc = (x - x.mean(0)) / math.sqrt(9), (y - y.mean(0)) / math.sqrt(11)
    root = torch.linalg.matrix_norm(xc @ yc.mT, ord="nuc")
    gap = (x.mean(0) - y.mean(0)).square().sum()
    assert frechet_distance(x, y) == pytest.approx(
        float(gap + xc.square().sum() + yc.square().sum() - 2 * root), rel=1e-8
    )


def test_frechet_agrees_with_scipy() -> None:
    from scipy.linalg import sqrtm

    x, y = normal(300, 12) @ normal(12, 12, seed=2), normal(200, 12, seed=1) @ normal(12, 12, seed=3) + 0.5
    s1, s2 = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    gap = float((x.mean(0) - y.mean(0)).square().sum())
    expected = gap + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2)))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)


def test_frechet_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.fid import _compute_fid

    x, y = normal(300, 12) @ normal(12, 12, seed=2), normal(200, 12, seed=1)
    expected = _compute_fid(x.mean(0), torch.cov(x.mT), y.mean(0), torch.cov(y.mT))
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=1e-8)


def test_frechet_floor_is_the_formula_of_its_bias() -> None:
    d, n = 84, 10_000
    predicted = 2 * d / n + d * (d + 1) / (2 * n)
    assert frechet_distance(normal(n, d), normal(n, d, seed=1)) == pytest.approx(predicted, rel=0.05)


@pytest.mark.parametrize("n", [5, 200])
def test_frechet_of_a_set_with_itself_is_nothing_and_a_shift_is_its_square(n: int) -> None:
    x = normal(n, 20)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x + 2) == pytest.approx(80, rel=1e-9)


def test_frechet_does_not_change_under_a_rotation() -> None:
    x, y = normal(100, 8), 3 * normal(90, 8, seed=1)
    q, _ = torch.linalg.qr(normal(8, 8, seed=2))
    assert frechet_distance(x @ q, y @ q) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_frechet_in_one_dimension() -> None:
    x, y = normal(30, 1), 2 * normal(40, 1, seed=1) + 1
    expected = (x.mean() - y.mean()).square() + (x.std() - y.std()).square()
    assert frechet_distance(x, y) == pytest.approx(float(expected))


# Kernel distance


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = normal(80, 6), normal(80, 6, seed=1) + 0.3
    assert kernel_distance(x, y) == pytest.approx(float(poly_mmd(x, y, degree=3, gamma=None, coef=1.0)), rel=1e-9)


def test_kernel_distance_of_a_set_with_itself() -> None:
    x = normal(100, 6)
    k = (x @ x.mT / 6 + 1) ** 3
    within = (k.sum() - k.trace()) / (100 * 99)
    assert kernel_distance(x, x) == pytest.approx(float(-(2 / 100) * (k.diag().mean() - within)), rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    draws = torch.tensor([kernel_distance(normal(20, 3, 2 * i), normal(15, 3, 2 * i + 1)) for i in range(400)])
    assert abs(float(draws.mean())) < 4 * float(draws.std()) / 20


# Precision, recall, density, coverage


def test_prdc_agrees_with_prdc() -> None:
    from prdc import compute_prdc

    real, fake = normal(150, 4), 0.7 * normal(110, 4, seed=1) + 0.4
    for k in (1, 5):
        expected = compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
        assert precision_recall_density_coverage(real, fake, k)._asdict() == pytest.approx(expected)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_prdc_of_a_set_with_itself_in_another_order(offset: float) -> None:
    x = normal(500, 64).float() + offset  # far from the origin, where x·y cancels
    assert precision_recall_density_coverage(x, shuffled(x, 1)) == (1, 1, 1, 1)


def test_prdc_of_sets_far_apart_is_nothing() -> None:
    x = normal(300, 10)
    assert precision_recall_density_coverage(x, x + 100) == (0, 0, 0, 0)


def test_prdc_of_one_real_image_repeated() -> None:
    real = normal(200, 10)
    found = precision_recall_density_coverage(real, real[:1].expand(50, -1))
    assert found.precision == 1
    assert found.recall == 0  # balls of radius 0 are empty
    assert found.coverage <= 0.2


def test_prdc_with_ties_agrees_with_counting() -> None:
    real, fake = torch.arange(6.0)[:, None], torch.tensor([[0.0], [0.5], [9.0], [9.0]])
    # k = 1: real balls are open and of radius 1; those of the fakes have radii .5, .5, 0, 0.
    assert precision_recall_density_coverage(real, fake, k=1) == (0.5, 1 / 6, 3 / 4, 2 / 6)


@pytest.mark.slow
def test_prdc_of_high_dimensional_gaussians_is_as_published() -> None:
    found = precision_recall_density_coverage(normal(10_000, 1000), normal(10_000, 1000, seed=1))
    # From draw to draw they vary by about .005, .01, .03 and .003 (three draws): a few images lie in very many balls.
    published, spread = (0.4772, 0.4705, 1.0555, 0.9735), (0.02, 0.03, 0.1, 0.01)
    for figure, value, tolerance in zip(found, published, spread, strict=True):
        assert figure == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("k", [0, 10])
def test_prdc_refuses_neighbours_that_there_are_not(k: int) -> None:
    with pytest.raises(InputError):
        precision_recall_density_coverage(normal(20, 3), normal(10, 3), k=k)


# What the distances have in common


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(6, 40), m=st.integers(6, 40), d=st.integers(1, 12))
def test_the_order_of_rows_does_not_matter(seed: int, n: int, m: int, d: int) -> None:
    x, y = normal(n, d, seed), normal(m, d, seed + 1) + 0.2
    for metric in PAIRWISE:
        assert metric(shuffled(x, seed), shuffled(y, seed)) == pytest.approx(metric(x, y), rel=1e-6, abs=1e-9)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(60, 7), normal(45, 7, seed=1)
    codes, labels = blobs(60)

    def all_of_them() -> list[object]:
        return [kernel_distance(x, y), *precision_recall_density_coverage(x, y), silhouette(codes, labels)]

    whole = all_of_them()
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 8 * 45 * 7)
    assert all_of_them() == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_distances_refuse_what_is_not_features(metric: Callable[[Tensor, Tensor], object]) -> None:
    x = normal(20, 3)
    broken = x.clone()
    broken[3, 1] = math.nan
    infinite = x.clone()
    infinite[3, 1] = math.inf
    for y in (x[:1], broken, infinite):
        with pytest.raises(InputError):
            metric(x, y)
    for y in (x[:, :2], x[:, 0], x.long()):
        with pytest.raises(REFUSED):
            metric(x, y)


@pytest.mark.parametrize("metric", PAIRWISE)
def test_real_features_that_do_not_vary_are_refused_and_fakes_that_do_not_are_not(
    metric: Callable[[Tensor, Tensor], object],
) -> None:
    x = normal(20, 3)
    one_point = torch.full((20, 3), 0.1)
    for dead in (one_point, torch.nextafter(one_point, torch.ones(())) * torch.tensor([1, 1, -1])):
        for y in (x, one_point):
            with pytest.raises(InputError, match="do not vary"):
                metric(dead, y)
    metric(x, one_point)
    metric(torch.cat([x[:, :1], one_point[:, 1:].double()], dim=1), x)  # some features may be dead


def test_a_collapsed_set_of_fakes_gets_its_figures() -> None:
    x = normal(500, 4)
    one_point = torch.zeros(500, 4, dtype=torch.float64)
    expected = x.mean(0).square().sum() + x.var(0).sum()
    assert frechet_distance(x, one_point) == pytest.approx(float(expected), rel=1e-9)
    assert kernel_distance(x, one_point) > 0.1


def test_no_metric_touches_the_global_generators() -> None:
    codes, labels = blobs()
    images = torch.linspace(0, 1, 144).reshape(1, 1, 12, 12)

    def state() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())  # noqa: NPY002

    def all_of_them() -> None:
        for metric in PAIRWISE:
            metric(codes, codes + 1)
        class_histogram_kl(torch.tensor([1, 2]), torch.tensor([2, 1]))
        psnr(images, images / 2)
        active_units(codes)
        kl_per_dimension(codes, codes)
        linear_probe(codes, labels, codes, labels)
        silhouette(codes, labels)
        principal_components(codes)
        authenticity(codes, codes + 1)
        copied_share(codes, codes + 1, codes)
        data_copying_ct(codes, codes + 1, codes, cells=2)
        frechet_distance_infinity(codes, codes + 1, torch.Generator().manual_seed(0))
        knn_accuracy(codes, labels, codes, labels)
        mmd_to_prior(codes, codes + 1)
        nmi(codes, labels)
        ssim(images, images / 2)
        stacked_modes(labels[:, None].expand(-1, 3))

    all_of_them()  # rich, which scikit-learn loads, draws from Python's generator once, as it is imported
    before = state()
    all_of_them()
    assert state() == before


def test_all_is_all() -> None:
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    assert metrics.__all__ == sorted(metrics.__all__)


# Classes


def test_class_histogram_kl_agrees_with_scipy() -> None:
    from scipy.stats import entropy

    fake, real = torch.tensor([5, 0, 20, 75]), torch.tensor([250, 250, 200, 300])
    assert class_histogram_kl(fake, real) == pytest.approx(float(entropy(fake.numpy(), real.numpy())), rel=1e-12)
    assert class_histogram_kl(3 * real, real) == 0


def test_one_class_of_ten_costs_log_ten() -> None:
    fake = torch.zeros(10, dtype=torch.long)
    fake[3] = 7
    assert class_histogram_kl(fake, torch.full((10,), 100)) == pytest.approx(math.log(10))
    assert missing_classes(fake) == 9


@pytest.mark.parametrize(
    ("fake", "real"), [([1, 1], [1, 0]), ([0, 0], [1, 1]), ([-1, 2], [1, 1]), ([math.nan, 1.0], [1.0, 1.0])]
)
def test_class_histograms_that_have_no_divergence_are_refused(fake: list[float], real: list[float]) -> None:
    with pytest.raises(InputError):
        class_histogram_kl(torch.tensor(fake), torch.tensor(real))


def test_class_histograms_of_different_classes_are_refused() -> None:
    with pytest.raises(REFUSED):
        class_histogram_kl(torch.ones(3), torch.ones(4))


# Reconstruction


def test_psnr_of_a_tenth_is_20_decibels() -> None:
    x = torch.full((3, 1, 8, 8), 0.25, dtype=torch.float64)
    assert mse(x, x + 0.1) == pytest.approx(0.01)
    assert psnr(x, x + 0.1) == pytest.approx(20)
    assert psnr(x, x) == math.inf


def test_reconstruction_agrees_with_torchmetrics() -> None:
    from torchmetrics.functional import mean_squared_error
    from torchmetrics.functional.image import peak_signal_noise_ratio

    x, y = normal(5, 3 * 64).sigmoid().view(5, 3, 8, 8), normal(5, 3 * 64, 1).sigmoid().view(5, 3, 8, 8)
    assert mse(x, y) == pytest.approx(float(mean_squared_error(x.contiguous(), y.contiguous())))
    assert psnr(x, y) == pytest.approx(float(peak_signal_noise_ratio(y, x, data_range=1.0)))


@pytest.mark.parametrize(
    "y", [torch.zeros(2, 1, 4, 5), torch.full((2, 1, 4, 4), 1.1), torch.full((2, 1, 4, 4), math.nan)]
)
def test_reconstructions_that_are_not_comparable_are_refused(y: Tensor) -> None:
    with pytest.raises(REFUSED):
        mse(torch.zeros(2, 1, 4, 4), y)


def test_bytes_are_not_intensities() -> None:
    x = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(REFUSED):
        psnr(x, x)


# Latent space


def test_active_units_counts_dimensions_above_the_threshold() -> None:
    means = exact(100, torch.zeros(4).double(), torch.tensor([1.0, 0.0101, 0.0099, 0.0]).double())
    assert active_units(means) == 2
    assert active_units(means, threshold=0.005) == 3


def test_kl_per_dimension_agrees_with_torch() -> None:
    from torch.distributions import Normal, kl_divergence

    mu, log_var = normal(50, 4), normal(50, 4, seed=1)
    expected = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(kl_per_dimension(mu, log_var), expected)


def test_kl_of_the_prior_is_nothing_and_of_nearly_the_prior_not_negative() -> None:
    assert kl_per_dimension(torch.zeros(3, 2), torch.zeros(3, 2)).tolist() == [0, 0]
    assert bool((kl_per_dimension(torch.zeros(3, 2), torch.full((3, 2), 1e-6)) > 0).all())


def test_linear_probe_reads_what_is_linear_and_nothing_else() -> None:
    codes, labels = normal(400, 2), normal(400, 1, seed=1)[:, 0] > 0
    shifted = codes + 8 * labels[:, None]
    assert linear_probe(shifted[:200], labels[:200].long(), shifted[200:], labels[200:].long()) == 1
    assert linear_probe(codes[:200], labels[:200].long(), codes[200:], labels[200:].long()) < 0.65


def test_linear_probe_does_not_depend_on_the_scale_of_the_codes() -> None:
    codes, labels = blobs()
    scale = torch.tensor([1e-3, 1, 10, 1e3, 1e6])
    plain = linear_probe(codes[:100], labels[:100], codes[100:], labels[100:])
    scaled = linear_probe(codes[:100] * scale, labels[:100], codes[100:] * scale, labels[100:])
    assert scaled == pytest.approx(plain, abs=0.02)


def test_silhouette_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import silhouette_score

    codes, labels = blobs()
    labels = labels * 3 - 5  # any integers
    labels[0] = 99  # a class of one
    codes[8] = codes[4]  # a distance of 0 within a class
    assert silhouette(codes, labels) == pytest.approx(float(silhouette_score(codes, labels)), rel=1e-12)


def test_silhouette_of_equal_points_is_nothing() -> None:
    assert silhouette(torch.ones(6, 2), torch.arange(6) % 2) == 0


@pytest.mark.parametrize("metric", [silhouette, lambda codes, labels: linear_probe(codes, labels, codes, labels)])
def test_one_class_is_refused(metric: Callable[[Tensor, Tensor], float]) -> None:
    with pytest.raises(InputError):
        metric(normal(10, 2), torch.ones(10, dtype=torch.long))
    with pytest.raises(REFUSED):
        metric(normal(10, 2), torch.arange(9))


@pytest.mark.parametrize("n", [100, 20], ids=["more rows", "more dimensions"])
def test_principal_components_agree_with_scikit_learn(n: int) -> None:
    from sklearn.decomposition import PCA

    codes = normal(n, 6) @ normal(6, 40, seed=1) + 5
    expected = PCA(3).fit(codes.numpy())
    found = principal_components(codes, k=3)
    assert found.explained.numpy() == pytest.approx(expected.explained_variance_ratio_, rel=1e-9)
    assert found.projected.abs().numpy() == pytest.approx(np.abs(expected.transform(codes.numpy())), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(5, 40), d=st.integers(2, 8))
def test_principal_components_keep_their_sign_in_any_order_of_rows(seed: int, n: int, d: int) -> None:
    codes = normal(n, d, seed) * torch.arange(1, d + 1) ** 2
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    whole, mixed = principal_components(codes), principal_components(codes[order])
    torch.testing.assert_close(mixed.projected, whole.projected[order], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mixed.explained, whole.explained)


def test_principal_components_of_codes_that_do_not_vary() -> None:
    found = principal_components(torch.ones(5, 3))
    assert found.explained.tolist() == [0, 0]
    assert not found.projected.any()


def test_principal_components_of_many_dimensions_on_a_line() -> None:
    found = principal_components(normal(10, 1) @ normal(1, 50, seed=1))
    assert found.explained.tolist() == pytest.approx([1, 0])
    assert found.projected[:, 0].abs().min() > 0
    assert not found.projected[:, 1].any()


@pytest.mark.parametrize("k", [0, 4])
def test_principal_components_refuse_more_directions_than_there_are(k: int) -> None:
    with pytest.raises(InputError):
        principal_components(normal(10, 3), k=k)
