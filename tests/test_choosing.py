"""The choice of scaling: which chains are compared, by what, and what it costs."""

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cases import dataset
from cases import model as built

import seqlatent as sl
from seqlatent.api import RNN, LinearGaussian
from seqlatent.choosing import Choice, Tried, choose_scaling
from seqlatent.choosing.linear import FEWEST, STEPS, linear_scores, some
from seqlatent.choosing.scaling import ENOUGH_STEPS, candidates
from seqlatent.choosing.trials import TRIAL_STEPS
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.splits import split
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS, build_model
from seqlatent.options import make
from seqlatent.processes import PROCESSES
from seqlatent.training.options import TrainingOptions
from seqlatent.training.trainer import Trainer

MOVING = {"running", "increments", "seasonal"}
LINEAR_ONLY = 20  # steps of training, too few for short fits
WITH_FITS = 10 * ENOUGH_STEPS  # 30 % of it are enough for three short fits


def arrays(x: np.ndarray) -> SequenceDataset:
    return SequenceDataset.from_arrays(x)


def walks(seed: int = 0) -> SequenceDataset:
    """Random walks of different levels."""
    rng = np.random.default_rng(seed)
    return arrays(rng.normal(0, 40, (40, 1)) + 0.5 * rng.normal(size=(40, 40)).cumsum(1))


def factors(seed: int = 0) -> SequenceDataset:
    """Levels that differ by factors of thousands, with multiplicative noise."""
    rng = np.random.default_rng(seed)
    return arrays(np.exp(rng.normal(5, 3, (40, 1)) + 0.3 * rng.normal(size=(40, 40))))


def seasonal(seed: int = 0) -> SequenceDataset:
    """A level and a season of its own for every series."""
    rng = np.random.default_rng(seed)
    pattern = np.tile(30 * rng.normal(size=(40, 6)), (1, 7))
    return arrays(rng.normal(0, 100, (40, 1)) + pattern + rng.normal(size=(40, 42)))


def rnn(data: SequenceDataset, scaling: str = "global", **options) -> SequenceModel:
    chosen = make(MODELS["rnn"].Options, {"hidden_dim": 8, "emission": "normal", **options})
    description = DataDescription.of(data, chosen.season)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("rnn", replace(chosen, scaling=scaling), description)


def chosen(data: SequenceDataset, max_steps: int = LINEAR_ONLY, seed: int = 0, **options) -> Choice:
    train, held_out = split(data, 0.2, "series", seed)
    limits = make(TrainingOptions, {"max_steps": max_steps})
    return choose_scaling(
        lambda scaling: rnn(train, scaling, **options), train, held_out, limits, seed=seed
    )


# -- which chains are compared ---------------------------------------------------------------------


def test_logarithms_are_for_data_that_are_never_negative():
    data = factors()
    assert any("log" in c for c in candidates(rnn(data)))
    zero = replace(data, sequences=(*data, *arrays(np.zeros((1, 40)))))
    assert any("log" in c for c in candidates(rnn(zero)))
    below = replace(data, sequences=(*data, *arrays(np.full((1, 40), -1e-6))))
    assert not any("log" in c for c in candidates(rnn(below)))
    assert not any("log" in c for c in candidates(rnn(arrays(np.zeros((3, 40))))))


def test_seasons_are_for_data_that_have_one():
    assert any("seasonal" in c for c in candidates(rnn(seasonal())))
    assert not any("seasonal" in c for c in candidates(rnn(seasonal(), season=1)))
    assert not any("seasonal" in c for c in candidates(rnn(walks())))


def test_a_smoother_keeps_to_chains_that_do_not_move():
    found = candidates(built("linear-gaussian", data=factors()))
    assert found == ["global", "log+global"]
    m = LinearGaussian(latent_dim=1).fit(walks(), max_steps=2, progress=False)
    assert m.module.scaler.scaling == "global"


@pytest.mark.parametrize(("kind", "emission"), [("count", "poisson"), ("category", "categorical")])
def test_what_is_never_scaled_needs_no_trial(kind: str, emission: str, monkeypatch, caplog):
    data = dataset(kind, num=20, steps=20)
    assert candidates(built("rnn", emission, data)) == ["global"]

    def refused(*arguments, **settings):
        raise AssertionError("nothing was to be compared")

    monkeypatch.setattr("seqlatent.choosing.scaling.linear_scores", refused)
    monkeypatch.setattr("seqlatent.choosing.scaling.short_fit", refused)
    with caplog.at_level(logging.INFO, "seqlatent"):
        m = RNN(hidden_dim=4, emission=emission).fit(data, max_steps=2, progress=False)
    assert m.module.scaler.scaling == "global"
    assert "tried" not in m.fitted and "scaling=" not in caplog.text


