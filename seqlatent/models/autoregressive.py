"""Autoregressive models: exact likelihood by the chain rule.

    p(x_{1:T}) = prod_t p(x_t | h_t),    h_t = net(x_1, ..., x_{t-1})

A causal network and a head define a distribution over whole sequences. `rnn`, `transformer` and
`cnn` differ in the network only.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.inference.marginals import draw_seen
from seqlatent.inference.protocols import DrawnMarginals, ModelState
from seqlatent.models.emission_model import EmissionModelOptions, FillingModel
from seqlatent.nn.build import build_network
from seqlatent.nn.causal import CausalNetwork
from seqlatent.nn.feedforward import Beside
from seqlatent.nn.layers import ACTIVATIONS, dropout
from seqlatent.nn.recall import Recall
from seqlatent.nn.recurrent import CELLS


@dataclass(frozen=True)
class AutoregressiveOptions(EmissionModelOptions):
    input_dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of the features of the previous step's values dropped in training",
            "min": 0,
            "below": 1,
        },
    )
    hidden_head: bool = field(
        default=True,
        metadata={"help": "a hidden layer, beside linear maps, between network and emission"},
    )


class Autoregressive(FillingModel, DrawnMarginals):
    """A causal network over past values, and a head; a subclass builds the network."""

    trained_by = "maximum likelihood of the next step"

    def __init__(self, options: Any, description: DataDescription):
        super().__init__(options, description)
        self.network = self.build_network(self.input_dim)
        width = self.network.out_dim
        self.beside = Beside(width + self.input_dim, width if options.hidden_head else 0)
        self.head = self.build_head(self.beside.out_dim)

    @abstractmethod
    def build_network(self, in_dim: int) -> CausalNetwork:
        """The network, for inputs u_t of size `in_dim`."""

    def _step_distributions(
        self, u: Tensor, observed: Tensor | None, state: ModelState | None
    ) -> tuple[StepDistribution, object]:
        u = dropout(u, self.options.input_dropout, self.training)
        h, network = self.beside.read(self.network, u, state.network if state else None)
        return self.head(h, observed), network

    def _log_prob(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Tensor, StepDistribution, Tensor, ModelState]:
        state = state or self.begin(batch)
        y, embedding, u = self.inputs(batch, state)
        distributions, network = self._step_distributions(u, batch.observed, state)
        log_scale = self.scaler.log_scale(batch, self.scaler(batch))
        log_prob = distributions.log_prob(y) - log_scale
        return log_prob, distributions, y, ModelState(state.memory, embedding[:, -1:], network)

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        log_prob, _, _, after = self._log_prob(batch, state)
        return torch.where(batch.scored, log_prob, 0.0), after

    def seen_log_weights(
        self,
        batch: SequenceBatch,
        state: ModelState,
        rows: Tensor,
        num_draws: int,
        noise: SequenceNoise,
    ) -> Tensor:
        y, _, u = self.inputs(batch, state)
        h = self.beside.read(self.network, u, state.network)[0][rows]
        log_weights = draw_seen(self.head, h, y[rows], batch.observed[rows], num_draws, noise)
        return log_weights - self.log_scale(batch)[rows]

    def tail_probability(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> Tensor | None:
        if self.description.num_channels > 1 or self.scaler.any_logged:
            return None
        _, distributions, y, _ = self._log_prob(batch, state)
        tail = self.value_distribution.tail(distributions.params(y), y)
        return None if tail is None else torch.where(batch.scored, tail[..., 0], torch.nan)

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density."""
        _, distributions, y, _ = self._log_prob(batch, None)
        return distributions.at_floor(y)

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return {"log_prob": self.log_prob(batch)[0]}

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return -self.log_prob(batch)[0].sum() / batch.num_scored

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        state = state or self.begin(batch)
        _, embedding, u = self.inputs(batch, state)
        _, network = self.network(u, state.network)
        return ModelState(state.memory, embedding[:, -1:], network)

    def fill_step(
        self,
        state: ModelState,
        y: Tensor,
        observed: Tensor,
        covariates: Tensor,
        noise: Noise,
    ) -> tuple[Tensor, Tensor, ModelState]:
        u = self.next_input(state, covariates)
        distributions, network = self._step_distributions(u, None, state)
        y, log_prob = distributions.fill(y.to(u), observed, noise)
        last = self.embed_next(y, state)
        return y, log_prob[:, 0], ModelState(state.memory, last, network)


