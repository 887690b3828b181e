"""The guide with a network of its own: its two forms, and what they depend on."""

import pytest
import torch
from cases import stir
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from seqlatent.models.latent.guide import GuideDistribution
from seqlatent.models.latent.guide_distribution import GUIDE_DISTRIBUTIONS
from seqlatent.models.latent.network_guide import NetworkGuide
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.recurrent import Recurrent

STEPS, LATENTS, SEEN = 6, 2, 3


@pytest.fixture(params=["cnn", "rnn"])
def network(request: pytest.FixtureRequest):
    size = SEEN + LATENTS
    return Convolution(size, 8, num_layers=2) if request.param == "cnn" else Recurrent(size, 8)


def guide_of(network, conditioning: str, distribution: str = "normal") -> NetworkGuide:
    torch.manual_seed(0)
    guide = NetworkGuide(network, LATENTS, conditioning, distribution=distribution).double()
    stir(guide)
    return guide


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("distribution", GUIDE_DISTRIBUTIONS)
@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_density_of_samples_is_the_change_of_variables(
    network, conditioning: str, distribution: str
):
    """log q(z) = log N(eps; 0, I) - log |det dz / d eps|, the determinant by autograd, whether z
    was sampled or is given."""
    guide, seen, eps = (
        guide_of(network, conditioning, distribution),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    z, log_q, _ = guide.sample(seen, eps)
    derivative = jacobian(lambda e: guide.sample(seen, e)[0].flatten(), eps)
    log_det = derivative.reshape(z.numel(), -1).det().abs().log()
    expected = Normal(0, 1).log_prob(eps).sum() - log_det
    assert log_q.sum().item() == pytest.approx(expected.item(), abs=1e-10)
    torch.testing.assert_close(guide.log_prob(seen, z), log_q, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_parallel_form_is_the_ancestral_density(network, conditioning: str):
    """prod_t q(z_t | x_{1:t}, z_{<t}), each factor a normal found from the prefix only."""
    guide, seen, eps = (
        guide_of(network, conditioning),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    z, log_q, _ = guide.sample(seen, eps)
    past = torch.zeros(1, 0, LATENTS, dtype=torch.float64)  # z_{<t}, or the noise behind it
    for t in range(STEPS):
        # Location and scale of step t do not depend on its own noise: two samples give them.
        at_zero, at_one = (
            _sample_last(guide, seen[:, : t + 1], past, torch.full((1, 1, LATENTS), float(e)))
            for e in (0.0, 1.0)
        )
        normal = Normal(at_zero, at_one - at_zero)
        expected = normal.log_prob(z[:, t]).sum()
        assert log_q[0, t].item() == pytest.approx(expected.item(), abs=1e-9)
        own = (z[:, t] - normal.loc) / normal.scale  # the noise recovered from z alone
        past = torch.cat([past, own[:, None]], 1)
    torch.testing.assert_close(past, eps, rtol=0, atol=1e-9)
    torch.testing.assert_close(guide.log_prob(seen, z), log_q, rtol=0, atol=1e-9)


def _sample_last(guide: NetworkGuide, seen, past, now) -> torch.Tensor:
    z, _, _ = guide.sample(seen, torch.cat([past, now.double()], 1))
    return z[:, -1]


@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_later_steps_do_not_enter(network, conditioning: str):
    guide, seen, eps = (
        guide_of(network, conditioning),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    size = jacobian(lambda s: guide.sample(s, eps)[0].sum(-1)[0], seen)[:, 0].abs().sum(-1)
    assert (size.triu(1) == 0).all()
    assert (size.diagonal() > 0).all()


def test_the_site_keeps_the_density_of_its_sample(network):
    """Pyro's plates call `expand`, which must not lose it."""
    guide, seen = guide_of(network, "noise"), noise(2, STEPS, SEEN)
    site = GuideDistribution(guide, seen)
    assert site.expand(torch.Size([2, STEPS])) is site
    torch.set_default_dtype(torch.float64)
    try:
        z = site.rsample()
    finally:
        torch.set_default_dtype(torch.float32)
    remembered = site.log_prob(z)
    recomputed = site.log_prob(z.clone())
    assert remembered is site.log_prob(z)
    torch.testing.assert_close(remembered, recomputed, rtol=0, atol=1e-8)


def test_a_smoothing_guide_sees_later_steps_and_no_padding():
    torch.manual_seed(0)
    backward = Recurrent(SEEN, 4)
    guide = NetworkGuide(Recurrent(SEEN + 4 + LATENTS, 8), LATENTS, "noise", backward).double()
    stir(guide)
    seen, eps = noise(2, STEPS, SEEN), noise(2, STEPS, LATENTS)
    lengths = torch.tensor([STEPS, STEPS - 2])

    def sample(ahead: torch.Tensor) -> torch.Tensor:
        return guide.sample(guide.prepare(seen, ahead, lengths, seen[..., :0]), eps)[0].sum(-1)

    size = jacobian(sample, noise(2, STEPS, SEEN)).abs().sum(-1)  # (2, t, 2, s)
    assert (size[0, :, 0] > 0).all()  # the first latent sees the last value, and through the noise
    assert (size[1, : STEPS - 2, 1, STEPS - 2 :] == 0).all()  # no padding
    assert (size[1, : STEPS - 2, 1, : STEPS - 2] > 0).all()
    assert (size[0, :, 1] == 0).all()


@pytest.mark.parametrize("distribution", GUIDE_DISTRIBUTIONS)
def test_a_guide_s_distribution_has_mass_one_and_the_right_mean(distribution: str):
    guide = guide_of(Convolution(SEEN + LATENTS, 8, num_layers=2), "noise", distribution)
    for p in guide.out.parameters():
        p.data.mul_(0.3)  # smoother maps, so that integrals over a grid are accurate
    q, _ = guide.distributions(noise(1, STEPS, SEEN), noise(1, STEPS, LATENTS))
    z = torch.linspace(-40, 40, 80_001, dtype=torch.float64)[:, None, None, None]
    with torch.no_grad():
        density = q.each_log_prob(z.expand(-1, 1, STEPS, LATENTS)).exp()
        mass, mean = (torch.trapezoid(f, dx=1e-3, dim=0) for f in (density, density * z))
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-4)
    torch.testing.assert_close(q.mean(), mean, rtol=0, atol=0.02)
    bent = (q.mean() - q.loc).abs().amax().item()
    assert (bent == 0) == (distribution == "normal")


def test_branched_gradients_of_log_q_pass_through_the_sample_only():
    """As the doubly reparametrised gradient requires."""
    guide = guide_of(Convolution(SEEN + LATENTS, 8, num_layers=2), "noise", "sinh-arcsinh-spline")
    seen, eps = noise(1, STEPS, SEEN), noise(2, 1, STEPS, LATENTS)
    z, log_q, _ = guide.sample(seen, eps, branched=True)
    through_z = torch.autograd.grad(log_q.sum(), z, retain_graph=True)[0]
    weight = guide.out.weight
    whole = torch.autograd.grad(log_q.sum(), weight, retain_graph=True)[0]
    by_z = torch.autograd.grad(z, weight, through_z)[0]
    torch.testing.assert_close(whole, by_z)
    assert whole.abs().sum() > 0


def test_branched_samples_share_the_first_particle_s_past(network):
    guide, seen, eps = (
        guide_of(network, "noise"),
        noise(1, STEPS, SEEN),
        noise(3, 1, STEPS, LATENTS),
    )
    z, log_q, _ = guide.sample(seen, eps, branched=True)
    own, own_q, _ = guide.sample(seen, eps[:1])
    torch.testing.assert_close(z[:1], own)
    torch.testing.assert_close(log_q[:1], own_q)
    for t in range(STEPS):  # particle 2 at step t, given the past of particle 0
        mixed = torch.cat([eps[0, :, :t], eps[2, :, t:]], 1)
        torch.testing.assert_close(z[2, :, t], guide.sample(seen, mixed)[0][:, t])
