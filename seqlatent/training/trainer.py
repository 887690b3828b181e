"""One training loop for every model.

Each step's batch and noise are functions of the seed and the step alone. An interrupted fit that
goes on from its checkpoint therefore ends as if it had not been interrupted (bit for bit when the
budget is in steps).

The learning rate warms up, stays, falls by a factor when the validation score stalls, and falls to
nearly nothing over the last part of the budget. What is kept is the best model by validation score.
With `average` what is validated and kept is an exponential moving average of the parameters, which
forgets the noise of single steps (Polyak and Juditsky 1992).
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError, TrainingError
from seqlatent.inference.likelihood import mean_log_prob
from seqlatent.models.base import SequenceModel
from seqlatent.text import Summary
from seqlatent.training.augmentation import augment, check_augmentation
from seqlatent.training.batches import TrainingBatches
from seqlatent.training.checkpoint import fingerprint, load_state, save_state
from seqlatent.training.options import TrainingOptions, choose_batch_size, choose_window

CHECKPOINT_SECONDS = 15.0


@dataclass(frozen=True, repr=False)
class FitResult(Summary):
    """How a fit went.

    Attributes:
        history: a row per validation: step, seconds, train_loss, valid_log_prob, learning_rate.
        best_step: the step whose parameters were kept.
        valid_log_prob: their validation score, nats per step.
        steps, seconds: how long training took.
        stopped: why it ended.
    """

    history: list[dict[str, float]]
    best_step: int
    valid_log_prob: float
    steps: int
    seconds: float
    stopped: str

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return "FitResult", [
            ("held-out score", f"{self.valid_log_prob:.4f} nats per step"),
            ("steps", f"{self.steps}, the best at {self.best_step}"),
            ("validations", str(len(self.history))),
            ("seconds", f"{self.seconds:.1f}"),
            ("stopped", self.stopped),
        ]


class Trainer:
    """The loop's state, and its steps. Use `fit`."""

    def __init__(
        self,
        model: SequenceModel,
        train: SequenceDataset,
        valid: SequenceDataset,
        options: TrainingOptions,
        seed: int,
        device: str,
    ):
        from accelerate import Accelerator  # slow to import

        self.options, self.seed, self.model, self.valid = options, seed, model, valid
        on_cpu = device == "cpu" or not torch.cuda.is_available()
        self.accelerator = Accelerator(
            cpu=on_cpu, mixed_precision=None if on_cpu else options.precision
        )
        window = choose_window(train, options)
        size = choose_batch_size(train, options, window)
        self.batches = TrainingBatches(train, size, window, seed)
        self.highest_rate = options.learning_rate or model.learning_rate
        optimizer = torch.optim.Adam(
            model.parameters(), self.highest_rate, betas=(0.9, 0.99), fused=on_cpu
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.average = averaged(model, options.average) if options.average else None
        steps_per_epoch = sum(1 for _ in self._first_epoch())
        self.eval_every = options.eval_every or int(np.clip(steps_per_epoch, 25, 100))
        self.step, self.decays, self.stale = 0, 0, 0
        self.best, self.best_step = -math.inf, 0
        self.best_weights = _copy(model.state_dict())
        self.history: list[dict[str, float]] = []
        self.loss_sum, self.loss_count = 0.0, 0
        self.seconds, self._clock = 0.0, time.perf_counter()

    def _first_epoch(self):
        step = 0
        while self.batches.epoch(step) == 0:
            yield step
            step += 1

    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self.seconds + time.perf_counter() - self._clock

    def progress(self) -> float:
        """The share of the budget that is spent."""
        o = self.options
        share = 0.0 if o.step_budget is None else self.step / o.step_budget
        if o.max_minutes is not None:
            share = max(share, self.elapsed() / 60 / o.max_minutes)
        if self.accelerator.num_processes > 1:  # all must agree on when to stop
            mine = torch.tensor(share, device=self.accelerator.device)
            share = float(self.accelerator.reduce(mine, "mean"))  # type: ignore[arg-type]
        return share

    def learning_rate(self, progress: float) -> float:
        o = self.options
        rate = (
            self.highest_rate
            * o.decay**self.decays
            * min(1.0, (self.step + 1) / (o.warmup_steps + 1))
        )
        if o.cooldown > 0 and progress > 1 - o.cooldown:
            rate *= max(0.01, (1 - progress) / o.cooldown)
        return rate

    def train_step(self, progress: float) -> None:
        """One step of Adam on the batch that belongs to the step."""
        o, parallel = self.options, self.accelerator
        torch.manual_seed((self.seed * 1_000_003 + self.step * 31 + parallel.process_index) % 2**63)
        sequences = self.batches.sequences(self.step)
        share = sequences[parallel.process_index :: parallel.num_processes] or sequences
        batch = augment(collate(share), o, self.model).to(parallel.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(progress)
        loss = self.wrapped(batch, self.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(_locate(self.model, batch, share, self.step))
        if o.l1 or o.l2:
            loss = loss + _penalty(self.model, o.l1, o.l2)
        parallel.backward(loss)
        norm = parallel.clip_grad_norm_(self.model.parameters(), o.clip_norm)
        if norm is not None and not torch.isfinite(norm) and parallel.mixed_precision == "no":
            name = next(
                n
                for n, p in self.model.named_parameters()
                if p.grad is not None and not torch.isfinite(p.grad).all()
            )
            raise TrainingError(
                f"at training step {self.step} the gradient of {name} is not finite; "
                "lower learning_rate, or look for extreme values in the data"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.model)
        self.step += 1
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1

    def validate(self, rate: float) -> None:
        """Score the held-out data, keep the best parameters, and count stalls."""
        model = self.average.module if self.average else self.model
        assert isinstance(model, SequenceModel)
        value = mean_log_prob(model, self.valid, self.options.num_particles, self.seed)
        if not math.isfinite(value):
            raise TrainingError(
                f"at training step {self.step} the validation score is {value}; lower "
                "learning_rate, or look for extreme values in the data"
            )
        annealing = self.step < getattr(self.model.options, "kl_anneal_steps", 0)
        self.stale = 0 if value > self.best + 1e-4 or annealing else self.stale + 1
        if value > self.best:
            self.best, self.best_step = value, self.step
            self.best_weights = _copy(model.state_dict())
        if self.stale >= self.options.patience:
            self.decays, self.stale = self.decays + 1, 0
        self.history.append(
            {
                "step": self.step,
                "seconds": round(self.elapsed(), 3),
                "train_loss": self.loss_sum / max(1, self.loss_count),
                "valid_log_prob": value,
                "learning_rate": rate,
            }
        )
        self.loss_sum, self.loss_count = 0.0, 0

    def save(self, run: Path, identity: dict[str, Any]) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_weights.items()}
        if self.average:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, p in enumerate(self.model.parameters()):
            for k, v in self.optimizer.state.get(p, {}).items():
                tensors[f"adam.{i}.{k}"] = v
        scalars = {
            "step": self.step,
            "decays": self.decays,
            "stale": self.stale,
            "best": self.best,
            "best_step": self.best_step,
            "history": self.history,
            "seconds": self.elapsed(),
        }
        save_state(run, tensors, {**scalars, "identity": identity})

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.best_weights = part("best.")
        if self.average:
            self.average.load_state_dict(part("average."))
        for i, p in enumerate(self.model.parameters()):
            moments = part(f"adam.{i}.")
            if moments:
                self.optimizer.state[p] = {
                    k: v if k == "step" else v.to(p.device) for k, v in moments.items()
                }
        for name in ("step", "decays", "stale", "best", "best_step", "history", "seconds"):
            setattr(self, name, state[name])
        self._clock = time.perf_counter()


def is_main_process() -> bool:
    """Whether this process is the one that writes, where several train together."""
    from accelerate import PartialState

    return PartialState().is_main_process


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device '{device}' is not one of auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda, but torch sees no GPU here; use device=cpu")


def fit(
    model: SequenceModel,
    train: SequenceDataset,
    valid: SequenceDataset,
    options: TrainingOptions,
    seed: int = 0,
    device: str = "auto",
    run: str | Path | None = None,
    resume: bool = False,
    report: Callable[[Trainer], None] | None = None,
) -> FitResult:
    """Train a model in place; it ends with the parameters that scored best on `valid`.

    Args:
        model: fresh parameters.
        train, valid: data of the same channels.
        options: of training.
        seed: of batches and noise.
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        run: folder for checkpoints; without one an interrupted fit is lost.
        resume: go on from the folder's checkpoint, if there is one.
        report: called after every step.

    Raises:
        TrainingError: when a loss or gradient is not finite; it names where.
        InputError: when a checkpoint belongs to other data or options, or the model cannot read
            the data.
    """
    check_device(device)
    model.check(train)
    check_augmentation(model, options)
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
        trainer = Trainer(model, train, valid, options, seed, device)
        saved = load_state(Path(run)) if run is not None and resume else None
        if saved:
            _check_identity(Path(run or "."), saved[1].get("identity", {}), identity)
            try:
                trainer.restore(*saved)
            except (KeyError, RuntimeError):
                raise InputError(
                    f"{run}: its checkpoint is damaged; begin again with --overwrite"
                ) from None
        stopped = _train(trainer, None if run is None else Path(run), identity, report)
        model.load_state_dict(trainer.best_weights)
    model.cpu().eval()
    return FitResult(
        trainer.history,
        trainer.best_step,
        trainer.best,
        trainer.step,
        trainer.elapsed(),
        stopped,
    )


def _train(
    trainer: Trainer,
    run: Path | None,
    identity: dict[str, Any],
    report: Callable[[Trainer], None] | None,
) -> str:
    saved_at = -math.inf
    while True:
        progress = trainer.progress()
        if progress >= 1:
            stopped = "the budget was spent"
        elif trainer.decays > trainer.options.max_decays:
            stopped = "the validation score had stopped rising"
        else:
            stopped = ""
        due = trainer.step % trainer.eval_every == 0 and trainer.step > 0
        validated = trainer.history[-1]["step"] if trainer.history else 0
        if (due or stopped) and validated < trainer.step:
            trainer.validate(trainer.learning_rate(progress))
            main = trainer.accelerator.is_main_process
            if run is not None and main and time.perf_counter() - saved_at > CHECKPOINT_SECONDS:
                trainer.save(run, identity)
                saved_at = time.perf_counter()
        if stopped:
            return stopped
        trainer.model.train()
        trainer.train_step(progress)
        if report:
            report(trainer)


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


def _locate(model: SequenceModel, batch: SequenceBatch, part: list[Sequence], step: int) -> str:
    """The sentence that names where a loss is not finite."""
    with torch.no_grad():
        for name, value in model.terms(batch).items():
            bad = ~torch.isfinite(value) & batch.scored
            if bad.any():
                i, t = (int(j) for j in bad.nonzero()[0])
                return (
                    f"at training step {step} the term '{name}' is {float(value[i, t])} at series "
                    f"{part[i].unique_id}, step {part[i].ds[t]}; lower learning_rate, or look for "
                    "extreme values in the data"
                )
    return f"at training step {step} the loss is not finite; lower learning_rate"


def _penalty(model: SequenceModel, l1: float, l2: float) -> Tensor:
    weights = [p for p in model.parameters() if p.dim() > 1]  # biases go free
    size = torch.stack([w.abs().sum() for w in weights]).sum()
    square = torch.stack([w.square().sum() for w in weights]).sum()
    return l1 * size + l2 * square


def averaged(model: SequenceModel, decay: float) -> AveragedModel:
    """A copy of a model that follows its parameters: each update goes a share 1 - decay of the way
    to them, and a larger share among the first, so that the random start is soon forgotten."""

    def follow(mean: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        return mean.lerp(now, max(1 - decay, 9 / (10 + int(count))))

    return AveragedModel(model, avg_fn=follow)


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
