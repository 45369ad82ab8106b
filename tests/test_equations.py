"""Each player's gradient is that of the paper's equation, written out here once more, in float64."""

import math

import torch
from torch import Tensor

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
