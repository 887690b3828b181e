"""What is known of the steps ahead: covariates, and values of a scenario ("what if").

A table of the future may hold values of the targets, some cells of some steps. The forecast is then
that of the others given these: p(unknown | history, known). `linear-gaussian` samples it exactly,
by its smoother; other models by weighted paths, as they fill gaps (`seqlatent.tasks.imputing`). A
path weighs as much as the probability that it gives to the known values. Few paths count where
these are many, or improbable.
"""

import logging
from collections.abc import Sequence as Seq
from dataclasses import replace

import numpy as np
import torch

from seqlatent.data.calendar import calendar_features, from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.imputation import FEW, given_some
from seqlatent.inference.protocols import ExactPosterior, Fillable
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.prepare import check_values, recode
from seqlatent.text import counted, shortened

logger = logging.getLogger("seqlatent")


def known_ahead(
    data: SequenceDataset, s: Sequence, ds: np.ndarray, future: SequenceDataset | None
) -> np.ndarray:
    """(H, C + S + P) what is known of the steps after a series besides values: covariates, static
    features, and past covariates up to now; see `Sequence.known`.

    Raises:
        InputError: where covariates are missing.
    """
    lagged = np.full((len(ds), len(data.past_names)), np.nan)
    if s.lagged is not None:
        lagged[0] = s.lagged[-1]
    static = np.tile(s.static_values, (len(ds), 1))
    return np.hstack([_covariates_ahead(data, s, ds, future), static, lagged])


def _covariates_ahead(
    data: SequenceDataset, s: Sequence, ds: np.ndarray, future: SequenceDataset | None
) -> np.ndarray:
    """(H, C): those of the calendar are computed, others looked up."""
    names = data.covariate_names
    named = from_data(names)
    if not named:
        return calendar_ahead(ds, names)
    if future is None:
        raise InputError(
            f"the model was fitted with the covariate '{named[0]}': give its values for the steps "
            "ahead (--future FILE)"
        )
    match = next((f for f in future if f.unique_id == s.unique_id), None)
    if match is None or match.ds.dtype.kind != ds.dtype.kind:
        lacking = ds
    else:
        lacking = ds[~np.isin(ds, match.ds)]
    if match is None or len(lacking):
        steps = shortened([show_step(step) for step in lacking])
        raise InputError(
            f"{future.name}: covariates of series '{s.unique_id}' are missing for "
            f"{'the step' if len(lacking) == 1 else 'the steps'} {steps}"
        )
    places = np.searchsorted(match.ds, ds)
    columns = []
    for name in names:
        if name not in named:
            columns.append(calendar_features(ds, [name])[:, 0])
        else:
            columns.append(match.covariates[places, future.covariate_names.index(name)])
    return np.stack(columns, 1)


