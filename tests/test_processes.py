"""Simulated processes, one like the other: their samples, their scores, and what they refuse."""

import math

import numpy as np
import pytest
from process_checks import ONE_OF_EACH, TWO_CHANNELS, assert_mean, every_process, values
from scipy.integrate import trapezoid

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.processes import (
    PROCESSES,
    AutoregressiveTwo,
    Banana,
    Garch,
    HiddenMarkov,
    LinearGaussianProcess,
    PoissonCounts,
    SkewedAutoregressive,
    SlowTrend,
    SwitchingAutoregressive,
    SwitchingRegimes,
)


@every_process
def test_sample_is_a_data_set_of_named_sequences(process):
    data = process.sample(3, 7, seed=0)
    assert [s.unique_id for s in data] == ["0", "1", "2"]
    assert data.num_channels == process.num_channels
    for s in data:
        assert s.x.shape == (7, process.num_channels) and s.x.dtype == np.float64
        np.testing.assert_array_equal(s.ds, np.arange(7))
        assert np.issubdtype(s.ds.dtype, np.integer)


def test_sample_has_the_process_channels():
    assert TWO_CHANNELS.num_channels == Banana().num_channels == 2
    assert values(TWO_CHANNELS.sample(3, 7, seed=0)).shape == (3, 7, 2)


@every_process
def test_the_seed_decides_the_sample(process):
    first, again, other = (values(process.sample(4, 9, seed=s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[:, :, 0], axis=0)) == 4  # and the sequences are not copies


@every_process
@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_sample_is_refused(process, size):
    with pytest.raises(InputError, match="at least one"):
        process.sample(*size, seed=0)


@every_process
def test_log_prob_of_ragged_sequences_with_context_sums_each_ones_scored_steps(process):
    x = values(process.sample(3, 8, seed=1))
    steps = process.log_prob_steps(x)
    assert steps.shape == (3, 8)
    spans = [(0, 8, 0), (0, 5, 2), (0, 1, 0)]
    whole = SequenceDataset.from_arrays(x).sequences
    ragged = tuple(s.slice(*span) for s, span in zip(whole, spans, strict=True))
    targets = SequenceDataset.from_arrays(x).targets
    log_prob = process.log_prob(SequenceDataset(ragged, targets))
    expected = [steps[0].sum(), steps[1, 2:5].sum(), steps[2, 0]]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-12)


@every_process
def test_steps_do_not_see_the_future(process):
    x, other = (values(process.sample(20, 8, seed=s)) for s in (1, 2))
    changed = np.concatenate([x[:, :5], other[:, 5:]], axis=1)
    before, after = process.log_prob_steps(x), process.log_prob_steps(changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5] != after[:, 5]).any()


@pytest.mark.parametrize("name", ["ar2", "linear-gaussian", "switching-ar", "hmm"])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_predictive_densities_integrate_to_one(name, length):
    process = ONE_OF_EACH[name]
    grid = np.linspace(-15, 15, 6001)
    history = values(process.sample(1, length, seed=3))[0, :-1]
    x = np.concatenate([np.tile(history, (len(grid), 1, 1)), grid[:, None, None]], axis=1)
    density = np.exp(process.log_prob_steps(x)[:, -1])
    assert trapezoid(density, grid) == pytest.approx(1, abs=1e-10)
    modes = (np.diff(np.sign(np.diff(density[density > 1e-100]))) < 0).sum()
    if name != "hmm":  # the number of its modes depends on the history
        assert modes == (2 if name == "switching-ar" else 1)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ar2", AutoregressiveTwo(a1=1.3)),
        ("linear-gaussian", LinearGaussianProcess(R=np.array([[0.2]]))),
        ("switching-ar", SwitchingAutoregressive(stay=0.6)),
        ("switching-ar", SwitchingAutoregressive(shift=0.9)),
        ("counts", PoissonCounts(alpha=0.4, beta=0.4)),
        ("hmm", HiddenMarkov(transition=HiddenMarkov().transition.T)),
        ("hmm", HiddenMarkov(scale=np.array([0.5, 1.0, 0.3]))),
        ("garch", Garch(df=7.0)),
        ("garch", Garch(alpha=0.15)),
        ("banana", Banana(bend=0.69)),
        ("skewed-ar", SkewedAutoregressive(shape=0.32)),
        ("switching-regimes", SwitchingRegimes(stay=0.9)),
        ("slow-trend", SlowTrend(slow=0.95)),
    ],
)
def test_density_ratios_tie_each_sampler_to_its_density(name, wrong):
    # E_p[q(x) / p(x)] = 1 for any density q when x ~ p, and E_p[log p - log q] = KL > 0.
    truth = ONE_OF_EACH[name]
    data = truth.sample(10_000, 8, seed=10)
    regret = truth.log_prob(data) - wrong.log_prob(data)
    assert_mean(np.exp(-regret), 1.0)
    assert regret.mean() > 4 * regret.std() / math.sqrt(len(regret))


