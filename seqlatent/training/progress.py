"""A progress bar of training, on standard error."""

import sys
from contextlib import contextmanager

from seqlatent.training.options import TrainingOptions
from seqlatent.training.parallel import is_main_process
from seqlatent.training.trainer import Trainer


@contextmanager
def progress_bar(options: TrainingOptions, show: bool | None):
    """A bar of the share of the budget, with the current loss and the best validation score."""
    from tqdm import tqdm

    shown = sys.stderr.isatty() if show is None else show
    disable = not (shown and is_main_process())
    shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed} {postfix}"
    with tqdm(total=100, desc="fitting", leave=False, disable=disable, bar_format=shape) as bar:

        def report(trainer: Trainer) -> None:
            if trainer.step % 10 == 0:
                bar.n = min(100, round(100 * trainer.progress(), 1))
                loss = trainer.loss_sum / max(1, trainer.loss_count)
                bar.set_postfix_str(
                    f"step {trainer.step}, nats per step: now {-loss:.4f}, best {trainer.best:.4f}"
                )

        yield report
