"""Sequences drawn in the place of real ones: as long, with the same past and covariates."""

from dataclasses import replace

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.paths import forecast_paths, sample_paths
from seqlatent.models.base import SequenceModel
from seqlatent.nn.causal import repeat_state
from seqlatent.options import check_seed
from seqlatent.tasks.prepare import check_data


def draw_like(model: SequenceModel, data: SequenceDataset, *, seed: int = 0) -> SequenceDataset:
    """Draw each sequence once more: the steps after its context, from p(x_{c+1:T} | x_{1:c}); from
    nothing where there is no context.

    Covariates and static features are the sequence's own. Past covariates are missing from the
    second drawn step on, as they are in a forecast.

    Args:
        model: a fitted model.
        data: sequences with the training data's channels; of all, as many steps after the context.
        seed: of the draws.

    Returns:
        the drawn steps alone, (T - c) of each sequence.

    Raises:
        InputError: when the data do not fit the model.
    """
    seed = check_seed(seed)
    checked = check_data(model, data, reads_gaps=False)
    known = np.stack([s.as_of(s.context).known[s.context :] for s in checked])
    begun = [i for i, s in enumerate(checked) if s.context]
    anew = [i for i, s in enumerate(checked) if not s.context]
    paths: dict[int, np.ndarray] = {}
    if begun:
        before = [checked.sequences[i] for i in begun]
        histories = [s.slice(0, s.context) for s in before]
        drawn = forecast_paths(model, histories, known[begun], 1, seed)
        paths |= {i: x[0] for i, x in zip(begun, drawn, strict=True)}
    if anew:
        noise = SequenceNoise([checked.sequences[i].unique_id for i in anew], seed)
        state = repeat_state(model.begin(None), len(anew))
        drawn = sample_paths(model, state, known[anew], 1, noise)
        paths |= {i: x[0] for i, x in zip(anew, drawn, strict=True)}
    places = after_context(checked)
    sequences = tuple(replace(s, x=paths[i]) for i, s in enumerate(places))
    return replace(places, sequences=sequences)


def after_context(data: SequenceDataset) -> SequenceDataset:
    """The steps after each sequence's context, as sequences that begin anew."""
    parts = (replace(s.slice(s.context, len(s)), past=None, scaled=None) for s in data)
    return replace(data, sequences=tuple(parts))
