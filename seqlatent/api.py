"""The models as a user holds them: `Latent`, `Flow`, `RNN`, `Transformer`, `CNN`, `LinearGaussian`.

    model = sl.Latent(guide="cnn", latent_dim=8).fit(data, valid=0.1, seed=0)
    model.log_prob(test)
    model.forecast(data, prediction_length=24)

An object of this module knows its options; `fit` looks at the data, builds the torch module
(`model.module`) and trains it.
"""

import dataclasses
import inspect
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.readers import load, load_like
from seqlatent.data.splits import split, with_context
from seqlatent.data.tables import write_table
from seqlatent.fitted_model import Fitted
from seqlatent.inference.likelihood import kind_of
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS, build_model, model_class
from seqlatent.options import check_seed, make
from seqlatent.tasks.prepare import check_data
from seqlatent.training.checkpoint import (
    CONFIG,
    CURVE,
    check_folder,
    clear_state,
    make_folder,
    save_model,
)
from seqlatent.training.checkpoint import load_model as load_module
from seqlatent.training.messages import announce, suggest_increments, warn
from seqlatent.training.options import TrainingOptions
from seqlatent.training.progress import progress_bar
from seqlatent.training.trainer import FitResult, check_device, is_main_process
from seqlatent.training.trainer import fit as train_model

logger = logging.getLogger("seqlatent")


class Model(Fitted):
    """A model of sequences: fit, score, forecast, sample, save.

    Attributes:
        options: the family's options (`seqlatent models NAME` lists them).
        module: the torch module, once fitted.
        result: how training went, once fitted.
        fitted: what is saved of the training with the model.
    """

    family: ClassVar[str]

    def __init__(self, **options: Any):
        self.options = make(model_class(self.family).Options, options)
        self._module: SequenceModel | None = None
        self.result: FitResult | None = None
        self.fitted: dict[str, Any] = {}

    def __init_subclass__(cls, family: str, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.family = family
        fields = dataclasses.fields(model_class(family).Options)
        parameters = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default)
            for f in fields
        ]
        cls.__signature__ = inspect.Signature(parameters)

    def fit(
        self,
        data: Any,
        valid: Any = 0.1,
        seed: int = 0,
        device: str = "auto",
        run: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool | None = None,
        **training: Any,
    ) -> "Model":
        """Fit to data and keep the parameters that score best on held-out sequences.

        Args:
            data: whatever `seqlatent.load` reads.
            valid: the share of the data that is held out; or held-out data, as `data`.
            seed: of the split, the first parameters, batches and noise.
            device: `auto`, `cpu` or `cuda`.
            run: folder to save the model and, meanwhile, checkpoints in.
            resume: go on from the folder's checkpoint, if there is one.
            overwrite: replace what the folder holds.
            progress: show a bar; by default on a terminal.
            training: see `seqlatent.training.trainer.TrainingOptions`, e.g. `max_minutes=2`.

        Returns:
            the model itself.

        Raises:
            InputError: for data or options that cannot be used.
            TrainingError: when training breaks down; it names where.
        """
        folder = None if run is None else Path(run)
        check_device(device)
        check_seed(seed)
        if folder is not None:
            check_folder(folder, resume, overwrite)
        data = load(data)
        share = isinstance(valid, int | float)
        if share:
            training["valid"] = valid
        options: TrainingOptions = make(TrainingOptions, training)
        if share:
            data = with_context(data, self.options.context_length)
            train, held_out = split(data, options.valid, options.valid_by, seed)
        else:
            train = with_context(data, self.options.context_length)
            held_out = load_like(valid, data)  # check_data gives it its context
        description = DataDescription.of(train)
        if options.hide > 0:
            description = dataclasses.replace(description, had_gaps=True)
        # Scales come from training data alone; which distribution can hold the values is asked of
        # all.
        chosen, reason = self._choose_emission(DataDescription.of(data))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = build_model(self.family, chosen, description)
        held_out = check_data(module, held_out)
        module.begin(collate(train.sequences[:1]))  # refuses scaling=prefix without a context
        made = [] if folder is None else [p for p in (folder, *folder.parents) if not p.exists()]
        if folder is not None:
            make_folder(folder)
            if overwrite and not resume:
                clear_state(folder)
                (folder / CONFIG).unlink(missing_ok=True)  # or a killed fit could not be resumed
        if reason:
            logger.info("emission: %s (%s)", chosen.emission, reason)
        announce(module, train, held_out, options)
        suggest_increments(module)
        try:
            with progress_bar(options, progress) as report:
                self.result = train_model(
                    module, train, held_out, options, seed, device, folder, resume, report
                )
        except BaseException:
            with suppress(OSError):  # not empty, where there is something to go on from
                for empty in made:
                    empty.rmdir()
            raise
        self._module = module
        self.fitted = self._summary(data, train, held_out, options, seed)
        if folder is not None and is_main_process():
            self.save(folder)
            clear_state(folder)
        warn(module, held_out)
        return self

    def _choose_emission(self, description: DataDescription) -> tuple[Any, str]:
        """The options with an emission, and the reason where it was chosen here."""
        if self.options.emission != "auto":
            return self.options, ""
        name, reason = model_class(self.family).choose_emission(description)
        return dataclasses.replace(self.options, emission=name), reason

    def _summary(
        self,
        data: SequenceDataset,
        train: SequenceDataset,
        valid: SequenceDataset,
        options: TrainingOptions,
        seed: int,
    ) -> dict[str, Any]:
        result = self.result
        assert result is not None
        return {
            "data": data.name,
            "seed": seed,
            "num_sequences": {"train": len(train), "valid": len(valid)},
            "training": dataclasses.asdict(options),
            "steps": result.steps,
            "best_step": result.best_step,
            "seconds": round(result.seconds, 2),
            "stopped": result.stopped,
            "valid_nats_per_step": result.valid_log_prob,
            "valid_kind": kind_of(self.module, options.num_particles),
            "threads": torch.get_num_threads(),
        }

    def save(self, run: str | Path) -> None:
        """Write the model to a folder: safetensors and JSON, and the training curve."""
        save_model(self.module, run, self.fitted)
        if self.result is not None:
            write_table(pd.DataFrame(self.result.history), Path(run) / CURVE)