# -- what is chosen --------------------------------------------------------------------------------


@pytest.mark.parametrize("max_steps", [LINEAR_ONLY, WITH_FITS])
def test_walks_of_different_levels_are_read_by_increments(max_steps: int):
    assert "increments" in chosen(walks(), max_steps).scaling.split("+")


@pytest.mark.parametrize("max_steps", [LINEAR_ONLY, WITH_FITS])
def test_levels_that_differ_by_factors_are_read_on_a_logarithmic_scale(max_steps: int):
    assert "log" in chosen(factors(), max_steps).scaling.split("+")


@pytest.mark.slow
@pytest.mark.parametrize("max_steps", [LINEAR_ONLY, WITH_FITS])
def test_seasons_of_different_series_are_read_by_seasons(max_steps: int):
    assert "seasonal" in chosen(seasonal(), max_steps).scaling.split("+")


@pytest.mark.parametrize("seed", range(4))
def test_a_stationary_process_is_read_by_the_simplest_chain(seed: int):
    data = PROCESSES["ar2"]().sample(60, 60, seed)
    assert chosen(data, seed=seed).scaling == "global"


@pytest.mark.slow
def test_noise_is_read_by_the_simplest_chain_also_by_short_fits():
    data = arrays(np.random.default_rng(0).normal(7, 2, (40, 40)))
    assert chosen(data, season=1).scaling == "global"
    fits = chosen(data, WITH_FITS, season=1)
    assert fits.scaling == "global"


@pytest.mark.slow
def test_the_choice_does_not_cost_likelihood():
    """On a process of known law, whatever was chosen is as good as scaling=global."""
    process = PROCESSES["ar2"]()
    data, test = process.sample(60, 50, 0), process.sample(100, 50, 1)
    truth = process.log_prob(test).mean() / 50
    regrets = []
    for scaling in ("auto", "global"):
        m = RNN(hidden_dim=8, emission="normal", scaling=scaling)
        m.fit(data, max_steps=WITH_FITS, progress=False)
        regrets.append(truth - m.log_prob(test)["log_prob"].mean() / 50)
    assert regrets[0] < regrets[1] + 0.01


def test_the_unit_of_the_data_changes_nothing():
    for make_data in (factors, walks):
        here, there = (
            chosen(replace(d, sequences=tuple(replace(s, x=s.x * size) for s in d)))
            for d, size in ((make_data(), 1.0), (make_data(), 1000.0))
        )
        assert here.scaling == there.scaling
        for a, b in zip(here.tried, there.tried, strict=True):
            assert b.nats_per_step == pytest.approx(a.nats_per_step - math.log(1000), abs=1e-3)


# -- linear models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", ["none", "global", "running"])
def test_linear_scores_of_noise_are_its_entropy(chain: str):
    """Student's t with 4 degrees of freedom, whose mean log density is known by quadrature."""
    rng = np.random.default_rng(0)
    size = 3.0
    train, held_out = (arrays(5 + size * rng.standard_t(4, (60, 100))) for _ in range(2))
    points = np.linspace(-400, 400, 400_001)
    log_law = math.log(3 / 8) - 2.5 * np.log1p(points**2 / 4)
    entropy = -np.trapezoid(np.exp(log_law) * log_law, points) + math.log(size)
    module = rnn(train, season=1)
    nats = linear_scores(module, chain, train.sequences, held_out.sequences)
    assert [len(each) for each in nats] == [100] * 60
    values = np.concatenate(nats)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() + entropy) < 4 * error + {"running": 0.02}.get(chain, 0.003)


def test_linear_scores_of_a_walk_are_the_increments_own():
    """Against the density of the increments, scored without any of this package's scaling."""
    train, held_out = walks(0), walks(1)
    nats = linear_scores(rnn(train), "increments", train.sequences, held_out.sequences)
    steps = np.diff(np.stack([s.x[:, 0] for s in held_out]), axis=1)
    truth = -0.5 * (steps / 0.5) ** 2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)
    regret = truth - np.stack(nats)[:, 1:]
    assert 0 < regret[:, 8:].mean() < 0.05  # a t distribution's tails are too long for these


