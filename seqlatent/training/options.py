"""Options of training, and the choice of windows and batch size."""

from dataclasses import dataclass, field, replace

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import SPLITS

WHOLE_SEQUENCES = 512  # steps; longer sequences are cut into windows


@dataclass(frozen=True)
class TrainingOptions:
    """Options of training, the same for every model."""

    max_steps: int | None = field(
        default=None,
        metadata={
            "help": "maximum number of training steps (default: 5000; no limit with max_minutes)",
            "min": 1,
        },
    )
    max_minutes: float | None = field(
        default=None, metadata={"help": "maximum training time in minutes", "above": 0}
    )
    valid: float = field(
        default=0.1,
        metadata={"help": "share of the data held out for validation", "above": 0, "below": 1},
    )
    valid_by: str = field(
        default="auto",
        metadata={
            "help": "what is held out for validation: series, whole series; time, the last steps "
            "of each series; auto: series if there are at least ten, else time",
            "choices": SPLITS,
        },
    )
    prediction_length: int | None = field(
        default=None,
        metadata={
            "help": "steps ahead that forecasts are for: of every series the last windows of so "
            "many steps are held out, about `valid` of it and at least one, and scored given their "
            "past; series too short for one are for training alone (default: see valid_by)",
            "min": 1,
        },
    )
    batch_size: int | None = field(
        default=None,
        metadata={
            "help": "sequences or windows in a training step (default: a sixteenth of all, at "
            "least 8 and at most 64)",
            "min": 1,
        },
    )
    learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "highest learning rate of Adam (default: 0.03 for linear-gaussian, 0.003 to "
            "0.005 for models with networks)",
            "above": 0,
        },
    )
    warmup_steps: int = field(
        default=50,
        metadata={
            "help": "number of first steps over which the learning rate rises to its highest value",
            "min": 0,
        },
    )
    cooldown: float = field(
        default=0.4,
        metadata={
            "help": "share of the budget, at its end, over which the learning rate falls to 1 % of "
            "its value",
            "min": 0,
            "max": 1,
        },
    )
    patience: int = field(
        default=10,
        metadata={
            "help": "number of validations without improvement after which the learning rate is "
            "reduced",
            "min": 1,
        },
    )
    decay: float = field(
        default=0.3,
        metadata={
            "help": "learning-rate decay factor, applied when validation stops improving",
            "above": 0,
            "below": 1,
        },
    )
    max_decays: int = field(
        default=2,
        metadata={
            "help": "number of learning-rate decays after which training stops early, when "
            "validation stops improving again",
            "min": 0,
        },
    )
    eval_every: int | None = field(
        default=None,
        metadata={
            "help": "training steps between validations (default: one epoch, at least 25 and at "
            "most 100 steps)",
            "min": 1,
        },
    )
    num_particles: int = field(
        default=8,
        metadata={
            "help": "particles of the validation score, for models whose likelihood is estimated",
            "min": 1,
        },
    )
    clip_norm: float = field(
        default=1.0,
        metadata={"help": "norm to which larger gradients are clipped", "above": 0},
    )
    average: float | None = field(
        default=None,
        metadata={
            "help": "decay of a moving average of the parameters, such as 0.995, which is then "
            "validated and kept in place of the parameters (0: no average; default: 0.99 for gan "
            "and wgan, 0 for autoencoder; for models with a likelihood held-out data choose "
            "between the parameters and such an average)",
            "min": 0,
            "below": 1,
        },
    )
    shift_channels: int = field(
        default=0,
        metadata={
            "help": "maximum number of channels by which a training sequence is randomly shifted "
            "up or down, such as semitones of a piano roll",
            "min": 0,
        },
    )
    noise: float = field(
        default=0.0,
        metadata={
            "help": "standard deviation of normal noise added to training values, relative to that "
            "of their channel",
            "min": 0,
        },
    )
    hide: float = field(
        default=0.0,
        metadata={
            "help": "share of training values randomly hidden, so that the model learns to read "
            "missing values",
            "min": 0,
            "below": 1,
        },
    )
    l1: float = field(
        default=0.0,
        metadata={"help": "weight of a penalty on the absolute values of weights", "min": 0},
    )
    l2: float = field(
        default=0.0, metadata={"help": "weight of a penalty on the squares of weights", "min": 0}
    )
    window_length: int | None = field(
        default=None,
        metadata={
            "help": "scored steps of each training window that long series are cut into (default: "
            "32 to 256, by the amount of data)",
            "min": 1,
        },
    )
    window_context: int | None = field(
        default=None,
        metadata={
            "help": "steps before each training window that it is conditioned on (default: half of "
            "window_length)",
            "min": 0,
        },
    )
    precision: str = field(
        default="no",
        metadata={
            "help": "mixed precision of training on a GPU",
            "choices": ("no", "fp16", "bf16"),
        },
    )

    @property
    def step_budget(self) -> int | None:
        """The maximum number of steps; None if only minutes are limited."""
        if self.max_steps is None and self.max_minutes is None:
            return 5000
        return self.max_steps

    def less(self, steps: int, seconds: float) -> "TrainingOptions":
        """The same options with what is left of the budget once some of it is spent."""
        budget, minutes = self.step_budget, self.max_minutes
        return replace(
            self,
            max_steps=None if budget is None else max(1, budget - steps),
            max_minutes=None if minutes is None else max(1e-3, minutes - seconds / 60),
        )

    def allows(self, steps: int, seconds: float) -> bool:
        """Whether so many steps or seconds are within the budget."""
        budget, minutes = self.step_budget, self.max_minutes
        enough = budget is None or steps <= budget
        return enough and (minutes is None or seconds <= 60 * minutes)

    def share(self, num: float) -> "TrainingOptions":
        """The same options with one of `num` equal shares of the budget."""
        budget, minutes = self.step_budget, self.max_minutes
        return replace(
            self,
            max_steps=None if budget is None else max(1, int(budget / num)),
            max_minutes=None if minutes is None else minutes / num,
        )


def choose_window(data: SequenceDataset, options: TrainingOptions) -> tuple[int, int] | None:
    """(scored steps, context steps) of training windows, or None for whole sequences.

    A few long series would give few batches. The default window is short enough for about sixteen
    windows, and long enough to contain some temporal dependence.
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

    In our measurements with equal training time, if there are few sequences, batches of 8 to 16
    reach a higher held-out likelihood than batches of most of them. More than 64 did not help.
    """
    if options.batch_size is not None:
        return options.batch_size
    pieces = len(data) if window is None else int(np.ceil(data.lengths / window[0]).sum())
    return int(np.clip(-(-pieces // 16), 8, 64))
