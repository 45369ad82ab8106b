"""The likelihood: where it is known in closed form the estimates sandwich it; what was killed goes on bit for bit."""

import json
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import MultivariateNormal

from likelier import cli, estimating, rng
from likelier.data import load as load_images
from likelier.distributions import Normal, standard_normal
from likelier.errors import InputError
from likelier.estimating import Halves, estimate_likelihood, keep, next_variance, read_likelihoods, why_undefined
from likelier.experiment import load
from likelier.family import Family, build, configure, find
from likelier.images import as_float
from likelier.likelihood import (
    Annealing,
    Bernoulli,
    Gaussian,
    Joint,
    adapted_steps,
    binarise,
    dequantise,
    evaluate,
    first_steps,
    hmc,
    importance_bound,
    joint,
    log_mean_exp,
    log_weights,
    sigmoid_schedule,
)
from likelier.rehearsal import rehearse
from likelier.run import Run

Likelier = Callable[..., Any]
D, LATENT, K = 12, 3, 4
TINY = {"images": 8, "chains": 2, "distributions": 20, "leapfrogs": 2}


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small gain nothing from a second thread, and lose much beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear:
    """x = W z + b + noise of variance σ²: log p(x) = log N(x; b, W Wᵀ + σ²I)."""

    def __init__(self, variance: float = 0.1, images: int = 30) -> None:
        g = generator(0)
        self.w, self.b = torch.randn(D, LATENT, generator=g), torch.randn(D, generator=g)
        self.variance = variance
        self.prior = standard_normal(LATENT, self.w)
        self.z = torch.randn(images, LATENT, generator=g)
        self.x = Gaussian(variance).sample(self.decode(self.z), g)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.w.mT + self.b

    def joint(self, variance: float | None = None) -> Joint:
        return joint(self.prior, self.decode, Gaussian(variance or self.variance), self.x)

    def exact(self, variance: float | None = None) -> Tensor:
        covariance = self.w @ self.w.mT + (variance or self.variance) * torch.eye(D)
        return MultivariateNormal(self.b.double(), covariance.double()).log_prob(self.x.double())

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Mean [m, latent] and covariance of p(z|x)."""
        precision = torch.eye(LATENT) + self.w.mT @ self.w / self.variance
        return (self.x - self.b) @ self.w @ precision.inverse() / self.variance, precision.inverse()


def chains(model: Linear, n: int, seed: int, variance: float | None = None) -> tuple[Annealing, Annealing]:
    """Forward and backward, with step sizes from a pilot."""
    g, likelihood = generator(seed), model.joint(variance)
    m = len(model.x)
    start = model.prior.sample(g, m * K).reshape(m, K, LATENT)
    pilot = Annealing(likelihood, start, sigmoid_schedule(100), first_steps(100, m), 3, g, adapt=True).finish()
    steps, schedule = adapted_steps(pilot.steps, n), sigmoid_schedule(n)
    start = model.prior.sample(g, m * K).reshape(m, K, LATENT)
    forward = Annealing(likelihood, start, schedule, steps, 3, g).finish()
    exact = model.z[:, None].expand(-1, K, -1)
    return forward, Annealing(likelihood, exact, schedule[::-1], steps.flip(0), 3, g).finish()


# The laws


def test_the_two_chains_sandwich_the_analytic_value_and_the_gap_closes():
    model, gaps = Linear(), []
    for n in (10, 30, 90):
        forward, backward = chains(model, n, seed=1)
        lower = log_mean_exp(forward.log_weight) - model.exact()
        upper = -log_mean_exp(backward.log_weight) - model.exact()
        error = 4 * math.sqrt((lower.var() + upper.var()).item() / len(model.x))
        assert lower.mean() < error
        assert upper.mean() > -error
        gaps.append((upper - lower).mean().item())
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def test_the_weights_are_unbiased_and_so_are_those_of_the_backward_chain():
    # E w = p(x) forwards, E w = 1/p(x) backwards: one image, many chains, few distributions
    model = Linear(variance=4.0, images=1)
    m, k, n = 1, 2_000, 40
    g, steps = generator(2), first_steps(n, m)
    start = model.prior.sample(g, m * k).reshape(m, k, LATENT)
    forward = Annealing(model.joint(), start, sigmoid_schedule(n), steps, 2, g).finish()
    mean, covariance = model.posterior()
    noise = torch.randn(k, LATENT, generator=g)
    exact = (mean + noise @ torch.linalg.cholesky(covariance).mT)[None]
    backward = Annealing(model.joint(), exact, sigmoid_schedule(n)[::-1], steps, 2, g).finish()
    for log_weight, sign in ((forward.log_weight, 1), (backward.log_weight, -1)):
        ratio = (log_weight - sign * model.exact()[:, None]).exp()
        assert abs(ratio.mean().item() - 1) < 4 * (ratio.std() / math.sqrt(k)).item()
        assert ratio.std() > 0.05  # a test of something


def test_hmc_leaves_a_gaussian_invariant():
    model, beta = Linear(variance=0.5, images=1), 0.3
    precision = torch.eye(LATENT) + beta * model.w.mT @ model.w / model.variance
    mean = torch.linalg.solve(precision, beta * (model.x[0] - model.b) @ model.w / model.variance)
    cholesky = torch.linalg.cholesky(precision.inverse())
    g, k = generator(3), 20_000
    point = evaluate(model.joint(), (mean + torch.randn(k, LATENT, generator=g) @ cholesky.mT)[None])
    before, rates = point.z, []
    for _ in range(10):
        point, probability = hmc(model.joint(), point, beta, torch.full((1, k), 0.4), 3, g)
        rates.append(probability.mean().item())
    assert 0.4 < sum(rates) / len(rates) < 0.97  # a step at which a wrong acceptance would show
    assert (point.z != before).any(-1).float().mean() > 0.9
    error = 5 / math.sqrt(k)
    torch.testing.assert_close((point.z[0].mean(0) - mean) @ cholesky.inverse().mT, torch.zeros(3), atol=error, rtol=0)
    whitened = cholesky.inverse() @ point.z[0].mT.cov() @ cholesky.inverse().mT
    torch.testing.assert_close(whitened, torch.eye(LATENT), atol=2 * error, rtol=0)


def test_a_trajectory_that_diverges_is_rejected():
    model = Linear(images=2)
    point = evaluate(model.joint(), model.z[:, None])
    moved, probability = hmc(model.joint(), point, 1.0, torch.full((2, 1), 1e30), 5, generator(0))
    assert torch.equal(moved.z, point.z)
    assert probability.tolist() == [[0], [0]]


def test_gradients_are_those_of_the_density():
    model, beta = Linear(), 0.7
    z = torch.randn(len(model.x), K, LATENT, generator=generator(4))
    wanted = -z + beta * (model.x[:, None] - model.decode(z)) @ model.w / model.variance
    torch.testing.assert_close(evaluate(model.joint(), z).gradient(beta), wanted, rtol=1e-4, atol=1e-3)


def test_acceptance_is_adapted_whatever_the_scale():
    for variance in (1.0, 0.001):
        forward, _ = chains(Linear(variance, images=10), 100, seed=5)
        assert 0.5 < forward.acceptance.mean() < 0.8


@pytest.mark.parametrize("n", [2, 3, 101])
def test_the_schedule_rises_from_0_to_1_and_is_symmetric(n: int):
    betas = torch.tensor(sigmoid_schedule(n))
    assert betas[0] == 0
    assert betas[-1] == 1
    assert (betas.diff() > 0).all()
    torch.testing.assert_close(betas, 1 - betas.flip(0))


def test_two_distributions_are_importance_sampling_from_the_prior():
    model = Linear(variance=2.0, images=3)
    z = model.prior.sample(generator(6), 3 * K).reshape(3, K, LATENT)
    annealing = Annealing(model.joint(), z, sigmoid_schedule(2), first_steps(2, 3), 5, generator(0)).finish()
    torch.testing.assert_close(annealing.log_weight, model.joint()(z)[1])
    assert torch.equal(annealing.acceptance, torch.ones(3, K, dtype=torch.float64))


def test_step_sizes_are_interpolated_along_the_schedule():
    pilot = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    torch.testing.assert_close(adapted_steps(pilot, 3).flatten(), torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))


def test_an_annealing_goes_on_bit_for_bit():
    model = Linear(images=4)

    def make() -> Annealing:
        g = generator(7)
        start = model.prior.sample(g, 4 * K).reshape(4, K, LATENT)
        return Annealing(model.joint(), start, sigmoid_schedule(30), first_steps(30, 4), 3, g, adapt=True)

    whole, part, resumed = make().finish(), make(), make()
    for _ in range(13):
        part.advance()
    state = {name: tensor.clone() for name, tensor in part.state().items()}
    part.finish()
    resumed.restore(state)
    resumed.finish()
    assert all(torch.equal(whole.state()[name], resumed.state()[name]) for name in whole.state())
    assert all(torch.equal(whole.state()[name], part.state()[name]) for name in whole.state())


# Importance sampling


def test_iwae_with_the_exact_posterior_is_constant_and_with_a_wrong_one_rises():
    model = Linear()
    mean, covariance = model.posterior()
    # a decoder of one code in a basis where the posterior is diagonal
    basis = torch.linalg.eigh(covariance).eigenvectors
    model.w, model.z, mean = model.w @ basis, model.z @ basis, mean @ basis
    log_var = (basis.mT @ covariance @ basis).diagonal().log().expand_as(mean)
    exact, wrong = Normal(mean, log_var), Normal(mean, log_var + 3.0)

    def bound(q: Normal, k: int) -> Tensor:
        g = generator(8)
        return importance_bound(lambda n: log_weights(model.joint(), q, n, g)[0], k, chunk=64)

    for k in (1, 200):
        torch.testing.assert_close(bound(exact, k), model.exact(), atol=2e-3, rtol=0)
    means = [(bound(wrong, k) - model.exact()).mean().item() for k in (1, 10, 5_000)]
    assert means[0] + 0.3 < means[1] < means[2] < 0.05


def test_how_many_draws_are_held_at_a_time_does_not_matter():
    table = 50 * torch.randn(3, 23, generator=generator(9), dtype=torch.float64)
    for chunk in (1, 7, 23, 100):
        columns = iter(table.unbind(1))
        bound = importance_bound(lambda n, c=columns: torch.stack([next(c) for _ in range(n)], 1), 23, chunk)
        torch.testing.assert_close(bound, log_mean_exp(table))


# Pixels


def test_dequantised_pixels_stay_in_the_cell_of_their_byte_and_fill_it():
    every = torch.arange(256, dtype=torch.uint8).repeat(2_000, 1)
    x = dequantise(every, generator(0))
    assert torch.equal((x * 256).floor().to(torch.uint8), every)
    assert x.min() >= 0
    assert x.max() < 1
    u = (x.double() * 256 - every).flatten()
    assert abs(u.mean().item() - 1 / 2) < 0.002
    assert abs(u.var().item() - 1 / 12) < 0.002


def test_binarised_pixels_are_bits_of_the_right_mean():
    every = torch.arange(0, 256, 51, dtype=torch.uint8).repeat(20_000, 1)
    bits = binarise(every, generator(0))
    assert set(bits.unique().tolist()) == {0, 1}
    torch.testing.assert_close(bits.mean(0), torch.arange(6) / 5, atol=0.02, rtol=0)
    assert bits[:, 0].max() == 0
    assert bits[:, -1].min() == 1


def test_observation_models_agree_with_torch():
    g = generator(10)
    x, decoded = torch.rand(3, 5, generator=g), torch.rand(3, K, 5, generator=g)
    normal = torch.distributions.Normal(decoded, math.sqrt(0.3)).log_prob(x[:, None]).sum(-1)
    torch.testing.assert_close(Gaussian(0.3).log_prob(x, decoded).float(), normal)
    squared = (x[:, None] - decoded).square().sum(-1).double()
    torch.testing.assert_close(Gaussian(0.3).squared_error(Gaussian(0.3).log_prob(x, decoded), 5), squared)
    bits = (x > 0.5).float()
    bernoulli = torch.distributions.Bernoulli(decoded).log_prob(bits[:, None].expand_as(decoded)).sum(-1)
    torch.testing.assert_close(Bernoulli().log_prob(bits, decoded).float(), bernoulli)
    certain = Bernoulli().log_prob(torch.tensor([[1.0]]), torch.tensor([[[0.0]], [[1.0]]]).reshape(1, 2, 1))
    torch.testing.assert_close(certain, torch.tensor([[math.log(1e-6), 0.0]], dtype=torch.float64), atol=1e-4, rtol=0)


def test_ais_of_a_bernoulli_agrees_with_the_sum_over_a_grid():
    w, b = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([0.3, 0.0, -1.0])
    x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    prior = standard_normal(1, w)
    likelihood = joint(prior, lambda z: (z @ w.mT + b).sigmoid(), Bernoulli(), x)
    grid = torch.linspace(-8, 8, 4_001).reshape(1, -1, 1).expand(2, -1, -1)
    exact = torch.logsumexp(sum(likelihood(grid)), dim=1) + math.log(16 / 4_000)
    g = generator(11)
    start = prior.sample(g, 2 * 500).reshape(2, 500, 1)
    found = Annealing(likelihood, start, sigmoid_schedule(30), first_steps(30, 2), 3, g).finish()
    torch.testing.assert_close(log_mean_exp(found.log_weight), exact, atol=0.05, rtol=0)


def test_the_variance_is_tuned_to_the_maximum_of_the_likelihood():
    model = Linear(images=100)
    best = minimize_scalar(lambda v: -model.exact(math.exp(v)).mean().item(), bounds=(-6, 2), method="bounded").x
    variance = 1.0
    for round in range(5):
        g, m = generator(round), len(model.x)
        start = model.prior.sample(g, m * K).reshape(m, K, LATENT)
        schedule, steps = sigmoid_schedule(60), first_steps(60, m)
        pilot = Annealing(model.joint(variance), start, schedule, steps, 3, g, adapt=True).finish()
        variance = next_variance([(pilot.log_weight, pilot.point.log_likelihood)], variance, D)
    assert abs(math.log(variance) - best) < 0.1


# Runs


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilots and tuning take seconds in earnest; here they need not be good."""
    monkeypatch.setattr(estimating, "ROUNDS", 2)
    monkeypatch.setattr(estimating, "TUNED_ON", 6)
    monkeypatch.setattr(estimating, "PILOT", (20, 20))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for family in ("vae", "gan"):
        options = ["--set", "latent=4", "--images", "6400", "-q", "--out", str(folder / family)]
        assert cli.main(["train", family, *options]) == 0
    return {family: folder / family for family in ("vae", "gan")}


