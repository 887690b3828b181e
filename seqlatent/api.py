"""The models as a user holds them: a class for each family, such as `Latent`, `Flow` and `RNN`.

    model = sl.Latent(latent_dim=4).fit(data, valid=0.1, seed=0)
    model.log_prob(test)
    model.forecast(data, prediction_length=24)

An object of this module knows its options; `fit` looks at the data, builds the torch module
(`model.module`) and trains it.
"""

import dataclasses
import inspect
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from seqlatent.choosing import Plan, check_plan, fit_members, settle, settled_so_far
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.tables import write_table
from seqlatent.data.wild import tell_wild
from seqlatent.errors import InputError
from seqlatent.fitted_model import Fitted
from seqlatent.models.base import SequenceModel
from seqlatent.models.mixture import MixtureModel
from seqlatent.models.registry import MODELS
from seqlatent.nn.prepared import prepare
from seqlatent.options import check_seed, make
from seqlatent.tasks.prepare import check_data
from seqlatent.text import Summary
from seqlatent.training.checkpoint import CONFIG, CURVE, clear_state, make_folder, save_model
from seqlatent.training.checkpoint import load_model as load_module
from seqlatent.training.dividing import Division, divide
from seqlatent.training.facts import facts_of, score_text
from seqlatent.training.fitting import FitResult
from seqlatent.training.fitting import fit as train_model
from seqlatent.training.folder import is_finished, load_finished, run_folder
from seqlatent.training.held_out import held_out_again, held_out_part
from seqlatent.training.messages import announce, warn
from seqlatent.training.parallel import is_main_process, join
from seqlatent.training.progress import progress_bar

logger = logging.getLogger("seqlatent")


