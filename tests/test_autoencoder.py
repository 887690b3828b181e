"""The autoencoder: principal components, errors in data units, causality, codes, samples."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from cases import dataset, unscored, values
from torch.autograd.functional import jacobian

import seqlatent as sl
from seqlatent.choosing.scaling import candidates
from seqlatent.cli.app import run_command
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.models.autoencoder import AutoencoderModel, AutoencoderOptions
from seqlatent.models.autoencoder.coder import filled, windows
from seqlatent.processes import PROCESSES
from seqlatent.tasks.reconstructing import reconstruct_codes

NAMES = ("autoencoder", "autoencoder-causal", "autoencoder-linear")
PLAIN = ("autoencoder", "autoencoder-causal")  # their scaling does not depend on the past
P, Z = 4, 3  # of the linear ones


def factors(num: int = 30, steps: int = 60, seed: int = 0) -> SequenceDataset:
    """Three channels that two autoregressive factors and noise make."""
    rng = np.random.default_rng(seed)
    f = np.zeros((num, steps + 20, 2))
    for t in range(1, steps + 20):
        f[:, t] = 0.9 * f[:, t - 1] + rng.normal(size=(num, 2))
    mixing = np.array([[3.0, 1.0, 0.5], [-1.0, 2.0, 1.0]])
    return SequenceDataset.from_arrays(
        10 + f[:, 20:] @ mixing + 0.7 * rng.normal(size=(num, steps, 3))
    )


def component_error(data: SequenceDataset, window: int, size: int) -> float:
    """The least mean square that a linear code of so many numbers leaves of scaled windows: the
    sum of the other eigenvalues of their covariance, over their number of values."""
    all_values = np.concatenate([s.x for s in data])
    scale = all_values.std(0)
    stacked = [
        np.lib.stride_tricks.sliding_window_view(s.x / scale, window, 0).reshape(
            len(s) - window + 1, -1
        )
        for s in data
    ]
    return float(
        np.linalg.eigvalsh(np.cov(np.concatenate(stacked).T, bias=True))[:-size].sum()
        / (window * data.num_channels)
    )


def window_error(m: AutoencoderModel, data: SequenceDataset) -> float:
    """Mean square of the scaled errors of all windows that lie in their sequences."""
    with torch.no_grad():
        errors = m._errors(collate(data.sequences))[1]
    stop = errors.shape[1] - m.after
    return float(errors[:, m.before : stop].square().mean())


def linear(data: SequenceDataset, **options) -> AutoencoderModel:
    chosen = AutoencoderOptions(window=P, latent_dim=Z, num_layers=0, scaling="global", **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderModel(chosen, DataDescription.of(data))


@pytest.mark.parametrize("encoder", ["causal", "two-sided"])
def test_it_starts_at_the_principal_components(encoder: str):
    data = factors()
    m = linear(data, encoder=encoder)
    m.start(data, lambda: False)
    assert window_error(m, data) == pytest.approx(component_error(data, P, Z), rel=1e-4)
    z = m.codes(collate(data.sequences))[:, m.before : 60 - m.after].flatten(0, 1)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(Z), atol=1e-3, rtol=0)


def minimise(m: AutoencoderModel, data: SequenceDataset) -> None:
    """The loss, from random parameters, by a quasi-Newton method."""
    batch = collate(data.sequences)
    optimizer = torch.optim.LBFGS(m.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        _, errors, seen, _, _ = m._errors(batch)
        loss = errors.square().sum() / seen.sum()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)


def test_linear_maps_learn_the_principal_components():
    """Within 3 %: windows at the ends, which are partly missing, count in the loss as well. Nothing
    linear is better."""
    data = factors(num=10, steps=40)
    m = linear(data)
    minimise(m, data)
    best = component_error(data, P, Z)
    assert best * 0.9999 < window_error(m, data) < best * 1.03


def test_hidden_layers_learn_a_curve_that_no_line_does():
    """Points on a parabola in the plane of two channels: one number tells them, and the best linear
    code of one number leaves the variance of the smaller component."""
    u = np.random.default_rng(0).uniform(-1, 1, (200, 1))
    data = SequenceDataset.from_arrays(np.concatenate([u, u**2], 1).reshape(20, 10, 2))
    chosen = AutoencoderOptions(window=1, latent_dim=1, scaling="global", hidden_dim=16)
    torch.manual_seed(0)
    m = AutoencoderModel(chosen, DataDescription.of(data))
    m.start(data, lambda: False)
    minimise(m, data)
    assert window_error(m, data) < 0.25 * component_error(data, 1, 1)


def test_errors_are_in_the_units_of_the_data():
    metres = factors(num=8, steps=20)
    centimetres = SequenceDataset.from_list([100 * s.x for s in metres])
    a, b = (
        sl.Autoencoder(window=P, scaling="global").fit(data, max_steps=3, seed=0).reconstruct(data)
        for data in (metres, centimetres)
    )
    np.testing.assert_allclose(b["error"], 100 * a["error"], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(a["error"], a["value"] - a["reconstruction"])
    assert list(a.columns) == ["unique_id", "ds", "target", "value", "reconstruction", "error"]


def waves(num: int = 12, steps: int = 96, seed: int = 0) -> np.ndarray:
    """(num, steps) waves of period 12 with phases and sizes of their own, and some noise."""
    rng = np.random.default_rng(seed)
    phase, size = rng.uniform(0, 12, (num, 1)), rng.uniform(1, 2, (num, 1))
    wave = size * np.sin(2 * np.pi * (np.arange(steps) + phase) / 12)
    return wave + 0.1 * rng.normal(size=(num, steps))


@pytest.mark.parametrize("encoder", ["causal", "two-sided"])
def test_an_anomaly_has_the_largest_error(encoder: str):
    """A value that would be ordinary half a period later."""
    model = sl.Autoencoder(encoder=encoder, scaling="global").fit(
        SequenceDataset.from_arrays(waves()[..., None]), max_steps=10, seed=0
    )
    assert model.module.options.window == 12
    x = waves(num=3, seed=1)
    x[1, 50] = -x[1, 50]
    found = reconstruct_codes(model.module, SequenceDataset.from_arrays(x[..., None]))
    full = found.frame[found.frame["ds"] >= 12]  # before, a causal window has few values
    worst = full.loc[full["error"].abs().idxmax()]
    assert (worst["unique_id"], worst["ds"]) == ("1", 50)
    summary = found.by_series().set_index("unique_id")
    own = found.frame[found.frame["unique_id"] == "1"].set_index("ds")["error"]
    assert summary.loc["1", "worst"] == own.abs().idxmax()
    errors = found.frame[found.frame["unique_id"] == "0"]
    assert summary.loc["0", "rmse"] == pytest.approx(np.sqrt((errors["error"] ** 2).mean()))
    assert summary.loc["0", "relative"] == pytest.approx(
        summary.loc["0", "rmse"] / errors["value"].std(ddof=0)
    )


def test_the_code_is_used_and_a_longer_one_loses_less():
    data = SequenceDataset.from_arrays(waves()[..., None])
    rmse = {}
    for size in (1, 2, 4):
        options = {"latent_dim": size, "num_layers": 0, "scaling": "global"}
        model = sl.Autoencoder(**options).fit(data, max_steps=2, seed=0)
        rmse[size] = float(model.reconstruct(data)["error"].std())
    assert rmse[1] > 2 * rmse[2] > 2 * rmse[4]
    codes = model.encode(data)
    flat = codes.assign(**{c: codes[c].mean() for c in codes if c.endswith("_mean")})
    off = model.decode(flat).to_frame()["y"] - data.to_frame()["y"]
    assert off.std() > 5 * rmse[4]


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_reconstructions_depend_on_their_window_alone(name: str):
    m, batch = unscored(name), collate(dataset(num=1, steps=9).sequences)
    assert isinstance(m, AutoencoderModel)

    def both(x: torch.Tensor) -> torch.Tensor:
        changed = dataclasses.replace(batch, x=x)
        return torch.cat([m.codes(changed).double(), m.reconstruction(changed)], -1)[0]

    size = jacobian(both, batch.x)[..., 0, :, 0].abs().amax(1)  # (t, s)
    for t in range(9):
        there = [s for s in range(9) if size[t, s] > 0]
        wanted = [s for s in range(9) if t - m.before <= s <= t + m.after]
        past = range(t) if m.scaler.moving else []  # by which values are scaled
        assert set(wanted) <= set(there) <= set(wanted) | set(past)
    assert (m.after > 0) == (m.options.encoder == "two-sided")


@pytest.mark.parametrize("cut", [1, 3, 6])
@pytest.mark.parametrize("name", NAMES)
def test_pieces_equal_the_whole(name: str, cut: int, monkeypatch: pytest.MonkeyPatch):
    m, data = unscored(name), dataset(num=2, steps=9)
    frames = []
    for chunk in (1000, cut):
        monkeypatch.setattr("seqlatent.tasks.pieces.CHUNK", chunk)
        frames.append((sl.tasks.encode(m, data), reconstruct_codes(m, data).frame))
    for whole, pieces in zip(*frames, strict=True):
        pd.testing.assert_frame_equal(pieces, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_other_sequences_and_padding_change_nothing(name: str):
    m, data = unscored(name), dataset(num=6, steps=9)
    together = m.reconstruction(collate(data.sequences))
    for i, s in enumerate(data):
        alone = m.reconstruction(collate([s]))[0]
        torch.testing.assert_close(together[i, : len(s)], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_have_reconstructions_and_no_errors(name: str):
    data = dataset(num=2, channels=2, steps=9)
    data.sequences[0].x[2] = np.nan
    data.sequences[0].x[4, 1] = np.nan
    frame = sl.tasks.reconstruct(unscored(name, data), data)
    missing = np.concatenate([np.isnan(s.x[:, d]) for s in data for d in range(2)])
    np.testing.assert_array_equal(frame["error"].isna(), missing)
    np.testing.assert_array_equal(frame["value"].isna(), missing)
    assert np.isfinite(frame["reconstruction"]).all()
    batch = collate(data.sequences)
    other = dataclasses.replace(batch, x=torch.where(batch.observed, batch.x, 77.0))
    m = unscored(name, data)
    assert m.loss(batch).item() == m.loss(other).item()


@pytest.mark.parametrize("name", PLAIN)
def test_decoded_codes_are_the_reconstruction(name: str):
    data = dataset(num=3, channels=2, steps=9)
    m = unscored(name, data)
    frame = sl.tasks.encode(m, data)
    latents = [c for c in frame if c.endswith("_mean")]
    assert len(latents) == m.latent_dim
    assert (frame[[c for c in frame if c.endswith("_scale")]] == 0).to_numpy().all()
    decoded = sl.tasks.decode(m, sl.load(frame, targets=latents)).to_frame()
    back = reconstruct_codes(m, data).frame
    for target in data.targets:
        part = back[back["target"] == target]
        np.testing.assert_allclose(decoded[target], part["reconstruction"], rtol=1e-5)


def test_covariates_explain_what_codes_need_not():
    """Values that a covariate makes, and a code that could not hold them."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(20, 40))
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(20), 40).astype(str),
            "ds": np.tile(np.arange(40), 20),
            "y": (5 * c + 0.1 * rng.normal(size=c.shape)).ravel(),
            "c": c.ravel(),
        }
    )
    options = {"window": 8, "latent_dim": 1, "num_layers": 0, "network": "mlp"}
    model = sl.Autoencoder(**options, scaling="global").fit(
        sl.load(frame, covariates=["c"]), max_steps=80, learning_rate=0.05
    )
    # A linear code of one of eight independent values leaves 7/8 of their variance.
    assert model.reconstruct(frame)["error"].std() < 0.2 * np.sqrt(7 / 8) * frame["y"].std()


