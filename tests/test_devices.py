"""Tasks on a device other than the processor: nothing is made on the wrong one, and the numbers are
the same. The device is that of `far_device.py`, as no GPU need be here."""

import copy
import inspect
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cases import EMISSIONS, MODELS, UNSCORED, dataset, emissions, model, unscored
from command_line import refuse
from far_device import FAR, elsewhere
from folders import job

from seqlatent.api import held
from seqlatent.cli.app import app
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.shards import work
from seqlatent.training import checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*_dynamo")
QUICK = ("rnn", "flow", "linear-gaussian", "switching", "latent", "gan", "autoencoder")
COMMANDS = {info.callback.__name__: info.callback for info in app.registered_commands
            if info.callback is not None}  # fmt: skip
EXACT = {"check_exact": False, "rtol": 1e-5, "atol": 1e-5}  # for kernels that sum in another order


def tasks(module: SequenceModel, kind: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All tasks, each on few series; what they give is a frame or frames."""
    data = dataset(kind, num=2, steps=5)
    gaps = [s.x.copy() for s in data]
    for x in gaps:
        x[2] = np.nan
    gappy, held_model = SequenceDataset.from_list(gaps), held(module, {})

    def stream() -> pd.DataFrame:
        levels = None if module.description.categories else (0.5,)
        streams = held_model.stream(
            many=["a", "b"], num_particles=4, tail_draws=3, intervals=levels, interval_draws=9
        )
        rows = [streams.update({"a": [x], "b": [x]}).columns() for x in (1.0, 0.0, 1.0)]
        ahead = pd.DataFrame(streams.predict(["a"], 3)[0])
        return pd.concat([*(pd.DataFrame(row) for row in rows), ahead])

    yield "score", lambda: held_model.score(data, num_particles=4, tail_draws=3)
    yield "marginals", lambda: held_model.score(gappy, num_particles=4, marginal_draws=3)
    yield "detect", lambda: held_model.detect(data, calibrate=data, num_particles=4).steps
    yield "forecast", lambda: held_model.forecast(data, 2, num_samples=3).to_frame()
    yield "evaluate", lambda: held_model.evaluate(data, 1, num_samples=3).to_frame()
    yield "sample", lambda: held_model.sample(2, 3).to_frame()
    yield "impute", lambda: held_model.impute(gappy, num_samples=3).to_frame()
    yield "encode", lambda: held_model.encode(data, num_samples=3)
    yield "reconstruct", lambda: held_model.reconstruct(data, num_samples=3)
    yield "decode", lambda: held_model.decode(held_model.encode(data)).to_frame()
    yield "inspect", lambda: pd.json_normalize(held_model.inspect(data, num_particles=4).to_dict())
    yield "stream", stream


def outcome(task: Callable[[], Any]) -> tuple[pd.DataFrame, ...] | str:
    """The frames of a task, or why a model has none."""
    try:
        found = task()
    except InputError as error:
        return str(error)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
     for name in (*MODELS, *UNSCORED)],
)  # fmt: skip
def test_tasks_elsewhere_are_those_of_the_processor(name):
    if name in MODELS:
        own = MODELS[name][1].get("emission")
        usual = "mixture" if "mixture" in emissions(name) else emissions(name)[0]
        near, kind = model(name), EMISSIONS[own or usual]
    else:
        near, kind = unscored(name), "real"
    expected = {task: outcome(do) for task, do in tasks(near, kind)}
    assert sum(isinstance(found, tuple) for found in expected.values()) >= 3
    with elsewhere():
        far = copy.deepcopy(near).to(FAR)
        assert {t.device for t in far.state_dict().values()} == {FAR}
        found = {task: outcome(do) for task, do in tasks(far, kind)}
    for task, frames in expected.items():
        assert isinstance(found[task], type(frames)), (task, found[task], frames)
        if isinstance(frames, str):
            assert found[task] == frames
            continue
        for one, other in zip(found[task], frames, strict=True):
            pd.testing.assert_frame_equal(one, other, obj=task, **EXACT)


def test_elsewhere_a_forgotten_device_is_found():
    with elsewhere():
        x = torch.ones(3, device=FAR)
        assert (x + 1).cpu().tolist() == [2, 2, 2]
        assert (x[[0, 2]] + torch.tensor([1.0, 2.0], device=FAR)).tolist() == [2, 3]
        with pytest.raises(RuntimeError, match="here and elsewhere"):
            torch.add(x, torch.ones(3))
        with pytest.raises(RuntimeError, match="numpy"):
            x.numpy()


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The devices that models are loaded to; `cuda` is there, elsewhere."""
    names = []

    def find(device: str) -> torch.device:
        names.append(device)
        return FAR if device == "cuda" else torch.device("cpu")

    monkeypatch.setattr(checkpoint, "find_device", find)
    return names


@pytest.mark.parametrize("arguments", [
    ("score", "gaps.csv", "--json"), ("detect", "gaps.csv", "--json"),
    ("forecast", "gaps.csv", "--prediction-length", 2, "--num-samples", 5, "--json"),
    ("evaluate", "gaps.csv", "--prediction-length", 1, "--num-samples", 5, "--json"),
    ("encode", "gaps.csv", "--out"), ("impute", "gaps.csv", "--num-samples", 5, "--json"),
    ("sample", "--num-samples", 2, "--length", 3, "--out"),
    ("inspect", "gaps.csv", "--num-particles", 8, "--json"), ("stream",),
], ids=lambda arguments: arguments[0])  # fmt: skip
def test_commands_compute_on_the_device_that_is_given(
    latent_run, place, run, asked, monkeypatch, arguments
):
    """Every command, with the numbers of the processor."""
    command, *rest = arguments
    (target,) = checkpoint.load_model(latent_run, "cpu")[0].description.targets
    rows = [target, "25.0", "26.0", "27.0"]
    Path("gaps.csv").write_text("\n".join([*rows, "NA", "26.5"]), encoding="utf-8")
    texts, asked[:] = [], []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(rows)))
        out = [f"{device}.csv"] if rest and rest[-1] == "--out" else []
        with elsewhere():
            text, _ = run(command, latent_run, *rest, *out, "--device", device)
        texts.append((place / out[0]).read_text() if out else text)
    assert asked == ["cpu", "cuda"]
    one, other = (np.array(re.findall(r"-?\d+\.\d+(?:e-\d+)?", t), dtype=float) for t in texts)
    assert len(one) > 1
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_every_command_that_reads_a_run_has_the_option():
    of_runs = {name for name, f in COMMANDS.items() if {"run", "runs"} & {*parameters(f)}}
    assert of_runs >= {"score", "forecast", "combine", "decode", "reconstruct", "stream"}
    for name in of_runs | {"fit", "compare"}:
        assert parameters(COMMANDS[name])["device"].default == "auto", name


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


