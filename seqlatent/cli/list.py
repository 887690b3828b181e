"""`seqlatent datasets` and `seqlatent models`."""

import json
from typing import Annotated

import typer

from seqlatent.cli.common import (
    Json,
)


def datasets(
    name: Annotated[str | None, typer.Argument(help="One data set, to see its card.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled data sets, or describe one."""
    from seqlatent.cli.listing import card_text, datasets_text
    from seqlatent.data.catalog import card, dataset_names

    cards = [card(n) for n in ([name] if name else dataset_names())]
    if as_json:
        fields = ("name", "title", "frequency", "units", "targets", "licence", "source")
        print(json.dumps([{f: getattr(c, f) for f in fields} for c in cards], indent=2))
    else:
        print(card_text(cards[0]) if name else datasets_text(cards))


def models(
    name: Annotated[str | None, typer.Argument(help="One model, to see its options.")] = None,
) -> None:
    """List the models, or the options of one with their defaults."""
    from seqlatent.cli.listing import model_text, models_text

    print(model_text(name) if name else models_text())
