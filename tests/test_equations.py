"""Each player's gradient is that of the paper's equation, written out here once more, in float64."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likelier.distributions import Normal
from likelier.family import Family, build, configure, find
from likelier.loop import gradients

SHAPE = (1, 8, 8)
BATCH = 6


class Script:
    """A Step whose images and noise are known beforehand."""

    batch = BATCH
    progress = torch.tensor(0.5)

    def __init__(self, noise: list[Tensor]) -> None:
        self.noise = list(noise)

    def images(self) -> Tensor:
        return images()

    def labels(self) -> Tensor:
        return torch.arange(BATCH) % 10

    def randn(self, *shape: int) -> Tensor:
        drawn = self.noise.pop(0)
        assert drawn.shape == shape
        return drawn


def images() -> Tensor:
    return torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def noise(count: int, latent: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(BATCH, latent, generator=generator, dtype=torch.float64) for _ in range(count)]


def double(name: str, **settings: object) -> Family:
    cls = find(name)
    family = build(cls, configure(cls, {"batch": BATCH, **settings}), SHAPE, seed=0).double()
    return family.eval()  # batch statistics off: the equations are about one image at a time


def played(family: Family, step: Script, move: int = 0) -> dict[str, list[Tensor]]:
    """The gradient that the loop would hand each player in the given move, no move being carried out."""
    parameters = {name: player.parameters() for name, player in family.players().items()}
    chosen = list(family.turns(step))[move]
    gradients(chosen, parameters)
    return {name: [p.grad.clone() for p in parameters[name]] for name in chosen.losses}


def written_out(objective: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(objective, parameters, retain_graph=True))


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted) > 0
    assert any(w.abs().max() > 1e-12 for w in wanted)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-9, atol=1e-12)


def evidence_lower_bound(vae: Family, log_likelihood, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Kingma & Welling 2014, eq. (3): E_q log p(x|z), and the KL of two normal distributions."""
    mu, log_var = vae.encoder(images()).chunk(2, dim=1)
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    z = mu + (0.5 * log_var).exp() * eps
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    return log_likelihood(images(), torch.sigmoid(vae.decoder(z))).sum(1).mean(), kl.mean()


def test_vae_climbs_the_bound_with_a_gaussian_of_the_labs_variance():
    vae, eps = double("vae", latent=3), noise(1, 3)

    def log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
        return torch.distributions.Normal(mean, math.sqrt(0.5)).log_prob(x).flatten(1)

    reconstruction, kl = evidence_lower_bound(vae, log_likelihood, eps[0])
    assert_same(played(vae, Script(eps))["vae"], written_out(-(reconstruction - kl), list(vae.parameters())))


def test_the_labs_squared_error_is_the_same_gradient():
    vae, eps = double("vae", latent=3), noise(1, 3)
    reconstruction, kl = evidence_lower_bound(vae, lambda x, mean: -((x - mean) ** 2).flatten(1), eps[0])
    assert_same(played(vae, Script(eps))["vae"], written_out(kl - reconstruction, list(vae.parameters())))


def test_reduction_mean_is_the_mean_over_pixels():
    vae, eps = double("vae", latent=3, reduction="mean"), noise(1, 3)
    reconstruction, kl = evidence_lower_bound(vae, lambda x, mean: -((x - mean) ** 2).flatten(1) / 64, eps[0])
    assert_same(played(vae, Script(eps))["vae"], written_out(kl - reconstruction, list(vae.parameters())))


def test_vae_with_bernoulli_pixels_and_beta():
    vae, eps = double("vae", latent=3, likelihood="bernoulli", beta=4), noise(1, 3)

    def log_likelihood(x: Tensor, p: Tensor) -> Tensor:
        return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1)

    reconstruction, kl = evidence_lower_bound(vae, log_likelihood, eps[0])
    assert_same(played(vae, Script(eps))["vae"], written_out(4 * kl - reconstruction, list(vae.parameters())))


def test_vae_learns_its_variance_from_the_same_bound():
    vae, eps = double("vae", latent=3, likelihood="gaussian-learned"), noise(1, 3)
    log_variance = vae.observation.learned

    def log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
        return torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(x).flatten(1)

    reconstruction, kl = evidence_lower_bound(vae, log_likelihood, eps[0])
    wanted = written_out(kl - reconstruction, list(vae.parameters()))
    assert_same(played(vae, Script(eps))["vae"], wanted)


