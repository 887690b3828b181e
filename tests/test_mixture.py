"""Mixtures of fits: their density, their weights, and what they refuse. The laws of every model are
tested over them too (test_laws_models.py)."""

import json

import numpy as np
import pytest
import torch
from cases import dataset, model, stir
from cases import mixture as case
from command_line import TINY, check_picture, refuse

import seqlatent as sl
from seqlatent.choosing.mixing import FEW, best_weights, choose_weights, member_densities
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.likelihood import mean_log_prob
from seqlatent.models.mixture import MixtureModel, mixture
from seqlatent.processes import PROCESSES
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.scoring import score
from seqlatent.training.checkpoint import load_model, save_model

UNEQUAL = ("rnn", "cnn", "linear-gaussian")
SOLVED = ("rnn", "diffusion", "cnn")  # one has the density of a solver


def steps(m, data: SequenceDataset) -> np.ndarray:
    """log p(x_t | x_{<t}) of all scored steps."""
    return score(m, data)[1]["log_prob"].to_numpy()


def of(weights: str, names=UNEQUAL, data: SequenceDataset | None = None) -> MixtureModel:
    return case({"parts": names, "weights": weights}, "", data or dataset())


# -- densities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["fixed", "moving"])
def test_equal_members_are_the_member(weights: str):
    m, data = model("rnn"), dataset(num=4, steps=9)
    mixed = mixture([m, m, m], weights)
    np.testing.assert_allclose(steps(mixed, data), steps(m, data), rtol=0, atol=1e-6)
    a, b = (forecast(k, data[[0]], 1, num_samples=20_000)[0].samples.ravel() for k in (mixed, m))
    levels = np.arange(1, 10) / 10
    shares = [(a <= q).mean() for q in np.quantile(b, levels)]
    np.testing.assert_allclose(shares, levels, rtol=0, atol=4 * np.sqrt(0.5 / 20_000))


