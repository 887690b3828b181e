"""Scores of awkward data: shared names, gaps, constant columns, other scalings."""

import logging

import numpy as np
import pytest
import torch
from cases import dataset, model

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.inference import likelihood
from seqlatent.inference.likelihood import mean_log_prob, score_sequences
from seqlatent.tasks.scoring import score


def test_pieces_that_share_a_name_are_scored_each():
    m, s = model("rnn"), dataset(num=1, steps=9).sequences[0]
    pieces = (s.slice(0, 3), s.slice(3, 9, 2), s.slice(2, 6))
    together = score(m, SequenceDataset(pieces, ("y",)))[0]
    alone = [score(m, SequenceDataset((p,), ("y",)))[0]["log_prob"][0] for p in pieces]
    np.testing.assert_allclose(together["log_prob"], alone, rtol=0, atol=1e-5)
    assert list(together["num_observed"]) == [3, 4, 4]


@pytest.mark.parametrize("scaling", ["global", "none"])
def test_the_floor_is_the_grid_s_in_data_units(scaling: str):
    """r / sqrt(12) of a grid of spacing r, whatever the scaler does."""
    data = SequenceDataset.from_list([np.round(np.random.default_rng(0).normal(0, 50, 400), -1)])
    m = model("rnn", "normal", data, scaling=scaling)
    floor = torch.as_tensor(m.value_distribution.floor).double() * m.scaler.scale
    torch.testing.assert_close(floor, torch.tensor([10 / np.sqrt(12)], dtype=torch.float64))


@pytest.mark.parametrize("value", [0.3, 0.1, 1 / 3, 100.1, 0.0])
def test_a_constant_covariate_is_not_stretched(value: float):
    import pandas as pd

    frame = pd.DataFrame({"ds": range(1000), "y": np.arange(1000.0) % 7, "c": value})
    data = SequenceDataset.from_frame(frame, covariates=["c"])
    assert DataDescription.of(data).covariate_scale == (1.0,)


def test_a_channel_without_any_value_is_not_refused():
    x = np.random.default_rng(0).integers(0, 2, (20, 6, 2)).astype(float)
    m = sl.RNN(hidden_dim=4).fit(SequenceDataset.from_arrays(x), max_steps=2)
    gone = x[:3].copy()
    gone[..., 1] = np.nan
    assert list(m.log_prob(SequenceDataset.from_arrays(gone))["num_observed"]) == [6, 6, 6]


def test_gaps_that_training_did_not_have_are_warned_of(caplog: pytest.LogCaptureFixture):
    """Of real values, training reads some as missing."""
    for kind, emission in (("real", "normal"), ("binary", "bernoulli")):
        data = dataset(kind, num=3)
        m = model("rnn", emission, data)
        with caplog.at_level(logging.WARNING, "seqlatent"):
            score(m, data)
            assert not caplog.records
            data.sequences[0].x[2] = np.nan
            score(m, data)
        warned = "has missing values and the training data had none" in caplog.text
        assert warned == (emission == "bernoulli")


def test_names_of_columns_are_remembered(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": np.repeat(list("abcdefghijkl"), 5), "y": rng.normal(size=60)})
    data = sl.load(frame, id_column="shop")
    m = sl.RNN(hidden_dim=4).fit(data, max_steps=2, run=tmp_path / "run")
    assert len(m.log_prob(frame)) == 12
    assert len(sl.load_model(tmp_path / "run").log_prob(frame)) == 12


@pytest.mark.parametrize("name", ["rnn", "latent", "latent-last", "vrnn", "srnn", "dmm"])
def test_steps_say_whether_they_depend_on_later_values(name: str):
    data = dataset(num=2)
    steps = score(model(name, data=data), data)[1]
    assert (steps["sees_later"] == (name in ("srnn", "dmm"))).all()
    assert not steps["partial"].any()


@pytest.mark.parametrize(
    ("emission", "options", "hidden"),
    [
        ("normal", {"channels": "autoregressive"}, True),
        ("normal", {"channels": "independent"}, False),
        ("covariance-mixture", {}, False),
    ],
)
def test_steps_observed_in_part_are_marked_where_they_are_no_marginals(
    emission: str, options: dict, hidden: bool
):
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    m = model("rnn", emission, SequenceDataset.from_arrays(x), **options)
    x[0, 1, 0] = x[1, 2] = np.nan
    steps = score(m, SequenceDataset.from_arrays(x))[1]
    assert list(steps["partial"]) == [False, hidden, *[False] * 7]


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed: int):
    with pytest.raises(sl.InputError, match="seed"):
        sl.RNN().fit(dataset(), seed=seed)


def test_the_mean_is_flat_over_steps():
    """Long sequences count by their steps, not once each."""
    m, data = model("rnn"), dataset(num=4, steps=12)
    data = (*data[[0, 1]], *(s.slice(0, 3) for s in data[[2, 3]]))
    mixed = SequenceDataset(data, ("y",))
    scores, steps = score(m, mixed)
    assert mean_log_prob(m, mixed, 1) == pytest.approx(steps["log_prob"].mean(), abs=1e-6)
    assert abs(steps["log_prob"].mean() - scores["nats_per_step"].mean()) > 1e-3


def test_filters_of_many_sequences_move_together(monkeypatch: pytest.MonkeyPatch):
    """Each step of a filter costs about the same for a few particles as for hundreds: held-out
    sequences of several channels are not filtered by twos and threes."""
    estimate, sizes = likelihood.estimate, []

    def counted(model, batch, *args, **options):
        sizes.append(len(batch.x))
        return estimate(model, batch, *args, **options)

    monkeypatch.setattr(likelihood, "estimate", counted)
    data = dataset(channels=6, num=27, steps=42)
    m = model("latent", data=data)
    together = {s.place: s.log_prob for s in score_sequences(m, data, 8, num_filters=1)}
    assert sizes == [27]
    for i, s in enumerate(data.sequences[:2]):
        alone = next(score_sequences(m, SequenceDataset((s,), data.targets), 8, num_filters=1))
        np.testing.assert_allclose(together[i], alone.log_prob, rtol=0, atol=1e-3)
    sizes.clear()
    few = SequenceDataset(tuple(s.slice(0, 3) for s in data.sequences), data.targets)
    list(score_sequences(m, few, 64, num_filters=6))  # 384 particles each, 6,144 at most together
    assert sizes == [16, 11]
    sizes.clear()
    many = dataset(channels=60, num=5, steps=4)  # memory would grow with the channels
    list(score_sequences(model("latent", data=many), many, 64, num_filters=6))
    assert sizes == [2, 2, 1]
