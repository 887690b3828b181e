"""Causal networks over time, the scaling of their inputs, and the layers they share.

Every network over time is a `CausalNetwork` (`causal.py`): h_t depends on u_{1:t} alone, and a call
returns a state from which the next call continues. Training reads whole sequences in parallel,
sampling reads one step at a time, and scoring reads a long series in chunks; all three call the
same function.

    recurrent.py      stacks of recurrent layers: GRU, LSTM, minGRU, SSD
    mingru.py         minGRU, whose gates read the input alone
    state_space.py    SSD, the layer of Mamba-2
    scans.py          linear recurrences, all steps at once
    convolution.py    dilated causal convolution, padded on the left only
    attention.py      causal attention with a key-value cache
    recall.py         attention to what followed earlier steps similar to the current one
    feedforward.py    a feed-forward network over the last k steps
    layers.py         activation and normalisation
    chains.py         the words of scaling, such as log+running+increments
    scaling.py        scalers; none of them uses a value that it helps to score
    forgetting.py     values that are read as missing in training
    memory.py         what a scaler remembers of a series, step by step or for all steps at once
"""

from seqlatent.nn.attention import CausalTransformer
from seqlatent.nn.build import NETWORKS, build_network, register_network
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.covariates import CovariateScaler
from seqlatent.nn.feedforward import WindowMLP
from seqlatent.nn.memory import Memory, Scaled
from seqlatent.nn.prepared import prepare
from seqlatent.nn.recall import Recall
from seqlatent.nn.recurrent import Recurrent
from seqlatent.nn.scaling import Scaler

__all__ = [
    "NETWORKS",
    "CausalNetwork",
    "CausalTransformer",
    "Convolution",
    "CovariateScaler",
    "Memory",
    "Recall",
    "Recurrent",
    "Scaled",
    "Scaler",
    "State",
    "WindowMLP",
    "build_network",
    "prepare",
    "register_network",
]
