"""Simulated binary values and labels, against enumeration."""

import itertools

import numpy as np
import pytest

from seqlatent.errors import InputError
from seqlatent.processes import CoupledBinary, OrderTwoChain

SMALL = CoupledBinary(
    bias=np.array([0.3, -0.7]),
    weights=np.array([[1.0, -0.5], [0.2, 0.8]]),
    couplings=np.array([[0.0, 1.3], [1.3, 0.0]]),
)


def values(data) -> np.ndarray:
    return np.stack([s.x for s in data])


def test_coupled_binary_is_its_formula():
    x = np.array([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
    expected = []
    for before, now in zip([np.zeros(2), x[0, 0], x[0, 1]], x[0], strict=True):

        def energy(s: np.ndarray, before: np.ndarray = before) -> float:
            field = SMALL.bias + SMALL.weights @ before
            return s @ field + 1.3 * s[0] * s[1]

        states = [np.array(s) for s in itertools.product([0.0, 1.0], repeat=2)]
        expected.append(energy(now) - np.log(sum(np.exp(energy(s)) for s in states)))
    np.testing.assert_allclose(SMALL.log_prob_steps(x), [expected], rtol=1e-12)


@pytest.mark.parametrize("process", [SMALL, CoupledBinary(), OrderTwoChain(), OrderTwoChain(3)])
def test_sequences_of_three_steps_sum_to_one_and_are_drawn_as_often_as_they_should(process):
    D = process.num_channels
    codes = range(len(process.labels) or 2)
    if D > 2:  # 4,096 sequences of two steps will do
        every = np.array(list(itertools.product(codes, repeat=2 * D)), dtype=float)
    else:
        every = np.array(list(itertools.product(codes, repeat=3 * D)), dtype=float)
    every = every.reshape(len(every), -1, D)
    mass = np.exp(process.log_prob_steps(every).sum(1))
    if D > 2:  # two steps of four channels are 256 sequences
        assert every.shape == (256, 2, 4)
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    num = 40_000
    draws = values(process.sample(num, every.shape[1], seed=0)).reshape(num, -1)
    weights = (max(codes) + 1.0) ** np.arange(draws.shape[1])[::-1]
    shares = np.bincount((draws @ weights).astype(int), minlength=len(every)) / num
    error = np.sqrt(mass * (1 - mass) / num)
    assert (np.abs(shares - mass) < 4.5 * error + 1e-4).all()


def test_the_default_channels_depend_on_one_another_within_the_step():
    """What a model of independent channels loses is ten times what a good one may."""
    states = CoupledBinary()._states
    joint = np.exp(CoupledBinary()._log_transition())
    single = joint @ states  # p(x_td = 1 | x_{t-1})
    apart = np.prod(np.where(states, single[:, None], 1 - single[:, None]), axis=-1)
    lost = (joint * np.log(joint / apart)).sum(1)
    assert lost.min() > 0.05


def test_labels_come_with_the_sample_and_one_step_back_says_nothing():
    data = OrderTwoChain().sample(2000, 20, seed=1)
    assert data.categories == {"y": ("a", "b", "c", "d")}
    x = values(data)[:, :, 0].astype(int)
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (x[:, 5:-1].ravel(), x[:, 6:].ravel()), 1)
    np.testing.assert_allclose(pairs / pairs.sum(1, keepdims=True), 0.25, atol=0.025)


def test_bad_parameters_are_refused():
    for make, words in (
        (lambda: CoupledBinary(bias=np.zeros(13)), "too many states"),
        (lambda: CoupledBinary(weights=np.zeros((3, 3))), r"weights needs shape \(4, 4\)"),
        (lambda: CoupledBinary(couplings=np.eye(4)), "zeros on the diagonal"),
        (lambda: OrderTwoChain(num_labels=1), "num_labels must lie"),
        (lambda: OrderTwoChain(follow=1.0), "follow must lie"),
    ):
        with pytest.raises(InputError, match=words):
            make()
    with pytest.raises(InputError, match="the values 0 and 1"):
        CoupledBinary().log_prob_steps(np.full((1, 2, 4), 2.0))
    with pytest.raises(InputError, match="codes of its labels"):
        OrderTwoChain().log_prob_steps(np.full((1, 2, 1), 4.0))
