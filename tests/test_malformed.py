"""Bad input from end to end: one clear sentence, exit status 2, and nothing left behind."""

import gzip

import numpy as np
import pytest
import torch
from command_line import GOOD, refuse


def table(*rows: str) -> bytes:
    return "\n".join(rows).encode() + b"\n"


# A file's name, its content, and the words that the sentence about it must have.
FILES = [
    ("empty.csv", b"", "empty.csv is empty"),
    ("blank.csv", b"\n\n  \n", "blank.csv is empty"),
    ("header.csv", b"ds,y\n", "header.csv header but no rows"),
    ("junk.csv", bytes(range(256)), "junk.csv binary"),
    ("latin.csv", "ds,y\n1,2\n2,é\n".encode("latin-1"), "latin.csv UTF-8 line 3"),
    ("short.csv.gz", gzip.compress(GOOD.encode())[:40], "short.csv.gz gzip cut short"),
    ("plain.csv.gz", GOOD.encode(), "plain.csv.gz gzip"),
    ("junk.parquet", b"PAR1 and no more", "junk.parquet cannot be read"),
    ("junk.npy", b"\x93NUMPY", "junk.npy cut short"),
    ("book.xlsx", b"PK", 'book.xlsx save .csv sl.load(pd.read_excel("book.xlsx"))'),
    ("ragged.csv", table("ds,y", "0,1", "1,2,3", "2,4"), "ragged.csv line 3 3 cells"),
    ("cell.csv", table("ds,y", "0,1", "1,oops", "2,4"), "cell.csv 'y' row 2 'oops' not a number"),
    ("twice.csv", table("ds,y", "0,1", "1,3", "1,4"), "twice.csv step 1 rows 2 and 3"),
    ("infinite.csv", table("ds,y", "0,1", "1,inf"), "infinite.csv 'y' row 2 infinite"),
    ("huge.csv", table("ds,y", "0,1", "1,1e300"), "huge.csv 'y' row 2 too large"),
    ("column.csv", table("ds,y", "0,", "1,"), "column.csv 'y' no observed value"),
    ("time.csv", table("ds,y", "2024-01-01,1", "soon,2"), "time.csv 'ds' row 2 'soon' not a time"),
    ("notime.csv", table("ds,y", "2024-01-01,1", ",2"), "notime.csv 'ds' row 2 empty time"),
    ("noid.csv", table("unique_id,ds,y", "a,0,1", ",1,2"), "noid.csv row 2 unique_id"),
    ("same.csv", table("ds,y,y", "0,1,2"), "same.csv two columns 'y'"),
    ("numbers.csv", table("0,1", "1,2"), "numbers.csv first line numbers"),
    ("one.csv", table("ds,y", "0,1"), "one.csv too short"),
]


@pytest.mark.parametrize(("name", "content", "words"), FILES, ids=[name for name, _, _ in FILES])
def test_file(name, content, words, place, capsys):
    (place / name).write_bytes(content)
    refuse(["fit", name, "--out", "run", "--max-steps", "1"], words, place, capsys)


