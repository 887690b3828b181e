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

import numpy as np
import pandas as pd
import torch

from seqlatent.checkpoint import CONFIG, CURVE, STATE, clear_state, make_folder, save_model
from seqlatent.checkpoint import load_model as load_module
from seqlatent.data.batch import collate
from seqlatent.data.calendar import cycles_of, from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.readers import load, load_future
from seqlatent.data.splits import split, with_context
from seqlatent.data.tables import write_table
from seqlatent.encoding import Codes, codes
from seqlatent.errors import InputError
from seqlatent.estimating import CHUNK
from seqlatent.forecasting import Forecast, forecast, sample
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent import LatentModel
from seqlatent.models.registry import MODELS, build_model, model_class
from seqlatent.options import check_seed, make
from seqlatent.progress import counting, progress_bar
from seqlatent.reporting import counted
from seqlatent.scoring import check_data, kind_of, score
from seqlatent.training import FitResult, check_device, is_main_process
from seqlatent.training import fit as train_model
from seqlatent.training_options import TrainingOptions, choose_window

logger = logging.getLogger("seqlatent")


class Model:
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

    @property
    def module(self) -> SequenceModel:
        """The torch module.

        Raises:
            InputError: before `fit`.
        """
        if self._module is None:
            raise InputError(
                f"this {type(self).__name__} has not been fitted; call fit(data) first"
            )
        return self._module

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
            training: see `seqlatent.training.TrainingOptions`, e.g. `max_minutes=2`.

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
            train, held_out = (
                with_context(d, self.options.context_length) for d in (data, load_like(valid, data))
            )
        description = DataDescription.of(train)
        if options.hide > 0:
            description = dataclasses.replace(description, had_gaps=True)
        # Scales come from training data alone; which law can hold the values is asked of all.
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
        _announce(module, train, held_out, options)
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
        _warn(module, held_out, self.result.steps)
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

    def log_prob(
        self,
        data: Any,
        num_particles: int = 64,
        seed: int = 0,
        progress: bool = False,
        estimator: str = "auto",
        target_error: float | None = None,
    ) -> pd.DataFrame:
        """Log-likelihood of every sequence, nats in data units.

        Args:
            data: whatever `seqlatent.load` reads, with the training data's channels.
            num_particles: K of the estimate, for models whose density is not exact.
            seed: of the estimate's noise.
            progress: show a bar.
            estimator: `per-step`, `joint`, `smc`, or `auto` by the model's structure.
            target_error: raise the particles of a sequence until its standard error, in nats per
                scored step, is at most this; a warning says where that was not reached.

        Returns:
            a frame with a row per sequence, as `seqlatent.scoring.score` describes it.

        Raises:
            InputError: when the data or the estimator do not fit the model.
        """
        return self.score(data, num_particles, seed, progress, estimator, target_error)[0]

    def score(
        self,
        data: Any,
        num_particles: int = 64,
        seed: int = 0,
        progress: bool = False,
        estimator: str = "auto",
        target_error: float | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The frame of `log_prob`, and one with a row per step: `unique_id, ds, log_prob`."""
        check_seed(seed)
        data = self._load(data)
        with counting("scoring", len(data), progress) as count:
            return score(self.module, data, num_particles, seed, count, estimator, target_error)

    def forecast(
        self,
        data: Any,
        prediction_length: int,
        num_samples: int = 500,
        seed: int = 0,
        future: Any = None,
        progress: bool = False,
    ) -> Forecast:
        """Sample joint paths of what comes after each sequence; see `seqlatent.forecasting`."""
        check_seed(seed)
        data = self._load(data)
        future = None if future is None else load_future(future, self.covariates)
        with counting("forecasting", len(data), progress) as count:
            return forecast(self.module, data, prediction_length, num_samples, seed, future, count)

    def sample(
        self, num_samples: int, length: int, seed: int = 0, start: str | None = None
    ) -> SequenceDataset:
        """Draw whole sequences from nothing; see `seqlatent.forecasting.sample`."""
        check_seed(seed)
        return sample(self.module, num_samples, length, seed, start)

    def codes(
        self,
        data: Any,
        num_samples: int = 64,
        seed: int = 0,
        progress: bool = False,
        posterior: str = "auto",
    ) -> Codes:
        """Latents of sequences, with their draws; see `seqlatent.encoding.codes`."""
        check_seed(seed)
        data = self._load(data)
        with counting("encoding", len(data), progress) as count:
            return codes(self.module, data, num_samples, seed, count, posterior)

    def encode(
        self,
        data: Any,
        num_samples: int = 64,
        seed: int = 0,
        progress: bool = False,
        posterior: str = "auto",
    ) -> pd.DataFrame:
        """Mean and scale of every latent, a row per step: the frame of `codes`."""
        return self.codes(data, num_samples, seed, progress, posterior).to_frame()

    @property
    def covariates(self) -> tuple[str, ...]:
        """The covariates that come with the data."""
        names = self.module.description.covariate_names
        return from_data(names)

    @property
    def calendar(self) -> tuple[str, ...]:
        """The cycles that are computed from timestamps."""
        names = self.module.description.covariate_names
        return cycles_of(names)

    def _load(self, data: Any) -> SequenceDataset:
        """Data by the names that the model was fitted with, unless it is a data set already."""
        description = self.module.description
        if isinstance(data, SequenceDataset):
            return data
        if isinstance(data, list | tuple | np.ndarray):
            return load(data, targets=description.targets, calendar=self.calendar)
        return load(
            data,
            targets=description.targets,
            covariates=self.covariates,
            calendar=self.calendar,
            id_column=description.id_column,
            time_column=description.time_column,
        )

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
    """The stochastic RNN, with a smoothing guide: likelihood by importance sampling."""


class DMM(Model, family="dmm"):
    """The deep Markov model, with a smoothing guide: likelihood by importance sampling."""


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


def load_like(source: Any, data: SequenceDataset) -> SequenceDataset:
    """More data, read by the names that `data` was read by."""
    if isinstance(source, SequenceDataset):
        return source
    names = data.covariate_names
    return load(
        source,
        targets=data.targets,
        covariates=from_data(names),
        calendar=cycles_of(names),
        id_column=data.id_column,
        time_column=data.time_column,
    )


def check_folder(run: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before long work, to lose what a folder holds."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; choose another folder (--out)")
    unfinished = resume and (run / STATE).is_file()
    if (run / CONFIG).exists() and not (overwrite or unfinished):
        raise InputError(f"{run} holds a finished model; choose another --out, or --overwrite it")
    if (run / STATE).is_file() and not (resume or overwrite):
        raise InputError(f"{run} holds an interrupted fit; go on with --resume, or --overwrite it")


def _announce(
    module: SequenceModel, train: SequenceDataset, valid: SequenceDataset, options: TrainingOptions
) -> None:
    window = choose_window(train, options)
    cut = f", in windows of {window[0]} steps after {window[1]} of context" if window else ""
    logger.info(
        "%s: %s parameters; training on %s, %d steps%s; validating on %s",
        module.family,
        f"{sum(p.numel() for p in module.parameters()):,}",
        counted(len(train), "sequence"),
        int(train.lengths.sum()),
        cut,
        counted(len(valid), "sequence"),
    )


def _warn(module: SequenceModel, data: SequenceDataset, steps: int) -> None:
    """What a user should know before trusting the numbers."""
    batch = collate(data.sequences[:64]).steps(0, CHUNK)
    with torch.no_grad():
        at_floor = module.at_floor(batch)[batch.observed & batch.scored[..., None]]
        share = float(at_floor.mean()) if len(at_floor) else 0.0
        if share > 0.05:
            logger.warning(
                "warning: the density of %.0f %% of held-out values rests on the floor of the "
                "scale: values repeat or lie on a grid, so log-likelihoods say as much about the "
                "recording's resolution as about the data",
                100 * share,
            )
        if isinstance(module, LatentModel):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                kl = float(module.terms(batch)["kl"].sum() / batch.scored.sum().clamp(min=1))
            logger.info("latents: KL of %.3f nats per step between guide and prior", kl)
            if kl < 0.01 and steps > 2 * module.options.kl_anneal_steps:
                logger.warning(
                    "warning: the latents are unused (the KL is %.4f nats per step): the emission "
                    "alone explains the data; emission=normal would leave more to them",
                    kl,
                )
