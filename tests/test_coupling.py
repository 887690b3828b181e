"""Coupling layers as maps of a step: determinant, inverse, dependence and refused data.

Mass, samples and gradients are tested with all heads, and with the flow.
"""

import pytest
import torch
from cases import dataset, model, stir
from torch.autograd.functional import jacobian

from seqlatent.data.description import DataDescription
from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.coupling import ORDERS, Coupling, CouplingHead
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.errors import InputError

SIZES = [2, 3, 5, 8]


def head(channels: int, order: str, emission: str = "sinh-arcsinh-spline") -> CouplingHead:
    options = EmissionOptions(emission, num_bins=4, channels="coupling", coupling_order=order)
    data = DataDescription.of(dataset("real", channels, num=20))
    family = build_family(data, options, [1.0] * channels)
    torch.manual_seed(0)
    built = build_head(family, channels, options, 4)
    assert isinstance(built, CouplingHead)
    stir(built, 0.2)
    return built.double().eval()


def coupling(channels: int, order: str, num: int = 1) -> Coupling:
    generator = torch.Generator().manual_seed(3)
    return head(channels, order)(torch.randn(num, 4, generator=generator).double())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", SIZES)
def test_log_det_is_autograd_s_and_the_inverse_is_exact(channels: int, order: str):
    x = torch.randn(1, channels, generator=torch.Generator().manual_seed(1)).double()
    step = coupling(channels, order)
    z, log_det = step.map(x)
    whole = jacobian(lambda v: step.map(v)[0][0], x)[:, 0]
    assert log_det.item() == pytest.approx(whole.slogdet().logabsdet.item(), abs=1e-10)
    assert abs(log_det.item()) > 0.1  # far from the identity
    torch.testing.assert_close(step.invert(z), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", SIZES)
def test_every_channel_is_moved_and_affects_others(channels: int, order: str):
    step = coupling(channels, order)
    x = torch.zeros(1, channels).double()
    size = jacobian(lambda v: step.map(v)[0][0], x)[:, 0].abs()
    assert (size > 0).sum(0).min() >= min(2, channels)  # each value affects another's latent
    assert (size > 0).sum(1).min() >= channels - 1  # each latent depends on nearly all


def test_learned_mixing_begins_as_the_alternating_one():
    x = torch.randn(3, 4)
    for layer in range(4):
        fixed, learned = (CouplingHead(head(4, o).family, 4, 4, o).mixing[layer] for o in ORDERS)
        torch.testing.assert_close(fixed(x), learned(x))


def test_a_step_is_observed_in_all_channels_or_in_none():
    h, x = torch.zeros(2, 4).double(), torch.ones(2, 2).double()
    whole = head(2, "learned")(h, torch.tensor([[True, True], [False, False]]))
    assert whole.log_prob(x)[0] != 0
    assert whole.log_prob(x)[1] == 0
    with pytest.raises(InputError, match="use channels=autoregressive"):
        head(2, "learned")(h, torch.tensor([[True, False], [True, True]]))


def test_only_maps_can_be_coupled():
    with pytest.raises(InputError, match=r"channels=coupling needs .* not mixture"):
        model("rnn", "mixture", dataset("real", 2), channels="coupling")


def test_repeated_values_have_a_finite_density_that_rests_on_the_floor():
    built = head(2, "alternating", "normal").float()
    with torch.no_grad():
        for p in built.parameters():
            p.zero_()
        built.skip.bias[1::2] = -50.0  # every raw scale
    step = built(torch.zeros(1, 4))
    density = step.log_prob(torch.zeros(1, 2))
    floor = float(built.family.floor)
    expected = -4 * torch.tensor(floor).log() - torch.tensor(2 * torch.pi).log()
    torch.testing.assert_close(density[0], expected, rtol=1e-4, atol=0)
    assert (step.at_floor(torch.zeros(1, 2)) == 1).all()
    assert (
        head(2, "alternating").float()(torch.zeros(1, 4)).at_floor(torch.zeros(1, 2)) == 0
    ).all()
