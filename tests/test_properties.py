"""Laws over generated data, files, chains and parameters (hypothesis).

`tests/conftest.py` sets how many examples there are; CONTRIBUTING.md says how to run more.
"""

import dataclasses
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cases import EMISSIONS, dataset, model
from hypothesis import assume, example, given
from hypothesis import strategies as st

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.readers import load
from seqlatent.data.spread import spread
from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.emission import EMISSIONS as REGISTERED
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.nn.scaling import Scaler
from seqlatent.tasks.scoring import score

LETTERS = "abyz 01.,;\"'é-_#"  # names of series: quotes, separators, what looks like a number
CHAINS = ("log+global", "running", "increments", "seasonal", "log+running+increments", "global")
SEASON = 3


# -- data ------------------------------------------------------------------------------------------


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A long table of a few series, with absent steps and missing cells."""
    word = st.text(LETTERS, min_size=1, max_size=6).filter(lambda s: bool(s.strip()))
    names = draw(st.lists(word, min_size=1, max_size=4, unique=True))
    unit = draw(st.sampled_from([None, "D", "h", "min"]))
    channels = draw(st.integers(1, 3))
    value = st.floats(-1e9, 1e9) | st.integers(-3, 3).map(float) | st.just(np.nan)
    parts = []
    for name in names:
        gaps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=7))
        steps = draw(st.integers(-5, 400)) + np.cumsum(gaps)
        start = pd.Timestamp("2024-02-27")
        ds = steps if unit is None else start + pd.to_timedelta(steps, unit=unit)
        part = pd.DataFrame({"unique_id": name, "ds": ds})
        for d in range(channels):
            cells = draw(st.lists(value, min_size=len(steps), max_size=len(steps)))
            part[f"y{d + 1}"] = np.array(cells)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    targets = [c for c in frame if str(c).startswith("y")]
    assume(frame[targets].notna().any().all())  # each column has a value
    return frame


def read(frame: pd.DataFrame) -> SequenceDataset:
    return load(frame, targets=[c for c in frame if str(c).startswith("y")])


def by_name(data: SequenceDataset) -> dict[str, tuple[list, list]]:
    """Of each series its steps and values, missing ones as None."""
    return {s.unique_id: (s.ds.tolist(), np.where(np.isnan(s.x), None, s.x).tolist()) for s in data}


@given(frames())
def test_a_table_is_read_and_written_unchanged(frame: pd.DataFrame):
    data = read(frame)
    again = load(data.to_frame(), targets=list(data.targets))
    assert by_name(again) == by_name(data)
    assert again.frequency == data.frequency or min(data.lengths) < 3
    targets = list(data.targets)
    kept = data.to_frame().dropna(subset=targets, how="all").reset_index(drop=True)
    given_rows = frame.dropna(subset=targets, how="all").reset_index(drop=True)
    assert list(kept["unique_id"]) == list(given_rows["unique_id"])
    np.testing.assert_array_equal(kept[targets], given_rows[targets])
    np.testing.assert_array_equal(kept["ds"].to_numpy(), given_rows["ds"].to_numpy())


@given(frames())
def test_a_csv_file_is_the_table(frame: pd.DataFrame):
    # Spaces after a separator are for the eye.
    frame = frame.assign(unique_id=frame["unique_id"].str.replace("^ +", "_", regex=True))
    data = read(frame)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d.csv")
        frame.to_csv(path, index=False)
        assert by_name(load(path, targets=list(data.targets))) == by_name(data)


@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(frame: pd.DataFrame, random: Any):
    rows = list(range(len(frame)))
    random.shuffle(rows)
    assert by_name(read(frame.iloc[rows])) == by_name(read(frame))


@cache
def small(name: str) -> Any:
    return model(name, data=dataset(channels=2))


@pytest.mark.parametrize("name", ["rnn", "switching", "latent-last", "linear-gaussian"])
@given(st.data())
def test_a_score_does_not_depend_on_the_other_series(name: str, data: st.DataObject):
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    seed, hidden = data.draw(st.integers(0, 1000)), data.draw(st.sampled_from([0.0, 0.3]))
    rng = np.random.default_rng(seed)
    series = [20 + 3 * rng.normal(size=(n, 2)) for n in lengths]
    for x in series:
        x[1:][rng.random(x[1:].shape) < hidden] = np.nan
    whole = SequenceDataset.from_list(series)
    drawn = name != "latent-last" and data.draw(st.booleans())
    options = {"marginal_draws": 4} if drawn else {"num_particles": 4}
    together = score(small(name), whole, **options)[0]["log_prob"]
    order = data.draw(st.permutations(range(len(series))))
    some = order[: data.draw(st.integers(1, len(series)))]
    part = score(small(name), whole[some], **options)[0]["log_prob"]
    np.testing.assert_allclose(part, together.to_numpy()[some], rtol=1e-5, atol=1e-4)


# -- files -----------------------------------------------------------------------------------------

ENDINGS = (".csv", ".tsv", ".csv.gz", ".npy", ".parquet", ".feather", ".json", ".jsonl")


@cache
def valid(kind: str) -> bytes:
    """A file of 12 rows that is read."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"ds": range(12), "y": rng.normal(size=12), "w": list("abcabcabcabc")})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"d{kind}")
        if kind == ".npy":
            np.save(path, rng.normal(size=(3, 4, 2)))
        elif kind == ".parquet":
            frame.to_parquet(path)
        elif kind == ".feather":
            frame.to_feather(path)
        elif kind.startswith(".json"):
            frame.to_json(path, orient="records", lines=kind == ".jsonl")
        else:
            frame.to_csv(path, index=False, sep="\t" if kind == ".tsv" else ",")
        return path.read_bytes()