@pytest.fixture
def vae(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["vae"], tmp_path / "a vae"))


def test_the_halves_of_the_test_images_do_not_overlap_and_are_fixed():
    digits = load_images("digits")
    halves = Halves(digits, None, 1_000)
    assert len(halves.reported) == 300
    assert not set(halves.tuning.tolist()) & set(halves.reported.tolist())
    assert torch.equal(Halves(digits, 10, 10).reported, halves.reported[:10])
    with pytest.raises(InputError, match="300 test images"):
        Halves(digits, 301, 301)


@pytest.mark.usefixtures("short")
def test_a_killed_ais_goes_on_bit_for_bit(vae: Path, monkeypatch: pytest.MonkeyPatch):
    def estimate(**options: Any) -> dict[str, Any]:
        found = estimate_likelihood(vae, "ais", numbers=TINY, device="cpu", **options)
        return {name: value for name, value in found.items() if name != "seconds"}

    state = torch.get_rng_state()
    counts: list[tuple[int, int]] = []
    whole = estimate(on_progress=lambda seen, total, record: counts.append((seen, total)))
    assert counts[-1][0] == counts[-1][1]
    assert torch.equal(torch.get_rng_state(), state)
    partial = vae / "likelihood.partial.safetensors"
    assert not partial.exists()
    monkeypatch.setattr(estimating, "SAVE_SECONDS", 0.0)
    for share in (0.3, 0.8, 0.97):  # while tuning, forwards, backwards

        def killer(seen: int, total: int, record: object, share: float = share) -> None:
            if seen > share * total:
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            estimate(on_progress=killer)
        assert partial.exists()
    fewer: list[int] = []
    assert estimate(on_progress=lambda seen, total, record: fewer.append(seen)) == whole
    assert len(fewer) < len(counts) / 4
    assert fewer[-1] == counts[-1][1]
    assert not partial.exists()
    with pytest.raises(RuntimeError, match="killed"):
        estimate(on_progress=killer)
    assert estimate(seed=1)["value"] != whole["value"]  # other conditions do not go on with it
    partial.write_bytes(b"harmed")
    assert estimate() == whole


