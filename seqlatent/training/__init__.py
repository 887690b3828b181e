"""Fitting: options, batches, the loop, checkpoints and messages.

All options of training are in `options.py`; `seqlatent models NAME` lists them beside those of the
model. The budget is in steps (`max_steps`) or minutes (`max_minutes`). Training stops early when
the held-out likelihood has stopped rising, and keeps the parameters that scored best. Of models
with a likelihood, a moving average of the parameters is validated beside them and kept where it
scores better, as it often does late in a fit. `average=0.995` keeps the average alone, `average=0`
does without.

What is held out is a tenth (`valid`): whole series from ten series on, else the last steps of each
(`valid_by`). Where the model is to forecast H steps, `prediction_length=H` holds out windows as
forecasts will meet them: the last H steps, or more such windows, of every series, scored given its
past in nats per step. Those steps do not train; series too short for a window train as a whole.

A batch has a sixteenth of the sequences, at least 8 and at most 64 (`batch_size`). Long series are
cut into windows, each conditioned on the steps before it.

Augmentation is random and off by default: `shift_channels` transposes piano rolls, `noise` adds
noise to values, `hide` removes values, and `dropout` and `input_dropout` drop features. Always on
are gaps: networks read some real values as missing, and so learn what follows a gap
(`seqlatent.nn.forgetting`).

An interrupted fit resumes with `resume` and ends as if it had not been interrupted, bit for bit if
the budget is in steps. On a busy machine, one thread is often faster than several.

Several processes, such as one for each GPU of a machine, make one fit together:

    torchrun --nproc_per_node 2 -m seqlatent fit DATA --model latent --out RUN
    accelerate launch --multi_gpu --num_processes 2 -m seqlatent fit DATA --model latent --out RUN

A program of your own that calls `fit` is launched by the same commands, with its file in place of
`-m seqlatent fit ...`. On processors take `torchrun`, give each process its threads
(OMP_NUM_THREADS), and add `--device cpu` where there are GPUs. The fit is that of one process with
the same `batch_size`, which counts the sequences of all processes: they divide a step's sequences
and the held-out ones among them, and noise, dropout included, is drawn for the whole batch. Only
sums are taken in another order. Where training magnifies the last digits, as large learning rates
on few data do, the scores of two fits may end some thousandths of a nat apart, as they do on
another machine. Two exceptions: on GPUs the `dropout` of attention weights is drawn otherwise than
in one process, and so are gamma and Poisson numbers that a model of your own samples in training.

Only the first process writes to RUN, which all must see. Where a process is killed the launcher
ends the others; `--resume` goes on from the last checkpoint, with any number of processes.
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