def read_or_refused(content: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"d{kind}")
        path.write_bytes(content)
        refusal, number = "", 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pandas, about cells
                number = len(load(path))
        except InputError as error:
            refusal = str(error)
    assert number or path.name in refusal  # a sentence that names the file
    assert "\n" not in refusal


@given(st.sampled_from(ENDINGS), st.binary(max_size=300))
@example(".csv", b"")
def test_random_bytes_are_read_or_refused(kind: str, content: bytes):
    read_or_refused(content, kind)


@given(st.sampled_from(ENDINGS), st.data())
def test_damaged_files_are_read_or_refused(kind: str, data: st.DataObject):
    content = bytearray(valid(kind))
    places = data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4))
    for place in places:
        content[place] = data.draw(st.integers(0, 255))
    if not places or data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    read_or_refused(bytes(content), kind)


@given(st.text("ds,y\n01.5e-\"' ;\tNaÄ", max_size=80))
def test_random_text_is_read_or_refused(content: str):
    read_or_refused(content.encode(), ".csv")


# -- scaling ---------------------------------------------------------------------------------------


@cache
def scaler(chain: str, power: int) -> Scaler:
    rng = np.random.default_rng(0)
    x = 10.0**power * (5 + rng.normal(size=(6, 12, 2)).cumsum(1))
    return Scaler(DataDescription.of(SequenceDataset.from_arrays(x), SEASON), chain, lags=(2,))


@given(st.integers(-60, 40), st.integers(0, 1000))
def test_spreads_follow_the_units(power: int, seed: int):
    """By powers of two, which round nothing."""
    x = list(np.random.default_rng(seed).normal(1, 2, (3, 9)).cumsum(1))
    unit = 2.0**power
    usual, other = spread(x, SEASON), spread([unit * column for column in x], SEASON)
    sizes = [f.name for f in dataclasses.fields(usual) if not f.name.endswith("_weight")]
    np.testing.assert_allclose(
        [getattr(other, name) for name in sizes], [unit * getattr(usual, name) for name in sizes]
    )
    assert other.level_weight == pytest.approx(usual.level_weight)
    assert other.scale_weight == pytest.approx(usual.scale_weight)


