"""Short fits, by which choices are made before the fit proper."""

from dataclasses import replace

from seqlatent.choosing.comparing import Parts, held_out_parts
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.base import SequenceModel
from seqlatent.nn.prepared import prepare
from seqlatent.training.fitting import fit
from seqlatent.training.options import TrainingOptions
from seqlatent.training.parallel import from_main

SHARE = 0.3  # of the budget, for the short fits of a choice
TRIAL_STEPS = 300  # of a short fit, at the most


def trial_options(options: TrainingOptions, num: int, enough: int) -> TrainingOptions | None:
    """Options of a short fit, one of `num`; None where the budget does not allow `enough` steps."""
    part = options.share(num / SHARE)
    steps = TRIAL_STEPS if part.max_steps is None else min(TRIAL_STEPS, part.max_steps)
    return replace(part, max_steps=steps) if steps >= enough else None


def short_fit(
    model: SequenceModel,
    train: SequenceDataset,
    held_out: SequenceDataset,
    trial: TrainingOptions,
    enough: int,
    *,
    seed: int,
    device: str,
) -> tuple[int, Parts | None]:
    """Fit a model for a short time: its steps, and its held-out log-likelihoods; None where time
    broke it off before `enough` steps.

    Args:
        model: with new parameters.
        train, held_out: data as they are before they are prepared for its scaling.
        trial: of `trial_options`.
        enough: steps of a fit that tells.
        seed, device: of the fit.
    """
    ready = replace(train, sequences=prepare(model.scaler, train.sequences))
    valid = replace(held_out, sequences=prepare(model.scaler, held_out.sequences))
    steps = fit(model, ready, valid, trial, seed=seed, device=device).steps
    if steps < enough:
        return steps, None
    return steps, from_main(held_out_parts(model, valid, trial.num_particles, seed))


def as_long(trial: TrainingOptions, steps: int) -> TrainingOptions:
    """Options of the other short fits once one of them has taken so many steps: no more than these,
    and time enough to take them, or those that come later on a busy machine would look worse."""
    if trial.max_minutes is None or steps == trial.max_steps:
        return trial
    return replace(trial, max_steps=steps, max_minutes=2 * trial.max_minutes)
