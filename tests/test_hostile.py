"""Files that were made to do harm: refused within bounds, and harmless to a terminal."""

import gzip
import hashlib
import importlib
import json
import logging
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from command_line import GOOD, TINY, refuse

from seqlatent.cli.app import run_command
from seqlatent.data import limits
from seqlatent.data.readers import load, write_table
from seqlatent.errors import InputError, one_line
from seqlatent.options import read_config
from seqlatent.training.checkpoint import load_model

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture(autouse=True)
def bounds():
    """Each refusal takes at most 5 seconds of the processor and 1 GiB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


# -- what a file may unfold to ---------------------------------------------------------------------


def npy(header: str, content: bytes = b"\0" * 16) -> bytes:
    text = header.encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


SHAPE = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            SHAPE % ("<f8", "(1000000, 1000000)"),
            "claims an array .* of 8000000000000 bytes, and 16",
        ),
        (SHAPE % ("<f8", "(1000000000000, 0)"), "holds no values"),
        (SHAPE % ("|V0", "(1000000000000,)"), "1000000000000 x 1 cells, more than the 83"),
        (SHAPE % ("<f8", "(-1,)"), "not an .npy file"),
        (SHAPE % ("<M8[s]", "(2,)"), "does not hold numbers"),
        ("{'descr':", "not an .npy file"),
        ('"""', "not an .npy file"),
        ("(" * 5000, "not an .npy file"),
        ("\0", "not an .npy file"),
    ],
)
def test_arrays(tmp_path, header, message):
    path = tmp_path / "x.npy"
    path.write_bytes(npy(header))
    with pytest.raises(InputError, match=message):
        load(path)


def test_gzip(tmp_path, monkeypatch):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"ds,y\n" + b"0,0.0\n" * 2_000_000, 1))
    monkeypatch.setattr(limits, "FREE_TEXT", 2**20)
    with pytest.raises(InputError, match=r"unpacks to more than \d+ MiB of text"):
        load(path)


def test_gzip_of_usual_data(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_TEXT", 0)
    rows = "".join(f"{t},{np.sin(t)}\n" for t in range(1000))
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"ds,y\n" + rows.encode()))
    assert load(tmp_path / "x.csv.gz").lengths.tolist() == [1000]


def test_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    rows = pa.table({"y": pa.array(np.zeros(5_000_000, np.int8))})
    with pq.ParquetWriter(path, rows.schema) as file:
        for _ in range(4):
            file.write_table(rows, row_group_size=len(rows))
    with pytest.raises(InputError, match="20000000 x 1 cells, more than the"):
        load(path)


def test_parquet_whose_metadata_lie(tmp_path, monkeypatch):
    pq.write_table(pa.table({"y": ["x" * 1000] * 20_000}), tmp_path / "x.parquet")
    monkeypatch.setattr(limits, "FREE_CELLS", 20_001)
    with pytest.raises(InputError, match="unfolds to more than"):
        load(tmp_path / "x.parquet")


def test_a_column_that_claims_exabytes(tmp_path):
    """The size of the first compressed column stands before it; its highest byte is changed."""
    path = tmp_path / "x.feather"
    pd.DataFrame({"y": np.zeros(1000)}).to_feather(path)
    content = path.read_bytes()
    assert content.count((8000).to_bytes(8, "little")) == 1
    path.write_bytes(content.replace((8000).to_bytes(8, "little"), (2**62).to_bytes(8, "little")))
    with pytest.raises(InputError, match="unfolds to more than 64 MiB"):
        load(path)


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_million_columns(tmp_path, quote):
    names = ",".join(f"{quote}a{i}{quote}" for i in range(10**6))
    (tmp_path / "x.csv").write_text(names + "\n" + "1," * (10**6 - 1) + "1\n")
    with pytest.raises(InputError, match="1000000 columns, more than the 10000"):
        load(tmp_path / "x.csv")


