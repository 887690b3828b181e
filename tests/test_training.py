"""The loop: interruption, budgets, penalties, and breaking down with a word of where."""

import numpy as np
import pytest
import torch
from cases import MODELS, dataset, model

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.simulate import PROCESSES
from seqlatent.data.splits import split
from seqlatent.errors import InputError
from seqlatent.options import make
from seqlatent.scoring import mean_log_prob
from seqlatent.training import Trainer, TrainingError, fit
from seqlatent.training_options import TrainingOptions


def options(**values) -> TrainingOptions:
    return make(TrainingOptions, {"max_steps": 20, "batch_size": 4, "eval_every": 5, **values})


@pytest.fixture
def data() -> tuple[SequenceDataset, SequenceDataset]:
    return split(dataset(num=20, steps=10), 0.2, "series")


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", ["rnn", "flow", "latent", "latent-ancestral"])
def test_a_killed_fit_goes_on_as_if_it_had_not_been_killed(
    name: str, data, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("seqlatent.training.CHECKPOINT_SECONDS", 0.0)
    whole = model(name, dropout=0.1)
    straight = fit(whole, *data, options())

    def kill(trainer: Trainer) -> None:
        if trainer.step == 13:
            raise Killed

    with pytest.raises(Killed):
        fit(model(name, dropout=0.1), *data, options(), run=tmp_path, report=kill)
    resumed = model(name, dropout=0.1)
    steps: list[int] = []
    result = fit(
        resumed, *data, options(), run=tmp_path, resume=True, report=lambda t: steps.append(t.step)
    )
    assert steps[0] == 11  # it went on from the validation at step 10
    for key in ("step", "train_loss", "valid_log_prob", "learning_rate"):
        assert [h[key] for h in result.history] == [h[key] for h in straight.history]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resume_refuses_other_data_or_options(data, tmp_path):
    fit(model("rnn"), *data, options(max_steps=5), run=tmp_path)
    other = split(dataset(num=20, steps=10, seed=5), 0.2, "series")
    with pytest.raises(InputError, match="other data"):
        fit(model("rnn"), *other, options(), run=tmp_path, resume=True)
    with pytest.raises(InputError, match="other training options"):
        fit(model("rnn"), *data, options(l2=0.1), run=tmp_path, resume=True)
    with pytest.raises(InputError, match="another model"):
        fit(model("cnn"), *data, options(), run=tmp_path, resume=True)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_training_raises_the_likelihood_and_the_seed_decides(name: str):
    data = split(PROCESSES["ar2"]().sample(20, 12, seed=0), 0.2, "series")
    before = mean_log_prob(model(name, data=data[0]), data[1], 8)
    results = []
    for seed in (0, 0, 1):
        m = model(name, data=data[0])
        chosen = options(max_steps=30, eval_every=15, learning_rate=0.01)
        results.append(fit(m, *data, chosen, seed=seed))
        assert mean_log_prob(m, data[1], 8, seed) == results[-1].valid_log_prob
    assert results[0].valid_log_prob > before + 0.05
    assert results[0].valid_log_prob == results[1].valid_log_prob != results[2].valid_log_prob


def test_the_best_parameters_are_kept(data):
    m = model("rnn")
    result = fit(m, *data, options(max_steps=300, learning_rate=0.03, eval_every=10))
    best = max(result.history, key=lambda h: h["valid_log_prob"])
    assert result.best_step == best["step"] < result.steps
    assert mean_log_prob(m, data[1], 1) == best["valid_log_prob"]


def test_training_stops_when_the_validation_score_does(data):
    result = fit(
        model("rnn"), *data, options(max_steps=10_000, eval_every=2, patience=2, learning_rate=0.05)
    )
    assert result.steps < 2000
    assert result.stopped == "the validation score had stopped rising"
    rates = [h["learning_rate"] for h in result.history]
    assert min(rates) < 0.05 * 0.3**2 * 1.01


def test_minutes_are_a_budget(data):
    result = fit(model("rnn"), *data, options(max_steps=10**9, max_minutes=0.02, patience=10**6))
    assert 1.0 < result.seconds < 5.0
    assert result.stopped == "the budget was spent"
    assert result.history[-1]["learning_rate"] < 0.1 * 3e-3


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_shrink_weights(penalty: str, data):
    def size(strength: float) -> float:
        m = model("rnn")
        result = fit(m, *data, options(max_steps=60, valid_by="series", **{penalty: strength}))
        assert np.isfinite(result.history[-1]["train_loss"])
        return sum(float(p.detach().abs().sum()) for p in m.parameters() if p.dim() > 1)

    assert size(0.1) < 0.9 * size(0.0)


def test_a_loss_that_is_not_finite_is_located(data):
    m = model("rnn")

    def poison(trainer: Trainer) -> None:
        if trainer.step == 3:
            with torch.no_grad():
                m.head.linear.bias.fill_(torch.nan)

    with pytest.raises(
        TrainingError, match=r"step 3 the term 'log_prob' is nan at series \d+, step 0"
    ):
        fit(m, *data, options(), report=poison)


def test_a_gradient_that_is_not_finite_is_named(data):
    m = model("rnn")
    m.head.linear.weight.register_hook(lambda g: g * torch.inf)
    with pytest.raises(TrainingError, match=r"the gradient of head\.linear\.weight is not finite"):
        fit(m, *data, options())


def test_global_randomness_is_left_alone(data):
    torch.manual_seed(11)
    expected = torch.randn(3)
    torch.manual_seed(11)
    fit(model("latent"), *data, options(max_steps=2))
    assert torch.equal(torch.randn(3), expected)


def test_long_series_are_trained_in_windows():
    rng = np.random.default_rng(0)
    walk = SequenceDataset.from_list([np.sin(np.arange(900) / 5) + 0.1 * rng.normal(size=900)])
    train, valid = split(walk, 0.1)
    assert valid.sequences[0].context > 0
    m = model("rnn", data=train)
    before = mean_log_prob(m, valid, 1)
    fit(m, train, valid, options(max_steps=60, eval_every=20, learning_rate=0.01))
    assert mean_log_prob(m, valid, 1) > before + 0.3
