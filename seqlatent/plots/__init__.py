"""Pictures of frames, arrays and data sets: forecasts, evaluations, gaps, scores, latents, regimes,
reconstructions, fits, comparisons.

No module here knows a model or a task. Every function returns the figure and, given a path (`.png`,
`.pdf` or `.svg`), writes it. matplotlib is imported only when something is drawn.
"""

from seqlatent.plots.alarms import plot_alarms
from seqlatent.plots.comparing import plot_differences, plot_drawn, plot_extremes
from seqlatent.plots.evaluation import plot_evaluation
from seqlatent.plots.inspection import plot_inspection
from seqlatent.plots.latents import (
    has_exact_latents,
    plot_exact_latents,
    plot_latents,
    plot_maps,
)
from seqlatent.plots.reconstruction import plot_reconstruction
from seqlatent.plots.regimes import plot_regimes
from seqlatent.plots.scores import plot_scores
from seqlatent.plots.series import plot_forecast, plot_imputed, plot_samples
from seqlatent.plots.themes import themed_pngs
from seqlatent.plots.training import plot_training_curve

__all__ = [
    "has_exact_latents",
    "plot_alarms",
    "plot_differences",
    "plot_drawn",
    "plot_evaluation",
    "plot_exact_latents",
    "plot_extremes",
    "plot_forecast",
    "plot_imputed",
    "plot_inspection",
    "plot_latents",
    "plot_maps",
    "plot_reconstruction",
    "plot_regimes",
    "plot_samples",
    "plot_scores",
    "plot_training_curve",
    "themed_pngs",
]