@pytest.mark.parametrize("arguments", [
    ("score", "run", "elnino"), ("stream", "run"), ("inspect", "run", "elnino"),
    ("compare", "elnino", "--out", "out"), ("fit", "elnino", "--out", "out"),
    ("combine", "run", "run", "--out", "out"),
], ids=lambda arguments: arguments[0])  # fmt: skip
def test_a_device_that_is_not_there_is_refused(latent_run, place, capsys, monkeypatch, arguments):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    given = [str(latent_run) if word == "run" else word for word in arguments]
    refuse([*given, "--device", "cuda"], "device=cuda no GPU device=cpu", place, capsys)
    refuse([*given, "--device", "tpu"], "device 'tpu' auto, cpu, cuda", place, capsys)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_worker_uses_the_device(series_folder, tmp_path, workers):
    there = replace(job(series_folder, tmp_path / "out"), device="tpu")
    with pytest.raises(InputError, match="device 'tpu'"):
        work(there, workers=workers)


def test_a_model_moves_and_its_streams_with_it(latent_run, tmp_path, asked, monkeypatch):
    """Their files are those of any device."""
    monkeypatch.setattr("seqlatent.fitted_model.find_device", checkpoint.find_device)
    near = held(*checkpoint.load_model(latent_run, "cpu"))
    row = [25.0] * near.module.description.num_channels
    first = near.stream()
    first.update(row)
    first.save(tmp_path / "state")
    expected = first.update(row)
    with elsewhere():
        far = near.to("cuda")
        assert far.module.device == FAR
        second = far.stream(tmp_path / "state")
        found = second.update(row)
        second.save(tmp_path / "state")
    assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-5)
    assert (tmp_path / "state").exists()
