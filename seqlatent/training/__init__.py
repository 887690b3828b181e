"""Fitting: options, batches, the loop, checkpoints and messages.

All options of training are in `options.py`; `seqlatent models NAME` lists them beside those of the
model. The budget is in steps (`max_steps`) or minutes (`max_minutes`). Training stops early when
the held-out likelihood has stopped rising, and keeps the parameters that scored best.

What is held out is a tenth (`valid`): whole series from ten series on, else the last steps of each
(`valid_by`). Where the model is to forecast H steps, `prediction_length=H` holds out windows as
forecasts will meet them: the last H steps, or more such windows, of every series, scored given its
past in nats per step. Those steps do not train; series too short for a window train as a whole.

A batch has a sixteenth of the sequences, at least 8 and at most 64 (`batch_size`). Long series are
cut into windows, each conditioned on the steps before it.

Augmentation is random and off by default: `shift_channels` transposes piano rolls, `noise` adds
noise to values, `hide` removes values, and `dropout` and `input_dropout` drop features. With
`average=0.995` training keeps a moving average of the parameters.

An interrupted fit resumes with `resume` and ends as if it had not been interrupted, bit for bit if
the budget is in steps. On a busy machine, one thread is often faster than several.
"""

from seqlatent.training.checkpoint import load_model, save_model
from seqlatent.training.fitting import FitResult, fit
from seqlatent.training.options import TrainingOptions

__all__ = [
    "FitResult",
    "TrainingOptions",
    "fit",
    "load_model",
    "save_model",
]