def test_the_bound_is_constant_in_k_where_the_posterior_is_exact():
    """x does not depend on z when the decoder's weights are zero, so q = p is the posterior."""
    vae = double("vae", latent=2)
    for p in (*vae.encoder.parameters(), *vae.decoder.parameters()):
        torch.nn.init.zeros_(p)
    bounds = [vae.log_prob_bound(images(), k, torch.Generator().manual_seed(0)) for k in (1, 5, 50)]
    torch.testing.assert_close(bounds[0], bounds[1])
    torch.testing.assert_close(bounds[0], bounds[2])
    exact = torch.distributions.Normal(0.5, math.sqrt(0.5)).log_prob(images()).flatten(1).sum(1)
    torch.testing.assert_close(bounds[0], exact)


def test_the_bound_rises_with_k_where_the_posterior_is_wrong():
    vae = double("vae", latent=2)
    bounds = [vae.log_prob_bound(images(), k, torch.Generator().manual_seed(0)).mean() for k in (1, 20, 500)]
    assert bounds[0] < bounds[1] < bounds[2]


def adversarial_value(d_real: Tensor, *d_fakes: Tensor) -> Tensor:
    """Goodfellow et al. 2014, eq. (1): E log D(x) + E log(1 − D(G(z)))."""
    value = torch.log(torch.sigmoid(d_real)).mean()
    for d_fake in d_fakes:
        value = value + torch.log(1 - torch.sigmoid(d_fake)).mean()
    return value


def check_gan(name: str) -> None:
    gan, z = double(name, latent=3), noise(2, 3)
    generated = [torch.sigmoid(gan.generator(z_)) for z_ in z]
    d_move = played(gan, Script(z), move=0)
    value = adversarial_value(gan.discriminator(images()), gan.discriminator(generated[0].detach()))
    assert_same(d_move["discriminator"], written_out(-value, list(gan.discriminator.parameters())))
    assert set(d_move) == {"discriminator"}
    g_move = played(gan, Script(z), move=1)
    non_saturating = -torch.log(torch.sigmoid(gan.discriminator(generated[1]))).mean()
    assert_same(g_move["generator"], written_out(non_saturating, list(gan.generator.parameters())))
    assert set(g_move) == {"generator"}


def test_gan_plays_the_minimax_game():
    check_gan("gan")


def test_dcgan_plays_the_same_game():
    check_gan("dcgan")


def judge(gan: Family, x: Tensor) -> Tensor:
    """D(x), layer by layer."""
    hidden, last = gan.discriminator[1], gan.discriminator[3]
    features = F.leaky_relu(x.flatten(1) @ hidden.weight.T + hidden.bias, 0.2)
    return (features @ last.weight.T).squeeze(1) + (0 if last.bias is None else last.bias)


