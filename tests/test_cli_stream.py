"""`seqlatent stream` through pipes: line by line, interrupted, resumed, and rows that are bad."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import files

from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture
def piped(monkeypatch, capsys):
    """Run `stream` on a text; its status, output and errors."""

    def run(text: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        capsys.readouterr()
        status = run_command(["stream", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def frame(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype={"unique_id": str})


def interleaved(table: Path) -> list[str]:
    """The lines of the shops' table by time, with the header."""
    rows = pd.read_csv(table).sort_values(["ds", "unique_id"], kind="stable")
    return rows.to_csv(index=False).splitlines(keepends=True)


def test_a_pipe_is_the_batch(run, piped, covariate_run, covariate_table):
    lines = interleaved(covariate_table)
    status, out, err = piped("".join(lines), covariate_run, "--quiet")
    assert (status, err) == (0, "")
    assert piped("".join(lines[:5]), covariate_run)[2].count("--tail-draws 200 estimates it") == 1
    drawn = piped("".join(lines[:5]), covariate_run, "--tail-draws", "9")
    assert "tail_probability" not in drawn[2] and frame(drawn[1])["tail_probability"].notna().all()
    found = frame(out)
    assert list(found) == ["unique_id", "ds", "log_prob", "kind", "tail_probability"]
    run("score", covariate_run, covariate_table, "--steps-out", "s.csv")
    keys = ["unique_id", "ds"]
    both = found.merge(pd.read_csv("s.csv"), on=keys, suffixes=("", "_batch"))
    assert len(both) == len(lines) - 1
    np.testing.assert_allclose(both["log_prob"], both["log_prob_batch"], rtol=1e-5, atol=1e-5)


