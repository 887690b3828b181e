"""Draw docs/overview.png, the picture at the top of the README: a forecast, an anomaly, regimes.

    .venv/bin/python scripts/make_overview.py [--out docs/overview.png]

Left: the yearly number of sunspots, forecast for 1987 to 2008 by a model that was fitted to the
years up to 1986. Right: taxi passengers in New York around the snow storm of January 2015, and how
surprising they are to a model that was fitted to the months before November 2014:
-log p(x_t | x_{<t}) in nats. Below: three regimes of the same series, found without labels: the
mean of each day's probabilities given all values. Takes about three minutes.
"""

import argparse
import logging
from pathlib import Path

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

import seqlatent as sl
from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT

AHEAD, SHOWN = 22, 64  # years of the forecast, and of the history before it
FIRST, LAST = "2015-01-12", "2015-02-01"  # of the taxi picture
STORM = ("2015-01-26 12:00", "2015-01-28 00:00")
SMOOTH = 24  # half hours
REGIMES_FROM, REGIMES_TO = "2014-11-15", "2015-01-31"
NAMED = {  # what was special about a day; the model is not told
    "2014-11-27": "Thanksgiving",
    "2014-12-25": "Christmas",
    "2015-01-01": "New Year",
    "2015-01-19": "King's Day",
    "2015-01-27": "snow storm",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the picture at the top of the README.")
    default = Path(__file__).parent.parent / "docs/overview.png"
    parser.add_argument("--out", type=Path, default=default)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    draw(sunspots(), taxi(), regimes(), args.out)


def sunspots() -> tuple[pd.DataFrame, np.ndarray]:
    """`ds, y` of all years, and (S, AHEAD) paths of the last ones."""
    frame = sl.load("sunspots").to_frame()
    history = frame.iloc[:-AHEAD]
    model = sl.RNN().fit(history, max_steps=1000, device="cpu")
    forecast = model.forecast(history, AHEAD, num_samples=2000)
    return frame, forecast[0].samples[..., 0]


def taxi() -> pd.DataFrame:
    """`ds, y, surprise` of every half hour, surprise in nats."""
    model = sl.RNN().fit("nyc-taxi:train", max_steps=1500, device="cpu")
    frame = sl.load("nyc-taxi").to_frame()
    _, steps = model.score(frame)
    return frame.assign(surprise=-steps["log_prob"].to_numpy())


def regimes() -> pd.DataFrame:
    """The mean probability of each regime, a row for each day, the most frequent one first."""
    data = sl.load("nyc-taxi")
    model = sl.Switching().fit(data, max_steps=800, device="cpu")
    frame = model.encode(data).set_index("ds").filter(like="probability")
    days = frame.groupby(frame.index.floor("D")).mean()
    return days[days.mean().sort_values(ascending=False).index]


def draw(
    sunspots: tuple[pd.DataFrame, np.ndarray], taxi: pd.DataFrame, days: pd.DataFrame, out: Path
) -> None:
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1), height_ratios=(3, 2, 2.2), wspace=0.06)
    draw_forecast(figure.add_subplot(grid[:2, 0]), *sunspots)
    values = figure.add_subplot(grid[0, 1])
    draw_anomaly(values, figure.add_subplot(grid[1, 1], sharex=values), taxi)
    draw_regimes(figure.add_subplot(grid[2, :]), days)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9)
        ax.grid(alpha=0.25, linewidth=0.5)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=170)
    # A palette halves the file, and few lines need no more colours.
    Image.open(out).convert("RGB").quantize(96).save(out, optimize=True)


