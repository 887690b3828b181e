"""What there is, in words: the bundled data sets, the models and their options."""

import inspect

from seqlatent.data.catalog import Card


def datasets_text(cards: list[Card]) -> str:
    """A line for each data set."""
    width = max(len(c.name) for c in cards)
    lines = [f"{c.name.ljust(width)}  {c.title}: {c.num_sequences} x {c.num_steps}" for c in cards]
    hint = "see one with 'seqlatent datasets NAME'; use it as DATA, NAME:train or NAME:test"
    return "\n".join([*lines, "", hint])


def card_text(c: Card) -> str:
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
    lines = [f"{family.ljust(width)}  {_first_line(cls)}" for family, cls in MODELS.items()]
    return "\n".join([*lines, "", "see the options of one with 'seqlatent models NAME'"])


def model_text(family: str) -> str:
    """A model's size, and every option with its default.

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
    """Parameters and receptive fields with the default options and one real channel."""
    import numpy as np

    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.description import DataDescription
    from seqlatent.models.registry import MODELS, build_model
    from seqlatent.nn.causal import CausalNetwork

    data = SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(1, 8, 1)))
    description = DataDescription.of(data)
    options, _ = MODELS[family].complete(MODELS[family].Options(), description)
    model = build_model(family, options, description)
    count = sum(p.numel() for p in model.parameters())
    fields = [
        f"{name}: {network.receptive_field or 'all'} steps"
        for name, network in model.named_modules()
        if isinstance(network, CausalNetwork)
    ]
    text = f"with the defaults and one real channel: {count:,} parameters"
    return f"{text}; receptive field of {', '.join(fields)}" if fields else text
