"""Mixtures of normals as priors: torch's mixture, in double precision, is the oracle."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from seqlatent.distributions.normal import NormalMixture


@pytest.mark.parametrize("distance", [1.0, 30.0])
def test_single_precision_keeps_its_digits_far_from_zero(distance: float):
    """Narrow components far out: ((z - loc) / scale)^2, multiplied out, cancels there."""
    torch.manual_seed(0)
    loc, scale = distance * torch.randn(6, 4), 0.05 + 0.05 * torch.rand(6, 4)
    z = loc[:, None] + scale[:, None] * torch.randn(6, 50, 4)
    log_weights = torch.randn(6).log_softmax(-1)
    exact = MixtureSameFamily(
        Categorical(logits=log_weights.double()), Independent(Normal(loc.double(), scale), 1)
    ).log_prob(z.double())
    seen = NormalMixture(log_weights, loc, scale).log_prob(z)
    torch.testing.assert_close(seen, exact.float(), rtol=1e-5, atol=1e-5)
