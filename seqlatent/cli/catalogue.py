"""`seqlatent datasets` and `seqlatent models`: text listings of what there is to use."""

import inspect
import json
from typing import TYPE_CHECKING, Annotated

import typer

from seqlatent.cli.common import Json
from seqlatent.errors import InputError

if TYPE_CHECKING:
    from seqlatent.data.catalog import Card


def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set, to describe it.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled data sets, or describe one."""
    from seqlatent.data.catalog import card, dataset_names

    cards = [card(n) for n in ([name] if name else dataset_names())]
    if as_json:
        fields = ("name", "title", "frequency", "units", "targets", "licence", "source")
        print(json.dumps([{f: getattr(c, f) for f in fields} for c in cards], indent=2))
    else:
        print(card_text(cards[0]) if name else datasets_text(cards))


def models(
    name: Annotated[str | None, typer.Argument(help="A model, to list its options.")] = None,
) -> None:
    """List the models, or the options of one with their defaults."""
    print(model_text(name) if name else models_text())


def datasets_text(cards: "list[Card]") -> str:
    """A line for each data set."""
    width = max(len(c.name) for c in cards)
    lines = [f"{c.name.ljust(width)}  {c.title}: {c.num_sequences} x {c.num_steps}" for c in cards]
    hint = (
        "'seqlatent datasets NAME' describes one; where a command takes DATA, give NAME, "
        "NAME:train or NAME:test"
    )
    return "\n".join([*lines, "", hint])


def card_text(c: "Card") -> str:
    """A data set's card."""
    lines = [
        c.title,
        "",
        c.description.strip(),
        "",
        f"sequences  {c.num_sequences} of {c.num_steps} steps, {c.frequency}",
        f"targets    {', '.join(f'{t} ({u})' for t, u in zip(c.targets, c.units, strict=False))}",
        f"split      {c.split.description}",
        f"source     {c.source}",
        f"licence    {c.licence}",
        f"cite       {c.citation}",
        f"file       {c.path}",
    ]
    if c.anomalies:
        lines.append(f"anomalies  {c.anomalies}")
    return "\n".join(lines)


def models_text() -> str:
    """A line for each model."""
    from seqlatent.models.registry import MODELS

    width = max(map(len, MODELS))
    lines = []
    for family in MODELS:
        try:
            line = _first_line(MODELS[family])
        except InputError as error:  # of another package, which must not hide the rest
            line = f"not available: {error}"
        lines.append(f"{family.ljust(width)}  {line}")
    return "\n".join([*lines, "", "'seqlatent models NAME' lists the options of one"])


def model_text(family: str) -> str:
    """A model's size, and every option with its default value.

    Raises:
        InputError: for an unknown name.
    """
    from seqlatent.models.registry import MODELS
    from seqlatent.options import help_table
    from seqlatent.training.options import TrainingOptions

    cls = MODELS[family]
    lines = [f"{family}: {inspect.cleandoc(cls.__doc__ or '')}", "", _size_text(family)]
    for title, options in (("model", cls.Options), ("training", TrainingOptions)):
        lines += ["", f"{title} options (--set key=value)"]
        for option, default, text in help_table(options):
            shown = str(default).lower() if isinstance(default, bool | None) else default
            lines += [f"  {option} = {shown}", f"      {text}"]
    return "\n".join(lines)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]


def _size_text(family: str) -> str:
    """Number of parameters and receptive fields, with default options and one real channel."""
    import numpy as np

    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.description import DataDescription
    from seqlatent.models.registry import MODELS, build_model
    from seqlatent.nn.causal import CausalNetwork

    data = SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(1, 8, 1)))
    description = DataDescription.of(data)
    try:
        options, _ = MODELS[family].complete(MODELS[family].Options(), description)
    except InputError as error:  # of a model that is made of others
        return str(error)
    model = build_model(family, options, description)
    count = sum(p.numel() for p in model.parameters())
    fields = [
        f"{name}: {network.receptive_field or 'all'} steps"
        for name, network in model.named_modules()
        if isinstance(network, CausalNetwork)
    ]
    text = f"with default options and one real channel: {count:,} parameters"
    return f"{text}; receptive field of {', '.join(fields)}" if fields else text