@pytest.mark.parametrize("name", ["ar2", "switching-ar", "counts", "hmm", "garch", "skewed-ar"])
def test_missing_values_are_refused_by_the_sequence_name(name):
    x = np.ones((3, 4, 1))
    x[1, 2] = np.nan
    with pytest.raises(InputError, match="sequence '1' has the value nan at step 2"):
        ONE_OF_EACH[name].log_prob_steps(x)
    named = tuple(
        Sequence(f"shop {i}", np.arange(4), row, np.zeros((4, 0))) for i, row in enumerate(x)
    )
    with pytest.raises(InputError, match="sequence 'shop 1' has the value nan at step 2"):
        ONE_OF_EACH[name].log_prob(SequenceDataset(named, ("y",)))


@every_process
def test_infinite_values_and_wrong_shapes_are_refused(process):
    x = np.ones((1, 2, process.num_channels))
    x[0, 1] = np.inf
    with pytest.raises(InputError, match="sequence '0' has the value inf at step 1"):
        process.log_prob_steps(x)
    for shape in [(3, 4), (3, 4, process.num_channels + 1)]:
        with pytest.raises(InputError, match=rf"shape \(N, T, {process.num_channels}\)"):
            process.log_prob_steps(np.ones(shape))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ar2", {"a2": -1.0}, "stationary"),
        ("ar2", {"a1": math.nan}, "stationary"),
        ("ar2", {"sigma": 0.0}, "sigma must be positive"),
        ("ar2", {"sigma": math.nan}, "sigma must be positive"),
        ("linear-gaussian", {"R": np.zeros((1, 1))}, "R must be symmetric and positive definite"),
        ("linear-gaussian", {"Q": np.diag([1.0, -0.1])}, "Q must be .* semidefinite"),
        ("linear-gaussian", {"P0": np.array([[1.0, 0.5], [0.0, 1.0]])}, "P0 must be symmetric"),
        ("linear-gaussian", {"A": np.eye(3)}, r"A needs shape \(2, 2\) .* not shape \(3, 3\)"),
        ("linear-gaussian", {"m0": np.array([0.0, np.inf])}, "m0 needs .* finite numbers"),
        ("switching-ar", {"phi": 1.0}, "phi must lie between -1 and 1"),
        ("switching-ar", {"sigma": -0.3}, "sigma must be positive"),
        ("switching-ar", {"stay": 1.0}, "stay must lie between 0 and 1"),
        ("switching-ar", {"shift": math.inf}, "shift must be finite"),
        ("hmm", {"scale": np.array([1.0, 0.0, 1.0])}, "scale must be positive"),
        ("hmm", {"loc": np.array([1.0, 0.0, np.nan])}, "loc needs .* finite numbers"),
        ("hmm", {"loc": np.zeros(2)}, r"scale needs shape \(2,\)"),
        ("hmm", {"transition": np.eye(3)}, "positive probabilities"),
        ("hmm", {"transition": np.full((3, 3), 0.3)}, "sum to 1"),
        ("garch", {"omega": 0.0}, "omega must be positive"),
        ("garch", {"alpha": 0.5, "beta": 0.5}, "alpha \\+ beta < 1"),
        ("garch", {"df": 2.0}, "df must be above 2"),
        ("skewed-ar", {"shape": 0.0}, "shape must be positive"),
        ("skewed-ar", {"phi": 1.0}, "phi must lie between -1 and 1"),
        ("banana", {"phi": -1.0}, "phi must lie between -1 and 1"),
        ("banana", {"narrow": 0.0}, "narrow must be positive"),
        ("banana", {"bend": math.nan}, "bend must be finite"),
        ("counts", {"omega": 0.0}, "omega must be positive"),
        ("counts", {"alpha": -0.1}, "alpha >= 0"),
        ("counts", {"alpha": 0.6, "beta": 0.4}, "alpha \\+ beta < 1"),
    ],
)
def test_invalid_parameters_are_refused(name, parameters, message):
    with pytest.raises(InputError, match=message):
        PROCESSES[name](**parameters)