@pytest.mark.parametrize("chain", CHAINS)
@given(st.sampled_from([-6, 0, 6]), st.data())
def test_chains_are_inverted_and_have_their_determinant(
    chain: str, power: int, data: st.DataObject
):
    s = scaler(chain, power)
    steps = data.draw(st.integers(1, 6))
    cell = st.floats(-30, 30, allow_subnormal=False)
    cells = data.draw(st.lists(cell, min_size=2 * steps, max_size=2 * steps))
    x = 10.0**power * torch.tensor(cells, dtype=torch.float64).view(1, steps, 2)

    def batch_of(x: torch.Tensor) -> SequenceBatch:
        whole = collate(SequenceDataset.from_arrays(x.detach().numpy()).sequences)
        return dataclasses.replace(whole, x=x)

    def forward(x: torch.Tensor) -> torch.Tensor:
        batch = batch_of(x)
        return s.scale_values(batch.x, s(batch), torch.double)

    y = forward(x)
    assert torch.isfinite(y).all()
    back, _ = s.inverse(y, s.begin())
    size = 10.0**power + x.abs().amax()
    torch.testing.assert_close(back / size, x / size, rtol=1e-9, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(forward, x).reshape(2 * steps, 2 * steps)
    own = jacobian.diagonal().log().view(1, steps, 2).sum(-1)
    batch = batch_of(x)
    log_scale = s.log_scale(batch, s(batch), torch.double)
    torch.testing.assert_close(own, -log_scale, rtol=1e-9, atol=1e-9)
    later = torch.ones(2 * steps, 2 * steps).triu(1).bool()
    assert (jacobian[later] == 0).all()  # no value is scaled by itself, or by a later one


# -- distributions ---------------------------------------------------------------------------------

FAMILIES = sorted(name for name in EMISSIONS if REGISTERED[name].head is None)
TOP = {"binary": 1, "category": 3, "count": None, "real": None}


@cache
def family(name: str) -> Any:
    torch.manual_seed(0)
    options = EmissionOptions(name, num_components=3, channels="independent")
    data = dataset(EMISSIONS[name], 1, num=20)
    return build_family(DataDescription.of(data), options, [1.0]).eval()


def in_support(x: torch.Tensor, kind: str) -> bool:
    if not torch.isfinite(x).all():
        return False
    if kind == "real":
        return True
    whole = bool((x == x.round()).all() and (x >= 0).all())
    return whole and (TOP[kind] is None or bool((x <= TOP[kind]).all()))


@pytest.mark.parametrize("name", FAMILIES)
@given(st.data())
def test_any_finite_parameters_are_a_distribution(name: str, data: st.DataObject):
    f, kind = family(name), EMISSIONS[name]
    size = data.draw(st.sampled_from([1.0, 30.0, 1e4]))
    number = st.floats(-1, 1, width=32).map(lambda v: size * v)
    params = data.draw(st.lists(number, min_size=f.num_params, max_size=f.num_params))
    values = {
        "real": st.floats(-1e6, 1e6, width=32),
        "binary": st.integers(0, 1),
        "category": st.integers(0, 3),
        "count": st.integers(0, 10**6),
    }[kind]
    theta = torch.tensor(params).expand(200, 1, -1)
    x = torch.tensor([[float(data.draw(values))]])
    assert torch.isfinite(f.log_prob(theta[:1], x)).all()
    samples = f.sample(theta, SequenceNoise(["a"], data.draw(st.integers(0, 99))))
    assert in_support(samples, kind)
    assert torch.isfinite(f.log_prob(theta, samples)).all()


@cache
def head(name: str) -> Any:
    torch.manual_seed(0)
    options = EmissionOptions(name, num_components=3, channels="autoregressive", channel_dim=5)
    data = dataset(EMISSIONS[name], 3, num=20)
    made = build_family(DataDescription.of(data), options, [1.0] * 3)
    return build_head(made, 3, options, 4).eval()


@pytest.mark.parametrize("name", sorted(EMISSIONS))
@given(st.data())
def test_steps_are_filled_as_they_are_scored(name: str, data: st.DataObject):
    """Where no seen channel comes after a missing one, the weight of a filled step is the density
    of what was seen; where nothing is missing, that of all."""
    h = data.draw(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4))
    step = head(name)(torch.tensor([h]))
    noise = SequenceNoise(["a"], data.draw(st.integers(0, 99)))
    x = step.sample(noise=noise)
    seen = torch.arange(3) < data.draw(st.integers(1, 3))
    if name == "covariance-mixture":
        assume(bool(seen.all()))
    filled, log_weight = step.fill(x, seen, noise)
    assert torch.equal(filled[:, seen], x[:, seen])
    assert in_support(filled, EMISSIONS[name])
    observed = head(name)(torch.tensor([h]), seen[None])
    torch.testing.assert_close(log_weight, observed.log_prob(x), rtol=1e-4, atol=1e-4)
