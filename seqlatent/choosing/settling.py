"""All that is left to held-out likelihood before a fit: the chain of scaling, then the model's own
options with that chain."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seqlatent.choosing.alternatives import Chosen, choose_alternatives
from seqlatent.choosing.scaling import Choice, choose_scaling
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS, build_model
from seqlatent.tasks.prepare import check_data
from seqlatent.training.checkpoint import load_state
from seqlatent.training.options import TrainingOptions
from seqlatent.training.parallel import from_main


@dataclass(frozen=True)
class Settled:
    """What was chosen, and what that took.

    Attributes:
        scaling: the chain.
        others: the model's own options.
    """

    scaling: Choice
    others: Chosen

    @property
    def steps(self) -> int:
        return self.scaling.steps + self.others.steps

    @property
    def seconds(self) -> float:
        return self.scaling.seconds + self.others.seconds

    def to_json(self) -> dict[str, Any]:
        return {"scaling": self.scaling.to_json(), "options": self.others.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Settled":
        return cls(Choice.from_json(content["scaling"]), Chosen.from_json(content["options"]))

    def to_texts(self) -> list[str]:
        """A line for each choice."""
        first = [self.scaling.to_text()] if self.scaling.tried else []
        return first + self.others.to_texts()

    def facts(self) -> dict[str, Any]:
        """What is saved of it with the model: what was tried."""
        content = self.to_json()
        facts = {"tried": content["scaling"]["tried"]} if self.scaling.tried else {}
        return facts | ({"tried_options": content["options"]} if self.others.values else {})


TRIED = 2**19  # steps of training data, at about the most, that short fits are to


@dataclass(frozen=True)
class Plan:
    """A model to be built once its options are settled.

    Attributes:
        family: its name.
        options: with emission, but with what is `auto`.
        description: of the training data.
    """

    family: str
    options: Any
    description: DataDescription

    def build(
        self, seed: int, scaling: str, values: Mapping[str, Any] | None = None
    ) -> SequenceModel:
        """A model with new parameters, the chain and these values of the other options; by default
        the usual ones."""
        options = MODELS[self.family].settled(self.options, values)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_model(self.family, replace(options, scaling=scaling), self.description)


def settle(
    plan: Plan,
    train: SequenceDataset,
    held_out: SequenceDataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    device: str = "auto",
) -> Settled:
    """Choose by held-out data what is `auto`.

    Args:
        plan: of the model.
        train, held_out: data; pieces know the values before them.
        options: of training; its budget bounds that of short fits.
        seed, device: of short fits.
    """
    train = train.some(TRIED)
    choice, chosen = Choice(plan.options.scaling), Chosen({})
    alternatives = MODELS[plan.family].alternatives(plan.options)
    if choice.scaling == "auto" or alternatives:
        plain = "global" if choice.scaling == "auto" else choice.scaling
        held_out = check_data(plan.build(seed, plain), held_out, reads_gaps=False)
    common = {"seed": seed, "device": device}
    if choice.scaling == "auto":
        choice = choose_scaling(
            lambda scaling: plan.build(seed, scaling), train, held_out, options, **common
        )
        choice = from_main(choice)
    if alternatives:
        chosen = choose_alternatives(
            lambda values: plan.build(seed, choice.scaling, values),
            alternatives,
            train,
            held_out,
            options.less(choice.steps, choice.seconds),
            **common,
        )
    return Settled(choice, from_main(chosen))


def settled_so_far(run: Path) -> Settled | None:
    """What an interrupted fit had chosen or was given, if there is one.

    Raises:
        InputError: when its checkpoint is damaged.
    """
    saved = load_state(run)
    if saved is None:
        return None
    try:
        return Settled.from_json(saved[1]["notes"])
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{run}: its checkpoint is damaged; start again with --overwrite"
        ) from None
