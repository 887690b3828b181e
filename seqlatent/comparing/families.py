"""What a model's class says of itself: how it is trained, its latent code, its probability."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqlatent.errors import InputError
from seqlatent.inference.protocols import (
    Density,
    DeterministicCodes,
    EstimatedDensity,
    ExactPosterior,
    InvertibleLatents,
    Regimes,
)
from seqlatent.inference.training_protocols import OwnTraining
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS

ALL = "all"
NO_CODE = "no"
# In the order in which they are looked for.
CODES: tuple[tuple[type, str], ...] = (
    (InvertibleLatents, "deterministic, invertible"),
    (DeterministicCodes, "deterministic, with an error"),
    (Regimes, "regimes, posterior computed"),
    (ExactPosterior, "stochastic, posterior computed"),
    (EstimatedDensity, "stochastic, by a guide"),
)


@dataclass(frozen=True)
class Family:
    """A row of the families' table, before anything is measured.

    Attributes:
        name: in the registry.
        trained_by: the objective.
        latent_code: whether a sequence has one, and of which kind.
        probability: of a sequence: `exact`, `ode`, `bound`, `estimate` or `none`.
    """

    name: str
    trained_by: str
    latent_code: str
    probability: str


def family(name: str) -> Family:
    """What the class of a name says.

    Raises:
        InputError: for an unknown name, or a package that cannot be loaded.
    """
    cls = MODELS[name]
    return Family(name, _trained_by(cls), _latent_code(cls), _probability(cls))


def chosen_names(models: str | Sequence[str]) -> list[str]:
    """The names of models, in their order; `all` stands for all that can be fitted to data.

    Raises:
        InputError: for an unknown name, one that is given twice, and none.
    """
    names = models.split(",") if isinstance(models, str) else list(models)
    names = [name.strip() for name in names if name.strip()]
    if names == [ALL]:
        return [name for name in MODELS if not _composed(name)]
    if not names:
        raise InputError("there are no models to compare; name some, as in rnn,flow, or all")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"model '{name}' is named twice; leave one out")
        if _composed(name):
            raise InputError(
                f"model '{name}' is made of fitted models and is not fitted itself; leave it out"
            )
    return names


def _composed(name: str) -> bool:
    """Whether it is made of fitted models; of a package that cannot be loaded, not."""
    if name in MODELS.loaded():
        return MODELS[name].composed
    if name not in MODELS:
        MODELS[name]  # says what is known
    return False


def _trained_by(cls: type[SequenceModel]) -> str:
    if cls.trained_by:
        return cls.trained_by
    if issubclass(cls, OwnTraining):
        return "training steps of its own"
    if issubclass(cls, EstimatedDensity):
        return "a lower bound of the likelihood"
    return "maximum likelihood" if issubclass(cls, Density) else "a loss of its own"


def _latent_code(cls: type[SequenceModel]) -> str:
    found = next((text for kind, text in CODES if issubclass(cls, kind)), None)
    if found is not None:
        return f"yes: {found}"
    # A capability of another package says that it has latents by their number.
    declared = any("latent_dim" in vars(kind).get("__annotations__", {}) for kind in cls.__mro__)
    return "yes" if declared else NO_CODE


def _probability(cls: type[SequenceModel]) -> str:
    if issubclass(cls, Density):
        return cls.kind
    return "estimate" if issubclass(cls, EstimatedDensity) else "none"