@pytest.mark.usefixtures("short")
def test_every_estimate_is_kept_under_its_name(likelier: Likelier, vae: Path):
    numbers = ["--images", 8, "--chains", 2, "--distributions", 30, "--leapfrogs", 2, "--device", "cpu"]
    first = likelier("measure", vae, "--likelihood", "ais", *numbers, "--variance", 0.05, "--json", "-q")
    assert (first.code, first.err) == (0, "")
    result = json.loads(first.out)[str(vae)]
    assert result["name"] == "ais_gaussian-v0.05_c2_t30_l2_test_n8_dequantised"
    assert result["conditions"]["variance_from"] == "stated"
    assert (result["variance"], result["conditions"]["chains"], result["conditions"]["leapfrogs"]) == (0.05, 2, 2)
    assert result["gap"] > 0
    assert 0.2 < result["acceptance"] < 0.95
    iwae = likelier("measure", vae, "--likelihood", "iwae", "--samples", 100, "--variance", 0.05, "-q")
    assert "never set it beside the AIS" in iwae.out
    assert likelier("measure", vae, "--likelihood", "elbo", "--variance", 0.05, "-q").code == 0
    assert likelier("measure", vae, "--likelihood", "elbo", "--observation", "own", "--full", "-q").code == 0
    bits = likelier("measure", vae, "--likelihood", "ais", *numbers, "--observation", "bernoulli", "-q")
    assert bits.code == 0
    kept = read_likelihoods(vae)
    assert list(kept) == [
        "ais_gaussian-v0.05_c2_t30_l2_test_n8_dequantised",
        "iwae_gaussian-v0.05_k100_test_n300_dequantised",
        "elbo_gaussian-v0.05_test_n300_dequantised",
        "elbo_own_test_n300_raw",
        "ais_bernoulli_c2_t30_l2_test_n8_binarised",
    ]
    assert kept[result["name"]] == result
    ais, bound, elbo = (estimate["value"] for estimate in list(kept.values())[:3])
    assert elbo < bound
    assert ais == pytest.approx(bound, abs=10)
    (vae / "likelihood.json").write_text("[]")
    assert read_likelihoods(vae) == {}


