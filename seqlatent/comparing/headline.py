"""Which model one would take, and how sure that is: sentences."""

from collections.abc import Mapping

import numpy as np

from seqlatent.comparing.results import MAIN, REFERENCE, Comparison, plus_minus
from seqlatent.tasks.evaluation import NAIVE
from seqlatent.text import shortened

Ranked = Mapping[str, tuple[float, float, float]]  # value, difference from the best, its error


def headline(comparison: Comparison) -> str:
    """The model to take, and a warning where the seasonal naive forecast is better than all."""
    naive = comparison.forecasts("crps").get(NAIVE)
    warning = " But the seasonal naive forecast has a lower CRPS than every model."
    return _taken(comparison) + (warning if naive is not None and naive[1] < 0 else "")


def _taken(comparison: Comparison) -> str:
    """One or two sentences: the model to take."""
    nats, crps = comparison.nats(), models_of(comparison.forecasts("crps"))
    if not nats and not crps:
        return "No model could be measured on these data; the notes below the table say why."
    if not nats:
        return f"Take {next(iter(crps))} for forecasts{_doubt(crps)}. {NO_LIKELIHOOD}"
    best = next(iter(nats))
    if not crps:
        return f"Take {best}: it has the highest likelihood of the test data{_doubt(nats)}."
    first = next(iter(crps))
    if best == first:
        both = "the highest likelihood of the test data and the best forecasts"
        return f"Take {best}: it has {both}. {_sure(nats, crps)}"
    within = abs(crps[best][1]) <= crps[best][2] if best in crps else False
    if within:
        return (
            f"Take {best}: it has the highest likelihood of the test data{_doubt(nats)}, and its "
            f"forecasts are within one standard error of the best, those of {first}."
        )
    return f"Take {best} to score sequences{_doubt(nats)}, and {first} to forecast{_doubt(crps)}."


NO_LIKELIHOOD = "None of the models has a likelihood."


def answers(comparison: Comparison) -> list[tuple[str, str]]:
    """A question and its answer for likelihood, forecasts and drawn sequences."""
    return [
        ("Likelihood", likelihood_answer(comparison)),
        ("Forecasts", forecast_answer(comparison)),
        ("Drawn sequences", drawn_answer(comparison)),
    ]


def likelihood_answer(comparison: Comparison) -> str:
    nats = comparison.nats()
    if not nats:
        return NO_LIKELIHOOD
    best = next(iter(nats))
    text = f"{best} has the highest likelihood of the test data, {nats[best][0]:.4g} nats per step"
    text += f". {_others(nats, 'nats per step')}"
    estimated = [name for name in nats if comparison[name].family.probability == "estimate"]
    if estimated:
        text += (
            f" The likelihood of {shortened(estimated, 8)} is estimated, and too low on average: "
            "such a model may be better than it looks here."
        )
    return text


def forecast_answer(comparison: Comparison) -> str:
    every = comparison.forecasts("crps")
    crps = models_of(every)
    if not crps:
        return "No forecasts of numbers could be measured."
    best = next(iter(crps))
    steps = comparison.trials.length
    ahead = f"{steps} steps ahead" if steps > 1 else "one step ahead"
    text = f"{best} forecasts best {ahead}, with a mean CRPS of {crps[best][0]:.4g}"
    text += f". {_others(crps, 'of CRPS')}"
    if NAIVE in every:
        worse = [name for name in crps if crps[name][0] >= every[NAIVE][0]]
        if not worse:
            text += " All are better than the seasonal naive forecast."
        else:
            are = "is" if len(worse) == 1 else "are"
            text += f" No better than the seasonal naive forecast {are} {shortened(worse, 8)}."
    return text


def drawn_answer(comparison: Comparison) -> str:
    table = comparison.distances
    table = table[table["measure"] == MAIN]
    found = table.set_index("drawn_by")["value"].to_dict()
    errors = table.set_index("drawn_by")["std_error"].to_dict()
    mine = {n: v for n, v in found.items() if n in {m.name for m in comparison.models}}
    if not mine:
        return "There are too few test sequences without gaps to measure drawn ones against."
    order = sorted(mine, key=lambda name: mine[name])
    best = order[0]
    close = [
        n for n in order[1:]
        if mine[n] - mine[best] <= np.hypot(errors[n], errors[best])
    ]  # fmt: skip
    text = (
        f"Sequences drawn by {best} are nearest to the real ones, at a sliced Wasserstein distance "
        f"of {plus_minus(mine[best], errors[best])}"
    )
    if REFERENCE in found:
        text += f"; real ones are {plus_minus(found[REFERENCE], errors[REFERENCE])} apart"
    if close:
        text += f". Within one standard error of it: {shortened(close, 8)}"
    return f"{text}."


def models_of(found: Ranked) -> dict[str, tuple[float, float, float]]:
    """The models alone, without the seasonal naive forecast."""
    return {name: row for name, row in found.items() if name != NAIVE}


def near(found: Ranked) -> list[str]:
    """The models within one standard error of the best one."""
    best = next(iter(found))
    return [n for n, (_, less, error) in found.items() if n != best and abs(less) <= error]


def _doubt(found: Ranked) -> str:
    """What to add where others are as good."""
    close = near(found)
    if not close:
        return ""
    return f" ({_are(close)} within one standard error)"


def _sure(nats: Ranked, crps: Ranked) -> str:
    """A sentence on how sure both are."""
    close, close_forecasts = near(nats), near(crps)
    if not close and not close_forecasts:
        return "Both differences to the next model are larger than their standard errors."
    named = [("likelihood", close), ("forecasts", close_forecasts)]
    parts = [f"in {what}, {_are(names)}" for what, names in named if names]
    text = " and, ".join(parts)
    return f"{text[:1].upper()}{text[1:]} within one standard error of it."


def _are(names: list[str]) -> str:
    return f"{shortened(names, 3)} {'is' if len(names) == 1 else 'are'}"


def _others(found: Ranked, unit: str) -> str:
    """A sentence on the models next to the best one."""
    names = list(found)
    if len(names) < 2:
        return "There is no other to compare it with."
    close = near(found)
    if close:
        listed = [f"{n} ({plus_minus(found[n][1], found[n][2])})" for n in close]
        verb = "is" if len(close) == 1 else "are"
        return (
            f"{shortened(listed, 6)} {verb} within one standard error of it, so that these data "
            "do not tell them apart (the difference in brackets)."
        )
    second = names[1]
    _, less, error = found[second]
    if not error > 0:
        return f"The next, {second}, is {abs(less):.3g} {unit} behind; there is no error of that."
    sure = "well beyond" if abs(less) >= 2 * error else "between one and two times"
    return f"The next, {second}, is {plus_minus(abs(less), error)} {unit} behind, {sure} its error."
