"""What it costs to replace latents, and what is said of them, against closed forms and by models
whose latents are known to be states, innovations or unused."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from exact import (
    LOADING,
    NOISE,
    SLOPE,
    STEP,
    UNIT,
    guided_chain,
    last_value,
    linear_guide,
    linear_latents,
    sample_linear,
)

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.latent.diagnostics import collapse_warning, is_felt, prior_kl, quick_losses
from seqlatent.models.latent.replacing import HORIZONS, Losses, _means, origins, replace_latents
from seqlatent.tasks.headline import headline, memories, roles
from seqlatent.tasks.inspecting import _look, inspect, predictability
from seqlatent.tasks.probing import traverse
from seqlatent.training.messages import warn

# A state; noise; a state that nothing reads; noise that z5 takes up at the next step; z5.
KINDS = np.zeros((5, 5))
KINDS[0, 0], KINDS[2, 2], KINDS[4, 3] = 0.9, 0.9, 1.0
SCALES, READ = (0.6, 0.6, 0.6, 0.8, 0.02), (1.0, 0.8, 0.0, 1.0, 1.0)


def chain_losses() -> dict[int, float]:
    """By horizon, for `guided_chain` with its exact posterior in its stationary state:

    kept, h > 0    x_{t+h} ~ N(C A^h m_t, S_h),   S_h = C^2 (A^2h P + Q sum_{i<h} A^2i) + R
    kept, h = 0    N(C m_t, C^2 P + R), where x_t - C m_t = (1 - C K) (its innovation)
    replaced       x_{t+h} ~ N(0, C^2 Var z + R)
    """
    Q, R = STEP**2, NOISE**2
    before = 1.0
    for _ in range(200):
        P = before - (LOADING * before) ** 2 / (LOADING**2 * before + R)
        before = SLOPE**2 * P + Q
    S = LOADING**2 * before + R
    P = before - (LOADING * before) ** 2 / S
    total = LOADING**2 * Q / (1 - SLOPE**2) + R
    found = {}
    for h in HORIZONS:
        spread = SLOPE ** (2 * h) * P + Q * sum(SLOPE ** (2 * i) for i in range(h))
        own = LOADING**2 * spread + R
        square = own
        if h == 0:
            square = (1 - LOADING**2 * before / S) ** 2 * S
        found[h] = 0.5 * (math.log(total / own) + 1 - square / own)
    return found


def chain_predictable() -> float:
    """R^2 of the prior's mean for the guide's, for sequences of `guided_chain` in the long run: the
    guide's path follows z_t = a z_{t-1} + g (x_t - C a z_{t-1}) + s e beside the true one."""
    variance = 1 / (STEP**-2 + LOADING**2 / NOISE**2)
    g = variance * LOADING / NOISE**2
    F = np.array([[(1 - g * LOADING) * SLOPE, g * LOADING * SLOPE], [0, SLOPE]])  # (guide, true)
    shocks = np.array([[g * LOADING * STEP, g * NOISE, variance**0.5], [STEP, 0, 0]])
    cov = np.zeros((2, 2))
    for _ in range(200):
        cov = F @ cov @ F.T + shocks @ shocks.T
    apart = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    off = g**2 * (LOADING**2 * (SLOPE**2 * apart + STEP**2) + NOISE**2)
    mean = F @ cov @ F.T + shocks[:, :2] @ shocks[:, :2].T
    return 1 - off / mean[0, 0]


@pytest.mark.slow
def test_losses_of_a_chain_are_differences_of_gaussian_entropies():
    m, sample, _ = guided_chain(0.0, 1.0)
    data = SequenceDataset.from_arrays(sample(200, 40, 1)[..., None])
    data = [replace(s, context=10) for s in data]  # by then the chain is stationary
    found = replace_latents(
        m, origins(m, [collate(data)], number=2000, seed=0, num_particles=64), 0
    )
    assert found.horizons == HORIZONS
    for h, loss, error in zip(HORIZONS, found.joint, found.joint_error, strict=True):
        expected = chain_losses()[h]
        # The logarithm of a mean of 64 weights is too low by about var / 128, var < 1 here.
        assert abs(loss - expected) < 4 * error + 1 / 128, h
    assert found.joint_error[1] < 0.2 * chain_losses()[1]
    np.testing.assert_array_equal(found.each[0], found.joint)