def test_figures_that_are_taken_at_once_are_all_kept(vae: Path):
    run = Run.open(vae)
    before = read_likelihoods(vae)
    results = [{"name": f"figure-{i}", "value": float(i), "conditions": {}} for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(keep, run), results))
    assert read_likelihoods(vae) == before | {str(result["name"]): result for result in results}


def test_the_tuned_variance_is_the_better_one(vae: Path):
    tuned = estimate_likelihood(vae, "iwae", numbers={"samples": 20})
    for factor in (0.5, 2.0):
        stated = estimate_likelihood(vae, "iwae", numbers={"samples": 20}, variance=factor * tuned["variance"])
        assert stated["value"] < tuned["value"]


def test_own_bound_is_the_bound_of_the_family(vae: Path):
    digits = load_images("digits")
    x = as_float(digits.test.images[Halves(digits, None, 1_000).reported])
    wanted = load(vae).log_prob_bound(x, 1, rng.generator(0, "importance", 0)).double().mean().item()
    assert estimate_likelihood(vae, "elbo", observation="own")["value"] == pytest.approx(wanted)


@pytest.mark.usefixtures("short")
def test_a_gan_has_an_ais_and_no_iwae(likelier: Likelier, runs: dict[str, Path]):
    gan = runs["gan"]
    outcome = likelier(
        "measure", gan, "--likelihood", "ais", "--images", 4, "--chains", 2, "--distributions", 30, "--leapfrogs", 2
    )
    assert outcome.code == 0
    assert "BDMC gap" in outcome.out
    assert "the gap is how far it was off" in outcome.out
    assert "moves of a chain" in outcome.err
    none = likelier("measure", gan, "--likelihood", "iwae", "-q")
    assert (none.code, none.out) == (0, f"{gan}: no iwae: it has no encoder, and iwae draws from one; ais does not\n")


