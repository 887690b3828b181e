"""All models side by side: one division, paired errors, rows for what fails, true sentences."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from test_adversarial import AdversaryModel

import seqlatent as sl
from seqlatent.api import Model
from seqlatent.cli.app import run_command
from seqlatent.comparing import headline
from seqlatent.comparing.families import chosen_names, family
from seqlatent.comparing.measuring import Trials, measure
from seqlatent.comparing.parts import divide_in_three, pieces_to_draw, steps_ahead
from seqlatent.comparing.results import less_text, plus_minus
from seqlatent.errors import InputError
from seqlatent.models import MODELS, register_model
from seqlatent.processes import PROCESSES
from seqlatent.tasks.drawing import draw_like
from seqlatent.tasks.forecasting import forecast
from seqlatent.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_model(AdversaryModel)
    yield
    MODELS._known.pop("adversary")


@pytest.fixture(scope="module")
def data():
    return replace(PROCESSES["ar2"]().sample(150, 12, 0), name="ar2")


@pytest.fixture(scope="module")
def result(data):
    models = ["rnn", "linear-gaussian", "adversary"]
    return sl.compare(data, models, max_steps=3, prediction_length=4)


# -- what a family says ---------------------------------------------------------------------------


def test_families_say_what_they_are():
    rows = {name: family(name) for name in ("rnn", "latent", "flow", "diffusion", "adversary")}
    assert [r.probability for r in rows.values()] == ["exact", "estimate", "exact", "ode", "none"]
    codes = [r.latent_code for r in rows.values()]
    assert codes == ["no", "yes: stochastic, by a guide", "yes: deterministic, invertible", "no",
                     "no"]  # fmt: skip
    assert rows["diffusion"].trained_by == "a sum of denoising losses"
    assert rows["adversary"].trained_by == "training steps of its own"


def test_all_are_those_that_can_be_fitted():
    names = chosen_names("all")
    assert set(names) == set(MODELS) - {"mixture"}
    assert all(family(name).trained_by for name in names)
    assert chosen_names("rnn, flow") == ["rnn", "flow"]


@pytest.mark.parametrize(
    ("models", "words"),
    [("rnn,rnn", "twice"), ("mixture", "made of fitted models"), ("rmn", "did you mean 'rnn'"),
     ([], "no models")],
)  # fmt: skip
def test_names_that_cannot_be_compared_are_refused(models, words):
    with pytest.raises(InputError, match=words):
        chosen_names(models)


# -- the data -------------------------------------------------------------------------------------


def test_bundled_sets_keep_their_test_part():
    for name in ("seattle-temps", "sunspots"):
        parts = divide_in_three(name, None, 0.1, {}, calendar="auto", seed=0)
        test = sl.load(f"{name}:test")
        assert [s.unique_id for s in parts.test] == [s.unique_id for s in test]
        assert [s.context for s in parts.test] == [s.context for s in test]
        steps = sum(len(s) - s.context for p in (parts.division.train, parts.division.held_out,
                                                 parts.test) for s in p)  # fmt: skip
        assert steps == sum(len(s) for s in sl.load(name))


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("seattle-temps", None, (6, 1, 6)),  # no season within a day: a quarter
        ("macrodata", None, (4, 10, 4)),  # its season
        ("sunspots", 20, (20, 3, 20)),
        ("co2", None, (52, 10, 52)),
    ],
)
def test_the_usual_steps_ahead(name, given, expected):
    parts = divide_in_three(name, None, 0.1, {}, calendar="auto", seed=0)
    assert steps_ahead(parts, given) == expected


def test_pieces_are_test_steps_with_all_of_their_past():
    parts = divide_in_three("sunspots", None, 0.1, {}, calendar="auto", seed=0)
    pieces = pieces_to_draw(parts, 11)
    whole = sl.load("sunspots").sequences[0]
    assert len(pieces) == 30
    for i, p in enumerate(pieces):
        stop = len(whole) - 60 + 2 * i
        assert p.context == stop
        np.testing.assert_array_equal(p.x, whole.x[: stop + 2])
        assert p.unique_id == f"{whole.unique_id} from {whole.ds[stop]}"


def test_no_fit_sees_the_test_part(data):
    """Other test values, the same parameters."""
    train, test = data[:120], data[120:]
    wild = replace(test, sequences=tuple(replace(s, x=100 + 50 * s.x) for s in test))
    weights = []
    for tested in (test, wild):
        found = sl.compare(train, ["linear-gaussian"], test=tested, max_steps=2)
        module = found["linear-gaussian"].fit.model.module
        weights.append(torch.cat([p.flatten() for p in module.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_budgets_are_of_processor_time(data, monkeypatch):
    """A fit that is idle between its steps has as many steps all the same."""
    step = Trainer.train_step

    def slow(self, progress):
        time.sleep(0.02)
        return step(self, progress)

    monkeypatch.setattr(Trainer, "train_step", slow)
    found = sl.compare(data, ["linear-gaussian"], max_minutes=0.02, max_steps=10**6)
    fit = found["linear-gaussian"].fit
    assert fit.processor_seconds > 0.5
    assert fit.seconds > 1.3 * fit.processor_seconds


# -- the table ------------------------------------------------------------------------------------


def test_differences_have_the_errors_of_pairs(result):
    """Of sequences of one length: the standard error of the mean of their differences."""
    scores = {n: result[n].scores["log_prob"].to_numpy() for n in ("rnn", "linear-gaussian")}
    best, other = sorted(scores, key=lambda n: -scores[n].sum())
    difference = (scores[other] - scores[best]) / 12
    row = result.table.set_index("model").loc[other]
    assert row["nats_difference"] == pytest.approx(difference.mean())
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    assert row["nats_difference_se"] == pytest.approx(error)
    apart = np.hypot(*(s.std(ddof=1) / 12 / np.sqrt(len(s)) for s in scores.values()))
    assert row["nats_difference_se"] < apart  # what pairing is for
    assert result.table.set_index("model").loc[best, "nats_difference"] == 0


def test_forecasts_are_paired_by_series(result):
    table = result.table.set_index("model")
    models = ["rnn", "linear-gaussian", "adversary"]
    best = table.loc[models, "crps"].idxmin()
    for name in models:
        by_series = [
            result[n].evaluation.scores.query("method == 'model'")["crps"].to_numpy()
            for n in (name, best)
        ]
        difference = by_series[0] - by_series[1]
        assert table.loc[name, "crps_difference"] == pytest.approx(difference.mean(), abs=1e-12)
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        assert table.loc[name, "crps_difference_se"] == pytest.approx(error, abs=1e-12)
    naive = table.loc["seasonal-naive"]
    assert naive["crps"] - table["crps"][best] == pytest.approx(naive["crps_difference"])


def test_a_model_without_density_has_the_rest_of_its_row(result):
    row = result.table.set_index("model").loc["adversary"]
    assert np.isnan(row["nats_per_step"]) and row["nats_kind"] == "none"
    assert row["stochastic"] and row["note"] == ""
    assert np.isfinite(row[["crps", "energy", "drawn_sliced", "draw_seconds"]].astype(float)).all()
    assert list(result.table["model"])[2:] == ["adversary", "seasonal-naive"]


def test_what_cannot_take_the_data_is_a_row_that_says_so():
    counts = sl.SequenceDataset.from_arrays(np.random.default_rng(0).poisson(2, (60, 8, 1)))
    found = sl.compare(counts, ["flow", "rnn"], max_steps=2)
    table = found.table.set_index("model")
    assert "real" in table.loc["flow", "note"]
    assert np.isfinite(table.loc["rnn", "nats_per_step"])
    with pytest.raises(InputError, match="no model could be fitted; the first, flow: "):
        sl.compare(counts, ["flow"], max_steps=2)


def test_what_a_model_breaks_on_is_a_note(data, result, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("of a package of your own")

    monkeypatch.setattr("seqlatent.comparing.measuring.evaluate", broken)
    m = measure(family("linear-gaussian"), result["linear-gaussian"].fit, result.trials, 8)
    assert m.notes == ("forecasts: ZeroDivisionError: of a package of your own",)
    assert m.scores is not None and m.distances is not None


def test_draws_are_forecasts_where_there_is_a_past(data):
    model = sl.RNN(hidden_dim=8).fit(data, max_steps=2).module
    pieces = replace(data, sequences=tuple(replace(s, context=8) for s in data.sequences[:5]))
    histories = replace(data, sequences=tuple(s.slice(0, 8) for s in data.sequences[:5]))
    drawn = draw_like(model, pieces, seed=3)
    ahead = forecast(model, histories, 4, num_samples=1, seed=3)
    np.testing.assert_array_equal(np.stack([s.x for s in drawn]), ahead.samples[:, 0])
    assert [s.unique_id for s in drawn] == [s.unique_id for s in pieces]


def test_draws_from_nothing_have_the_model_s_law():
    """A linear-Gaussian model, whose first value is normal with a known mean and variance."""
    many = PROCESSES["ar2"]().sample(2000, 3, 0)
    model = sl.LinearGaussian().fit(many, max_steps=5)
    drawn = np.stack([s.x for s in draw_like(model.module, many, seed=1)])[:, :, 0]
    reference = np.stack([s.x for s in model.sample(2000, 3, seed=2)])[:, :, 0]
    spread = reference.std(0)
    assert (np.abs(drawn.mean(0) - reference.mean(0)) < 4 * spread * np.sqrt(2 / 2000)).all()
    assert (np.abs(np.log(drawn.std(0) / spread)) < 4 * np.sqrt(1 / 2000)).all()


# -- sentences ------------------------------------------------------------------------------------


def said(nats: dict, crps: dict) -> str:
    empty = pd.DataFrame(columns=["drawn_by", "measure", "value", "std_error"])
    return headline.headline(SimpleNamespace(
        nats=lambda: nats, forecasts=lambda _: crps, distances=empty, models=(),
    ))  # fmt: skip


A, NEAR, FAR = (1.0, 0.0, 0.0), (0.9, -0.1, 0.2), (0.5, -0.5, 0.1)


def test_the_headline_names_a_model_and_a_doubt():
    assert said({"a": A, "b": FAR}, {"a": A, "b": FAR}) == (
        "Take a: it has the highest likelihood of the test data and the best forecasts. Both "
        "differences to the next model are larger than their standard errors."
    )
    assert said({"a": A, "b": NEAR}, {"a": A, "b": FAR}).endswith(
        "In likelihood, b is within one standard error of it."
    )
    assert said({"a": A, "b": NEAR}, {"b": A, "a": (1.1, 0.1, 0.05)}) == (
        "Take a to score sequences (b is within one standard error), and b to forecast."
    )
    assert "its forecasts are within one standard error of the best, those of b" in said(
        {"a": A, "b": FAR}, {"b": A, "a": (1.1, 0.1, 0.3)}
    )
    beaten = said({"a": A}, {"a": A, "seasonal-naive": (0.5, -0.5, 0.1)})
    assert beaten.endswith("the seasonal naive forecast has a lower CRPS than every model.")
    assert said({}, {"a": A}).endswith("None of the models has a likelihood.")


def test_numbers_have_the_digits_of_their_errors():
    assert plus_minus(1.23456, 0.0123) == "1.235 ± 0.012"
    assert plus_minus(-12.3, 2.0) == "-12.3 ± 2.0"
    assert plus_minus(np.nan, 1.0) == "-"
    assert plus_minus(1.23456, np.nan) == "1.235"
    assert less_text(0.0, 0.0) == "best"


# -- folders and the command line -----------------------------------------------------------------


def test_nothing_is_lost_and_nothing_fitted_twice(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqlatent.comparing.compare.write_page", lambda *_: None)
    data.to_frame().to_csv("data.csv", index=False)
    base = ["compare", "data.csv", "--max-steps", "2", "--out", "dir", "--quiet"]
    assert run_command([*base, "--models", "linear-gaussian"]) == 0
    assert run_command([*base, "--models", "linear-gaussian"]) == 2
    assert "--resume" in capsys.readouterr().err
    before = (tmp_path / "dir/runs/linear-gaussian/config.json").read_bytes()
    fit = Model.fit_divided

    def watched(self, *args, **kwargs):
        assert self.family != "linear-gaussian"
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Model, "fit_divided", watched)
    assert run_command([*base, "--models", "linear-gaussian,rnn", "--resume"]) == 0
    assert (tmp_path / "dir/runs/linear-gaussian/config.json").read_bytes() == before
    assert sl.load_model("dir/runs/rnn").family == "rnn"
    table = pd.read_csv("dir/compare.csv")
    assert set(table["model"]) == {"linear-gaussian", "rnn", "seasonal-naive"}
    details = json.loads((tmp_path / "dir/compare.json").read_text())
    assert details["settings"]["data"] == "data.csv"
    assert details["best"]["nats_per_step"] in ("linear-gaussian", "rnn")
    assert run_command([*base, "--models", "rnn", "--resume", "--seed", "1"]) == 2
    assert "other data and seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [({"resume": True}, "no folder"), ({"test": 1.5}, "between 0 and 1"),
     ({"threads": 0}, "at least 1"), ({"max_minutes": 0.0}, "above 0"),
     ({"prediction_length": 0}, "at least 1")],
)  # fmt: skip
def test_bad_options_are_refused_before_any_fit(data, options, words):
    with pytest.raises(InputError, match=words):
        sl.compare(data, ["rnn"], **options)


def test_trials_say_where_distances_can_be_measured():
    parts = divide_in_three("nile", None, 0.1, {}, calendar="auto", seed=0)
    trials = Trials.of(parts, None, 0)
    assert not trials.can_measure_drawn  # ten windows of two years cannot be halved
    assert len(trials.pieces) == 10