class Model(Fitted, Summary):
    """A model of sequences: fit, score, forecast, sample, save.

    Attributes:
        options: the family's options (`seqlatent models NAME` lists them).
        module: the torch module, once fitted.
        result: how training went, once fitted.
        fitted: what is saved of the training with the model.
    """

    family: ClassVar[str]
    torch_class: ClassVar[type[SequenceModel]]

    def __init__(self, **options: Any):
        self.options = make(MODELS[self.family].Options, options)
        self._module: SequenceModel | None = None
        self.result: FitResult | None = None
        self.fitted: dict[str, Any] = {}

    def __init_subclass__(cls, family: str, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.family, cls.torch_class = family, MODELS[family]
        fields = dataclasses.fields(cls.torch_class.Options)
        parameters = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default)
            for f in fields
        ]
        cls.__signature__ = inspect.Signature(parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's options by name, as scikit-learn has it.

        Args:
            deep: there for scikit-learn; no option has options of its own.
        """
        return {f.name: getattr(self.options, f.name) for f in dataclasses.fields(self.options)}

    def set_params(self, **params: Any) -> "Model":
        """Change some of the options, as scikit-learn has it.

        A fitted model whose options change is no longer fitted, so that its parameters always
        belong to its options: call `fit` again.

        Returns:
            the model itself.

        Raises:
            InputError: for an unknown name, or a value that an option cannot have; nothing is
                changed then.
        """
        options = make(type(self.options), self.get_params() | params)
        if options != self.options:
            self.options, self._module, self.result, self.fitted = options, None, None, {}
        return self

    def clone(self) -> "Model":
        """An unfitted model with equal options."""
        return type(self)(**self.get_params())

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        """The call that makes the model, with what differs from the defaults; how it was fitted."""
        given = [
            f"{f.name}={getattr(self.options, f.name)!r}"
            for f in dataclasses.fields(self.options)
            if getattr(self.options, f.name) != f.default
        ]
        facts = []
        if self._module is not None:
            count = sum(p.numel() for p in self._module.parameters())
            facts.append(("parameters", f"{count:,}"))
            if self.fitted:
                facts.insert(0, ("fitted to", self.fitted.get("data", "unknown data")))
                if score := score_text(self.fitted):
                    facts.append(("held-out score", score))
            if isinstance(self._module, MixtureModel):
                weights = ", ".join(f"{w:.2f}" for w in self._module.weights)
                facts.append(("weights of its members", weights))
        return f"{type(self).__name__}({', '.join(given)})", facts

    def __repr__(self) -> str:
        title, facts = self._facts()
        lines = textwrap.wrap(title, 90, subsequent_indent="    ", break_on_hyphens=False)
        if facts:
            lines.append("  " + "; ".join(f"{name}: {value}" for name, value in facts))
        return "\n".join(lines)

    def fit(
        self,
        data: Any,
        *,
        valid: Any = 0.1,
        prediction_length: int | None = None,
        calendar: str | Sequence[str] = "auto",
        members: int | str = 1,
        weights: str | None = None,
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
            prediction_length: H, the steps that forecasts will be for; the held-out part is then
                the last windows of H steps of every series, scored given their past.
            calendar: cycles whose phase is a covariate, such as `["day", "week"]`; `auto`: those
                that are longer than a step and that the data have seen twice, where the steps have
                a frequency; `none`.
            members: K; above 1, a mixture of K fits from the seeds `seed`, `seed + 1`, ..., which
                share the budget equally.
                `auto`: as many as the budget has time for, four at the most.
            weights: of its members: `equal`, `fixed` (the default) or `moving`, as held-out data
                choose them; see `seqlatent.models.mixture`.
            seed: of the split, the first parameters, batches and noise.
            device: `auto`, a GPU if there is one; `cpu` or `cuda`.
            run: folder to save the model and, meanwhile, checkpoints in.
            resume: resume from the checkpoint in the folder, if there is one; of a finished fit,
                load it.
            overwrite: replace what the folder holds.
            progress: show a bar; by default on a terminal.
            training: see `seqlatent.training.options.TrainingOptions`, e.g. `max_minutes=2`.

        Returns:
            the model itself.

        Raises:
            InputError: for data or options that cannot be used.
            TrainingError: when training breaks down; it names where.
        """
        join(device)
        seed = check_seed(seed)
        weights = check_plan(self.torch_class, members, weights, resume)
        folder = None if run is None else Path(run)
        with run_folder(folder, resume, overwrite):
            if folder is not None and resume and not overwrite and is_finished(folder):
                asked = {"seed": seed, **training}
                self._module, self.fitted = load_finished(folder, self.family, asked, device)
                self.result, self._held_out = None, None
                return self
            divided = divide(
                data, valid, {**training, "prediction_length": prediction_length},
                calendar=calendar, context_length=self.options.context_length, seed=seed,
            )  # fmt: skip
            return self.fit_divided(
                divided, members=members, weights=weights, seed=seed, device=device,
                folder=folder, resume=resume, overwrite=overwrite, progress=progress,
            )  # fmt: skip

    def fit_divided(
        self,
        divided: Division,
        *,
        members: int | str = 1,
        weights: str = "equal",
        seed: int = 0,
        device: str = "auto",
        folder: Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> "Model":
        """Fit to data that are divided already; the arguments are those of `fit`, checked, and the
        folder is one that `run_folder` holds."""
        train, held_out, options = divided.train, divided.held_out, divided.options
        description = DataDescription.of(train, self.options.season)
        channels = description.channels
        tell_wild(train, [c.loc for c in channels], [c.scale for c in channels])
        if options.hide > 0:
            description = dataclasses.replace(description, had_gaps=True)
        # Scales come from training data alone; which distribution can hold the values is asked of
        # all.
        whole = DataDescription.of(divided.whole)
        chosen, reason = MODELS[self.family].complete(self.options, whole)

        plan = Plan(self.family, chosen, description)
        settled = settled_so_far(folder) if folder is not None and resume else None
        if settled is None:
            settled = settle(plan, train, held_out, options, seed=seed, device=device)
        build = partial(plan.build, scaling=settled.scaling.scaling, values=settled.others.values)
        module = build(seed)
        held_out = check_data(module, held_out)
        if module.reads_past or train.lazy:
            unscaled = tuple(replace(s, scaled=None) for s in held_out)
            held_out = replace(held_out, sequences=unscaled)
        else:
            train = replace(train, sequences=prepare(module.scaler, train.sequences))
        if folder is not None and overwrite and (not resume or is_finished(folder)):
            clear_state(folder)
            (folder / CONFIG).unlink(missing_ok=True)  # or a killed fit could not be resumed
        if reason:
            logger.info("%s", reason)
        for text in settled.to_texts():
            logger.info("%s", text)
        announce(module, train, held_out, options)
        with progress_bar(options, progress) as report:
            budget = options.less(settled.steps, settled.seconds)
            common = {"seed": seed, "device": device, "report": report}
            if members != 1:
                mixed, self.result, each = fit_members(
                    build, train, held_out, budget, members=members, weights=weights, **common
                )
                own, module = {"weights": weights, "members": each}, mixed.parts[0]
                if len(each) == 1:
                    mixed, own = module, {}
            else:
                self.result = train_model(
                    module,
                    train,
                    held_out,
                    budget,
                    run=folder,
                    resume=resume,
                    notes=settled.to_json(),
                    **common,
                )
                mixed, own = module, {}
        self._module, self._held_out = mixed, divided.held_out
        self.fitted = own | settled.facts() | facts_of(
            mixed, self.result, data=divided.whole, train=train, valid=held_out,
            held_out=divided.origin, options=options, seed=seed,
        )  # fmt: skip
        if folder is not None and is_main_process():
            self.save(folder)
            clear_state(folder)
        warn(module, held_out)
        return self

    def _warn_of_known(self, data: SequenceDataset) -> None:
        if data.name != "data" and self.fitted.get("data") == data.name:
            logger.warning(
                "the model was fitted to %s, the steps that it forecasts now included: the scores "
                "flatter it; fit to an earlier part, or evaluate with refit=True (--refit)",
                data.name,
            )

    def _calibration_data(self, data: SequenceDataset | None) -> tuple[SequenceDataset, str]:
        module, of = self.module, f"the held-out data of the fit to {self.fitted.get('data')}"
        if data is not None:
            part = held_out_part(module, self.fitted, data)
            return (data, data.name) if part is None else (part, of)
        if self._held_out is not None:
            return self._held_out, of
        return held_out_again(module, self.fitted), of

    def _fitted_again(self, data: SequenceDataset) -> SequenceModel:
        if isinstance(self._module, MixtureModel):  # the same weights of members fitted again
            parts = self._module.parts
            facts = self.fitted.get("members", [{}] * len(parts))
            new = [held(m, f)._fitted_again(data) for m, f in zip(parts, facts, strict=True)]
            return self._module.of(new)
        seed, training = self.fitted.get("seed", 0), self.fitted.get("training", {})
        model = self.clone()
        if "tried" in self.fitted:  # a loaded model's options name the chain that was chosen
            model.set_params(scaling="auto")
        if "tried_options" in self.fitted:
            model.set_params(**dict.fromkeys(self.fitted["tried_options"]["values"], "auto"))
        place = {"device": self.module.device.type}
        model.fit(data, calendar=self.calendar, seed=seed, progress=False, **place, **training)
        return model.module

    def save(self, run: str | Path) -> None:
        """Write the model to a folder: safetensors and JSON, and the training curve."""
        module, run = self.module, Path(run)
        if self.result is not None:
            make_folder(run)
            write_table(pd.DataFrame(self.result.curve), run / CURVE)
        save_model(module, run, self.fitted)  # last: a run with a configuration is whole


class Classes(Mapping[str, type[Model]]):
    """The models' classes by the name of their family, made from the registry when asked for.

    A class is called as its torch module is, without `Model`: `RNNModel` gives `RNN`.
    """

    def __init__(self) -> None:
        self._made: dict[str, type[Model]] = {}

    def __getitem__(self, family: str) -> type[Model]:
        module = MODELS[family]
        made = self._made.get(family)
        if made is None or made.torch_class is not module:
            name = module.__name__.removesuffix("Model")
            body = {"__doc__": module.__doc__, "__module__": __name__, "__qualname__": name}
            made = type(name, (Model,), body, family=family)
            self._made[family] = made
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(MODELS)

    def __len__(self) -> int:
        return len(MODELS)

    def names(self) -> list[str]:
        """The names of all classes that can be loaded, such as `RNN`."""
        found = []
        for family in MODELS:
            with suppress(InputError):  # of a package that cannot be loaded
                found.append(self[family].__name__)
        return found

    def named(self, name: str) -> type[Model] | None:
        """The class of a name such as `RNN`, or None."""
        for family in MODELS.loaded():
            if self[family].__name__ == name:
                return self[family]
        for family in MODELS:
            with suppress(InputError):  # of a package that cannot be loaded
                if self[family].__name__ == name:
                    return self[family]
        return None


CLASSES = Classes()


def __getattr__(name: str) -> type[Model]:
    found = None if name.startswith("_") else CLASSES.named(name)
    if found is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return found


def load_model(run: str | Path, *, device: str = "auto") -> Model:
    """A model that was saved to a folder.

    Args:
        run: the folder.
        device: where it computes: `auto`, a GPU if there is one; `cpu` or `cuda`.

    Raises:
        InputError: when the folder is not a saved model or is damaged, or the device not there.
    """
    return held(*load_module(run, device))


def held(module: SequenceModel, fitted: dict[str, Any]) -> Model:
    """A fitted torch module, with facts about its training, as an object of this module."""
    cls = CLASSES[module.family]
    model = cls.__new__(cls)
    model.options, model._module, model.result, model.fitted = module.options, module, None, fitted
    return model