def test_linear_scores_leave_gaps_and_contexts_out():
    data = walks()
    x = np.stack([s.x for s in data])
    x[:, 10:14] = np.nan
    gaps = SequenceDataset.from_list(list(x))
    nats = linear_scores(rnn(data), "increments", data.sequences, gaps.sequences)
    assert all((each[10:14] == 0).all() and np.isfinite(each).all() for each in nats)
    late = [replace(s, context=20) for s in data]
    for each in linear_scores(rnn(data), "global", data.sequences, late):
        assert (each[:20] == 0).all() and (each[20:] != 0).all()


def test_a_channel_without_training_values_has_linear_scores():
    data = walks()
    two = SequenceDataset.from_list([np.hstack([s.x, np.full_like(s.x, np.nan)]) for s in data])
    both = SequenceDataset.from_list([np.hstack([s.x, s.x]) for s in data])
    nats = linear_scores(rnn(two), "global", two.sequences, both.sequences)
    assert all(np.isfinite(each).all() for each in nats)


def test_large_data_are_thinned():
    rng = np.random.default_rng(0)
    many = arrays(rng.normal(size=(3000, 20))).sequences
    chosen_many = some(many)
    assert sum(map(len, chosen_many)) <= 1.1 * STEPS
    assert chosen_many[0].unique_id == many[0].unique_id
    assert chosen_many[-1].unique_id == many[-1].unique_id
    (long,) = arrays(rng.normal(size=(1, 50_000))).sequences
    (part,) = some([replace(long, context=49_000)])
    assert part.ds[-1] == long.ds[-1] and len(part) == STEPS and part.context == 19_000
    assert part.past is not None and len(part.past) <= STEPS
    np.testing.assert_array_equal(part.past[-1], long.x[-STEPS - 1])
    (wide,) = some(arrays(np.zeros((1, 5_000, 300))).sequences)
    assert len(wide) == FEWEST


# -- what it costs, and what is known of it afterwards ---------------------------------------------


@pytest.mark.slow
def test_short_fits_are_made_where_the_budget_allows_them():
    few, enough = chosen(walks(), WITH_FITS - 10), chosen(walks(), WITH_FITS)
    assert {t.by for t in few.tried} == {"linear"} and few.steps == 0
    fits = [t for t in enough.tried if t.by == "fit"]
    assert len(fits) == 3 and enough.steps == 3 * ENOUGH_STEPS and enough.seconds > 0
    assert enough.scaling in {t.scaling for t in fits}
    assert max(t.nats_per_step for t in fits) == next(
        t.nats_per_step for t in fits if t.std_error == 0
    )


def test_short_fits_that_time_breaks_off_are_paid_for():
    train, held_out = split(walks(), 0.2, "series")
    limits = make(TrainingOptions, {"max_minutes": 1e-3})
    found = choose_scaling(lambda scaling: rnn(train, scaling), train, held_out, limits)
    assert {t.by for t in found.tried} == {"linear"}
    assert 0 < found.steps < TRIAL_STEPS and found.seconds > 0


@pytest.fixture
def brief(monkeypatch) -> dict:
    """Options of training of which short fits take 3 times 20 steps."""
    monkeypatch.setattr("seqlatent.choosing.scaling.ENOUGH_STEPS", 20)
    return {"max_steps": 200, "patience": 100, "eval_every": 20, "progress": False}


@pytest.mark.slow
def test_steps_of_short_fits_are_taken_from_the_budget(brief):
    m = RNN(hidden_dim=8, emission="normal").fit(walks(), **brief)
    assert sum(t["by"] == "fit" for t in m.fitted["tried"]) == 3
    assert m.fitted["steps"] == 200 - 3 * 20
    assert m.fitted["training"]["max_steps"] == 200


def test_less_of_a_budget():
    limits = make(TrainingOptions, {"max_steps": 100, "max_minutes": 2.0})
    left = limits.less(30, 60.0)
    assert (left.max_steps, left.max_minutes) == (70, 1.0)
    assert make(TrainingOptions, {}).less(900, 60.0).step_budget == 4100
    only_minutes = make(TrainingOptions, {"max_minutes": 1.0}).less(900, 30.0)
    assert only_minutes.step_budget is None and only_minutes.max_minutes == 0.5
    assert limits.less(1000, 1e4).max_steps == 1  # a fit always has a step


