"""The pictures of a comparison: each with its name, a caption and a text in its place."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.comparing.families import NO_CODE
from seqlatent.comparing.measuring import Measured, Trials
from seqlatent.comparing.parts import FROM
from seqlatent.comparing.results import Comparison
from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots import (
    has_exact_latents,
    plot_differences,
    plot_drawn,
    plot_exact_latents,
    plot_extremes,
    plot_latents,
    plot_regimes,
    plot_scores,
)
from seqlatent.plots.rolls import MAX_CURVES
from seqlatent.tasks.encoding import infer_latents
from seqlatent.tasks.evaluation import MODEL, NAIVE
from seqlatent.tasks.regimes import FoundRegimes
from seqlatent.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("seqlatent")

NUM_EXTREME = 3  # sequences drawn on either side
NUM_CODED, CODED_STEPS, MAX_LATENTS = 2, 256, 4  # what is drawn of latents


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture.

    Attributes:
        name: of its file, without an ending.
        title: a few words.
        text: what it shows, for who cannot see it.
        caption: how to read it.
        figure: of matplotlib.
    """

    name: str
    title: str
    text: str
    caption: str
    figure: "Figure"


def overview(comparison: Comparison) -> Iterator[Picture]:
    """Differences of likelihood and of CRPS from the best model."""
    kinds = (
        ("likelihood", comparison.nats(), "nats per step less the best; higher is better"),
        ("forecasts", comparison.forecasts("crps"), "CRPS less the best; lower is better"),
    )
    for name, found, label in kinds:
        if len(found) < 2:
            continue
        order = list(found)
        less, errors = (np.array([found[n][i] for n in order]) for i in (1, 2))
        listed = ", ".join(f"{n} {d:.3g}" for n, d in zip(order, less, strict=True))
        yield Picture(
            name, f"{name.capitalize()}: differences from the best",
            f"Each model's difference from the best one, {order[0]}: {listed}.",
            "Bars are one standard error of the difference. Blue: within it.",
            plot_differences(order, less, errors, label),
        )  # fmt: skip


def pictures_of(m: Measured, trials: Trials) -> Iterator[Picture]:
    """The pictures of a fitted model, as far as there is something to draw."""
    makers: tuple[Callable[[Measured, Trials], Picture | None], ...] = (
        _forecasts, _drawn, _scores, _extremes, _latents,
    )  # fmt: skip
    for make in makers:
        try:
            picture = make(m, trials)
        except Exception as error:  # a picture less is better than no page
            logger.debug("a picture of %s failed", m.name, exc_info=error)
            continue
        if picture is not None:
            yield picture


def _forecasts(m: Measured, trials: Trials) -> Picture | None:
    if m.evaluation is None or len(trials.parts.test.categories) == trials.parts.test.num_channels:
        return None
    summary = m.evaluation.summary.set_index(["measure", "method"])["value"]
    inside = summary.get(("coverage_90", MODEL), np.nan)
    text = (
        f"Forecasts of {m.name} on test data, their PIT histogram, the coverage of their intervals "
        f"and CRPS by steps ahead. {inside:.0%} of the values lie in the 90 % interval; the mean "
        f"CRPS is {summary.get(('crps', MODEL), np.nan):.4g}, that of the seasonal naive forecast "
        f"{summary.get(('crps', NAIVE), np.nan):.4g}."
    )
    caption = (
        "Shades are 50 % and 90 % intervals of sampled paths. Flat PIT bars inside the grey band "
        "are calibrated; a hump in the middle says that intervals are too wide, high ends that "
        "they are too narrow."
    )
    return Picture("forecasts", "Forecasts of test data, and PIT", text, caption,
                   m.evaluation.plot())  # fmt: skip


def _drawn(m: Measured, trials: Trials) -> Picture | None:
    if m.drawn is None:
        return None
    given = "given the steps before" if trials.parts.continues else "from nothing"
    text = (
        f"On the left {counted(len(trials.real), 'real test sequence')}, on the right as many "
        f"drawn by {m.name} {given}, on the same scale."
    )
    marked = "" if len(trials.real.targets) > MAX_CURVES else "Three of each stand out in blue. "
    caption = f"{marked}The two sides should look alike."
    # Windows begin at different steps: both sides are drawn from step 0 on.
    real, drawn = _from_zero(trials.real), _from_zero(m.drawn)
    return Picture("drawn", "Drawn beside real sequences", text, caption, plot_drawn(real, drawn))


