"""The training steps and validations of every model.

Each step's batch and noise are functions of the seed and the step only, whatever the number of
processes (`parallel.py`). A fit that resumes from its checkpoint therefore ends as if it had not
been interrupted (bit for bit if the budget is in steps and the number of processes the same).

The learning rate rises linearly, stays constant, is multiplied by a decay factor whenever the
validation score has stopped improving, and falls to 1 % over the last part of the budget. The
parameters with the best validation score are kept. Of models with a likelihood, a moving average
of the parameters, which reduces the noise of single steps (Polyak and Juditsky 1992), is validated
beside them, and kept where it is better; with `average` it alone is validated and kept.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.share import sharing, total
from seqlatent.errors import TrainingError
from seqlatent.inference.training_protocols import LossTraining, OwnSelection, OwnTraining
from seqlatent.models.base import SequenceModel
from seqlatent.nn.devices import find_device
from seqlatent.training import clock
from seqlatent.training.augmentation import augment, changing
from seqlatent.training.batches import TrainingBatches
from seqlatent.training.checkpoint import save_state
from seqlatent.training.options import TrainingOptions, choose_batch_size, choose_window
from seqlatent.training.parallel import (
    num_processes,
    same_everywhere,
    share_of,
    sum_gradients,
    summed,
    taken,
)
from seqlatent.training.selection import score_name, validation_score

BESIDE = 0.99  # decay of the average that is validated beside the parameters

# What a checkpoint keeps beside tensors and the time that training took.
SCALARS = ("step", "decays", "stale", "best", "best_step", "curve", "loss_sum", "loss_count",
           "selecting")  # fmt: skip


class Trainer:
    """The state of training, with its steps and validations. Use `fit` (fitting.py)."""

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
        plain = find_device(device).type == "cpu"
        self.accelerator = Accelerator(
            cpu=plain, mixed_precision=None if plain else options.precision
        )
        window = choose_window(train, options)
        size = choose_batch_size(train, options, window)
        self.batches = TrainingBatches(train, size, window, seed, changing(model, options))
        self.highest_rate = options.learning_rate or model.learning_rate
        if isinstance(model, OwnTraining):
            self.wrapped, named = (
                model.to(self.accelerator.device),
                model.optimizers(self.highest_rate),
            )
        else:
            # For evaluation, as it is called: gradients are summed in `_update`, not on the way.
            self.wrapped = self.accelerator.prepare_model(model, evaluation_mode=True)
            named = {
                "adam": torch.optim.Adam(
                    model.parameters(), self.highest_rate, betas=(0.9, 0.99), fused=plain
                )
            }
        same_everywhere(model)
        self.optimizers = {name: self.accelerator.prepare(o) for name, o in named.items()}
        for group in self._groups():
            group["initial_lr"] = group["lr"]
        decay = model.average if options.average is None else options.average
        # Where nothing is said, held-out data choose between the parameters and their average.
        self.both = decay is None and not isinstance(model, OwnTraining | OwnSelection)
        decay = BESIDE if self.both else decay
        self.average = averaged(model, decay) if decay else None
        steps_per_epoch = sum(1 for _ in self._first_epoch())
        self.eval_every = options.eval_every or int(np.clip(steps_per_epoch, 25, 100))
        self.step, self.decays, self.stale = 0, 0, 0
        self.best, self.best_step = -math.inf, 0
        self.best_weights = _copy(model.state_dict())
        self.curve: list[dict[str, float]] = []
        self.loss_sum, self.loss_count = 0.0, 0
        self.selecting = not isinstance(model, OwnSelection)  # whether any were selectable yet
        self.seconds, self._clock = 0.0, clock.seconds()

    def _first_epoch(self):
        step = 0
        while self.batches.epoch(step) == 0:
            yield step
            step += 1

    def elapsed(self) -> float:
        """Seconds of training, including those before an interruption."""
        return self.seconds + clock.seconds() - self._clock

    def progress(self) -> float:
        """The spent share of the budget."""
        o = self.options
        share = 0.0 if o.step_budget is None else self.step / o.step_budget
        if o.max_minutes is not None:
            share = max(share, self.elapsed() / 60 / o.max_minutes)
            # All processes must stop at the same step.
            share = summed((share,), self.accelerator.device)[0] / num_processes()
        return share

    def _groups(self) -> Iterator[dict[str, Any]]:
        for optimizer in self.optimizers.values():
            yield from optimizer.param_groups

    def annealing(self, progress: float) -> float:
        """The current learning rate as a share of its highest value."""
        o = self.options
        share = o.decay**self.decays * min(1.0, (self.step + 1) / (o.warmup_steps + 1))
        if o.cooldown > 0 and progress > 1 - o.cooldown:
            share *= max(0.01, (1 - progress) / o.cooldown)
        return share

    def train_step(self, progress: float) -> None:
        """One training step, on the batch of this step."""
        o = self.options
        torch.manual_seed((self.seed * 1_000_003 + self.step * 31) % 2**63)
        sequences = self.batches.sequences(self.step)
        batch, share = taken(augment(collate(sequences), o, self.model), share_of(len(sequences)))
        batch = batch.to(self.accelerator.device)
        rate = self.annealing(progress)
        for group in self._groups():
            group["lr"] = group["initial_lr"] * rate
        with sharing(share):
            if isinstance(self.model, OwnTraining):
                value = float(total(self.model.training_step(batch, self.step, self._update)))
                finite = math.isfinite(value)
            else:
                loss = self.wrapped(batch, self.step)
                value = float(total(loss))
                finite = math.isfinite(value)
                if o.l1 or o.l2:
                    loss = loss + _penalty(self.model, o.l1, o.l2) / num_processes()
                if finite:
                    self._update("adam", loss)
        if not finite:
            rows = range(len(sequences)) if share is None else share.rows.tolist()
            part = [sequences[i] for i in rows]
            raise TrainingError(_locate(self.model, batch, part, self.step))
        if self.average:
            self.average.update_parameters(self.model)
        self.step += 1
        self.loss_sum, self.loss_count = self.loss_sum + value, self.loss_count + 1

    def _update(self, name: str, loss: Tensor) -> None:
        """A step of the named optimiser along the gradient of a loss."""
        parallel, optimizer = self.accelerator, self.optimizers[name]
        parallel.backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        sum_gradients(parameters)
        norm = parallel.clip_grad_norm_(parameters, self.options.clip_norm)
        if norm is not None and not torch.isfinite(norm) and parallel.mixed_precision == "no":
            bad = next(
                n
                for n, p in self.model.named_parameters()
                if p.grad is not None and not torch.isfinite(p.grad).all()
            )
            raise TrainingError(
                f"at training step {self.step} the gradient of {bad} is not finite; "
                "lower learning_rate, or look for extreme values in the data"
            )
        optimizer.step()
        self.model.zero_grad(set_to_none=True)

    def validate(self, rate: float) -> None:
        """Score the held-out data, keep the best parameters, and count validations without
        improvement."""
        candidates = [self.model] if self.both or not self.average else []
        if self.average:
            candidates.append(_model_of(self.average))
        particles = self.options.num_particles
        scores = [validation_score(m, self.valid, particles, self.seed) for m in candidates]
        value, model = max(zip(scores, candidates, strict=True), key=lambda pair: pair[0])
        if not math.isfinite(value):
            raise TrainingError(
                f"at training step {self.step} the validation score is {value}; lower "
                "learning_rate, or look for extreme values in the data"
            )
        if not self.selecting and isinstance(model, OwnSelection) and model.selectable():
            self.best, self.selecting = -math.inf, True
        annealing = self.step < getattr(self.model.options, "kl_anneal_steps", 0)
        self.stale = 0 if value > self.best + 1e-4 or annealing else self.stale + 1
        if value > self.best:
            self.best, self.best_step = value, self.step
            self.best_weights = _copy(model.state_dict())
        if self.stale >= self.options.patience:
            self.decays, self.stale = self.decays + 1, 0
        own = {}
        for each in (self.model, model):
            own |= each.curve_numbers() if isinstance(each, OwnTraining) else {}
        self.curve.append(
            {
                "step": self.step,
                "seconds": round(self.elapsed(), 3),
                "train_loss": self.loss_sum / max(1, self.loss_count),
                f"valid_{score_name(model)}": value,
                "learning_rate": self.highest_rate * rate,
                **own,
            }
        )
        self.loss_sum, self.loss_count = 0.0, 0

    def _parameters(self) -> Iterator[tuple[str, str, Tensor]]:
        """Each optimiser's name, a key for its state of a parameter, and the parameter."""
        for name, optimizer in self.optimizers.items():
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            for i, p in enumerate(parameters):
                yield name, f"optimizer.{name}.{i}", p

    def save(self, run: Path, facts: dict[str, Any]) -> None:
        """Write all that training needs to go on from here, between any two steps."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_weights.items()}
        if self.average:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, key, p in self._parameters():
            for k, v in self.optimizers[name].state.get(p, {}).items():
                tensors[f"{key}.{k}"] = torch.as_tensor(v)
        scalars = {name: getattr(self, name) for name in SCALARS}
        save_state(run, tensors, {**scalars, "seconds": self.elapsed(), **facts})

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from what `save` wrote.

        Raises:
            KeyError, RuntimeError, TypeError: when it is not what `save` writes.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        self.best_weights = part("best.")
        _require_alike(self.best_weights, self.model.state_dict())
        if self.average:
            self.average.load_state_dict(part("average."))
        for name, key, p in self._parameters():
            moments = part(f"{key}.")
            if moments:
                if isinstance(self.optimizers[name].optimizer, torch.optim.Adam):
                    step = moments["step"]
                    _require_alike(moments, {"step": step, "exp_avg": p, "exp_avg_sq": p})
                self.optimizers[name].state[p] = {
                    k: v if k == "step" else v.to(p.device) for k, v in moments.items()
                }
        for name in (*SCALARS, "seconds"):
            kind, value = type(getattr(self, name)), state[name]
            if type(value) is not kind:
                raise TypeError(f"{name} is {value!r}")
            setattr(self, name, value)
        self._clock = clock.seconds()


def _require_alike(tensors: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in like.items()}:
        raise RuntimeError("tensors are absent, or of another shape")


def _locate(model: SequenceModel, batch: SequenceBatch, part: list[Sequence], step: int) -> str:
    """An error message that says where a loss is not finite."""
    terms = model.terms(batch) if isinstance(model, LossTraining) else {}
    with torch.no_grad():
        for name, value in terms.items():
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
    weights = [p for p in model.parameters() if p.dim() > 1]  # biases are not penalised
    size = torch.stack([w.abs().sum() for w in weights]).sum()
    square = torch.stack([w.square().sum() for w in weights]).sum()
    return l1 * size + l2 * square


def averaged(model: SequenceModel, decay: float) -> AveragedModel:
    """A copy of a model that holds a moving average of its parameters.

    Each update moves the average by a share 1 - decay of the distance to the current parameters.
    The first updates use a larger share, so that the initial parameters have little weight.
    """

    def follow(mean: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        return mean.lerp(now, max(1 - decay, 9 / (10 + int(count))))

    return AveragedModel(model, avg_fn=follow)


def _model_of(average: AveragedModel) -> SequenceModel:
    assert isinstance(average.module, SequenceModel)
    return average.module


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