FIT = [
    ("nowhere.csv", "nowhere.csv neither a file nor a bundled"),
    ("folder", "folder is a folder"),
    ("nile:half", "nile 'half' train test"),
    ("nil", "'nil' did you mean 'nile'"),
    ("good.csv --targets z", "good.csv target 'z' known: ds, y"),
    ("good.csv --targets y,y", "good.csv 'y' named twice"),
    ("good.csv --covariates promo", "good.csv covariate 'promo'"),
    ("good.csv --covariates y", "good.csv no target"),
    ("good.csv --id-column shop", "good.csv id 'shop'"),
    ("good.csv --time-column when", "good.csv time 'when'"),
    ("good.csv --calendar week", "good.csv calendar timestamps"),
    ("nile --calendar fortnight", "'fortnight' week"),
    ("gaps.csv --targets y --covariates promo", "gaps.csv 'promo' row 2 empty"),
    ("good.csv --model lstm", "model 'lstm' known: rnn transformer"),
    ("good.csv --set hiden_dim=4", "'hiden_dim' did you mean 'hidden_dim'"),
    ("good.csv --set latent_dim=4", "'latent_dim'"),
    ("good.csv --set hidden_dim", "'hidden_dim' key=value"),
    ("good.csv --set hidden_dim=big", "hidden_dim whole number 'big'"),
    ("good.csv --set hidden_dim=-4", "hidden_dim=-4 at least 1"),
    ("good.csv --set hidden_dim=0", "hidden_dim=0 at least 1"),
    ("good.csv --set learning_rate=nan", "learning_rate finite nan"),
    ("good.csv --set learning_rate=inf", "learning_rate finite inf"),
    ("good.csv --set dropout=1", "dropout=1 below 1"),
    ("good.csv --set cell=rnn", "cell=rnn gru lstm"),
    ("good.csv --set residual=maybe", "residual true or false 'maybe'"),
    ("good.csv --set max_steps=1.5", "max_steps whole number '1.5'"),
    ("good.csv --max-steps 0", "max_steps=0 at least 1"),
    ("good.csv --max-steps few", "'--max-steps' valid integer"),
    ("good.csv --max-minutes 0", "max_minutes=0 above 0"),
    ("good.csv --model transformer --set hidden_dim=6", "hidden_dim=6 num_heads=4"),
    ("good.csv --emission gaussian", "emission 'gaussian' normal"),
    ("good.csv --emission poisson", "'y' counts emission=poisson"),
    ("good.csv --emission negative-binomial", "'y' counts"),
    ("good.csv --emission bernoulli", "'y' emission=bernoulli 0 or 1"),
    ("good.csv --emission categorical", "'y' emission=categorical"),
    ("labels.csv --targets w --emission normal", "'w' labels emission=categorical"),
    ("labels.csv --targets y,w --emission poisson", "'w' labels emission=mixed"),
    ("good.csv --valid 0", "valid=0 above 0"),
    ("good.csv --valid 1", "valid=1 below 1"),
    ("good.csv --valid nan", "valid finite nan"),
    ("good.csv --valid nowhere.csv", "nowhere.csv neither"),
    ("good.csv --valid other.csv", "other.csv target 'y'"),
    ("good.csv --set valid_by=series", "good.csv cannot be split by series valid_by=time"),
    ("good.csv --prediction-length 40", "good.csv prediction_length=40 longest 30 steps"),
    ("good.csv --prediction-length 0", "prediction_length=0 at least 1"),
    ("good.csv --prediction-length 4 --valid good.csv", "prediction_length=4 valid leave one"),
    ("good.csv --prediction-length 4 --set valid_by=series", "prediction_length=4 valid_by=series"),
    ("good.csv --set context_length=40", "good.csv 30 steps context_length=40"),
    ("good.csv --set scaling=prefix", "scaling=prefix running"),
    ("good.csv --config nowhere.toml", "nowhere.toml no such file"),
    ("good.csv --config good.csv", "good.csv not a TOML file"),
    ("good.csv --config folder", "folder cannot be read"),
    ("good.csv --config unknown.toml", "unknown.toml 'hiden_dim' did you mean"),
    ("good.csv --config type.toml", "hidden_dim whole number 'big'"),
    ("good.csv --config valid.toml", "valid number True"),
    ("good.csv --device tpu", "'tpu' auto, cpu, cuda"),
    ("good.csv --threads 0", "--threads 0 at least 1"),
    ("good.csv --plot curve.jpg", "curve.jpg .png"),
    ("good.csv --plot nowhere/curve.png", "nowhere/curve.png no folder make it"),
    ("good.csv --plot folder.png", "folder.png is a folder"),
    ("good.csv --out good.csv", "good.csv is a file --out"),
    ("good.csv --out good.csv/run", "good.csv/run cannot be made"),
    ("good.csv --out /proc/run", "/proc/run cannot be made"),
]