def test_the_density_of_codes_does_not_train_the_encoder():
    m = unscored("autoencoder").train()
    batch = collate(dataset(num=3).sequences)
    z, _, _, embedding, u = m._errors(batch)
    log_prob, inside = m._following(batch, z, embedding, u)
    assert inside.any()
    (-log_prob.sum()).backward()
    for part in (m.encoder, m.decoder):
        assert all(p.grad is None or (p.grad == 0).all() for p in part.parameters())
    assert all((p.grad != 0).any() for p in m.head.parameters())


@pytest.mark.slow
def test_samples_have_the_moments_of_the_process():
    """Standard deviation within 10 %, correlations of the first two lags within 0.1 of those of
    long samples of the process, whose own errors are under 0.01."""
    process = PROCESSES["ar2"]()
    model = sl.Autoencoder(window=8, latent_dim=3, scaling="global", hidden_dim=16).fit(
        process.sample(100, 40, seed=0), max_steps=150, seed=0, learning_rate=0.01
    )

    def moments(data: SequenceDataset) -> np.ndarray:
        x = np.stack([s.x[:, 0] for s in data])
        x = x - x.mean()
        variance = (x**2).mean()
        lags = [(x[:, k:] * x[:, :-k]).mean() / variance for k in (1, 2)]
        return np.array([np.sqrt(variance), *lags])

    truth = moments(process.sample(2000, 60, seed=1))
    found = moments(model.sample(500, 60, seed=0))
    assert found[0] == pytest.approx(truth[0], rel=0.1)
    np.testing.assert_allclose(found[1:], truth[1:], rtol=0, atol=0.1)