@pytest.mark.parametrize("names", [UNEQUAL, SOLVED])
@pytest.mark.parametrize("weights", ["fixed", "moving"])
def test_the_density_is_the_weighed_mean_of_the_members_densities(
    weights: str, names: tuple[str, ...]
):
    """By the recursion of the equation, step by step."""
    mixed, data = of(weights, names), dataset(num=1, steps=12)
    mixed.eta.fill_(0.7 if weights == "moving" else 0.0)
    mixed.gamma.fill_(0.9)
    each = np.stack([steps(m, data) for m in mixed.parts], -1)
    u, wanted = np.zeros(3), []
    for log_prob in each:
        w = np.exp(mixed.log_weights.numpy() + u)
        wanted.append(np.log(w @ np.exp(log_prob) / w.sum()))
        u = 0.9 * u + float(mixed.eta) * log_prob
    np.testing.assert_allclose(steps(mixed, data), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weights", ["fixed", "moving"])
def test_the_error_of_a_solver_is_weighed_by_its_share(weights: str):
    mixed, data = of(weights, SOLVED), dataset(num=5, steps=12)
    for part in mixed.parts:
        if part.family == "diffusion":
            object.__setattr__(part.options, "scoring_steps", 4)
    mixed.eta.fill_(0.0)
    coarse, batch = mixed.parts[1], collate(data)
    values = torch.stack([m.log_prob(batch)[0] for m in mixed.parts], -1)
    share = (mixed.log_weights + values).softmax(-1)[..., 1]
    own = coarse.log_prob_and_error(batch)[1]
    wanted = torch.where(batch.scored, share * own, 0.0)
    log_prob, error, _ = mixed.log_prob_and_error(batch)
    torch.testing.assert_close(error, wanted, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(log_prob, mixed.log_prob(batch)[0])
    frame = score(mixed, data)[0]
    assert set(frame["kind"]) == {"ode"}
    size = (frame["upper"] - frame["lower"]) / 2
    np.testing.assert_allclose(size, wanted.sum(1).detach(), rtol=1e-4)
    assert (size > 0).all()
    assert set(score(of(weights), data)[0]["kind"]) == {"exact"}


def test_weights_by_bayes_are_the_mixture_of_whole_sequences():
    mixed, data = of("moving"), dataset(num=5, steps=12)
    mixed.eta.fill_(1.0)
    mixed.gamma.fill_(1.0)
    each = np.stack([score(m, data)[0]["log_prob"] for m in mixed.parts], -1)
    whole = np.logaddexp.reduce(each + mixed.log_weights.numpy(), -1)
    np.testing.assert_allclose(score(mixed, data)[0]["log_prob"], whole, rtol=0, atol=1e-4)


def test_never_below_the_weighed_mean_of_its_members():
    """Jensen's inequality, at every step and for any data."""
    mixed = of("fixed")
    for data in (dataset(num=6, steps=9), SequenceDataset.from_list([np.array([1e6, -3.0, 20.0])])):
        each = np.stack([steps(m, data) for m in mixed.parts], -1)
        assert (steps(mixed, data) >= each @ mixed.log_weights.exp().numpy() - 1e-6).all()


def test_weights_move_by_the_steps_of_the_context():
    x = dataset(num=1, steps=12).sequences[0].x
    mixed, whole = of("moving"), SequenceDataset.from_list([x])
    part = SequenceDataset((whole.sequences[0].slice(0, len(x), 7),), whole.targets)
    np.testing.assert_allclose(steps(mixed, part), steps(mixed, whole)[7:], rtol=0, atol=1e-6)


def test_a_member_that_was_impossible_can_come_back():
    """A density of 0 lowers a weight, and is no end."""
    mixed = of("moving")
    impossible = torch.tensor([[[0.0, -np.inf, 0.0], [-np.inf] * 3, [-50.0, 0.0, -50.0]]])
    value, u = mixed.mixed(impossible, torch.zeros(1, 1, 3, dtype=torch.float64))
    assert torch.isfinite(value[0, [0, 2]]).all()
    assert value[0, 1] == -np.inf
    assert torch.isfinite(u).all()


@pytest.mark.parametrize("weights", ["fixed", "moving"])
def test_reading_values_one_by_one_is_reading_them(weights: str):
    """With scalings of several kinds: `follow` is what paths go on by."""
    data = dataset(num=3, steps=8, channels=2)
    parts = [
        model("rnn", data=data, scaling="running", season=3, lags="2"),
        model("flow", data=data, scaling="increments"),
        model("linear-gaussian", data=data),
    ]
    mixed = mixture(parts, weights)
    inner = mixture([mixed, model("cnn", data=data)], weights)
    batch = collate(data[[0]].sequences)
    for m in (mixed, inner):
        whole, after = m.log_prob(batch)
        state, scored, values = m.begin(batch), m.begin(batch), []
        for t in range(batch.x.shape[1]):
            x, seen, known = (
                part[:, t : t + 1] for part in (batch.x, batch.observed, batch.covariates)
            )
            state = m.follow(state, x, known)
            value, scored = m.log_prob_next(scored, x, seen, known)
            values.append(value)
        torch.testing.assert_close(state.last, after.last, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(scored.last, after.last, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.cat(values, 1), whole, rtol=1e-5, atol=1e-5)
        after = after._replace(memory=m.remember(batch))
        ahead = torch.zeros(1, 4, 0, dtype=torch.float64)
        a, b = (m.sample_steps(s, ahead, SequenceNoise(["a"], 0))[0] for s in (state, after))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_paths_of_a_series_do_not_depend_on_the_others():
    """Rows are parted by member, and once more by the emission; each keeps its series' noise."""
    data = dataset("binary", num=5, steps=6, channels=3)
    mixed = mixture([model(name, "subset", data) for name in ("rnn", "cnn", "transformer")])
    together = forecast(mixed, data, 4, num_samples=30)
    for s in data:
        alone = forecast(mixed, data[[int(s.unique_id)]], 4, num_samples=30)
        np.testing.assert_array_equal(alone[0].samples, together[s.unique_id].samples)


def test_a_mixture_of_mixtures_is_saved_whole(tmp_path):
    data = dataset(num=3)
    m = mixture(
        [of("moving"), model("rnn", scaling="running"), of("fixed", ("flow", "rnn", "cnn"))]
    )
    save_model(m, tmp_path / "run")
    again = load_model(tmp_path / "run")[0]
    assert isinstance(again, MixtureModel)
    assert [p.family for p in again.parts] == ["mixture", "rnn", "mixture"]
    np.testing.assert_array_equal(steps(again, data), steps(m, data))
    a, b = (forecast(k, data, 3, num_samples=10).samples for k in (m, again))
    np.testing.assert_array_equal(a, b)


# -- weights --------------------------------------------------------------------------------------


def test_em_finds_known_weights():
    """Of 40,000 values from normals of known shares, within four standard errors."""
    rng, shares = np.random.default_rng(0), np.array([0.6, 0.3, 0.1])
    x = rng.choice([0.0, 2.0, 5.0], 40_000, p=shares) + rng.normal(size=40_000)
    log_prob = -0.5 * (x[:, None] - np.array([0.0, 2.0, 5.0])) ** 2
    np.testing.assert_allclose(best_weights(log_prob), shares, rtol=0, atol=0.025)


def test_em_climbs_to_the_maximum():
    """No other weights are better, and a member that never helps has none."""
    rng = np.random.default_rng(1)
    log_prob = np.c_[rng.normal(size=(400, 3)), np.full(400, -30.0)]
    weights = best_weights(np.r_[log_prob, np.full((1, 4), -np.inf)], 2000)
    assert weights.sum() == pytest.approx(1)
    assert 0 < weights[3] < 1e-6

    def value(w: np.ndarray) -> float:
        return float(np.logaddexp.reduce(log_prob + np.log(w), 1).sum())

    others = rng.dirichlet(np.ones(4), 300)
    assert value(weights) > max(value(w) for w in others) - 1e-6


def test_weights_are_those_of_the_data():
    """A member that is the process has all the weight; moving weights are at least as good."""
    data = PROCESSES["ar2"]().sample(20, 30, seed=0)
    fitted = sl.LinearGaussian().fit(data, max_steps=80, progress=False).module
    worse = sl.LinearGaussian().fit(data, max_steps=1, progress=False).module
    held_out = PROCESSES["ar2"]().sample(20, 30, seed=1)
    scores = {}
    for weights in ("equal", "fixed", "moving"):
        mixed = mixture([worse, fitted], weights)
        ready = check_data(mixed, held_out)
        choose_weights(mixed, ready)
        scores[weights] = mean_log_prob(mixed, ready, 1)
        if weights == "fixed":
            assert mixed.weights[1] > 0.9
        else:
            assert mixed.weights == pytest.approx([0.5, 0.5])
    assert scores["fixed"] > scores["equal"] + 0.05
    assert scores["moving"] > scores["equal"] + 0.05


def test_few_steps_choose_no_weights():
    data = dataset(num=2, steps=FEW)
    mixed = mixture([model("rnn"), model("cnn")], "fixed")
    choose_weights(mixed, check_data(mixed, data))
    assert mixed.weights == [0.5, 0.5]


def test_densities_of_members_are_their_scores():
    data = dataset(num=4, steps=9)
    data.sequences[1].x[3] = np.nan
    part = data[[0, 1]]
    mixed = of("moving")
    densities, scored = member_densities(mixed, check_data(mixed, part))
    for k, m in enumerate(mixed.parts):
        seen = np.concatenate([d[s, k] for d, s in zip(densities, scored, strict=True)])
        np.testing.assert_allclose(seen, steps(m, part), rtol=0, atol=1e-5)
    assert not scored[1][3]
    assert (densities[1][3] == 0).all()


# -- fits -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    return PROCESSES["ar2"]().sample(20, 24, seed=0)


def test_members_share_the_budget(data):
    fitted = sl.RNN(hidden_dim=4).fit(data, members=3, max_steps=32, seed=5, progress=False)
    assert isinstance(fitted.module, MixtureModel)
    assert [m["steps"] for m in fitted.fitted["members"]] == [10, 11, 11]
    assert [m["seed"] for m in fitted.fitted["members"]] == [5, 6, 7]
    assert fitted.result is not None
    assert fitted.result.steps == 32
    assert fitted.fitted["valid_nats_per_step"] == fitted.result.valid_score
    first = sl.RNN(hidden_dim=4, scaling="global").fit(data, max_steps=10, seed=5, progress=False)
    again = sl.RNN(hidden_dim=4, scaling="global").fit(
        data, members=3, max_steps=32, seed=5, progress=False
    )
    assert first.fitted["valid_nats_per_step"] == pytest.approx(
        again.fitted["members"][0]["valid_nats_per_step"], abs=1e-9
    )
    scores = [m["valid_nats_per_step"] for m in again.fitted["members"]]
    assert len(set(scores)) == 3
    assert again.fitted["valid_nats_per_step"] >= np.mean(scores) - 1e-6


def test_all_members_have_one_chain(data):
    fitted = sl.RNN(hidden_dim=4).fit(data, members=2, max_steps=4, progress=False)
    assert isinstance(fitted.module, MixtureModel)
    assert len({p.options.scaling for p in fitted.module.parts}) == 1
    assert "tried" in fitted.fitted


def test_evaluate_fits_all_members_again(data, tmp_path):
    fitted = sl.RNN(hidden_dim=4).fit(data, members=2, weights="equal", max_steps=4, progress=False)
    fitted.save(tmp_path / "run")
    for m in (fitted, sl.load_model(tmp_path / "run")):
        result = m.evaluate(data[[0, 1]], 3, num_samples=10, refit=True)
        assert np.isfinite(result.scores.select_dtypes("number")).any(axis=None)


def test_combine_in_python(data, tmp_path):
    a = sl.RNN(hidden_dim=4).fit(data, max_steps=5, progress=False, run=tmp_path / "a")
    b = sl.LinearGaussian(latent_dim=2).fit(data, max_steps=5, progress=False)
    mixed = sl.combine([tmp_path / "a", b])
    assert type(mixed).__name__ == "Mixture"
    assert "weights of its members: 0.50, 0.50" in repr(mixed)
    each = np.stack([m.score(data)[1]["log_prob"] for m in (a, b)], -1)
    np.testing.assert_allclose(
        mixed.score(data)[1]["log_prob"],
        np.logaddexp.reduce(each, -1) - np.log(2),
        rtol=0,
        atol=1e-5,
    )
    chosen = sl.combine([a, b], data)
    assert chosen.fitted["weights"] == "fixed"
    assert chosen.log_prob(data)["log_prob"].sum() >= mixed.log_prob(data)["log_prob"].sum()
    assert len(chosen.forecast(data, 3, num_samples=5)) == len(data)


# -- what is refused ------------------------------------------------------------------------------


def fitted_to(data: SequenceDataset, cls: str = "RNN"):
    options = {"hidden_dim": 4} | ({"latent_dim": 1} if cls == "Latent" else {})
    return getattr(sl, cls)(**options).fit(data, max_steps=1, progress=False)


def test_refusals_of_combine(data):
    a, latent = fitted_to(data), fitted_to(data, "Latent")
    blocks = sl.Diffusion(block=2, hidden_dim=4).fit(data, max_steps=1, progress=False)
    two = fitted_to(SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(12, 6, 2))))
    for given, options, words in (
        ([], {}, "nothing to combine"),
        ([a, latent], {}, "exact likelihoods, and model 'latent' of model 2 has none"),
        ([a, blocks], {}, "this 'diffusion' of model 2 has those of blocks; fit it with block=1"),
        ([a, two], {}, "model 2 was fitted to data with the channels y1, y2, and model 1 with y;"),
        ([a, a], {"weights": "fixed"}, "weights=fixed are chosen by held-out data"),
        ([a, a], {"weights": "good"}, "weights=good is not one of equal, fixed, moving"),
        ([a, "nowhere"], {}, "nowhere: no such run"),
    ):
        with pytest.raises(sl.InputError, match=words):
            sl.combine(given, **options)


def test_refusals_of_fit(data):
    for cls, options, words in (
        ("Mixture", {}, "a mixture is made of fitted models"),
        ("Latent", {"members": 2}, "exact likelihoods, and model 'latent' has none"),
        ("RNN", {"members": 0}, "members=0 must be at least 1"),
        ("RNN", {"weights": "fixed"}, "weights=fixed would be ignored"),
        ("RNN", {"members": 2, "weights": "good"}, "weights=good is not one of"),
        ("RNN", {"members": 2, "resume": True}, "cannot resume"),
    ):
        with pytest.raises(sl.InputError, match=words):
            getattr(sl, cls)().fit(data, max_steps=1, progress=False, **options)


# -- the command line -----------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_from_the_command_line(run, place, capsys):
    out, _ = run("fit", "elnino:train", "--out", "a", "--members", 2, *TINY[:-1])
    assert "nats per step (exact) of 2 fits, 2 steps in all" in out
    run("fit", "elnino:train", "--out", "b", "--model", "flow", *TINY)
    out, _ = run("combine", "a", "b", "--out", "c", "--data", "elnino:test")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["a", "weight"], ["b", "weight"]]
    assert sum(float(line.split()[2]) for line in lines[:2]) == pytest.approx(1, abs=0.002)
    assert lines[2].startswith("score of elnino:test: ")
    assert lines[3] == "saved to c"
    out, _ = run("score", "c", "elnino:test", "--json")
    scores = json.loads(out)
    assert "exact" in out
    assert scores
    run("forecast", "c", "elnino", "--prediction-length", 3, "--num-samples", 20,
        "--plot", "f.png", "--quiet")  # fmt: skip
    check_picture("f.png")
    out, _ = run("combine", "a", "b", "--out", "c", "--overwrite", "--weights", "moving", "--json")
    assert json.loads(out)["weights"] == "moving"
    refuse(["combine", "a", "b", "--out", "c"], "c holds a finished model", place, capsys)
    run("fit", "nile", "--out", "n", *TINY)
    refuse(["combine", "a", "n", "--out", "d"], "n was fitted to data with the", place, capsys)


def test_a_stirred_member_changes_the_mixture():
    mixed, data = of("fixed"), dataset()
    before = steps(mixed, data)
    stir(mixed.members[0])
    assert not np.allclose(steps(mixed, data), before)


@pytest.mark.slow
def test_members_as_many_as_the_budget_has_time_for():
    """A fit that stops early leaves its budget to others; one that takes it all stays alone."""
    data = PROCESSES["ar2"]().sample(30, 20, 0)
    early = {"patience": 1, "max_decays": 0, "eval_every": 5}
    several = sl.RNN(hidden_dim=4, scaling="global").fit(
        data, max_steps=2000, members="auto", **early
    )
    members = several.fitted["members"]
    assert several.module.family == "mixture" and 2 <= len(members) <= 4
    assert sum(m["steps"] for m in members) <= 2000
    alone = sl.RNN(hidden_dim=4, scaling="global").fit(data, max_steps=20, members="auto")
    assert alone.module.family == "rnn" and "members" not in alone.fitted
    with pytest.raises(InputError, match="members=many is neither a whole number nor auto"):
        sl.RNN().fit(data, members="many")