def _scores(m: Measured, trials: Trials) -> Picture | None:
    if m.scores is None or m.steps is None:
        return None
    nats = m.scores["nats_per_step"]
    if len(nats) > 2:
        text = (
            f"Histogram of the log-likelihoods of {len(nats)} test sequences by {m.name}, from "
            f"{nats.min():.3g} to {nats.max():.3g} nats per step, and the most unusual sequences."
        )
    else:
        text = f"The test series, and below it the surprise of {m.name} at every step, in nats."
    test = replace(
        trials.parts.test, sequences=tuple(s.slice(s.context, len(s)) for s in trials.parts.test)
    )
    caption = "Low likelihood, high surprise: what the model did not expect."
    return Picture("scores", "Scores of test sequences", text, caption,
                   plot_scores(test, m.scores, m.steps, num_unusual=NUM_EXTREME))  # fmt: skip


def _extremes(m: Measured, trials: Trials) -> Picture | None:
    ranked = extremes(m, trials)
    if ranked is None:
        return None
    data, likely, unlikely = ranked
    first, last = ([name for name, _ in side] for side in (likely, unlikely))
    text = f"Most likely by {m.name}: {', '.join(first)}. Least likely: {', '.join(last)}."
    caption = "Grey: other test sequences."
    figure = plot_extremes(data, first, last)
    return Picture("extremes", "Most and least likely", text, caption, figure)


Ranked = list[tuple[str, float]]  # names and nats per step


def extremes(m: Measured, trials: Trials) -> tuple[SequenceDataset, Ranked, Ranked] | None:
    """The sequences, or windows of a few long ones, that can be told apart by their likelihood; the
    most and the least likely of them; None where there are too few."""
    if m.scores is None or m.steps is None:
        return None
    if len(m.scores) > 2 * NUM_EXTREME:
        data = replace(
            trials.parts.test,
            sequences=tuple(s.slice(s.context, len(s)) for s in trials.parts.test),
        )
        rows = list(zip(m.scores["unique_id"], m.scores["nats_per_step"], strict=True))
    else:
        data, rows = trials.real, []
        steps = {str(k): v.set_index("ds")["log_prob"] for k, v in m.steps.groupby("unique_id")}
        for s in data:
            series = s.unique_id.rpartition(FROM)[0]
            if series in steps:
                nats = np.asarray(steps[series].reindex(s.ds), dtype=float)
                rows.append((s.unique_id, float(nats.mean())))
    ranked = sorted(((n, x) for n, x in rows if np.isfinite(x)), key=lambda row: -row[1])
    if len(ranked) <= 2 * NUM_EXTREME:
        return None
    return data, ranked[:NUM_EXTREME], ranked[::-1][:NUM_EXTREME]


def _latents(m: Measured, trials: Trials) -> Picture | None:
    if m.fit.model is None or m.family.latent_code == NO_CODE:
        return None
    model = m.fit.model.module
    test = trials.parts.test[:NUM_CODED]
    found = infer_latents(model, test, seed=trials.seed)
    title = "Latent code of test sequences"
    if isinstance(found, FoundRegimes):
        s = found.series[0]
        last = slice(max(0, len(s.ds) - CODED_STEPS), None)
        figure = plot_regimes(s.unique_id, s.ds[last], s.x[last], s.regime[last],
                              s.probability[last], found.targets)  # fmt: skip
        text = f"A test sequence coloured by the regimes of {m.name}, and their probabilities."
        return Picture("latents", title, text, "Colours are regimes.", figure)
    frame = found.to_frame().groupby("unique_id", sort=False).tail(CODED_STEPS)
    exact = has_exact_latents(frame)
    means = [c for c in frame.columns if c.endswith("_mean")]
    # Those that move most; an unused latent stays where its prior is.
    moving = sorted(means, key=lambda c: -float(np.nanstd(frame[c])))[:MAX_LATENTS]
    kept = [c for c in means if c in moving]
    columns = ["unique_id", "ds", *(x for c in kept for x in (c, c.replace("_mean", "_scale")))]
    frame = frame.filter(columns)
    if exact:
        figure = plot_exact_latents(frame)
        text = f"The exact latents of {m.name} on test data, against a standard normal law."
        caption = "If the model is right, they are independent standard normals."
    else:
        figure = plot_latents(frame)
        text = f"Means of the latents of {m.name} along test sequences, with their scale as shade."
        caption = f"Of {counted(len(means), 'latent')} those that move most."
    return Picture("latents", title, text, caption, figure)


def _from_zero(data: SequenceDataset) -> SequenceDataset:
    sequences = tuple(replace(s, ds=np.arange(len(s))) for s in data)
    return replace(data, sequences=sequences)
