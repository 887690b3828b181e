"""What a fitted model does row by row: it watches and scores series as they come."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, overload

from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count
from seqlatent.tasks.alarms import HALF_LIFE, MEMORY, Calibration
from seqlatent.tasks.single_stream import Stream
from seqlatent.tasks.streamed import Settings
from seqlatent.tasks.streaming import Streams
from seqlatent.tasks.watching import Detector

File = str | os.PathLike[str]


class Online(ABC):
    """The part of `seqlatent.fitted_model.Fitted` that reads rows as they come."""

    @property
    @abstractmethod
    def module(self) -> SequenceModel:
        """The torch module."""

    @abstractmethod
    def calibration(
        self, data: Any, false_alarms: float, half_life: float, memory: float, **estimate: int
    ) -> Calibration:
        """The threshold of `detect`."""

    def detector(
        self,
        *,
        calibrate: Any = None,
        false_alarms: float = 1.0,
        half_life: float = HALF_LIFE,
        memory: float = MEMORY,
        num_particles: int = 64,
        seed: int = 0,
    ) -> Detector:
        """`detect` online, for one series: `update(row)` reads its next row; see
        `seqlatent.tasks.watching`. The arguments are those of `detect`."""
        settings = Settings.checked(num_particles=num_particles, seed=seed)
        estimate = {"num_particles": num_particles, "seed": seed}
        found = self.calibration(calibrate, false_alarms, half_life, memory, **estimate)
        return Detector(self.module, found, settings)

    @overload
    def stream(
        self,
        state: File | None = None,
        *,
        many: Literal[None, False] = None,
        num_particles: int | None = None,
        tail_draws: int | None = None,
        seed: int | None = None,
        intervals: Sequence[float] | None = None,
        conformal: bool | float | None = None,
        interval_draws: int | None = None,
    ) -> Stream: ...

    @overload
    def stream(
        self,
        state: File | None = None,
        *,
        many: int | Sequence[str],
        num_particles: int | None = None,
        tail_draws: int | None = None,
        seed: int | None = None,
        intervals: Sequence[float] | None = None,
        conformal: bool | float | None = None,
        interval_draws: int | None = None,
    ) -> Streams: ...

    def stream(
        self,
        state: File | None = None,
        *,
        many: int | Sequence[str] | None = None,
        num_particles: int | None = None,
        tail_draws: int | None = None,
        seed: int | None = None,
        intervals: Sequence[float] | None = None,
        conformal: bool | float | None = None,
        interval_draws: int | None = None,
    ) -> Stream | Streams:
        """Score rows as they come: `update(row)` says log p(x_t | x_{<t}) of each, `predict()`
        samples the next one, `save(file)` keeps the state; see `seqlatent.tasks.streaming`.

        Args:
            state: a file that `save` wrote, from which the stream goes on, with its settings.
            many: for several series that are read together: their ids; or their number, of series
                0, 1, ...; or True, for those that come or are in `state`.
            num_particles: K of an estimated density; by default 64, as in `score`.
            tail_draws: of the tail probability where it is not exact; by default 0, none.
            seed: of the noise of both; by default 0. With the seed and the ids of a data set, the
                estimates are those of `score`.
            intervals: levels of central intervals, such as (0.5, 0.8, 0.95), that each value is
                expected in before it comes; by default none.
            conformal: recalibrate them as values come, so that in the long run each holds its
                share, even if the model is wrong: True, or the step gamma; by default False. See
                `seqlatent.tasks.conformal`.
            interval_draws: of a step, to find its intervals; by default 500.

        Raises:
            InputError: for a model without a likelihood of single steps, a number that is out of
                range, intervals of labels, or a file that is damaged or of another model.
        """
        given = {
            "num_particles": num_particles, "tail_draws": tail_draws, "seed": seed,
            "intervals": intervals, "conformal": conformal, "interval_draws": interval_draws,
        }  # fmt: skip
        settings, several = Settings.checked(**given), many is not None and many is not False
        if state is not None:
            load = Streams.load if several else Stream.load
            return load(self.module, state, **given)
        if not several:
            return Stream(self.module, settings)
        ids: Sequence[str] = () if many is True or isinstance(many, int) else tuple(many or ())
        if isinstance(many, int) and many is not True:
            ids = [str(i) for i in range(check_count("many", many))]
        return Streams(self.module, ids, settings)