def test_a_family_without_a_continuous_prior_or_a_decoder_says_why(runs: dict[str, Path]):
    gan = load(runs["gan"])

    class Indices:
        """What a family of vector-quantised codes has for a prior."""

        mean = torch.zeros(4)

        def sample(self, generator: torch.Generator, n: int | None = None) -> Tensor:
            return torch.zeros(n or 1, 4, dtype=torch.int64)

        def log_prob(self, z: Tensor) -> Tensor:
            return torch.zeros(len(z))

    class Blind(Family):
        """It draws samples, and no more."""

        players = turns = sample = None

    assert why_undefined(gan, "ais", "gaussian") is None
    assert "no encoder" in str(why_undefined(gan, "elbo", "gaussian"))
    gan.prior = Indices
    assert "no continuous vectors" in str(why_undefined(gan, "ais", "gaussian"))
    assert "no continuous prior" in str(why_undefined(Family.__new__(Blind), "ais", "gaussian"))
    broken = load(runs["gan"])
    next(broken.parameters()).fill_(math.nan)
    assert "not finite" in str(why_undefined(broken, "ais", "gaussian"))


def test_training_on_forgets_the_likelihood(vae: Path):
    estimate_likelihood(vae, "elbo", variance=0.05)
    Run.open(vae).forget_measures()
    assert read_likelihoods(vae) == {}


