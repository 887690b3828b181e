"""Streams: row by row as in a batch, saved and restored, many as one by one; what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cases import MODELS, dataset, example, first_quick, model
from safetensors.torch import save

import seqlatent as sl
from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import steps_after
from seqlatent.errors import InputError
from seqlatent.inference.protocols import EstimatedDensity
from seqlatent.tasks.encoding import encode
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.rows import TIME, RowReader
from seqlatent.tasks.scoring import score
from seqlatent.tasks.single_stream import Stream
from seqlatent.tasks.streamed import Settings
from seqlatent.tasks.streaming import Streams

SMOOTHING = [n for n in MODELS if getattr(example(n), "smoothing", False)]
NAMES = [n for n in MODELS if n not in SMOOTHING]
ESTIMATED = [n for n in NAMES if isinstance(example(n), EstimatedDensity)]
WHOLE = ("flow-latents", "flow-learned")  # refuse any missing value
# refuse steps that are partly missing
TOGETHER = ("flow-coupling", "diffusion", "diffusion-cnn", "diffusion-blocks")
PARTICLES = 8
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def exact_digits():
    """In single precision the seventh digit may make a filter resample another particle."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def pieces(name: str) -> SequenceDataset:
    """Three series of two channels, with gaps where the model reads them and a wild value."""
    data = dataset(channels=2, num=3, steps=12)
    for s in data:
        s.x[5, 0] += 500
        if name not in WHOLE:
            s.x[2:4] = np.nan
        if name not in (*WHOLE, *TOGETHER):
            s.x[7, 1] = np.nan
    return data


def scored(m, data: SequenceDataset, **options) -> pd.DataFrame:
    """The scores of all steps of a batch, NaN where not scored."""
    found = score(m, data, num_particles=PARTICLES, **options)[1]
    names = [(s.unique_id, t) for s in data for t in s.ds]
    return found.set_index(["unique_id", "ds"]).reindex(names)


def streamed(stream: Stream, rows: np.ndarray) -> list[sl.tasks.Streamed]:
    return [stream.update(row) for row in rows]


@pytest.mark.usefixtures("exact_digits")
@pytest.mark.parametrize("name", first_quick(NAMES))
def test_a_stream_is_the_batch(name: str, tmp_path):
    """Of every family: row by row, saved and restored on the way, and many at once, the log-density
    is that of `score`; an estimate is by the same particles."""
    data = pieces(name)
    m, settings = model(name, data=data), Settings(PARTICLES)
    batch = scored(m, data)["log_prob"].to_numpy()
    one = Stream(m, settings, data.sequences[0].unique_id)
    found = streamed(one, data.sequences[0].x[:6])
    one.save(tmp_path / "state")
    found += streamed(Stream.load(m, tmp_path / "state"), data.sequences[0].x[6:])
    alone = np.array([f.log_prob for f in found])
    np.testing.assert_allclose(alone, batch[: len(alone)], **TOLERANCE)
    assert {f.kind for f in found} == set(score(m, data, num_particles=PARTICLES)[0]["kind"])
    many = Streams(m, [s.unique_id for s in data], settings)
    together = {s.unique_id: [] for s in data}
    for t in range(12):  # the series end at different steps
        rows = {s.unique_id: s.x[t] for s in data if t < len(s)}
        for unique_id, value in zip(*many.update(rows)[:3:2], strict=True):
            together[unique_id].append(value)
        if t == 4:
            many.save(tmp_path / "many")
            many = Streams.load(m, tmp_path / "many")
    np.testing.assert_allclose(np.concatenate(list(together.values())), batch, **TOLERANCE)


@pytest.mark.parametrize("name", ["rnn", "transformer", "linear-gaussian", "mixture", "vrnn"])
def test_rows_of_series_come_in_any_order(name: str):
    """Interleaved at random, alone and together, and new series later: each as if it were alone."""
    data = pieces(name)
    m, rng, settings = model(name, data=data), np.random.default_rng(0), Settings(PARTICLES)
    alone = {
        s.unique_id: [f.log_prob for f in streamed(Stream(m, settings, s.unique_id), s.x)]
        for s in data
    }
    many, found = Streams(m, (), settings), {s.unique_id: [] for s in data}
    left = {s.unique_id: list(s.x) for s in data}
    while any(left.values()):
        some = [n for n, rows in left.items() if rows and rng.random() < 0.5]
        if some:
            given = {n: left[n].pop(0) for n in rng.permutation(some).tolist()}
            result = many.update(given)
            for n, value in zip(result.unique_ids, result.log_prob, strict=True):
                found[n].append(value)
    for n, values in found.items():
        np.testing.assert_allclose(values, alone[n], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "draws"), [("rnn", 19), ("linear-gaussian", 0), ("rnn-t", 0)])