@pytest.mark.parametrize(("kind", "high"), [("count", np.inf), ("binary", 1)])
def test_samples_of_whole_numbers_are_whole(kind: str, high: float):
    data = dataset(kind, num=20, steps=12)
    x = np.stack([s.x for s in sl.Autoencoder().fit(data, max_steps=5).sample(20, 12)])
    np.testing.assert_array_equal(x, x.round())
    assert x.min() >= 0 and x.max() <= high
    assert x.std() > 0


def test_scaling_is_chosen_among_chains_without_a_past():
    m = unscored("autoencoder")
    assert candidates(m) == ["global", "log+global"]


def test_defaults_compress():
    sizes = ((1, 60, 16, 2), (3, 60, 5, 2), (60, 60, 1, 5), (1, 6, 3, 2))
    for channels, steps, window, size in sizes:
        data = SequenceDataset.from_arrays(values("real", (4, steps, channels)))
        m = AutoencoderModel(AutoencoderOptions(), DataDescription.of(data))
        assert (m.window, m.latent_dim) == (window, size)


def test_missing_values_of_windows_are_filled_by_the_nearest_before():
    nan = np.nan
    x = torch.tensor([[nan, nan, 1, nan, 2, nan], [nan] * 6, [3, nan, nan, nan, nan, 4]])[..., None]
    wanted = [[1, 1, 1, 1, 2, 2], [0] * 6, [3, 3, 3, 3, 3, 4]]
    np.testing.assert_array_equal(filled(x, x.isnan())[..., 0], wanted)


