"""A model without a density is first-class: a small adversarial sampler, trained by two optimisers.

    x_t = g(h_{t-1}, e_t),    h_t = GRU of x_1, ..., x_t,    e_t ~ N(0, I)

A critic tells values from samples, given the same past; the sampler learns to be taken for the data
(Goodfellow et al. 2014). Nothing here is a likelihood: what is kept is what has the best energy
score, E|X - x| - E|X - X'| / 2 (Gneiting and Raftery 2007), of one step ahead.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

import seqlatent as sl
from seqlatent.cli.app import run_command
from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.distributions import Noise, TorchNoise
from seqlatent.errors import InputError
from seqlatent.inference import DensityBound, ModelState, OwnSelection, OwnTraining
from seqlatent.inference.training_protocols import Update
from seqlatent.models import MODELS, ModelOptions, SequenceModel, register_model
from seqlatent.models.autoregressive import RNNModel, RNNOptions
from seqlatent.nn import build_network
from seqlatent.nn.feedforward import mlp
from seqlatent.processes import PROCESSES
from seqlatent.tasks import score


@dataclass(frozen=True)
class AdversaryOptions(ModelOptions):
    hidden_dim: int = field(default=16, metadata={"help": "size of every network", "min": 1})
    noise_dim: int = field(default=4, metadata={"help": "size of e_t", "min": 1})


class AdversaryModel(SequenceModel, OwnTraining, OwnSelection):
    """A sampler that a critic has trained.

        x_t = g(h_{t-1}, e_t),    e_t ~ N(0, I)

    Use it to see that a model needs no density.
    """

    family, Options, score_name = "adversary", AdversaryOptions, "energy_score"

    def __init__(self, options: AdversaryOptions, description):
        super().__init__(options, description)
        hidden, channels = options.hidden_dim, description.num_channels
        self.memory = build_network("gru", self.input_dim, hidden)
        self.sampler = mlp(hidden + self.input_dim + options.noise_dim, hidden, channels)
        self.critic_memory = build_network("gru", self.input_dim, hidden)
        self.critic = mlp(hidden + self.input_dim + channels, hidden, 1)

    def sample_given(self, u: Tensor, network, noise: Noise) -> tuple[Tensor, object]:
        """(..., T, D) scaled samples of each step, given the values before it."""
        h, network = self.memory(u, network)
        e = noise.normal((*u.shape[:-1], self.options.noise_dim), u)
        return self.sampler(torch.cat([h, u, e], -1)), network

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        state = state or self.begin(batch)
        _, embedding, u = self.inputs(batch, state)
        return ModelState(state.memory, embedding[:, -1:], self.memory(u, state.network)[1])

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        y, network = self.sample_given(self.next_input(state, covariates), state.network, noise)
        last = self.embed(y, torch.ones_like(y, dtype=torch.bool))
        x, memory = self.unscale_step(y, state)
        return x, ModelState(memory, last, network)

    # -- how it is trained, and what it is chosen by

    def optimizers(self, learning_rate: float) -> dict[str, Optimizer]:
        sampler = [*self.memory.parameters(), *self.sampler.parameters()]
        critic = [*self.critic_memory.parameters(), *self.critic.parameters()]
        return {"sampler": Adam(sampler, learning_rate), "critic": Adam(critic, 2 * learning_rate)}

    def training_step(self, batch: SequenceBatch, step: int, update: Update) -> Tensor:
        y, _, u = self.inputs(batch, None)
        seen = batch.scored

        def verdict(values: Tensor) -> Tensor:
            h, _ = self.critic_memory(u)
            return self.critic(torch.cat([h, u, values], -1))[..., 0][seen]

        fake, _ = self.sample_given(u, None, TorchNoise())
        critic = F.softplus(-verdict(y)).mean() + F.softplus(verdict(fake.detach())).mean()
        update("critic", critic)
        fake, _ = self.sample_given(u, None, TorchNoise())
        loss = F.softplus(-verdict(fake)).mean()
        update("sampler", loss)
        return loss.detach()

    def validation_score(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        y, _, u = self.inputs(batch, None)
        a, b = (self.sample_given(u, None, noise)[0] for _ in range(2))
        distance = ((a - y).norm(dim=-1) + (b - y).norm(dim=-1)) / 2 - (a - b).norm(dim=-1) / 2
        return -(distance * batch.scored).sum(1) / batch.scored.sum(1).clamp(min=1)


@pytest.fixture(autouse=True)
def registered():
    register_model(AdversaryModel)
    yield
    MODELS._known.pop("adversary")


@pytest.fixture(scope="module")
def data():
    return PROCESSES["ar2"]().sample(60, 30, 0)


@pytest.mark.slow
def test_it_learns_by_two_optimisers_and_its_own_score(data, tmp_path):
    before = sl.Adversary().fit(data, max_steps=1, seed=0)
    model = sl.Adversary().fit(data, max_steps=300, learning_rate=5e-3, run=tmp_path / "run")
    scores = [row["valid_energy_score"] for row in model.result.curve]
    assert model.result.valid_score == max(scores)
    assert max(scores) > before.result.valid_score + 0.05
    assert "(energy score)" in repr(model)
    assert "energy_score" in repr(model.result)
    paths = model.forecast(data, prediction_length=5, num_samples=200).samples
    assert np.isfinite(paths).all()
    assert (paths.std(1) > 0).all()
    again = sl.load_model(tmp_path / "run")
    np.testing.assert_array_equal(
        again.forecast(data[:3], prediction_length=5, num_samples=20).samples,
        model.forecast(data[:3], prediction_length=5, num_samples=20).samples,
    )


def test_an_interrupted_fit_goes_on_exactly(data, tmp_path, monkeypatch):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    options = {"max_steps": 6, "eval_every": 2, "seed": 1}
    whole = sl.Adversary().fit(data, **options)
    step = AdversaryModel.training_step

    def stop(self, batch, number, update):
        if number == 4:
            raise KeyboardInterrupt
        return step(self, batch, number, update)

    with monkeypatch.context() as patch:
        patch.setattr(AdversaryModel, "training_step", stop)
        with pytest.raises(KeyboardInterrupt):
            sl.Adversary().fit(data, **options, run=tmp_path / "run")
    resumed = sl.Adversary().fit(data, **options, run=tmp_path / "run", resume=True)
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_what_needs_a_density_is_refused_in_one_sentence(data):
    model = sl.Adversary().fit(data, max_steps=1)
    for ask, words in (
        (lambda: model.log_prob(data), "model 'adversary' has no likelihood to score sequences by"),
        (lambda: model.encode(data), "model 'adversary' has no latent"),
        (lambda: model.inspect(data), "model 'adversary' has no latents"),
        (lambda: model.impute(data), "model 'adversary' has no distribution of missing values"),
        (lambda: sl.Adversary().fit(data, max_steps=1, l2=0.1), "its own training steps"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_at_the_command_line(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data.to_frame().to_csv("data.csv", index=False)
    fit = ["fit", "data.csv", "--model", "adversary", "--max-steps", "2", "--out", "run"]
    assert run_command([*fit, "--plot", "curve.png"]) == 0
    assert "(energy score) at step 2 of 2" in capsys.readouterr().out
    forecast = ["forecast", "run", "data.csv", "--prediction-length", "3", "--out", "f.csv"]
    assert run_command(forecast) == 0
    assert np.isfinite(pd.read_csv("f.csv")["mean"]).all()
    assert (
        run_command(["sample", "run", "--num-samples", "2", "--length", "5", "--out", "s.csv"]) == 0
    )
    assert run_command(["models", "adversary"]) == 0
    assert "x_t = g(h_{t-1}, e_t)" in capsys.readouterr().out
    assert run_command(["score", "run", "data.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_class_that_does_not_say_what_it_is_chosen_by_is_refused():
    class Aimless(SequenceModel, OwnTraining):
        family = "aimless"

    class Idle(SequenceModel):
        family = "idle"

    with pytest.raises(TypeError, match="Aimless must be an ExactDensity"):
        register_model(Aimless)
    with pytest.raises(TypeError, match="Idle must be a LossTraining or an OwnTraining"):
        register_model(Idle)


def test_a_log_prob_alone_is_no_density():
    """A method's name promises nothing: what a class does not declare it does not have."""

    class Boastful(AdversaryModel):
        family = "boastful"

        def log_prob(self, batch, state=None):
            return torch.zeros(batch.x.shape[:2]), state

    data = sl.SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(4, 5)))
    model = Boastful(AdversaryOptions(), DataDescription.of(data))
    with pytest.raises(InputError, match="has no likelihood"):
        score(model, data)


def test_a_bound_is_scored_as_a_bound():
    class Looser(RNNModel, DensityBound):
        kind = "bound"

        def log_prob(self, batch, state=None):
            log_prob, after = super().log_prob(batch, state)
            return torch.where(batch.scored, log_prob - 0.1, 0.0), after

    data = sl.SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(4, 5)))
    model = Looser(RNNOptions(emission="normal"), DataDescription.of(data))
    assert set(score(model, data)[0]["kind"]) == {"bound"}
    with pytest.raises(InputError, match="as a bound: there is no estimator"):
        score(model, data, estimator="smc")
