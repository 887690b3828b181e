"""Fitting: options, batches, the loop, checkpoints and messages.

`options.py` has every option of training, and `seqlatent models NAME` lists them beside the
model's. A budget is in steps (`max_steps`) or minutes (`max_minutes`). Training stops early when
the held-out likelihood has stopped rising, and keeps the parameters that scored best.

Batches hold a sixteenth of the sequences, at least 8 and at most 64 (`batch_size`). Long series are
cut into windows, each conditioned on the steps before it.

Augmentation is random and off by default: `shift_channels` moves a piano roll up or down, `noise`
blurs values, `hide` removes them, `dropout` and `input_dropout` drop features; `average=0.995`
keeps a moving average of the parameters.

A fit that was interrupted resumes with `resume` as if it had not been, to the bit where its budget
is in steps. On a machine that is busy with other work, one thread is often faster than several.
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