def test_a_state_goes_on_where_it_was_saved(piped, covariate_run, covariate_table):
    header, *rows = interleaved(covariate_table)
    whole = frame(piped("".join([header, *rows]), covariate_run)[1])
    parts = []
    for part in (rows[:31], rows[31:]):
        status, out, _ = piped("".join([header, *part]), covariate_run, "--state", "state")
        assert status == 0
        parts.append(frame(out))
    np.testing.assert_allclose(pd.concat(parts)["log_prob"], whole["log_prob"], rtol=1e-6)
    status, _, err = piped("".join([header, rows[0]]), covariate_run, "--state", "state")
    assert status == 2
    assert "line 2: series 'north': step 2024-01-01 00:00:00 does not come after" in err


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("north,2024-01-03,x,1,sun\n", "line 4: series 'north': 'y' is 'x', which is no number"),
        ("north,2024-01-03,-2,1,sun\n", "line 4: series 'north': column 'y' holds values from -2"),
        ("north,2024-01-03,2,,sun\n", "line 4: series 'north': a row has no covariate 'promo'"),
        ("north,noon,2,1,sun\n", "line 4: series 'north': 'ds' is 'noon', which is neither"),
        ("north,,2,1,sun\n", "line 4: the row has no step in column 'ds'"),
        (",2024-01-03,2,1,sun\n", "line 4: the row has no series name in column 'unique_id'"),
        ("north,2024-01-03,2\n", "line 4: 3 cells where the header has 5"),
        ('north,2024-01-03,"2,1,sun\n', "line 4: it cannot be read"),
    ],
)
def test_a_bad_row_ends_it_and_loses_nothing(bad, words, piped, covariate_run):
    head = "unique_id,ds,y,promo,weather\n"
    good = ["north,2024-01-01,3,1,sun\n", "north,2024-01-02,NA,0,rain\n"]
    status, out, err = piped(head + "".join(good) + bad, covariate_run, "--state", "state", "-q")
    assert status == 2
    assert len(err.splitlines()) == 1
    assert words in err
    assert frame(out)["ds"].tolist() == ["2024-01-01", "2024-01-02"]
    assert frame(out)["log_prob"].isna().tolist() == [False, True]
    later = "north,2024-01-03,2,1,sun\n"
    after = frame(piped(head + later, covariate_run, "--state", "state")[1])
    unbroken = frame(piped(head + "".join(good) + later, covariate_run)[1])
    np.testing.assert_allclose(after["log_prob"][0], unbroken["log_prob"][2], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("", [], "there is no input"),
        ("ds,z\n0,1\n", [], "the input has no column 'y'; its header is ds, z"),
        ("y,y\n", [], "two columns of the input are named 'y'"),
        ("y\n", ["--tail-draws", "-1"], "tail_draws=-1"),
        ("y\n", ["--intervals", "80,x"], "--intervals are percentages such as 80,95, not '80,x'"),
        ("y\n", ["--intervals", "0.8,100"], "--intervals are percentages such as 80,95"),
        ("y\n", ["--intervals", "80,80"], "a level twice"),
        ("y\n", ["--intervals", "99.9"], "an interval of 99.9 % needs interval_draws=1999"),
        ("y\n", ["--conformal"], "conformal needs intervals"),
        ("y\n", ["--intervals", "80", "--gamma", "0.1"], "--gamma is the step of --conformal"),
        ("y\n", ["--intervals", "80", "--conformal", "--gamma", "2"], "above 0 and at most 1"),
        ("y\n", ["--state", "no/state"], "there is no folder no"),
        ("y\n", ["--id-column", "shop"], "no column 'shop'"),
        ("y\n", ["--time-column", "day"], "no column 'day'"),
    ],
)
def test_refused(text, arguments, words, piped, rnn_run, place):
    status, out, err = piped(text, rnn_run, "--state", "state", *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert files(place) == []


def test_latents_and_the_next_step_are_written(piped, latent_run, label_run, covariate_table):
    header = "ds,y\n"
    rows = "".join(f"{t},{20 + t % 5}\n" for t in range(4))
    out = piped(header + rows, latent_run, "--samples", 50, "--num-particles", 4)[1]
    found = frame(out)
    latents = [f"z{k}_{part}" for k in (1, 2) for part in ("mean", "scale")]
    ahead = ["next_y_mean", "next_y_q0.05", "next_y_q0.5", "next_y_q0.95"]
    first = ["unique_id", "ds", "log_prob", "kind", "tail_probability"]
    assert list(found) == [*first, *latents, *ahead]
    assert set(found["kind"]) == {"smc"}
    assert found["ds"].tolist() == [0, 1, 2, 3]
    assert (found["next_y_q0.05"] <= found["next_y_q0.95"]).all()
    labels = frame(piped("".join(interleaved(covariate_table)[:5]), label_run, "--samples", 9)[1])
    assert set(labels["next_weather"]) <= {"rain", "sun"}


def test_intervals_are_written_and_go_on_from_a_state(piped, rnn_run):
    """Recalibrated: a row's own columns; with --samples the next step's, those of the next
    row; and the same where the state was saved on the way."""
    values = 20 + np.random.default_rng(0).normal(size=8).round(2)
    lines = [f"{v}\n" for v in values]
    lines[3] = "NA\n"
    asked = ("--intervals", "80,95", "--conformal", "--gamma", 0.1, "--interval-draws", 50)
    whole = frame(piped("y\n" + "".join(lines), rnn_run, *asked, "--samples", 9)[1])
    ends = [f"y_{end}{level}" for level in (80, 95) for end in ("lower", "upper")]
    assert [c for c in whole if c.startswith("y_")] == ends
    assert list(whole)[-4:] == [f"next_{name}" for name in ends]
    ahead = whole[[f"next_{name}" for name in ends]].to_numpy()
    np.testing.assert_allclose(ahead[:-1], whole[ends].to_numpy()[1:], rtol=1e-6)
    parts = [
        frame(piped("y\n" + "".join(part), rnn_run, "--state", "state", *options)[1])
        for part, options in ((lines[:5], asked), (lines[5:], ()))
    ]
    np.testing.assert_allclose(pd.concat(parts)[ends], whole[ends], rtol=1e-6)
    plain = frame(piped("y\n" + "".join(lines), rnn_run, "--intervals", "80,95",
                        "--interval-draws", 50)[1])  # fmt: skip
    assert (plain[ends].iloc[0] == whole[ends].iloc[0]).all()
    assert (plain[ends].iloc[1] != whole[ends].iloc[1]).all()


def test_counts_have_whole_intervals_beside_a_covariate(piped, covariate_run, covariate_table):
    lines = "".join(interleaved(covariate_table)[:9])
    found = frame(piped(lines, covariate_run, "--intervals", "90", "--conformal")[1])
    assert (found[["y_lower90", "y_upper90"]] % 1 == 0).all(axis=None)


@pytest.mark.slow
def test_an_interrupted_pipe_has_said_and_kept_all(rnn_run, piped):
    """Lines come back one by one, before the next is sent; a signal while it waits saves the
    state."""
    command = [sys.executable, "-m", "seqlatent", "stream", str(rnn_run), "--state", "state"]

    def begin() -> subprocess.Popen:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, bufsize=1,
        )  # fmt: skip

    said = []
    for part, number in (([20.5, 21.0, 20.0], signal.SIGINT), ([22.0, 21.5], signal.SIGTERM)):
        process = begin()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("y\n")
        for i, value in enumerate(part):
            process.stdin.write(f"{value}\n")
            process.stdin.flush()
            if i == 0:
                process.stdout.readline()
            said.append(process.stdout.readline().split(","))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert err.splitlines()[-1] == "seqlatent: interrupted"
    assert [int(cells[1]) for cells in said] == [0, 1, 2, 3, 4]
    once = piped("y\n20.5\n21.0\n20.0\n22.0\n21.5\n", rnn_run)[1]
    np.testing.assert_allclose(
        [float(cells[2]) for cells in said], frame(once)["log_prob"], rtol=1e-6
    )
