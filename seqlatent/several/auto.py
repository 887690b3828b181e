"""The choice of a model: families and sizes race under one budget.

Successive halving (Jamieson and Talwalkar 2016): in the first round all entries are fitted for a
short time, in the second the best two for longer, and the best of these gets the rest. They are
compared by the log-likelihood of the same held-out steps, in nats per step: exact; by a solver,
whose error is small beside the differences; or of models with latents a lower bound in expectation,
which can only make them look worse than they are.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from seqlatent.api import CLASSES, Model
from seqlatent.choosing import check_plan
from seqlatent.choosing.comparing import Parts, compare, held_out_parts
from seqlatent.errors import InputError
from seqlatent.models.mixture import by_step
from seqlatent.models.registry import MODELS
from seqlatent.options import check_seed
from seqlatent.tasks.prepare import check_data
from seqlatent.training import clock
from seqlatent.training.dividing import Division, divide
from seqlatent.training.fitting import FitResult
from seqlatent.training.folder import run_folder
from seqlatent.training.parallel import from_main, is_main_process, join

logger = logging.getLogger("seqlatent")

Entry = tuple[str, dict[str, Any]]
# `diffusion` can be an entry, and by default is none, for each entry takes time from the others: in
# one run each it came fourth (co2) and sixth (seattle-temps) of seven in the first round.
ENTRIES: tuple[Entry, ...] = (
    ("rnn", {}),
    ("rnn", {"num_layers": 2}),
    ("rnn", {"hidden_dim": 128, "dropout": 0.1}),
    ("transformer", {}),
    ("flow", {}),
    ("linear-gaussian", {}),
)
FIRST, SECOND = 0.2, 0.2  # of the budget, in the first two rounds
FINALISTS = 2


@dataclass(frozen=True)
class Raced:
    """A fit of the race.

    Attributes:
        model: its family and options, such as `rnn:num_layers=2`.
        round: 1 or 2.
        steps, seconds: of training.
        nats_per_step: of held-out data.
        std_error: of its difference from the best one of its round, over held-out sequences.
    """

    model: str
    round: int
    steps: int
    seconds: float
    nats_per_step: float
    std_error: float


class Auto:
    """Fits the model, of several families and sizes, that held-out data choose.

        model = sl.Auto().fit(data, max_minutes=4)

    Args:
        entries: families with options; by default those of `ENTRIES`.
        options: of every entry, such as `season=24`; entries that do not have one are left out.

    Raises:
        InputError: where no entry has the options.
    """

    def __init__(self, entries: Sequence[Entry] = ENTRIES, **options: Any):
        self.entries = [
            (family, {**own, **options})
            for family, own in entries
            if set(options) <= {f.name for f in fields(MODELS[family].Options)}
        ]
        if not self.entries:
            raise InputError(f"no model of the race has all of the options {', '.join(options)}")

    def fit(
        self,
        data: Any,
        *,
        valid: Any = 0.1,
        prediction_length: int | None = None,
        calendar: str | Sequence[str] = "auto",
        members: int | str = "auto",
        weights: str | None = None,
        seed: int = 0,
        device: str = "auto",
        run: str | Path | None = None,
        overwrite: bool = False,
        progress: bool | None = None,
        **training: Any,
    ) -> Model:
        """Fit to data.

        Args:
            data, valid, prediction_length, calendar, seed, device, run, overwrite, progress,
                training: as of the fit of a model. The budget is that of the whole race, and all
                entries are compared by the same held-out steps.
            members, weights: of the best model, as of its fit: where it stops early, the rest of
                the budget gives it further members.

        Returns:
            the fitted model; `fitted["race"]` says how the others did.

        Raises:
            InputError: for data or options that cannot be used, or if no entry suits the data.
            TrainingError: when training breaks down.
        """
        seed = check_seed(seed)
        join(device)
        folder = None if run is None else Path(run)
        with run_folder(folder, False, overwrite):
            divided = divide(
                data, valid, {**training, "prediction_length": prediction_length},
                calendar=calendar, seed=seed,
                context_length=max(own.get("context_length", 0) for _, own in self.entries),
            )  # fmt: skip
            final = {"members": members, "weights": weights, "folder": folder}
            common = {"seed": seed, "device": device, "progress": progress}
            return self._race(divided, {**final, "overwrite": overwrite}, common)

    def _race(self, divided: Division, final: dict[str, Any], common: dict[str, Any]) -> Model:
        options, seed = divided.options, common["seed"]
        raced: list[Raced] = []
        alone: set[str] = set()  # those that cannot be members of a mixture
        masses: list[bool] | None = None  # for each channel, of the first entry
        entries, spent, start = self.entries, 0, clock.seconds()
        for number, part in ((1, FIRST), (2, SECOND)):
            share = options.share(len(entries) / part)
            trial = replace(divided, options=share)
            spent += len(entries) * (share.max_steps or 0)
            parts: dict[int, Parts] = {}
            fits: dict[int, FitResult] = {}
            for i, (family, own) in enumerate(entries):
                model = CLASSES[family](**own)
                try:
                    with _quietly():
                        model.fit_divided(trial, **common)
                except InputError as error:
                    if len(self.entries) == 1:
                        raise
                    logger.info("%s is left out: %s", name_of(family, own), error)
                    continue
                masses = masses or model.module.scaler.unscaled
                if model.module.scaler.unscaled != masses:
                    logger.info(
                        "%s is left out: it has densities where %s has probabilities of counts or "
                        "labels, and these cannot be compared",
                        name_of(family, own),
                        name_of(*self.entries[0]),
                    )
                    continue
                assert model.result is not None
                if not by_step(model.module):
                    alone.add(name_of(family, own))
                fits[i] = model.result
                checked = check_data(model.module, divided.held_out, reads_gaps=False)
                parts[i] = from_main(
                    held_out_parts(model.module, checked, options.num_particles, seed)
                )
            if not parts:
                raise InputError(f"{divided.whole.name}: no model of the race suits the data")
            scores = compare(parts)
            raced += [
                Raced(name_of(*entries[i]), number, fits[i].steps, round(fits[i].seconds, 2), *pair)
                for i, pair in scores.items()
            ]
            order = sorted(scores, key=lambda i: -scores[i][0])
            entries = [entries[i] for i in order[: FINALISTS if number == 1 else 1]]
            if len(entries) == 1:
                break
        family, own = entries[0]
        logger.info("%s", told(raced))
        # A round's share of steps is spent, and so is all its time, choices and scores included.
        rest = options.less(spent, from_main(clock.seconds() - start))
        model = CLASSES[family](**own)
        if final["members"] == "auto" and name_of(family, own) in alone:
            final["members"] = 1
        final["weights"] = check_plan(
            MODELS[family], final["members"], final["weights"], resume=False
        )
        model.fit_divided(replace(divided, options=rest), **final, **common)
        model.fitted["race"] = [asdict(r) for r in raced]
        if final["folder"] is not None and is_main_process():
            model.save(final["folder"])
        return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Warnings alone: what each fit says of its data is said once, by the last one."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def name_of(family: str, options: Mapping[str, Any]) -> str:
    """Such as `rnn:num_layers=2`."""
    given = ",".join(f"{name}={value}" for name, value in options.items())
    return f"{family}:{given}" if given else family


def told(raced: Sequence[Raced]) -> str:
    """Who won the race, how the others did, and whether that was close."""
    last = sorted((r for r in raced if r.round == raced[-1].round), key=lambda r: -r.nats_per_step)
    early = [r for r in raced if r.model not in {x.model for x in last}]
    others = [*last[1:], *sorted(early, key=lambda r: -r.nats_per_step)]
    names = ", ".join(f"{r.model} {r.nats_per_step:.3f}" for r in others)
    text = f"model: {last[0].model}, {last[0].nats_per_step:.3f} held-out nats per step"
    if names:
        text += f" ({names})"
    if len(last) > 1 and last[0].nats_per_step - last[1].nats_per_step < last[1].std_error:
        text += f"; the difference from {last[1].model} is within its standard error"
    return text
