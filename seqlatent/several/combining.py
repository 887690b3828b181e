"""Mixtures of fitted models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqlatent.api import Model, held, load_model
from seqlatent.choosing import Fit, mix
from seqlatent.data.readers import load_like


def combine(
    models: Sequence[Model | str | Path],
    data: Any = None,
    *,
    weights: str | None = None,
    device: str = "auto",
) -> Model:
    """A mixture of fitted models with likelihoods of every step, exact or by a solver: the weighed
    mean of their predictive densities at every step; see `seqlatent.models.mixture`.

    Args:
        models: fitted models or the folders of such; of the same channels, covariates and labels.
        data: held out from all of them; whatever `seqlatent.load` reads.
        weights: `equal`; `fixed`, those with the highest likelihood of `data`; `moving`, by how
            well each member did on the series so far; by default `fixed` with data, else `equal`.
        device: of the mixture, to which models that are given move: `auto`, a GPU if there is one;
            `cpu` or `cuda`.

    Raises:
        InputError: when a model has no such likelihood or was fitted to other columns, and for
            fixed weights without data.
    """
    fits = []
    for i, given in enumerate(models):
        model = given if isinstance(given, Model) else load_model(given, device=device)
        name = f"model {i + 1}" if model is given else str(given)
        fits.append(Fit(name, model.to(device).module, model.fitted))
    if data is not None and fits:
        data = load_like(data, fits[0].module.description)
    return held(*mix(fits, data, weights))