def test_tail_probabilities_are_those_of_scores(name: str, draws: int):
    """By draws, exactly by the filter, and exactly by a Student-t head."""
    data = dataset(num=2, steps=8)
    m = model("rnn", "student-t", data) if name == "rnn-t" else model(name, data=data)
    batch = scored(m, data, tail_draws=draws)["tail_probability"].to_numpy()
    stream = Stream(m, Settings(tail_draws=draws), data.sequences[0].unique_id)
    tails = [f.tail_probability for f in streamed(stream, data.sequences[0].x)]
    assert np.isfinite(tails).all()
    np.testing.assert_allclose(tails, batch[: len(tails)], **TOLERANCE)
    silent = Stream(model("rnn", data=data))
    assert np.isnan(silent.update(20.0).tail_probability)


@pytest.mark.parametrize("name", ["linear-gaussian", "flow", "switching"])
def test_computed_latents_are_those_of_the_filter(name: str):
    data = pieces(name)
    m = model(name, data=data)
    frame = encode(m, data[:1], posterior="auto" if name == "flow" else "filtering")
    found = streamed(Stream(m), data.sequences[0].x)
    columns = [c for c in frame if c.endswith(("_mean", "_probability"))]
    np.testing.assert_allclose([f.latents for f in found], frame[columns], **TOLERANCE)
    if name == "linear-gaussian":
        scales = [c for c in frame if c.endswith("_scale")]
        np.testing.assert_allclose([f.scales for f in found], frame[scales], **TOLERANCE)


def test_estimated_latents_have_the_moments_of_the_filter():
    """With 6 x 1024 particles, beside the posterior of `encode` with as many: the weights leave
    some hundred effective ones, and three standard errors of a mean are 0.2 of the scale."""
    data = dataset(num=1, steps=8)
    m = model("latent", data=data)
    found = streamed(Stream(m, Settings(1024)), data.sequences[0].x)
    frame = encode(m, data, num_samples=1500, posterior="filtering")
    for z in range(2):
        mean = [f.latents[z] for f in found]
        scale = np.array([f.scales[z] for f in found])
        assert (np.abs(mean - frame[f"z{z + 1}_mean"]) < 0.2 * scale).all()
        np.testing.assert_allclose(scale, frame[f"z{z + 1}_scale"], rtol=0.15)


@pytest.mark.parametrize("name", ["rnn", "flow", "switching", "mixture", "latent-last"])
def test_predictions_are_forecasts_of_one_step(name: str):
    """The same samples, where the past has no particles."""
    data = pieces(name)[:1]
    m = model(name, data=data)
    stream = Stream(m, Settings(PARTICLES), data.sequences[0].unique_id)
    streamed(stream, data.sequences[0].x)
    samples = forecast(m, data, 1, num_samples=50, seed=3).samples[0][:, 0]
    np.testing.assert_allclose(stream.predict(50, seed=3), samples, rtol=1e-3)


def test_predictions_by_particles_have_the_moments_of_forecasts():
    """4,000 samples each: three standard errors of a mean are 0.07 of the standard deviation."""
    data = dataset(num=1, steps=8)
    m = model("latent", data=data)
    stream = Stream(m, Settings(512))
    streamed(stream, data.sequences[0].x)
    theirs = forecast(m, data, 1, num_samples=4000).samples[0][:, 0, 0]
    ours = stream.predict(4000, seed=1)[:, 0]
    assert abs(ours.mean() - theirs.mean()) < 0.07 * theirs.std()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.1)
    fresh = Stream(m).predict(4000, seed=1)[:, 0]  # before any row
    first = sl.tasks.sample(m, 4000, 1, seed=2)
    first = np.array([s.x[0, 0] for s in first])
    assert abs(fresh.mean() - first.mean()) < 0.07 * first.std()


