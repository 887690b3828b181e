"""Laws that hold for every model without a density."""

import dataclasses

import known
import numpy as np
import pytest
import torch
from cases import UNSCORED, dataset, unscored, without_gradient
from drawing import history_may_be_cut, saved_and_loaded, seeds_decide

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import split
from seqlatent.errors import InputError
from seqlatent.inference.training_protocols import LossTraining
from seqlatent.options import make
from seqlatent.processes import PROCESSES
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score
from seqlatent.training.fitting import fit
from seqlatent.training.options import TrainingOptions
from seqlatent.training.selection import validation_score

NAMES = sorted(UNSCORED)
BY_LOSS = [n for n in NAMES if isinstance(unscored(n), LossTraining)]


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_refused_in_one_sentence(name: str):
    with pytest.raises(InputError, match="has no likelihood to score sequences by") as refused:
        score(unscored(name), dataset())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", BY_LOSS)
def test_padding_changes_neither_loss_nor_gradient(name: str):
    m, batch = unscored(name), collate(dataset(num=1, steps=6).sequences)
    longer = collate([*dataset(num=1, steps=6).sequences, *dataset(num=1, steps=10).sequences])
    padded = dataclasses.replace(
        longer,
        x=torch.where(longer.observed, longer.x, 123.0)[:1],
        **{f: getattr(longer, f)[:1] for f in ("observed", "lengths", "context", "covariates")},
        past=longer.past[:1],
        past_lengths=longer.past_lengths[:1],
    )
    assert padded.x.shape[1] == 10 and batch.x.shape[1] == 6
    losses, gradients = [], []
    for b in (batch, padded):
        m.zero_grad()
        torch.manual_seed(0)  # of a loss that has noise
        loss = m.loss(b)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in m.parameters() if p.grad is not None])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", BY_LOSS)
def test_gradient_to_every_parameter(name: str, missing: bool):
    data = dataset(channels=2, num=20, steps=9)
    for s in data if missing else ():
        s.x[2] = np.nan
        s.x[4, 1] = np.nan
    m = unscored(name, data).train()
    torch.manual_seed(0)
    m.loss(collate(data.sequences)).backward()
    assert without_gradient(m) == []


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_is_the_same_model(name: str, tmp_path):
    saved_and_loaded(unscored(name), dataset(num=3), tmp_path / "run", 7)


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str):
    m, data = unscored(name), dataset(num=2)
    seeds_decide(m, data, 5)


@pytest.mark.parametrize("name", BY_LOSS)
def test_finite_at_the_edges(name: str):
    m = unscored(name)
    wild = np.array([1e9, -1e9, 20.0, 20.0, 1e-9])[:, None]
    for x in (wild, np.full((5, 1), 20.0), np.array([[20.0]])):
        data = SequenceDataset.from_list([x])
        m.zero_grad()
        loss = m.loss(collate(data.sequences))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in m.parameters() if p.grad is not None)
        assert np.isfinite(forecast(m, data, 5, num_samples=5).samples).all()


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_and_past_covariates(name: str):
    data = known.dataset(6, 9)
    for s in data:
        s.x[3] = np.nan
    x = forecast(unscored(name, data), data, 5, num_samples=4).samples
    assert x.shape == (6, 4, 5, 1) and np.isfinite(x).all()


@pytest.mark.parametrize("name", NAMES)
def test_long_history_is_read_in_chunks(name: str, monkeypatch: pytest.MonkeyPatch):
    history_may_be_cut(unscored(name), dataset(num=1, steps=9), 5, monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_training_raises_its_own_score_and_the_seed_decides(name: str):
    data = split(PROCESSES["ar2"]().sample(20, 12, seed=0), 0.2, "series")
    before = validation_score(unscored(name, data[0]), data[1], 8, 0)

    def fitted_score(steps: int, seed: int) -> float:
        m = unscored(name, data[0])
        chosen = {"max_steps": steps, "eval_every": min(15, steps), "learning_rate": 0.01}
        found = fit(m, *data, make(TrainingOptions, chosen), seed=seed).valid_score
        assert validation_score(m, data[1], 8, seed) == found
        return found

    assert fitted_score(30, 0) > before + 0.05
    first, again, other = (fitted_score(5, seed) for seed in (0, 0, 1))
    assert first == again != other