def test_predictable_is_the_share_that_the_prior_knows():
    m, sample, _ = guided_chain(0.0, 1.0)
    data = SequenceDataset.from_arrays(sample(60, 60, 2)[..., None])
    look = _look(m, collate(data), 0)
    off, mean, spread = (part.reshape(-1, 1) for part in (look.off, look.mean, look.spread))
    # 3600 steps, correlated over about three: the standard error is near 0.02.
    share = predictability(off.mean(0), mean, spread)[0]
    assert share == pytest.approx(chain_predictable(), abs=0.06)
    assert 0.3 < chain_predictable() < 0.6  # neither of the ends would do as an answer


def test_standard_errors_are_those_of_the_means_of_groups():
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(1, 1, 40)))
    mean, error = _means(values, torch.ones(1, 40, dtype=torch.bool), torch.arange(40) // 5)
    groups = values.numpy().reshape(8, 5).mean(1)
    assert mean[0, 0] == pytest.approx(groups.mean())
    assert error[0, 0] == pytest.approx(groups.std(ddof=1) / 8**0.5)
    assert np.isnan(_means(values, torch.ones(1, 40, dtype=torch.bool), torch.zeros(40))[1])


@pytest.mark.slow
def test_every_kind_of_latent_is_told():
    m = linear_latents(KINDS, SCALES, READ)
    batch = collate(sample_linear(KINDS, SCALES, READ, num=250, steps=14))
    o = origins(m, [batch], number=3000, seed=0, reach=4)
    found, look = replace_latents(m, o, 0), _look(m, batch, 0)
    parts = (look.off, look.mean, look.spread)
    off, mean, spread = (part[look.counted] for part in parts)
    predictable = predictability(off.mean(0), mean, spread)
    assert roles(found, predictable) == ["state", "innovation", "unused", "innovation", "derived"]
    assert memories(found)[1:].tolist() == [0, -1, 1, 0] and memories(found)[0] >= 2
    assert (found.each[2] == 0).all()
    assert predictable == pytest.approx([1, 0, 1, 0, 1], abs=1e-5)
    assert look.total.sum() == pytest.approx(0, abs=1e-3)  # although latents are used
    assert collapse_warning(m, found) == ""
    start, _, rest = headline(found, predictable).partition(": ")
    assert start == "4 of 5 latents are used"
    assert rest.startswith("1 carries state (100 % predictable from the past, felt ")
    assert rest.endswith(
        "1 holds what is new at a step and is felt up to 1 step ahead, 1 holds what is new at a "
        "step, 1 follows from the past and is felt at once only"
    )
    moved = traverse(m, o, found, 0)
    for k in (0, 1, 3, 4):
        part = moved[moved["latent"] == k]
        change = np.ptp(part["mean"]) / np.ptp(part["value"])
        assert change == pytest.approx(READ[k], rel=1e-3)  # others and noise stay as they are


def test_a_slow_state_without_kl_is_not_called_unused(caplog):
    A, scales, loading = np.eye(1), (0.1,), (1.0,)
    m, data = linear_latents(A, scales, loading), sample_linear(A, scales, loading, 40, 60)
    assert prior_kl(m, collate(data)) < 1e-5
    with caplog.at_level(logging.INFO, "seqlatent"):
        warn(m, data)
    assert "with the latents of random other steps, a step is predicted worse by 0." in caplog.text
    assert "not used" not in caplog.text


@pytest.mark.parametrize(("name", "advice"), [("chain", "history=none"), ("last", "fit an rnn")])
def test_latents_that_nothing_reads_are_warned_of(caplog, name: str, advice: str):
    if name == "chain":
        m = linear_latents(np.eye(1) / 2, (0.5,), (0.0,))
    else:
        m = last_value()
        m.from_latents.weight.data.zero_()
        linear_guide(m, 0.9, 0, 0, 0.3)  # whatever its KL
    warn(m, UNIT)
    assert "the latents are not used" in caplog.text and advice in caplog.text
    assert "emission=normal" not in caplog.text  # which it has


def test_one_step_tells_no_memory():
    m = linear_latents(np.eye(1) / 2, (0.5,), (1.0,))
    data = sample_linear(np.eye(1) / 2, (0.5,), (1.0,), num=20, steps=1)
    found = inspect(m, data, num_particles=2)
    assert found.losses.horizons == (0,)
    assert found.roles == ["used"] and "too short to tell" in found.headline


def losses(each, joint, error=1e-4) -> Losses:
    each, joint = np.atleast_2d(each), np.asarray(joint)
    errors = np.broadcast_to(error, each.shape)
    return Losses((0, 1, 2), each, errors, joint, errors[0])


@pytest.mark.parametrize(
    ("found", "predictable", "expected"),
    [
        (losses([[0, 0, 0]], [0, 0, 0]), [0.9],
         "the latents are not used: the emission alone predicts x as well"),
        (losses([[0.1, 0, 0]], [0.1, 0, 0], 0.2), [0.9],
         "whether the latents are used cannot be told from so few data"),
        (losses([[0.1, 0, 0]], [0.1, 0, 0], np.nan), [0.9],
         "whether the latents are used cannot be told from so few data"),
        (losses([[0, 0, 0], [0, 0, 0]], [0.3, 0, 0]), [0.9, 0.9],
         "the latents are used together (0.300 nats per step); without any one of them the others "
         "predict as well"),
        (losses([[0.5, 0.2, 0.1], [0.5, 0.2, 0], [0.1, 0, 0]], [1, 0.5, 0.1]), [0.9, 0.5, 0.1],
         "3 of 3 latents are used: 2 carry state (50 to 90 % predictable from the past, felt 2 "
         "steps ahead or more), 1 holds what is new at a step"),
        (losses([[0.5, 0.03, 0]], [0.5, 0.03, 0], 0.02), [0.9],
         "1 of 1 latent is used: 1 is predictable from the past, with too few data to tell whether "
         "that matters at later steps"),
        (losses([[0.5, 0, 0], [0.4, 0, 0]], [1, 0, 0]), [0.1, 0.0],
         "2 of 2 latents are used: 2 hold what is new at a step"),
        (losses([[0.5, 0, 0], [0.03, 0, 0], [0, 0, 0]], [1, 0, 0],
                [[1e-4] * 3, [0.02] * 3, [1e-4] * 3]), [0.1, 0.0, 0.0],
         "1 of 3 latents is used (for 1 more the data are too few to tell): 1 holds what is new at "
         "a step"),
    ],
)  # fmt: skip
def test_the_headline_says_what_was_found(found: Losses, predictable: list[float], expected: str):
    assert headline(found, np.array(predictable)) == expected


def test_used_is_a_loss_beyond_its_error():
    loss, error = np.array([0.0009, 0.0011, 0.5, 0.5]), np.array([0.0, 0.0, 0.26, np.nan])
    assert is_felt(loss, error).tolist() == [False, True, False, False]
    assert roles(losses([[0.0009] * 3], [0] * 3), np.array([0.9])) == ["unused"]
    for error in (0.005, np.nan):  # the loss may be as large as 0.01
        assert roles(losses([[0.0009] * 3], [0] * 3, error), np.array([0.9])) == ["unclear"]


def test_one_sequence_is_compared_with_its_other_steps():
    A, scales, loading = np.eye(1) * 0.9, (0.6,), (1.0,)
    m = linear_latents(A, scales, loading)
    found = quick_losses(m, collate(sample_linear(A, scales, loading, 1, 300)))
    assert found.horizons == (0, 1)
    assert is_felt(found.joint, found.joint_error).all()
    assert collapse_warning(m, found) == ""