def test_a_wild_value_is_forgotten_as_in_a_batch():
    """With a running scale; the path of predictions is within the limits after it too."""
    data = dataset(num=1, steps=12)
    x = data.sequences[0].x
    x[4] = 1e9
    m = model("rnn", data=dataset(num=3, steps=12), scaling="running+increments")
    found = [f.log_prob for f in streamed(Stream(m), x)]
    np.testing.assert_allclose(found, scored(m, data)["log_prob"], **TOLERANCE)
    again = Stream(m)
    streamed(again, x)
    assert np.abs(again.predict(200)).max() < 1000


# -- rows with names, times and covariates ---------------------------------------------------------


def hourly(steps: int, seed: int) -> pd.DataFrame:
    """Two shops: counts with a daily cycle, a covariate, a static feature and a past covariate."""
    rng, parts = np.random.default_rng(seed), []
    for shop, size in (("a", "small"), ("b", "large")):
        promo = rng.integers(0, 2, steps)
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": shop,
                    "ds": pd.date_range("2024-01-01", periods=steps, freq="h"),
                    "y": rng.poisson(3 + 2 * promo),
                    "promo": promo,
                    "size": size,
                    "rain": rng.normal(size=steps),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def shop() -> Model:
    known = {"covariates": ["promo"], "static": ["size"], "past_covariates": ["rain"]}
    data = sl.load(hourly(60, 0), **known)
    return sl.RNN(hidden_dim=4, context_length=3).fit(data, max_steps=3, progress=False)


def test_covariates_and_static_features(shop):
    """A past covariate is missing in one row, and the static feature after the first."""
    table = hourly(30, 1)
    table.loc[10, "rain"] = np.nan
    batch = shop.score(table)[1].set_index(["unique_id", "ds"])["log_prob"]
    stream, found = shop.stream(many=["a", "b"]), []
    for t, (ds, rows) in enumerate(table.groupby("ds")):
        rows = rows.to_dict("records")
        for row in rows[: 2 * (t > 0)]:
            del row["size"]
        result = stream.update({row.pop("unique_id"): row for row in rows})
        assert (result.ds == np.datetime64(ds)).all()
        found.append(result.log_prob)
    wanted = batch.unstack(0).to_numpy()
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3:], wanted, **TOLERANCE)
    ahead = {name: {"promo": 1} for name in "ab"}
    future = pd.DataFrame({"unique_id": ["a", "b"], "ds": table["ds"].max() +
                           pd.Timedelta("1h"), "promo": 1})  # fmt: skip
    theirs = shop.forecast(table, 1, num_samples=20, future=future)
    np.testing.assert_allclose(
        stream.predict(num_samples=20, known=ahead), [theirs[i].samples[:, 0] for i in range(2)]
    )
    frame = stream.update(hourly(31, 1).groupby("unique_id").last().reset_index()).to_frame()
    assert list(frame) == ["unique_id", "ds", "log_prob", "kind", "tail_probability"]


def test_steps_that_are_left_out_are_missing(shop):
    """Alone and beside a series without a gap; absent covariates are read as 0."""
    table = hourly(12, 2)
    full = table.astype({"y": float})
    gap = full.index[(full["unique_id"] == "a") & full["ds"].dt.hour.isin([5, 6])]
    full.loc[gap, ["y", "rain"]] = np.nan
    full.loc[gap, "promo"] = 0
    batch = shop.score(full)[1].set_index(["unique_id", "ds"])["log_prob"]
    stream, found = shop.stream(many=True), {}
    for _, rows in table.drop(index=gap).groupby("ds"):
        rows = rows.set_index("unique_id").to_dict("index")
        if len(rows) == 1:  # the other series waits
            continue
        r = stream.update(rows)
        found |= {(n, t): v for n, t, v in zip(r.unique_ids, r.ds, r.log_prob, strict=True)}
    late = [v for (n, t), v in found.items() if n == "a" and t > np.datetime64("2024-01-01T06")]
    np.testing.assert_allclose(late, batch["a"][-len(late) :], **TOLERANCE)


