"""The base of every model of sequences.

A model is an `nn.Module` built from its options and a description of the training data. It reads
and samples values in data units. Whether it has a likelihood or latents or can fill gaps, and how
it is trained and selected, are capabilities that it declares (`seqlatent.inference.protocols`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState, StepModel
from seqlatent.nn.covariates import CovariateScaler
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.past import usual_lags
from seqlatent.nn.scaling import Memory, Scaled, Scaler


@dataclass(frozen=True)
class ModelOptions:
    """Options that every model has."""

    scaling: str = field(
        default="auto",
        metadata={
            "help": "how real values are scaled, one or more words joined by +: global, by the "
            "training data; log, on a logarithmic scale; running, by the series' own past; "
            "increments, each value less the one before it; seasonal, each value less the one a "
            "season ago; none; auto: the chain with the highest held-out likelihood"
        },
    )
    season: int | None = field(
        default=None,
        metadata={
            "help": "length of the season in steps; 1: none (default: by the data's frequency, or "
            "found in the data)",
            "min": 1,
        },
    )
    lags: str = field(
        default="auto",
        metadata={
            "help": "earlier values that networks see besides the last one, in steps, such as "
            "24,168; none; auto: those of one season ago and, with 20,000 values or more, the two "
            "beside that of the shortest season"
        },
    )
    context_length: int = field(
        default=0,
        metadata={
            "help": "number of first steps of each sequence that are conditioned on and not scored",
            "min": 0,
        },
    )


class Alternatives(NamedTuple):
    """What an option that is `auto` may become.

    Attributes:
        values: from the simplest.
        usual: the one that stands in while others are chosen, and where nothing can be compared.
    """

    values: tuple[Any, ...]
    usual: Any


class SequenceModel(StepModel):
    """Base of all models; a subclass names its `family` and `Options` and its capabilities.

    Args:
        options: an object of the class's `Options`.
        description: of the training data.
        discrete: for each of D channels, whether its values are never scaled; by default true for
            labels.
        num_features: the number of features by which a network sees one value.
        labels: for each channel, whether its values are labels; by default where the data say so.

    Attributes:
        trained_by: what training minimises or maximises, in a few words for tables; "" where the
            capabilities say enough.
        composed: whether it is made of models that are fitted already.
        learning_rate: the default for training.
        average: the default decay of the moving average of parameters that is kept; 0: none; None:
            held-out data choose between the parameters and an average.
        reads_past: whether training needs the values before a window themselves, not only how they
            scale it.
        gaps: what follows a missing value is `learnt`, from values that networks read as missing in
            training; or `known` without; or `new` where the training data have none.
        embedding_dim: F, the size of an embedded step.
        num_known: C + E, features of a step's covariates and of the past.
        input_dim: F + C + E, the size of a network's input for one step.
        parts: the models that it is made of, if it is made of others.
    """

    Options: ClassVar[Any] = ModelOptions
    trained_by: ClassVar[str] = ""
    composed: ClassVar[bool] = False
    learning_rate: ClassVar[float] = 3e-3
    average: ClassVar[float | None] = None
    reads_past: ClassVar[bool] = False
    gaps: str = "learnt"
    options: Any
    parts: "tuple[SequenceModel, ...]" = ()

    def __init__(
        self,
        options: Any,
        description: DataDescription,
        discrete: Sequence[bool] | None = None,
        num_features: int = 1,
        labels: Sequence[bool] | None = None,
    ):
        super().__init__()
        self.options, self.description = options, description
        if labels is None:
            labels = [c.name in description.categories for c in description.channels]
        if discrete is None:
            discrete = labels
        scaling = "global" if options.scaling == "auto" else options.scaling
        self.scaler = Scaler(
            description,
            scaling,
            discrete,
            lags=self.choose_lags(description),
            labels=labels,
            seen=self.sees_past(),
        )
        self.covariate_scaler = CovariateScaler(description)
        self.embedding_dim = description.num_channels * (num_features + 1)
        self.num_known = self.covariate_scaler.out_dim + self.scaler.num_features
        self.input_dim = self.embedding_dim + self.num_known

    # -- what a subclass may override -------------------------------------------------------------

    @classmethod
    def complete(cls, options: Any, description: DataDescription) -> tuple[Any, str]:
        """The options with those set that depend on the data, and the reason in a few words or "".

        Raises:
            InputError: if the model does not support such data.
        """
        return options, ""

    @classmethod
    def alternatives(cls, options: Any) -> "dict[str, Alternatives]":
        """The options, besides the scaling, that are `auto` and left to held-out likelihood, in
        the order in which they are chosen."""
        return {}

    @classmethod
    def settled(cls, options: Any, values: Mapping[str, Any] | None = None) -> Any:
        """Options with the values of their alternatives, by default the usual ones. What has no
        effect with these values, and may have with others, is as by default."""
        usual = {name: each.usual for name, each in cls.alternatives(options).items()}
        new = replace(options, **(usual if values is None else values))
        defaults = {f.name: f.default for f in fields(options)}
        unused = set(cls.unused_options(new)) - set(cls.unused_options(options))
        return replace(new, **{name: defaults[name] for name in unused})

    @classmethod
    def unused_options(cls, options: Any) -> dict[str, str]:
        """Options without effect given the others, and what each applies to."""
        return {}

    def sees_past(self) -> bool:
        """Whether the networks see features of the past that depend on values in data units."""
        return True

    def choose_lags(self, description: DataDescription) -> tuple[int, ...]:
        """The lags, in steps, of the earlier values that networks see.

        Raises:
            InputError: where the option is no list of whole numbers.
        """
        if self.options.lags == "auto":
            return usual_lags(description)
        if self.options.lags == "none":
            return ()
        try:
            lags = tuple(int(word) for word in self.options.lags.split(","))
        except ValueError:
            lags = (0,)
        if min(lags) < 1:
            raise InputError(
                f"lags={self.options.lags} must be whole numbers of steps such as 24,168, or auto "
                "or none"
            )
        return lags

    def check(self, data: SequenceDataset) -> None:
        """Refuse, before long work, data that the model cannot read.

        Raises:
            InputError: naming the series or the channel.
        """

    def start(self, data: SequenceDataset, late: Callable[[], bool]) -> None:
        """Set the first parameters by the training data, where random ones would not do; called
        before training, with torch's global generator seeded. Once it is `late`, what is left of
        the budget belongs to training."""

    def finish(self, data: SequenceDataset) -> bool:
        """Set what depends on the trained parameters, by the training data; called after training,
        with the parameters that are kept. Whether it has changed the density."""
        return False

    def features(self, y: Tensor) -> Tensor:
        """(..., D) scaled values -> (..., D, num_features) their features for a network."""
        return soft_clip(y)[..., None]

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample the next step: (B, 1, C) covariates -> (B, 1, D) values in data units, and the
        state after it. A model that samples many steps at once overrides `sample_steps` instead."""
        raise TypeError(f"{type(self).__name__} must define sample_step or sample_steps")

    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample T steps: (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after them."""
        steps: list[Tensor] = []
        for t in range(covariates.shape[1]):
            x, state = self.sample_step(state, covariates[:, t : t + 1], noise)
            steps.append(x)
        return torch.cat(steps, 1), state

    # -- what all models share --------------------------------------------------------------------

    def embed(self, y: Tensor, observed: Tensor, limit: Tensor | float | None = None) -> Tensor:
        """(..., D) scaled values -> (..., F) features, zero where missing, and missingness flags.

        A value beyond `limit` (by default that of the scaler) is wild: networks read it as missing.

        Flags of observed values would nearly always be 1: many such inputs act as a bias with a
        learning rate that is many times too high.
        """
        limit = self.scaler.limit if limit is None else limit
        observed = observed & (y.abs() <= limit)
        features = self.features(y) * observed[..., None]
        return torch.cat([features.flatten(-2), (~observed).to(y)], -1)

    def embed_next(self, y: Tensor, state: ModelState) -> Tensor:
        """(B, 1, F) embedding of the scaled values (B, 1, D), none missing, of the step after a
        state with its memory."""
        limit = self.scaler.next_limit(state.memory)
        return self.embed(y, torch.ones_like(y, dtype=torch.bool), limit)

    def inputs(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled values y (B, T, D), their embedding (B, T, F), and inputs u (B, T, F + C + E): at
        step t the embedding of step t - 1 and what is known of step t (see `known`)."""
        state = state or self.begin(batch)
        scaled = self.scaler(batch)
        y = self.scaler.scale_values(batch.x, scaled)
        embedding = self.embed(y, batch.read, scaled.limit)
        last = state.last.expand(len(y), -1, -1)
        before = torch.cat([last, embedding[:, :-1]], 1)
        return y, embedding, torch.cat([before, self.known(batch.covariates, scaled)], -1)

    def known(self, covariates: Tensor, scaled: Scaled) -> Tensor:
        """(B, T, C + E) what is known of steps in advance: features of covariates, as in a batch,
        and of the past."""
        covariates = self.covariate_scaler(covariates)
        if not self.scaler.num_features:
            return covariates
        return torch.cat([covariates, scaled.features.to(covariates)], -1)

    def log_scale(self, batch: SequenceBatch) -> Tensor:
        """(B, T) nats: log p(x_t | .) in data units is that in scaled units *less* this, the sum
        of log scale_t - log g'(x_t) over the step's observed channels; 0 where not scored."""
        log_scale = self.scaler.log_scale(batch, self.scaler(batch))
        return torch.where(batch.scored, log_scale, 0.0)

    def next_input(self, state: ModelState, covariates: Tensor) -> Tensor:
        """(B, 1, F + C + E) the input of the step after a state, given its (B, 1, C) covariates."""
        scaled = self.scaler.next(state.memory)
        return torch.cat([state.last, self.known(covariates, scaled)], -1)

    def unscale_step(self, y: Tensor, state: ModelState) -> tuple[Tensor, Memory]:
        """(B, T, D) sampled scaled values of the steps after a state -> values in data units, and
        the memory after them. Far tails are cut: see `Scaler.inverse`."""
        return self.scaler.inverse(y, state.memory, bounded=True)

    def remember(self, batch: SequenceBatch) -> Any:
        """What scaling remembers after all T steps of a batch without padding."""
        if not self.scaler.moving and not self.scaler.num_features:
            return self.scaler.begin()
        return self.scaler.scan(batch)[1]

    def begin(self, batch: SequenceBatch | None) -> ModelState:
        """The state before the first step of a batch, or of a sequence without any step (None)."""
        size = 1 if batch is None else len(batch.x)
        device = self.scaler.loc.device
        nothing = torch.zeros(size, 1, self.description.num_channels, device=device)
        last = self.embed(nothing, torch.zeros_like(nothing, dtype=torch.bool))
        return ModelState(self.scaler.begin(), last, None)