class RNN(Model, family="rnn"):
    """A recurrent network (GRU or LSTM): exact likelihood."""


class Transformer(Model, family="transformer"):
    """A causal transformer: exact likelihood."""


class CNN(Model, family="cnn"):
    """Dilated causal convolutions: exact likelihood."""


class Latent(Model, family="latent"):
    """p(x_t | history, z_t) with an autoregressive guide: likelihood by importance sampling."""


class VRNN(Model, family="vrnn"):
    """The variational RNN: likelihood by sequential Monte Carlo."""


class SRNN(Model, family="srnn"):
    """The stochastic RNN, with a smoothing guide: likelihood by sequential Monte Carlo."""


class DMM(Model, family="dmm"):
    """The deep Markov model, with a smoothing guide: likelihood by sequential Monte Carlo."""


class LinearGaussian(Model, family="linear-gaussian"):
    """A linear-Gaussian state space: exact likelihood by the Kalman filter."""


class Flow(Model, family="flow"):
    """Invertible maps z_t = f_t(x_t; past): exact likelihood, exact latent codes."""


CLASSES: dict[str, type[Model]] = {c.family: c for c in Model.__subclasses__()}
assert set(CLASSES) == set(MODELS)


def load_model(run: str | Path) -> Model:
    """A model that was saved to a folder.

    Raises:
        InputError: when the folder is not a saved model, or is damaged.
    """
    module, fitted = load_module(run)
    model = CLASSES[module.family].__new__(CLASSES[module.family])
    model.options, model._module, model.result, model.fitted = module.options, module, None, fitted
    return model
