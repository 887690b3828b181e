"""Recall, against its equations one step at a time, and at the work it is for."""

import numpy as np
import pytest
import torch

from seqlatent.api import RNN
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.nn.attention import CausalTransformer
from seqlatent.nn.causal import CausalNetwork, expand_state, map_state
from seqlatent.nn.recall import Recall
from seqlatent.nn.recurrent import Recurrent


def test_what_is_recalled_is_the_mean_of_what_followed():
    """The equations with explicit loops: keys one step late, a lag's bias, nothing as a place."""
    torch.manual_seed(0)
    steps, heads, window, dim = 9, 2, 4, 6
    made = Recall(Recurrent(3, dim), num_heads=heads, window=window).double().eval()
    torch.nn.init.normal_(made.lag_bias)
    u = torch.randn(1, steps, 3, dtype=torch.double)
    out, _ = made(u)
    h = out[0, :, :dim]
    torch.testing.assert_close(h, made.network(u)[0][0])
    before = torch.cat([torch.zeros(1, dim).double(), h[:-1]])
    q, k = made.query(h), made.key(before)
    v = made.value(torch.cat([u[0], h], -1))
    size = dim // heads
    for t in range(steps):
        parts = []
        for i in range(heads):
            of = slice(i * size, (i + 1) * size)
            seen = range(max(0, t - window + 1), t + 1)
            logits = [q[t, of] @ k[s, of] / size**0.5 + made.lag_bias[i, t - s] for s in seen]
            weights = torch.stack([torch.zeros(()).double(), *logits]).softmax(0)
            followed = [v[s, of] * w for s, w in zip(seen, weights[1:], strict=True)]
            parts.append(torch.stack(followed).sum(0))
        torch.testing.assert_close(out[0, t, dim:], made.out(torch.cat(parts)))


@pytest.mark.slow
def test_recall_copies_a_passage_that_a_small_state_cannot_hold():
    """Labels at random, and the same again: from the fourth step of the return on, a model that
    looks up can name them (0 nats); one that does not is left at about log 8."""
    rng = np.random.default_rng(0)
    length = 16

    def passages(num: int) -> SequenceDataset:
        first = rng.integers(0, 8, (num, length, 1)).astype(float)
        return SequenceDataset.from_arrays(np.concatenate([first, first], 1))

    train, test = passages(512), passages(100)
    left = {}
    for heads in (0, 2):
        model = RNN(emission="categorical", hidden_dim=32, recall_heads=heads)
        model.fit(train, seed=0, max_steps=300, batch_size=64, learning_rate=1e-2, patience=100)
        steps = model.score(test)[1]
        again = steps.groupby("unique_id").cumcount() >= length + 3
        left[heads] = -steps["log_prob"][again].mean()
    assert left[0] > 1.0
    assert left[2] < 0.1


@pytest.mark.parametrize(
    "network",
    [
        Recall(Recurrent(3, 8), num_heads=2, window=1),
        CausalTransformer(3, 8, num_layers=1, num_heads=2, attention_window=1),
    ],
)
def test_a_window_of_one_step_keeps_no_past(network: CausalNetwork):
    u = torch.randn(2, 5, 3)
    first, state = network.eval()(u[:, :2])
    second, _ = network(u[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), network(u)[0])


@pytest.mark.parametrize(
    "network",
    [
        Recall(Recurrent(3, 8), num_heads=2),
        CausalTransformer(3, 8, num_layers=1, num_heads=2),
    ],
)
def test_what_is_shared_is_not_copied(network: CausalNetwork):
    _, one = network.eval()(torch.randn(1, 6, 3))
    _, state = network.step(torch.randn(50, 3), expand_state(one, 50))
    sizes: list[int] = []
    map_state(lambda s: sizes.append(s.untyped_storage().nbytes()) or s, state)
    assert max(sizes) <= 4 * max(50, 6) * 8  # no tensor of 50 sequences and 6 steps


def test_heads_that_do_not_divide_the_state_are_refused():
    with pytest.raises(InputError, match="hidden_dim=6 must be a multiple of recall_heads=4"):
        Recall(Recurrent(3, 6), num_heads=4)
