"""The training loop around a `Trainer`, with checkpoints and the choice of the best parameters."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.inference.training_protocols import OwnTraining
from seqlatent.models.base import SequenceModel
from seqlatent.nn.devices import find_device
from seqlatent.text import Summary
from seqlatent.training import clock
from seqlatent.training.augmentation import check_augmentation
from seqlatent.training.checkpoint import fingerprint, load_state
from seqlatent.training.interruption import Interruption
from seqlatent.training.options import TrainingOptions
from seqlatent.training.parallel import from_main, is_main_process, num_processes
from seqlatent.training.selection import score_name, validation_score
from seqlatent.training.trainer import Trainer

logger = logging.getLogger("seqlatent")

CHECKPOINT_SECONDS = 60.0
START_SHARE = 0.33  # of the minutes, for a model's first parameters, at the most


@dataclass(frozen=True, repr=False)
class FitResult(Summary):
    """Facts about a finished fit.

    Attributes:
        curve: a row per validation: step, seconds, train_loss, the validation score (`valid_` and
            its name: `valid_log_prob` if the model has a density), learning_rate.
        best_step: the step whose parameters were kept.
        valid_score: their validation score; in nats per step if the model has a density.
        score_name: name of the score: `log_prob`, or that of the model's own.
        steps, seconds: length of training.
        stopped: why training ended.
    """

    curve: list[dict[str, float]]
    best_step: int
    valid_score: float
    score_name: str
    steps: int
    seconds: float
    stopped: str

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        unit = "nats per step" if self.score_name == "log_prob" else self.score_name
        return "FitResult", [
            ("held-out score", f"{self.valid_score:.4f} {unit}"),
            ("steps", f"{self.steps}, the best at {self.best_step}"),
            ("validations", str(len(self.curve))),
            ("seconds", f"{self.seconds:.1f}"),
            ("stopped", self.stopped),
        ]


def fit(
    model: SequenceModel,
    train: SequenceDataset,
    valid: SequenceDataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    device: str = "auto",
    run: str | Path | None = None,
    resume: bool = False,
    report: Callable[[Trainer], None] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train a model in place; it ends with the parameters that scored best on `valid`.

    Args:
        model: with new parameters.
        train, valid: data with the same channels.
        options: of training.
        seed: of batches and noise.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        run: folder for checkpoints; without one, an interrupted fit cannot resume.
        resume: resume from the folder's checkpoint, if there is one.
        report: called after every step.
        notes: JSON that checkpoints keep for whoever resumes.

    Raises:
        TrainingError: when a loss or gradient is not finite; it says where.
        InputError: when a checkpoint belongs to other data or options, or the model cannot read
            the data.
    """
    find_device(device)
    model.check(train)
    check_augmentation(model, options)
    if isinstance(model, OwnTraining) and (options.l1 or options.l2):
        raise InputError(
            f"l1 and l2 are for models that are trained by one loss, and '{model.family}' has "
            "its own training steps; leave them out"
        )
    identity = {
        "data": [fingerprint(train), fingerprint(valid)],
        "family": model.family,
        "options": asdict(model.options),
        "training": {
            k: v for k, v in asdict(options).items() if k not in ("max_steps", "max_minutes")
        },
        "seed": seed,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        spent = _start(model, train, options)
        trainer = Trainer(model, train, valid, options, seed, device)
        trainer.seconds = spent
        saved = load_state(Path(run)) if run is not None and resume else None
        if resume and not saved:
            logger.info("%s: there is no checkpoint, so that training starts anew", run)
        if saved:
            try:
                _check_identity(Path(run or "."), saved[1]["identity"], identity)
                trainer.restore(*saved)
            except (AttributeError, KeyError, RuntimeError, TypeError):
                raise InputError(
                    f"{run}: its checkpoint is damaged; start again with --overwrite"
                ) from None
        facts = {"identity": identity, "notes": dict(notes or {})}
        stopped = _train(trainer, None if run is None else Path(run), facts, report)
        model.load_state_dict(trainer.best_weights)
        score = trainer.best
        if model.finish(train):
            score = validation_score(model, valid, options.num_particles, seed)
    model.cpu().eval()
    return FitResult(
        trainer.curve,
        trainer.best_step,
        score,
        score_name(model),
        trainer.step,
        from_main(trainer.elapsed()),
        stopped,
    )


def _start(model: SequenceModel, train: SequenceDataset, options: TrainingOptions) -> float:
    """Give a model its first parameters; seconds that it took, which are of the budget."""
    began = clock.seconds()
    most = math.inf if options.max_minutes is None else START_SHARE * 60 * options.max_minutes
    model.start(train, lambda: clock.seconds() - began >= most)
    return clock.seconds() - began


def _train(
    trainer: Trainer,
    run: Path | None,
    facts: dict[str, Any],
    report: Callable[[Trainer], None] | None,
) -> str:
    """Train until the budget is spent or nothing improves; why it ended.

    A checkpoint is written every minute, or less often where that takes longer than a second, and
    when a signal asks the process to end. Several processes are not asked: they would not stop at
    the same step.
    """
    main, alone = is_main_process(), num_processes() == 1
    saved_at, wait = time.perf_counter(), CHECKPOINT_SECONDS
    with Interruption(enabled=run is not None and alone) as interruption:
        while True:
            progress = trainer.progress()
            if progress >= 1 and trainer.step > 0:
                stopped = "the budget was spent"
            elif trainer.decays > trainer.options.max_decays:
                stopped = "the validation score had stopped rising"
            else:
                stopped = ""
            due = trainer.step % trainer.eval_every == 0 and trainer.step > 0
            validated = trainer.curve[-1]["step"] if trainer.curve else 0
            if (due or stopped) and validated < trainer.step:
                trainer.validate(trainer.annealing(progress))
            if run is not None and interruption.received is not None:
                if _save(trainer, run, facts):
                    logger.info("a checkpoint of step %d is saved in %s", trainer.step, run)
                interruption.stop()
            if stopped:
                return stopped
            start = time.perf_counter()
            if run is not None and main and start - saved_at >= wait:
                _save(trainer, run, facts)
                saved_at = time.perf_counter()
                wait = CHECKPOINT_SECONDS * max(1.0, saved_at - start)
            trainer.model.train()
            trainer.train_step(progress)
            if report:
                report(trainer)


def _save(trainer: Trainer, run: Path, facts: dict[str, Any]) -> bool:
    """Whether a checkpoint could be written: if not, say so, for training is worth more."""
    try:
        trainer.save(run, facts)
    except InputError as error:
        logger.warning("%s; training goes on without a checkpoint of step %d", error, trainer.step)
        return False
    return True


def _check_identity(run: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for name, what in (
        ("data", "other data"),
        ("family", "another model"),
        ("options", "other model options"),
        ("training", "other training options"),
        ("seed", "another seed"),
    ):
        if theirs.get(name) != ours[name]:
            raise InputError(
                f"{run}: the interrupted fit had {what}; give the same ones, or --overwrite"
            )
