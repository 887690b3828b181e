"""The columns of the page's tables: names, what they mean, and which direction is better."""

from seqlatent.measures import MEASURES
from seqlatent.reports import Column

NAMES = {"mmd": "MMD", "sliced": "Sliced Wasserstein"}  # of measures of drawn sequences
MODEL_COLUMN = Column("Model", "Its name; the link leads to its pictures.", numeric=False)
WHAT = (
    Column("Trained by", "What training minimises or maximises.", numeric=False),
    Column("Stochastic", "Whether drawing the same sequence twice gives two different ones, as "
           "observed.", numeric=False),
    Column("Latent code", "Whether a sequence has a code in latent variables: deterministic, or a "
           "distribution (stochastic), and how that is found.", numeric=False),
    Column("Probability", "What is known of p(x) of a sequence: exact; ode, solved for with an "
           "error; a lower bound; an estimate; or none.", numeric=False),
)  # fmt: skip
LIKELIHOOD = (
    Column("Nats per step", "Log-likelihood of the test data for each observed step, in the units "
           "of the data.", "higher"),
    Column("Kind", "How that number was computed, with the error of the computation: exact; ode, "
           "by a solver; smc or iwae, estimates that are too low on average.", numeric=False),
    Column("Nats less the best", "Difference from the model with the most nats per step, with the "
           "standard error of the difference, which pairs the same test sequences, or blocks of "
           "time where there are fewer than ten sequences.", "higher"),
)  # fmt: skip
FORECASTS = (
    Column("CRPS", "Mean continuous ranked probability score of forecasts of test data: the error "
           "of a whole predictive distribution, in the units of the data.", "lower"),
    Column("CRPS less the best", "Difference from the model with the lowest CRPS, with the "
           "standard error of the difference over the same series or windows.", "lower"),
    Column("Energy score", "The same for whole paths: it also judges whether the steps of a path "
           "go together.", "lower"),
    Column("Energy less the best", "Difference from the model with the lowest energy score, with "
           "its standard error.", "lower"),
)  # fmt: skip
COSTS = (
    Column("Fit, s", "Seconds from the beginning to the end of the fit, choices of options "
           "included.", "lower"),
    Column("Processor, s", "Processor time of the fit, which the budget limits. What a model does "
           "before its first step may go beyond it.", "lower"),
    Column("Draw, s", "Seconds to draw all test sequences once more.", "lower"),
    Column("Parameters", "Number of parameters.", ""),
)  # fmt: skip


def drawn_columns(names: list[str]) -> list[Column]:
    """Columns of the measures of drawn sequences."""
    columns = []
    for name in names:
        found = MEASURES[name]
        better = found.better if found.better in ("higher", "lower") else ""
        meaning = f"{found.meaning[:1].upper()}{found.meaning[1:]}."
        meaning += "" if better else f" Best {found.better}."
        columns.append(Column(NAMES.get(name, name.capitalize()), meaning, better))
    return columns
