"""Linear recurrences in chunks, minGRU and SSD, against their equations one step at a time."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.nn.mingru import MinGRU
from seqlatent.nn.recurrent import Recurrent
from seqlatent.nn.scans import CHUNK, linear_recurrence
from seqlatent.nn.state_space import StateSpace, ssd

CLOSE = {torch.float32: 1e-5, torch.float64: 1e-10}
DTYPES = list(CLOSE)


def one_by_one(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    steps = []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        steps.append(h)
    return torch.stack(steps, 1)


def same(ours: Tensor, plain: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Values and gradients agree, relative to the largest of each."""
    weights = torch.randn_like(plain)
    one = [ours, *torch.autograd.grad((ours * weights).sum(), inputs)]
    other = [plain, *torch.autograd.grad((plain * weights).sum(), inputs)]
    for x, y in zip(one, other, strict=True):
        size = float(y.detach().abs().max().clamp(min=1))
        torch.testing.assert_close(x, y, rtol=0, atol=CLOSE[plain.dtype] * size)


def leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.detach().requires_grad_() for x in tensors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 2 * CHUNK, 2 * CHUNK + 1, 70 * CHUNK + 5])
def test_all_steps_at_once_are_the_steps_one_by_one(steps: int, dtype: torch.dtype):
    torch.manual_seed(0)
    a, b = torch.rand(2, steps, 3, dtype=dtype) ** 0.1, torch.randn(2, steps, 3, dtype=dtype)
    inputs = leaves(a, b, torch.randn(2, 3, dtype=dtype))
    same(linear_recurrence(*inputs), one_by_one(*inputs), inputs)


@pytest.mark.parametrize("decay", [0.0, 1e-30, 1.0])
def test_products_may_underflow(decay: float):
    torch.manual_seed(0)
    a = torch.full((1, 200, 2), decay)
    a[:, 150:] = 0.9  # remembers again after steps that forget
    inputs = leaves(a, torch.randn(1, 200, 2), torch.randn(1, 2))
    same(linear_recurrence(*inputs), one_by_one(*inputs), inputs)


def test_second_derivatives():
    torch.manual_seed(0)
    steps = 2 * CHUNK + 2
    inputs = leaves(
        torch.rand(1, steps, 1).double(),
        torch.randn(1, steps, 1).double(),
        torch.ones(1, 1).double(),
    )
    assert torch.autograd.gradgradcheck(linear_recurrence, inputs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mingru_is_its_equations(dtype: torch.dtype):
    torch.manual_seed(0)
    layer = MinGRU(3, 5).to(dtype)
    u, last, start = leaves(
        torch.randn(2, 150, 3, dtype=dtype),
        torch.randn(2, 1, 3, dtype=dtype),
        torch.randn(2, 5, dtype=dtype),
    )
    before, h, steps = last[:, 0], start, []
    for t in range(150):
        gate, c = layer.gate_and_candidate(torch.cat([u[:, t], before], -1)).chunk(2, -1)
        g = torch.sigmoid(gate)
        before, h = u[:, t], (1 - g) * h + g * c
        steps.append(h + layer.out(F.silu(layer.hidden(layer.norm(h)))))
    out, after = layer(u, (last, start))
    torch.testing.assert_close(after, (u[:, -1:], h), rtol=0, atol=CLOSE[dtype])
    same(out, torch.stack(steps, 1), (u, last, start, *layer.parameters()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 16, 100])
def test_ssd_is_its_recurrence(steps: int, dtype: torch.dtype):
    """Also after steps that forget all, whose long sums of decays would leave no digits."""
    torch.manual_seed(0)
    layer = StateSpace(3, 8).to(dtype)
    forget = -1e6 * (torch.rand(2, steps, 2, dtype=dtype) > 0.8)
    inputs = leaves(
        torch.randn(2, steps, 2, 4, dtype=dtype),
        forget - torch.rand(2, steps, 2, dtype=dtype),
        torch.randn(2, steps, 3, dtype=dtype),
        torch.randn(2, steps, 3, dtype=dtype),
        torch.randn(2, 2, 4, 3, dtype=dtype),
    )
    x, log_decay, b, c, S = inputs
    plain = []
    for t in range(steps):
        S = log_decay[:, t, :, None, None].exp() * S
        S = S + torch.einsum("nhp,nk->nhpk", x[:, t], b[:, t])
        plain.append(torch.einsum("nhpk,nk->nhp", S, c[:, t]))
    y, after = ssd(*inputs, layer.ranges, layer.later)
    torch.testing.assert_close(after, S, rtol=0, atol=CLOSE[dtype])
    same(y, torch.stack(plain, 1), inputs)


def test_state_space_is_its_equations():
    torch.manual_seed(0)
    layer, steps = StateSpace(3, 32, state_dim=5).double(), 40
    u = torch.randn(1, steps, 3).double()
    gate, mixed, raw = layer.inner(u[0]).split(layer.sizes, -1)
    S, ys = torch.zeros(layer.num_heads, layer.head_dim, 5).double(), []
    for t in range(steps):
        seen = [layer.conv.weight[:, 0, 3 - k] * mixed[t - k] for k in range(min(4, t + 1))]
        x, b, c = F.silu(torch.stack(seen).sum(0)).split([32, 5, 5])
        x = x.view(layer.num_heads, -1)
        d = torch.log1p(torch.exp(raw[t] + layer.step_bias))
        decay = torch.exp(-d * torch.exp(layer.log_rate))
        S = decay[:, None, None] * S + d[:, None, None] * x[:, :, None] * b
        y = S @ c + layer.skip[:, None] * x
        ys.append(layer.out(layer.norm(y.flatten() * F.silu(gate[t]))))
    torch.testing.assert_close(layer(u, None)[0][0], torch.stack(ys), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["mingru", "ssd"])
def test_pieces_of_many_chunks_equal_the_whole(cell: str):
    """Longer than the laws read: pieces end within chunks, at their ends and after one step."""
    torch.manual_seed(0)
    network = Recurrent(3, 16, num_layers=2, cell=cell, residual=True).double()
    u = torch.randn(2, 300, 3).double()
    whole, last = network(u)
    state, pieces = None, []
    for piece in u.split([1, 2 * CHUNK, 100, 7, 300 - 108 - 2 * CHUNK], 1):
        h, state = network(piece, state)
        pieces.append(h)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-12)