def calendar_ahead(ds: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(H, C) phases of the calendar at the steps."""
    return calendar_features(ds, names) if names else np.zeros((len(ds), 0))


def given_ahead(
    model: SequenceModel,
    data: SequenceDataset,
    steps: Seq[np.ndarray],
    future: SequenceDataset | None,
) -> list[np.ndarray | None]:
    """The values of the steps ahead that a scenario gives.

    Args:
        model: fitted.
        data: the histories, prepared for the model.
        steps: the (H,) steps ahead of each series.
        future: with any of the targets; values at steps of the history are not used.

    Returns:
        of each series (H, D) values in data units, NaN where not given; None where none is.

    Raises:
        InputError: for values at other steps than those ahead or that do not fit the model, where
            nothing is left to forecast, and for a model that cannot be given values.
    """
    nothing: list[np.ndarray | None] = [None] * len(data)
    targets = [t for t in data.targets if future is not None and t in future.targets]
    if future is None or not targets:
        return nothing
    theirs = np.array([future.targets.index(t) for t in targets])
    ours = np.array([data.targets.index(t) for t in targets])
    by_name = {f.unique_id: f for f in future}
    found = list(nothing)
    for i, (s, ds) in enumerate(zip(data, steps, strict=True)):
        match = by_name.pop(s.unique_id, None)
        if match is None or np.isnan(match.x[:, theirs]).all():
            continue
        x = np.full((len(ds), data.num_channels), np.nan)
        places, rows = _places(match, theirs, s, ds, future.name)
        x[np.ix_(places, ours)] = match.x[np.ix_(rows, theirs)]
        found[i] = None if np.isnan(x).all() else x
    others = [name for name, f in by_name.items() if np.isfinite(f.x[:, theirs]).any()]
    if others:
        logger.warning(
            "%s: left out the values of %s, which %s has no series of that name for",
            future.name,
            shortened([f"'{name}'" for name in others]),
            data.name,
        )
    return found if all(x is None for x in found) else _checked(model, data, steps, found, future)


def _places(
    match: Sequence, targets: np.ndarray, s: Sequence, ds: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the (H,) steps ahead of a series the future has, and its rows for them."""
    ahead = f"its steps ahead are {show_step(ds[0])} to {show_step(ds[-1])}"
    if match.ds.dtype.kind != ds.dtype.kind or not np.isin(ds, match.ds).any():
        raise InputError(
            f"{name}: series '{s.unique_id}' has values at other steps than those ahead: {ahead}"
        )
    given = np.isfinite(match.x[:, targets]).any(1)
    outside = given & (match.ds > s.ds[-1]) & ~np.isin(match.ds, ds)
    if outside.any():
        step = match.ds[int(np.argmax(outside))]
        raise InputError(
            f"{name}: series '{s.unique_id}' has a value at step {show_step(step)}, and {ahead}; "
            "leave it out, or forecast as far (prediction_length)"
        )
    rows = np.flatnonzero(np.isin(match.ds, ds))
    return np.searchsorted(ds, match.ds[rows]), rows


def _checked(
    model: SequenceModel,
    data: SequenceDataset,
    steps: Seq[np.ndarray],
    found: list[np.ndarray | None],
    future: SequenceDataset,
) -> list[np.ndarray | None]:
    """The values with the model's codes of labels, once it is known that it can be given them."""
    if all(x is not None and np.isfinite(x).all() for x in found):
        raise InputError(
            f"{future.name}: every value of the steps ahead is given, and nothing is left to "
            f"forecast; leave cells of {', '.join(data.targets)} empty, or leave the columns out"
        )
    if not isinstance(model, ExactPosterior | Fillable):
        raise InputError(
            f"{future.name}: model '{model.family}' cannot forecast given values of the steps "
            "ahead; leave the targets out, or use another model, such as rnn or linear-gaussian"
        )
    if model.scaler.moving and isinstance(model, ExactPosterior):
        raise InputError(
            f"{future.name}: the model scales each value by the values before it (scaling="
            f"{model.scaler.scaling}), so it cannot forecast given later ones; fit one with "
            "scaling=global"
        )
    places = [i for i, x in enumerate(found) if x is not None]
    known = [x for x in found if x is not None]
    pieces = [
        Sequence(data.sequences[i].unique_id, steps[i], x, np.zeros((len(x), 0)))
        for i, x in zip(places, known, strict=True)
    ]
    labels = {t: names for t, names in future.categories.items() if t in data.targets}
    given = SequenceDataset(tuple(pieces), data.targets, categories=labels, name=future.name)
    given = recode(given, model.description)
    whole = [
        replace(
            data.sequences[i],
            ds=np.concatenate([data.sequences[i].ds, piece.ds]),
            x=np.concatenate([data.sequences[i].x, piece.x]),
            covariates=np.zeros((len(data.sequences[i]) + len(piece), 0)),
            scaled=None,
            absent=None,
            static=None,
            lagged=None,
        )
        for i, piece in zip(places, given, strict=True)
    ]
    alone = {"covariate_names": (), "static_names": (), "static_labels": {}, "past_names": ()}
    check_values(model, replace(data, sequences=tuple(whole), name=future.name, **alone))
    result: list[np.ndarray | None] = [None] * len(found)
    for i, piece in zip(places, given, strict=True):
        result[i] = piece.x
    number = sum(int(np.isfinite(x).sum()) for x in known)
    logger.info(
        "%s: %s of the steps ahead given, in %d of %d series; the others are sampled given them",
        future.name,
        counted(number, "value"),
        len(places),
        len(data),
    )
    return result


def paths_given(
    model: SequenceModel,
    s: Sequence,
    ds: np.ndarray,
    given: np.ndarray,
    covariates: np.ndarray,
    num_samples: int,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Joint paths of the steps after a series given some of their values.

    Args:
        model: with `ExactPosterior` or `Fillable`.
        s: the history.
        ds: (H,) the steps ahead.
        given: (H, D) values in data units, NaN where not given.
        covariates: (H, C).
        num_samples: S.
        seed: of the noise.

    Returns:
        (S, H, D) paths in data units; and the effective number of distinct paths that were weighed,
        at the step where it is least, NaN where paths have no weights.

    Raises:
        InputError: where the given values are so improbable that no path has a weight.
    """
    missing = np.isnan(given)
    paths = np.broadcast_to(given, (num_samples, *given.shape)).copy()
    if not missing.any():
        return paths, float("nan")
    training = model.training
    model.eval()
    try:
        ahead = Sequence(s.unique_id, ds, given, covariates)
        noise = SequenceNoise([s.unique_id], seed)
        with torch.no_grad():
            values, ess = given_some(model, s, ahead, num_samples, noise)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"series '{s.unique_id}': {error}") from None
    finally:
        model.train(training)
    paths[:, missing] = values.double().cpu().numpy()[:, missing]
    sizes = ess[torch.from_numpy(missing.any(1)).to(ess.device)]
    return paths, float(sizes.min())


def warn_of_few(names: Seq[str], sizes: Seq[float]) -> None:
    """Say where the weights of paths leave too few of them to trust."""
    few = [i for i, size in enumerate(sizes) if size < FEW]
    if not few:
        return
    worst = min(few, key=lambda i: sizes[i])
    logger.warning(
        "in %d of %d series with given values the forecast rests on fewer than %g effective paths "
        "(%.1f in series %s): the model finds the values improbable; do not trust its quantiles, "
        "and give fewer values or likelier ones",
        len(few),
        len(sizes),
        FEW,
        sizes[worst],
        names[worst],
    )
