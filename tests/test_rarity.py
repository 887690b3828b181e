"""Tail probabilities of steps: exact where they can be, uniform if the model is true."""

import numpy as np
import pytest
import scipy.stats
import torch
from cases import dataset, model

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.distributions.student import student_tail
from seqlatent.inference.paths import sample_paths
from seqlatent.inference.rarity import drawn_rarity, rarities
from seqlatent.tasks.scoring import score

LEVEL = 1e-3  # of the Kolmogorov-Smirnov tests, at a fixed seed


def samples_of(m, num: int, steps: int) -> SequenceDataset:
    none = np.zeros((1, steps, 0))
    x = sample_paths(m, m.begin(None), none, num, SequenceNoise(["a"], 3))[0]
    return SequenceDataset.from_list(list(x))


def test_the_tail_of_student_s_t_is_scipy_s():
    u = torch.cat([torch.zeros(1), torch.logspace(-3, 6, 40)]).double()[:, None]
    df = torch.tensor([1.01, 1.5, 2.0, 5.0, 30.0, 201.0]).double().expand(41, -1)
    true = 2 * scipy.stats.t.sf(u.numpy(), df.numpy())
    seen = true > 1e-290
    np.testing.assert_allclose(student_tail(u, df).numpy()[seen], true[seen], rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "emission", "channels", "draws"),
    [
        ("rnn", "normal", 1, 0),
        ("rnn", "student-t", 1, 0),
        ("linear-gaussian", "normal", 1, 0),
        ("rnn", "mixture", 1, 99),
        ("rnn", "normal", 2, 99),
        pytest.param("mixture-moving", "mixture", 1, 99, marks=pytest.mark.slow),
    ],
)
def test_they_are_uniform_on_the_model_s_own_samples(name, emission, channels, draws):
    """600 steps: the bound of the KS distance at level 0.001 is 0.079."""
    m = model(name, emission, dataset(channels=channels))
    found = np.concatenate(rarities(m, samples_of(m, 100, 6), draws, seed=1))
    shift = 0.5 / (draws + 1) if draws else 0.0  # the middle of each of N + 1 equal classes
    assert scipy.stats.kstest(found - shift, "uniform").pvalue > LEVEL


@pytest.mark.parametrize(("name", "emission"), [("rnn", "student-t"), ("linear-gaussian", "")])
def test_draws_agree_with_the_exact_ones(name, emission):
    """1,999 draws of 42 steps: within five standard errors."""
    data = dataset()
    m, batch = model(name, emission, data), collate(data)
    exact = m.tail_probability(batch)
    assert exact is not None
    with torch.no_grad():
        noise = SequenceNoise([s.unique_id for s in data], 0)
        drawn = drawn_rarity(m, batch, 1999, noise)
    seen = batch.scored
    error = (exact * (1 - exact) / 1999).sqrt()[seen] + 1 / 2000
    assert ((drawn - exact)[seen].abs() < 5 * error).all()
    assert drawn[~seen].isnan().all()


def test_counts_are_at_least_as_large_as_uniform():
    m = model("rnn", "poisson", dataset("count"))
    found = np.concatenate(rarities(m, samples_of(m, 60, 5), 99, seed=1))
    for level in (0.05, 0.2, 0.5):  # five standard errors of 300 steps
        assert (found <= level).mean() < level + 5 * np.sqrt(level * (1 - level) / 300)


def test_a_sequence_s_do_not_depend_on_the_others():
    data = dataset(num=4)
    m = model("rnn", data=data)
    together = rarities(m, data, 20)
    for i in range(4):
        np.testing.assert_array_equal(rarities(m, data[[i]], 20)[0], together[i])


def test_the_column_of_the_steps():
    data = dataset(num=3)
    data.sequences[1].x[2] = np.nan
    m = model("rnn", data=data)
    assert "tail_probability" not in score(m, data)[1]
    assert score(m, data, tail_draws=0)[1]["tail_probability"].isna().all()
    steps = score(m, data, tail_draws=9)[1]
    assert steps["tail_probability"].between(0.1, 1).all()
    latent = model("latent", data=data)
    assert score(latent, data, tail_draws=9)[1]["tail_probability"].isna().all()