def norms_of_slopes(judged: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """‖∇D‖ at each point, one point at a time."""
    norms = []
    for point in points.detach():
        x = point[None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(judged(x).sum(), x, create_graph=True)
        norms.append(slope.square().sum().sqrt())
    return torch.stack(norms)


def parameters_of(gan: Family, player: str) -> list[torch.nn.Parameter]:
    return gan.players()[player].parameters()


def test_lsgan_plays_equations_2_and_9():
    gan, z = double("lsgan", latent=3, network="mlp"), noise(2, 3)
    first, second = (torch.sigmoid(gan.generator(draw)) for draw in z)
    d_loss = (judge(gan, images()) - 1).pow(2).mean() / 2 + judge(gan, first.detach()).pow(2).mean() / 2
    g_loss = (judge(gan, second) - 1).pow(2).mean() / 2
    found = [played(gan, Script(z), move) for move in (0, 1)]
    assert_same(found[0]["discriminator"], written_out(d_loss, parameters_of(gan, "discriminator")))
    assert_same(found[1]["generator"], written_out(g_loss, parameters_of(gan, "generator")))
    assert [list(move) for move in found] == [["discriminator"], ["generator"]]


def test_wgan_gp_plays_equation_3():
    gan, z = double("wgan_gp", latent=3, network="mlp", critic=2, lam=7), noise(3, 3)
    lines = [draw.view(BATCH, 1, 1, 1) for draw in torch.linspace(-2, 2, 2 * BATCH, dtype=torch.float64).chunk(2)]
    script = [z[0], lines[0], z[1], lines[1], z[2]]
    samples = [torch.sigmoid(gan.generator(draw)) for draw in z]
    for move in (0, 1):
        epsilon = torch.distributions.Normal(0.0, 1.0).cdf(lines[move])
        between = epsilon * images() + (1 - epsilon) * samples[move].detach()
        penalty = (norms_of_slopes(partial(judge, gan), between) - 1).pow(2).mean()
        wanted = judge(gan, samples[move].detach()).mean() - judge(gan, images()).mean() + 7 * penalty
        found = played(gan, Script(script), move)
        assert list(found) == ["discriminator"]
        assert_same(found["discriminator"], written_out(wanted, parameters_of(gan, "discriminator")))
    found = played(gan, Script(script), 2)
    assert list(found) == ["generator"]
    assert_same(found["generator"], written_out(-judge(gan, samples[2]).mean(), parameters_of(gan, "generator")))


def test_sngan_plays_equations_8_16_and_17():
    """With σ from a singular value decomposition; the power method has been given the time to find it."""
    gan, z = double("sngan", latent=3, network="mlp", hidden=5), noise(2, 3)
    gan.train()
    for _ in range(3_000):
        gan.score(images())
    gan.eval()
    layers = [gan.discriminator[1], gan.discriminator[3]]
    raw = [layer.parametrizations.weight.original for layer in layers]

    def normalised(x: Tensor) -> Tensor:
        first, second = (w / torch.linalg.matrix_norm(w, 2) for w in raw)
        return (F.leaky_relu(x.flatten(1) @ first.T + layers[0].bias, 0.2) @ second.T + layers[1].bias).squeeze(1)

    samples = [torch.sigmoid(gan.generator(draw)) for draw in z]
    layers[1].bias.data += 0.9  # so that some images lie beyond the margin
    d_real, d_fake = normalised(images()), normalised(samples[0].detach())
    assert 0 < (d_real < 1).sum() < BATCH
    v_d = torch.minimum(torch.zeros(BATCH), -1 + d_real).mean() + torch.minimum(torch.zeros(BATCH), -1 - d_fake).mean()
    found = [played(gan, Script(z), move) for move in (0, 1)]
    assert_same(found[0]["discriminator"], written_out(-v_d, parameters_of(gan, "discriminator")))
    assert_same(found[1]["generator"], written_out(-normalised(samples[1]).mean(), parameters_of(gan, "generator")))


def test_the_largest_singular_value_of_every_layer_of_sngans_d_is_1():
    gan = build(find("sngan"), find("sngan").Config(network="conv", classes=4), SHAPE, seed=0).train()
    with torch.no_grad():
        for _ in range(500):
            gan.score(images().float(), torch.arange(BATCH) % 4)
    layers = [m for m in (*gan.discriminator.modules(), gan.projection) if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_dragan_plays_the_game_with_a_penalty_around_the_images():
    gan, z = double("dragan", latent=3, network="mlp", lam=7), noise(2, 3)
    delta = torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    first, second = (torch.sigmoid(gan.generator(draw)) for draw in z)
    near = images() + images().flatten().var().sqrt() / 2 * delta
    value = adversarial_value(judge(gan, images()), judge(gan, first.detach()))
    penalty = (norms_of_slopes(partial(judge, gan), near) - 1).pow(2).mean()
    script = [z[0], delta, z[1]]
    found = [played(gan, Script(script), move) for move in (0, 1)]
    assert_same(found[0]["discriminator"], written_out(-value + 7 * penalty, parameters_of(gan, "discriminator")))
    non_saturating = -torch.log(torch.sigmoid(judge(gan, second))).mean()
    assert_same(found[1]["generator"], written_out(non_saturating, parameters_of(gan, "generator")))


@pytest.mark.parametrize(("r1", "r2"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("pairing", [True, False])
def test_r3gan_plays_equations_2_and_3(pairing: bool, r1: bool, r2: bool):
    penalty = {"gamma": 0.7, "every": 1} if r1 or r2 else {}
    gan = double("r3gan", latent=3, hidden=7, depth=1, r1=r1, r2=r2, pairing=pairing, **penalty)
    z = noise(8, 3)  # four rounds in a turn, unless it is said otherwise
    first, second = (torch.sigmoid(gan.generator(draw)) for draw in z[:2])
    x, fake = images(), first.detach()

    def f(t: Tensor) -> Tensor:
        return -torch.log(1 + torch.exp(-t))

    if pairing:
        d_loss = -f(judge(gan, x) - judge(gan, fake)).mean()
        g_loss = -f(judge(gan, second) - judge(gan, x)).mean()
    else:
        d_loss = -adversarial_value(judge(gan, x), judge(gan, fake))
        g_loss = -torch.log(torch.sigmoid(judge(gan, second))).mean()
    for wanted, points in ((r1, x), (r2, fake)):
        if wanted:
            d_loss = d_loss + 0.7 / 2 * norms_of_slopes(partial(judge, gan), points).pow(2).mean()
    found = [played(gan, Script(z), move) for move in (0, 1)]
    assert_same(found[0]["discriminator"], written_out(d_loss, parameters_of(gan, "discriminator")))
    assert_same(found[1]["generator"], written_out(g_loss, parameters_of(gan, "generator")))


def test_penalties_of_r3gan_that_come_more_rarely_weigh_more():
    """In one of `every` moves of D and as many times as heavy: the same on average."""
    gan, z = double("r3gan", latent=3, hidden=7, depth=1, gamma=0.7, every=2), noise(4, 3)
    samples = [torch.sigmoid(gan.generator(draw)).detach() for draw in z]
    for move, weight in ((0, 2 * 0.7), (2, 0)):
        wanted = torch.log(1 + torch.exp(judge(gan, samples[move]) - judge(gan, images()))).mean()
        for points in (images(), samples[move]):
            wanted = wanted + weight / 2 * norms_of_slopes(partial(judge, gan), points).pow(2).mean()
        found = played(gan, Script(z), move)
        assert_same(found["discriminator"], written_out(wanted, parameters_of(gan, "discriminator")))


def test_r3gan_with_every_part_taken_out_is_the_gan():
    gan, z = double("gan", latent=3), noise(8, 3)  # of which the one with one round in a turn takes two
    bare = double("r3gan", latent=3, hidden=256, depth=1, pairing=False, r1=False, r2=False)
    bare.load_state_dict(gan.state_dict())
    bare.generator[1] = gan.generator[1]  # G's nonlinearity, which is LeakyReLU in the one and ReLU in the other
    for move, player in ((0, "discriminator"), (1, "generator")):
        found, wanted = (played(family, Script(z), move) for family in (bare, gan))
        assert list(found) == list(wanted) == [player]
        assert_same(found[player], wanted[player])


@pytest.mark.parametrize(("name", "gamma"), [("gan", None), ("r3gan", 0.7), ("r3gan", 0)])
def test_a_class_is_told_by_its_vectors_projection(name: str, gamma: float | None):
    """Miyato & Koyama 2018, eq. (3), image by image; G has the class beside its noise."""
    settings = {} if gamma is None else {"gamma": gamma, "depth": 1, **({"every": 1} if gamma else {})}
    gan, z = double(name, latent=3, hidden=7, classes=10, **settings), noise(8, 3)
    labels = torch.arange(BATCH) % 10

    def told(x: Tensor) -> Tensor:
        hidden, last = gan.discriminator[1], gan.discriminator[3]
        scores = []
        for image, y in zip(x, labels, strict=True):
            phi = F.leaky_relu(hidden.weight @ image.flatten() + hidden.bias, 0.2)
            level = 0 if last.bias is None else last.bias[0]
            scores.append(last.weight[0] @ phi + level + gan.projection.weight[y] @ phi)
        return torch.stack(scores)

    def sampled(draw: Tensor) -> Tensor:
        return torch.sigmoid(gan.generator(torch.cat([draw, torch.eye(10, dtype=torch.float64)[labels]], 1)))

    x, fake, answer = images(), sampled(z[0]).detach(), sampled(z[1])
    if gamma is None:
        d_loss = -adversarial_value(told(x), told(fake))
        g_loss = -torch.log(torch.sigmoid(told(answer))).mean()
    else:
        d_loss = torch.log(1 + torch.exp(told(fake) - told(x))).mean()
        g_loss = torch.log(1 + torch.exp(told(x) - told(answer))).mean()
        for points in (x, fake):
            points = points.clone().requires_grad_()
            (slopes,) = torch.autograd.grad(told(points).sum(), points, create_graph=True)
            d_loss = d_loss + gamma / 2 * slopes.pow(2).sum() / BATCH
    found = [played(gan, Script(z), move) for move in (0, 1)]
    judges = [*gan.discriminator.parameters(), *gan.projection.parameters()]
    assert_same(found[0]["discriminator"], written_out(d_loss, judges))
    assert_same(found[1]["generator"], written_out(g_loss, list(gan.generator.parameters())))


def test_vae_gan_plays_algorithm_1_of_larsen():
    gamma = 0.3
    hybrid, draws = double("vae_gan", latent=3, gamma=gamma), noise(2, 3)
    x, (eps, z_p) = images(), draws
    mu, log_var = hybrid.encoder(x).chunk(2, dim=1)
    x_tilde = torch.sigmoid(hybrid.decoder(mu + (0.5 * log_var).exp() * eps))
    x_p = torch.sigmoid(hybrid.decoder(z_p))
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    l_prior = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()  # (4)
    similarity = torch.distributions.Normal(hybrid.dis_l(x_tilde), 1.0).log_prob(hybrid.dis_l(x))
    l_llike = -similarity.sum(1).mean()  # (7)

    def dis(images: Tensor) -> Tensor:
        return hybrid.dis_head(hybrid.dis_l(images))

    l_gan = -adversarial_value(dis(x), dis(x_p), dis(x_tilde))  # (5), as the loss that algorithm 1 descends
    found = played(hybrid, Script(draws))
    dis_parameters = [*hybrid.dis_l.parameters(), *hybrid.dis_head.parameters()]
    assert_same(found["encoder"], written_out(l_prior + l_llike, list(hybrid.encoder.parameters())))
    assert_same(found["decoder"], written_out(gamma * l_llike - l_gan, list(hybrid.decoder.parameters())))
    assert_same(found["discriminator"], written_out(l_gan, dis_parameters))


def known_posterior() -> tuple[Family, Tensor, Tensor]:
    """A VAE whose x does not depend on z, with an encoder that is wrong in a known way; log p(x), and KL(q ‖ p)."""
    vae = double("vae", latent=2)
    for p in (*vae.encoder.parameters(), *vae.decoder.parameters()):
        torch.nn.init.zeros_(p)
    mu, log_var = torch.tensor([0.7, -0.4]), torch.tensor([-0.5, 0.3])
    vae.encoder[-1].bias.data.copy_(torch.cat([mu, log_var]))
    q = torch.distributions.Normal(mu.double(), (0.5 * log_var).exp().double())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    return vae, torch.distributions.Normal(0.5, math.sqrt(0.5)).log_prob(images()).flatten(1).sum(1), kl


def test_the_bound_with_one_sample_is_the_elbo():
    vae, log_p, kl = known_posterior()
    generator = torch.Generator().manual_seed(0)
    bound = torch.stack([vae.log_prob_bound(images(), 1, generator) for _ in range(4_000)]).mean(0)
    torch.testing.assert_close(bound, log_p - kl, rtol=0, atol=0.06)  # a tenth of the KL; about four standard errors
    assert kl > 0.3


def test_the_bound_with_many_samples_is_the_likelihood():
    vae, log_p, _ = known_posterior()
    bound = vae.log_prob_bound(images(), 5_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(bound, log_p, rtol=0, atol=0.1)


def test_the_density_of_a_normal_is_that_of_torch():
    mu, log_var, z = noise(3, 4)
    wanted = torch.distributions.Normal(mu, (0.5 * log_var).exp()).log_prob(z).sum(1)
    torch.testing.assert_close(Normal(mu, log_var).log_prob(z), wanted)
