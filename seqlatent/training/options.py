"""Options of training, and the windows that they lead to."""

from dataclasses import dataclass, field

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import SPLITS

WHOLE_SEQUENCES = 512  # longer ones are cut into windows


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training, the same for every model."""

    max_steps: int | None = field(
        default=None,
        metadata={"help": "training steps at the most (5000, unless minutes are given)", "min": 1},
    )
    max_minutes: float | None = field(
        default=None, metadata={"help": "minutes of training at the most", "above": 0}
    )
    valid: float = field(
        default=0.1, metadata={"help": "share held out for validation", "above": 0, "below": 1}
    )
    valid_by: str = field(
        default="auto",
        metadata={
            "help": "hold out whole series, or each one's last steps (time); auto: series from ten",
            "choices": SPLITS,
        },
    )
    batch_size: int | None = field(
        default=None,
        metadata={"help": "sequences in a step (default: a sixteenth of them, 8 to 64)", "min": 1},
    )
    learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "of Adam, at its highest (default: the model's own, 0.003 to 0.005 for "
            "networks and 0.03 for linear-gaussian)",
            "above": 0,
        },
    )
    warmup_steps: int = field(
        default=50, metadata={"help": "steps over which the learning rate rises", "min": 0}
    )
    cooldown: float = field(
        default=0.4,
        metadata={"help": "last share of the budget, over which it falls", "min": 0, "max": 1},
    )
    patience: int = field(
        default=10, metadata={"help": "validations without gain before it falls", "min": 1}
    )
    decay: float = field(
        default=0.3, metadata={"help": "factor by which it falls then", "above": 0, "below": 1}
    )
    max_decays: int = field(
        default=2, metadata={"help": "falls before training stops early", "min": 0}
    )
    eval_every: int | None = field(
        default=None,
        metadata={"help": "steps between validations (default: an epoch's, 25 to 100)", "min": 1},
    )
    num_particles: int = field(
        default=8, metadata={"help": "particles of the validation score's estimate", "min": 1}
    )
    clip_norm: float = field(
        default=1.0, metadata={"help": "largest norm of the gradient", "above": 0}
    )
    average: float = field(
        default=0.0,
        metadata={
            "help": "keep a moving average of the parameters with this decay, such as 0.995; 0: "
            "the parameters themselves",
            "min": 0,
            "below": 1,
        },
    )
    shift_channels: int = field(
        default=0,
        metadata={
            "help": "channels by which a training sequence is moved up or down at the most, such "
            "as semitones of a piano roll",
            "min": 0,
        },
    )
    noise: float = field(
        default=0.0,
        metadata={
            "help": "normal noise on training values, in standard deviations of their channel",
            "min": 0,
        },
    )
    hide: float = field(
        default=0.0,
        metadata={
            "help": "share of training values that are hidden, so that gaps in later data are "
            "nothing new",
            "min": 0,
            "below": 1,
        },
    )
    l1: float = field(default=0.0, metadata={"help": "penalty on weights' size", "min": 0})
    l2: float = field(default=0.0, metadata={"help": "penalty on weights' square", "min": 0})
    window_length: int | None = field(
        default=None,
        metadata={"help": "scored steps of the windows that long series are cut into", "min": 1},
    )
    window_context: int | None = field(
        default=None, metadata={"help": "steps before a window that it is conditioned on", "min": 0}
    )
    precision: str = field(
        default="no",
        metadata={"help": "mixed precision on a GPU", "choices": ("no", "fp16", "bf16")},
    )

    @property
    def step_budget(self) -> int | None:
        """Steps at the most; None where minutes alone are the budget."""
        if self.max_steps is None and self.max_minutes is None:
            return 5000
        return self.max_steps


def choose_window(data: SequenceDataset, options: TrainingOptions) -> tuple[int, int] | None:
    """(scored steps, context steps) of training windows, or None to take sequences whole.

    Few long series would give few batches: windows are chosen short enough for about sixteen of
    them, but long enough to hold some memory.
    """
    longest, total = int(data.lengths.max()), int(data.lengths.sum())
    length = options.window_length
    if length is None:
        if longest <= WHOLE_SEQUENCES and len(data) >= 8:
            return None
        length = int(np.clip(total // 16, 32, 256))
    context = options.window_context if options.window_context is not None else length // 2
    return None if longest <= length else (length, context)


def choose_batch_size(
    data: SequenceDataset, options: TrainingOptions, window: tuple[int, int] | None
) -> int:
    """Sequences, or windows, in a training step.

    By measurement, in equal time: where sequences are few, batches of 8 to 16 end with a higher
    held-out likelihood than batches of most of them. More than 64 were not needed.
    """
    if options.batch_size is not None:
        return options.batch_size
    pieces = len(data) if window is None else int(np.ceil(data.lengths / window[0]).sum())
    return int(np.clip(-(-pieces // 16), 8, 64))
