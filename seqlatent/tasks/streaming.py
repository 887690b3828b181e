"""Streams: rows of series as they come, each read once.

`Streams` reads a row of each of some series at a time, `Stream` (`single_stream.py`) those of one
series. What it says
of a row is what `score` says of that step when all rows have come: log p(x_t | x_{<t}), or the
estimate by the same particles, and how rare it is; and what the model knows after it, the filtered
latents and samples of the next step; on request, intervals of each step before it came. The state
is small, and can be saved and restored.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.estimating import FILTERS
from seqlatent.inference.likelihood import kind_of
from seqlatent.inference.online import Step, StepFound, online_reader
from seqlatent.inference.protocols import Density, EstimatedDensity, Regimes
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count
from seqlatent.tasks.conformal import IntervalMaker, Intervals
from seqlatent.tasks.rows import NONE, WHOLE, Before, Parsed, RowReader, as_step
from seqlatent.tasks.series import Series
from seqlatent.tasks.states import States
from seqlatent.tasks.stream_files import load_streams, save_streams
from seqlatent.tasks.streamed import Found, Settings, StreamedRows, join_found

MOST_PATHS = 2**14  # that are sampled together


class Streams:
    """Reads rows of many series.

    Args:
        model: with a likelihood of single steps given those before.
        ids: of the series; others join when a row of theirs comes.
        settings: see `Settings`.

    Attributes:
        ids: of all series, in the order in which they joined.

    Raises:
        InputError: for a model without such a likelihood, an id that is there twice, or intervals
            that it cannot have.
    """

    def __init__(
        self, model: SequenceModel, ids: Sequence[str] = (), settings: Settings | None = None
    ):
        refuse_unstreamed(model)
        self.model, self.settings = model.eval(), settings or Settings()
        s = self.settings
        self._reader = online_reader(
            model, num_particles=s.num_particles, num_filters=FILTERS, tail_draws=s.tail_draws
        )
        self._rows, self._states = RowReader(model, True), States()
        self._maker = IntervalMaker(model, s.intervals, s.conformal, s.interval_draws)
        self._series = Series(model.description, s.seed, self._reader.draws, self._maker.first)
        self.kind = kind_of(model, s.num_particles)
        self._join(list(ids))

    @property
    def ids(self) -> list[str]:
        return list(self._series.names)

    def update(self, rows: Any) -> StreamedRows:
        """Read the next row of each of some series, at once.

        Args:
            rows: a mapping of ids to rows, each as `Stream.update` takes it; or an array (N, D), or
                a list, of a row of each series in the order of `ids`; or a frame with the column
                `unique_id` and a row per series.

        Raises:
            InputError: for a row that cannot be read; nothing has been read then.
        """
        names, rows = self._named(rows)
        return self._update(names, rows)

    @torch.inference_mode()
    def _update(self, names: Sequence[str], rows: Sequence[Any] | np.ndarray) -> StreamedRows:
        before = self._series.before(names)
        parsed = self._rows.parse(rows, before)
        absent = self._rows.absent(parsed, before)
        covariates = self._rows.known(
            parsed.kind, parsed.step, parsed.own, parsed.static, before.lagged
        )
        self._join([name for name in names if name not in self._series.index])
        at = self._series.at(names)
        lagged = self._read_absent(at, absent, parsed, before)
        if lagged is not None:
            covariates[:, covariates.shape[1] - lagged.shape[1] :] = lagged
        ends = self._ends(names, at, covariates) if self.settings.intervals else None
        found = self._read(at, parsed.x, covariates)
        self._series.after(at, parsed)
        if ends is not None and self.settings.conformal:
            self._series.alpha[at] = self._maker.after(self._series.alpha[at], ends, parsed.x)
        return StreamedRows(
            tuple(names),
            _steps(parsed),
            found.log_prob,
            self.kind,
            found.tail,
            found.latents,
            found.scales,
            isinstance(self.model, Regimes),
            parsed.x,
            None if ends is None else self._maker.intervals(ends),
        )

    @torch.inference_mode()
    def predict(
        self, ids: Sequence[str] | None = None, num_samples: int = 500, seed: int = 0,
        known: Mapping[str, Any] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Samples of the next step of some series, those of a `forecast` with this seed.

        Args:
            ids: the series; by default all.
            num_samples: S of each series.
            seed: of the samples.
            known: for each series, by its id, the covariates of the next step that do not come from
                the calendar, as a mapping of names to values; and its step under `ds`, where it is
                not the one that follows by the frequency of the training data.

        Returns:
            (N, S, D) values in data units; of labels their codes.

        Raises:
            InputError: for a series that is not there, or covariates that are missing.
        """
        num_samples = check_count("num_samples", num_samples)
        names = self._there(ids)
        covariates = self._ahead(names, known or {})
        return self._drawn(self._series.at(names), covariates, num_samples, names, seed)

    @torch.inference_mode()
    def predict_intervals(
        self, ids: Sequence[str] | None = None, known: Mapping[str, Any] | None = None
    ) -> Intervals:
        """Intervals of the next step of some series, recalibrated by the rows so far if `conformal`
        is set: those that `update` tells of the next row, unless it leaves steps out.

        Args:
            ids, known: see `predict`.

        Raises:
            InputError: as `predict`, and for a stream without intervals.
        """
        if not self.settings.intervals:
            raise InputError("the stream has no intervals; give their levels when it begins")
        names = self._there(ids)
        ends = self._ends(names, self._series.at(names), self._ahead(names, known or {}))
        return self._maker.intervals(ends)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state of all series to a file (safetensors), whole or not at all.

        Raises:
            InputError: when the file cannot be written.
        """
        save_streams(path, self.model, self._series, self._states, self.settings._asdict())

    @classmethod
    def load(cls, model: SequenceModel, path: str | os.PathLike[str], **given: Any) -> "Streams":
        """What `save` wrote, with its settings.

        Args:
            model: the same one.
            path: the file.
            given: settings, which must be those of the file where they are not None.

        Raises:
            InputError: for a file that is damaged or of another model, or other settings.
        """
        saved = load_streams(path, model)
        settings, wanted = Settings.checked(**saved.settings), Settings.checked(**given)
        for name, value in given.items():
            there, asked = getattr(settings, name), getattr(wanted, name)
            if value is not None and asked != there:
                raise InputError(
                    f"{os.fspath(path)}: the stream was begun with {name}={there}, not {asked}; "
                    "leave it out, or begin a new stream"
                )
        made = cls(model, (), settings)
        template = made._template()
        made._states = saved.states(template)
        made._series = saved.series(made._reader.draws, made._maker.first)
        return made

    # -- parts ------------------------------------------------------------------------------------

    def _named(self, rows: Any) -> tuple[list[str], Any]:
        """Names of series, and a row of each."""
        if isinstance(rows, pd.DataFrame):
            column = self.model.description.id_column
            if column not in rows.columns:
                raise InputError(f"rows of several series need the column '{column}'")
            names = [str(name) for name in rows[column]]
            rows = dict(zip(names, rows.to_dict("records"), strict=True))
            if len(rows) < len(names):
                raise InputError(
                    "a series has two rows; update the stream with one after the other"
                )
        if isinstance(rows, Mapping):
            if not all(isinstance(name, str) for name in rows):
                raise InputError("the ids of series are text")
            return list(rows), list(rows.values())
        names = self._series.names
        if len(rows) != len(names):
            raise InputError(
                f"there are {len(rows)} rows and {len(names)} series; give a row of each, or a "
                "mapping of ids to rows"
            )
        return names, rows

    def _join(self, names: list[str]) -> None:
        if names:
            self._series.join(names)
            self._states.add(len(names), self._reader.begin(len(names)))

    def _read(self, at: np.ndarray, x: np.ndarray, covariates: np.ndarray) -> Found:
        """Read (N, D) values of some series, given (N, C + S + P) of what is known of the step."""
        observed, age = ~np.isnan(x), self._series.age[at]
        past_context = age >= self.model.options.context_length
        values, scored = np.where(observed, x, 0.0), past_context & observed.any(1)
        known = (values[:, None], observed[:, None], covariates[:, None])
        arrays = (*known, age, scored, past_context)  # of a `Step`
        parts: list[StepFound] = []
        order: list[np.ndarray] = []
        device = self.model.scaler.loc.device  # `model.device` would look through all parameters
        for places, state in self._states.groups(at):
            all_of_them = len(places) == len(at) and _ordered(places)
            now = arrays if all_of_them else [part[places] for part in arrays]
            step = Step(*(torch.from_numpy(part).to(device) for part in now))
            noise = SequenceNoise.of(self._series.streams(at[places]))
            found, after = self._reader.read(state, step, noise)
            self._states.put(at[places], after)
            parts.append(found)
            order.append(places)
        self._series.age[at] += 1
        back = np.argsort(np.concatenate(order))
        return join_found(parts, back)

    def _read_absent(
        self, at: np.ndarray, absent: list[np.ndarray], parsed: Parsed, before: Before
    ) -> np.ndarray | None:
        """Read the steps before the rows that are absent, as missing; the (N, P) past covariates
        that the rows' own steps then know, None where nothing is absent."""
        most = max((len(steps) for steps in absent), default=0)
        if not most:
            return None
        lagged = before.lagged.copy()
        for n in range(most):
            some = np.array([i for i, steps in enumerate(absent) if len(steps) > n])
            step = np.array([absent[i][n] for i in some])
            own = np.zeros_like(parsed.own[some])
            known = self._rows.known(
                parsed.kind[some], step, own, parsed.static[some], lagged[some]
            )
            self._read(at[some], np.full_like(parsed.x[some], np.nan), known)
            lagged[some] = np.nan
        return lagged

    def _ahead(self, names: list[str], known: Mapping[str, Any]) -> np.ndarray:
        """(N, C + S + P) what is known of the next step of some series."""
        rows, before, found = self._rows, self._series.before(names), []
        for i, name in enumerate(names):
            kind, last = int(before.kind[i]), int(before.last[i])
            row = known.get(name, {})
            if "ds" in row:
                kind, step = rows.step_of(row, kind, last)
            elif kind == NONE:
                kind, step = WHOLE, 0
            else:
                step = rows.following(last, kind) if rows.needs_time else last + 1
            found.append((kind, step, rows.own_covariates(row)))
        kinds, steps, own = (np.array(part) for part in zip(*found, strict=True))
        if np.isnan(before.static).any():
            raise InputError("a series without a row has no static features to predict it by")
        return rows.known(kinds, steps, own.reshape(len(names), -1), before.static, before.lagged)

    def _there(self, ids: Sequence[str] | None) -> list[str]:
        """The names of series, which must be there; by default all."""
        names = list(self.ids if ids is None else ids)
        for name in names:
            if name not in self._series.index:
                raise InputError(f"there is no series '{name}' in the stream")
        return names

    def _ends(self, names: Sequence[str], at: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """(N, 2, L, D) ends of the intervals of the next step, NaN in the context. Draws are seeded
        by series and step: those of before and after a row are the same, and those of steps
        independent."""
        age = self._series.age[at]
        seeds = [f"{name}/{step}" for name, step in zip(names, age.tolist(), strict=True)]
        s = self.settings
        draws = self._drawn(at, covariates, s.interval_draws, seeds, s.seed)
        ends = self._maker.ends(draws, self._series.alpha[at])
        ends[age < self.model.options.context_length] = np.nan
        return ends

    def _drawn(
        self, at: np.ndarray, covariates: np.ndarray, num_samples: int, names: list[str], seed: int
    ) -> np.ndarray:
        """(N, S, D) samples of the next step of some series; `names` seed them."""
        most = max(1, MOST_PATHS // num_samples)
        parts = []
        for start in range(0, len(at), most):
            some = slice(start, start + most)
            parts.append(self._sampled(at[some], covariates[some], num_samples, names[some], seed))
        return np.concatenate(parts) if parts else np.zeros((0, num_samples, 0))

    def _sampled(
        self, at: np.ndarray, covariates: np.ndarray, num_samples: int, names: list[str], seed: int
    ) -> np.ndarray:
        known = torch.from_numpy(covariates)[:, None].to(self.model.device)
        samples = np.empty((len(at), num_samples, self.model.description.num_channels))
        for places, state in self._states.groups(at):
            noise = SequenceNoise([names[place] for place in places], seed)
            some = known[torch.from_numpy(places).to(known.device)]
            x = self._reader.sample_next(state, some, num_samples, noise)
            samples[places] = x.cpu().numpy()
        return samples

    @torch.inference_mode()
    def _template(self) -> Any:
        """A state of one series after a step, by which a saved one is put together."""
        d = self.model.description
        size = len(d.covariate_names) + len(d.static_names) + len(d.past_names)
        device = self.model.device
        x = torch.zeros(1, 1, d.num_channels, dtype=torch.float64, device=device)
        no = torch.zeros(1, dtype=torch.bool, device=device)
        known = x.new_zeros(1, 1, size)
        step = Step(x, torch.ones_like(x, dtype=torch.bool), known, no.long(), no, no)
        noise = SequenceNoise(["template"], 0)
        return self._reader.read(self._reader.begin(1), step, noise)[1]


def _ordered(places: np.ndarray) -> bool:
    return bool((places == np.arange(len(places))).all())


def _steps(parsed: Parsed) -> np.ndarray:
    """(N,) steps as users have them."""
    kinds = set(parsed.kind.tolist())
    if len(kinds) == 1:
        times = kinds != {WHOLE}
        return parsed.step.view("datetime64[ns]") if times else parsed.step
    both = zip(parsed.kind.tolist(), parsed.step.tolist(), strict=True)
    return np.array([as_step(*each) for each in both], dtype=object)


def refuse_unstreamed(model: SequenceModel) -> None:
    """Refuse a model without a likelihood of single steps given those before.

    Raises:
        InputError: saying what to fit.
    """
    if isinstance(model, EstimatedDensity) and model.smoothing:
        raise InputError(
            f"the guide of this {model.family} sees later values, so that a step has no score when "
            "it comes; fit rnn, flow or latent, or with smoothing=false"
        )
    if not isinstance(model, Density | EstimatedDensity):
        raise InputError(
            f"model '{model.family}' has no likelihood to score rows by; fit rnn, latent or flow"
        )
