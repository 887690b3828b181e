"""What a fitted model does: score, forecast, sample, impute, and show its latents."""

from abc import abstractmethod
from typing import Any, Self

import pandas as pd

from seqlatent.data.calendar import cycles_of, from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load, load_future, load_like
from seqlatent.errors import InputError
from seqlatent.inference.imputation import LAG
from seqlatent.models.base import SequenceModel
from seqlatent.nn.devices import find_device
from seqlatent.online_model import Online
from seqlatent.tasks.alarms import HALF_LIFE, MEMORY, Calibration
from seqlatent.tasks.decoding import decode
from seqlatent.tasks.detecting import Detection, calibrate, detect
from seqlatent.tasks.encoding import Latents, infer_latents
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import Evaluation
from seqlatent.tasks.forecasting import Forecast, forecast, sample
from seqlatent.tasks.imputing import Imputation, impute
from seqlatent.tasks.inspecting import inspect
from seqlatent.tasks.inspection import Inspection
from seqlatent.tasks.progress import counting
from seqlatent.tasks.reconstructing import reconstruct
from seqlatent.tasks.regimes import FoundRegimes
from seqlatent.tasks.scoring import score


class Fitted(Online):
    """What the models of `seqlatent.api` do once they are fitted; data may be whatever
    `seqlatent.load` reads."""

    _module: SequenceModel | None = None
    _held_out: SequenceDataset | None = None  # of a fit in this process

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

    def to(self, device: str) -> Self:
        """Compute on another device from now on: `auto`, a GPU if there is one; `cpu` or `cuda`.
        Results come back to the processor.

        Raises:
            InputError: before `fit`, or when the device is unknown or not there.
        """
        self.module.to(find_device(device))
        return self

    def log_prob(
        self,
        data: Any,
        *,
        num_particles: int = 64,
        seed: int = 0,
        progress: bool = False,
        estimator: str = "auto",
        target_error: float | None = None,
        marginal_draws: int | None = None,
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
            marginal_draws: of missing channels, for the marginal of those seen at the same step.

        Returns:
            a frame with a row per sequence, as `seqlatent.tasks.scoring.score` describes it.

        Raises:
            InputError: when the data or the estimator do not fit the model.
        """
        return self.score(
            data,
            num_particles=num_particles,
            seed=seed,
            progress=progress,
            estimator=estimator,
            target_error=target_error,
            marginal_draws=marginal_draws,
        )[0]

    def score(
        self,
        data: Any,
        *,
        num_particles: int = 64,
        seed: int = 0,
        progress: bool = False,
        estimator: str = "auto",
        target_error: float | None = None,
        tail_draws: int | None = None,
        marginal_draws: int | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The frame of `log_prob`, and one with a row per step: `unique_id, ds, log_prob,
        sees_later, partial`; `sampled` with `marginal_draws`; and with `tail_draws`
        `tail_probability`, of a value at least as surprising, by so many draws where it is not
        exact (they take as long as forecasts of so many paths over all steps; with 0, NaN)."""
        data = self._load(data)
        with counting("scoring", len(data), progress) as count:
            return score(
                self.module,
                data,
                num_particles=num_particles,
                seed=seed,
                progress=count,
                estimator=estimator,
                target_error=target_error,
                tail_draws=tail_draws,
                marginal_draws=marginal_draws,
            )

    def detect(
        self,
        data: Any,
        *,
        calibrate: Any = None,
        false_alarms: float = 1.0,
        half_life: float = HALF_LIFE,
        memory: float = MEMORY,
        gap: int = 0,
        num_particles: int = 64,
        seed: int = 0,
        progress: bool = False,
    ) -> Detection:
        """Find anomalies, intervals of steps that surprise the model; see
        `seqlatent.tasks.detecting.detect`.

        Args:
            data: whatever `seqlatent.load` reads, with the training data's channels.
            calibrate: data that set the threshold; of the file or bundled set that the model was
                fitted to, the part that was held out. By default that part, where it is known: of
                a fit in this process, or to a bundled data set.
            false_alarms: alarms per thousand steps of ordinary data.
            half_life: of the smoothing of surprise, in steps; 0: none.
            memory: steps of each series that the score looks back on, so that the rate of alarms
                holds where the data drift; 0: it is the smoothed surprise, and the threshold stays
                as calibrated.
            gap: the most steps without alarm, side by side, that one interval may span.
            num_particles, seed: of an estimated density.
            progress: show a bar.

        Raises:
            InputError: when an argument is out of range, there is nothing to calibrate on, or the
                data do not fit the model.
        """
        data, estimate = self._load(data), {"num_particles": num_particles, "seed": seed}
        found = self.calibration(calibrate, false_alarms, half_life, memory, **estimate)
        with counting("detecting", len(data), progress) as count:
            return detect(self.module, data, found, gap=gap, progress=count, **estimate)

    @abstractmethod
    def _calibration_data(self, data: SequenceDataset | None) -> tuple[SequenceDataset, str]:
        """The data that set a threshold, by default held-out ones, and what they are in words."""

    def calibration(
        self, data: Any, false_alarms: float, half_life: float, memory: float, **estimate: int
    ) -> Calibration:
        """The threshold of `detect`, whose arguments these are."""
        given = None if data is None else self._load(data)
        held_out, source = self._calibration_data(given)
        return calibrate(
            self.module, held_out, source=source, false_alarms=false_alarms, half_life=half_life,
            memory=memory, **estimate,
        )  # fmt: skip

    def forecast(
        self,
        data: Any,
        prediction_length: int,
        *,
        num_samples: int = 500,
        seed: int = 0,
        future: Any = None,
        progress: bool = False,
    ) -> Forecast:
        """Sample joint paths of what comes after each sequence; see
        `seqlatent.tasks.forecasting`.

        Args:
            data: whatever `seqlatent.load` reads: the histories.
            prediction_length: H, steps ahead.
            num_samples: S, paths of each series.
            seed: of the paths.
            future: a table, frame or `SequenceDataset` with what is known of the steps ahead:
                covariates, and values of targets, empty where they are not known. The other values
                are sampled given these.
            progress: show a bar.

        Raises:
            InputError: when an argument is out of range, the data or the future do not fit the
                model, or future covariates are missing.
        """
        data = self._load(data)
        if future is not None:
            described = self.module.description
            future = load_future(
                future,
                self.covariates,
                described.id_column,
                described.time_column,
                described.targets,
            )
        with counting("forecasting", len(data), progress) as count:
            return forecast(
                self.module,
                data,
                prediction_length,
                num_samples=num_samples,
                seed=seed,
                future=future,
                progress=count,
            )

    def evaluate(
        self,
        data: Any,
        prediction_length: int,
        *,
        windows: int = 1,
        step: int | None = None,
        num_samples: int = 500,
        season: int | None = None,
        refit: bool = False,
        seed: int = 0,
        progress: bool = False,
    ) -> Evaluation:
        """Forecast the last steps of every series at rolling origins, beside two simple forecasts,
        and compare with what came; see `seqlatent.tasks.evaluating.evaluate`.

        Args:
            data: whatever `seqlatent.load` reads; without `refit` not what the model was fitted to.
            prediction_length: H, steps of a window.
            windows: the number of windows of each series.
            step: steps from one window to the next; by default H.
            num_samples: paths of each window.
            season: of the simple forecasts; by default found in the data.
            refit: fit a new model of the same options to the steps before each origin.
            seed: of the paths.
            progress: show a bar.

        Raises:
            InputError: when an argument is out of range, the data do not fit the model, or every
                series is too short.
        """
        data = self._load(data)
        if not refit:
            self._warn_of_known(data)
        with counting("evaluating", len(data) * windows, progress) as count:
            return evaluate(
                self.module,
                data,
                prediction_length,
                windows=windows,
                step=step,
                num_samples=num_samples,
                season=season,
                seed=seed,
                refit=self._fitted_again if refit else None,
                progress=count,
            )

    @abstractmethod
    def _warn_of_known(self, data: SequenceDataset) -> None:
        """Log a warning where the model was fitted to what it is to forecast."""

    @abstractmethod
    def _fitted_again(self, data: SequenceDataset) -> SequenceModel:
        """The module of a new model of the same options, fitted to other data."""

    def sample(
        self, num_samples: int, length: int, *, seed: int = 0, start: str | None = None
    ) -> SequenceDataset:
        """Sample whole sequences from nothing; see `seqlatent.tasks.forecasting.sample`."""
        return sample(self.module, num_samples, length, seed=seed, start=start)

    def impute(
        self,
        data: Any,
        *,
        num_samples: int = 500,
        seed: int = 0,
        progress: bool = False,
        lag: int = LAG,
    ) -> Imputation:
        """Sample missing values given all observed ones; see `seqlatent.tasks.imputing.impute`."""
        data = self._load(data)
        with counting("imputing", len(data), progress) as count:
            return impute(
                self.module, data, num_samples=num_samples, seed=seed, progress=count, lag=lag
            )

    def latents(
        self,
        data: Any,
        *,
        num_samples: int = 64,
        seed: int = 0,
        progress: bool = False,
        posterior: str = "auto",
    ) -> Latents | FoundRegimes:
        """Latents of sequences, or regimes, with samples; see
        `seqlatent.tasks.encoding.infer_latents`."""
        data = self._load(data)
        with counting("encoding", len(data), progress) as count:
            return infer_latents(
                self.module,
                data,
                num_samples=num_samples,
                seed=seed,
                progress=count,
                posterior=posterior,
            )

    def encode(
        self,
        data: Any,
        *,
        num_samples: int = 64,
        seed: int = 0,
        progress: bool = False,
        posterior: str = "auto",
    ) -> pd.DataFrame:
        """Mean and scale of every latent, or the probability of every regime and the most probable
        one, a row per step: the frame of `latents`."""
        return self.latents(
            data, num_samples=num_samples, seed=seed, progress=progress, posterior=posterior
        ).to_frame()

    def reconstruct(
        self, data: Any, *, num_samples: int = 100, seed: int = 0, posterior: str = "smoothing"
    ) -> pd.DataFrame:
        """The values from their codes, or from their latents by p(x_t | history, z_t); see
        `seqlatent.tasks.reconstructing.reconstruct`."""
        return reconstruct(
            self.module, self._load(data), num_samples=num_samples, seed=seed, posterior=posterior
        )

    def inspect(self, data: Any, *, num_particles: int = 256, seed: int = 0) -> Inspection:
        """How the latents are used, and how near the guide is to the posterior; see
        `seqlatent.tasks.inspecting.inspect`."""
        return inspect(self.module, self._load(data), num_particles=num_particles, seed=seed)

    def decode(self, latents: Any, *, progress: bool = False) -> SequenceDataset:
        """The sequences of exact latents, the inverse of `encode`; or of codes, with an error.

        Args:
            latents: a table or frame as `encode` gives it, with the columns `z1_mean, z2_mean, ...`
                and, where the model has any, those of its covariates and static features; or a
                `SequenceDataset`.
            progress: show a bar.

        Raises:
            InputError: for a model without exact latents or codes, or latents that do not fit it.
        """
        if not isinstance(latents, SequenceDataset):
            targets = [f"z{d + 1}_mean" for d in range(getattr(self.module, "latent_dim", 1))]
            described = self.module.description
            latents = load(
                latents,
                targets=targets,
                covariates=self.covariates,
                static=described.static_names,
                past_covariates=described.past_names,
            )
        with counting("decoding", len(latents), progress) as count:
            return decode(self.module, latents, count)

    @property
    def covariates(self) -> tuple[str, ...]:
        """The covariates that come with the data."""
        return from_data(self.module.description.covariate_names)

    @property
    def calendar(self) -> tuple[str, ...]:
        """The cycles that are computed from timestamps."""
        return cycles_of(self.module.description.covariate_names)

    def _load(self, data: Any) -> SequenceDataset:
        """Data by the names that the model was fitted with, unless it is a data set already."""
        return load_like(data, self.module.description)
