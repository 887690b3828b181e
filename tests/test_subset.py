"""Sets of channels, against enumeration of all subsets."""

import itertools

import pytest
import torch
from cases import stir

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.categorical import Bernoulli
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.distributions.subset import SubsetHead

D = 6
SUBSETS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)))  # (64, 6)


def head(kind: str) -> SubsetHead | AutoregressiveHead:
    torch.manual_seed(0)
    made = SubsetHead(4, D, 8) if kind == "subset" else AutoregressiveHead(Bernoulli(), 4, D, 8)
    stir(made, 0.5)
    return made.eval()


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["subset", "nade"])
def test_all_subsets_of_six_channels_sum_to_one(kind: str):
    distribution = head(kind)(features(5)[:, None].expand(5, 64, 4))
    total = distribution.log_prob(SUBSETS.expand(5, 64, D)).logsumexp(-1)
    torch.testing.assert_close(total, torch.zeros(5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["subset", "nade"])
def test_double_precision_is_kept(kind: str):
    distribution = head(kind).double()(features(5)[:, None].expand(5, 64, 4).double())
    total = distribution.log_prob(SUBSETS.double().expand(5, 64, D)).logsumexp(-1)
    torch.testing.assert_close(total, torch.zeros(5).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["subset", "nade"])
def test_samples_have_the_probabilities_of_the_subsets(kind: str):
    made, num = head(kind), 60_000
    distribution = made(features(1).expand(num, 4))
    samples = distribution.sample(noise=SequenceNoise(["a"], 2))
    index = (samples * 2.0 ** torch.arange(D - 1, -1, -1)).sum(-1).long()
    shares = torch.bincount(index, minlength=64) / num
    mass = made(features(1).expand(64, 4)).log_prob(SUBSETS).exp()
    error = (mass * (1 - mass) / num).sqrt()
    assert ((shares - mass).abs() < 4.5 * error + 1e-5).all()


def test_the_product_of_the_choices_is_the_probability():
    """The chain rule by hand, one softmax after another over the channels above the last."""
    made, h = head("subset"), features(1)
    assert isinstance(made, SubsetHead)
    a, last, expected = made.context(h)[0], -1, torch.tensor(0.0)
    for choice in (1, 2, 4, D):  # the set {1, 2, 4}, then "end"
        s = torch.nn.functional.silu(a + made.last[last + 1])
        s = s + torch.nn.functional.silu(made.hidden(s))
        logits = made.out(s)[last + 1 :]
        expected = expected + logits.log_softmax(-1)[choice - last - 1]
        if choice < D:
            a, last = a + made.before[choice], choice
    x = torch.tensor([[0.0, 1, 1, 0, 1, 0]])
    torch.testing.assert_close(made(h).log_prob(x)[0], expected)


def test_missing_channels_above_all_others_are_summed_out():
    made, h = head("subset"), features(1)
    observed = torch.tensor([True, True, True, True, False, False])
    seen = SUBSETS[:, :4].unique(dim=0)
    full = made(h.expand(64, 4)).log_prob(SUBSETS).exp()
    for x in seen:
        marginal = full[(SUBSETS[:, :4] == x).all(-1)].sum().log()
        padded = torch.cat([x, torch.ones(2)])[None]  # missing values have no effect
        torch.testing.assert_close(made(h, observed[None]).log_prob(padded)[0], marginal)


@pytest.mark.parametrize("pattern", [0b000000, 0b101101, 0b011110, 0b111111])
def test_observed_channels_have_mass_one_whatever_is_missing(pattern: int):
    observed = torch.tensor([bool(pattern >> d & 1) for d in range(D)])
    kept = (SUBSETS * observed).unique(dim=0)
    distribution = head("subset")(features(1).expand(len(kept), 4), observed.expand(len(kept), D))
    torch.testing.assert_close(distribution.log_prob(kept).exp().sum(), torch.tensor(1.0))


def test_gradient_of_the_density_is_finite_where_choices_are_impossible():
    made = head("subset")
    h = features(64).requires_grad_()
    observed = torch.rand(64, D, generator=torch.Generator().manual_seed(0)) < 0.7
    made(h, observed).log_prob(SUBSETS * observed).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (h, *made.parameters()))


def test_padding_alone_has_a_graph():
    """A batch of windows inside a long gap: the loss is 0 and has gradients."""
    made = head("subset")
    nothing = torch.zeros(3, D, dtype=torch.bool)
    log_prob = made(features(3), nothing).log_prob(torch.zeros(3, D))
    log_prob.sum().backward()
    assert log_prob.tolist() == [0.0, 0.0, 0.0]
    assert made.context.weight.grad is not None


def test_the_emission_of_many_mostly_inactive_channels_is_subset():
    generator = torch.Generator().manual_seed(0)

    def emission(channels: int, share: float) -> str:
        x = (torch.rand(4, 50, channels, generator=generator) < share).double()
        data = SequenceDataset.from_arrays(x.numpy())
        return choose_emission(DataDescription.of(data))[0]

    assert emission(30, 0.05) == "subset"
    assert emission(30, 0.6) == emission(4, 0.05) == "bernoulli"