def test_rows_of_json_that_share_no_key(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_CELLS", 0)
    columns = {f"c{i}": {str(i): 1} for i in range(3000)}
    (tmp_path / "x.json").write_text(json.dumps(columns))
    with pytest.raises(InputError, match="3000 x 3000 cells"):
        load(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_nested_json(tmp_path, name):
    (tmp_path / name).write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"nested too deeply|not JSON"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=" + "[" * 10_000, "nested too deeply"),
        (".".join("a" * 9000) + "=1", "larger than 16384"),
    ],
)
def test_nested_options(tmp_path, text, message):
    (tmp_path / "o.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "o.toml", [])


@pytest.mark.parametrize("name", ["p.csv", "p.npy", "p.parquet", "p.json", "p.toml"])
def test_pipes(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="a pipe or device, not a file"):
        read_config(tmp_path / name, []) if name == "p.toml" else load(tmp_path / name)


# -- what a table may hold -------------------------------------------------------------------------


def test_parquet_without_the_column_of_its_index(tmp_path):
    dates = pd.date_range("2024", periods=3, name="when")
    pd.DataFrame({"y": [1.0, 2.0, 3.0]}, dates).to_parquet(tmp_path / "x.parquet")
    pq.write_table(
        pq.read_table(tmp_path / "x.parquet").drop_columns(["when"]), tmp_path / "y.parquet"
    )
    assert load(tmp_path / "y.parquet").sequences[0].x[:, 0].tolist() == [1, 2, 3]


def test_bytes_that_are_no_text(tmp_path):
    ids = pa.table({"unique_id": [b"\xff\x01", b"a"], "y": [1.0, 2.0]})
    pq.write_table(ids, tmp_path / "i.parquet")
    assert [s.unique_id for s in load(tmp_path / "i.parquet")] == ["\\xff\x01", "a"]
    pq.write_table(pa.table({"ds": [b"\xff", b"\xfe"], "y": [1.0, 2.0]}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"'ds', row 1: 'b'\\xff'' is not a time"):
        load(tmp_path / "d.parquet")


@pytest.mark.parametrize(
    ("targets", "message"),
    [([1, None], "not all text"), ([b"a", "b"], "not all text"), (["a", "a"], "named twice")],
)
def test_names_of_channels(targets, message):
    with pytest.raises(InputError, match=message):
        load(np.zeros((2, 3, 2)), targets=targets)


def test_series_without_values_are_left_out(caplog):
    frame = pd.DataFrame({"unique_id": list("abcde") * 2, "ds": [0] * 5 + [1] * 5, "y": 1.0})
    frame.loc[frame["unique_id"] == "b", "y"] = np.nan
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = load(frame)
    assert [s.unique_id for s in data] == list("acde")
    assert [s.x[:, 0].tolist() for s in data] == [[1, 1]] * 4
    assert caplog.messages == ["data: left out a series without any observed value: b"]
    caplog.clear()
    frame.loc[frame["unique_id"] != "a", "y"] = np.nan
    with caplog.at_level(logging.WARNING, "seqlatent"):
        assert len(load(frame)) == 1
    assert caplog.messages == [
        "data: left out 4 of 5 series without any observed value: b, c, d, e"
    ]
    with pytest.raises(InputError, match="no observed value"):
        load(frame[frame["unique_id"] == "b"])


# -- runs ------------------------------------------------------------------------------------------


@pytest.fixture
def own_run(place, rnn_run) -> Path:
    shutil.copytree(rnn_run, place / "run")
    return place / "run"


def rewrite(run: Path, change) -> None:
    """Change the weights, and the digest with them, as one would who means harm."""
    weights = safetensors.torch.load_file(run / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, run / "model.safetensors")
    config = json.loads((run / "config.json").read_text())
    content = (run / "model.safetensors").read_bytes()
    config["digest"] = hashlib.blake2b(content, digest_size=16).hexdigest()
    (run / "config.json").write_text(json.dumps(config))


def test_a_bit_of_the_weights_is_flipped(own_run, place, capsys):
    content = bytearray((own_run / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (own_run / "model.safetensors").write_bytes(content)
    refuse(["score", "run", "elnino"], "model.safetensors damaged content", place, capsys)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_are_finite(own_run, place, capsys, value):
    rewrite(own_run, lambda weights: weights["head.linear.bias"].fill_(value))
    refuse(["score", "run", "elnino"], "head.linear.bias not finite", place, capsys)


@pytest.mark.parametrize(("name", "value"), [("hidden_dim", 8000), ("num_layers", 10**6)])
def test_a_model_larger_than_its_weights_is_not_built(own_run, place, capsys, name, value):
    config = json.loads((own_run / "config.json").read_text())
    config["options"][name] = value
    (own_run / "config.json").write_text(json.dumps(config))
    refuse(["score", "run", "elnino"], "config.json much larger", place, capsys)


def test_a_run_of_pipes(own_run, place):
    (own_run / "model.safetensors").unlink()
    os.mkfifo(own_run / "model.safetensors")
    with pytest.raises(InputError, match="a pipe or device"):
        load_model(own_run)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": []},
        {"categories": {"z": ["a"]}},
        {"covariate_loc": [1.0]},
        {"covariate_names": [1]},
        {"seasons": ["x"]},
        {"seasons": [-2]},
        {"frequency": "never"},
        {"frequency": [1]},
        {"start": 5},
        {"num_series": "x"},
    ],
)
def test_descriptions_are_checked(own_run, changes):
    config = json.loads((own_run / "config.json").read_text())
    config["description"] |= changes
    (own_run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json: damaged"):
        load_model(own_run)


# -- terminals and spreadsheets --------------------------------------------------------------------

ESCAPES = "\x1b[2J\x07\r\u202e"


def test_escape_sequences_do_not_reach_the_terminal(place, capsys):
    name = f"shop{ESCAPES}"
    frame = pd.read_csv(pd.io.common.StringIO(GOOD))
    pd.concat([frame.assign(unique_id=i) for i in (name, "b")]).to_json("d.json", orient="records")
    assert run_command(["fit", "d.json", "--out", "run", *TINY[:-1]]) == 0
    assert run_command(["score", "run", "d.json"]) == 0
    assert run_command(["forecast", "run", "d.json", "--prediction-length", "2"]) == 0
    frame.assign(unique_id=name, y="oops").assign(ds=0).to_json("bad.json", orient="records")
    assert run_command(["score", "run", "bad.json"]) == 2
    shown = "".join(capsys.readouterr())
    assert "shop\\x1b[2J\\x07\\r\\u202e" in shown
    assert not set(shown) & set(ESCAPES) - set("[2J")


def test_texts_stay_as_they_are():
    text = "Zürich, Île-de-France: 数据 \N{SNOWMAN} a\xa0b"
    assert one_line(text) == text


def test_formulas_are_quoted_on_request(place, tmp_path):
    frame = pd.DataFrame(
        {
            "unique_id": ["=1+1", "+a", "-b", "@c", "d"],
            "ds": pd.date_range("2024", periods=5),
            "y": [-1.0, 2, 3, 4, 5],
            "=z": ["\tx", None, "", "=", "a=b"],
        }
    )
    write_table(frame, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv")["unique_id"].tolist() == frame["unique_id"].tolist()
    write_table(frame, tmp_path / "t.csv", spreadsheet_safe=True)
    assert (tmp_path / "t.csv").read_text() == (
        "unique_id,ds,y,'=z\n'=1+1,2024-01-01,-1.0,'\tx\n'+a,2024-01-02,2.0,\n"
        "'-b,2024-01-03,3.0,\n'@c,2024-01-04,4.0,'=\nd,2024-01-05,5.0,a=b\n"
    )


def test_commands_quote_formulas_on_request(place, rnn_run, run):
    rows = "".join(f"=a,{t}-01,{t % 5}.5\n" for t in range(2000, 2003))
    Path("d.csv").write_text("unique_id,ds,y\n" + rows)
    for option, quote in (([], ""), (["--spreadsheet-safe"], "'")):
        run("score", rnn_run, "d.csv", "--out", "s.csv", *option)
        assert pd.read_csv("s.csv")["unique_id"].tolist() == [f"{quote}=a"]


# -- many ------------------------------------------------------------------------------------------


def test_damaged_files_and_runs(tmp_path, monkeypatch, rnn_run, latent_run):
    """A hundred of the cases that `scripts/fuzz.py` has thousands of."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    fuzz = importlib.import_module("fuzz")
    for kind in ("files", "runs", "files-out", "runs-out"):
        (tmp_path / kind).mkdir()
    fuzz.write_files(tmp_path / "files")
    for name, source in (("rnn", rnn_run), ("latent", latent_run)):
        shutil.copytree(source, tmp_path / "runs" / name)
    outcomes = []
    for kind, count in (("files", 80), ("runs", 20)):
        for number in range(count):
            folder = tmp_path / f"{kind}-out" / str(number)
            folder.mkdir()
            outcomes.append(fuzz.case(kind, number, 0, tmp_path, folder))
    assert [o for o in outcomes if o[0] not in ("read", "refused")] == []
    assert {o[0] for o in outcomes} == {"read", "refused"}