def draw_forecast(ax: Axes, frame: pd.DataFrame, paths: np.ndarray) -> None:
    history, truth = frame.iloc[-SHOWN - AHEAD : -AHEAD], frame.iloc[-AHEAD:]
    years = np.concatenate([history["ds"].tail(1), truth["ds"]])
    start = np.full((len(paths), 1), history["y"].iloc[-1])  # the fan begins where history ends
    low, below, middle, above, high = np.quantile(
        np.concatenate([start, paths], 1), [0.05, 0.25, 0.5, 0.75, 0.95], axis=0
    )
    ax.plot(history["ds"], history["y"], color=INK, linewidth=1.2, label="known years")
    ax.fill_between(years, low, high, color=ACCENT, alpha=0.18, linewidth=0, label="90 % interval")
    ax.fill_between(
        years, below, above, color=ACCENT, alpha=0.35, linewidth=0, label="50 % interval"
    )
    ax.plot(years, middle, color=ACCENT, linewidth=1.5, label="median")
    ax.plot(truth["ds"], truth["y"], "o", color=ALERT, markersize=3, label="held-out years")
    ax.axvline(years[0], color=SOFT, linewidth=0.8, linestyle=":")
    ax.set_ylabel("sunspots a year", fontsize=9)
    ax.set_title("Forecast: sunspots, 1987 to 2008", fontsize=11, loc="left")
    ax.set_ylim(0, 1.4 * max(high.max(), frame["y"].tail(SHOWN).max()))
    ax.legend(fontsize=9, frameon=False, ncols=2, loc="upper left", handlelength=1.6,
              columnspacing=1.2)  # fmt: skip


def draw_anomaly(values: Axes, surprise: Axes, frame: pd.DataFrame) -> None:
    smooth = np.asarray(frame["surprise"].rolling(SMOOTH, center=True).mean())
    near = frame["ds"].between(pd.Timestamp(FIRST), pd.Timestamp(LAST)).to_numpy()
    ds, y, surprises = (frame[name].to_numpy()[near] for name in ("ds", "y", "surprise"))
    values.plot(ds, y, color=INK, linewidth=0.9)
    values.set_ylabel("passengers", fontsize=9)
    values.set_title("Anomaly: taxis in New York, January 2015", fontsize=11, loc="left")
    values.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    values.tick_params(labelbottom=False)
    surprise.plot(ds, surprises, color=SOFT, linewidth=0.5, label="each half hour")
    surprise.plot(ds, smooth[near], color=ALERT, linewidth=1.6, label="12-hour mean")
    surprise.set_ylim(0, 1.5 * np.nanmax(smooth[near]))
    surprise.set_ylabel("surprise, nats", fontsize=9)
    surprise.legend(fontsize=9, frameon=False, ncols=2, loc="upper left", handlelength=1.6,
              columnspacing=1.2)  # fmt: skip
    storm = mdates.datestr2num(list(STORM))
    for ax in (values, surprise):
        ax.axvspan(*storm, color=ALERT, alpha=0.12, linewidth=0)
        ax.margins(x=0.01)
    top = 1.15 * y.max()
    values.set_ylim(0, top)
    values.text(storm[0], top, "snow storm ", fontsize=10, color=ALERT, ha="right", va="top")
    surprise.xaxis.set_major_locator(mdates.DayLocator(interval=2))
    surprise.set_xlabel("day of January", fontsize=9)
    surprise.xaxis.set_major_formatter(mdates.DateFormatter("%d"))


def draw_regimes(ax: Axes, days: pd.DataFrame) -> None:
    days = days.loc[REGIMES_FROM:REGIMES_TO]
    ds, bottom = mdates.date2num(days.index), np.zeros(len(days))
    for name, colour in zip(days, (ACCENT, SOFT, ALERT), strict=True):
        ax.bar(ds, days[name], 0.9, bottom, color=colour, alpha=0.75)
        bottom += days[name].to_numpy()
    for day, what in NAMED.items():
        ax.annotate(
            what, (mdates.datestr2num(day), 1.02), (0, 9), textcoords="offset points",
            fontsize=9, ha="center", arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.8},
        )  # fmt: skip
    ax.set_ylim(0, 1.28)
    ax.set_yticks([0, 0.5, 1])
    ax.margins(x=0.005)
    ax.set_ylabel("probability", fontsize=9)
    ax.set_title("Regimes: three kinds of taxi days, found without labels", fontsize=11, loc="left")
    ax.xaxis.set_major_locator(mdates.MonthLocator())
    ax.xaxis.set_minor_locator(mdates.WeekdayLocator(0))
    ax.xaxis.set_major_formatter(mdates.DateFormatter("%B %Y"))


if __name__ == "__main__":
    main()
