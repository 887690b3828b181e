"""Training: interruption, budgets, penalties, and errors that say where a value is not finite."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from cases import MODELS, dataset, first_quick, model

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import split
from seqlatent.errors import InputError, TrainingError
from seqlatent.inference.likelihood import mean_log_prob
from seqlatent.models.base import SequenceModel
from seqlatent.options import make
from seqlatent.processes import PROCESSES
from seqlatent.tasks.scoring import score
from seqlatent.training.fitting import fit
from seqlatent.training.options import TrainingOptions, choose_batch_size
from seqlatent.training.trainer import Trainer

SLOW_LATENTS = ("latent-bent", "latent", "latent-bent-independent")


def options(**values) -> TrainingOptions:
    return make(TrainingOptions, {"max_steps": 20, "batch_size": 4, "eval_every": 5, **values})


@pytest.fixture
def data() -> tuple[SequenceDataset, SequenceDataset]:
    return split(dataset(num=20, steps=10), 0.2, "series")


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "name",
    [
        *("rnn", "flow", "latent", "linear-gaussian"),
        pytest.param("latent-ancestral", marks=pytest.mark.slow),  # close to latent
    ],
)
def test_a_killed_fit_resumes_as_if_it_had_not_been_killed(
    name: str, data, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    noisy = {} if name == "linear-gaussian" else {"dropout": 0.1}
    whole = model(name, **noisy)
    straight = fit(whole, *data, options())

    def kill(trainer: Trainer) -> None:
        if trainer.step == 13:
            raise Killed

    with pytest.raises(Killed):
        fit(model(name, **noisy), *data, options(), run=tmp_path, report=kill)
    resumed = model(name, **noisy)
    steps: list[int] = []
    result = fit(
        resumed, *data, options(), run=tmp_path, resume=True, report=lambda t: steps.append(t.step)
    )
    assert steps[0] == 13  # it resumed from step 12, between two validations
    for key in ("step", "train_loss", "valid_log_prob", "learning_rate"):
        assert [h[key] for h in result.curve] == [h[key] for h in straight.curve]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_killed_fit_with_a_moving_average_and_augmentation_resumes_exactly(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    data = split(dataset("binary", channels=6, num=20, steps=10), 0.2, "series")
    for s in data[0]:
        s.x[:, 4:] = 0  # room for shifts
    chosen = options(average=0.9, shift_channels=2, hide=0.05)

    def made() -> SequenceModel:
        return model("rnn", "subset", data[0], input_dropout=0.1, channel_dropout=0.1)

    def kill(trainer: Trainer) -> None:
        if trainer.step == 13:
            raise Killed

    whole, resumed = made(), made()
    straight = fit(whole, *data, chosen)
    with pytest.raises(Killed):
        fit(made(), *data, chosen, run=tmp_path, report=kill)
    result = fit(resumed, *data, chosen, run=tmp_path, resume=True)
    for key in ("train_loss", "valid_log_prob"):
        assert [h[key] for h in result.curve] == [h[key] for h in straight.curve]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_moving_average_is_what_is_validated_and_kept(data):
    seen: list[list[torch.Tensor]] = []

    def note(trainer: Trainer) -> None:
        seen.append([p.detach().clone() for p in trainer.model.parameters()])

    m = model("rnn")
    chosen = options(average=0.8, max_steps=6, eval_every=6, patience=100)
    result = fit(m, *data, chosen, report=note)
    mean = seen[0]
    for count, now in enumerate(seen[1:], start=1):
        step = max(0.2, 9 / (10 + count))
        mean = [a + step * (b - a) for a, b in zip(mean, now, strict=True)]
    for kept, expected in zip(m.parameters(), mean, strict=True):
        torch.testing.assert_close(kept.detach(), expected)
    assert mean_log_prob(m, data[1], 8) == result.valid_score


def test_held_out_data_choose_between_the_parameters_and_their_average(data):
    """Noisy steps: the average is better. With few: the parameters are ahead of it. Either way what
    is kept has the better score of both, and those with one of them alone."""
    kept = {}
    for steps, rate, what in ((60, 0.05, "average"), (8, 1e-4, "parameters")):
        scores = {}
        for average in (None, 0.0, 0.99):
            m = model("rnn")
            chosen = options(
                average=average, max_steps=steps, eval_every=steps, learning_rate=rate, cooldown=0
            )
            scores[average] = fit(m, *data, chosen).valid_score
            assert mean_log_prob(m, data[1], 8) == scores[average]
        assert scores[None] == max(scores[0.0], scores[0.99])
        kept[what] = scores[0.99] > scores[0.0]
    assert kept == {"average": True, "parameters": False}


def test_resume_refuses_other_data_or_options(data, tmp_path, monkeypatch):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    fit(model("rnn"), *data, options(max_steps=5), run=tmp_path)
    other = split(dataset(num=20, steps=10, seed=5), 0.2, "series")
    with pytest.raises(InputError, match="other data"):
        fit(model("rnn"), *other, options(), run=tmp_path, resume=True)
    with pytest.raises(InputError, match="other training options"):
        fit(model("rnn"), *data, options(l2=0.1), run=tmp_path, resume=True)
    with pytest.raises(InputError, match="another model"):
        fit(model("cnn"), *data, options(), run=tmp_path, resume=True)


@pytest.mark.parametrize("name", first_quick(MODELS))
def test_training_raises_the_likelihood_and_the_seed_decides(name: str):
    # Regimes that see no past can make little of an autoregression.
    process = PROCESSES["hmm" if name == "switching-none" else "ar2"]()
    num = 60 if name.startswith("switching") else 20  # the start finds regimes in noise of a few
    data = split(process.sample(num, 12, seed=0), 0.2, "series")
    before = mean_log_prob(model(name, data=data[0]), data[1], 8)
    # A few moving averages learn slowly: their loss falls after fifty steps. So do these latents,
    # whose KL has its whole weight after a hundred.
    slow = {"smoother": (100, 0.03)} | dict.fromkeys(SLOW_LATENTS, (100, 0.01))
    steps, rate = slow.get(name, (30, 0.01))

    def fitted_score(steps: int, seed: int) -> float:
        m = model(name, data=data[0])
        chosen = options(max_steps=steps, eval_every=min(15, steps), learning_rate=rate)
        found = fit(m, *data, chosen, seed=seed).valid_score
        assert mean_log_prob(m, data[1], 8, seed) == found
        return found

    assert fitted_score(steps, 0) > before + 0.05
    first, again, other = (fitted_score(5, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_the_best_parameters_are_kept(data):
    m = model("rnn")
    result = fit(m, *data, options(max_steps=150, learning_rate=0.06, eval_every=10))
    best = max(result.curve, key=lambda h: h["valid_log_prob"])
    assert result.best_step == best["step"] < result.steps
    assert mean_log_prob(m, data[1], 1) == best["valid_log_prob"]


def test_training_stops_when_the_validation_score_does(data):
    result = fit(
        model("rnn"), *data, options(max_steps=10_000, eval_every=2, patience=2, learning_rate=0.05)
    )
    assert result.steps < 2000
    assert result.stopped == "the validation score had stopped rising"
    rates = [h["learning_rate"] for h in result.curve]
    assert min(rates) < 0.05 * 0.3**2 * 1.01


def test_minutes_are_a_budget(data):
    result = fit(model("rnn"), *data, options(max_steps=10**9, max_minutes=0.02, patience=10**6))
    assert 1.0 < result.seconds < 5.0
    assert result.stopped == "the budget was spent"
    assert result.curve[-1]["learning_rate"] < 0.1 * 3e-3


def test_a_start_takes_its_share_of_the_minutes(data, monkeypatch):
    """It is told when that is over, what it took counts, and a step follows however long it was."""
    told = []

    def start(self, data, late) -> None:
        told.append(late())
        time.sleep(0.5)
        told.append(late())

    monkeypatch.setattr(type(model("rnn")), "start", start)
    result = fit(model("rnn"), *data, options(max_steps=None, max_minutes=0.2 / 60))
    assert told == [False, True]
    assert (result.steps, len(result.curve)) == (1, 1)
    assert 0.5 < result.seconds < 3.0


def test_penalties_shrink_weights(data):
    def size(**penalty: float) -> float:
        m = model("rnn")
        result = fit(m, *data, options(max_steps=60, valid_by="series", **penalty))
        assert np.isfinite(result.curve[-1]["train_loss"])
        return sum(float(p.detach().abs().sum()) for p in m.parameters() if p.dim() > 1)

    without = size()
    assert size(l1=0.1) < 0.9 * without
    assert size(l2=0.1) < 0.9 * without


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


def test_gradients_are_clipped(data):
    """Adam's first step does not depend on the gradient's norm, but its moments do."""

    def moments(norm: float) -> float:
        m, seen = model("rnn"), []
        fit(m, *data, options(max_steps=2, clip_norm=norm), report=lambda t: seen.append(t))
        state = seen[-1].optimizers["adam"].state
        return sum(float(state[p]["exp_avg"].square().sum()) for p in m.parameters()) ** 0.5

    assert moments(1e-3) < 1e-3 < moments(1e9)


def test_windows_are_trained_on_after_their_context(monkeypatch: pytest.MonkeyPatch):
    walk = SequenceDataset.from_list([np.random.default_rng(0).normal(size=300).cumsum()])
    train, valid = split(walk, 0.2)
    seen: list[tuple[int, int]] = []

    def remember(sequences):
        seen.extend((len(s), s.context) for s in sequences)
        return collate(sequences)

    monkeypatch.setattr("seqlatent.training.trainer.collate", remember)
    chosen = options(max_steps=4, window_length=20, window_context=7, batch_size=100)
    fit(model("rnn", data=train), train, valid, chosen)
    assert max(context for _, context in seen) == 7  # shorter only near the series' start
    assert sum(context == 7 for _, context in seen) > len(seen) / 2
    assert max(length - context for length, context in seen) == 20


@pytest.mark.parametrize(
    ("num", "window", "expected"),
    [(5, None, 8), (200, None, 13), (2000, None, 64), (5, (20, 0), 8), (200, (10, 4), 63)],
)
def test_a_batch_is_a_sixteenth_of_the_sequences_or_windows(num: int, window, expected: int):
    data = SequenceDataset.from_list([np.zeros(50)] * num)
    assert choose_batch_size(data, TrainingOptions(), window) == expected
    assert choose_batch_size(data, TrainingOptions(batch_size=3), window) == 3


@pytest.mark.slow
def test_hidden_values_teach_a_model_to_read_gaps():
    """After a missing value, a model trained with `hide` is within 0.2 nats of the truth for an
    AR(1), whose distribution two steps ahead is known; one trained without is worse."""
    rng = np.random.default_rng(0)

    def walks(num: int) -> np.ndarray:
        x = np.zeros((num, 20))
        x[:, 0] = rng.normal(size=num)
        for t in range(1, 20):
            x[:, t] = 0.95 * x[:, t - 1] + np.sqrt(1 - 0.95**2) * rng.normal(size=num)
        return x

    train, valid = split(SequenceDataset.from_arrays(walks(300)), 0.1, "series")
    gappy = walks(200)
    gappy[:, 9] = np.nan
    test = SequenceDataset.from_arrays(gappy)
    truth_sd = np.sqrt(1 - 0.95**4)
    truth = -0.5 * np.log(2 * np.pi * np.e * truth_sd**2)
    after: dict[float, float] = {}
    for share in (0.0, 0.1):
        m = model("rnn", "normal", train)
        m.gaps = "new"  # or values would be unread in both
        fit(m, train, valid, options(max_steps=600, eval_every=100, batch_size=64,
                                     learning_rate=0.01, hide=share))  # fmt: skip
        steps = score(m, test)[1]
        after[share] = float(steps["log_prob"][steps["ds"] == 10].mean())
    assert after[0.1] > truth - 0.2
    assert after[0.0] < after[0.1]


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """They stop at the same step, and only one of them writes and prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m",
               "seqlatent", "fit", "elnino", "--max-steps", "30", "--threads", "1",
               "--set", "eval_every=10", "--out", "run"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nats per step") == 1
    assert (tmp_path / "run" / "model.safetensors").is_file()


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
