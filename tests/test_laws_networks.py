"""Laws that hold for every network."""

import pytest
import torch
from cases import NETWORKS, stir, without_gradient
from torch.autograd.functional import jacobian

from seqlatent.nn.causal import CACHED, CausalNetwork, expand_state, map_state

STEPS = 12


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> CausalNetwork:
    torch.manual_seed(0)
    net = NETWORKS[request.param]().double()
    stir(net, 0.1)
    return net.eval()


def inputs(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def influence(network: CausalNetwork) -> torch.Tensor:
    """(T, T) size of d h_t / d u_s, at [t, s]."""
    u = inputs(1, STEPS, network.in_dim)
    derivative = jacobian(lambda v: network(v)[0][0], u)
    return derivative[:, :, 0].abs().amax((1, 3))


def test_causal(network: CausalNetwork):
    size = influence(network)
    future = torch.ones(STEPS, STEPS).triu(1).bool()
    assert (size[future] == 0).all()
    assert (size.diagonal() > 0).all()


def test_receptive_field(network: CausalNetwork):
    size, field = influence(network), network.receptive_field
    for lag in range(STEPS):
        reached = size.diagonal(-lag)
        if field is None or lag < field:
            assert (reached > 0).all(), f"lag {lag} is in the receptive field but has no influence"
        else:
            assert (reached == 0).all(), f"lag {lag} is beyond the receptive field"


@pytest.mark.parametrize("cut", [1, 4, STEPS - 1])
def test_chunks_equal_the_whole(network: CausalNetwork, cut: int):
    u = inputs(2, STEPS, network.in_dim)
    whole, _ = network(u)
    first, state = network(u[:, :cut])
    second, _ = network(u[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-12)


def test_steps_equal_the_whole(network: CausalNetwork):
    u = inputs(2, STEPS, network.in_dim)
    whole, _ = network(u)
    state, steps = None, []
    for t in range(STEPS):
        h, state = network.step(u[:, t], state)
        steps.append(h)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3])
def test_many_sequences_continue_from_one(network: CausalNetwork, chunk: int):
    """A shared state gives the same results as a copy for each sequence."""
    u = inputs(4, STEPS, network.in_dim)
    u[:, :5] = u[:1, :5]
    whole, _ = network(u)
    _, one = network(u[:1, :5])
    state, rest = expand_state(one, 4), []
    for t in range(5, STEPS, chunk):
        h, state = network(u[:, t : t + chunk], state)
        rest.append(h)
    torch.testing.assert_close(torch.cat(rest, 1), whole[:, 5:], rtol=0, atol=1e-12)


def test_any_leading_dimensions(network: CausalNetwork):
    u = inputs(2, 3, STEPS, network.in_dim)
    h, state = network(u[:, :, :5])
    rest, _ = network(u[:, :, 5:], state)
    assert h.shape == (2, 3, 5, network.out_dim)
    one, _ = network(u[1, 2])
    torch.testing.assert_close(torch.cat([h, rest], 2)[1, 2], one, rtol=0, atol=1e-12)


def test_gradient_to_every_parameter(network: CausalNetwork):
    h, _ = network(inputs(2, STEPS, network.in_dim))
    h.square().sum().backward()
    assert without_gradient(network) == []


def test_finite_on_large_inputs(network: CausalNetwork):
    h, _ = network(1e3 * inputs(1, STEPS, network.in_dim))
    assert torch.isfinite(h).all()


@pytest.mark.parametrize("rows", [3, 2 * CACHED + 7])
def test_sampling_reads_as_training_does(network: CausalNetwork, rows: int):
    """Without gradients, steps of few and of many paths take shorter ways to the same features."""
    u = inputs(3, STEPS, network.in_dim)
    whole, _ = network(u)
    own = torch.arange(rows) % 3
    with torch.no_grad():
        h, state = network(u[:, :5])
        state = map_state(lambda s: s if len(s) == 1 else s[own], state)
        for t in range(5, STEPS):
            h, state = network(u[own, t : t + 1], state)
            torch.testing.assert_close(h, whole[own, t : t + 1], rtol=0, atol=1e-12)