def test_a_trend_goes_on_beyond_the_training_data():
    """At the end of a series, and in its forecast, in levels that training did not see."""
    rng = np.random.default_rng(0)
    x = np.arange(400) / 40 + np.sin(np.arange(400) * 2 * np.pi / 8) + 0.1 * rng.normal(size=400)
    model = sl.Autoencoder(window=8, scaling="global", hidden_dim=16).fit(
        SequenceDataset.from_arrays(x[None, :280, None]), max_steps=80, seed=0, learning_rate=0.01
    )
    whole = SequenceDataset.from_arrays(x[None, :384, None])
    assert np.abs(model.reconstruct(whole)["error"].to_numpy()[-8:]).max() < 1
    ahead = model.forecast(whole, prediction_length=16, num_samples=200).mean[0, :, 0]
    assert np.abs(ahead - x[384:]).max() < 1  # the level rose by 2.6 since training


def test_windows_of_every_step():
    e = torch.arange(4.0)[None, :, None]
    found = windows(e, 2, 1, -1.0)[0, ..., 0]
    wanted = [[-1, -1, 0, 1], [-1, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, -1]]
    np.testing.assert_array_equal(found, wanted)


def test_what_it_cannot_do_is_refused_in_one_sentence():
    data = dataset(num=6, steps=9)
    labels = pd.DataFrame({"ds": range(20), "y": list("abcab" * 4)})
    fitted = sl.Autoencoder(window=3).fit(data, max_steps=1)
    for ask, words in (
        (lambda: fitted.log_prob(data), "measure the errors of its reconstruction instead"),
        (lambda: fitted.encode(data, posterior="smoothing"), "without a posterior"),
        (lambda: fitted.reconstruct(data, num_samples=7), "leave num_samples"),
        (lambda: sl.Autoencoder().fit(labels, max_steps=1), "column 'y' holds labels"),
        (lambda: sl.Autoencoder(window=3, latent_dim=3).fit(data, max_steps=1), "without loss"),
        (lambda: sl.Autoencoder(window=30).fit(data, max_steps=1), "choose a shorter window"),
        (lambda: reconstruct_codes(sl.RNN().fit(data, max_steps=1).module, data), "has no codes"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_at_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = SequenceDataset.from_arrays(waves(num=14)[..., None])
    data.to_frame().to_csv("data.csv", index=False)
    fit = ["fit", "data.csv", "--model", "autoencoder", "--max-steps", "2", "--out", "run"]
    fit += ["--set", "scaling=global"]
    assert run_command(fit) == 0
    assert "(negative squared error)" in capsys.readouterr().out
    reconstruct = ["reconstruct", "run", "data.csv", "--out", "e.csv", "--plot", "e.png"]
    assert run_command(reconstruct) == 0
    assert "the worst of 14 rows" in capsys.readouterr().out
    written = pd.read_csv("e.csv")
    assert len(written) == 14 * 96 and (tmp_path / "e.png").stat().st_size > 10_000
    assert run_command(["reconstruct", "run", "data.csv", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 14 and rows[0]["rmse"] > 0
    encode = ["encode", "run", "data.csv", "--out", "z.csv", "--plot", "z.png"]
    assert run_command(encode) == 0
    assert run_command(["decode", "run", "z.csv", "--out", "back.csv"]) == 0
    np.testing.assert_allclose(pd.read_csv("back.csv")["y"], written["reconstruction"], rtol=1e-4)
    assert run_command(["score", "run", "data.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