@pytest.mark.parametrize(("line", "words"), FIT, ids=[line for line, _ in FIT])
def test_fit(line, words, place, capsys):
    (place / "good.csv").write_text(GOOD)
    (place / "other.csv").write_text(GOOD.replace("y", "z"))
    (place / "gaps.csv").write_bytes(table("ds,y,promo", "0,1,1", "1,2,", "2,3,0"))
    (place / "labels.csv").write_bytes(table("ds,y,w", "0,1,a", "1,2,b", "2,3,a"))
    (place / "unknown.toml").write_text("[model]\nhiden_dim = 4\n")
    (place / "type.toml").write_text('hidden_dim = "big"\n')
    (place / "valid.toml").write_text("valid = true\n")
    (place / "folder").mkdir()
    (place / "folder.png").mkdir()
    arguments = ["fit", *line.split()]
    if "--out" not in line:
        arguments += ["--out", "run"]
    if "max_steps" not in line and "--max-" not in line:
        arguments += ["--max-steps", "1"]
    refuse(arguments, words, place, capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(place, capsys):
    arguments = ["fit", "nile", "--out", "run", "--device", "cuda"]
    refuse(arguments, "device=cuda no GPU device=cpu", place, capsys)


LINES = [
    ("fitt nile", "No such command 'fitt'"),
    ("fit", "Missing argument 'DATA' seqlatent fit --help"),
    ("fit nile", "Missing option '--out'"),
    ("fit nile --out", "'--out' requires an argument"),
    ("fit nile --out run --colour red", "No such option --colour"),
    ("fit nile sunspots --out run", "unexpected extra argument sunspots"),
    ("score RUN", "Missing argument 'DATA'"),
    ("score nowhere nile", "nowhere no such run seqlatent fit"),
    ("score folder nile", "folder not a run config.json"),
    ("score file nile", "file not a run config.json"),
    ("score RUN nowhere.csv", "nowhere.csv neither"),
    ("score RUN macrodata", "macrodata target 'y'"),
    ("score RUN elnino --num-particles 0", "num_particles=0 at least 1"),
    ("score RUN elnino --out scores.txt", "scores.txt unknown kind .csv .parquet"),
    ("score RUN elnino --out folder.csv", "folder.csv is a folder"),
    ("score RUN elnino --out nowhere/s.csv", "nowhere/s.csv no folder"),
    ("score RUN elnino --out file/s.csv", "file/s.csv no folder"),
    ("score RUN elnino --out /proc/s.csv", "/proc/s.csv cannot be written"),
    ("score RUN elnino --steps-out /proc/s.csv", "/proc/s.csv cannot be written"),
    ("score RUN elnino --out s.csv --steps-out s.csv", "s.csv two outputs"),
    ("score RUN elnino --plot s.gif", "s.gif .png"),
    ("score RUN elnino --plot /proc/s.png", "/proc/s.png cannot be written"),
    ("score RUN elnino --threads -1", "--threads -1 at least 1"),
    ("score RUN elnino --id-column shop", "id_column bundled"),
    ("forecast RUN elnino", "Missing option '--prediction-length'"),
    ("forecast RUN elnino --prediction-length 0", "prediction_length=0 at least 1"),
    ("forecast RUN elnino --prediction-length -3", "prediction_length=-3 at least 1"),
    ("forecast RUN elnino --prediction-length 1 --num-samples 0", "num_samples=0 at least 1"),
    ("forecast RUN elnino --prediction-length 1 --out f.xls", "f.xls unknown kind"),
    (
        "forecast RUN elnino --prediction-length 1 --future bare.csv",
        "bare.csv without covariates targets (y) leave --future",
    ),
    ("sample RUN --num-samples 0 --length 3 --out s.csv", "num_samples=0 at least 1"),
    ("sample RUN --num-samples 3 --length 0 --out s.csv", "length=0 at least 1"),
    ("sample RUN --num-samples 3 --length 3 --out s.csv --start dawn", "start 'dawn' timestamp"),
    ("sample RUN --num-samples 3 --length 3", "Missing option '--out'"),
    ("encode RUN elnino --out z.csv", "'rnn' no latent --model latent"),
    ("encode LATENT elnino --out z.csv --num-samples 1", "num_samples=1 at least 2"),
    ("encode LATENT macrodata --out z.csv", "macrodata target 'y'"),
    ("forecast PROMO SHOP --prediction-length 2", "'promo' --future"),
    (
        "forecast PROMO SHOP --prediction-length 2 --future future.csv",
        "future.csv 'south' 2024-02-10",
    ),
    ("forecast PROMO SHOP --prediction-length 2 --future nile.csv", "nile.csv no file"),
    ("forecast PROMO SHOP --prediction-length 2 --future bare.csv", "bare.csv covariate 'promo'"),
    (
        "forecast PROMO SHOP --prediction-length 2 --future holes.csv",
        "holes.csv 'promo' row 2 empty",
    ),
    ("sample PROMO --num-samples 2 --length 3 --out s.csv", "'promo' use forecast"),
    ("score PROMO negative.csv", "negative.csv 'y' counts"),
    ("score LABELS snow.csv", "snow.csv 'weather' 'snow' rain, sun"),
    ("datasets nil", "'nil' did you mean 'nile'"),
    ("models lstm", "'lstm' known: rnn"),
]


@pytest.mark.parametrize(("line", "words"), LINES, ids=[line for line, _ in LINES])
def test_command(
    line, words, place, capsys, rnn_run, latent_run, covariate_run, label_run, covariate_table
):
    named = {
        "RUN": rnn_run,
        "LATENT": latent_run,
        "PROMO": covariate_run,
        "LABELS": label_run,
        "SHOP": covariate_table,
    }
    (place / "folder").mkdir()
    (place / "folder.csv").mkdir()
    (place / "file").write_text("text")
    ahead = "unique_id,ds,promo\nnorth,2024-02-10,1\nnorth,2024-02-11,0\n"
    (place / "future.csv").write_text(ahead)
    (place / "holes.csv").write_text(ahead.replace("11,0", "11,"))
    (place / "bare.csv").write_text("unique_id,ds\nnorth,2024-02-10\n")
    rows = "2024-01-01,{},0,{}", "2024-01-02,{},0,{}"
    header = "ds,y,promo,weather"
    for name, y, label in (("negative", "-1", "sun"), ("snow", "1", "snow")):
        text = "\n".join([header, *(r.format(y, label) for r in rows)]) + "\n"
        (place / f"{name}.csv").write_text(text)
    arguments = [str(named.get(word, word)) for word in line.split()]
    refuse(arguments, words, place, capsys)


def test_arrays(place, capsys):
    np.save(place / "four.npy", np.zeros((2, 3, 4, 5)))
    np.save(place / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    refuse(["fit", "four.npy", "--out", "run"], "four.npy shape (N, T, D)", place, capsys)
    refuse(["fit", "objects.npy", "--out", "run"], "objects.npy numbers", place, capsys)
    refuse(
        ["fit", "four.npy", "--out", "run", "--calendar", "day"], "four.npy shape", place, capsys
    )
