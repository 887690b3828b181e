"""Laws over generated options (hypothesis); see `test_properties.py`."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from seqlatent.errors import InputError
from seqlatent.models.registry import MODELS
from seqlatent.options import choices_of, make, parse_assignments, read_config
from seqlatent.training.options import TrainingOptions

OPTION_CLASSES = {name: cls.Options for name, cls in MODELS.loaded().items()}
OPTION_CLASSES["training"] = TrainingOptions


def option_value(option: dataclasses.Field, hint: Any) -> st.SearchStrategy:
    """Values within an option's limits."""
    limits, kinds = option.metadata, get_args(hint) or (hint,)
    choices = [st.just(word) for word in (*choices_of(option), *limits.get("words", ()))]
    if type(None) in kinds:
        choices.append(st.none())
    if int in kinds:
        choices.append(st.integers(limits.get("min", -100), limits.get("max", 10**6)))
    elif float in kinds:
        low = limits.get("min", limits.get("above", -1e6))
        high = limits.get("max", limits.get("below", 1e6))
        within = st.floats(low, high).filter(lambda v: v != limits.get("below"))
        choices.append(within.filter(lambda v: v > limits["above"] if "above" in limits else True))
    elif bool in kinds:
        choices.append(st.booleans())
    elif not choices:
        choices.append(st.text("abc123+", min_size=1, max_size=8))
    return st.one_of(choices)


@st.composite
def options(draw: st.DrawFn) -> tuple[type, dict[str, Any]]:
    """A class of options, and values of some of them."""
    cls = OPTION_CLASSES[draw(st.sampled_from(sorted(OPTION_CLASSES)))]
    hints, fields = get_type_hints(cls), dataclasses.fields(cls)
    some = draw(st.lists(st.sampled_from(fields), unique_by=lambda f: f.name, max_size=6))
    return cls, {f.name: draw(option_value(f, hints[f.name])) for f in some}


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else repr(value)


def made_or_refused(cls: type, values: dict[str, Any]) -> Any:
    """The options, or why they do not go together."""
    try:
        return make(cls, values)
    except InputError as error:
        return str(error)


@given(options())
def test_options_are_read_as_they_are_written(case: tuple[type, dict[str, Any]]):
    cls, values = case
    wanted = made_or_refused(cls, values)
    words = [f"{name}={value}" for name, value in values.items()]
    dashed = [f"{name.replace('_', '-')}={value}" for name, value in values.items()]
    for assigned in (words, dashed):
        assert made_or_refused(cls, parse_assignments(assigned, [cls])) == wanted
    written = {n: v for n, v in values.items() if v is not None}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "o.toml")
        lines = [f"{n} = {as_toml(v)}" for n, v in written.items()]
        path.write_text("\n".join(["[model]", *lines]), encoding="utf-8")
        found = made_or_refused(cls, read_config(path, [cls]))
    assert found == made_or_refused(cls, written)
    assert "\n" not in str(wanted)


@given(st.sampled_from(sorted(OPTION_CLASSES)), st.data())
def test_a_misspelt_option_is_refused_in_one_sentence(kind: str, data: st.DataObject):
    cls = OPTION_CLASSES[kind]
    known = {f.name for f in dataclasses.fields(cls)}
    name = data.draw(st.sampled_from(sorted(known)))
    at, letter = data.draw(st.integers(0, len(name) - 1)), data.draw(st.sampled_from("abxyz_"))
    wrong = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + letter + name[at:]]))
    assume(wrong and wrong not in known)
    for refused in (
        lambda: parse_assignments([f"{wrong}=1"], [cls]),
        lambda: make(cls, {wrong: 1}),
    ):
        with pytest.raises(InputError, match="unknown option") as caught:
            refused()
        assert repr(wrong) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "did you mean" in str(caught.value) or "known: " in str(caught.value)