@pytest.mark.parametrize("frequency", ["W-SAT", "MS", "2MS", "QE", "YS", "B", "D"])
def test_the_next_step_is_that_of_data_sets(frequency: str):
    """On the calendar and off it, and up to where timestamps end."""
    m = model("rnn")
    m.description = replace(m.description, frequency=frequency)
    rows = RowReader(m, False)
    begun = pd.date_range("2019-12-01", periods=30, freq=frequency).append(
        pd.DatetimeIndex(["2020-02-15 07:30", "2020-08-29", "2250-06-03"])
    )
    if frequency == "D":  # goes by its stride, at any time of day
        begun = begun[:30]
    for time in begun.as_unit("ns"):
        wanted = steps_after(np.array([time.to_datetime64()]), 1, frequency)[0]
        assert rows.following(time.value, TIME) == pd.Timestamp(wanted).as_unit("ns").value


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"promo": 1, "rain": 0.0}, "series 'b': a row has no 'y'"),
        ({"y": -1, "promo": 1, "rain": 0.0}, "series 'b': column 'y' holds values from -1"),
        ({"y": 1, "promo": 1}, "no past covariate 'rain'"),
        ({"y": 1, "promo": None, "rain": 0.0}, "no covariate 'promo'"),
        ({"y": 1, "promo": 1, "rain": 0.0, "size": "small"}, "one value for each series"),
        ({"y": 1, "promo": 1, "rain": 0.0, "ds": 5.5}, "neither a whole number nor a time"),
        ({"y": 1, "promo": 1, "rain": 0.0, "ds": "2024-01-01"}, "does not come after"),
    ],
)
def test_a_bad_row_of_several_changes_nothing(row, words, shop):
    first = {"ds": "2024-01-01 00:00", "y": 2, "promo": 0, "rain": 0.5}
    stream, other = shop.stream(many=True), shop.stream(many=True)
    for s in (stream, other):
        s.update({"a": first | {"size": "small"}, "b": first | {"size": "large"}})
    good = {"ds": "2024-01-01 01:00", "y": 1, "promo": 1, "rain": 0.0}
    with pytest.raises(InputError, match=words):
        stream.update({"a": good, "b": {"ds": good["ds"], **row}, "c": good | {"size": "small"}})
    assert stream.ids == ["a", "b"]
    pair = {"a": good, "b": good}
    assert str(stream.update(pair).to_frame()) == str(other.update(pair).to_frame())


def test_times_with_a_zone_are_taken_in_utc(shop):
    row = {"ds": "2024-01-01T02:00:00+01:00", "y": 2, "promo": 0, "rain": 0.5, "size": "small"}
    assert shop.stream().update(row).ds == np.datetime64("2024-01-01T01:00")


# -- files, and what is refused --------------------------------------------------------------------


def test_files_of_others_are_refused(tmp_path, shop):
    m, path = model("latent"), tmp_path / "state"
    stream = Streams(m, ["a", "b"], Settings(PARTICLES, seed=3))
    stream.update({"a": 20.0, "b": 21.0})
    stream.save(path)
    assert Streams.load(m, path).settings == Settings(PARTICLES, seed=3)
    with pytest.raises(InputError, match="begun with seed=3, not 4"):
        Streams.load(m, path, seed=4)
    with pytest.raises(InputError, match="holds 2 series"):
        Stream.load(m, path)
    with pytest.raises(InputError, match="another model"):
        shop.stream(path, many=True)
    with pytest.raises(InputError, match="no such file"):
        shop.stream(tmp_path / "none")
    content = path.read_bytes()
    for damaged in (b"", content[:-9], content[:-1] + b"x", save({"0": torch.zeros(2)})):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            Streams.load(m, path)


@pytest.mark.parametrize("name", SMOOTHING)
def test_guides_that_see_later_values_are_refused(name: str):
    with pytest.raises(InputError, match="sees later values"):
        Stream(model(name))


def test_arguments_out_of_range(shop):
    for given in ({"num_particles": 0}, {"tail_draws": -1}, {"seed": -1}, {"many": 0}):
        with pytest.raises(InputError, match=next(iter(given))):
            shop.stream(**given)
    with pytest.raises(InputError, match="twice"):
        shop.stream(many=["a", "a"])
    with pytest.raises(InputError, match="no series 'c'"):
        shop.stream(many=["a"]).predict(["c"])
    with pytest.raises(InputError, match="3 rows and 2 series"):
        shop.stream(many=2).update([1, 2, 3])