def test_what_was_tried_is_kept_with_the_model(tmp_path):
    m = RNN(hidden_dim=4, emission="normal")
    m.fit(walks(), max_steps=LINEAR_ONLY, run=tmp_path / "run", progress=False)
    tried = m.fitted["tried"]
    assert {t["scaling"] for t in tried} == set(candidates(m.module))
    assert json.loads(json.dumps(tried)) == tried
    again = sl.load_model(tmp_path / "run")
    assert again.fitted["tried"] == tried
    assert again.module.scaler.scaling == m.module.scaler.scaling != "global"
    assert m.options.scaling == "auto"
    pd.testing.assert_frame_equal(again.log_prob(walks(1)), m.log_prob(walks(1)))


def test_a_chain_that_was_given_is_not_chosen():
    m = RNN(hidden_dim=4, emission="normal", scaling="global")
    m.fit(walks(), max_steps=LINEAR_ONLY, progress=False)
    assert "tried" not in m.fitted and m.module.scaler.scaling == "global"


@pytest.mark.slow
def test_the_same_seed_chooses_the_same(brief):
    m = RNN(hidden_dim=4, emission="normal")
    models = [m.clone().fit(factors(), seed=seed, **brief) for seed in (3, 3, 4)]
    one, other, another = (m.fitted["tried"] for m in models)
    assert one == other != another
    assert models[0].module.scaler.scaling == models[1].module.scaler.scaling


def test_data_that_hold_nothing_out_get_the_simplest_chain():
    train = walks()
    nothing = arrays(np.full((2, 10), np.nan))
    limits = make(TrainingOptions, {"max_steps": LINEAR_ONLY})
    found = choose_scaling(lambda scaling: rnn(train, scaling), train, nothing, limits)
    assert found == Choice("global")


class Killed(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_fit_resumes_with_its_chain(brief, tmp_path, monkeypatch):
    """As if it had not been killed: with the chain, what was tried, and the rest of the budget."""
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    data = walks()
    straight = RNN(hidden_dim=4, emission="normal").fit(data, **brief)
    validate = Trainer.validate

    def kill(self: Trainer, *arguments):
        if self.step > 80:  # no short fit is as long
            raise Killed
        return validate(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "validate", kill)
        with pytest.raises(Killed):
            RNN(hidden_dim=4, emission="normal").fit(data, run=tmp_path / "run", **brief)

    def refused(*arguments, **others):
        raise AssertionError("the chain was chosen already")

    monkeypatch.setattr("seqlatent.choosing.settling.choose_scaling", refused)
    m = RNN(hidden_dim=4, emission="normal")
    m.fit(data, run=tmp_path / "run", resume=True, **brief)
    assert m.module.scaler.scaling == straight.module.scaler.scaling
    assert m.fitted["tried"] == straight.fitted["tried"]
    assert m.fitted["steps"] == straight.fitted["steps"] == 200 - 3 * 20
    np.testing.assert_array_equal(m.log_prob(data)["log_prob"], straight.log_prob(data)["log_prob"])


# -- words -----------------------------------------------------------------------------------------


def test_the_words_say_when_a_simpler_chain_was_taken():
    best = Tried("log+running", "linear", -1.0, 0.0)
    near = Tried("global", "linear", -1.01, 0.001)
    text = Choice("global", (near, best)).to_text()
    assert text == (
        "scaling=global: -1.010 held-out nats per step by linear models (log+running -1.000); it "
        "is the simplest of those about as good as log+running"
    )
    text = Choice("log+running", (near, best)).to_text()
    assert "simplest" not in text and text.startswith("scaling=log+running: -1.000")
    fits = tuple(replace(t, by="fit") for t in (near, best))
    text = Choice("log+running", (near, best, *fits), 200, 3.0).to_text()
    assert "by short fits (global -1.010)" in text


def test_a_choice_is_written_and_read_again():
    found = Choice("global", (Tried("global", "linear", -1.0, 0.0),), 30, 2.5)
    assert Choice.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_fit_says_what_it_chose(caplog):
    with caplog.at_level(logging.INFO, "seqlatent"):
        RNN(hidden_dim=4, emission="normal").fit(walks(), max_steps=2, progress=False)
    assert caplog.text.count("held-out nats per step by linear models") == 1