@dataclass(frozen=True)
class RNNOptions(AutoregressiveOptions):
    cell: str = field(
        default="gru",
        metadata={
            "help": "recurrent cell; mingru and ssd, whose gates read inputs alone, take less "
            "time than gru on long sequences",
            "choices": tuple(CELLS),
        },
    )
    hidden_dim: int = field(default=64, metadata={"help": "size of the recurrent state", "min": 1})
    num_layers: int = field(
        default=1, metadata={"help": "number of stacked recurrent layers", "min": 1}
    )
    dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of each recurrent layer's features dropped in training",
            "min": 0,
            "below": 1,
        },
    )
    hidden_input: bool = field(
        default=True,
        metadata={"help": "a hidden layer of each step's inputs, which recurrent layers read too"},
    )
    norm: str = field(
        default="none",
        metadata={
            "help": "normalisation after each recurrent layer",
            "choices": ("none", "layer"),
        },
    )
    residual: bool = field(
        default=False,
        metadata={"help": "add each recurrent layer's input to its output, from the second on"},
    )
    recall_heads: int = field(
        default=0,
        metadata={
            "help": "attention heads that find earlier steps similar to the current one and read "
            "what followed them; try 4 for sequences in which long passages return (0: none)",
            "min": 0,
        },
    )
    recall_window: int = field(
        default=512,
        metadata={"help": "number of past steps that recall_heads attend to", "min": 1},
    )


class RNNModel(Autoregressive):
    """A recurrent network and a head: exact likelihood (Graves 2013).

        p(x_{1:T}) = prod_t p(x_t | h_t),    h_t = GRU, LSTM, minGRU or SSD of x_1, ..., x_{t-1}

    Try it first: it suits most data, and trains and samples fast. Where long passages return, as in
    tunes, set recall_heads=4.
    """

    family, Options = "rnn", RNNOptions
    options: RNNOptions

    def build_network(self, in_dim: int) -> CausalNetwork:
        o = self.options
        network = build_network(
            o.cell,
            in_dim,
            o.hidden_dim,
            num_layers=o.num_layers,
            dropout=o.dropout,
            norm=o.norm,
            residual=o.residual,
            hidden_input=o.hidden_input,
        )
        if not o.recall_heads:
            return network
        return Recall(network, num_heads=o.recall_heads, window=o.recall_window, dropout=o.dropout)

    @classmethod
    def unused_options(cls, options: RNNOptions) -> dict[str, str]:
        unused = super().unused_options(options)
        if not options.recall_heads:
            unused["recall_window"] = "recall_heads above 0"
        return unused


@dataclass(frozen=True)
class TransformerOptions(AutoregressiveOptions):
    hidden_dim: int = field(
        default=64, metadata={"help": "size of the features between blocks", "min": 1}
    )
    num_layers: int = field(default=2, metadata={"help": "number of transformer blocks", "min": 1})
    num_heads: int = field(default=4, metadata={"help": "attention heads of each block", "min": 1})
    attention_window: int = field(
        default=256, metadata={"help": "number of past steps that a block attends to", "min": 1}
    )
    activation: str = field(
        default="silu",
        metadata={
            "help": "activation of the feed-forward layers",
            "choices": tuple(ACTIVATIONS),
        },
    )
    dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of attention weights and block outputs dropped in training",
            "min": 0,
            "below": 1,
        },
    )


class TransformerModel(Autoregressive):
    """A causal transformer and a head: exact likelihood (Vaswani et al. 2017).

        p(x_{1:T}) = prod_t p(x_t | h_t),    h_t = attention over x_1, ..., x_{t-1}

    Use it where a step depends on steps far back, at distances that vary.
    """

    family, Options = "transformer", TransformerOptions
    options: TransformerOptions

    def build_network(self, in_dim: int) -> CausalNetwork:
        o = self.options
        return build_network(
            "transformer",
            in_dim,
            o.hidden_dim,
            num_layers=o.num_layers,
            dropout=o.dropout,
            num_heads=o.num_heads,
            attention_window=o.attention_window,
            activation=o.activation,
        )


@dataclass(frozen=True)
class CNNOptions(AutoregressiveOptions):
    hidden_dim: int = field(
        default=64, metadata={"help": "features of every convolution", "min": 1}
    )
    num_layers: int = field(
        default=5,
        metadata={
            "help": "number of convolutional blocks; each doubles the receptive field",
            "min": 1,
            "max": 20,
        },
    )
    kernel_size: int = field(
        default=3, metadata={"help": "number of steps that each convolution sees", "min": 2}
    )
    activation: str = field(
        default="silu",
        metadata={"help": "activation of every block", "choices": tuple(ACTIVATIONS)},
    )
    dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of each block's features dropped in training",
            "min": 0,
            "below": 1,
        },
    )
    norm: str = field(
        default="none",
        metadata={"help": "normalisation in every block", "choices": ("none", "layer")},
    )
    residual: bool = field(default=True, metadata={"help": "add each block's input to its output"})


class CNNModel(Autoregressive):
    """Dilated causal convolutions and a head: exact likelihood (van den Oord et al. 2016).

        p(x_{1:T}) = prod_t p(x_t | h_t),    h_t = convolutions of the last steps

    Use it for long series sampled at a high rate, where a fixed number of past steps suffices.
    """

    family, Options = "cnn", CNNOptions
    options: CNNOptions

    def build_network(self, in_dim: int) -> CausalNetwork:
        o = self.options
        return build_network(
            "cnn",
            in_dim,
            o.hidden_dim,
            num_layers=o.num_layers,
            dropout=o.dropout,
            kernel_size=o.kernel_size,
            activation=o.activation,
            norm=o.norm,
            residual=o.residual,
        )