@pytest.mark.parametrize("latent", [10, 50])
@pytest.mark.parametrize("family", ["wu2017.vae", "wu2017.gan"])
def test_the_families_of_the_recipe_play_and_decode(family: str, latent: int, monkeypatch: pytest.MonkeyPatch):
    recipe = Path(__file__).parents[1] / "recipes" / "wu2017"
    monkeypatch.chdir(recipe)
    monkeypatch.syspath_prepend(recipe)
    digits = load_images("digits")
    cls = find(family)
    model = build(cls, configure(cls, {"latent": str(latent), "batch": 8}), digits, seed=0)
    rehearse(model, digits, 0, torch.device("cpu"))
    assert why_undefined(model, "ais", "gaussian") is None
    hidden = {10: [64, 256, 256, 1024], 50: [1024, 1024, 1024]}[latent]
    decoder = model.decoder if family == "wu2017.vae" else model.generator
    widths = [layer.out_features for layer in decoder if isinstance(layer, torch.nn.Linear)]
    assert widths == [*hidden, 64]
    with pytest.raises(InputError, match="wanted latent to be one of 10, 50"):
        configure(cls, {"latent": 11})


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--likelihood", "asi"], "did you mean 'ais'"),
        (["--chains", "4"], "--chains without --likelihood"),
        (["--full"], "--full without --likelihood"),
        (["--likelihood", "ais", "--samples", "9"], "samples beside ais"),
        (["--likelihood", "elbo", "--samples", "9"], "samples beside elbo"),
        (["--likelihood", "iwae", "--leapfrogs", "9"], "leapfrogs beside iwae"),
        (["--likelihood", "ais", "--observation", "own"], "own beside ais"),
        (["--likelihood", "ais", "--observation", "gausian"], "did you mean 'gaussian'"),
        (["--likelihood", "ais", "--observation", "bernoulli", "--variance", "1"], "leave it out"),
        (["--likelihood", "ais", "--variance", "0"], "wanted a number"),
        (["--likelihood", "ais", "--distributions", "1"], "wanted a whole number of at least 2"),
        (["--likelihood", "ais", "--images", "301"], "300 test images"),
        (["--likelihood", "ais", "--device", "tpu"], "there is no device"),
    ],
)
def test_options_that_cannot_be(likelier: Likelier, runs: dict[str, Path], options: list[str], answer: str):
    outcome = likelier("measure", runs["vae"], *options, "-q")
    assert (outcome.code, outcome.out) == (2, "")
    assert answer in outcome.err
    assert outcome.err.count("\n") == 1
